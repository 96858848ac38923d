"""What batching gains: hummos2024's online LSTMs, against one nn.LSTM per member.

Compared are `predictors.Networks`, which steps all members (kinds × seeds) together with
gradients by hand and one fused Adam, and the loop a newcomer would write: one network at a
time, `nn.LSTM`, `loss.backward()`, `torch.optim.Adam`. Both take windows of the same
streams, on one thread, in float32; first they must agree on the predictions.

Times are µs of CPU per member-step, so waiting for other jobs does not count: medians of
turns taken in alternation, so that drift cancels. Run from the root.
"""

import sys
from statistics import median
from typing import Any

from retrograd.arithmetic import fix_instruction_set, torch_device
from timing import microseconds, options, report

if "torch" not in sys.modules:  # before the libraries below look at the processor
    fix_instruction_set()

import numpy as np
import torch
from torch import nn

from retrograd.config import load_paper
from retrograd.papers.hummos2024_gradient_based_inference import predictors, toy
from retrograd.papers.hummos2024_gradient_based_inference.params import Toy

DEVICE = torch_device("cpu", "laptop")  # with one thread
CHECKED = 50  # steps after which both must still agree
HEADING = "case       seeds  kinds  members  plain/µs  batched/µs  ratio"
ROW = "{:10} {:5} {:6} {:8} {:9.0f} {:11.0f} {:6.1f}"
TORCHS_ORDER = (1, 2, 3, 0)  # its gates are i, f, g, o; ours o, i, f, g


class PlainLoop(nn.Module):
    """The network of kind `gbi` of seed 0, trained by autograd."""

    def __init__(self, params: Toy, observed: toy.Stream) -> None:
        super().__init__()
        H, self.window, self.step = params.H, params.window, params.window
        self.into = nn.Linear(1 + toy.TASKS, H)
        self.lstm = nn.LSTM(H, H, batch_first=True)
        self.out = nn.Linear(H, 1)
        self._start(predictors.initial_weights(params, 0))
        self.lstm.bias_hh_l0.requires_grad_(False)  # one bias, as in the batch
        inputs, x = predictors._padded_inputs(params, [observed])
        self._inputs, self._x = torch.from_numpy(inputs[:1]), torch.from_numpy(x[0])
        free = [p for p in self.parameters() if p.requires_grad]
        self._adam = torch.optim.Adam(free, lr=params.rate)

    def _start(self, weights: dict[str, Any]) -> None:
        def torchs(name: str) -> np.ndarray:
            blocks = np.split(weights[name].T, 4)
            return np.concatenate([blocks[i] for i in TORCHS_ORDER])

        for own, values in (
            (self.into.weight, weights["W_in"].T),
            (self.into.bias, weights["b_in"][0]),
            (self.lstm.weight_ih_l0, torchs("W_x")),
            (self.lstm.weight_hh_l0, torchs("W_h")),
            (self.lstm.bias_ih_l0, torchs("b")[:, 0]),
            (self.lstm.bias_hh_l0, np.zeros(len(self.lstm.bias_hh_l0))),
            (self.out.weight, weights["W_out"].T),
            (self.out.bias, weights["b_out"][0]),
        ):
            own.data.copy_(torch.from_numpy(values))

    def advance(self) -> float:
        """One step; returns its last prediction."""
        w, t = self.window, self.step
        hidden, _ = self.lstm(self.into(self._inputs[:, t - w : t]))
        prediction = self.out(hidden)[0, :, 0]
        loss = ((prediction - self._x[t - w + 1 : t + 1]) ** 2).mean()
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self.step += 1
        return float(prediction[-1].detach())


class Batch:
    """All members, through the code of the paper."""

    def __init__(self, params: Toy, streams: list[toy.Stream]) -> None:
        self._networks = predictors.Networks(params, streams, DEVICE)

    @torch.inference_mode()
    def advance(self) -> float:
        """One step of all; returns the last prediction of the first member."""
        return float(self._networks.advance()[0][0])


def compare(case: str, params: Toy, steps: int, repeat: int) -> list[Any]:
    """One row of the table."""
    streams = [toy.training_stream(params, run) for run in range(params.seeds)]
    plain = PlainLoop(params, streams[0])
    with torch.inference_mode():  # the weights are made in it, as in the paper's code
        batched = Batch(params, streams)
    for step in range(CHECKED):
        own, its = plain.advance(), batched.advance()
        if abs(own - its) > 1e-4:
            raise SystemExit(f"{case}: unequal predictions {own}, {its} at step {step}")

    def turn(loop: PlainLoop | Batch) -> None:
        for _ in range(steps):
            loop.advance()

    kinds = len(predictors.KINDS)
    members = kinds * params.seeds
    slow, fast = [], []
    for _ in range(repeat):
        slow.append(microseconds(lambda: turn(plain), steps))
        fast.append(microseconds(lambda: turn(batched), steps * members))
    a, b = median(slow), median(fast)
    return [case, params.seeds, kinds, members, a, b, a / b]


def main() -> None:
    args = options(__doc__, steps=150, repeat=7).parse_args()
    laptop = load_paper("hummos2024_gradient_based_inference", seed=0).scales["laptop"].toy
    rows = [
        compare(name, laptop.model_copy(update={"seeds": seeds}), args.steps, args.repeat)
        for name, seeds in (("one seed", 1), ("laptop", 6), ("many", 20))
    ]
    report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
