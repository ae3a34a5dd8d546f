"""Checking every file of a data set once, before a run stumbles over one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.errors import DataError
from semisup.system.progress import track
from semisup.types import IGNORE

_HELD_OUT = frozenset({"val", "test"})
_UNIONS = frozenset({"trainval", "all"})  # hold images of a held-out subset on purpose


class Problem(NamedTuple):
    """A file that cannot be used, and why, in one line that names the file."""

    file: Path
    reason: str


@dataclass(frozen=True, slots=True)
class SubsetReport:
    """What is in one subset; files with a problem are not counted in.

    Attributes:
        subset: its name.
        images: number of ids.
        smallest: least height and least width (not always of one image); None without images.
        largest: greatest height and greatest width.
        classes: K names.
        pixels: pixels of each class.
        void: void pixels.
        problems: number of problems of its files.
    """

    subset: str
    images: int
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    classes: tuple[str, ...]
    pixels: tuple[int, ...]
    void: int
    problems: int

    @property
    def void_share(self) -> float:
        """Void pixels over all pixels, in [0, 1]."""
        return self.void / max(1, self.void + sum(self.pixels))

    def class_shares(self) -> list[tuple[str, float]]:
        """Each class with its share of the pixels that are not void, in [0, 1]."""
        total = max(1, sum(self.pixels))
        return [(name, n / total) for name, n in zip(self.classes, self.pixels, strict=True)]


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        subsets: one report for each data set given, in their order.
        problems: all bad files, each once, in the order of the lists; then ids in two subsets.
    """

    subsets: tuple[SubsetReport, ...]
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def columns(self) -> tuple[str, ...]:
        """Heads of the columns of `rows`."""
        return ("subset", "images", "smallest", "largest", "void", "problems")

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text for each subset; sizes are height x width."""
        return [
            (
                report.subset,
                f"{report.images:,}",
                _size(report.smallest),
                _size(report.largest),
                f"{report.void_share:.1%}",
                f"{report.problems:,}",
            )
            for report in self.subsets
        ]


class _Finding(NamedTuple):
    """Of one image with its mask: size and pixels of each label, or else its problems."""

    size: tuple[int, int] | None = None
    counts: Tensor | None = None  # 256, int64
    problems: tuple[Problem, ...] = ()


class _Pair(NamedTuple):
    """One image and its mask; what is in two subsets is checked once."""

    image: Path
    mask: Path


def verify(datasets: Sequence[SegmentationData]) -> Verification:
    """Read every image and mask of `datasets`, subsets of one data set, once.

    A file must be there and decode, a mask must have the size of its image and known labels
    only, and a "val", "test" or reported subset may share no image with another subset (apart
    from "trainval" and "all", which are unions).
    """
    where = {_pair(data, i): (data, i) for data in datasets for i in range(len(data))}
    findings = dict(zip(where, _check_all(list(where.values())), strict=True))
    problems = [problem for finding in findings.values() for problem in finding.problems]
    reports = (
        _report(data, [findings[_pair(data, i)] for i in range(len(data))]) for data in datasets
    )
    return Verification(tuple(reports), [*dict.fromkeys(problems), *_shared_ids(datasets)])


def check_apart(data: SegmentationData, reported: SegmentationData) -> None:
    """Refuse to train on `data` what is reported on in `reported`, as `verify` would.

    One subset twice, and unions such as "trainval", are taken for what somebody wants.

    Raises:
        DataError: an image is in both.
    """
    for problem in _shared_ids((data, reported)):
        raise DataError(f"{data.name}: {problem.reason}, or choose another eval.subset")


def _pair(data: SegmentationData, index: int) -> _Pair:
    return _Pair(data.image_path(index), data.mask_path(index))


def _check_all(places: Sequence[tuple[SegmentationData, int]]) -> Iterator[_Finding]:
    # Threads: Pillow decodes outside Python's lock, and nothing has to be sent to them.
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from track(pool.map(_check, places), "checking files", len(places))
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt must not wait for the queue


def _check(place: tuple[SegmentationData, int]) -> _Finding:
    data, index = place
    try:
        image, mask = data.pair(index)
    except DataError as error:
        return _Finding(problems=_problems(data, index, error))
    height, width = image.shape[-2:]
    counts = torch.bincount(mask.flatten(), minlength=IGNORE + 1)
    return _Finding((height, width), counts)


def _problems(data: SegmentationData, index: int, error: DataError) -> tuple[Problem, ...]:
    """What is wrong with each of two files; where either alone is right, what `error` says."""
    single = (
        _problem(data.image, index, data.image_path(index)),
        _problem(data.mask, index, data.mask_path(index)),
    )
    found = tuple(problem for problem in single if problem)
    return found or (Problem(data.mask_path(index), str(error)),)


def _problem(read: Callable[[int], Tensor], index: int, path: Path) -> Problem | None:
    try:
        read(index)
    except DataError as error:
        return Problem(path, str(error))
    return None


def _report(data: SegmentationData, findings: Sequence[_Finding]) -> SubsetReport:
    sizes = [finding.size for finding in findings if finding.size]
    counts = torch.zeros(IGNORE + 1, dtype=torch.int64)
    for finding in findings:
        if finding.counts is not None:
            counts += finding.counts
    return SubsetReport(
        subset=data.subset,
        images=len(data),
        smallest=_extreme(min, sizes),
        largest=_extreme(max, sizes),
        classes=data.classes,
        pixels=tuple(counts[: data.num_classes].tolist()),
        void=int(counts[IGNORE]),
        problems=sum(len(finding.problems) for finding in findings),
    )


def _extreme(
    choose: Callable[[Iterable[int]], int], sizes: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    if not sizes:
        return None
    return choose(height for height, _ in sizes), choose(width for _, width in sizes)


def _shared_ids(datasets: Sequence[SegmentationData]) -> Iterator[Problem]:
    for one, other in combinations(datasets, 2):
        held_out = _HELD_OUT | {one.eval_subset}
        names = {one.subset, other.subset}
        if len(names) < 2 or names & _UNIONS or not names & held_out:
            continue
        places = {name: index for index, name in enumerate(one.ids)}
        for name in other.ids:
            if name in places:
                reason = f"'{name}' is in both {one.subset} and {other.subset}; drop it from one"
                yield Problem(one.image_path(places[name]), reason)


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else "-"
