"""Numbers in sentences."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: "1 image", "2 images", "1,234 images".

    Args:
        count: how many.
        noun: of one, such as "labelled image".
        plural: of several; empty: the noun and an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
