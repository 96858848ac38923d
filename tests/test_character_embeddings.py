"""The embedding of drawings: what its filters see, and what the projection keeps."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrograd import character_embeddings as embeddings
from retrograd import data_table, datasets
from retrograd.errors import RetrogradError

SIDE = embeddings.SIDE
few = settings(max_examples=10, deadline=None)


def strokes(seed: int, images: int = 30) -> NDArray[np.uint8]:
    """Drawings of three straight strokes each, in the middle of the page."""
    rng = np.random.default_rng(seed)
    ink = np.zeros((images, SIDE, SIDE), np.uint8)
    t = np.linspace(0, 1, 200)[:, None]
    for image in ink:
        ends = rng.uniform(30, 75, (4, 2))
        for a, b in pairwise(ends):
            row, column = np.rint(a + t * (b - a)).astype(int).T
            for thickness in range(3):
                image[row, column + thickness] = 1
    return ink


def bar(angle: float) -> NDArray[np.uint8]:
    """One straight stroke at an angle from the horizontal, rows pointing down."""
    row, column = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    along = column * np.cos(angle) + row * np.sin(angle)
    across = -column * np.sin(angle) + row * np.cos(angle)
    ink: NDArray[np.uint8] = ((abs(along) < 35) & (abs(across) < 3)).astype(np.uint8)
    return ink[None]


def by_orientation(ink: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Pooled amplitudes, (wavelength, orientation)."""
    found = embeddings.amplitudes(ink)[0] ** 2
    shape = (len(embeddings.WAVELENGTHS), embeddings.ORIENTATIONS, -1)
    total: NDArray[np.float64] = found.reshape(shape).sum(-1)
    return total


@pytest.mark.parametrize("k", range(embeddings.ORIENTATIONS))
def test_a_stroke_drives_the_filters_across_it(k: int) -> None:
    angle = k * np.pi / embeddings.ORIENTATIONS
    response = by_orientation(bar(angle + np.pi / 2))
    assert (response.argmax(1) == k).all()
    assert (response.max(1) > 2 * response.min(1)).all()


def test_blank_and_uniform_pages_have_no_amplitude_inside() -> None:
    assert not embeddings.amplitudes(np.zeros((1, SIDE, SIDE), np.uint8)).any()
    # The gain at zero frequency vanishes; what a black page has comes from its edges.
    assert abs(embeddings._gabor_gains()[:, 0, 0]).max() < 1e-15


@few
@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(0, 100))
def test_where_a_character_is_drawn_does_not_matter(down: int, right: int, n: int) -> None:
    ink = strokes(n, 2)
    moved = np.roll(ink, (down, right), (1, 2))
    np.testing.assert_array_equal(embeddings.amplitudes(moved), embeddings.amplitudes(ink))


def test_an_image_has_the_same_amplitudes_alone_and_among_others() -> None:
    ink = strokes(0, embeddings._CHUNK + 3)
    together = embeddings.amplitudes(ink)
    np.testing.assert_allclose(embeddings.amplitudes(ink[-1:]), together[-1:], atol=1e-14)


@few
@given(st.integers(0, 100), st.integers(2, 20))
def test_features_have_mean_square_one_and_are_the_same_every_time(n: int, D: int) -> None:
    ink = strokes(n)
    x = embeddings.embed(ink, D)
    assert x.shape == (len(ink), D)
    assert (x**2).mean() == pytest.approx(1)
    np.testing.assert_array_equal(x, embeddings.embed(ink.copy(), D))


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_the_common_mean_has_the_share_that_is_asked_for(rho: float) -> None:
    x = embeddings.embed(strokes(1), 12, rho)
    assert (x.mean(0) ** 2).mean() == pytest.approx(rho, abs=1e-12)
    assert (x**2).mean() == pytest.approx(1)


def test_with_all_axes_distances_are_those_of_the_amplitudes() -> None:
    # 30 drawings span 30 axes: nothing is lost, and nothing is whitened.
    ink = strokes(2)
    x, pooled = embeddings.embed(ink, len(ink)), embeddings.amplitudes(ink)
    distance = [
        np.linalg.norm(values[:, None] - values[None], axis=-1) for values in (x, pooled)
    ]
    scale = np.sqrt((pooled**2).sum() / x.size)
    np.testing.assert_allclose(distance[0] * scale, distance[1], atol=1e-8)


def test_too_few_drawings_and_wrong_pages_are_refused() -> None:
    with pytest.raises(RetrogradError, match=r"30 drawings .* have no 31 axes"):
        embeddings.embed(strokes(0), 31)
    with pytest.raises(RetrogradError, match="105 × 105 pixels"):
        embeddings.amplitudes(np.zeros((1, 28, 28), np.uint8))


def test_characters_of_both_parts_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, own = strokes(3, 40), strokes(4, 40)

    def part(name: str) -> datasets.Characters:
        ink = np.concatenate([shared, own if name == "small2" else own[::-1]])
        number = np.arange(80) // 20
        alphabet = np.where(number < 2, "Shared", f"Only in {name}")
        return datasets.Characters(ink, alphabet, number % 2, np.arange(80) % 20)

    monkeypatch.setattr(datasets, "omniglot", part)
    embeddings.omniglot.cache_clear()
    found = embeddings.omniglot(16)
    embeddings.omniglot.cache_clear()
    assert found.names == [
        f"{alphabet} {i:02}"
        for alphabet in ("Only in small1", "Only in small2", "Shared")
        for i in (1, 2)
    ]
    assert found.features.shape == (6, 20, 16)
    assert found.features.dtype == np.float32
    # The same drawings, in the other order, are in both own alphabets.
    np.testing.assert_array_equal(found.features[0, 0], found.features[3, 19])


def test_real_characters_lie_near_their_own_kind() -> None:
    """20-way one-shot classification by the nearest neighbour; chance is 0.05."""
    if not data_table.at_hand("omniglot"):
        pytest.skip("Omniglot is not at hand")
    x = embeddings.omniglot(128).features
    assert x.shape == (242, 20, 128)
    rng, right = np.random.default_rng(0), []
    for _ in range(100):
        chosen = rng.choice(len(x), 20, replace=False)
        shown, asked = rng.choice(20, 2, replace=False)
        distance = np.linalg.norm(x[chosen, asked][:, None] - x[chosen, shown], axis=-1)
        right.append((distance.argmin(1) == np.arange(20)).mean())
    assert np.mean(right) > 0.7  # 0.78
    mean = x.mean((0, 1))
    assert (mean**2).mean() == pytest.approx(0.90, abs=0.01)
