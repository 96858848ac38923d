"""Lufkin et al. 2024: batched SGD and effective dynamics against one run at a time.

The plain loop trains one neuron on one family of inputs by autograd, and draws its inputs
anew for every run; before anything is timed both must agree on the weights. Times are CPU
time per run and step, a run being one seed of one condition. Run from the root.
"""

from functools import partial
from statistics import median
from typing import Any

from retrograd.arithmetic import fix_instruction_set, torch_device
from timing import microseconds, options, report

if __name__ == "__main__":  # before the libraries below look at the processor
    fix_instruction_set()

import numpy as np
import torch

from retrograd.config import load_paper
from retrograd.papers.lufkin2024_localization import data, stimuli, theory
from retrograd.papers.lufkin2024_localization.params import Training
from retrograd.papers.lufkin2024_localization.train import Ensemble, TorchNoise

DEVICE = torch_device("cpu", "laptop")  # with one thread
PLAIN_STEPS = 5  # per run and turn of the plain loop
THEORY_STEPS = 50
HEADING = "case              N     B  runs  plain/µs  batched/µs  ratio"
ROW = "{:15} {:3} {:5} {:5} {:9.1f} {:11.2f} {:6.1f}"


def cases() -> dict[str, Training]:
    """Single neurons of the laptop experiments, and run A with fewer seeds."""
    laptop = load_paper("lufkin2024_localization", seed=0).scales["laptop"]
    elliptical, student, ising, _ = laptop.other.each()
    # With `extreme` beside it, which draws its radii from the same stream, a shell alone
    # would see other inputs.
    shell = elliptical.model_copy(update={"stimuli": ["shell"]})
    few = laptop.kurtosis.model_copy(update={"seeds": 1})
    return {
        "kurtosis": laptop.kurtosis,
        "the same, 1 seed": few,
        "trajectory": laptop.trajectory,
        "shell": shell,
        "t 6": student,
        "ising": ising,
    }


class PlainLoop:
    """One run after the other: every condition and seed with inputs of its own drawing."""

    def __init__(self, params: Training) -> None:
        self.params = params
        start = torch.tensor(data.initial_weights(params)[:, 0], dtype=torch.float32)
        self.runs = []
        for label in params.stimuli:
            one = params.model_copy(update={"stimuli": [label], "seeds": 1})
            for w in start:
                sample = stimuli.sampler(one, TorchNoise(one, DEVICE))
                self.runs.append((sample, w.clone().requires_grad_()))
        self.y = (torch.arange(params.B) >= params.B // 2).float()

    def advance(self, steps: int) -> None:
        for sample, w in self.runs:
            for _ in range(steps):
                f = torch.relu(sample()[0, 0] @ w)
                ((f - self.y) ** 2).mean().backward()
                with torch.no_grad():
                    w -= self.params.lr * w.grad
                w.grad = None

    def weights(self) -> Any:
        w = torch.stack([w.detach() for _, w in self.runs])
        return w.reshape(len(self.params.stimuli), -1, self.params.N).numpy()


def compare(case: str, params: Training, steps: int, repeat: int) -> list[Any]:
    """One row of the table; stops if the two do not do equal work."""
    plain, batched = PlainLoop(params), Ensemble(params, DEVICE)
    plain.advance(PLAIN_STEPS)
    batched.advance_to(PLAIN_STEPS)
    own = batched.record()["w"][:, :, 0]
    np.testing.assert_allclose(own, plain.weights(), atol=1e-5, err_msg=f"{case}: unequal")
    runs = len(plain.runs)
    slow, fast = [], []
    for _ in range(repeat):
        per = PLAIN_STEPS * runs
        slow.append(microseconds(partial(plain.advance, PLAIN_STEPS), per))
        end = batched.step + steps
        fast.append(microseconds(partial(batched.advance_to, end), steps * runs))
    a, b = median(slow), median(fast)
    return [case, params.N, params.B, runs, a, b, a / b]


def time_theory(params: Training, steps: int, repeat: int) -> list[Any]:
    """Effective dynamics of all runs of run A together, and of one after the other."""
    families = params.families
    rows = np.array(
        [
            [data.covariance_row(family, params.N, d) for d in params.dependence]
            for family in families
        ]
    )
    start = data.initial_weights(params)[:, 0]
    together = theory.Amplifier([family.marginal for family in families])
    alone = [theory.Amplifier([family.marginal]) for family in families]

    def one_by_one() -> None:
        for row, phi in zip(rows, alone, strict=True):
            for w in start:
                theory.effective(phi, row[None], w[None], params.lr, [0, THEORY_STEPS])

    runs = len(families) * len(start)
    slow = [microseconds(one_by_one, THEORY_STEPS * runs) for _ in range(repeat)]
    batch = partial(theory.effective, together, rows, start, params.lr, [0, steps])
    fast = [microseconds(batch, steps * runs) for _ in range(repeat)]
    a, b = median(slow), median(fast)
    return ["theory of it", params.N, 0, runs, a, b, a / b]


def main() -> None:
    args = options(__doc__, steps=100, repeat=5).parse_args()
    rows = [compare(*case, args.steps, args.repeat) for case in cases().items()]
    rows.insert(1, time_theory(cases()["kurtosis"], args.steps, args.repeat))
    report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
