"""Servers that may never answer: a call is given up when nothing has moved for a while.

Each kind of remote has time limits of its own, of half an hour or none at all; this one
holds for every kind.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

from retrograd.errors import UsageError

TIMEOUT = "RETROGRAD_REMOTE_TIMEOUT"
DEFAULT = 60.0  # seconds
T = TypeVar("T")


class Unanswered(Exception):
    """Nothing moved for as long as the person is willing to wait."""


def seconds() -> float:
    """How long nothing may move.

    Raises:
        UsageError: the environment variable is not a positive number.
    """
    said = os.environ.get(TIMEOUT, "")
    try:
        limit = float(said or DEFAULT)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise UsageError(f"{TIMEOUT}={said}: give it seconds, such as {DEFAULT:.0f}")
    return limit


def patiently(call: Callable[[Callable[[], None]], T], more: float = 0.0) -> T:
    """Carry out a call that is given up when it neither ends nor moves anything.

    It runs in a thread of its own, which nothing can stop: once given up it is left
    behind, and ends with the process.

    Args:
        call: is given a function to call whenever something has moved.
        more: seconds beyond the usual limit.

    Raises:
        Unanswered: given up. Whatever the call raises is raised here as well.
    """
    limit = seconds() + more
    moved = time.monotonic()
    answer: Future[T] = Future()

    def has_moved() -> None:
        nonlocal moved
        moved = time.monotonic()

    def work() -> None:
        try:
            answer.set_result(call(has_moved))
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=work, daemon=True).start()
    while (left := moved + limit - time.monotonic()) > 0:
        if wait([answer], timeout=left).done:
            return answer.result()
    raise Unanswered
