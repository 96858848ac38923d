"""What batching gains in saxe2022: routing and image networks, against plain loops.

Compared, per step of one network (a member: one seed of one condition):
    pairs    one network at a time, pair by pair of domains, `loss.backward()`, as a
             newcomer would write it
    seeds    one network at a time, by the project's batched program
    batched  all seeds and conditions together, by the same program
All run on one thread, routing networks in float64, image networks in float32, from the
same weights; first they must agree on the loss after a few steps.

Times are CPU time, so waiting for other jobs does not count: medians of turns taken in
alternation, so that drift cancels. Run from the root of the repository.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import timing
from retrograd.arithmetic import fix_instruction_set, torch_device

if __name__ == "__main__":  # before the libraries below look at the processor
    fix_instruction_set()

import numpy as np
import torch

from retrograd.config import load_paper
from retrograd.papers.saxe2022_neural_race import data
from retrograd.papers.saxe2022_neural_race.image_networks import ImageNetworks
from retrograd.papers.saxe2022_neural_race.image_tasks import ImageTask
from retrograd.papers.saxe2022_neural_race.params import Images, Routing
from retrograd.papers.saxe2022_neural_race.routing_networks import RoutingNetworks

DEVICE = torch_device("cpu", "laptop")  # with one thread
CHECKED = 5  # steps after which losses must agree
HEADING = (
    "case          members  pairs/ms  seeds/ms  batched/ms  pairs/batched  seeds/batched"
)
ROW = "{:13} {:7} {:9.3f} {:9.3f} {:11.3f} {:14.1f} {:14.1f}"
Advance = Callable[[int], None]


# ---- routing networks ------------------------------------------------------------------


def routing(params: Routing, members: slice) -> RoutingNetworks:
    """Some of the runs of an experiment, by the batched program."""
    conditions = params.conditions()
    masks = np.stack([data.trained_pairs(params.M, c.K) for c in conditions])
    lr = np.tile([c.lr for c in conditions], params.seeds)[members]
    drawn = data.routing_weights(params)
    parts = (w[members] for w in (drawn.encoders, drawn.hidden, drawn.decoders))
    names = [f"member {i}" for i in range(len(lr))]
    mask = np.tile(masks, (params.seeds, 1, 1))[members]
    weights = [data.Weights(*parts)]
    return RoutingNetworks(weights, mask, lr, data.routing_target(), names)


class RoutingByPairs:
    """The last run, which has the most trained pairs, by autograd."""

    def __init__(self, params: Routing) -> None:
        condition, drawn = params.conditions()[-1], data.routing_weights(params)
        M = params.M
        encoders = np.split(drawn.encoders[-1], M, axis=-1)
        decoders = np.split(drawn.decoders[-1], M, axis=0)
        self.weights = [
            torch.tensor(w, requires_grad=True)
            for w in (*encoders, drawn.hidden[-1], *decoders)
        ]
        self.pairs = np.argwhere(data.trained_pairs(M, condition.K)).tolist()
        self.M, self.lr = M, condition.lr
        self.Y = torch.tensor(data.routing_target())

    def loss(self) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for i, j in self.pairs:
            outputs = self.weights[self.M + 1 + j] @ self.weights[self.M] @ self.weights[i]
            total = total + ((self.Y - outputs) ** 2).mean()
        return total

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self.loss().backward()
            with torch.no_grad():
                for w in self.weights:
                    w -= self.lr * w.grad
                    w.grad = None


def compare_routing(case: str, params: Routing, steps: int, repeat: int) -> list[Any]:
    members = params.seeds * len(params.conditions())
    batched, plain = routing(params, slice(None)), RoutingByPairs(params)
    alone = [routing(params, slice(i, i + 1)) for i in range(members)]
    for networks in (batched, *alone):
        networks.advance_to(CHECKED)
    plain.advance(CHECKED)
    found = batched.record()["loss"]
    own = [networks.record()["loss"][0] for networks in alone]
    np.testing.assert_allclose(found, own, rtol=1e-9, err_msg=f"{case}: unequal")
    np.testing.assert_allclose(found[-1], plain.loss().item(), rtol=1e-9, err_msg=case)

    def one_after_the_other(count: int) -> None:
        for networks in alone:
            networks.advance_to(networks.epoch + count)

    few = max(1, steps // members)
    times = {
        "pairs": (plain.advance, max(1, few // 2), 1),
        "seeds": (one_after_the_other, few, members),
        "batched": (lambda n: batched.advance_to(batched.epoch + n), steps, members),
    }
    return [case, members, *milliseconds(times, repeat)]


# ---- image networks --------------------------------------------------------------------


def subset(params: Images, seeds: int, network: int | None) -> ImageNetworks:
    changes: dict[str, Any] = {"seeds": seeds, "anneal": 0}
    if network is not None:
        changes["networks"] = [params.networks[network]]
    some = params.model_copy(update=changes)
    return ImageNetworks(some, ImageTask(some, DEVICE), DEVICE)


class ImagesByPairs:
    """The first seed of one network, by autograd, from its weights and on its images."""

    def __init__(self, params: Images, network: int) -> None:
        self.of = subset(params, 1, network)
        p, W = self.of.params, self.of.weights
        self.weights = {
            "encoder": W["encoder"].clone(),
            "encoder_bias": W["encoder_bias"].clone(),
            "shared": W["shared"][0].clone(),
            "shared_bias": W["shared_bias"][0].clone(),
            "decoder": W["decoder"][0, 0].clone(),
            "decoder_bias": W["decoder_bias"][0, 0].clone(),
        }
        split = [part for name in self.weights for part in self._parts(name)]
        self.parameters = [w.requires_grad_() for w in split]
        lr = p.networks[0].lr
        self.optimiser = torch.optim.SGD(self.parameters, lr=lr, momentum=p.momentum)
        self.pairs = np.argwhere(self.of.task.masks[0, 0] == 1).tolist()
        self.last = 0.0

    def _parts(self, name: str) -> list[torch.Tensor]:
        """Matrices of their own for every domain."""
        whole = self.weights[name]
        return [whole] if name.startswith("shared") else [w.clone() for w in whole]

    def advance(self, steps: int) -> None:
        M = self.of.M
        W_in, b_in = self.parameters[:M], self.parameters[M : 2 * M]
        W, b = self.parameters[2 * M : 2 * M + 2]
        W_out, b_out = self.parameters[2 * M + 2 : 3 * M + 2], self.parameters[3 * M + 2 :]
        for _ in range(steps):
            x, y = self.of.task.batch()
            hidden = [(x[i] @ W_in[i] + b_in[i]) @ W + b for i in range(M)]
            losses = [
                torch.nn.functional.cross_entropy(
                    hidden[i] @ W_out[j].T + b_out[j], self.of.task.classes[j][y[0]]
                )
                for i, j in self.pairs
            ]
            loss = torch.stack(losses).mean()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.last = loss.item()


def compare_images(case: str, params: Images, steps: int, repeat: int) -> list[Any]:
    """By a linear network of the middle of the list, which stands for all in `pairs`."""
    middle = len(params.networks) // 2 - 1
    members = params.seeds * len(params.networks)
    batched, plain = subset(params, params.seeds, None), ImagesByPairs(params, middle)
    alone = [subset(params, 1, c) for c in range(len(params.networks))]  # of one seed
    for networks in (batched, *alone):
        networks.advance_to(CHECKED)
    plain.advance(CHECKED)
    found = batched.record()["loss"][0]
    own = [networks.record()["loss"][0, 0] for networks in alone]
    np.testing.assert_allclose(found, own, rtol=1e-4, err_msg=f"{case}: unequal")
    np.testing.assert_allclose(found[middle], plain.last, rtol=1e-4, err_msg=case)

    def one_after_the_other(count: int) -> None:
        for networks in alone:
            networks.advance_to(networks.step + count)

    few = max(1, steps // len(params.networks))
    times = {
        "pairs": (plain.advance, few, 1),
        "seeds": (one_after_the_other, few, len(alone)),
        "batched": (lambda n: batched.advance_to(batched.step + n), steps, members),
    }
    return [case, members, *milliseconds(times, repeat)]


# ---- timing ----------------------------------------------------------------------------


def milliseconds(times: dict[str, tuple[Advance, int, int]], repeat: int) -> list[float]:
    """Per member-step, by name (advance, steps, members); and the ratios to the last."""
    taken: dict[str, list[float]] = {name: [] for name in times}
    for _ in range(repeat):
        for name, (advance, steps, members) in times.items():
            per = 1e3 * steps * members
            taken[name].append(timing.microseconds(partial(advance, steps), per))
    pairs, seeds, batched = (median(turns) for turns in taken.values())
    return [pairs, seeds, batched, pairs / batched, seeds / batched]


def main() -> None:
    args = timing.options(__doc__, steps=60, repeat=5).parse_args()
    laptop = load_paper("saxe2022_neural_race", seed=0).scales["laptop"]
    rows = [
        compare_routing(name, getattr(laptop, name), args.steps, args.repeat)
        for name in ("routing", "fractions", "scales")
    ]
    rows += [
        compare_images(name, getattr(laptop, name), args.steps // 4, args.repeat)
        for name in ("images", "relaxed")
    ]
    timing.report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
