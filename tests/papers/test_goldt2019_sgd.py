"""Goldt et al. 2019: SGD, the sampled problem, and the parameters."""

import itertools
import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from pydantic import ValidationError

from activations import SLOPE, VALUE
from goldt2019_setup import (
    CPU,
    ORDER_PARAMETERS,
    each_activation,
    few,
    ode,
    sgd,
    sweep,
    training,
)
from retrograd import ensembles
from retrograd.errors import RetrogradError
from retrograd.gaussian import Activation, Array, committee_error
from retrograd.papers.goldt2019_teacher_student import data, train
from retrograd.papers.goldt2019_teacher_student.params import (
    SizeSweep,
    Training,
)

# ---- SGD -------------------------------------------------------------------------------


def one_sample_at_a_time(params: Training, run: int, c: int) -> tuple[Array, ...]:
    """Q, R, v at the end of one run: the updates of "Model and training", word by word."""
    g, slope = VALUE[params.activation], SLOPE[params.activation]
    condition, N = params.conditions()[c], params.N
    drawn = data.sample_weights(params)
    w_star, v_star = drawn.w_star[run], drawn.v_star
    w, v = drawn.w[run, c, : condition.K], drawn.v[run, c, : condition.K]
    inputs, noise = data.Samples(params).next(round(params.alpha_max * N))
    for x, zeta in zip(inputs[:, run], noise[:, run], strict=True):
        field = w @ x / np.sqrt(N)
        y = v_star @ g(w_star @ x / np.sqrt(N)) + params.sigma * zeta
        e = v @ g(field) - y
        dw = -params.eta / np.sqrt(N) * np.outer(v * slope(field) * e, x)
        dv = -params.eta / N * g(field) * e - params.kappa / N * v
        w = w + dw - params.kappa / N * w
        if condition.layers == "both":
            v = v + dv
    return w @ w.T / N, w @ w_star.T / N, v


@each_activation
@pytest.mark.parametrize("kappa", [0.0, 0.4])
def test_batched_sgd_agrees_with_one_sample_at_a_time(
    activation: Activation, kappa: float
) -> None:
    changes = {"activation": activation, "kappa": kappa, "record_overlaps": "end"}
    params, batch = training(**changes), sgd(**changes)
    for run, (c, condition) in itertools.product(range(2), enumerate(params.conditions())):
        alone = one_sample_at_a_time(params, run, c)
        k = slice(condition.K)
        found = batch.isel(seed=run, condition=c, student=k, other_student=k)
        for name, values in zip(ORDER_PARAMETERS, alone, strict=True):
            np.testing.assert_allclose(
                found[f"{name}_end"],
                values,
                rtol=1e-10,
                atol=1e-10,
                err_msg=f"{name} of {condition.label}",
            )


@each_activation
@pytest.mark.parametrize(("K", "tolerance"), [(3, 0.0), (7, 1e-12)])
def test_a_padded_student_is_the_unpadded_one_and_absent_units_stay_zero(
    activation: Activation, K: int, tolerance: float
) -> None:
    # "Padding rule". To the bit for K = 3; sums over 7 units are rounded in another order.
    changes = {"activation": activation, "record_overlaps": "end"}
    alone = sgd(**changes, K=[K])
    padded = sgd(**changes, K=[K, 9]).isel(condition=[0, 2])
    there, absent = (
        padded.isel(student=k, other_student=k) for k in (slice(K), slice(K, None))
    )
    for name in (f"{order_parameter}_end" for order_parameter in ORDER_PARAMETERS):
        xr.testing.assert_allclose(alone[name], there[name], rtol=tolerance, atol=tolerance)
        assert (absent[name] == 0).all()
    xr.testing.assert_allclose(alone["eg"], there["eg"], rtol=1e-11)


@each_activation
def test_a_seed_gives_the_same_bits_alone_and_in_a_batch(activation: Activation) -> None:
    alone, batch = (sgd(activation=activation, seeds=seeds) for seeds in (1, 5))
    xr.testing.assert_identical(alone, batch.isel(seed=[0]))
    distinct = np.unique(batch["eg"].isel(time=-1), axis=0)
    assert len(distinct) == 5


