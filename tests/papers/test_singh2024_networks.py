"""Singh et al. 2024: clamped networks, what they can and cannot learn, and the records."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from retrograd.clamps import Clamping, compile
from retrograd.config import load_paper
from retrograd.errors import RetrogradError
from retrograd.papers.singh2024_induction_heads import train
from retrograd.papers.singh2024_induction_heads.circuits import clamping
from retrograd.papers.singh2024_induction_heads.params import Training, condition
from retrograd.papers.singh2024_induction_heads.training import (
    Batch,
    Member,
    Networks,
    induction_strength,
    previous_strength,
)
from retrograd.transformer import read_out
from singh2024_setup import CPU, SLUG, answers, networks, training

CLAMPED = ["none", "prev", "layer1", "match", "copy", "layer1+copy"]


def batch_of(made: Networks) -> Batch:
    return made._draw()[-1]


def gradients(made: Networks) -> dict[str, torch.Tensor]:
    """Of the loss on a batch; zero where a weight is not used."""
    batch = batch_of(made)
    target = batch.labels.gather(2, batch.match[..., None])
    (-answers(made, batch).log_softmax(-1).gather(2, target)).sum().backward()
    return {
        name: torch.zeros_like(w) if w.grad is None else w.grad
        for name, w in made.weights.items()
    }


# ---- clamps ------------------------------------------------------------------------------


def test_t4_without_values_the_context_is_not_seen() -> None:
    made = networks("all")
    last_layer = Clamping(clamps=[train.ablated(range(4))])
    everything = Clamping(
        clamps=[
            {"layer": layer, "heads": "all", "activation": "value", "to": "zero"}
            for layer in (0, 1)
        ]
    )
    batch = batch_of(made)
    other = Batch(
        torch.cat([batch.classes[..., :2].flip(1), batch.classes[..., 2:]], -1),
        batch.labels.flip(1),
        batch.match,
    )
    made._clamps = compile([everything] * 2, made.architecture)
    assert torch.equal(answers(made, batch), answers(made, other))
    # Layer 0 alone hands the context on.
    made._clamps = compile([last_layer] * 2, made.architecture)
    assert not torch.equal(answers(made, batch), answers(made, other))


def test_t5_the_only_head_is_no_clamp() -> None:
    only, whole = (networks(name, H=1) for name in ("only 0", "all"))
    for made in (only, whole):
        made.advance(5)
    batch = batch_of(only)
    assert torch.equal(answers(only, batch), answers(whole, batch))


def test_t6_what_is_clamped_gets_no_gradient() -> None:
    values = gradients(networks("only 2"))["1.qkv"].unflatten(-1, (3, 4, 4))[:, :, 2]
    assert not values[:, :, [0, 1, 3]].any()
    assert values[:, :, 2].any()
    bypassed = gradients(networks("layer1"))
    assert not any(g.any() for name, g in bypassed.items() if name.startswith("0."))
    assert bypassed["1.qkv"].any()
    copied = gradients(networks("copy"))
    assert not any(copied[n].any() for n in ("readout.weight", "readout.bias", "1.out"))
    assert copied["0.out"].any()
    imposed = gradients(networks("match"))["1.qkv"].unflatten(-1, (3, 4, 4))
    assert not imposed[:, :, :2].any()


@pytest.mark.parametrize("name", CLAMPED)
def test_every_condition_is_what_the_specification_says(name: str) -> None:
    made = clamping(replace(condition(name), previous=3), 8)
    assert made.bypass_first_layer == (name in ("layer1", "layer1+copy"))
    assert made.copy_head == (0 if name in ("copy", "layer1+copy") else None)
    ablated, *rest = made.clamps
    assert (ablated.layer, ablated.heads, ablated.to) == (1, [1, 2, 3, 4, 5, 6, 7], "zero")
    expected = {"prev": [(0, [3], "previous")], "match": [(1, [0], "match")]}
    assert [(c.layer, c.heads, c.to) for c in rest] == expected.get(name, [])
    assert clamping(condition("all"), 8) == Clamping()


def test_clamps_are_seen_in_the_patterns() -> None:
    made = networks("match s=0.75")
    found = made.evaluate("train")
    assert induction_strength(found)[:, 0] == pytest.approx(0.5)
    assert abs(induction_strength(found)[:, 1:]).max() < 0.2
    found = networks("prev").evaluate("train")
    assert previous_strength(found)[:, 0] == pytest.approx(1)
    assert previous_strength(found)[:, 1:].max() < 0.8


def test_t8_untrained_attention_to_the_token_before_is_a_half() -> None:
    # Of two tokens that the first label can see, each gets about half.
    params = training("all", d=64, H=8, D=32, seeds=4)
    made = Networks(params, [Member(condition("all"), s) for s in range(4)], CPU)
    pattern = made.evaluate("train").activations.patterns[0]
    assert float(pattern[..., 1, 0].mean()) == pytest.approx(0.5, abs=0.1)


def test_t12_the_query_is_not_seen_by_earlier_tokens() -> None:
    made = networks("all")
    batch = batch_of(made)
    other = Batch(batch.classes.clone(), batch.labels, batch.match)
    other.classes[..., 2] = 0
    outputs = [
        made._forward(made.weights, each, None).outputs[0][..., :4, :]
        for each in (batch, other)
    ]
    assert torch.equal(*outputs)


def test_t14_initial_weights_have_the_standard_deviation_of_the_specification() -> None:
    params = training("all", d=64, H=8)
    made = Networks(params, [Member(condition("all"), 0)], CPU)
    assert made.weights["1.qkv"].detach().std() == pytest.approx(0.125, abs=0.002)
    assert made.weights["label"].detach().std() == pytest.approx(0.0176, abs=0.002)


# ---- runs --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["all", "match", "layer1", "copy"])
def test_t7_a_run_is_the_same_alone_and_in_a_batch(name: str) -> None:
    params = training(name, seeds=3)
    members = [Member(condition(name), seed) for seed in range(3)]
    together = Networks(params, members, CPU)
    losses = together.advance(50)
    for i, member in enumerate(members):
        alone = Networks(params, [member], CPU)
        assert alone.advance(50)[0] == pytest.approx(losses[i], abs=1e-4)


def test_conditions_of_a_seed_share_weights_and_sequences() -> None:
    made = networks("none", "prev", "none K=20")
    for weight in made.weights.values():
        assert torch.equal(weight[:2], weight[2:4])
        assert torch.equal(weight[:2], weight[4:])
    batch = batch_of(made)
    assert torch.equal(batch.classes[:2], batch.classes[2:4])
    assert not torch.equal(batch.classes[0], batch.classes[1])
    assert batch.classes[4:].max() > 6 + 10
    assert batch.classes[:4].max() < 6 + 10


def test_more_labels_and_classes_leave_the_other_weights_as_they_are() -> None:
    few, many = networks("none"), networks("none L=9 K=30")
    together = networks("none", "none L=9 K=30")
    of_labels = {"label", "readout.weight", "readout.bias"}
    for name, weight in few.weights.items():
        if name not in of_labels:
            assert torch.equal(weight, many.weights[name])
    assert torch.equal(few.weights["label"], many.weights["label"][:, :4])
    assert torch.equal(
        few.weights["readout.weight"], many.weights["readout.weight"][..., :4]
    )
    assert few.weights["label"].is_leaf
    # Fewer labels in an ensemble with more: never an answer, and never learned.
    start = {name: w.detach().clone() for name, w in together.weights.items()}
    losses = [made.advance(20) for made in (few, many, together)]
    np.testing.assert_allclose(losses[2], np.concatenate(losses[:2]), atol=1e-5)
    for name, unused in (
        ("label", [slice(2), slice(4, None)]),
        ("readout.bias", [slice(2), slice(4, None)]),
    ):
        index = tuple(unused)
        assert torch.equal(together.weights[name][index], start[name][index])
    found = together.evaluate("train").activations.logits
    assert found[:2].argmax(-1).max() < 4
    assert found[2:].argmax(-1).max() >= 4
    assert found.shape[-1] == 9


def test_a_run_that_is_left_alone_goes_on_as_before() -> None:
    both, alone = networks("none", "prev", seeds=1), networks("prev", seeds=1)
    for made in (both, alone):
        made.advance(7)
    both.keep([1])
    assert [m.condition.name for m in both.members] == ["prev"]
    np.testing.assert_allclose(both.advance(60), alone.advance(60), atol=1e-5)


def test_a_run_that_diverges_is_named() -> None:
    made = networks("none", "prev", lr=1e30)
    with pytest.raises(RetrogradError, match="condition 'none', seed 0, was non-finite"):
        made.advance(50)


def longer(name: str, steps: int, **changes: Any) -> Networks:
    """The smoke scale's sizes."""
    smoke = load_paper(SLUG, seed=0).scales["smoke"].clamped
    params = smoke.model_copy(update=changes)
    made = Networks(params, [Member(condition(name), s) for s in range(2)], CPU)
    made.advance(steps)
    return made


