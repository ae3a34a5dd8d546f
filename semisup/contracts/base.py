"""A contract: named checks, each of which holds or says what fails and what to do."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from semisup.errors import SemisupError

Subject = TypeVar("Subject")


class ContractError(SemisupError):
    """A part of a contract that does not hold, and what to do about it."""


class NotApplicable(Exception):  # noqa: N818 - no error
    """A check that does not apply here, and why."""


def require(holds: object, sentence: str) -> None:
    """Raise a `ContractError` with `sentence` unless `holds`."""
    if not holds:
        raise ContractError(sentence)


@dataclass(frozen=True, slots=True)
class Check(Generic[Subject]):
    """One part of a contract.

    Attributes:
        title: what holds, in a few words.
        run: raises a `ContractError` where it does not.
    """

    title: str
    run: Callable[[Subject], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found.

    Attributes:
        title: of the check.
        problem: what fails and what to do; empty where it holds.
        skipped: why there was nothing to check; empty where there was.
    """

    title: str
    problem: str = ""
    skipped: str = ""

    @property
    def verdict(self) -> str:
        """ "holds", "fails" or "-"."""
        return "fails" if self.problem else "-" if self.skipped else "holds"


def run_checks(checks: Sequence[Check[Subject]], subject: Subject) -> Iterator[Finding]:
    """All checks, one after the other; what one raises does not stop the others."""
    for check in checks:
        try:
            check.run(subject)
        except NotApplicable as reason:
            yield Finding(check.title, skipped=str(reason))
        except ContractError as error:
            yield Finding(check.title, problem=str(error))
        except Exception as error:  # the code under test may do anything
            yield Finding(check.title, problem=_crashed(error))
        else:
            yield Finding(check.title)


def _crashed(error: Exception) -> str:
    """An error out of the code under test, with the last line of that code that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    package = Path(__file__).resolve().parents[1]
    outside = [f for f in frames if package not in Path(f.filename).parents]
    theirs = [f for f in outside if "site-packages" not in f.filename]
    last = (theirs or frames)[-1]
    text = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {text} ({last.filename}, line {last.lineno}). Mend it there."
