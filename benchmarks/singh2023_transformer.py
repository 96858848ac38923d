"""What batching gains: singh2023's transformers as one program, against a plain loop.

Compared are `train.Ensemble`, which steps E transformers together, and the loop a newcomer
would write: one network (an `nn.Module`) after the other, `loss.backward()` and
`torch.optim.Adam`. Both run on one thread, in float32, from the same weights, on the same
sequences of the laptop scale (2 layers, d = 64, 4 heads, 5 tokens, batches of 32). Both
draw and gather their sequences while timed. First their losses must agree to 2e-4 over 50
steps in float32. (Adam divides by the root of small squares, so float32 rounding grows.)

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
from torch.nn import functional as F

from retrograd import transformer
from retrograd.config import load_paper
from retrograd.papers.singh2023_transient_icl import data, train
from retrograd.papers.singh2023_transient_icl.params import Condition, Training

DEVICE = torch_device("cpu", "laptop")  # with one thread
SLUG = "singh2023_transient_icl"
BATCHES = (1, 5, 8)
SPECIFIED = (2.7, 1.4, 1.3)  # ms per network-step
PLAIN_NETWORK_STEPS = 240  # of one turn of the plain loop
CHECKED, TOLERANCE = 50, 2e-4
HEADING = "networks  plain-steps  plain/ms  batched/ms  ratio  specified/ms"
ROW = "{:8} {:12} {:9.2f} {:11.3f} {:6.1f} {:13.2f}"


class Block(nn.Module):
    """Pre-norm attention, as in the textbook."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.norm(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return x + self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Plain(nn.Module):
    """One network: embeddings, blocks, and a read-out at the query."""

    def __init__(self, a: transformer.Architecture, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.exemplar = nn.Linear(a.inputs, a.d)
        self.label = nn.Embedding(a.labels, a.d)
        self.blocks = nn.ModuleList(Block(a.d, a.heads) for _ in range(a.layers))
        self.norm = nn.LayerNorm(a.d)
        self.readout = nn.Linear(a.d, a.labels)
        self.register_buffer("position", transformer.sinusoids(a.length, a.d).float())
        self._copy(weights)

    @torch.no_grad()
    def _copy(self, weights: dict[str, Tensor]) -> None:
        for name, layer in (("exemplar", self.exemplar), ("readout", self.readout)):
            layer.weight.copy_(weights[f"{name}.weight"].T)
            layer.bias.copy_(weights[f"{name}.bias"])
        self.label.weight.copy_(weights["label"])
        for i, block in enumerate(self.blocks):
            block.qkv.weight.copy_(weights[f"{i}.qkv"].T)
            block.out.weight.copy_(weights[f"{i}.out"].T)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        tokens = torch.empty(len(x), 2 * labels.shape[1] + 1, self.norm.weight.numel())
        tokens[:, 0::2], tokens[:, 1::2] = self.exemplar(x), self.label(labels)
        tokens = tokens + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.readout(self.norm(tokens[:, -1]))  # type: ignore[no-any-return]


class Both:
    """The same networks as a batch and as a list."""

    def __init__(self, networks: int) -> None:
        laptop: Training = load_paper(SLUG, seed=0).scales["laptop"].main
        conditions = [Condition(delta=laptop.conditions[0].delta, seeds=range(networks))]
        params = laptop.model_copy(update={"conditions": conditions, "evaluated": 2})
        self.lr = params.adam.lr
        self.batched = train.Ensemble(params, DEVICE)
        weights = {k: w.detach().clone() for k, w in self.batched.weights.items()}
        self.plain = [
            Plain(self.batched.architecture, {k: w[i] for k, w in weights.items()})
            for i in range(networks)
        ]
        self.optimisers = [torch.optim.Adam(p.parameters(), self.lr) for p in self.plain]
        exemplars = data.exemplars_of(params)
        scaled = exemplars.table * exemplars.scale(conditions[0].delta)
        self.table = torch.from_numpy(scaled.reshape(-1, scaled.shape[-1]))
        self.sequences = train.Batches(params, exemplars, DEVICE)

    def advance_plain(self, steps: int) -> list[float]:
        """Mean loss of every network over the steps."""
        losses = np.zeros(len(self.plain))
        for _ in range(steps):
            rows, labels = self.sequences.next()
            for i, (network, optimiser) in enumerate(
                zip(self.plain, self.optimisers, strict=True)
            ):
                logits = network(self.table[rows[i]], labels[i, :, :-1])
                loss = F.cross_entropy(logits, labels[i, :, -1])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses[i] += float(loss.detach())
        return (losses / steps).tolist()  # type: ignore[no-any-return]

    def advance_batched(self, steps: int) -> None:
        self.batched.advance_to(self.batched.step + steps)

    def check(self) -> None:
        """Stop if the two differ in their training losses."""
        expected = self.advance_plain(CHECKED)
        self.advance_batched(CHECKED)
        found = self.batched.record()["train_run"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def compare(networks: int, specified: float, steps: int, repeat: int) -> list[Any]:
    """One row of the table; stops if the two do not do equal work."""
    plain_steps = PLAIN_NETWORK_STEPS // networks
    both = Both(networks)
    both.check()
    slow, fast = [], []
    for _ in range(repeat):
        for act, times, taken in (
            (both.advance_plain, slow, plain_steps),
            (both.advance_batched, fast, steps),
        ):
            times.append(microseconds(partial(act, taken), 1000 * taken * networks))
    a, b = median(slow), median(fast)
    return [networks, plain_steps, a, b, a / b, specified]


def main() -> None:
    args = options(__doc__, steps=100, repeat=7).parse_args()
    cases = zip(BATCHES, SPECIFIED, strict=True)
    rows = [compare(*case, args.steps, args.repeat) for case in cases]
    report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
