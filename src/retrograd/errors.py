"""Errors a person can act on."""

from collections.abc import Iterable
from difflib import get_close_matches


class RetrogradError(Exception):
    """Something a person must mend; its text names the thing and the mend."""


class UsageError(RetrogradError):
    """A wrong word of the person's own: exit code 2."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Text that ends an 'unknown name' error: the nearest valid name, and what is valid."""
    known = sorted(names)
    close = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'? " if close else ""
    shown = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    return f"{hint}valid: {shown}"


def check_known(place: str, name: str, names: Iterable[str], what: str = "") -> None:
    """Refuse a name that is none of the valid ones.

    Raises:
        UsageError: names the place, what was found, and the nearest valid name.
    """
    valid = list(names)
    if name not in valid:
        kind = f"{what} " if what else ""
        raise UsageError(f"{place}: unknown {kind}'{name}'; {nearest(name, valid)}")


_SHOWN = 12
