"""Singh et al. 2023: transformers in training, their conditions, and every preset."""

from typing import Any

import numpy as np
import pytest
import torch

from retrograd import adam, transformer
from retrograd.config import SCALES, load_paper
from retrograd.errors import RetrogradError
from retrograd.papers.singh2023_transient_icl import data, reading, sequences, train
from retrograd.papers.singh2023_transient_icl.params import Adam, Mixture, Training
from singh2023_setup import CPU, SLUG, trained, training

LAPTOP_LIKE: dict[str, Any] = {
    "exemplars": {"K": 512, "n_lab": 32, "n_ex": 10, "D1": 64, "D2": 16, "eps": 1.2},
    "network": {"d": 64, "heads": 4},
    "evaluated": 400,
}


# ---- what a step is ----------------------------------------------------------------------


def test_the_network_is_the_specifications() -> None:
    params = load_paper(SLUG, seed=0).scales["laptop"].main
    assert [seed for _, seed in params.runs] == [0, 1, 2, 3, 4]
    made = train.architecture(params.network, params.exemplars.inputs, 32, 2)
    weights = transformer.initial_weights(made, [np.random.default_rng(0)], CPU)
    assert sum(w[0].numel() for w in weights.values()) == 42_464
    label = weights["label"].detach()
    assert label.abs().max() <= 2  # truncated, and not rescaled
    assert float(label.std()) == pytest.approx(0.88, abs=0.02)
    exemplar = weights["exemplar.weight"].detach()
    assert float(exemplar.std()) == pytest.approx(80**-0.5, rel=0.03)
    assert float(exemplar.abs().max()) <= 2 / 0.8796 * 80**-0.5 + 1e-6


def test_sinusoids_are_the_specifications() -> None:
    row = transformer.sinusoids(5, 8)[1]  # T10
    expected = [0.841, 0.540, 0.414, 0.910, 0.182, 0.983, 0.078, 0.997]
    np.testing.assert_allclose(row, expected, atol=6e-4)


def test_a_step_is_that_of_plain_torch() -> None:
    params = training(adam={"steps": 6, "batch": 8}, record_every=2)
    ensemble = train.Ensemble(params, CPU)
    plain = train.Ensemble(params, CPU)
    optimiser = torch.optim.Adam(plain.weights.values(), lr=1e-3, betas=(0.9, 0.999))
    table = data.exemplars_of(params).table.reshape(-1, 16)
    scale = data.exemplars_of(params).scale(0.1)
    for _ in range(6):
        rows, labels = plain._batches.next()
        x = torch.from_numpy(table * scale)[rows]
        embedded = transformer.embed(plain.weights, x.flatten(1, 2)).unflatten(1, (8, 3))
        logits = transformer.forward(
            plain.architecture, plain.weights, embedded, labels[..., :-1]
        ).logits
        right = logits.log_softmax(-1).gather(-1, labels[..., -1:])
        optimiser.zero_grad()
        (-right.mean((1, 2))).sum().backward()
        optimiser.step()
    ensemble.advance_to(6)
    for name, weight in ensemble.weights.items():
        np.testing.assert_allclose(
            weight.detach(), plain.weights[name].detach(), atol=1e-6, err_msg=name
        )


def test_the_gradient_of_l2_alone_is_lambda_theta() -> None:
    weights = {"gain": torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)}
    descent = adam.Adam(weights, 1e-3, torch.tensor([0.5, 0.0]))
    seen: list[np.ndarray] = []
    descent._adam.step = lambda: seen.append(weights["gain"].grad.clone().numpy())  # type: ignore
    descent.step((0 * weights["gain"]).sum(1))
    np.testing.assert_array_equal(seen[0], [[0.5, 1.0], [0.0, 0.0]])  # T12


