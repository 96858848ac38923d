"""What batching gains: goldt2019's SGD as one program, against a plain PyTorch loop.

Compared are `train.Ensemble`, which steps all members (seeds × conditions) together, and
the loop a newcomer would write: one student and one sample at a time, `loss.backward()`,
the update by hand. Both run on one thread, in float64, from the same weights on the same
inputs, drawn while timed; first they must agree on Q, R, v after `plain-steps` steps.

Times are µs of CPU per member-step, so waiting for other jobs does not count: medians of
turns taken in alternation, so that drift cancels. The last line is the price of the same
bits everywhere: 8 members with `fix_instruction_set` and without. Run from the root.
"""

import argparse
import math
import os
import subprocess
import sys
from functools import partial
from statistics import median
from typing import Any

from retrograd.arithmetic import FIXED, fix_instruction_set, torch_device
from timing import microseconds, options, report

if "--alone=native" not in sys.argv:  # before the libraries below look at the processor
    fix_instruction_set()

import numpy as np
import torch

from retrograd.config import load_paper
from retrograd.papers.goldt2019_teacher_student import data
from retrograd.papers.goldt2019_teacher_student.params import Training
from retrograd.papers.goldt2019_teacher_student.train import Ensemble

DEVICE = torch_device("cpu", "laptop")  # with one thread
PLAIN_MEMBER_STEPS = 2000  # of one turn of the plain loop: less than a second
HEADING = "case           N        K  members  plain-steps  plain/µs  batched/µs  ratio"
ROW = "{:11} {:4} {:>8} {:8} {:12} {:9.0f} {:11.2f} {:6.1f}"


def cases() -> dict[str, Training]:
    """The target's size (N = 200, K = 4) in three batches, and the laptop experiments."""
    laptop = load_paper("goldt2019_teacher_student", seed=0).scales["laptop"]
    target = laptop.traj.model_copy(update={"N": 200, "K": [4], "layers": ["both"]})
    batches = {f"target, {n}": target.model_copy(update={"seeds": n}) for n in (1, 8, 128)}
    return batches | {s: getattr(laptop, s) for s in ("traj", "both_erf", "scm_erf")}


def network(w: torch.Tensor, v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Σ_k v_k g(w_k·x/√N), with g(x) = erf(x/√2)."""
    return v @ torch.erf(w @ x / math.sqrt(2 * len(x)))


class PlainLoop:
    """One student after the other; `weights` holds them, and is trained in place."""

    def __init__(self, params: Training) -> None:
        self.params, self.samples = params, data.Samples(params)
        self.weights = data.sample_weights(params)

    def advance(self, steps: int) -> None:
        inputs, noise = (torch.from_numpy(a) for a in self.samples.next(steps))
        for seed, c in np.ndindex(self.weights.v.shape[:2]):
            self._train(seed, c, inputs[:, seed], noise[:, seed])

    def _train(self, seed: int, c: int, inputs: torch.Tensor, noise: torch.Tensor) -> None:
        params, drawn, condition = self.params, self.weights, self.params.conditions()[c]
        w_star, v_star = map(torch.from_numpy, (drawn.w_star[seed], drawn.v_star))
        w, v = (torch.from_numpy(a[seed, c, : condition.K]) for a in (drawn.w, drawn.v))
        w.requires_grad_()
        v.requires_grad_(condition.layers == "both")
        for x, zeta in zip(inputs, noise, strict=True):
            y = network(w_star, v_star, x) + params.sigma * zeta
            loss = (network(w, v, x) - y) ** 2 / 2
            loss.backward()
            with torch.no_grad():
                for weights, rate in ((w, params.eta), (v, params.eta / params.N)):
                    if weights.grad is not None:
                        weights -= rate * weights.grad
                        weights.grad = None


def compare(case: str, params: Training, steps: int, repeat: int) -> list[Any]:
    """One row of the table; stops if the two do not do equal work."""
    plain, batched = PlainLoop(params), Ensemble(params, DEVICE)
    members = params.seeds * len(params.conditions())
    plain_steps = PLAIN_MEMBER_STEPS // members
    plain.advance(plain_steps)
    batched.advance_to(plain_steps)
    w, w_star = plain.weights.w, plain.weights.w_star[:, None]
    overlaps = data.overlaps(w, w), data.overlaps(w, w_star), plain.weights.v
    for own, its in zip(overlaps, batched.record().values(), strict=True):
        np.testing.assert_allclose(own, its, rtol=0, atol=1e-9, err_msg=f"{case}: unequal")
    slow, fast = [], []
    for _ in range(repeat):
        slow.append(
            microseconds(partial(plain.advance, plain_steps), plain_steps * members)
        )
        end = batched.step + steps
        fast.append(microseconds(partial(batched.advance_to, end), steps * members))
    a, b, units = median(slow), median(fast), ",".join(map(str, params.K))
    return [case, params.N, units, members, plain_steps, a, b, a / b]


def time_alone(steps: int, repeat: int) -> float:
    """µs per member-step of 8 members batched."""
    advance_to = Ensemble(cases()["target, 8"], DEVICE).advance_to
    ends = range(steps, repeat * steps + 1, steps)
    return median(microseconds(partial(advance_to, end), 8 * steps) for end in ends)


def instruction_set_cost(steps: int, repeat: int) -> list[float]:
    """`time_alone` with the instruction set fixed, with it free, and their ratio."""
    free = {k: v for k, v in os.environ.items() if k not in FIXED or "THREADS" in k}
    command = [sys.executable, __file__, f"--steps={steps}", f"--repeat={repeat}"]
    times = [
        float(subprocess.check_output([*command, f"--alone={choice}"], env=env))
        for choice, env in [("fixed", None), ("native", free)] * repeat
    ]
    fixed, native = median(times[::2]), median(times[1::2])
    return [fixed, native, fixed / native]


def main() -> None:
    parser = options(__doc__, steps=2000, repeat=7)
    parser.add_argument("--alone", choices=("fixed", "native"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(time_alone(args.steps, args.repeat))
        return
    rows = [compare(*case, args.steps, args.repeat) for case in cases().items()]
    cost = instruction_set_cost(args.steps, args.repeat)
    report(args.json, HEADING, ROW, rows, cost=cost)
    if not args.json:
        print("8 members: fixed {:.2f} µs, native {:.2f} µs, ratio {:.2f}".format(*cost))


if __name__ == "__main__":
    main()
