"""The batched transformer: against torch's own modules, and its invariants."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from retrograd.adam import Adam
from retrograd.randomness import stream
from retrograd.transformer import (
    Architecture,
    Weights,
    forward,
    initial_weights,
    read_out,
    rotations,
    sinusoids,
)
from small_transformers import ROTARY, answer, embedded, networks, sequences

SINUSOIDAL = Architecture(inputs=12, labels=5, d=16, heads=4, positions="sinusoidal")
LEARNED = Architecture(inputs=12, labels=5, d=16, heads=4, positions="learned", pairs=3)
DEEP = Architecture(
    inputs=12, labels=5, d=16, heads=2, layers=3, pairs=4, positions="sinusoidal", mlp=4
)
ALL = pytest.mark.parametrize("architecture", [ROTARY, SINUSOIDAL, LEARNED, DEEP])


class Block(nn.Module):
    """A pre-norm block of torch's own parts, with every position computed."""

    def __init__(self, a: Architecture, weights: Weights, member: int, layer: int) -> None:
        super().__init__()
        w = {
            n.removeprefix(f"{layer}."): v[member].detach()
            for n, v in weights.items()
            if n.startswith(f"{layer}.")
        }
        self.norm = norm_of(w["norm.gain"], w["norm.bias"])
        self.heads, self.rotary, self.w = a.heads, a.positions == "rope", w

    def forward(self, x: Tensor) -> Tensor:
        batch, length, d = x.shape
        q, k, v = (
            y.view(batch, length, self.heads, -1).transpose(1, 2)
            for y in (self.norm(x) @ self.w["qkv"]).split(d, -1)
        )
        if self.rotary:
            q, k = rotated(q), rotated(k)
        out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + out.transpose(1, 2).reshape(batch, length, d) @ self.w["out"]
        if "mlp.in" in self.w:
            normed = norm_of(self.w["mlp.norm.gain"], self.w["mlp.norm.bias"])(x)
            hidden = nn.functional.gelu(normed @ self.w["mlp.in"] + self.w["mlp.in_bias"])
            x = x + hidden @ self.w["mlp.out"] + self.w["mlp.out_bias"]
        return x


def norm_of(gain: Tensor, bias: Tensor) -> nn.LayerNorm:
    norm = nn.LayerNorm(len(gain), eps=1e-5)
    norm.load_state_dict({"weight": gain.detach(), "bias": bias.detach()})
    return norm


def rotated(x: Tensor) -> Tensor:
    """Rotary positions in real arithmetic, (..., T, dh)."""
    size = x.shape[-1]
    angle = torch.arange(x.shape[-2])[:, None] * 10_000.0 ** (
        -torch.arange(0, size, 2) / size
    )
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (
        even * angle.cos() - odd * angle.sin(),
        odd * angle.cos() + even * angle.sin(),
    )
    return torch.stack(turned, -1).flatten(-2)


@ALL
def test_agrees_with_a_plain_module(architecture: Architecture) -> None:
    weights = networks(architecture)
    x, labels = sequences(architecture)
    ours = answer(architecture, weights, x, labels)
    for member in range(3):
        w = {name: value[member].detach() for name, value in weights.items()}
        stream_ = torch.empty(6, architecture.length, architecture.d)
        stream_[:, 0::2] = x[member] @ w["exemplar.weight"] + w["exemplar.bias"]
        stream_[:, 1::2] = w["label"][labels[member]]
        if architecture.positions == "sinusoidal":
            stream_ = stream_ + sinusoids(architecture.length, architecture.d).float()
        if architecture.positions == "learned":
            stream_ = stream_ + w["position"]
        for layer in range(architecture.layers):
            stream_ = Block(architecture, weights, member, layer)(stream_)
        normed = norm_of(w["norm.gain"], w["norm.bias"])(stream_[:, -1])
        theirs = normed @ w["readout.weight"] + w["readout.bias"]
        torch.testing.assert_close(ours[member], theirs, rtol=1e-4, atol=1e-5)


def train(architecture: Architecture, seeds: list[int], steps: int) -> Weights:
    weights = initial_weights(architecture, [stream(0, i, "weights") for i in seeds])
    l2 = torch.tensor([0.01 * i for i in seeds])
    optimiser = Adam(weights, lr=1e-2, l2=l2)
    batches = [stream(0, i, "batches") for i in seeds]
    for _ in range(steps):
        x = torch.from_numpy(np.array([rng.standard_normal((8, 3, 12)) for rng in batches]))
        labels = torch.from_numpy(
            np.array([rng.integers(5, size=(8, 2)) for rng in batches])
        )
        logits = answer(architecture, weights, x.float(), labels)
        optimiser.step(-logits.log_softmax(-1)[..., 0].mean(1))
    return weights


@pytest.mark.parametrize("architecture", [ROTARY, SINUSOIDAL])
def test_a_member_has_the_same_bits_alone_and_in_a_batch(
    architecture: Architecture,
) -> None:
    together = train(architecture, [0, 1, 2, 3], 20)
    alone = train(architecture, [2], 20)
    for name, value in alone.items():
        assert torch.equal(value[0], together[name][2]), name