@pytest.mark.parametrize("patterns_per_input", [None, 2])
def test_the_length_of_chunks_changes_no_bit(
    patterns_per_input: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"patterns_per_input": patterns_per_input}
    whole = sgd(**changes)
    bytes_per_step = 8 * whole.sizes["seed"] * training().N
    for steps in (1, 7):
        monkeypatch.setattr(train, "CHUNK_BYTES", steps * bytes_per_step)
        xr.testing.assert_identical(sgd(**changes), whole)


def test_the_recorded_error_is_that_of_the_recorded_overlaps() -> None:
    for activation in ("erf", "relu"):
        params = training(activation=activation)
        path, end = sgd(activation=activation), sgd(activation=activation, **AT_END)
        T = data.instance(params)["T"].values[:, None]
        Q, R, v = (end[f"{name}_end"].values for name in ORDER_PARAMETERS)
        eg = committee_error(params.activation, Q, R, T, v, end["v_star"].values)
        np.testing.assert_array_equal(end["eg"].isel(time=-1), eg)
        for name in ORDER_PARAMETERS:
            last = end[f"{name}_end"].astype(np.float32)
            np.testing.assert_array_equal(path[name].isel(time=-1), last)
        Q, R, v = (path[name].values.astype(float) for name in ORDER_PARAMETERS)
        eg = committee_error(params.activation, Q, R, T[:, None], v, end["v_star"].values)
        np.testing.assert_allclose(path["eg"], eg, rtol=1e-5)
        np.testing.assert_array_equal(path["v_start"], data.instance(params)["v"])


AT_END = {"record_overlaps": "end"}


def test_the_final_error_is_the_mean_over_the_window() -> None:
    params = training(alpha_max=10, window=4, window_records=8)
    ensemble, steps = train.Ensemble(params, CPU), data.record_steps(params)
    late = [step for step in steps.tolist() if step > 6 * params.N]
    assert len(late) >= 8
    Q, R, v = ensembles.follow(ensemble, late, "test").values()
    T = data.instance(params)["T"].values[:, None, None]
    eg = committee_error("erf", Q, R, T, v, ensemble.weights.v_star).mean(-1)
    run = sgd(alpha_max=10, window=4, window_records=8)
    np.testing.assert_allclose(run["eg_final"], eg, rtol=1e-14)
    xr.testing.assert_identical(run["time"], sgd(alpha_max=10)["time"])
    assert "eg_final" not in sgd()


@pytest.mark.parametrize("init", ["random", "small", "informed", "denoiser"])
@each_activation
def test_the_first_record_is_the_sampled_problem(activation: Activation, init: str) -> None:
    params = training(activation=activation, init=init, alpha_max=1, records=2)
    start = train.Ensemble(params, CPU).record()
    instance = data.instance(params)
    for name in ORDER_PARAMETERS:
        np.testing.assert_array_equal(start[name], instance[name], err_msg=name)
    first = train.train(params, {}, CPU)["eg"].isel(time=0)
    np.testing.assert_array_equal(first, instance["eg"])


def test_an_unstable_rate_raises_an_error_that_names_condition_and_step() -> None:
    # "Pitfalls", stability: linear, η K = 2.2 > 2.
    unstable = training(
        N=10,
        K=[2],
        activation="lin",
        layers=["first"],
        v_star=1,
        eta=1.1,
        alpha_max=4000,
        records=2,
        seeds=1,
    )
    with pytest.raises(RetrogradError, match="diverged") as raised:
        train.train(unstable, {}, CPU)
    text = str(raised.value)
    assert "condition 'first, K=2, η=1.1, σ=0.3', seed 0" in text
    found = re.search(r"at step (\d+)", text)
    assert found is not None
    step = int(found[1])
    ensemble = train.Ensemble(unstable, CPU)
    ensemble.advance_to(step)
    with pytest.raises(RetrogradError, match=f"at step {step} "):
        ensemble.advance_to(step + 1)


@each_activation
def test_a_copy_of_the_teacher_stays_without_noise(activation: Activation) -> None:
    run = sgd(activation=activation, K=[2], init="informed", sigma=0)
    assert abs(run["eg"]).max() <= 1e-14
    # With noise it does not.
    assert (
        sgd(activation=activation, K=[2], init="informed")["eg"].isel(time=-1).min() > 1e-6
    )


