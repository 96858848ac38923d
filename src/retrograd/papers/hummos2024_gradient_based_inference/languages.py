"""Texts in ten languages, as numbers: generated from random grammars, or real corpora.

The generated languages share one lexicon and a few topics. Each has its own order of
words, its own mixture of topics and its own liking for longer sentences, so that which
language a text is in shows in what follows what, and a new language recombines what is
known from others.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrograd import datasets
from retrograd.errors import RetrogradError, check_known
from retrograd.papers.hummos2024_gradient_based_inference.params import Language
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
TOKEN = re.compile(r"<unk>|[a-z]+(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9]")
UNKNOWN = "<unk>"
CORPORA = (
    "shakespeare",
    "bible",
    "sherlock",
    "federalist",
    "grimm",
    "household",
    "state_union",
    "wikitext2",
    "movie_reviews",
    "python_source",
)
GRAMMARS = tuple(f"language {i}" for i in range(len(CORPORA)))


@dataclass(frozen=True)
class Corpus:
    """Words of one data set as indices in the vocabulary, each (token,)."""

    train: Integers
    test: Integers


def tokens(text: str) -> list[str]:
    """Words, numbers and marks of a text, in lower case."""
    return TOKEN.findall(text.lower())


def corpora(params: Language) -> dict[str, Corpus]:
    """All ten data sets, by name."""
    names = GRAMMARS if params.corpora == "grammars" else CORPORA
    for name in {n for sets in (params.picks, params.novel) for own in sets for n in own}:
        check_known("picks and novel", name, names, "data set")
    split = {name: _split(name, _words(params, name), *params.tokens) for name in names}
    index = vocabulary([train for train, _ in split.values()], params.V)
    return {
        name: Corpus(*(_indices(part, index) for part in parts))
        for name, parts in split.items()
    }


def vocabulary(texts: Sequence[Sequence[str]], size: int) -> dict[str, int]:
    """Index of <unk> (0) and of the most frequent words, ties in alphabetical order."""
    counts = Counter(word for text in texts for word in text)
    counts.pop(UNKNOWN, None)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: size - 1]
    if len(ranked) < size - 1:
        raise RetrogradError(f"V = {size}: the texts have only {len(ranked)} words")
    return {word: i for i, word in enumerate([UNKNOWN, *ranked])}


def windows(corpus: Integers, length: int, starts: Array) -> Integers:
    """Windows of `length` + 1 tokens, whose starts are given as fractions in [0, 1).

    Returns:
        (*starts.shape, length + 1).
    """
    first = np.floor(starts * (len(corpus) - length)).astype(np.int64)
    found: Integers = corpus[first[..., None] + np.arange(length + 1)]
    return found


def _words(params: Language, name: str) -> list[str]:
    if params.corpora == "text":
        return tokens(datasets.text(name))
    grammar = Grammar(params.seed, GRAMMARS.index(name))
    return tokens(grammar.text(sum(params.tokens)))


def _split(
    name: str, words: list[str], train: int, test: int
) -> tuple[list[str], list[str]]:
    """The first `train` words and the `test` after them, or the last of a short text."""
    if len(words) < train + test:
        train = len(words) - test
    if train <= test // 10:
        raise RetrogradError(
            f"{name}: {len(words)} tokens are too few for {test} in a test"
        )
    return words[:train], words[train : train + test]


def _indices(words: Sequence[str], index: Mapping[str, int]) -> Integers:
    return np.array([index.get(word, 0) for word in words], np.int64)


# ---- generated languages -----------------------------------------------------------------

WORDS = {"noun": 90, "verb": 50, "adjective": 40, "adverb": 12, "preposition": 8}
TOPICS = 5
ORDERS = ("SVO", "SOV", "VSO")  # in turn, so that any three languages have them all
ARTICLES = ("the", "a", "that")
CONCENTRATION = 1.0  # of the mixture of topics


class Grammar:
    """One language: a random grammar over the lexicon that all languages share."""

    def __init__(self, seed: int, language: int) -> None:
        self._lexicon = Lexicon(seed)
        self._rng = rng = stream(seed, language, "grammar")
        self.order = ORDERS[language % len(ORDERS)]
        self.adjective_first = rng.random() < 0.5
        self.topics = rng.dirichlet(np.full(TOPICS, CONCENTRATION))
        self.more = rng.uniform(0.15, 0.6, 3)  # adjective, adverb, second phrase
        self.articles = rng.dirichlet(np.ones(len(ARTICLES)))

    def text(self, count: int) -> str:
        """Sentences of at least `count` tokens in all."""
        sentences, length = [], 0
        while length < count:
            sentence = self._sentence()
            sentences.append(" ".join(sentence))
            length += len(sentence)
        return "\n".join(sentences)

    def _sentence(self) -> list[str]:
        topic = self._rng.choice(TOPICS, p=self.topics)
        parts = {
            "S": self._noun_phrase(topic),
            "V": self._verb_phrase(topic),
            "O": self._noun_phrase(topic),
        }
        words = [word for part in self.order for word in parts[part]]
        if self._rng.random() < self.more[2]:
            words += [self._word("preposition", topic), *self._noun_phrase(topic)]
        return [*words, "."]

    def _noun_phrase(self, topic: int) -> list[str]:
        words = [self._word("noun", topic)]
        if self._rng.random() < self.more[0]:
            words.insert(0 if self.adjective_first else 1, self._word("adjective", topic))
        return [self._rng.choice(ARTICLES, p=self.articles), *words]

    def _verb_phrase(self, topic: int) -> list[str]:
        words = [self._word("verb", topic)]
        if self._rng.random() < self.more[1]:
            words.append(self._word("adverb", topic))
        return words

    def _word(self, kind: str, topic: int) -> str:
        words, upto = self._lexicon.topic(kind, topic)
        return words[np.searchsorted(upto, self._rng.random())]


class Lexicon:
    """The words of all languages, and how frequent they are in every topic."""

    def __init__(self, seed: int) -> None:
        self._rng = stream(seed, 0, "lexicon")
        names = self._names(sum(WORDS.values()))
        self._by_kind = {
            kind: [names.pop() for _ in range(size)] for kind, size in WORDS.items()
        }
        self._orders = {
            kind: [self._rng.permutation(size) for _ in range(TOPICS)]
            for kind, size in WORDS.items()
        }

    def _names(self, count: int) -> list[str]:
        """Different words of two or three syllables."""
        consonants, vowels = list("bdfgklmnprstvz"), list("aeiou")
        found: dict[str, None] = {}
        while len(found) < count:
            syllables = self._rng.integers(2, 4)
            pairs = zip(
                self._rng.choice(consonants, syllables),
                self._rng.choice(vowels, syllables),
                strict=True,
            )
            found["".join(c + v for c, v in pairs)] = None
        return list(found)

    def topic(self, kind: str, topic: int) -> tuple[list[str], Array]:
        """Words in the order of their frequency in a topic, and its cumulative sum."""
        order = self._orders[kind][topic]
        words = self._by_kind[kind]
        return [words[i] for i in order], self._zipf[kind]

    @cached_property
    def _zipf(self) -> dict[str, Array]:
        found = {}
        for kind, size in WORDS.items():
            weights = 1 / (1 + np.arange(size))
            found[kind] = np.cumsum(weights) / weights.sum()
            found[kind][-1] = 1  # whatever rounding made of it
        return found
