"""Clamps: what is replaced, what stays to the bit, and where gradients go."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from retrograd.clamps import Clamp, Clamping, Clamps, compile
from retrograd.transformer import Activations, Weights, forward
from small_transformers import ROTARY, embedded, networks, sequences

MATCH = torch.tensor([[0, 1, 0, 1, 1, 0]] * 3)
ACTIVATIONS = ["pattern", "query", "key", "value", "output"]


def clamping(*clamps: dict[str, Any], **wiring: Any) -> Clamping:
    return Clamping(clamps=[Clamp(**c) for c in clamps], **wiring)


def run(clamps: Clamps | None, weights: Weights | None = None) -> Activations:
    weights = weights or networks(ROTARY)
    x, labels = sequences(ROTARY)
    return forward(ROTARY, weights, embedded(weights, x), labels, clamps, MATCH)


def for_all(*clamps: dict[str, Any], given: Any = None, **wiring: Any) -> Clamps | None:
    return compile([clamping(*clamps, **wiring)] * 3, ROTARY, given=given)


def gradients(clamps: Clamps | None) -> dict[str, Tensor]:
    weights = networks(ROTARY)
    logits = run(clamps, weights).logits
    logits.log_softmax(-1)[..., 0].sum().backward()
    return {
        n: torch.zeros_like(w) if w.grad is None else w.grad for n, w in weights.items()
    }


def columns(gradient: Tensor, part: int, head: int) -> Tensor:
    """Of a gradient of W_qkv, those of one head's q, k or v."""
    return gradient.unflatten(-1, (3, 4, 4))[:, :, part, head]


def test_no_clamp_is_the_plain_program() -> None:
    assert compile([Clamping()] * 3, ROTARY) is None


@pytest.mark.parametrize("layer", [0, 1])
def test_a_head_clamped_to_its_own_pattern_changes_nothing(layer: int) -> None:
    plain = run(None)
    own = {"p": plain.patterns[layer].detach()}
    clamps = for_all(
        {
            "layer": layer,
            "heads": "all",
            "activation": "pattern",
            "to": "given",
            "given": "p",
        },
        given=own,
    )
    assert torch.equal(run(clamps).logits, plain.logits)


@given(st.sampled_from(ACTIVATIONS), st.integers(0, 1), st.integers(0, 3))
@settings(deadline=None, max_examples=20)
def test_own_activations_and_a_heads_own_source_are_no_change(
    activation: str, layer: int, head: int
) -> None:
    place = {"layer": layer, "heads": [head], "activation": activation}
    plain = run(None).logits
    assert torch.equal(run(for_all(place | {"to": "own"})).logits, plain)
    assert torch.equal(run(for_all(place | {"to": "head", "source": head})).logits, plain)


@pytest.mark.parametrize("activation", ["value", "output"])
@pytest.mark.parametrize("layer", [0, 1])
def test_zero_is_removal(activation: str, layer: int) -> None:
    """The same as a network whose output matrix has no rows for the head."""
    clamps = for_all({"layer": layer, "heads": [2], "activation": activation, "to": "zero"})
    removed = networks(ROTARY)
    with torch.no_grad():
        removed[f"{layer}.out"].unflatten(1, (4, 4))[:, 2] = 0
    assert torch.equal(run(clamps).logits, run(None, removed).logits)
    assert not torch.equal(run(clamps).logits, run(None).logits)


def test_without_any_value_the_context_is_not_seen() -> None:
    clamps = for_all(
        {"layer": 0, "heads": "all", "activation": "value", "to": "zero"},
        {"layer": 1, "heads": "all", "activation": "value", "to": "zero"},
    )
    weights = networks(ROTARY)
    x, labels = sequences(ROTARY)
    other = torch.cat([x[:, :, :2] + 1.0, x[:, :, 2:]], 2)
    logits = [
        forward(ROTARY, weights, embedded(weights, e), y, clamps).logits
        for e, y in ((x, labels), (other, labels.flip(-1)))
    ]
    assert torch.equal(*logits)


def test_an_ablated_head_gets_no_gradient() -> None:
    found = gradients(
        for_all({"layer": 1, "heads": [0, 3], "activation": "value", "to": "zero"})
    )
    for part in range(3):
        for head in (0, 3):
            assert not columns(found["1.qkv"], part, head).any()
        assert columns(found["1.qkv"], part, 1).any()


def test_an_imposed_pattern_stops_queries_and_keys_but_not_values() -> None:
    found = gradients(
        for_all({"layer": 1, "heads": [1], "activation": "pattern", "to": "match"})
    )
    query, key, value = (columns(found["1.qkv"], part, 1) for part in range(3))
    assert not query.any()
    assert not key.any()
    assert value.any()


@pytest.mark.parametrize("gradient", ["flow", "stop"])
def test_gradients_through_a_replacement_flow_or_stop(gradient: str) -> None:
    """Another head's query: the head it comes from is trained through it, or not."""
    clamp = {"layer": 1, "heads": [1], "activation": "query", "to": "head", "source": 2}
    through = gradients(for_all(clamp | {"gradient": gradient}))["1.qkv"]
    alone = gradients(
        for_all(
            clamp | {"gradient": gradient},
            {"layer": 1, "heads": [2], "activation": "value", "to": "zero"},
        )
    )["1.qkv"]
    assert not columns(through, 0, 1).any()
    assert columns(alone, 0, 2).any() == (gradient == "flow")


