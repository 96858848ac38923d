"""A small causal transformer for in-context classification: many networks at once.

A sequence is `exemplar label exemplar label ... query`, and the answer is read out at the
query. All tensors carry the ensemble (seeds and conditions) in front, axis E; B is the
batch, T = 2 · pairs + 1 the tokens, H the heads. The last layer is computed for the query
alone. What a network computes on the way is returned with its answer, so that recording it
costs no second pass; any of it can be clamped (`retrograd.clamps`).

Pre-norm blocks, attention without bias, as in Singh et al., ICML 2024, section 2 (rotary
positions) and NeurIPS 2023 (sinusoidal).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retrograd.clamps import Clamps

Weights = dict[str, Tensor]
Layers = tuple[Tensor, ...]
NORM_EPS = 1e-5
ROTARY_BASE = 10_000.0
SINUSOID_BASE = 30.0
TRUNCATED = 2.0  # normal draws beyond this are drawn again
TRUNCATED_STD = 0.8796256610342398  # of a unit normal truncated there


@dataclass(frozen=True)
class Architecture:
    """Sizes of the networks of an ensemble.

    Raises:
        ValueError: the heads do not divide d, or rotary positions meet an odd head size.
    """

    inputs: int
    """D, features of an exemplar"""
    labels: int
    """L, labels in a sequence, and logits"""
    d: int
    """width of the residual stream"""
    heads: int
    layers: int = 2
    pairs: int = 2
    """exemplar-label pairs in context"""
    positions: Literal["rope", "sinusoidal", "learned"] = "rope"
    label_std: float = 0.02
    """factor on the label embeddings, which are unit normal, truncated"""
    mlp: int = 0
    """hidden units of the GELU network of each block, over d; 0: attention only"""

    def __post_init__(self) -> None:
        if self.d % self.heads:
            raise ValueError(f"{self.heads} heads do not divide d = {self.d}")
        if self.positions == "rope" and self.head_size % 2:
            raise ValueError(f"rotary positions: head size {self.head_size} must be even")

    @property
    def head_size(self) -> int:
        return self.d // self.heads

    @property
    def length(self) -> int:
        return 2 * self.pairs + 1


@dataclass(frozen=True)
class Activations:
    """What one forward pass computed. Tq is T, but 1 (the query) in the last layer; a layer
    that was bypassed has no entry."""

    logits: Tensor
    """(E, B, L)"""
    tokens: Tensor
    """(E, B, T, d), embedded"""
    patterns: Layers
    """attention, (E, B, H, Tq, T) per layer"""
    outputs: Layers
    """of the heads, before the output matrix, (E, B, H, Tq, dh) per layer"""
    updates: Layers
    """what attention adds to the residual stream, (E, B, Tq, d) per layer"""
    scores: Tensor
    """of the last layer's query before the softmax, (E, B, H, T)"""


def initial_weights(
    architecture: Architecture,
    generators: Sequence[np.random.Generator],
    device: torch.device | str = "cpu",
) -> Weights:
    """Weights of one network per generator, (E, ...), float32.

    Matrices are truncated normal with standard deviation fan_in^(-1/2), biases zero.
    Learned positions are uniform on ±32^(-1/2), whatever d is.
    """
    members = [_draw(architecture, rng) for rng in generators]
    return {
        name: torch.from_numpy(np.stack([m[name] for m in members]).astype(np.float32))
        .to(device)
        .requires_grad_()
        for name in members[0]
    }


