"""Errors that a user can act on.

Every one says what is wrong, where, and what to do about it. The command line prints them as one
line and exits with 1; from Python they are ordinary exceptions. A `SemisupError` is always the
user's (or the machine's) to fix; a broken promise of our own code is an `assert`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SemisupError(Exception):
    """What went wrong, where, and the remedy, in one line.

    Attributes:
        reported: whether another process of the same run prints it already.
    """

    reported = False


class RecipeError(SemisupError):
    """A recipe, an option or a name that cannot be used."""


class DataError(SemisupError):
    """A data set, list or image that is missing, damaged or not what it should be."""


class CheckpointError(SemisupError):
    """Weights or a checkpoint that cannot be read or belong to something else."""


class RunError(SemisupError):
    """A run that cannot start or go on: directory in use, disk full, loss not finite."""


class Interrupted(RunError):  # noqa: N818 - a stop that was asked for is no error
    """A run stopped by a signal after its step was finished and saved.

    Attributes:
        exit_code: what the process should exit with (130 for SIGINT, 143 for SIGTERM).
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message, exit_code)  # both, or it could not travel between processes
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of an error line for a name that is not in the table.

    Returns:
        `" Did you mean 'fcn8s'?"` where something is near, else `" Known: a, b."`.
    """
    names = sorted({*known})
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""
