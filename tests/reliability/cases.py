"""What a case of bad input is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from places import Call, Place

Prepare = Callable[[Place], Call | Sequence[object]]


@dataclass(frozen=True)
class Case:
    """One kind of bad input.

    Attributes:
        title: what the input is.
        says: what the error line must name: the file or key, and the remedy; each a part of it.
        code: exit code: 1 refused, 2 wrong use of the command line, 0 read rightly.
        gives: what comes of an input that is read; stands in the table in place of a line.
        name: of the function that prepares it.
        prepare: spoils the place; gives the command.
    """

    title: str
    says: tuple[str, ...]
    code: int
    gives: str
    name: str
    prepare: Prepare


def refused(title: str, *says: str, code: int = 1) -> Callable[[Prepare], Case]:
    """A case that ends with a line in which all of `says` stand."""
    return lambda prepare: Case(title, says, code, "", prepare.__name__, prepare)


def read(title: str, gives: str) -> Callable[[Prepare], Case]:
    """A case that is read rightly; its `Call.then` shows it."""
    return lambda prepare: Case(title, (), 0, gives, prepare.__name__, prepare)
