"""What batching gains: sandbrink2024's gated networks, against a plain PyTorch loop.

Compared are `networks.GatedNetwork`, which steps all members (seeds × conditions)
together, writes its gradients out and draws the covariance of a batch of inputs, and the
loop a newcomer would write: one network at a time, a batch of inputs, `loss.backward()`,
the update by hand. Both run on one thread, in float32, and draw their inputs while timed;
first they must agree on W and c when the loop is given inputs of the drawn covariances.

Times are µs of CPU per member-step, so waiting for other jobs does not count: medians of
turns taken in alternation, so that drift cancels. Run from the root.
"""

import math
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

from retrograd.arithmetic import fix_instruction_set, torch_device
from timing import microseconds, options, report

if "torch" not in sys.modules:  # before the libraries below look at the processor
    fix_instruction_set()

import numpy as np
import torch

from retrograd.config import load_paper
from retrograd.papers.sandbrink2024_flexible_task_abstractions import data
from retrograd.papers.sandbrink2024_flexible_task_abstractions.networks import (
    GatedNetwork,
)
from retrograd.papers.sandbrink2024_flexible_task_abstractions.params import (
    Gated,
)

DEVICE = torch_device("cpu", "laptop")  # with one thread
PLAIN_STEPS = 300  # of one turn of the plain loop
CHECKED = 100  # steps after which both must agree
HEADING = "case         seeds  conditions  members  plain/µs  batched/µs  ratio  drawing/µs"
ROW = "{:12} {:5} {:11} {:8} {:9.0f} {:11.2f} {:6.0f} {:11.2f}"


def cases() -> dict[str, Gated]:
    """One network alone, and experiments of the laptop scale."""
    laptop = load_paper("sandbrink2024_flexible_task_abstractions", seed=0).scales["laptop"]
    flexible = {"flexible": laptop.main.regimes["flexible"]}
    alone = laptop.main.model_copy(update={"seeds": 1, "regimes": flexible})
    names = ("main", "block_length", "composition", "grid")
    return {"alone": alone} | {name: getattr(laptop, name) for name in names}


class PlainLoop:
    """One network of one condition, trained by autograd."""

    def __init__(self, params: Gated, seed: int, condition: int) -> None:
        found = params.conditions()[condition]
        self.params, self.regime = params, found.regime
        self.tasks = data.curriculum(params, found.tau_B).task_of_every_step()
        self.targets = torch.from_numpy(data.targets(params)).float()
        students = data.students(params)[seed, condition]
        self.W = torch.tensor(students, dtype=torch.float32, requires_grad=True)
        self.c = torch.full((params.paths,), 0.5, requires_grad=True)
        self.step = 0

    def fresh(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.randn(self.params.batch, self.params.d_in)

    def advance(self, steps: int, inputs: Iterator[torch.Tensor] | None = None) -> None:
        W, c, regime, params = self.W, self.c, self.regime, self.params
        lambda_norm = regime.lambda_norm(params.norm)
        for _, x in zip(range(steps), inputs or self.fresh(), strict=False):
            y = x @ self.targets[self.tasks[self.step]].mT
            error = y - x @ (c[:, None, None] * W).sum(0).mT
            loss = (error**2).sum(1).mean() / 2
            loss = loss + lambda_norm / 2 * (c.abs().sum() - 1) ** 2
            loss = loss + regime.lambda_nonneg * torch.clamp(-c, min=0).sum()
            loss.backward()
            with torch.no_grad():
                for weights, tau in ((W, regime.tau_w), (c, regime.tau_c)):
                    assert weights.grad is not None
                    weights -= params.dt / tau * weights.grad
                    weights.grad = None
            self.step += 1


def check_equal_work(case: str, params: Gated) -> None:
    """Stop unless both give the same network from the same covariances."""
    batched = GatedNetwork(params, DEVICE)
    batched.advance_to(CHECKED)
    covariances = data.Covariances(params).next(CHECKED)
    last = params.seeds - 1, len(params.conditions()) - 1
    for seed, condition in {(0, 0), last}:
        plain = PlainLoop(params, seed, condition)
        factors = np.linalg.cholesky(covariances[:, seed]).swapaxes(-1, -2)
        inputs = torch.from_numpy(math.sqrt(params.d_in) * factors).float()
        plain.advance(CHECKED, iter(inputs))
        pairs = (
            (plain.W, batched.W[seed, condition]),
            (
                plain.c,
                batched.c[seed, condition, :, 0, 0],
            ),
        )
        for own, its in pairs:
            np.testing.assert_allclose(
                own.detach(), its, rtol=0, atol=1e-4, err_msg=f"{case}: unequal"
            )


def compare(case: str, params: Gated, steps: int, repeat: int) -> list[Any]:
    """One row of the table."""
    check_equal_work(case, params)
    conditions = len(params.conditions())
    members = params.seeds * conditions
    plain, batched = PlainLoop(params, 0, 0), GatedNetwork(params, DEVICE)
    covariances = data.Covariances(params)
    slow, fast, drawn = [], [], []
    for _ in range(repeat):
        slow.append(microseconds(lambda: plain.advance(PLAIN_STEPS), PLAIN_STEPS))
        to = batched.step + steps
        fast.append(microseconds(lambda to=to: batched.advance_to(to), steps * members))
        drawn.append(microseconds(lambda: covariances.next(100), 100 * members))
    a, b = median(slow), median(fast)
    return [case, params.seeds, conditions, members, a, b, a / b, median(drawn)]


def main() -> None:
    args = options(__doc__, steps=500, repeat=7).parse_args()
    rows = [compare(*case, args.steps, args.repeat) for case in cases().items()]
    report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
