"""Clamps: activations of a transformer that are replaced, once or throughout training.

"Artificial optogenetics" (Singh et al., ICML 2024, section 4): what a head attends to, its
query, key, value or output is set to something else in every forward pass, so that what is
learned without it, or given it, shows what it is for. A clamp is described in a config; it
works inside the forward pass, so gradients flow through everything that is not replaced,
and not to what is.

    clamps:
      - {layer: 1, heads: [1, 2, 3], activation: value, to: zero} # ablate three heads
      - {layer: 0, heads: [0], activation: pattern, to: previous} # impose a pattern

Members of an ensemble may be clamped differently. docs/clamping.md has the whole story.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from retrograd.parameters import Model

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from retrograd.transformer import Architecture

Activation = Literal["pattern", "query", "key", "value", "output"]
To = Literal["zero", "own", "head", "given", "previous", "match"]
Index = Annotated[int, Field(ge=0)]


class Clamp(Model):
    """One activation of some heads of a layer, and what replaces it."""

    layer: Index
    """counted from 0"""
    heads: Literal["all"] | Annotated[list[Index], Field(min_length=1)]
    """counted from 0"""
    activation: Activation
    """pattern: attention after the softmax; query, key: before positions are added by
    rotation; value; output: what the head hands to the output matrix"""
    to: To
    """zero; own: itself, to stop its gradient; head: the same activation of another head;
    given: a tensor of the experiment; previous: attention to the token before; match: the
    query's attention to the label of the matching exemplar"""
    source: Index | None = None
    """the head that `to: head` takes the activation from"""
    given: str | None = None
    """the name of the tensor of `to: given`"""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """of `to: match`: attention on the right label; the other labels share the rest"""
    gradient: Literal["flow", "stop"] = "flow"
    """whether what replaces the activation is trained through it"""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for field, needed in (("source", self.to == "head"), ("given", self.to == "given")):
            if (getattr(self, field) is not None) != needed:
                raise ValueError(f"to: {self.to} takes {'a' if needed else 'no'} {field}")
        if self.to in ("previous", "match") and self.activation != "pattern":
            raise ValueError(f"to: {self.to} is a pattern, not a {self.activation}")
        if self.strength != 1 and self.to != "match":
            raise ValueError("strength belongs to `to: match`")
        return self


class Clamping(Model):
    """How one network is clamped: its activations, and its wiring."""

    clamps: list[Clamp] = []
    bypass_first_layer: bool = False
    """the second layer's patterns see each token as the one before it, as ideal
    previous-token heads would have it; its values and the residual stream see the
    embedded tokens. The first layer is not computed"""
    copy_head: Index | None = None
    """logits are this head's scores of the query on the label tokens, in the last layer,
    as ideal output weights would have it. Labels in context must differ"""


class _Replacement(NamedTuple):
    """Clamps of one kind on one activation of one layer, for all members."""

    to: To
    stop: bool
    where: "Tensor"
    """(E, 1, H, 1, 1): heads that are clamped"""
    source: "Tensor"
    """(E, H): heads that activations are taken from"""
    strength: "Tensor"
    """(E, 1, H, 1)"""
    given: "Tensor | None"


class Clamps(NamedTuple):
    """Clampings of all members of an ensemble, ready for the forward pass."""

    replacements: Mapping[tuple[int, str], tuple[_Replacement, ...]]
    bypass_first_layer: bool
    copy_head: "Tensor | None"

    def apply(
        self, layer: int, activation: str, x: "Tensor", match: "Tensor | None"
    ) -> "Tensor":
        """An activation of a layer, (E, B, H, rows, columns), with what replaces it."""
        import torch

        for replacement in self.replacements.get((layer, activation), ()):
            by = _replaced_by(replacement, x, match)
            x = torch.where(replacement.where, by.detach() if replacement.stop else by, x)
        return x


def compile(
    members: Sequence[Clamping],
    architecture: "Architecture",
    device: "torch.device | str" = "cpu",
    given: "Mapping[str, Tensor] | None" = None,
) -> Clamps | None:
    """Clampings of an ensemble, one per member, for `transformer.forward`.

    Args:
        given: tensors by name, each broadcasting to (E, B, H, rows, columns) of the
            activation that it replaces.

    Returns:
        None where nothing is clamped: the forward pass is then the plain one.

    Raises:
        ValueError: a layer or head does not exist, an activation is clamped twice, a given
            tensor is missing, or members differ in wiring.
    """
    import torch

    wirings = {(m.bypass_first_layer, m.copy_head is None) for m in members}
    if len(wirings) > 1:
        raise ValueError("members of one ensemble must have the same wiring")
    bypass, no_copy = wirings.pop()
    if bypass and architecture.layers != 2:
        raise ValueError("bypass_first_layer: the network must have two layers")
    copy_head = None
    if not no_copy:
        copied = [m.copy_head for m in members]
        for head in copied:
            _check(head, architecture.heads, "copy_head")
        copy_head = torch.tensor(copied, device=device)
    replacements: dict[tuple[int, str], tuple[_Replacement, ...]] = {}
    for kind, entries in _by_kind(members, architecture).items():
        made = _replacement(kind, entries, len(members), architecture, device, given or {})
        replacements[kind[:2]] = (*replacements.get(kind[:2], ()), made)
    if not replacements and not bypass and no_copy:
        return None
    return Clamps(replacements, bypass, copy_head)


