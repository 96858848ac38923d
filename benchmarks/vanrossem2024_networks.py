"""What batching gains: vanrossem2024's networks as one program, against a plain loop.

Compared are `networks.Dense` with `networks.Descent`, which step E networks together and
move weights in place by hand-written gradients of rank two, and the loop a newcomer would
write: one network (an `nn.Module`) after the other, `loss.backward()`, and the update by
hand. Both run on one thread, in float32, from the same weights on the two points of the
paper: leaky ReLU, P = 100, L = 8. First they must agree on the outputs, in float64 after
300 steps to 1e-10, in float32 after 50 to 1e-5. (Later in float32 a unit passes the kink of
its activation a step earlier or later, and either loop is 1e-3 off float64.)

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

from retrograd.config import load_paper
from retrograd.papers.vanrossem2024_representations_align import data, training
from retrograd.papers.vanrossem2024_representations_align.networks import Dense, Descent

DEVICE = torch_device("cpu", "laptop")  # with one thread
SLUG = "vanrossem2024_representations_align"
BATCHES = (1, 4, 16)
SPECIFIED = (0.58, 0.27, 0.17)  # ms per network-step
PLAIN_NETWORK_STEPS = 320  # of one turn of the plain loop
# Steps after which both must agree, and how well; the loss falls by 95 % in 300.
CHECKED = {torch.float64: (300, 1e-10), torch.float32: (50, 1e-5)}
HEADING = "networks  plain-steps  plain/ms  batched/ms  ratio  specified/ms"
ROW = "{:8} {:12} {:9.2f} {:11.3f} {:6.1f} {:13.2f}"


class Plain(nn.Module):
    """One network: linear layers with leaky ReLU between them."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for weight in weights:
            linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
            with torch.no_grad():
                linear.weight.copy_(weight)
                linear.bias.zero_()
            layers += [linear, nn.LeakyReLU(0.01)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]

    def advance(self, steps: int, x: Tensor, y: Tensor, lr: float) -> None:
        for _ in range(steps):
            loss = ((self(x) - y) ** 2).mean() / 2
            loss.backward()
            with torch.no_grad():
                for weights in self.parameters():
                    weights -= lr * weights.grad
                    weights.grad = None


class Both:
    """The same networks as a batch and as a list."""

    def __init__(self, networks: int, dtype: torch.dtype) -> None:
        runs = load_paper(SLUG, seed=0).scales["laptop"].two_points.architecture
        self.default = runs.settings[0]
        task = data.two_points(runs.dx2**0.5, runs.dy2**0.5)
        self.x, self.y = (torch.tensor(a, dtype=dtype) for a in (task.x, task.y))
        drawn = [data.initial_weights(self.default, 1, 1, 0, i) for i in range(networks)]
        of_run = [[torch.tensor(w, dtype=dtype) for w in weights] for weights in drawn]
        x, y = (a.expand(networks, -1, -1).contiguous() for a in (self.x, self.y))
        self.plain = [Plain(weights) for weights in of_run]
        self.batched = training.Training(
            [training.Run(self.default, i) for i in range(networks)],
            Dense(self.default, [torch.stack(w) for w in zip(*of_run, strict=True)]),
            Descent(torch.full((networks, 1, 1), self.default.lr, dtype=dtype)),
            lambda: (x, y),
            lambda network: {},
        )

    def advance_plain(self, steps: int) -> None:
        for network in self.plain:
            network.advance(steps, self.x, self.y, self.default.lr)

    def advance_batched(self, steps: int) -> None:
        self.batched.advance_to(self.batched.step + steps)

    def check(self) -> None:
        """Stop if the two differ in their outputs."""
        steps, tolerance = CHECKED[self.x.dtype]
        self.advance_plain(steps)
        self.advance_batched(steps)
        inputs = self.x.expand(len(self.plain), -1, -1)
        found = self.batched.network.forward(inputs)[1]
        expected = torch.stack([network(self.x).detach() for network in self.plain])
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def compare(networks: int, specified: float, steps: int, repeat: int) -> list[Any]:
    """One row of the table; stops if the two do not do equal work."""
    plain_steps = PLAIN_NETWORK_STEPS // networks
    Both(networks, torch.float64).check()
    both = Both(networks, torch.float32)
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
    args = options(__doc__, steps=300, repeat=7).parse_args()
    cases = zip(BATCHES, SPECIFIED, strict=True)
    rows = [compare(*case, args.steps, args.repeat) for case in cases]
    report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
