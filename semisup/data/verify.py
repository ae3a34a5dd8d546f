"""Checking every file of a data set once, before a run stumbles over one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semisup.data.base import Problem, SegmentationData
from semisup.data.by_name import listed
from semisup.data.evidence import Sign, masks_of, signs, signs_of_classes, signs_of_some
from semisup.data.labels.classes_in_masks import MaskContent, content_of, count_labels
from semisup.data.leftovers import leftovers, named, twins
from semisup.data.palettes import (
    Contradiction,
    Palette,
    PlacedMask,
    coloured_palette,
    contradictions,
    doubts,
)
from semisup.data.sets.photographs import Photographs
from semisup.errors import DataError
from semisup.system.progress import track
from semisup.system.threads import in_threads
from semisup.system.words import names
from semisup.types import IGNORE

_HELD_OUT = frozenset({"val", "test"})
_UNIONS = frozenset({"trainval", "all"})  # hold images of a held-out subset on purpose


@dataclass(frozen=True, slots=True)
class SubsetReport:
    """What is in one subset; images and masks with a problem are not counted in.

    Attributes:
        subset: its name.
        images: number of ids.
        smallest: least height and least width (not always of one image); None without images.
        largest: greatest height and greatest width.
        classes: K names.
        pixels: pixels of each class.
        void: void pixels.
        problems: number of problems of its files.
        has_masks: False for photographs, of which no mask is read.
        unlabelled: number of images that have no mask and need none.
    """

    subset: str
    images: int
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    classes: tuple[str, ...]
    pixels: tuple[int, ...]
    void: int
    problems: int
    has_masks: bool = True
    unlabelled: int = 0

    @property
    def void_share(self) -> float:
        """Void pixels over all pixels, in [0, 1]."""
        return self.void / max(1, self.void + sum(self.pixels))

    def class_shares(self) -> list[tuple[str, float]]:
        """Each class with its share of the pixels that are not void, in [0, 1]."""
        total = max(1, sum(self.pixels))
        return [(name, n / total) for name, n in zip(self.classes, self.pixels, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """One subset of `Verification.as_json`."""
        pixels = dict(zip(self.classes, self.pixels, strict=True))
        return {
            "subset": self.subset,
            "images": self.images,
            "smallest": self.smallest,
            "largest": self.largest,
            "pixels": pixels if self.has_masks else None,
            "void": self.void if self.has_masks else None,
            "void_share": self.void_share if self.has_masks else None,
            "unlabelled": self.unlabelled,
            "problems": self.problems,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        subsets: one report for each data set given, in their order.
        problems: all bad files, each once, in the order of the lists; then what is wrong with whole
            sets of masks, and images in two subsets.
        warnings: what may be right but seldom is, a sentence each.
        notes: what is no fault, such as files that are not used.
    """

    subsets: tuple[SubsetReport, ...]
    problems: list[Problem] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def columns(self) -> tuple[str, ...]:
        """Heads of the columns of `rows`."""
        names = ("subset", "images", "smallest", "largest", "void", "problems")
        return (*names, "unlabelled") if self._any_unlabelled() else names

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text for each subset; sizes are height x width."""
        return [
            (
                report.subset,
                f"{report.images:,}",
                _size(report.smallest),
                _size(report.largest),
                f"{report.void_share:.1%}" if report.has_masks else "-",
                f"{report.problems:,}",
                *([f"{report.unlabelled:,}"] if self._any_unlabelled() else []),
            )
            for report in self.subsets
        ]

    def as_json(self) -> dict[str, Any]:
        """All that was found, for JSON: sizes as [height, width], pixels by the name of the class.

        A void share, pixels and void are None of a subset whose masks were not read.
        """
        return {
            "ok": self.ok,
            "subsets": [report.as_json() for report in self.subsets],
            "problems": [{"file": str(file), "reason": reason} for file, reason in self.problems],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def _any_unlabelled(self) -> bool:
        return any(report.unlabelled for report in self.subsets if report.has_masks)


class _Finding(NamedTuple):
    """Of one image with its mask: size and pixels of each label, unless one cannot be used.

    The problems are those of image and mask then, and else those of the files beside them.
    """

    size: tuple[int, int] | None = None
    counts: Tensor | None = None  # 256, int64; None without a mask
    content: MaskContent | None = None
    palette: Palette | None = None
    problems: tuple[Problem, ...] = ()


class _Pair(NamedTuple):
    """One image and its mask, if it has one; what is in two subsets is checked once."""

    id: str
    image: Path
    mask: Path | None


@dataclass(frozen=True, slots=True)
class _Checked:
    """One data set with what was found of each of its images, and of its masks as a set."""

    data: SegmentationData
    findings: Sequence[_Finding]

    @property
    def sound(self) -> bool:
        return all(finding.size is not None for finding in self.findings)

    def signs(self) -> list[Sign]:
        """What the masks give away; those that cannot be read may hold what is missed."""
        held = [finding.content for finding in self.findings if finding.content is not None]
        masks = masks_of(self.data, f"of {self.data.subset}", held)
        return signs(masks) if self.sound else signs_of_some(masks)

    def palettes(self) -> dict[PlacedMask, Palette]:
        return {
            PlacedMask(self.data, index): finding.palette
            for index, finding in enumerate(self.findings)
            if finding.palette is not None
        }

    def all_void(self) -> list[str]:
        """Ids of the images whose masks teach nothing."""
        return [
            self.data.ids[index]
            for index, finding in enumerate(self.findings)
            if finding.counts is not None and not finding.counts[:IGNORE].any()
        ]


def verify(datasets: Sequence[SegmentationData]) -> Verification:
    """Read every image and mask of `datasets`, subsets of one data set, once.

    A file must be there and decode, a mask must have the size of its image and known labels
    only, the files beside them must not contradict them (`SegmentationData.problems_beside`), and
    a "val", "test" or reported subset may share no image with another subset, nor a picture under
    another name (apart from "trainval" and "all", which are unions). Of an image that has no mask
    the image alone is read, but each image of the reported subset must have one; photographs may
    be no files of that subset. What the labels of all masks say is in `semisup.data.evidence`,
    what their colours say in `semisup.data.palettes`.

    Raises:
        DataError: as in `check_same_classes`.
    """
    for other in datasets[1:]:
        check_same_classes(datasets[0], other)
    where = {_pair(data, i): (data, i) for data in datasets for i in range(len(data))}
    findings = dict(zip(where, _check_all(list(where.values())), strict=True))
    sets = [
        _Checked(data, [findings[_pair(data, i)] for i in range(len(data))]) for data in datasets
    ]
    masked = [checked for checked in sets if checked.data.masked_ids]
    found = {checked.data: checked.signs() for checked in masked}
    of_classes = signs_of_classes(masked[0].data.classes) if masked else []
    palettes = {m: p for checked in masked for m, p in checked.palettes().items()}
    conflicts = contradictions(palettes)
    reports = [_report(each, found.get(each.data, []), conflicts) for each in sets]
    of_sets = [(datasets[0], sign) for sign in of_classes]
    of_sets += [(data, sign) for data, some in found.items() for sign in some]
    problems = [
        *dict.fromkeys(problem for finding in findings.values() for problem in finding.problems),
        *(Problem(data.root, sign.text) for data, sign in of_sets if sign.fault),
        *(Problem(*conflict) for conflict in conflicts),
        *_shared_ids(datasets),
        *_shared_photographs(datasets),
        *_shared_pictures(datasets),
    ]
    warnings = [sign.text for _, sign in of_sets if not sign.fault] + doubts(palettes)
    return Verification(tuple(reports), problems, tuple(warnings), tuple(_notes(masked, datasets)))


def _notes(masked: Sequence[_Checked], datasets: Sequence[SegmentationData]) -> Iterator[str]:
    for checked in masked:
        void, subset = checked.all_void(), checked.data.subset
        if void and len(void) < len(checked.data):
            what = "mask" if len(void) == 1 else "masks"
            yield f"{len(void):,} {what} of {subset} void throughout: {named(void)}"
    if void := [name for name in datasets[0].stored_classes if name not in datasets[0].classes]:
        yield f"pixels of {names(void)} count as void"
    yield from leftovers(datasets)


def check_same_classes(data: SegmentationData, other: SegmentationData) -> None:
    """Refuse two subsets in which a label is not of the same class.

    Raises:
        DataError: they have other classes, or the same in another order.
    """
    if data.classes == other.classes:
        return
    own, others = (
        f"{each.subset} has the classes {listed(each.classes)}" for each in (data, other)
    )
    raise DataError(
        f"{other.root}: {own}, and {others}. A label must be of one class in all subsets of "
        f"{data.name}: give all of them the same list of classes."
    )


def check_apart(data: SegmentationData, reported: SegmentationData) -> None:
    """Refuse to train on `data` what is reported on in `reported`, as `verify` would.

    One subset twice, and unions such as "trainval", are taken for what somebody wants.

    Raises:
        DataError: an image is in both.
    """
    for problem in _shared_ids((data, reported)):
        raise DataError(f"{data.name}: {problem.reason}, or choose another eval.subset")


def check_watched(data: SegmentationData, watched: SegmentationData) -> None:
    """Refuse to watch the scores of images that are trained on, with a mask or without.

    Raises:
        DataError: an image is in both.
    """
    known = set(data.ids)
    for name in watched.ids:
        if name in known:
            raise DataError(
                f"{data.name}: '{name}' is in both {data.subset} and {watched.subset}, so that "
                "its score says nothing of other images; choose another eval.watch"
            )


def check_pool_apart(pool: SegmentationData, reported: SegmentationData) -> None:
    """Refuse unlabelled photographs that are files of the reported set.

    Files are known by their resolved paths: a copy of a picture elsewhere is not found.

    Raises:
        DataError: a file is in both.
    """
    if not isinstance(pool, Photographs):
        return
    for problem in _shared_files(pool, reported):
        raise DataError(problem.reason)


def _shared_files(pool: Photographs, reported: SegmentationData) -> Iterator[Problem]:
    known = {reported.image_path(i).resolve(): name for i, name in enumerate(reported.ids)}
    for index in range(len(pool)):
        path = pool.image_path(index)
        name = known.get(path.resolve())
        if name is not None:
            reason = (
                f"{path} is image '{name}' of subset '{reported.subset}' of {reported.name}, which "
                "is reported on; take a folder without that subset for data.unlabelled"
            )
            yield Problem(path, reason)


def _pair(data: SegmentationData, index: int) -> _Pair:
    mask = data.mask_path(index) if _needs_mask(data, index) else None
    return _Pair(data.ids[index], data.image_path(index), mask)


def _needs_mask(data: SegmentationData, index: int) -> bool:
    """Whether a mask is read: of an image that has one, and of each that is reported on."""
    reported = data.subset == data.eval_subset and not isinstance(data, Photographs)
    return reported or data.has_mask(index)


def _check_all(places: Sequence[tuple[SegmentationData, int]]) -> Iterator[_Finding]:
    yield from track(in_threads(_check, places), "checking files", len(places))


def _check(place: tuple[SegmentationData, int]) -> _Finding:
    data, index = place
    if not _needs_mask(data, index):
        return _without_mask(data, index)
    try:
        image, mask = data.pair(index)
    except DataError as error:
        return _Finding(problems=_problems(data, index, error))
    height, width = image.shape[-2:]
    counts, palette = count_labels(mask), coloured_palette(data.mask_path(index))
    beside = tuple(data.problems_beside(index, image, mask))
    return _Finding((height, width), counts, content_of(mask, counts), palette, beside)


def _problems(data: SegmentationData, index: int, error: DataError) -> tuple[Problem, ...]:
    """What is wrong with each of two files; where either alone is right, what `error` says."""
    single = (
        _problem(data.image, index, data.image_path(index)),
        _problem(data.mask, index, data.mask_path(index)),
    )
    found = tuple(problem for problem in single if problem)
    return found or (Problem(data.mask_path(index), str(error)),)


def _without_mask(data: SegmentationData, index: int) -> _Finding:
    problem = _problem(data.image, index, data.image_path(index))
    if problem is not None:
        return _Finding(problems=(problem,))
    image = data.image(index)
    height, width = image.shape[-2:]
    return _Finding((height, width), problems=tuple(data.problems_beside(index, image, None)))


def _problem(read: Callable[[int], Tensor], index: int, path: Path) -> Problem | None:
    try:
        read(index)
    except DataError as error:
        return Problem(path, str(error))
    return None


def _report(
    checked: _Checked, found: Sequence[Sign], conflicts: Sequence[Contradiction]
) -> SubsetReport:
    data, findings = checked.data, checked.findings
    sizes = [finding.size for finding in findings if finding.size]
    counts = torch.zeros(IGNORE + 1, dtype=torch.int64)
    for finding in findings:
        if finding.counts is not None:
            counts += finding.counts
    files = {mask.path for mask in checked.palettes()} if conflicts else set()
    return SubsetReport(
        subset=data.subset,
        images=len(data),
        smallest=_extreme(min, sizes),
        largest=_extreme(max, sizes),
        classes=data.classes,
        pixels=tuple(counts[: data.num_classes].tolist()),
        void=int(counts[IGNORE]),
        problems=sum(len(finding.problems) for finding in findings)
        + sum(sign.fault for sign in found)
        + sum(conflict.file in files for conflict in conflicts),
        has_masks=bool(data.masked_ids),
        unlabelled=sum(not _needs_mask(data, index) for index in range(len(data))),
    )


def _extreme(
    choose: Callable[[Iterable[int]], int], sizes: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    if not sizes:
        return None
    return choose(height for height, _ in sizes), choose(width for _, width in sizes)


def _pairs_apart(
    datasets: Sequence[SegmentationData],
) -> Iterator[tuple[SegmentationData, SegmentationData]]:
    """Two subsets each that must share no image: one is held out, and neither is a union."""
    for one, other in combinations(datasets, 2):
        held_out = _HELD_OUT | {one.eval_subset}
        names = {one.subset, other.subset}
        if len(names) == 2 and not names & _UNIONS and names & held_out:
            yield one, other


def _shared_ids(datasets: Sequence[SegmentationData]) -> Iterator[Problem]:
    for one, other in _pairs_apart(datasets):
        places = {name: index for index, name in enumerate(one.ids)}
        for name in other.ids:
            if name in places:
                reason = f"'{name}' is in both {one.subset} and {other.subset}; drop it from one"
                yield Problem(one.image_path(places[name]), reason)


def _shared_pictures(datasets: Sequence[SegmentationData]) -> Iterator[Problem]:
    for one, other in _pairs_apart(datasets):
        same = twins(one, other)
        if same:
            what = "picture is" if len(same) == 1 else "pictures are"
            pairs = named([f"{a.name} = {b.name}" for a, b in same])
            reason = (
                f"{len(same):,} {what} in both {one.subset} and {other.subset}, under two names: "
                f"{pairs}; drop them from one"
            )
            yield Problem(same[0].other, reason)


def _shared_photographs(datasets: Sequence[SegmentationData]) -> Iterator[Problem]:
    pools = [data for data in datasets if isinstance(data, Photographs)]
    for reported in datasets:
        if reported.subset == reported.eval_subset:
            for pool in pools:
                yield from _shared_files(pool, reported)


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else "-"
