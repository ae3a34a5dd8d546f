"""How long a condition has been present or absent, and when that gives a warning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE = 3
"""Log points in a row that a condition must last before a warning is issued, or cleared."""

SPAN = 150
"""Steps that it must last besides. Where a log point is written every 50 steps, the warning comes
before the condition is 200 steps old, the window in which it began included; in a denser log no
sooner.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check at one log point.

    Attributes:
        key: names the condition, such as "won" or "still/generator".
        evidence: the scalars that show the condition; empty where it is absent.
        condition: the condition, in words.
        remedy: what to try.
        reportable: False where it is too early in the run to warn of it.
    """

    key: str
    evidence: str
    condition: str
    remedy: str
    reportable: bool = True


@dataclass
class Course:
    """How long a condition has been present, or absent.

    Attributes:
        present: which of the two it is.
        points: log points in a row.
        since: the last step before that.
        warned: whether a warning is active, i.e. issued and not yet cleared.
    """

    present: bool = False
    points: int = 0
    since: int = 0
    warned: bool = False

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Course:
        """What `dataclasses.asdict` made of one.

        Raises:
            KeyError: it is of another version.
        """
        return cls(state["present"], state["points"], state["since"], state["warned"])

    def add(self, finding: Finding, before: int, step: int) -> bool:
        """Add a log point; returns whether a warning is to be issued now.

        Args:
            finding: of this log point.
            before: step of the log point before it.
            step: of this one.
        """
        present = bool(finding.evidence)
        if present != self.present or not self.points:
            self.present, self.points, self.since = present, 0, before
        self.points += 1
        lasts = self.points >= PATIENCE and step - self.since >= SPAN
        if not lasts or present == self.warned or (present and not finding.reportable):
            return False
        self.warned = present
        return present


def values_in_words(scalars: Mapping[str, float]) -> str:
    """Names and values in one line, such as "d_real 0.99, d_fake 0.03"."""
    return ", ".join(f"{name} {value:.3g}" for name, value in scalars.items())
