"""What values or colours some masks hold, and the list of classes that follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from semisup.data.base import Colour
from semisup.data.formats.pictures import read_mask_picture
from semisup.errors import DataError
from semisup.own_data.look import MANY, Pictures
from semisup.system.words import counted
from semisup.types import IGNORE

_VOID_COLOUR = (224, 224, 192)
_MOST = 1000
"""Masks whose pixels are read; of more, this many spread evenly."""

_RARE = 10
"""Of so many masks or more, a value in a single one is told."""


@dataclass
class Seen:
    """What is stored in the masks of a folder.

    Attributes:
        colours: whether the masks are pictures in colours; else they hold values.
        masks: value, or colour -> how many masks hold it.
        pixels: value, or colour -> how many pixels.
        example: value, or colour -> a mask that holds it.
        palette: value -> its colour, where all masks have one palette in colours.
        holds: image -> the values of its mask, of those that were read.
    """

    colours: bool
    masks: Counter[int] = field(default_factory=Counter)
    pixels: Counter[int] = field(default_factory=Counter)
    example: dict[int, str] = field(default_factory=dict)
    palette: dict[int, Colour] = field(default_factory=dict)
    holds: dict[str, frozenset[int]] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """How many masks were read."""
        return len(self.holds)


@dataclass(frozen=True)
class _Mask:
    """The values of one mask."""

    name: str
    kind: str  # "colours", "grey" or "either", of a picture in RGB that is grey throughout
    counts: Mapping[int, int]
    palette: tuple[Colour, ...] = ()


def read_values(found: Pictures) -> Seen:
    """The values of all masks of `found`, from which those that cannot be read are taken out.

    Raises:
        DataError: no mask is left.
    """
    chosen = sorted(found.masks)
    if len(chosen) > _MOST:
        found.notes.append(f"the values are those of {_MOST:,} of the {len(chosen):,} masks")
        chosen = [chosen[i * len(chosen) // _MOST] for i in range(_MOST)]
    masks: dict[str, _Mask] = {}
    reasons = []
    for image in chosen:
        try:
            masks[image] = _read(found, found.masks[image])
        except DataError as error:
            reasons.append(str(error))
            del found.masks[image]
    if reasons and not masks:
        raise DataError(f"none of {counted(len(reasons), 'mask')} can be used: {reasons[0]}")
    found.notes += [f"left out: {reason}" for reason in reasons[:3]]
    if len(reasons) > 3:
        found.notes.append(f"left out: {counted(len(reasons) - 3, 'more mask')} of such kinds")
    _leave_out_other_kinds(found, masks)
    seen = Seen(any(mask.kind == "colours" for mask in masks.values()))
    for image, mask in masks.items():
        grey = seen.colours and mask.kind == "either"
        codes = {value * 0x010101 if grey else value: n for value, n in mask.counts.items()}
        for code, count in codes.items():
            seen.masks[code] += 1
            seen.pixels[code] += count
            seen.example.setdefault(code, mask.name)
        seen.holds[image] = frozenset(codes)
    seen.palette = _common_palette(list(masks.values()), found.notes)
    _tell_rare(seen, found.notes)
    return seen


def _read(found: Pictures, name: str) -> _Mask:
    """The values of a mask.

    Raises:
        DataError: it cannot be read, or holds more than a mask does.
    """
    path = found.root / name
    mask = read_mask_picture(path)
    if mask.picture.mode in ("1", "L", "P"):
        values = mask.values()
        palette: tuple[Colour, ...] = ()
        if mask.picture.mode == "P":
            colours = mask.palette()
            if (colours != colours[:, :1]).any():
                palette = tuple(tuple(colour) for colour in colours.tolist())
        return _Mask(name, "grey", _counts(values, name), palette)
    if mask.picture.mode not in ("RGB", "RGBA", "LA"):
        raise DataError(f"{name} is {mask.picture.mode}, no mask; save label ids as 8-bit grey PNG")
    greys = mask.greys()
    if greys is not None:
        return _Mask(name, "either", _counts(greys, name))
    if "A" in mask.picture.mode and mask.picture.getchannel("A").getextrema() != (255, 255):
        raise DataError(f"{name} has transparent pixels; save it without transparency")
    pixels = np.asarray(mask.picture.convert("RGB")).astype(np.uint32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    return _Mask(name, "colours", _counts(codes, name))


def _counts(values: np.ndarray, name: str) -> dict[int, int]:
    numbers, counts = np.unique(values, return_counts=True)
    if len(numbers) > MANY:
        what = "colours" if values.dtype == np.uint32 else "values"
        raise DataError(
            f"{name} holds {len(numbers):,} {what}: it was smoothed, or is no mask; save it "
            "without loss and without soft edges"
        )
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def _leave_out_other_kinds(found: Pictures, masks: dict[str, _Mask]) -> None:
    """Of masks in colours and masks of values, keep the kind that most are of."""
    kinds = Counter(mask.kind for mask in masks.values())
    if kinds["colours"] and kinds["grey"]:
        other = "grey" if kinds["colours"] >= kinds["grey"] else "colours"
        dropped = {other, "either"} if other == "colours" else {other}
        odd = [image for image, mask in masks.items() if mask.kind in dropped]
        kept = "colours" if other == "grey" else "grey values or indices"
        found.notes.append(
            f"{counted(len(odd), 'mask')} such as {masks[odd[0]].name} left out: most masks hold "
            f"{kept}, and these do not; save all in one way"
        )
        for image in odd:
            del masks[image], found.masks[image]


def _common_palette(masks: Sequence[_Mask], notes: list[str]) -> dict[int, Colour]:
    """The colour of each value that is used, where masks with palettes agree on it."""
    palette: dict[int, Colour] = {}
    owner: dict[int, str] = {}
    for mask in masks:
        for value in mask.counts if mask.palette else ():
            colour = mask.palette[value] if value < len(mask.palette) else (0, 0, 0)
            if palette.setdefault(value, colour) != colour:
                notes.append(
                    f"{owner[value]} and {mask.name} draw value {value} in two colours: a program "
                    "has numbered them anew; save all masks with one palette"
                )
                return {}
            owner.setdefault(value, mask.name)
    return palette


def _tell_rare(seen: Seen, notes: list[str]) -> None:
    kind = "colour" if seen.colours else "value"
    for value, count in sorted(seen.masks.items()):
        if count == 1 and seen.read >= _RARE:
            notes.append(
                f"the {kind} {_text(value, seen)} is in 1 mask of {seen.read:,} only, "
                f"{seen.example[value]}: a rare class, or a slip of the brush?"
            )


@dataclass(frozen=True)
class ClassGuess:
    """A class that some value or colour seems to stand for."""

    name: str
    value: int


def guess_classes(seen: Seen, notes: list[str]) -> list[ClassGuess]:
    """The classes, in the order of their values; of colours black first, then by their pixels.

    255 beside label ids without gaps is void and no class, as is VOC's colour of void.

    Raises:
        DataError: the masks hold one value throughout.
    """
    values = sorted(seen.masks)
    if seen.colours:
        values = [value for value in values if _colour(value) != _VOID_COLOUR]
        values.sort(key=lambda value: (value != 0, -seen.pixels[value], value))
    elif _is_void(values):
        notes.append(
            f"255 is void, the pixels of no class ({_share(seen, IGNORE)} of the masks' pixels); "
            "if it is a class, number it as the others"
        )
        values.remove(IGNORE)
    if len(values) < 2:
        text = _text(values[0], seen) if values else "255"
        raise DataError(
            f"the masks hold nothing but {text}: there is nothing to learn; look at "
            f"{seen.example[min(seen.example)]}"
        )
    return [
        ClassGuess(_name(value, rank, values, seen), value) for rank, value in enumerate(values)
    ]


def _is_void(values: Sequence[int]) -> bool:
    others = [value for value in values if value != IGNORE]
    if IGNORE not in values or len(others) < 2:
        return False
    return others[0] in (0, 1) and others == list(range(others[0], others[0] + len(others)))


def _name(value: int, rank: int, values: Sequence[int], seen: Seen) -> str:
    if value == 0:
        return "background"
    if len(values) == 2 and 0 in values:
        return "object"
    return f"class_{rank if seen.colours else value}"


def class_list(seen: Seen, classes: Sequence[ClassGuess]) -> str:
    """The text of classes.txt: a comment and a line for each class."""
    lines = [
        "# Change the names as you like, and keep the numbers or colours: they are those in the",
        "# masks. The name __ignore__ makes pixels void: of no class, neither learnt nor scored.",
    ]
    coloured = all(one.value in seen.palette for one in classes)
    for one in classes:
        count = f"in {seen.masks[one.value]:,} of {seen.read:,} masks"
        example = f", such as {seen.example[one.value]}"
        lines.append(f"# {count}, {_share(seen, one.value)} of the pixels{example}")
        if seen.colours:
            lines.append(f"{one.name} {_text(one.value, seen)}")
        elif coloured:
            colour = ", ".join(map(str, seen.palette[one.value]))
            lines.append(f"{one.value}, {one.name}, {colour}")
        else:
            lines.append(f"{one.value}: {one.name}")
    return "".join(f"{line}\n" for line in lines)


def _share(seen: Seen, value: int) -> str:
    return f"{100 * seen.pixels[value] / seen.pixels.total():.1f} %"


def _colour(code: int) -> Colour:
    return code >> 16, code >> 8 & 255, code & 255


def _text(value: int, seen: Seen) -> str:
    return " ".join(map(str, _colour(value))) if seen.colours else str(value)
