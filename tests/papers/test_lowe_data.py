"""Löwe et al. 2024: the task, its streams, what answers are worth, and bad parameters."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lowe_setup import learning, one_condition, short_task, study, task
from retrograd.papers.lowe2023_insight import data
from retrograd.papers.lowe2023_insight.data import CONTROL, TEST, Stimuli


def test_blocks_have_their_levels_and_half_of_each_per_label() -> None:
    params = study(seeds=1, networks=3, task=task())
    stimuli = Stimuli(params)
    early, later = stimuli.next(800), stimuli.next(600)
    assert set(np.unique(early.level)) == {2, 3, 4}
    assert early.label.mean() == pytest.approx(0.5, abs=0.05)
    level, label = (a.reshape(6, 100, 6) for a in (later.level, later.label))
    for k, count in enumerate(data.PER_BLOCK):
        assert ((level == k).sum(1) == count).all()
        assert (((level == k) & (label == 1)).sum(1) == count // 2).all()
    orders = {tuple(level[block, :, n]) for block in range(6) for n in range(6)}
    assert len(orders) == 36  # shuffled anew for every block and network


def test_inputs_have_the_means_and_sds_of_the_task() -> None:
    params = study(seeds=1, networks=40, task=task())
    stimuli = Stimuli(params)
    before, after = stimuli.next(1000), stimuli.next(400)
    for trials, worth in ((before, 0), (after, 0.22)):
        motion, colour = trials.inputs[:, 0], trials.inputs[:, 1]
        noise = motion - stimuli.motion_means(trials.level) * trials.label
        assert noise.std() == pytest.approx(0.1, rel=0.02)
        assert abs(noise.mean()) < 0.002
        test, control = (colour[:, :, group] for group in (TEST, CONTROL))
        noise = test - worth * trials.label[:, :, TEST]
        assert noise.std() == pytest.approx(0.01, rel=0.02)
        assert control.std() == pytest.approx(0.01, rel=0.02)


def test_coherences_are_those_of_the_stand_in() -> None:
    # Means and sds of the truncated normals, as the specification has them.
    mu = Stimuli(study(seeds=1, networks=4000, task=short_task())).mu_m
    np.testing.assert_allclose(
        mu.mean((0, 1)), [0.061, 0.089, 0.200, 0.311, 0.358], atol=6e-3
    )
    np.testing.assert_allclose(
        mu.std((0, 1)), [0.052, 0.089, 0.104, 0.100, 0.101], atol=6e-3
    )
    assert (mu >= 0).all()


def test_signed_labels_come_with_a_colour_that_says_nothing_before_the_onset() -> None:
    params = study(seeds=1, networks=40, task=short_task(labels="±1"))
    stimuli = Stimuli(params)
    before, after = stimuli.next(150), stimuli.next(100)
    assert set(np.unique(before.label)) == {-1, 1}
    for trials in (before, after):
        colour = trials.inputs[:, 1]
        np.testing.assert_allclose(abs(colour), 0.22, atol=0.06)
        says = np.sign(colour) * trials.label
        predicts = trials is after
        assert (says[:, :, TEST].mean() == 1) == predicts
        assert abs(says[:, :, CONTROL].mean()) < 0.05


def test_control_networks_have_the_coherences_but_not_the_trials_of_their_partners() -> (
    None
):
    trials = Stimuli(study()).next(50)
    assert (trials.level[:, :, TEST] != trials.level[:, :, CONTROL]).any()
    assert (trials.xi[:, :, :, TEST] != trials.xi[:, :, :, CONTROL]).all()


def test_a_network_draws_the_same_whatever_is_around_it() -> None:
    large, small = (
        Stimuli(study(seeds=s, networks=n, task=short_task(labels="±1")))
        for s, n in ((3, 9), (1, 2))
    )
    np.testing.assert_array_equal(large.mu_m[:1, :2], small.mu_m)
    whole, part = large.next(250), small.next(250)
    for name in ("label", "level", "inputs", "eta", "xi"):
        found = getattr(whole, name)[..., :1, :, :2]
        np.testing.assert_array_equal(found, getattr(part, name), err_msg=name)


def test_accuracy_is_the_probability_that_the_noisy_output_is_positive() -> None:
    rng, samples = np.random.default_rng(0), 400_000
    for drive, motion, colour in (((2.0, 0.5), 0.1, 0.22), ((-1.0, 3.0), 0.3, 0.22)):
        x_m = motion + 0.1 * rng.standard_normal(samples)
        x_c = colour + 0.01 * rng.standard_normal(samples)
        output = drive[0] * x_m + drive[1] * x_c + 0.3 * rng.standard_normal(samples)
        found = data.probability_correct(
            np.array([drive]), np.array(motion), np.array(colour), task(), np.array(0.3)
        )
        assert found[0] == pytest.approx((output > 0).mean(), abs=0.003)


def test_accuracy_is_chance_without_parameters_and_colour_is_worth_nothing_before() -> None:
    nothing = data.probability_correct(
        np.zeros((1, 2)), np.array(0.3), np.array(0.22), task(), np.array(0.3)
    )
    assert nothing == 0.5
    worth = data.colour_means(task())
    assert (worth[:1000] == 0).all()
    assert (worth[1000:, TEST] == 0.22).all()
    assert (worth[:, CONTROL] == 0).all()


def test_the_example_shows_the_trials_that_the_first_network_sees() -> None:
    params = one_condition(task=short_task(), seeds=2, networks=3)
    shown = data.instance(params)
    trials = Stimuli(params).next(250)
    first = int(shown["trial"][0])
    seen = trials.inputs[first : first + shown.sizes["trial"], :, 0, TEST, 0]
    np.testing.assert_allclose(shown["motion"], seen[:, 0], rtol=1e-6)
    np.testing.assert_allclose(shown["colour"], seen[:, 1], rtol=1e-6)
    assert (shown["silent"] >= 0).all()


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (task, {"pretraining": 75}, "multiple of 50"),
        (task, {"colour": 150}, "multiple of 100"),
        (task, {"coherence_mean": [0.1] * 4}, "at least 5"),
        (task, {"M_c": 0}, "greater than 0"),
        (task, {"labels": "1/2"}, "'0/1' or '±1'"),
        (learning, {"lam": -0.1}, "greater than or equal to 0"),
        (learning, {"sigma_eta": 0}, "greater than 0"),
        (learning, {"gates": "fixed", "noise": "gates"}, "gates that are fixed have none"),
        (learning, {"lambda": 0.1}, "unknown key 'lambda'; did you mean 'lam'"),
        (study, {"conditions": {}}, "at least 1"),
        (study, {"networks": 1}, "greater than or equal to 2"),
        (
            one_condition,
            {"conditions": {"a": learning(), "b": learning()}},
            "exactly one is recorded in detail",
        ),
    ],
)
def test_bad_parameters_are_refused_in_words(
    make: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        make(**changes)