def test_a_stopped_own_activation_keeps_numbers_and_loses_its_gradient() -> None:
    clamps = for_all(
        {
            "layer": 0,
            "heads": "all",
            "activation": "output",
            "to": "own",
            "gradient": "stop",
        }
    )
    assert torch.equal(run(clamps).logits, run(None).logits)
    assert not gradients(clamps)["0.qkv"].any()
    assert gradients(None)["0.qkv"].any()


def test_a_given_tensor_can_be_trained_through() -> None:
    value = torch.ones(4, 5, 4, requires_grad=True)
    place = {"layer": 1, "heads": [0], "activation": "value", "to": "given", "given": "v"}
    run(for_all(place, given={"v": value})).logits.sum().backward()
    assert value.grad is not None
    assert value.grad[0].any()
    assert not value.grad[1:].any()


def test_previous_and_match_are_what_they_say() -> None:
    found = run(
        for_all(
            {"layer": 0, "heads": [1], "activation": "pattern", "to": "previous"},
            {
                "layer": 1,
                "heads": [2],
                "activation": "pattern",
                "to": "match",
                "strength": 0.9,
            },
        )
    )
    previous = torch.cat([torch.eye(5)[:1], torch.eye(5)[:4]])
    assert torch.equal(found.patterns[0][:, :, 1], previous.expand(3, 6, 5, 5))
    row = found.patterns[1][:, :, 2, 0]
    torch.testing.assert_close(row[:, :, 1], torch.where(MATCH == 0, 0.9, 0.1))
    torch.testing.assert_close(row[:, :, 3], torch.where(MATCH == 1, 0.9, 0.1))
    assert not row[..., 0::2].any()


def test_a_match_in_an_earlier_layer_leaves_the_other_rows() -> None:
    place = {"layer": 0, "heads": [0], "activation": "pattern", "to": "match"}
    plain, found = run(None), run(for_all(place))
    assert torch.equal(found.patterns[0][..., :-1, :], plain.patterns[0][..., :-1, :])
    assert (found.patterns[0][:, :, 0, -1, 0::2] == 0).all()


def test_members_may_differ_in_what_is_clamped() -> None:
    ablate = [
        clamping({"layer": 1, "heads": [h], "activation": "value", "to": "zero"})
        for h in range(3)
    ]
    together = run(compile(ablate, ROTARY)).logits
    for member, one in enumerate(ablate):
        assert torch.equal(together[member], run(compile([one] * 3, ROTARY)).logits[member])


def test_the_first_layer_bypassed_is_not_trained() -> None:
    found = gradients(for_all(bypass_first_layer=True))
    assert all(not g.any() for name, g in found.items() if name.startswith("0."))
    assert found["1.qkv"].any()
    assert len(run(for_all(bypass_first_layer=True)).patterns) == 1


def test_bypassed_patterns_see_the_token_before() -> None:
    """Patterns do not change with what the shifted tokens drop: the last label."""
    clamps = for_all(bypass_first_layer=True)
    weights = networks(ROTARY)
    x, labels = sequences(ROTARY)
    other = labels.clone()
    other[:, :, -1] = (other[:, :, -1] + 1) % 5
    one, two = (
        forward(ROTARY, weights, embedded(weights, x), y, clamps) for y in (labels, other)
    )
    assert torch.equal(one.patterns[0], two.patterns[0])
    assert not torch.equal(one.logits, two.logits)


def test_copied_scores_are_the_logits() -> None:
    distinct = torch.tensor([[[0, 3]] * 6] * 3)
    weights = networks(ROTARY)
    x, _ = sequences(ROTARY)
    clamps = compile([clamping(copy_head=h) for h in (0, 1, 3)], ROTARY)
    found = forward(ROTARY, weights, embedded(weights, x), distinct, clamps)
    for member, head in enumerate((0, 1, 3)):
        scores = found.scores[member, :, head]
        assert torch.equal(found.logits[member, :, 0], scores[:, 1])
        assert torch.equal(found.logits[member, :, 3], scores[:, 3])
    assert (found.logits[..., [1, 2, 4]] == -1e9).all()
    reached = gradients(clamps)
    assert not reached["readout.weight"].any()
    assert not reached["1.out"].any()
    assert reached["0.out"].any()


def test_mistakes_are_named() -> None:
    place = {"layer": 1, "heads": [0], "activation": "value"}
    for wrong, said in (
        ({"to": "head"}, "takes a source"),
        ({"to": "zero", "source": 1}, "takes no source"),
        ({"to": "given"}, "takes a given"),
        ({"to": "match"}, "is a pattern"),
        ({"to": "zero", "strength": 0.5}, "belongs to"),
    ):
        with pytest.raises(ValidationError, match=said):
            clamping(place | wrong)
    for bad, said in (
        ([clamping(place | {"to": "zero"} | {"heads": [4]})], "there are 4"),
        ([clamping(place | {"to": "zero"} | {"layer": 2})], "there are 2"),
        ([clamping(place | {"to": "head", "source": 9})], "there are 4"),
        ([clamping(copy_head=7)], "there are 4"),
        ([clamping(place | {"to": "zero"}, place | {"to": "own"})], "clamped twice"),
        ([clamping(place | {"to": "given", "given": "v"})], "none of the tensors"),
        ([clamping(), clamping(bypass_first_layer=True)], "same wiring"),
    ):
        with pytest.raises(ValueError, match=said):
            compile(bad, ROTARY)
    needs_match = for_all(place | {"activation": "pattern", "to": "match"})
    weights = networks(ROTARY)
    x, labels = sequences(ROTARY)
    with pytest.raises(ValueError, match="matching pair"):
        forward(ROTARY, weights, embedded(weights, x), labels, needs_match)