def test_smoke_runs_learn_as_the_specification_says() -> None:
    losses = {
        name: longer(name, 150).evaluate("train").loss
        for name in ("none", "match", "layer1+copy")
    }
    assert losses["match"].max() < 0.1
    assert losses["layer1+copy"].max() < 0.1
    assert (losses["none"] > losses["match"]).all()


def test_t3_an_imposed_head_without_information_stays_on_the_plateau() -> None:
    assert longer("match s=0.5", 300, evaluate=500).evaluate("train").loss == pytest.approx(
        0.69, abs=0.09
    )


def test_t13_the_order_of_the_context_does_not_matter_after_training() -> None:
    made = longer("match", 150, evaluate=500)
    found = made.evaluate("train")
    batch = found.batch
    flipped = Batch(
        torch.cat([batch.classes[..., :2].flip(-1), batch.classes[..., 2:]], -1),
        batch.labels.flip(-1),
        1 - batch.match,
    )
    target = batch.labels.gather(2, batch.match[..., None])[..., 0]
    with torch.no_grad():
        right = answers(made, flipped).argmax(-1) == target
    np.testing.assert_allclose(right.double().mean(1), found.accuracy, atol=0.02)
    assert found.accuracy.min() > 0.95


# ---- records -----------------------------------------------------------------------------


