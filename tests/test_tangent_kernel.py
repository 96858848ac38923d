"""The tangent kernel against a closed form, finite differences, and stability."""

import numpy as np
import torch

from retrograd import tangent_kernel

MEMBERS, POINTS, D_IN, HIDDEN, D_OUT = 3, 4, 2, 5, 2


def weights(seed: int = 0) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    shapes = [(MEMBERS, HIDDEN, D_IN), (MEMBERS, D_OUT, HIDDEN)]
    return [torch.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]


def inputs() -> torch.Tensor:
    rng = np.random.default_rng(1)
    return torch.tensor(rng.standard_normal((MEMBERS, POINTS, D_IN)))


def linear(W: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    return inputs() @ W.mT @ V.mT


def test_two_linear_layers_have_their_closed_form() -> None:
    # K = x xᵀ ⊗ V Vᵀ + (x Wᵀ)(x Wᵀ)ᵀ ⊗ 1, with outputs within points.
    W, V = weights()
    found = tangent_kernel.kernel(linear(W, V), [W, V]).numpy()
    x, w, v = (t.detach().numpy() for t in (inputs(), W, V))
    for member in range(MEMBERS):
        hidden = x[member] @ w[member].T
        expected = np.kron(x[member] @ x[member].T, v[member] @ v[member].T)
        expected += np.kron(hidden @ hidden.T, np.eye(D_OUT))
        np.testing.assert_allclose(found[member], expected, atol=1e-12)


def test_a_nonlinear_network_agrees_with_finite_differences() -> None:
    W, V = weights()

    def outputs(W: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        return torch.tanh(inputs() @ W.mT) @ V.mT

    found = tangent_kernel.kernel(outputs(W, V), [W, V])
    with torch.no_grad():
        columns = []
        for weight in (W, V):
            for index in np.ndindex(*weight.shape[1:]):
                at = (slice(None), *index)
                weight[at] += 1e-6
                above = outputs(W, V)
                weight[at] -= 2e-6
                below = outputs(W, V)
                weight[at] += 1e-6
                columns.append((above - below).flatten(1) / 2e-6)
        jacobian = torch.stack(columns, -1)
    torch.testing.assert_close(found, jacobian @ jacobian.mT, rtol=1e-6, atol=1e-7)


def test_a_member_has_the_kernel_it_has_alone() -> None:
    W, V = weights()
    batch = tangent_kernel.kernel(linear(W, V), [W, V])
    one = [t[1:2].detach().clone().requires_grad_() for t in (W, V)]
    alone = tangent_kernel.kernel(inputs()[1:2] @ one[0].mT @ one[1].mT, one)
    torch.testing.assert_close(batch[1:2], alone, rtol=1e-12, atol=0)


def test_descent_is_stable_below_two_over_the_largest_eigenvalue_and_not_above() -> None:
    # A linear model has the same kernel everywhere.
    W = torch.zeros(MEMBERS, D_OUT, D_IN, dtype=torch.float64, requires_grad=True)
    x, target = inputs(), torch.ones(MEMBERS, POINTS, D_OUT, dtype=torch.float64)
    largest = tangent_kernel.largest_eigenvalue(x @ W.mT, [W])
    for factor, stable in ((1.9, True), (2.1, False)):
        lr = (factor / largest)[:, None, None]
        w = torch.zeros_like(W)
        for _ in range(2000):
            w = w - lr * (x @ w.mT - target).mT @ x
        assert bool((w.abs() < 100).all()) == stable
