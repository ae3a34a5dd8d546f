"""Masks whose palettes contradict one another.

A palette PNG carries a colour for each of its numbers. Two masks of one set that give one used
number two colours cannot both be right: one of them was saved with numbers of its own, as paint
programs and lossless optimisers do. Grey palettes are left alone: their colours are no names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semisup.data.base import Colour, SegmentationData
from semisup.data.formats.class_colours import is_background
from semisup.data.formats.palettes import read_indices, read_palette
from semisup.data.sets.masks_in_folder import MasksInFolder
from semisup.errors import DataError
from semisup.types import IGNORE

Palette = tuple[Colour, ...]
_BLACK = (0, 0, 0)
_LOOKED_AT = 8
"""Masks of one palette that are decoded in search of a black class."""


class PlacedMask(NamedTuple):
    """A mask of a data set: that of the image at `position`."""

    data: SegmentationData
    position: int

    @property
    def path(self) -> Path:
        """Its file."""
        return self.data.mask_path(self.position)


class Contradiction(NamedTuple):
    """A mask that cannot be right, or another one, and why."""

    file: Path
    reason: str


class _Claim(NamedTuple):
    """A number of a palette, as it is stored and as it is read, that some pixels have."""

    stored: int
    label: int


def coloured_palette(path: Path) -> Palette | None:
    """The palette of a mask; None where it has none, or one of greys alone."""
    palette = read_palette(path)
    if palette is None or all(red == green == blue for red, green, blue in palette):
        return None
    return palette


def palettes_of(masks: Iterable[PlacedMask]) -> dict[PlacedMask, Palette]:
    """The coloured palettes of some masks, read from the heads of their files."""
    found = {mask: coloured_palette(mask.path) for mask in masks}
    return {mask: palette for mask, palette in found.items() if palette is not None}


def contradictions(masks: Mapping[PlacedMask, Palette]) -> list[Contradiction]:
    """Where palettes contradict one another; who reads a mask compares it with the list of classes.

    At most one is told of the masks of a data set, and one of those that lie elsewhere. Pixels are
    decoded only where two palettes differ: one palette for all costs nothing.

    Args:
        masks: each mask of the set that has a coloured palette, with it.
    """
    sources: dict[bool, dict[Palette, list[PlacedMask]]] = {}
    for mask, palette in masks.items():
        groups = sources.setdefault(isinstance(mask.data, MasksInFolder), defaultdict(list))
        groups[palette].append(mask._replace(data=mask.data.as_stored))
    found = [_among_palettes(groups) for groups in sources.values()]
    return [one for one in found if one is not None]


def doubts(masks: Mapping[PlacedMask, Palette]) -> list[str]:
    """Where a background has a colour, and another class is black: of the first such mask.

    A program that makes coloured masks indexed may number the colours of all masks alike, but in an
    order of its own. Pixels are decoded only where the palette leaves that open.
    """
    groups: dict[Palette, list[PlacedMask]] = defaultdict(list)
    for mask, palette in masks.items():
        groups[palette].append(PlacedMask(mask.data.as_stored, mask.position))
    for palette, group in groups.items():
        names = group[0].data.classes
        grounds = [label for label, name in enumerate(names) if is_background(name)]
        at = grounds[0] if len(grounds) == 1 else 0
        if len(grounds) != 1 or _BLACK not in palette or palette[at : at + 1] == (_BLACK,):
            continue
        for mask in group[:_LOOKED_AT]:
            text = _black_elsewhere(mask, palette, at)
            if text:
                return [text]
    return []


def _black_elsewhere(mask: PlacedMask, palette: Palette, ground: int) -> str:
    """What is odd about the colours of a mask whose class `ground` is the background."""
    names = mask.data.classes
    drawn = {
        claim.label: palette[claim.stored]
        for claim in _claims(mask, frozenset(range(len(palette))))
    }
    black = [label for label, colour in drawn.items() if colour == _BLACK and label != ground]
    if not black or drawn.get(ground, _BLACK) == _BLACK:
        return ""
    return (
        f"{mask.path} draws '{names[ground]}' in {_rgb(drawn[ground])} and '{names[black[0]]}' in "
        "black: if a program has numbered the colours of the masks anew, their labels are wrong; "
        "look at 'semisup data show', and save them with label ids"
    )


def _among_palettes(groups: Mapping[Palette, Sequence[PlacedMask]]) -> Contradiction | None:
    contested = _contested(list(groups))
    if not contested:
        return None
    colours: dict[_Claim, dict[Colour, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for palette, masks in groups.items():
        for mask in masks:
            for claim in _claims(mask, contested):
                if claim.stored < len(palette):
                    colours[claim][palette[claim.stored]].append(mask.path)
    conflicts = [claim for claim, by_colour in sorted(colours.items()) if len(by_colour) > 1]
    if not conflicts:
        return None
    return _contradiction(conflicts[0], colours[conflicts[0]], len(conflicts) - 1)


def _contradiction(
    claim: _Claim, by_colour: Mapping[Colour, list[Path]], others: int
) -> Contradiction:
    """The most common colour of a label against the next.

    Args:
        claim: the label.
        by_colour: the masks of each of its colours.
        others: further labels with several colours.
    """
    (one, first), (other, second) = sorted(by_colour.items(), key=lambda item: -len(item[1]))[:2]
    more = f", as others do with {others} more label{'s' if others > 1 else ''}" if others else ""
    return Contradiction(
        second[0],
        f"{first[0]} and {second[0]} give label {claim.label} two colours, {_rgb(one)} (masks: "
        f"{len(first)}) and {_rgb(other)} (masks: {len(second)}){more}: a program gave some masks "
        "numbers of their own; save all with the same palette",
    )


def _contested(palettes: Sequence[Palette]) -> frozenset[int]:
    """The indices that have more than one colour in some of the palettes."""
    seen: dict[int, set[Colour]] = defaultdict(set)
    for palette in palettes:
        for index, colour in enumerate(palette):
            seen[index].add(colour)
    return frozenset(index for index, colours in seen.items() if len(colours) > 1)


def _claims(mask: PlacedMask, among: frozenset[int]) -> Iterator[_Claim]:
    """The numbers `among` that pixels of a mask have, but for those that are read as void."""
    stored = read_indices(mask.path)
    if stored is None or among.isdisjoint(np.flatnonzero(np.bincount(stored.ravel())).tolist()):
        return
    try:
        read = mask.data.mask(mask.position).numpy()
    except DataError:
        return
    if stored.shape != read.shape:
        return
    for pair in np.flatnonzero(np.bincount((stored.astype(np.int32) << 8 | read).ravel())):
        claim = _Claim(int(pair) >> 8, int(pair) & 255)
        if claim.stored in among and claim.label != IGNORE:
            yield claim


def _rgb(colour: Colour) -> str:
    return " ".join(map(str, colour))