def test_the_product_has_every_run_padded_with_its_last_record() -> None:
    params = training(
        "none", "match", steps=60, every=10, stop=1.3, lr=3e-3, measure=["match", "prev"]
    )
    made = train.train(params, {}, CPU)
    assert made["condition"].values.tolist() == ["none", "match"]
    t, loss = made["sequences"], made["loss"]
    assert (t.isel(record=0) == 0).all()
    steps = t.diff("record")
    assert set(np.unique(steps).tolist()) == {0, 80}
    stopped = steps == 0
    assert stopped.any()
    assert (loss.diff("record").where(stopped, 0) == 0).all()
    # A run stops at its first record below the limit, not before.
    below = (loss < 1.3).isel(record=slice(None, -1)).assign_coords(record=steps["record"])
    assert (below == stopped).all()
    assert made["pm_match"].dims == ("seed", "record")
    assert (made["pm_match"].isel(record=-1) < loss.sel(condition="none")[:, 0]).all()


def test_whole_networks_are_recorded_and_taken_apart() -> None:
    params = training("all", steps=40, other_sets_every=2, take_apart_on=80)
    made = train.train(params, {}, CPU)
    assert made["induction_strength"].dims == ("condition", "seed", "record", "head")
    assert made["other_loss"].sizes["other_record"] == 3
    assert made["other_sequences"].values[0, 0].tolist() == [0, 160, 320]
    networks_at_end = Networks(
        params, [Member(condition("all"), seed) for seed in range(2)], CPU
    )
    networks_at_end.advance(40)
    networks_at_end.evaluate_on(80)
    every = made["cumulative_loss"].isel(heads_kept=-1)[0]
    np.testing.assert_allclose(every, networks_at_end.evaluate("train").loss, atol=1e-5)
    np.testing.assert_allclose(
        made["without_layer_0"][0], networks_at_end.without_first_layer(), atol=0.03
    )
    strongest = induction_strength(networks_at_end.evaluate("train")).argmax(1)
    for seed in range(2):
        others = [g for g in range(4) if g != strongest[seed]]
        only = Clamping(clamps=[train.ablated(others)])
        found = networks_at_end.evaluate("train", [seed], [only])
        assert found.loss[0] == pytest.approx(
            float(made["cumulative_loss"][0, seed, 0]), abs=1e-5
        )


