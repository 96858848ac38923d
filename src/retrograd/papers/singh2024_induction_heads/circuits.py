"""The subcircuits of an induction head, and which of them a condition clamps.

What must be learned: A, attend to the token before and hand it on (layer 0); B, match the
query with the keys so enriched (layer 1, query and key); C, copy the attended label to the
output (layer 1, value and output). Clamped through training, a subcircuit is given from the
start, and the rest is learned without waiting for it (paper, section 4 and figure 5b).
"""

from collections.abc import Sequence

from retrograd.clamps import Clamp, Clamping
from retrograd.papers.singh2024_induction_heads.params import Condition


def clamping(condition: Condition, heads: int) -> Clamping:
    """Clamps and wiring of a condition.

    Args:
        condition: none leaves A, B and C to be learned; prev half of A, B and C; layer1 B
            and C; match C; copy A and B; layer1+copy B. Its head of layer 1 is left.
        heads: of a layer.
    """
    if condition.circuit == "all":
        return Clamping()
    head, clamps = condition.head, []
    if heads > 1:
        clamps.append(ablated([h for h in range(heads) if h != head]))
    if condition.circuit == "prev":
        previous = [condition.previous]
        clamps.append(Clamp(layer=0, heads=previous, activation="pattern", to="previous"))
    if condition.circuit == "match":
        clamps.append(
            Clamp(
                layer=1,
                heads=[head],
                activation="pattern",
                to="match",
                strength=condition.strength,
            )
        )
    return Clamping(
        clamps=clamps,
        bypass_first_layer=condition.circuit.startswith("layer1"),
        copy_head=head if condition.circuit.endswith("copy") else None,
    )


def ablated(heads: Sequence[int]) -> Clamp:
    """Heads of layer 1 without values, so that they write nothing and learn nothing."""
    return Clamp(layer=1, heads=list(heads), activation="value", to="zero")