def test_members_that_are_kept_go_on_as_if_nothing_had_happened() -> None:
    whole, kept = networks(ROTARY), networks(ROTARY)
    l2 = torch.tensor([0.0, 0.1, 0.2])
    one, other = Adam(whole, 1e-2, l2), Adam(kept, 1e-2, l2)
    x, labels = sequences(ROTARY)

    def step(optimiser: Adam, weights: Weights, members: list[int]) -> None:
        logits = answer(ROTARY, weights, x[members], labels[members])
        optimiser.step(-logits.log_softmax(-1)[..., 0].mean(1))

    for _ in range(3):
        step(one, whole, [0, 1, 2])
        step(other, kept, [0, 1, 2])
    kept = other.keep([0, 2])
    for _ in range(3):
        step(one, whole, [0, 1, 2])
        step(other, kept, [0, 2])
    for name, value in kept.items():
        assert torch.equal(value, whole[name][[0, 2]]), name


def test_l2_alone_pulls_every_weight_to_zero() -> None:
    """Its gradient is λθ, whatever the weight: of a gain of 1 it is λ."""
    weights = networks(ROTARY, 2)
    optimiser = Adam(weights, lr=1e-3, l2=torch.tensor([0.0, 0.5]))
    captured: dict[str, Tensor] = {}

    def capture(*_: object) -> None:
        for name, w in weights.items():
            assert w.grad is not None
            captured[name] = w.grad.clone()

    optimiser._adam.register_step_pre_hook(capture)
    before = {name: value.detach().clone() for name, value in weights.items()}
    optimiser.step(sum((0.0 * w).flatten(1).sum(1) for w in weights.values()))  # type: ignore[arg-type]
    for name, gradient in captured.items():
        assert torch.equal(gradient[0], torch.zeros_like(gradient[0]))
        torch.testing.assert_close(gradient[1], 0.5 * before[name][1])
    assert (captured["0.norm.gain"][1] == 0.5).all()


@given(st.integers(0, 3))
def test_rotary_scores_depend_on_distance_only(shift: int) -> None:
    rng = stream(0, shift, "query and key")
    q, k = (
        torch.from_numpy(rng.standard_normal(4) + 1j * rng.standard_normal(4)) for _ in "qk"
    )
    turn = rotations(8, 8)
    scores = [((q * turn[4 + s]) * (k * turn[1 + s]).conj()).sum().real for s in (0, shift)]
    assert abs(scores[0] - scores[1]) < 1e-5


def test_sinusoids_by_hand() -> None:
    expected = [0.841, 0.540, 0.414, 0.910, 0.182, 0.983, 0.078, 0.997]
    np.testing.assert_allclose(sinusoids(2, 8)[1], expected, atol=6e-4)


def test_initial_weights_are_truncated_normal() -> None:
    a = Architecture(inputs=512, labels=5, d=64, heads=8)
    weights = networks(a, 2)
    qkv = weights["0.qkv"].detach()
    assert abs(float(qkv.std()) - 64**-0.5) < 0.002
    assert float(qkv.abs().max()) <= 2 * 64**-0.5 / 0.8796
    assert abs(float(weights["exemplar.weight"].detach().std()) - 512**-0.5) < 0.001
    assert abs(float(weights["label"].detach().std()) / 0.02 - 0.88) < 0.06
    assert not weights["readout.bias"].any()
    assert (weights["norm.gain"] == 1).all()


def test_patterns_are_causal_and_sum_to_one() -> None:
    weights = networks(ROTARY)
    x, labels = sequences(ROTARY)
    found = forward(ROTARY, weights, embedded(weights, x), labels)
    first, last = found.patterns
    assert first.shape == (3, 6, 4, 5, 5)
    assert last.shape == (3, 6, 4, 1, 5)
    assert not first.triu(1).any()
    torch.testing.assert_close(first.sum(-1), torch.ones(3, 6, 4, 5))
    torch.testing.assert_close(last, found.scores.softmax(-1)[:, :, :, None])


def test_the_query_does_not_reach_earlier_tokens() -> None:
    weights = networks(ROTARY)
    x, labels = sequences(ROTARY)
    other = x.clone()
    other[:, :, -1] += 1.0
    updates = [
        forward(ROTARY, weights, embedded(weights, e), labels).updates[0][:, :, :-1]
        for e in (x, other)
    ]
    assert torch.equal(*updates)


def test_what_is_recorded_adds_up_to_the_answer() -> None:
    weights = networks(ROTARY)
    x, labels = sequences(ROTARY)
    found = forward(ROTARY, weights, embedded(weights, x), labels)
    residual = found.tokens[:, :, -1] + sum(u[:, :, -1] for u in found.updates)
    torch.testing.assert_close(read_out(weights, residual), found.logits)
    heads = found.outputs[1][:, :, :, 0].flatten(-2)
    torch.testing.assert_close(heads @ weights["1.out"], found.updates[1][:, :, 0])


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        Architecture(inputs=2, labels=2, d=10, heads=4)
    with pytest.raises(ValueError, match="must be even"):
        Architecture(inputs=2, labels=2, d=12, heads=4)