def _draw(a: Architecture, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(rows: int, columns: int) -> np.ndarray:
        return _truncated_normal(rng, (rows, columns)) / (TRUNCATED_STD * np.sqrt(rows))

    def norm(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.gain": np.ones(a.d), f"{name}.bias": np.zeros(a.d)}

    weights = {
        "exemplar.weight": matrix(a.inputs, a.d),
        "exemplar.bias": np.zeros(a.d),
        "label": a.label_std * _truncated_normal(rng, (a.labels, a.d)),
    }
    if a.positions == "learned":
        weights["position"] = rng.uniform(-1, 1, (a.length, a.d)) / np.sqrt(32)
    for layer in range(a.layers):
        weights |= norm(f"{layer}.norm")
        weights[f"{layer}.qkv"] = matrix(a.d, 3 * a.d)
        weights[f"{layer}.out"] = matrix(a.d, a.d)
        if a.mlp:
            weights |= norm(f"{layer}.mlp.norm")
            weights[f"{layer}.mlp.in"] = matrix(a.d, a.mlp * a.d)
            weights[f"{layer}.mlp.in_bias"] = np.zeros(a.mlp * a.d)
            weights[f"{layer}.mlp.out"] = matrix(a.mlp * a.d, a.d)
            weights[f"{layer}.mlp.out_bias"] = np.zeros(a.d)
    weights |= norm("norm")
    weights["readout.weight"] = matrix(a.d, a.labels)
    weights["readout.bias"] = np.zeros(a.labels)
    return weights


def _truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.standard_normal(shape)
    while (outside := abs(values) > TRUNCATED).any():
        values[outside] = rng.standard_normal(np.count_nonzero(outside))
    return values


def embed(weights: Weights, exemplars: Tensor) -> Tensor:
    """Embed exemplars, or a table of them to gather from: (E or 1, n, D) to (E, n, d)."""
    weight, bias = weights["exemplar.weight"], weights["exemplar.bias"]
    return torch.baddbmm(bias[:, None], exemplars.expand(len(weight), -1, -1), weight)


def forward(
    architecture: Architecture,
    weights: Weights,
    exemplars: Tensor,
    labels: Tensor,
    clamps: Clamps | None = None,
    match: Tensor | None = None,
) -> Activations:
    """Answer to each sequence, and what was computed on the way.

    Args:
        exemplars: embedded, the query last, (E, B, pairs + 1, d).
        labels: of the context, (E, B, pairs), int64.
        clamps: what is replaced, from `clamps.compile`.
        match: index of the pair with the query's label, (E, B); clamps to `match` need it.
    """
    tokens = _tokens(architecture, weights, exemplars, labels)
    x = tokens
    patterns, outputs, updates = [], [], []
    bypassed = clamps is not None and clamps.bypass_first_layer
    for layer in range(bypassed, architecture.layers):
        last = layer == architecture.layers - 1
        routing = _shifted(tokens) if bypassed and layer == 1 else x
        scores, pattern, output = _attend(
            architecture, weights, layer, x, routing, last, clamps, match
        )
        update = _project(output, weights[f"{layer}.out"])
        x = (x[:, :, -1:] if last else x) + update
        if architecture.mlp:
            x = x + _mlp(weights, layer, x)
        patterns.append(pattern)
        outputs.append(output)
        updates.append(update)
    if clamps is not None and clamps.copy_head is not None:
        logits = _copied(architecture, scores[:, :, :, -1], labels, clamps.copy_head)
    else:
        logits = read_out(weights, x[:, :, -1])
    return Activations(
        logits, tokens, tuple(patterns), tuple(outputs), tuple(updates), scores[:, :, :, -1]
    )


def read_out(weights: Weights, residual: Tensor) -> Tensor:
    """Logits of a residual stream, (E, B, d) to (E, B, L)."""
    normed = _norm(residual, weights["norm.gain"], weights["norm.bias"])
    return torch.baddbmm(
        weights["readout.bias"][:, None], normed, weights["readout.weight"]
    )


def _tokens(a: Architecture, weights: Weights, exemplars: Tensor, labels: Tensor) -> Tensor:
    members, batch = labels.shape[:2]
    member = torch.arange(members, device=labels.device)[:, None, None]
    tokens = exemplars.new_empty(members, batch, a.length, a.d)
    tokens[:, :, 0::2] = exemplars
    tokens[:, :, 1::2] = weights["label"][member, labels]
    if a.positions == "learned":
        tokens = tokens + weights["position"][:, None]
    elif a.positions == "sinusoidal":
        tokens = tokens + sinusoids(a.length, a.d).to(tokens)
    return tokens


def sinusoids(length: int, d: int) -> Tensor:
    """Positions of time scale 30, (length, d): sine on even columns, cosine on odd."""
    column = np.arange(d)
    angle = np.arange(length)[:, None] / SINUSOID_BASE ** (2 * (column // 2) / d)
    return torch.from_numpy(np.where(column % 2, np.cos(angle), np.sin(angle)))


def rotations(length: int, head_size: int) -> Tensor:
    """Rotary positions as complex numbers, (length, head_size / 2)."""
    frequency = ROTARY_BASE ** (-2 * np.arange(head_size // 2) / head_size)
    angle = np.arange(length)[:, None] * frequency
    return torch.from_numpy(np.exp(1j * angle).astype(np.complex64))


def _norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    shape = (len(gain), *[1] * (x.dim() - 2), -1)
    normed = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
    return torch.addcmul(bias.view(shape), normed, gain.view(shape))


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    """(E, B, n, rows) times (E, rows, columns)."""
    return torch.bmm(x.flatten(1, 2), weight).unflatten(1, x.shape[1:3])


def _attend(
    a: Architecture,
    weights: Weights,
    layer: int,
    x: Tensor,
    routing: Tensor,
    last: bool,
    clamps: Clamps | None,
    match: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, patterns (E, B, H, Tq, T) and outputs (E, B, H, Tq, dh) of a layer's heads.

    Queries and keys come from `routing`, values from `x`.
    """

    def clamped(activation: str, tensor: Tensor) -> Tensor:
        return clamps.apply(layer, activation, tensor, match) if clamps else tensor

    def heads(tensor: Tensor, name: str) -> Tensor:
        return clamped(name, tensor.unflatten(-1, (a.heads, a.head_size)).transpose(2, 3))

    gain, bias = weights[f"{layer}.norm.gain"], weights[f"{layer}.norm.bias"]
    normed = _norm(x, gain, bias)
    routed = normed if routing is x else _norm(routing, gain, bias)
    of_query, of_key, of_value = weights[f"{layer}.qkv"].split(a.d, dim=-1)
    query = heads(_linear(routed[:, :, -1:] if last else routed, of_query), "query")
    key = heads(_linear(routed, of_key), "key")
    value = heads(_linear(normed, of_value), "value")
    if a.positions == "rope":
        rotation = rotations(a.length, a.head_size).to(x.device)
        query, key = _rotated(query, rotation[-query.shape[3] :]), _rotated(key, rotation)
    scores = (query * a.head_size**-0.5) @ key.transpose(-1, -2)
    if not last:
        causal = torch.ones(a.length, a.length, dtype=torch.bool, device=x.device).tril()
        scores = scores.masked_fill(~causal, -torch.inf)
    pattern = clamped("pattern", scores.softmax(-1))
    return scores, pattern, clamped("output", pattern @ value)


def _rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn neighbouring pairs of a head's entries by their position's angle."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotation).flatten(-2)


def _project(output: Tensor, weight: Tensor) -> Tensor:
    return _linear(output.transpose(2, 3).flatten(-2), weight)


def _mlp(weights: Weights, layer: int, x: Tensor) -> Tensor:
    name = f"{layer}.mlp"
    normed = _norm(x, weights[f"{name}.norm.gain"], weights[f"{name}.norm.bias"])
    hidden = (
        _linear(normed, weights[f"{name}.in"]) + weights[f"{name}.in_bias"][:, None, None]
    )
    out = _linear(F.gelu(hidden), weights[f"{name}.out"])
    return out + weights[f"{name}.out_bias"][:, None, None]


def _shifted(tokens: Tensor) -> Tensor:
    """What ideal previous-token heads would hand on: every token but the first and the
    query is replaced by the one before it."""
    return torch.cat([tokens[:, :, :1], tokens[:, :, :-2], tokens[:, :, -1:]], dim=2)


def _copied(a: Architecture, scores: Tensor, labels: Tensor, head: Tensor) -> Tensor:
    """Logits if one head's scores on the label tokens were copied out without error."""
    of_head = scores[torch.arange(len(head), device=head.device), :, head]
    logits = scores.new_full((*labels.shape[:2], a.labels), -1e9)
    return logits.scatter(2, labels, of_head[:, :, 1::2])
