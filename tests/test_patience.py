"""A call that neither ends nor moves anything is given up; every other is carried out."""

import time
from collections.abc import Callable

import pytest

from retrograd.errors import UsageError
from retrograd.patience import TIMEOUT, Unanswered, patiently, seconds


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, "0.5")


def test_what_it_returns_or_raises_is_handed_on() -> None:
    def fails(_: Callable[[], None]) -> None:
        raise TimeoutError("its own")

    assert patiently(lambda _: 3) == 3
    with pytest.raises(TimeoutError, match="its own"):
        patiently(fails)


def test_a_call_that_hangs_is_given_up() -> None:
    began = time.monotonic()
    with pytest.raises(Unanswered):
        patiently(lambda _: time.sleep(5))
    assert time.monotonic() - began < 4


def test_a_call_that_moves_or_is_allowed_more_may_take_longer() -> None:
    def moves(has_moved: Callable[[], None]) -> str:
        for _ in range(8):
            time.sleep(0.1)
            has_moved()
        return "all"

    assert patiently(moves) == "all"
    patiently(lambda _: time.sleep(0.8), more=2)


@pytest.mark.parametrize("said", ["soon", "0", "-1", "inf", "nan"])
def test_a_wrong_limit_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT, said)
    with pytest.raises(UsageError, match=TIMEOUT):
        seconds()
