"""Tables of a comparison, whatever they are written as."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semisup.studies.comparison import Arm, Comparison, Difference
from semisup.studies.kept import Run
from semisup.studies.statistics import LEVEL, MOST_PAIRS, smallest_sign_flip_p

DASH = "-"
"""In a cell that has no value."""


_ALONE = (
    "Classes and single images are kept of the reported checkpoint alone; --score selected has "
    "their tables."
)

MOST_WITH_INTERVALS = 2
"""Differences beside which those of the classes have intervals; JSON has them all."""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it shows.
        head: of the columns.
        rows: as many cells each as there are columns.
        words: number of columns at the left that hold words; all others hold numbers.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


def tables_of(
    comparison: Comparison, *, letters: bool = False, per_class: bool = True
) -> list[Table]:
    """Scores, differences, and classes, as far as a comparison has them.

    Args:
        comparison: of one arm or more.
        letters: whether arms are called A, B, C outside of the first table, which says who is who.
        per_class: whether to make the tables of the classes.
    """
    named = (
        letters_of(comparison.arms) if letters else {arm.name: arm.name for arm in comparison.arms}
    )
    tables = [_scores(comparison, named if letters else None)]
    if comparison.differences:
        tables.append(_differences(comparison, named))
    if per_class:
        tables += _classes(comparison, named)
    return tables


def notes_of(comparison: Comparison) -> list[str]:
    """What has to be known to read the tables, each in one line."""
    from semisup.evaluation.protocol import protocol_line

    rule = comparison.protocol["selection"]
    which = "of the checkpoint after the last step"
    if comparison.score == "selected":
        which = f"of the reported checkpoint ({rule})"
    notes = [
        f"mIoU {which}. sd and 95 % interval (Student's t) are over seeds.",
        *_on_differences(comparison),
        *([] if comparison.score == "selected" else [_ALONE]),
        *comparison.notes,
        f"Protocol: {protocol_line(comparison.protocol)}.",
    ]
    devices = {str(run.content.get("device", "")) for arm in comparison.arms for run in arm.runs}
    return [*notes, f"Device: {', '.join(sorted(devices - {''}))}."] if devices - {""} else notes


def _on_differences(comparison: Comparison) -> Iterator[str]:
    tested = [one for one in comparison.differences if one.paired is not None]
    if tested:
        family = "one comparison" if len(tested) == 1 else f"{len(tested)} comparisons"
        largest = max(len(one.seeds) for one in tested)
        exact = "exact " if largest <= MOST_PAIRS else ""
        drawn = "" if exact else f" (exact up to {MOST_PAIRS} seeds, beyond them by draws)"
        yield (
            f"Differences are paired by seed. p: {exact}two-sided sign-flip test over seeds{drawn};"
            f" Holm: corrected for {family}. Detectable: the smallest difference that a paired "
            "t-test at 0.05, not corrected, finds with a power of 0.8 at this sd; a smaller one "
            "may be there unseen."
        )
        for pairs in sorted({len(one.seeds) for one in tested}):
            if smallest_sign_flip_p(pairs) > LEVEL:
                yield f"With {pairs} seeds p is never below {smallest_sign_flip_p(pairs):g}."
        least = len(tested) * min(smallest_sign_flip_p(len(one.seeds)) for one in tested)
        if len(tested) > 1 and least > LEVEL:
            yield f"With {family} no corrected p is below {min(1.0, least):g}: more seeds."
    if any(one.images is not None for one in comparison.differences):
        yield (
            "Over images: 95 % bootstrap interval of the mean difference, both scored on the same "
            "images; it says nothing of other seeds. Over both: 95 % interval for other seeds and "
            "other images at once."
        )
    elif comparison.score != "selected":
        return
    elif any(not Path(run.source).is_dir() for arm in comparison.arms for run in arm.runs):
        yield "No interval over images: kept results have no counts of single images."
    elif comparison.differences:
        yield (
            "No interval over images: not every run has counts.safetensors in its folder. "
            "'semisup evaluate RUN' writes it."
        )


def letters_of(arms: Sequence[Arm]) -> dict[str, str]:
    """Name of an arm -> what it is called where there is little room: A, B, ... Z, AA."""
    alphabet = string.ascii_uppercase
    words = (itertools.product(alphabet, repeat=length) for length in itertools.count(1))
    names = map("".join, itertools.chain.from_iterable(words))
    return {arm.name: letter for arm, letter in zip(arms, names, strict=False)}


def _scores(comparison: Comparison, letters: dict[str, str] | None) -> Table:
    head = ("masks", "n", "mIoU", "sd", "95 % interval", "train s")
    rows = []
    for arm in comparison.arms:
        sd = DASH if arm.sd is None else f"{arm.sd:.3f}"
        cells = (
            masks(arm.runs), str(len(arm.runs)), f"{arm.mean:.3f}", sd, interval(arm.interval),
            f"{arm.train_seconds:.0f}",
        )  # fmt: skip
        rows.append((*((letters[arm.name],) if letters else ()), arm.name, *cells))
    first = ("", "run") if letters else ("run",)
    return Table(f"mIoU, {comparison.score}", (*first, *head), tuple(rows), words=len(first))


def _differences(comparison: Comparison, named: dict[str, str]) -> Table:
    over_images = any(one.images is not None for one in comparison.differences)
    images = ("over images", "over both") if over_images else ()
    head = ("seeds", "difference", "95 % interval", "p", "p, Holm", "detectable", *images)
    rows = tuple(
        (named[one.arm], named[one.baseline], *_cells(one, over_images))
        for one in comparison.differences
    )
    return Table("difference from the baseline", ("run", "baseline", *head), rows, words=2)


def _cells(one: Difference, over_images: bool) -> tuple[str, ...]:
    found, p = one.paired, one.p_holm
    cells = (
        str(len(one.seeds)),
        signed(one.mean),
        interval(found.interval if found else None, sign=True),
        p_text(found.p) if found else DASH,
        p_text(p) if p is not None else DASH,
        f"{found.detectable:.3f}" if found else DASH,
    )
    if not over_images:
        return cells
    both = one.both.interval if one.both else None
    return (*cells, interval(one.images, sign=True), interval(both, sign=True))


def _classes(comparison: Comparison, named: dict[str, str]) -> list[Table]:
    means = {arm.name: arm.class_means() for arm in comparison.arms}
    names = list(dict.fromkeys(name for row in means.values() for name in row))
    if not names:
        return []
    heads = tuple(named[arm.name] for arm in comparison.arms)
    rows = tuple(
        (name, *(_share(means[arm.name].get(name)) for arm in comparison.arms)) for name in names
    )
    tables = [Table("IoU of each class, mean over seeds", ("class", *heads), rows)]
    if comparison.differences:
        few = len(comparison.differences) <= MOST_WITH_INTERVALS
        pairs = tuple(f"{named[d.arm]} - {named[d.baseline]}" for d in comparison.differences)
        cells = tuple(
            (name, *(_class(d, name, with_interval=few) for d in comparison.differences))
            for name in names
        )
        with_what = "with 95 % interval over seeds, not corrected" if few else "mean over seeds"
        title = f"difference of each class, {with_what}"
        tables.append(Table(title, ("class", *pairs), cells))
    return tables


def _class(one: Difference, name: str, *, with_interval: bool) -> str:
    found = one.classes.get(name)
    if found is None:
        return DASH
    if found.interval is None or not with_interval:
        return signed(found.mean)
    return f"{signed(found.mean)} ({interval(found.interval, sign=True)})"


def masks(runs: Sequence[Run]) -> str:
    """How many labelled images, or from how many to how many."""
    counts = [int(run.split["labelled"]) for run in runs]
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def interval(ends: tuple[float, float] | None, *, sign: bool = False) -> str:
    """Two ends of three decimals, or a dash."""
    if ends is None:
        return DASH
    low, high = (signed(end) if sign else f"{end:.3f}" for end in ends)
    return f"{low} to {high}"


def signed(value: float) -> str:
    """Three decimals with the sign, and no "-0.000"."""
    return f"{round(value, 3) + 0.0:+.3f}"


def p_text(p: float) -> str:
    """Three decimals, or what p is below."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def _share(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"