@pytest.mark.parametrize("activation", ["erf", "lin"])
@pytest.mark.parametrize("kappa", [0.0, 0.4])
def test_sgd_follows_the_ode_on_average(activation: Activation, kappa: float) -> None:
    # The deviation of one run is O(1/√N), about 0.1 here; its mean is O(1/N).
    N, seeds = 200, 16
    params = training(
        N=N,
        K=[1, 3],
        activation=activation,
        v_star=1,
        eta=0.3,
        kappa=kappa,
        alpha_max=5,
        seeds=seeds,
    )
    predicted, found = ode(params), train.train(params, {}, CPU)
    for name in ORDER_PARAMETERS:
        deviation = found[name] - predicted[name]
        allowed = 4 * deviation.std("seed") / np.sqrt(seeds) + 1 / N
        assert (abs(deviation.mean("seed")) <= allowed).all(), name
        moved = abs(found[name] - found[name].isel(time=0)).mean("seed")
        assert moved.max() > 10 * allowed.mean()


# ---- the sampled problem ---------------------------------------------------------------


@pytest.mark.parametrize("init", ["random", "small"])
def test_a_smaller_student_is_the_first_units_of_a_larger_one(init: str) -> None:
    params = training(K=[2, 5], init=init)
    drawn = data.sample_weights(params)
    # The paper's small weights: sd 1/√N and, if the second layer is sampled, 1/√K.
    small, large = drawn.w[:, ::2], drawn.w[:, 1::2]
    np.testing.assert_array_equal(small[:, :, :2], large[:, :, :2])
    assert (small[:, :, 2:] == 0).all()
    of_both = drawn.v[:, 2:] * (np.sqrt([[2], [5]]) if init == "small" else 1)
    np.testing.assert_allclose(of_both[:, 0, :2], of_both[:, 1, :2], rtol=1e-14)
    assert (drawn.v[:, 0] == [1.5, 1.5, 0, 0, 0]).all()


@pytest.mark.parametrize(("init", "variance"), [("random", 1.0), ("small", 1 / 100)])
def test_sampled_weights_are_independent_with_their_standard_deviations(
    init: str, variance: float
) -> None:
    # "Initialisations"; w² averaged over 1e5 entries, v² over 1e3.
    drawn = data.sample_weights(
        training(N=100, K=[4], layers=["both"], init=init, seeds=250)
    )
    assert (drawn.w**2).mean() == pytest.approx(variance, rel=0.02)
    second = 1.0 if init == "random" else 1 / 4
    assert (drawn.v**2).mean() == pytest.approx(second, rel=0.2)
    assert (drawn.w_star**2).mean() == pytest.approx(1, rel=0.02)
    # Student and teacher are independent: R_km has the variance of w over N.
    R = data.overlaps(drawn.w[:, 0], drawn.w_star)
    assert 100 * (R**2).mean() == pytest.approx(variance, rel=0.2)


@each_activation
def test_the_denoiser_starts_without_error(activation: Activation) -> None:
    for M, K in ((2, [2, 3, 7]), (3, [3, 8])):
        eg = data.instance(training(M=M, K=K, activation=activation, init="denoiser"))["eg"]
        shares_teachers = [c for c in eg["condition"].values if c.startswith("both")]
        assert abs(eg).max() <= 1e-12, shares_teachers


def test_informed_students_copy_the_teacher_and_keep_spare_units_near_zero() -> None:
    params = training(K=[5], init="informed")
    instance = data.instance(params)
    Q, R, T = (instance[name].values for name in ("Q", "R", "T"))
    np.testing.assert_array_equal(R[:, 0, :2], T)
    assert (Q[:, 0, 2:, 2:].diagonal(axis1=1, axis2=2) > 0).all()
    assert abs(Q[:, :, 2:]).max() < 1e-7
    assert abs(instance["eg"]).max() < 1e-15


def test_teacher_overlaps_deviate_from_the_identity_by_one_over_root_n() -> None:
    # T_mn has variance 1/N off the diagonal and 2/N on it.
    for N in (25, 400):
        T = data.instance(training(N=N, K=[1], seeds=400))["T"].values
        deviation = np.sqrt(N) * (T - np.eye(2))
        expected = np.sqrt([[2, 1], [1, 2]])
        np.testing.assert_allclose(deviation.std(0), expected, rtol=0.15)
        assert abs(deviation.mean(0)).max() <= 4 * np.sqrt(2 / 400)


