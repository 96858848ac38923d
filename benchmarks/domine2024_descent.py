"""What batching gains: domine2024's gradient descent as one program, against a plain loop.

Compared are `descent.Descent`, which steps all networks (seeds × λ) of a shape together,
and a lean NumPy loop with the same gradients on the same target, one network after the
other; a loop with autograd is slower than that. Both run on one thread in float64; first
they must agree on W1 and W2 after 200 steps.

Then the distance of the tangent kernel by the trace identity against the Kronecker products
that it stands for, and the exact solution (stable form) against stepping NumPy to the time.

Times are µs of CPU, medians of turns taken in alternation, so that drift cancels. Run from
the root.
"""
# ruff: noqa: E402, since the instruction set is fixed before the libraries are imported

from collections.abc import Callable
from statistics import median
from typing import Any

from retrograd.arithmetic import fix_instruction_set, torch_device
from timing import microseconds, options, report

fix_instruction_set()  # before the libraries below look at the processor

import numpy as np

from retrograd.linear_networks import kernel_distance
from retrograd.papers.domine2024_lazy_to_rich import data, exact
from retrograd.papers.domine2024_lazy_to_rich.data import Networks
from retrograd.papers.domine2024_lazy_to_rich.descent import Descent
from retrograd.papers.domine2024_lazy_to_rich.params import Regression, Shape

Array = np.ndarray[Any, np.dtype[np.float64]]
DEVICE = torch_device("cpu", "laptop")  # with one thread
ETA = 0.01
PLAIN_NETWORK_STEPS = 4000  # of one turn of the plain loop: less than a second
HEADING = "case                  networks  plain/µs  batched/µs  ratio"
ROW = "{:20} {:9} {:9.2f} {:11.3f} {:6.1f}"


def sample(shape: tuple[int, int, int], seeds: int, lams: int) -> Networks:
    params = Regression(seed=0, seeds=seeds, hi=1.5, lo=0.5, s0=0.1)
    return data.sample(params, Shape(*shape), np.linspace(-2, 2, lams).tolist())


def plain_descent(networks: Networks, steps: int, count: int) -> list[tuple[Array, Array]]:
    """The first `count` networks, one after the other."""
    found = []
    for run, column in list(np.ndindex(networks.W1.shape[:2]))[:count]:
        W1, W2 = networks.W1[run, column].copy(), networks.W2[run, column].copy()
        target = networks.target[run, 0]
        for _ in range(steps):
            error = ETA * (target - W2 @ W1)
            dW1, dW2 = W2.T @ error, error @ W1.T
            W1 += dW1
            W2 += dW2
        found.append((W1, W2))
    return found


def alternate(
    slow: Callable[[], object],
    per_slow: float,
    fast: Callable[[], object],
    per_fast: float,
    repeat: int,
) -> tuple[float, float]:
    """Median microseconds of both, in turns."""
    turns = [
        (microseconds(slow, per_slow), microseconds(fast, per_fast)) for _ in range(repeat)
    ]
    first, second = zip(*turns, strict=True)
    return median(first), median(second)


def compare_descent(
    case: str, shape: tuple[int, int, int], seeds: int, lams: int, steps: int, repeat: int
) -> list[Any]:
    """µs per network and step; stops if the two do not do equal work."""
    networks, count = sample(shape, seeds, lams), seeds * lams
    batch = Descent(networks, ETA, lambda W1, W2: {}, DEVICE)
    batch.advance_to(200)
    for own, its in zip(plain_descent(networks, 200, 1)[0], batch.weights(), strict=True):
        np.testing.assert_allclose(own, its[0, 0], atol=1e-11, err_msg=f"{case}: unequal")
    plain_steps = PLAIN_NETWORK_STEPS // min(count, 4)
    slow, fast = alternate(
        lambda: plain_descent(networks, plain_steps, 4),
        plain_steps * min(count, 4),
        lambda: batch.advance_to(batch.step + steps),
        steps * count,
        repeat,
    )
    return [case, count, slow, fast, slow / fast]


def compare_kernel(N: int, repeat: int) -> list[Any]:
    """µs per kernel distance of networks of N inputs, outputs and samples."""
    networks = sample((N, N, N), 4, 16)
    A = np.swapaxes(networks.W1, -1, -2) @ networks.W1
    B = networks.W2 @ np.swapaxes(networks.W2, -1, -2)
    X = np.sqrt(N) * np.eye(N)

    def kernel(run: int, column: int) -> Array:
        of_input = np.kron(np.eye(N), X.T @ A[run, column] @ X)
        return of_input + np.kron(B[run, column], X.T @ X)

    def distance() -> float:
        K, K_other = kernel(0, 0), kernel(1, 0)
        inner = (K * K_other).sum()
        return float(1 - inner / np.linalg.norm(K) / np.linalg.norm(K_other))

    found = kernel_distance(A[0, 0], B[0, 0], A[1, 0], B[1, 0])
    np.testing.assert_allclose(distance(), found, atol=1e-12)
    slow, fast = alternate(
        lambda: [distance() for _ in range(20)], 20,
        lambda: [kernel_distance(A, B, A[:1], B[:1]) for _ in range(20)], 20 * 64,
        repeat,
    )  # fmt: skip
    return [f"kernel distance N={N}", 64, slow, fast, slow / fast]


def compare_exact(repeat: int) -> list[Any]:
    """µs per network and time: the loop to t = 8, for 81 records, and the solution."""
    networks, times = sample((5, 5, 5), 3, 5), np.linspace(0, 8, 81)
    steps = round(8 / ETA)
    slow, fast = alternate(
        lambda: plain_descent(networks, steps, 4), 4 * 81,
        lambda: exact.solution(networks, times), 15 * 81,
        repeat,
    )  # fmt: skip
    return ["exact, 81 times", 15, slow, fast, slow / fast]


def main() -> None:
    args = options(__doc__, steps=2000, repeat=7).parse_args()
    sizes = {"alone": (1, 1), "16": (2, 8), "128": (8, 16), "1024": (64, 16)}
    rows = [
        compare_descent(f"N=8, {name}", (8, 8, 8), *size, args.steps, args.repeat)
        for name, size in sizes.items()
    ]
    rows.append(
        compare_descent("arch: (8, 4, 4)", (8, 4, 4), 5, 14, args.steps, args.repeat)
    )
    rows += [compare_kernel(N, args.repeat) for N in (4, 8, 16)]
    rows.append(compare_exact(args.repeat))
    report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