def test_taking_out_what_layer_0_wrote_is_what_it_says() -> None:
    made = networks("all", d=32, lr=1e-2)
    made.advance(60)
    found = made.evaluate("train")
    seen = found.activations
    weights = {name: w.detach().clone() for name, w in made.weights.items()}
    # Where layer 0 writes nothing there is nothing to take out.
    made.weights["0.out"].data.zero_()
    np.testing.assert_array_equal(
        made.without_first_layer(), made.evaluate("train").accuracy
    )
    made.weights["0.out"].data.copy_(weights["0.out"])
    residual = seen.tokens[:, :, -1] + seen.updates[0][:, :, -1] + seen.updates[1][:, :, -1]
    with torch.no_grad():
        whole = answers(made, found.batch)
        np.testing.assert_allclose(read_out(made.weights, residual), whole, atol=1e-5)


def test_a_published_run_takes_its_steps() -> None:
    published = load_paper(SLUG, seed=0).scales["published"]
    for section in ("all", "single", "clamped", "sweep_none", "sweep_clamped", "strength"):
        params: Training = getattr(published, section).model_copy(update={"seeds": 1})
        for members in [
            g for b in params.batches for g in train.groups(params, b, [(3, 2)])
        ]:
            made = Networks(params, members, CPU)
            assert np.isfinite(made.advance(2)).all()
            assert np.isfinite(made.evaluate("newclass").loss).all()


def test_classes_never_trained_are_known_to_nobody() -> None:
    made = networks("all")
    assert made._table.shape == (6 + 10, 16)
    rows = batch_of(made).classes
    assert rows.min() >= 6
    for name, least, most in (("train", 6, 16), ("newclass", 0, 6)):
        classes = made.evaluate(name).batch.classes  # type: ignore[arg-type]
        assert least <= classes.min()
        assert classes.max() < most


def test_strengths_are_read_off_the_patterns() -> None:
    made = networks("all")
    found = made.evaluate("train")
    pattern = found.activations.patterns[1][:, :, :, 0]
    sequence, by_hand = range(40), np.zeros((2, 4))
    for e in range(2):
        for b in sequence:
            right = 1 + 2 * int(found.batch.match[e, b])
            by_hand[e] += (
                pattern[e, b, :, right] - pattern[e, b, :, 4 - right]
            ).numpy() / 40
    np.testing.assert_allclose(induction_strength(found), by_hand, atol=1e-6)


def test_the_strongest_heads_are_left_and_clamped() -> None:
    whole = train.train(training("all", steps=20, other_sets_every=1), {}, CPU)
    whole["induction_strength"][0, :, -1] = [[0.1, 0.2, 0.9, 0.3], [0.5, 0.1, 0.1, 0.4]]
    whole["previous_strength"][0, :, -1] = [[0.1, 0.9, 0.2, 0.3], [0.5, 0.1, 0.1, 0.6]]
    left = train.strongest_heads({"all": whole})
    assert left == [(2, 1), (0, 3)]
    params = training("none", "prev K=20", "only 3")
    (members,) = train.groups(params, params.batches[0], left)
    heads = [(m.condition.head, m.condition.previous) for m in members]
    assert heads == [*left, *left, (3, 1), (3, 3)]
    found = train.train(training("match s=1"), {"all": whole}, CPU)["loss"][0, :, -1]
    made = networks("match s=1")
    made.advance(20)
    of_head_0 = made.evaluate("train").loss
    assert found[0] != pytest.approx(of_head_0[0])
    assert found[1] == pytest.approx(of_head_0[1], abs=1e-5)