def test_the_norm_regulariser_pulls_by_direction() -> None:
    weights = {
        "one": torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True),
        "two": torch.tensor([[[2.0]], [[-1.0]]], requires_grad=True),
    }
    norms = train.sum_of_norms(weights)
    np.testing.assert_allclose(norms.detach(), [7, 1])
    norms.sum().backward()
    np.testing.assert_allclose(weights["one"].grad, [[0.6, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(weights["two"].grad, [[[1]], [[-1]]])


@pytest.mark.parametrize("regulariser", ["square", "norm"])
def test_a_strong_regulariser_shrinks_the_weights(regulariser: str) -> None:
    conditions = [{"l2": l2, "delta": 0.1, "seeds": [0]} for l2 in (0, 1.0)]
    made = trained(
        adam={"steps": 40, "batch": 8, "regulariser": regulariser},
        conditions=conditions,
        record_every=40,
    )
    start, end = made["theta_norm2"].values.T
    assert start[0] == start[1]
    assert end[1] < 0.97 * end[0]


def test_the_rate_warms_up_and_decays() -> None:
    constant = Adam(lr=0.1, steps=10)
    assert {train.rate(constant, step) for step in (1, 5, 10)} == {0.1}
    warm = Adam(lr=0.1, steps=100, warm_up=4)
    found = [train.rate(warm, step) for step in (1, 2, 4, 16, 64)]
    np.testing.assert_allclose(found, [0.025, 0.05, 0.1, 0.05, 0.025])
    ensemble = train.Ensemble(training(adam={"steps": 20, "warm_up": 10}), CPU)
    ensemble.advance_to(5)
    assert ensemble._adam.lr == pytest.approx(5e-4)


# ---- seeds and conditions ----------------------------------------------------------------


def test_a_run_is_the_same_alone_and_beside_others() -> None:
    conditions = [{"delta": 0.1, "seeds": [1]}, {"delta": 0.1, "l2": 0.5, "seeds": [0, 1]}]
    alone = trained(conditions=conditions[:1])
    beside = trained(conditions=conditions)
    for name in ("loss", "train_run", "ih_strength", "theta_norm2"):
        np.testing.assert_allclose(
            alone[name][0], beside[name][0], rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_without_lambda_a_run_is_that_of_main() -> None:
    # T7: in the ensemble of the regularised, a run of λ = 0 takes the plain gradient.
    steps = {"adam": {"steps": 50, "batch": 8}, "record_every": 10}
    main = trained(**steps)
    regularised = trained(
        conditions=[{"delta": 0.1, "l2": l2, "seeds": [0]} for l2 in (0, 0.1)], **steps
    )
    np.testing.assert_allclose(
        main["train_run"][0], regularised["train_run"][0], rtol=0, atol=1e-4
    )
    assert abs(main["train_run"][0] - regularised["train_run"][1]).max() > 1e-3


def test_conditions_of_a_seed_share_weights_and_sequences() -> None:
    params = training(
        conditions=[{"delta": 0, "seeds": [4]}, {"delta": 0, "l2": 1.0, "seeds": [4, 2]}]
    )
    ensemble = train.Ensemble(params, CPU)
    first, same, other = ensemble.weights["0.qkv"].detach()
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    rows, labels = ensemble._batches.next()
    assert rows.shape == (2, 8, 3)  # one stream for each seed
    assert not torch.equal(rows[0], rows[1])
    assert ensemble._of_run.tolist() == [1, 1, 0]
    again = train.Batches(params, data.exemplars_of(params), CPU).next()
    assert torch.equal(rows, again[0])
    assert torch.equal(labels, again[1])


def test_sequences_go_on_over_the_draws() -> None:
    params = training(adam={"steps": 600, "batch": 1}, record_every=300)
    batches = train.Batches(params, data.exemplars_of(params), CPU)
    rows = torch.cat([batches.next()[0] for _ in range(2 * train.DRAWN_AT_ONCE)], 1)
    first, second = rows.split(train.DRAWN_AT_ONCE, 1)
    assert not torch.equal(first, second)
    assert len(torch.unique(rows[0], dim=0)) > 0.9 * rows.shape[1]


def test_a_run_that_diverges_is_named() -> None:
    ensemble = train.Ensemble(training(conditions=[{"l2": 0.5, "seeds": [0, 3]}]), CPU)
    with torch.no_grad():
        ensemble.weights["readout.bias"][1] = torch.nan
    with pytest.raises(RetrogradError, match=r"seed 3, delta 1, l2 0\.5, .* at step 4"):
        ensemble.advance_to(4)


# ---- what is recorded --------------------------------------------------------------------


def test_an_untrained_network_guesses() -> None:
    params = training(**LAPTOP_LIKE, conditions=[{"delta": 0.007, "seeds": [0, 1, 2]}])
    found = train.Ensemble(params, CPU).record()
    loss, context = (
        dict(zip(sequences.EVALUATORS, found[name].mean(0), strict=True))
        for name in ("loss", "ctx_acc")
    )
    assert context["icl"] == pytest.approx(0.5, abs=0.06)  # T9
    assert context["ciwl"] == pytest.approx(0.5, abs=0.06)
    assert loss["train"] == pytest.approx(np.log(32) + 0.5, abs=0.25)


def test_without_delta_weights_cannot_know_the_label() -> None:
    # T8: nothing of the labels is in the exemplars, and the classes are too many to be
    # memorised (of 512, a part is).
    many = LAPTOP_LIKE["exemplars"] | {"K": 8192}
    params = training(
        **(LAPTOP_LIKE | {"evaluated": 2000, "exemplars": many}),
        adam={"steps": 150},
        conditions=[{"delta": 0, "seeds": [0]}],
        record_every=150,
    )
    ensemble = train.Ensemble(params, CPU)
    assert not ensemble._scales[0, 0, 64:].any()
    ensemble.advance_to(150)
    found = ensemble.record()
    ciwl = found["ctx_acc"][0, sequences.EVALUATORS.index("ciwl")]
    assert ciwl == pytest.approx(0.5, abs=0.04)
    assert found["train_run"][0] < 2.6  # it has learnt something


def test_a_large_delta_lets_weights_know_the_label() -> None:
    params = training(
        **LAPTOP_LIKE,
        adam={"steps": 150},
        conditions=[{"delta": 1, "seeds": [0]}],
        record_every=150,
    )
    ensemble = train.Ensemble(params, CPU)
    ensemble.advance_to(150)
    found = ensemble.record()["ctx_acc"][0]
    assert found[sequences.EVALUATORS.index("ciwl")] > 0.9
    assert found[sequences.EVALUATORS.index("flip")] < 0.1


def test_induction_is_attention_to_the_labels_of_the_own_class() -> None:
    classes = np.array([[3, 5, 3], [7, 1, 1]])
    batch = sequences.Batch(classes, 0 * classes, classes)
    pattern = torch.zeros(2, 2, 1, 5)  # run, sequence, head, token
    pattern[0, 0, 0, 1] = 1  # to the first label, the own class's
    pattern[0, 1, 0, 3] = 0.5
    pattern[1, :, 0, 1] = 1  # once to its own, once to the other
    pattern[..., 0] = 9  # exemplars and query do not count
    np.testing.assert_allclose(train.induction(pattern, batch), [[0.75], [0]])


def test_the_training_loss_is_the_mean_since_the_last_record() -> None:
    fine, coarse = (trained(record_every=every)["train_run"] for every in (5, 10))
    pairs = fine.values.reshape(2, 2, 2).mean(-1)
    np.testing.assert_allclose(coarse, pairs, rtol=1e-6)
    assert fine["until"].values.tolist() == [5, 10, 15, 20]


def test_a_product_has_what_it_says() -> None:
    made = trained()
    assert dict(made.sizes) == {"run": 2, "step": 5, "evaluator": 5, "until": 4, "head": 2}
    assert int(made["labels"]) == 8
    assert all(v.dtype == np.float32 for v in made.data_vars.values() if v.ndim)
    again = trained()
    for name, values in made.data_vars.items():
        np.testing.assert_array_equal(values, again[name])
    assert abs(made["ih_strength"]).max() <= 1
    ordered = reading.smoothed(made["theta_norm2"])
    assert ordered["step"].values.tolist() == [5, 10, 15]


# ---- presets -----------------------------------------------------------------------------


def small(params: Training) -> Training:
    """A preset with few classes, so that its data set is drawn at once."""
    if isinstance(params.exemplars, Mixture):
        few = params.exemplars.model_copy(update={"K": 4 * params.exemplars.n_lab})
        return params.model_copy(update={"exemplars": few, "evaluated": 20})
    return params.model_copy(update={"evaluated": 20})


@pytest.mark.parametrize("scale", SCALES)
def test_every_preset_takes_its_steps(monkeypatch: pytest.MonkeyPatch, scale: str) -> None:
    def characters(exemplars: Any) -> data.Exemplars:
        table = np.random.default_rng(0).standard_normal((40, 20, exemplars.inputs))
        empty = np.zeros((40, 0), np.float32)
        return data.Exemplars(table.astype(np.float32), 40, empty, exemplars.inputs)

    monkeypatch.setattr(data, "characters", characters)
    sections = load_paper(SLUG, seed=0).scales[scale]
    taken = 0
    for _, params in sections:
        if isinstance(params, Training):
            ensemble = train.Ensemble(small(params), CPU)
            ensemble.advance_to(2)
            assert all(torch.isfinite(w).all() for w in ensemble.weights.values())
            assert all(np.isfinite(v).all() for v in ensemble.record().values())
            taken += 1
    assert taken == (10 if scale == "published" else 5)
