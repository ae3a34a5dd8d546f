"""Numbers of a run as people read them: times, rates, small curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from semisup.monitoring.view import Record

BARS = "▁▂▃▄▅▆▇"
"""Of a small curve, from its lowest to its highest value; a full block would touch other lines."""


def time_left(seconds: float) -> str:
    """Such as "1:15 left", "1:01:15 left", "2 d 3 h left"; "time left unknown" of infinity."""
    if not math.isfinite(seconds):
        return "time left unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h left"
    return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


def seconds_a_step(seconds: float) -> str:
    """Such as "0.213 s a step"."""
    return f"{seconds:.3g} s a step"


def counter(step: int, steps: int) -> str:
    """Such as " 50/600", always as wide in one run."""
    return f"{step:>{len(str(steps))}}/{steps}"


def score_in_words(scores: Mapping[str, float]) -> tuple[str, float, str]:
    """What the first score is called, its value, and on what: ("mIoU", 0.43, "held_out")."""
    name, value = next(iter(scores.items()))
    where, slash, kind = name.rpartition("/")
    return ("mIoU", value, where) if slash and kind == "miou" else (name, value, "")


def story_of(record: Record) -> list[str]:
    """The names that a record's method tells its story by; its losses where it names none."""
    told = [name for name in record.story if name in record.scalars]
    return told or [name for name in record.scalars if name.startswith("loss")]


def shorter(name: str) -> str:
    """A scalar's name for a line with little room: "loss" for "loss_segmentation"."""
    return name.removesuffix("_segmentation").replace("_segmentation_", "_") or name


def own_scalars(record: Record) -> list[str]:
    """All names of the method itself: the story, other losses, and what else it reports."""
    story = story_of(record)
    others = [name for name in record.scalars if "/" not in name and name not in story]
    return story + sorted(others, key=lambda name: not name.startswith("loss"))


def first_that_fit(parts: Iterable[str], width: int, gap: str = "  ") -> str:
    """As many parts of a line as fit into `width`, in order; one that is too long is left out."""
    line = ""
    for part in parts:
        longer = f"{line}{gap}{part}" if line else part
        if len(longer) <= width:
            line = longer
    return line


def small_curve(values: Sequence[float], width: int) -> str:
    """A curve of one line: means of as many stretches as fit, from the lowest to the highest.

    Args:
        values: in order; what is not finite leaves a gap.
        width: columns, at most.
    """
    if width < 1 or not values:
        return ""
    count = min(width, len(values))
    cuts = [number * len(values) // count for number in range(count + 1)]
    means = [_mean(values[start:end]) for start, end in itertools.pairwise(cuts)]
    known = [value for value in means if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    return "".join(_bar(value, low, high) for value in means)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    place = (value - low) / (high - low) if high > low else 0.0
    return BARS[min(int(place * len(BARS)), len(BARS) - 1)]
