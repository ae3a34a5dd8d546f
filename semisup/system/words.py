"""Numbers and names in sentences."""

from __future__ import annotations

from collections.abc import Sequence

NAMED = 5
"""Names in one sentence; the rest is counted."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: "1 image", "2 images", "1,234 images".

    Args:
        count: how many.
        noun: of one, such as "labelled image".
        plural: of several; empty: the noun and an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def names(some: Sequence[str], most: int = NAMED) -> str:
    """Such as "'cat', 'dog' and 3 more"."""
    quoted = [f"'{name}'" for name in some]
    if len(quoted) > most:
        return f"{', '.join(quoted[:most])} and {len(quoted) - most} more"
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
