"""Singh et al. 2023: the ceiling of in-context learning, and two competing mechanisms."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retrograd import ensembles
from retrograd.papers.singh2023_transient_icl import theory, toy, train
from retrograd.papers.singh2023_transient_icl.params import Ceiling, Toy
from singh2023_setup import CPU


def two(**changes: Any) -> Toy:
    usual = {"n": 5, "n_d": 12, "steps": 300, "records": 20, "seeds": 3}
    return Toy(**(usual | changes))


# ---- two mechanisms: descent -------------------------------------------------------------


def explicit(params: Toy, true: dict, vectors: dict) -> dict[str, torch.Tensor]:
    """L, l1, l2 and C of one run, by the tensors themselves."""

    def outer(x: str, of: dict) -> torch.Tensor:
        return torch.einsum("i,j,k->ijk", of[x], of["b"], of["c"])

    l1, l2 = (((outer(x, true) - outer(x, vectors)) ** 2).mean() / 2 for x in ("a", "d"))
    cost = (torch.outer(vectors["a"], vectors["d"]) ** 2).mean() / 2
    loss = (l1 + params.mu1) * (l2 + params.mu2) + params.alpha * cost
    return {"L": loss, "l1": l1, "l2": l2, "cost": cost}


def test_losses_and_gradients_are_those_of_the_tensors() -> None:
    params = two(mu2=0.05, alpha=0.3)  # T11
    true, vectors = toy.instance(params)
    losses = toy.losses(params, true, vectors)
    gradients = toy.gradient(params, true, vectors, losses)
    for run in range(params.seeds):
        t = {k: torch.from_numpy(v[run]) for k, v in true.items()}
        x = {k: torch.from_numpy(v[run]).requires_grad_() for k, v in vectors.items()}
        expected = explicit(params, t, x)
        for name, value in expected.items():
            assert losses[name][run] == pytest.approx(value.item(), abs=1e-12, rel=1e-12)
        expected["L"].backward()
        for name, value in x.items():
            np.testing.assert_allclose(
                gradients[name][run], value.grad, rtol=1e-12, atol=1e-12
            )


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_the_loss_only_falls_at_a_small_rate(seed: int) -> None:
    params = two(lr=0.05, steps=60, seed=seed, seeds=1)
    steps = list(range(0, 61, 5))
    loss = ensembles.follow(toy.Descent(params), steps, "toy", axes=1)["L"]
    assert (np.diff(loss) <= 0).all()


def test_a_run_rests_once_it_is_done() -> None:
    params = two(stop_loss=0.5, lr=0.1)
    descent = toy.Descent(params)
    descent.advance_to(200)
    loss = descent.record()["L"]
    assert (loss < 0.5).all()
    descent.advance_to(300)
    np.testing.assert_array_equal(descent.record()["L"], loss)
    assert descent.step == 300


def test_mechanism_1_is_learnt_and_lost_to_the_second() -> None:
    found = train.toy(two(n=20, n_d=160, steps=6000, records=60, seeds=2), {}, CPU)
    l1, l2 = found["l1"][0].values, found["l2"][0].values
    assert l1.min() < 0.02
    assert l1[-1] > 0.1
    assert l1.argmin() < len(l1) - 10
    assert l2[-1] < 1e-3 < l2[l1.argmin()]


def test_without_their_competition_both_are_learnt() -> None:
    usual = {"n": 20, "n_d": 160, "steps": 10_000, "records": 60, "seeds": 2}
    alone = train.toy(two(**usual, alpha=0, mu2=0.1), {}, CPU)
    end = alone[["l1", "l2"]].isel(iteration=-1, seed=0)
    assert float(end["l1"]) < 0.01
    assert float(end["l2"]) < 0.01


def test_records_are_steps_from_the_first_to_the_last() -> None:
    steps = toy.steps(two(steps=16000, records=120))
    assert steps[0] == 0
    assert steps[-1] == 16000
    assert (np.diff(steps) > 0).all()


def test_seeds_have_vectors_of_their_own_whatever_their_number() -> None:
    few, many = (toy.instance(two(seeds=n)) for n in (2, 3))
    for one, other in zip(few, many, strict=True):
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name][:2])
            assert not np.allclose(values[0], values[1])
    assert not np.allclose(few[0]["a"], few[1]["a"])  # true ones and initial ones


# ---- two mechanisms: flow ----------------------------------------------------------------


def test_the_flow_of_order_parameters_is_that_of_the_vectors() -> None:
    params = two(mu2=0.05, alpha=0.3, seeds=1)
    true, vectors = toy.instance(params)
    slopes = toy.gradient(params, true, vectors, toy.losses(params, true, vectors))
    state, expected = [], []
    for v in theory.NAMES:
        x, goal, slope = (a[v][0] for a in (vectors, true, slopes))
        state.append([x @ x, x @ goal])
        expected.append([-2 * x @ slope, -slope @ goal])
    size = np.array([(true[v][0] ** 2).sum() for v in theory.NAMES])
    found = theory._velocity(params, size, 0.0, np.array(state))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_descent_follows_the_flow_at_a_small_rate() -> None:
    params = two(n=20, n_d=160, lr=0.05, steps=4000, records=40, seeds=2)
    descent, flow = train.toy(params, {}, CPU), theory.competition(params, {})
    for name in toy.LOSSES:
        np.testing.assert_allclose(descent[name], flow[name], atol=0.02, err_msg=name)
    np.testing.assert_allclose(
        descent["L"].isel(iteration=0), flow["L"].isel(iteration=0), rtol=1e-6
    )


# ---- the ceiling -------------------------------------------------------------------------


def test_the_ceiling_is_the_specifications() -> None:
    cases = {
        (64, 1.2): (0.9932, 0.9908, 0.987),
        (64, 1.0): (0.9992, 0.9983, 0.9962),
        (64, 2.0): (0.873, 0.871, 0.869),
        (32, 1.2): (0.959, 0.952, 0.942),
        (128, 1.2): (0.9998, 0.9996, 0.9992),
    }
    D1, eps = zip(*cases, strict=True)
    params = Ceiling(D1=D1, eps=eps, n_ex=10, samples=40_000)
    found = theory.ceiling(params, {})
    for i, (bayes, product, normal) in enumerate(cases.values()):
        # Three standard errors of the estimate, and the rounding of the specification.
        error = 3 * (bayes * (1 - bayes) / 40_000) ** 0.5 + 5e-4
        assert float(found["bayes"][i]) == pytest.approx(bayes, abs=error)
        assert float(found["dot_product"][i]) == pytest.approx(product, abs=error)
        assert float(found["normal"][i]) == pytest.approx(normal, abs=5e-4)
    assert (found["bayes"] >= found["dot_product"]).all()
    assert float(found["repeated"][0]) == pytest.approx(0.992, abs=0.002)


@given(D1=st.integers(1, 300), eps=st.floats(0.01, 10))
@settings(max_examples=50, deadline=None)
def test_more_dimensions_and_less_noise_make_matching_easier(D1: int, eps: float) -> None:
    accuracy = theory.approximate(D1, eps)
    assert 0.5 < accuracy <= 1
    assert theory.approximate(D1 + 50, eps) >= accuracy
    assert theory.approximate(D1, 1.5 * eps) <= accuracy


def test_limits_of_the_ceiling() -> None:
    params = Ceiling(D1=[64, 64], eps=[1e-3, 100.0], n_ex=1, samples=4000)
    found = theory.ceiling(params, {})
    assert float(found["bayes"][0]) == 1
    assert float(found["dot_product"][1]) == pytest.approx(0.5, abs=0.03)
    np.testing.assert_array_equal(found["repeated"], 1)  # the only exemplar there is


def test_cases_come_in_pairs() -> None:
    with pytest.raises(ValidationError, match="one of each for every case"):
        Ceiling(D1=[64], eps=[1.0, 2.0], n_ex=1, samples=10)