def test_online_samples_are_fresh_and_standard_normal() -> None:
    x, zeta = data.Samples(training()).next(5000)
    flat = np.concatenate([x.reshape(len(x), -1), zeta], axis=1)
    covariance = flat.T @ flat / len(flat)
    np.testing.assert_allclose(
        covariance, np.eye(flat.shape[1]), atol=5 * np.sqrt(2 / 5000)
    )
    assert len(np.unique(x)) == x.size


def test_a_finite_set_repeats_its_patterns_with_their_noise() -> None:
    # "Data": P = p N pairs, drawn with replacement, ζ frozen.
    params = training(patterns_per_input=2)
    patterns = 2 * params.N
    x, zeta = data.Samples(params).next(40 * patterns)
    sets = []
    for run in range(params.seeds):
        pairs = np.column_stack([x[:, run], zeta[:, run]])
        distinct, counts = np.unique(pairs, axis=0, return_counts=True)
        assert len(distinct) == len(np.unique(x[:, run], axis=0)) == patterns
        assert counts.min() >= 10  # Poisson of mean 40
        sets.append(distinct)
    assert not np.isin(sets[0], sets[1]).any()


@few
@given(
    N=st.integers(2, 300),
    alpha_max=st.floats(1, 1000),
    records=st.integers(2, 60),
    part=st.floats(0, 0.9),
)
def test_records_run_from_the_start_to_the_end(
    N: int, alpha_max: float, records: int, part: float
) -> None:
    window = part * alpha_max if part * alpha_max * N >= 1 else 0
    params = training(N=N, alpha_max=alpha_max, records=records, window=window)
    steps = data.record_steps(params)
    last = round(alpha_max * N)
    assert (steps[0], steps[-1]) == (0, last)
    assert (np.diff(steps) > 0).all()
    assert len(steps) <= records + 1 + params.window_records + 1
    in_window = steps >= round((alpha_max - window) * N)
    if window * N > 2 * params.window_records:
        assert in_window.sum() >= params.window_records


@few
@given(first=st.integers(2, 20), factors=st.sets(st.integers(2, 9), min_size=1))
def test_sizes_of_a_sweep_share_their_times(first: int, factors: set[int]) -> None:
    params = sweep(N=[first, *(first * f for f in sorted(factors))], window=2)
    times = [data.record_steps(params.at(N), first) / N for N in params.N]
    for other in times[1:]:
        np.testing.assert_allclose(times[0], other, rtol=1e-15)


@pytest.mark.parametrize("params", [training(window=2), sweep(window=2)])
def test_theory_and_simulation_share_variables_dims_and_coordinates(
    params: Training | SizeSweep,
) -> None:
    predicted, found = ode(params), train.train(params, {}, CPU)
    xr.align(found, predicted, join="exact")
    assert set(found.coords) == set(predicted.coords)
    assert {name: v.dims for name, v in found.items()} == {
        name: v.dims for name, v in predicted.items()
    }
    for name in ("time", "K", "eta", "sigma", "layers", "seed"):
        xr.testing.assert_identical(found[name], predicted[name])
    start_found, start_predicted = found.isel(time=0), predicted.isel(time=0)
    for name in (*ORDER_PARAMETERS, "v_start", "eg"):
        xr.testing.assert_allclose(start_found[name], start_predicted[name], rtol=1e-12)


# ---- parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": "informed", "K": [3, 1]}, "informed needs K >= M = 2"),
        ({"init": "denoiser", "K": [1]}, "denoiser needs K >= M = 2"),
        ({"window": 8}, "window must be shorter than alpha_max"),
        ({"window": 9}, "window must be shorter than alpha_max"),
        ({"eta": 0}, "greater than 0"),
        ({"sigma": -0.1}, "greater than or equal to 0"),
        ({"K": []}, "at least 1 item"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        training(**changes)


def test_a_student_smaller_than_its_teacher_may_start_at_random() -> None:
    assert training(K=[1]).K == [1]


def test_sizes_that_cannot_share_times_are_refused() -> None:
    with pytest.raises(ValidationError, match="multiple of the first"):
        sweep(N=[8, 12])