class _Kind(NamedTuple):
    """Clamps that can be carried out together."""

    layer: int
    activation: Activation
    to: To
    gradient: str
    given: str | None


class _Entry(NamedTuple):
    """A head of a member that is clamped."""

    member: int
    head: int
    clamp: Clamp


def _by_kind(
    members: Sequence[Clamping], architecture: "Architecture"
) -> dict[_Kind, list[_Entry]]:
    kinds: dict[_Kind, list[_Entry]] = {}
    for member, clamping in enumerate(members):
        seen: set[tuple[int, str, int]] = set()
        for clamp in clamping.clamps:
            kind = _Kind(
                clamp.layer, clamp.activation, clamp.to, clamp.gradient, clamp.given
            )
            for head in _heads(clamp, architecture):
                place = (clamp.layer, clamp.activation, head)
                if place in seen:
                    raise ValueError(
                        f"layer {clamp.layer}, head {head}: its {clamp.activation} is "
                        "clamped twice"
                    )
                seen.add(place)
                kinds.setdefault(kind, []).append(_Entry(member, head, clamp))
    return kinds


def _heads(clamp: Clamp, architecture: "Architecture") -> Iterator[int]:
    _check(clamp.layer, architecture.layers, "layer")
    if clamp.source is not None:
        _check(clamp.source, architecture.heads, "source")
    for head in range(architecture.heads) if clamp.heads == "all" else clamp.heads:
        _check(head, architecture.heads, "head")
        yield head


def _check(index: int | None, size: int, what: str) -> None:
    if index is None or index >= size:
        raise ValueError(f"{what} {index}: there are {size}, counted from 0")


def _replacement(
    kind: _Kind,
    entries: Sequence[_Entry],
    members: int,
    architecture: "Architecture",
    device: "torch.device | str",
    given: "Mapping[str, Tensor]",
) -> _Replacement:
    import torch

    if kind.given is not None and kind.given not in given:
        raise ValueError(f"given: '{kind.given}' is none of the tensors {sorted(given)}")
    where = torch.zeros(members, architecture.heads, dtype=torch.bool)
    source = torch.zeros(members, architecture.heads, dtype=torch.int64)
    strength = torch.ones(members, architecture.heads)
    for member, head, clamp in entries:
        where[member, head] = True
        source[member, head] = clamp.source or 0
        strength[member, head] = clamp.strength
    return _Replacement(
        kind.to,
        kind.gradient == "stop",
        where[:, None, :, None, None].to(device),
        source.to(device),
        strength[:, None, :, None].to(device),
        None if kind.given is None else given[kind.given],
    )


def _replaced_by(rule: _Replacement, x: "Tensor", match: "Tensor | None") -> "Tensor":
    """What replaces an activation, broadcasting to its shape."""
    import torch

    match rule.to:
        case "zero":
            return x.new_zeros(())
        case "own":
            return x
        case "head":
            member = torch.arange(len(x), device=x.device)[:, None]
            return x[member, :, rule.source].transpose(1, 2)
        case "given":
            assert rule.given is not None  # compile() has checked it
            return rule.given
        case "previous":
            return _previous(x)
        case "match":
            if match is None:
                raise ValueError("a clamp to `match` needs to know the matching pair")
            return _matched(x, match, rule.strength)


def _previous(x: "Tensor") -> "Tensor":
    """Every row attends to the token before it; the first row to itself."""
    rows, columns = x.shape[-2:]
    before = [max(row - 1, 0) for row in range(columns - rows, columns)]
    pattern = x.new_zeros(rows, columns)
    pattern[range(rows), before] = 1.0
    return pattern


def _matched(x: "Tensor", match: "Tensor", strength: "Tensor") -> "Tensor":
    """The query's row attends to labels only; the rows before it stay as they are."""
    import torch

    pairs = x.shape[-1] // 2
    right = torch.nn.functional.one_hot(match, pairs).to(x)[:, :, None]
    on_labels = right * strength + (1 - right) * (1 - strength) / max(pairs - 1, 1)
    row = x.new_zeros(*x.shape[:3], x.shape[-1])
    row[..., 1::2] = on_labels
    return torch.cat([x[..., :-1, :], row[..., None, :]], dim=-2)
