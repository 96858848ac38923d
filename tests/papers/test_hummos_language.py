"""Hummos et al. 2024: languages, and models that are given the identity of the text."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from hummos_setup import CPU, assert_gradient, language
from retrograd.errors import RetrogradError, UsageError
from retrograd.papers.hummos2024_gradient_based_inference import (
    languages,
    lstm,
    train_language,
)
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights

# ---- texts -------------------------------------------------------------------------------


def test_tokens_are_words_numbers_and_marks_in_lower_case() -> None:
    found = languages.tokens("Don't <unk> stop, 42x!\n(It's)")
    expected = ["don't", "<unk>", "stop", ",", "42", "x", "!", "(", "it's", ")"]
    assert found == expected


def test_the_vocabulary_holds_the_most_frequent_words_ties_by_alphabet() -> None:
    texts = [["b", "a", "c", "c", "<unk>", "<unk>"], ["d", "c", "a", "b"]]
    index = languages.vocabulary(texts, 4)
    assert index == {"<unk>": 0, "c": 1, "a": 2, "b": 3}
    with pytest.raises(RetrogradError, match="have only 4 words"):
        languages.vocabulary(texts, 6)


def test_a_short_text_gives_its_end_to_the_test() -> None:
    words = [str(i) for i in range(100)]
    train, test = languages._split("text", words, train=90, test=20)
    assert (train[-1], test[0], test[-1]) == ("79", "80", "99")
    train, test = languages._split("text", words, train=50, test=20)
    assert (len(train), test[0]) == (50, "50")
    with pytest.raises(RetrogradError, match="text: 100 tokens are too few"):
        languages._split("text", words, train=50, test=99)


def test_windows_lie_within_the_text() -> None:
    found = languages.windows(np.arange(20), 5, np.array([0.0, 0.5, 1 - 1e-12]))
    np.testing.assert_array_equal(found[:, 0], [0, 7, 14])
    np.testing.assert_array_equal(found[-1], np.arange(14, 20))


def test_grammars_are_the_same_each_time_and_differ_from_each_other() -> None:
    texts = [languages.Grammar(0, i).text(2000) for i in (0, 0, 1, 3)]
    assert texts[0] == texts[1]
    assert len({*texts}) == 3
    assert texts[0] != languages.Grammar(1, 0).text(2000)
    words = [set(languages.tokens(text)) for text in texts]
    assert len(words[0] & words[2]) > 30  # one lexicon


@pytest.mark.parametrize("number", [0, 1, 2])
def test_sentences_follow_the_order_of_their_language(number: int) -> None:
    grammar = languages.Grammar(0, number)
    kind = {
        word: kind for kind, words in grammar._lexicon._by_kind.items() for word in words
    }
    assert grammar.order == ("SVO", "SOV", "VSO")[number]
    for sentence in grammar.text(500).splitlines():
        kinds = [kind.get(word) for word in sentence.removesuffix(" .").split()]
        places = [i for i, k in enumerate(kinds) if k == "noun"][:2]
        verb = kinds.index("verb")
        before = sum(place < verb for place in places)
        assert before == {"SVO": 1, "SOV": 2, "VSO": 0}[grammar.order]


def test_unknown_data_sets_and_picks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="language 10"):
        languages.corpora(language(novel=[["language 10", "language 3"]]))
    for change, message in (
        ({"seeds": 2}, "one list per seed"),
        ({"novel": [["language 1"]]}, "is not novel"),
        ({"batch": 9}, "multiple of the data sets"),
        ({"words": [1, 6]}, "has only T words"),
        ({"adapt_every": 3}, "multiple of adapt_every"),
        ({"tokens": (600, 5)}, "shorter than one window"),
    ):
        with pytest.raises(ValidationError, match=message):
            language(**change)


# ---- models ------------------------------------------------------------------------------


def weights(members: int = 2, **changes: Any) -> Weights:
    params = language(V=11, E=3, H=4, **changes)
    draws = [train_language.initial_weights(params, run) for run in range(members)]
    return {n: torch.from_numpy(np.stack([d[n] for d in draws])) for n in draws[0]}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    words = torch.from_numpy(rng.integers(11, size=(2, 6, 5)))
    return words, torch.from_numpy(np.eye(2)[rng.integers(2, size=(2, 5))])


def test_gradients_of_all_weights_are_those_of_differences() -> None:
    own, (words, z) = weights(), batch()
    model = train_language.Model(own, gain=5.0)
    found = model.gradients(model.forward(words, z), words, z)

    def loss(w: Weights) -> torch.Tensor:
        nll = train_language.Model(w, gain=5.0).forward(words, z).nll
        return nll.mean((1, 2)).sum()

    assert_gradient(found, own, loss)


def test_the_gradient_of_z_is_that_of_differences() -> None:
    (words, z), model = batch(), train_language.Model(weights(), gain=5.0)
    run = model.forward(words, z)
    found = model.to_z(model.at_gates(run, model.at_logits(run, words)))
    assert_gradient(
        {"z": found}, {"z": z}, lambda w: model.forward(words, w["z"]).nll.sum()
    )


def test_the_loss_starts_at_the_log_of_the_vocabulary() -> None:
    params = language(V=150, H=64, E=32, tokens=(3000, 600))
    found = train_language.experiment(params, CPU)
    first = found["test_loss"].isel(evaluation=0)
    np.testing.assert_allclose(first, np.log(150), atol=0.05)


def test_inputs_that_are_always_zero_keep_their_weights() -> None:
    found = train_language.experiment(language(), CPU)
    moved = found["z_weights_moved"]
    assert (moved.sel(kind="lstm") == 0).all()
    assert (moved.sel(kind="gbi") > 0).all()
    assert found.identical(train_language.experiment(language(), CPU))


def test_a_pick_is_the_same_alone_and_among_others() -> None:
    pick, novel = ["language 0", "language 1"], ["language 2", "language 3"]
    alone = train_language.experiment(language(), CPU)
    other = [["language 4", "language 5"]]
    both = train_language.experiment(
        language(seeds=2, picks=[pick, *other], novel=[novel, novel]), CPU
    )
    for name in ("test_loss", "adapt_loss", "adapt_z"):
        np.testing.assert_allclose(both[name].isel(seed=[0]), alone[name], atol=1e-5)


def test_both_kinds_of_a_pick_see_the_same_windows() -> None:
    params = language()
    corpora = languages.corpora(params)
    windows = train_language.Windows(params, corpora, params.picks, CPU)
    drawn = windows.draw("train", 3, train_language._streams(params, "words"))
    assert drawn.shape == (2, params.T + 1, 6)
    assert torch.equal(drawn[0], drawn[1])


def test_one_pass_inference_asks_only_for_the_first_words() -> None:
    params = language(words=[2, 5])
    corpora = languages.corpora(params)
    windows = train_language.Windows(params, corpora, params.picks, CPU)
    own = lstm.stacked([train_language.initial_weights(params, 0)] * 2, CPU)
    model = train_language.Model(own, params.gain)
    found = train_language.one_pass(params, model, windows, CPU)
    # The same from windows that end after two predictions.
    words = windows.draw("test", 4, train_language._streams(params, "test words"))[:, :3]
    z = torch.full((1, 1, 2), 0.5)
    run = model.forward(words, z)
    s = -model.to_z(model.at_gates(run, model.at_logits(run, words)))
    right = s.argmax(-1) == torch.tensor([0] * 4 + [1] * 4)
    np.testing.assert_allclose(found[:, 0], right.double().mean(-1))
