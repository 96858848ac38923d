"""What batching gains: singh2024's transformers as one program, or one module per seed.

Compared are `training.Networks`, which step E networks together, and the loop a newcomer
would write: one network (an `nn.Module` of `nn.Linear`, `nn.LayerNorm` and `nn.Embedding`)
after the other, with `torch.optim.Adam`. Both run on one thread, in float32, from the same
weights on the same sequences, at the sizes of the laptop scale with nothing clamped. First
they must agree: their logits to 1e-5, before training and after 5 steps.

Times are ms of CPU per network-step, so waiting for other jobs does not count: medians of
turns taken in alternation, so that drift cancels. Run from the root.
"""

import sys
from functools import partial
from statistics import median
from typing import Any

from retrograd.arithmetic import fix_instruction_set, torch_device
from timing import microseconds, options, report

if "torch" not in sys.modules:  # before the libraries below look at the processor
    fix_instruction_set()

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from retrograd.config import load_paper
from retrograd.papers.singh2024_induction_heads.params import condition
from retrograd.papers.singh2024_induction_heads.training import Batch, Member, Networks

DEVICE = torch_device("cpu", "laptop")  # with one thread
SLUG = "singh2024_induction_heads"
ENSEMBLES = (1, 3, 8)
SPECIFIED = (3.6, 2.2, 1.9)  # ms per network-step
CHECKED_STEPS, TOLERANCE = 5, 1e-5
HEADING = "networks  plain/ms  batched/ms  ratio  specified/ms"
ROW = "{:8} {:9.2f} {:11.2f} {:6.2f} {:13.1f}"


class Attention(nn.Module):
    """Causal attention with rotary positions, all tokens."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, d // heads
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        position = torch.arange(5)[:, None]
        angle = position * 10_000.0 ** (-torch.arange(0, self.size, 2) / self.size)
        self.register_buffer("cosine", angle.cos())
        self.register_buffer("sine", angle.sin())
        self.register_buffer("causal", torch.ones(5, 5, dtype=torch.bool).tril())

    def rotate(self, x: Tensor) -> Tensor:
        even, odd = x[..., 0::2], x[..., 1::2]
        first = even * self.cosine - odd * self.sine
        second = odd * self.cosine + even * self.sine
        return torch.stack([first, second], -1).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, self.size)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, -1)
        )
        scores = self.rotate(q) @ self.rotate(k).mT / self.size**0.5
        pattern = scores.masked_fill(~self.causal, -torch.inf).softmax(-1)
        return self.out((pattern @ v).transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]


class Plain(nn.Module):
    """One network."""

    def __init__(self, D: int, L: int, d: int, heads: int) -> None:
        super().__init__()
        self.exemplar, self.label = nn.Linear(D, d), nn.Embedding(L, d)
        self.norms = nn.ModuleList([nn.LayerNorm(d) for _ in range(2)])
        self.blocks = nn.ModuleList([Attention(d, heads) for _ in range(2)])
        self.norm, self.readout = nn.LayerNorm(d), nn.Linear(d, L)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        exemplars, context = self.exemplar(x), self.label(labels)
        tokens = [
            exemplars[:, 0],
            context[:, 0],
            exemplars[:, 1],
            context[:, 1],
            exemplars[:, 2],
        ]
        residual = torch.stack(tokens, 1)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            residual = residual + block(norm(residual))
        return self.readout(self.norm(residual[:, -1]))  # type: ignore[no-any-return]

    def load(self, weights: dict[str, Tensor], member: int) -> None:
        """Take the weights of one member of an ensemble."""

        def of(name: str) -> Tensor:
            return weights[name][member].detach()

        state = {"label.weight": of("label")}
        for name in ("exemplar", "readout"):
            state |= {
                f"{name}.weight": of(f"{name}.weight").T,
                f"{name}.bias": of(f"{name}.bias"),
            }
        for ours, theirs in (
            ("0.norm", "norms.0"),
            ("1.norm", "norms.1"),
            ("norm", "norm"),
        ):
            state |= {
                f"{theirs}.weight": of(f"{ours}.gain"),
                f"{theirs}.bias": of(f"{ours}.bias"),
            }
        for layer in range(2):
            for name in ("qkv", "out"):
                state[f"blocks.{layer}.{name}.weight"] = of(f"{layer}.{name}").T
        missing, unexpected = self.load_state_dict(state, strict=False)
        assert not unexpected
        assert all(name.endswith(("cosine", "sine", "causal")) for name in missing)


class Both:
    """The same networks as a batch and as a list."""

    def __init__(self, members: int) -> None:
        params = load_paper(SLUG, seed=0).scales["laptop"].all
        every = [Member(condition("all"), seed) for seed in range(members)]
        # One draws the sequences of the plain loop, the other is trained.
        self.source, self.batched = (Networks(params, every, DEVICE) for _ in range(2))
        self.plain = [Plain(params.D, params.L, params.d, params.H) for _ in every]
        for i, network in enumerate(self.plain):
            network.load(self.batched.weights, i)
        self.adams = [torch.optim.Adam(n.parameters(), lr=params.lr) for n in self.plain]
        self.batches: list[Batch] = []

    def next(self) -> Batch:
        if not self.batches:
            self.batches = self.source._draw()
        return self.batches.pop()

    def advance_plain(self, steps: int) -> None:
        for _ in range(steps):
            batch = self.next()
            for i, (network, adam) in enumerate(zip(self.plain, self.adams, strict=True)):
                labels, match = batch.labels[i], batch.match[i]
                logits = network(self.source._table[batch.classes[i]], labels)
                target = labels.gather(1, match[:, None])[:, 0]
                cross_entropy(logits, target).backward()
                adam.step()
                adam.zero_grad()

    def advance_batched(self, steps: int) -> None:
        self.batched.advance(steps)

    @torch.no_grad()
    def check(self) -> None:
        """Stop if the two differ in their logits."""
        found = self.batched.evaluate("train")
        for i, network in enumerate(self.plain):
            x = self.batched._table[found.batch.classes[i]]
            expected = network(x, found.batch.labels[i])
            logits = found.activations.logits[i]
            np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)


def compare(members: int, specified: float, steps: int, repeat: int) -> list[Any]:
    """One row of the table; stops if the two do not do equal work."""
    both = Both(members)
    both.check()
    both.advance_plain(CHECKED_STEPS)
    both.advance_batched(CHECKED_STEPS)
    both.check()
    slow, fast = [], []
    for _ in range(repeat):
        for act, times in ((both.advance_plain, slow), (both.advance_batched, fast)):
            times.append(microseconds(partial(act, steps), 1000 * steps * members))
    a, b = median(slow), median(fast)
    return [members, a, b, a / b, specified]


def main() -> None:
    args = options(__doc__, steps=50, repeat=7).parse_args()
    cases = zip(ENSEMBLES, SPECIFIED, strict=True)
    rows = [compare(*case, args.steps, args.repeat) for case in cases]
    report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
