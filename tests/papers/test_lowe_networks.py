"""Löwe et al. 2024: the update rule, its pitfalls and limits, and batches of networks."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from lowe_setup import (
    CPU,
    SLUG,
    Array,
    learning,
    one_condition,
    short_task,
    step,
    study,
    task,
)
from retrograd.config import load_paper
from retrograd.errors import RetrogradError
from retrograd.papers.lowe2023_insight import networks, train
from retrograd.papers.lowe2023_insight.networks import G_C, G_M, W_C, Ensemble, G, W
from retrograd.papers.lowe2023_insight.params import Learning, Study
from retrograd.papers.lowe2023_insight.switch_fit import ROBUST

STATE = np.array([1, 0.5, 0.3, 0.2])  # w_m, g_m, w_c, g_c
X = np.array([0.4, 0.2])
FINITE = st.floats(-2, 2)


def gradient(theta: Array, x: Array, label: float) -> Array:
    """Of ½e², by central differences of the loss."""

    def loss(at: Array) -> float:
        return (at[0] * at[1] * x[0] + at[2] * at[3] * x[1] - label) ** 2 / 2

    h = 1e-5
    return np.array(
        [(loss(theta + h * i) - loss(theta - h * i)) / (2 * h) for i in np.eye(4)]
    )


@given(st.lists(FINITE, min_size=4, max_size=4), st.tuples(FINITE, FINITE), st.booleans())
def test_without_penalty_and_noise_a_trial_is_a_step_of_gradient_descent(
    theta: list[float], x: tuple[float, float], label: bool
) -> None:
    plain = learning(rule="paper", lam=0, alpha=0.01)
    moved = step(plain, theta, x, label, np.zeros(4))
    expected = theta - 0.01 * gradient(np.array(theta), np.array(x), label)
    np.testing.assert_allclose(moved, expected, atol=1e-7)


def test_the_penalty_is_not_scaled_by_the_learning_rate_but_the_noise_is() -> None:
    # Pitfalls: λ without α, ξ with it; ξ = 0.1 is 2 standard deviations.
    moved = step(learning(), STATE, X, 1, np.full(4, 2.0))
    error = 0.2 + 0.012 - 1
    assert moved[G_M] == pytest.approx(0.67912, abs=1e-12)
    assert moved[G_C] == pytest.approx(0.2 - 0.6 * 0.3 * 0.2 * error - 0.07 + 0.06)
    np.testing.assert_allclose(
        moved[W], STATE[W] - 0.6 * STATE[G] * X * error + 0.06, rtol=1e-12
    )


def test_the_printed_rule_scales_them_the_other_way_round() -> None:
    moved = step(learning(rule="paper"), STATE, X, 1, np.full(4, 2.0))
    error = 0.2 + 0.012 - 1
    assert moved[G_M] == pytest.approx(0.5 - 0.6 * 0.4 * error - 0.6 * 0.07 + 0.1)


@pytest.mark.parametrize(("xi", "left"), [(0.05, 0.0), (0.1, 0.018), (-0.1, -0.018)])
def test_a_gate_at_zero_leaves_by_what_exceeds_the_dead_zone(
    xi: float, left: float
) -> None:
    # And it feels no penalty: sign(0) = 0. The dead zone is αλ, not λ.
    at_zero = np.array([0.0, 0, 0, 0])
    moved = step(learning(), at_zero, (0, 0), 0, np.full(4, xi / 0.05))
    np.testing.assert_allclose(moved[G], left, atol=1e-15)
    printed = step(learning(rule="paper"), at_zero, (0, 0), 0, np.full(4, xi / 0.05))
    np.testing.assert_allclose(printed[G], xi, atol=1e-15)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gate_that_would_change_sign_stops_at_zero(sign: int) -> None:
    start = sign * np.array([1, 0.01, 1, 0.01])
    assert (step(learning(), start, (0, 0), 0, np.zeros(4))[G] == 0).all()
    printed = step(learning(rule="paper"), start, (0, 0), 0, np.zeros(4))[G]
    np.testing.assert_allclose(printed, sign * (0.01 - 0.042))


def test_noise_is_added_before_a_sign_is_clipped() -> None:
    # −0.06 after the penalty alone, but the noise of 0.09 brings it back.
    start = np.array([1, 0.01, 1, 0.01])
    moved = step(learning(), start, (0, 0), 0, np.full(4, 3.0))
    np.testing.assert_allclose(moved[G], 0.01 - 0.07 + 0.09)


def test_the_l2_penalty_is_proportional_to_the_gate() -> None:
    moved = step(learning(penalty="l2"), STATE, (0, 0), 0, np.zeros(4))
    np.testing.assert_allclose(moved[G], STATE[G] * (1 - 0.07))


def test_fixed_gates_stay_one_and_masked_noise_moves_nothing() -> None:
    ones = np.array([0.2, 1, 0.3, 1])
    moved = step(learning(gates="fixed"), ones, X, 1, np.full(4, 2.0))
    assert (moved[G] == 1).all()
    assert (moved[W] != ones[W]).all()
    noise = step(learning(noise="gates"), STATE, (0, 0), 0, np.full(4, 2.0))
    assert (noise[W] == STATE[W]).all()
    noise = step(learning(noise="weights"), STATE, (0, 0), 0, np.full(4, 2.0))
    np.testing.assert_allclose(noise, STATE + np.array([0.06, -0.07, 0.06, -0.07]))


RULES = st.sampled_from([learning(), learning(rule="paper"), learning(penalty="l2")])
FOUR = st.lists(FINITE, min_size=4, max_size=4)


@given(RULES, FOUR, st.tuples(FINITE, FINITE), FOUR)
def test_the_sign_of_a_weight_and_its_gate_together_is_free(
    rule: Learning, theta: list[float], x: tuple[float, float], xi: list[float]
) -> None:
    flip = np.array([1, 1, -1, -1])
    moved = step(rule, theta, x, 1, xi)
    mirrored = step(rule, flip * theta, x, 1, flip * xi)
    np.testing.assert_array_equal(mirrored, flip * moved)


@given(FOUR, st.tuples(FINITE, FINITE), FOUR)
def test_the_code_never_changes_the_sign_of_a_gate_in_one_trial(
    theta: list[float], x: tuple[float, float], xi: list[float]
) -> None:
    moved = step(learning(), theta, x, 1, xi)
    assert (moved[G] * np.array(theta)[G] >= 0).all()


@pytest.mark.parametrize("scale", ["laptop", "published"])
def test_every_section_of_a_preset_learns(scale: Any) -> None:
    sections = dict(load_paper(SLUG, seed=0).scales[scale])
    assert len(sections) == 5
    for params in sections.values():
        small = params.model_copy(update={"networks": 2})
        ensemble = Ensemble(small)
        ensemble.advance(3)
        assert np.isfinite(ensemble.theta).all()
        assert ensemble.theta.shape == (4, len(params.conditions), params.seeds, 2, 2)


# ---- populations -----------------------------------------------------------------------


def theta_at_end(params: Study) -> Array:
    return networks.simulate(params).theta[-1]


def test_a_run_and_a_network_are_the_same_alone_and_in_any_batch() -> None:
    conditions = {"a": learning(), "b": learning(lam=0.01), "c": learning(rule="paper")}
    batch = study(seeds=3, networks=7, conditions=conditions)
    whole = theta_at_end(batch)  # (4, condition, seed, group, network)
    fewer = theta_at_end(study(seeds=2, networks=4, conditions={"b": conditions["b"]}))
    np.testing.assert_array_equal(whole[:, 1:2, :2, :, :4], fewer)


def test_the_length_of_the_pieces_does_not_matter() -> None:
    params = study()
    whole, pieces = Ensemble(params), Ensemble(params)
    whole.advance(100)
    for count in (1, 36, 63):
        pieces.advance(count)
    np.testing.assert_array_equal(whole.theta, pieces.theta)
    assert whole.trial == pieces.trial == 100


def test_populations_differ_by_run_and_by_master_seed() -> None:
    runs = theta_at_end(study())
    assert (runs[:, :, 0] != runs[:, :, 1]).any()
    assert (runs != theta_at_end(study(seed=1))).any()


def test_without_noise_the_gates_close_in_the_first_trial_and_nothing_is_learned() -> None:
    params = study(conditions={"σ=0": learning(sigma_xi=0)})
    record = networks.simulate(params)
    assert (record.theta[1:, G] == 0).all()
    assert (record.series == 0.5).all()


def test_without_motion_and_colour_accuracy_stays_at_chance() -> None:
    silent = short_task(coherence_mean=[0] * 5, coherence_sd=[0] * 5)
    record = networks.simulate(study(task=silent))
    assert (record.series[..., 1, :, :] == 0.5).all()  # the controls
    assert (record.series[..., 0, :, :2] == 0.5).all()  # before the onset
    assert (record.series[..., 0, :, 2:] != 0.5).any()


def test_the_sweeps_share_trials_and_noise_with_the_default() -> None:
    both = {"default": learning(), "λ=0.01": learning(lam=0.01)}
    swept = networks.simulate(study(conditions=both))
    alone = networks.simulate(study())
    np.testing.assert_array_equal(swept.series[:1], alone.series)


def test_networks_that_diverge_are_counted_and_have_no_insight() -> None:
    wild = {"wild": learning(rule="paper", alpha=50), "default": learning()}
    found = train.conditions(study(conditions=wild), {}, CPU)
    diverged = found["diverged"].sel(condition="wild")
    assert (diverged == 5).all()
    assert (found["insight_fraction"].sel(condition="wild") == 0).all()
    assert (found["diverged"].sel(condition="default") == 0).all()
    assert all(np.isfinite(found[name]).all() for name in found.data_vars)


def test_a_detailed_recording_refuses_networks_that_diverge() -> None:
    wild = one_condition(conditions={"wild": learning(rule="paper", alpha=50)})
    with pytest.raises(RetrogradError, match="wild: test network 0 of run 0 diverged"):
        train.train(wild, {}, CPU)


@pytest.fixture(scope="module")
def published() -> Any:
    """120 networks of the default condition, over all trials."""
    return networks.simulate(
        one_condition(task=task(), seeds=1, networks=120), detailed=True
    )


def test_the_colour_weight_walks_and_the_gate_holds_it_back(published: Any) -> None:
    # T3 and T4; a missing α of the noise would give a ratio of 1.67.
    onset = published.at(1000)
    assert onset[W_C].std() / (0.6 * 0.05 * np.sqrt(1000)) == pytest.approx(1, abs=0.13)
    assert (onset[G_C] == 0).mean() == pytest.approx(0.86, abs=0.07)


def test_after_the_switch_colour_drives_the_output_towards_1_over_its_mean(
    published: Any,
) -> None:
    # T6; the sign of weight and gate is free, that of their product is not.
    fit = train.Fit.to(published.series[0], 4)
    end = published.at(1400)[:, 0, 0, 0][:, fit.score[0, 0] > ROBUST]
    drive = end[W_C] * end[G_C]
    assert 2.4 < drive.mean() < 3.8 < 1 / 0.22
    assert (drive >= 0).mean() >= 0.98
    assert 0.2 < (end[W_C] < 0).mean() < 0.8


def test_the_gradient_is_that_of_the_first_five_trials(published: Any) -> None:
    ensemble = Ensemble(one_condition(task=task(), seeds=1, networks=120))
    ensemble.advance(1000)
    trials, before = ensemble.advance(5)
    x, w, g = trials.inputs[:, :, None], before[:, W], before[:, G]
    error = (w * g * x).sum(1) + 0.3 * trials.eta[:, None] - trials.label[:, None]
    expected = abs(w[:, 1] * x[:, 1] * error).mean(0)
    np.testing.assert_allclose(published.gradient, expected, rtol=1e-12)


def test_controls_follow_the_same_statistics_before_the_onset(published: Any) -> None:
    right = published.accuracy[:4, :, 0, 0].mean(0)  # (level, group)
    np.testing.assert_allclose(right[:, 0], right[:, 1], atol=0.03)
    assert (np.diff(right[:, 0]) > 0).all()
