"""From the values and colours that masks hold to labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from semisup.data.base import Colour
from semisup.data.formats.class_lists import ClassList
from semisup.data.formats.lists import check_labels
from semisup.data.formats.pictures import MaskPicture, read_mask_picture, voc_palette
from semisup.errors import DataError, RecipeError, suggest
from semisup.types import IGNORE

_UNKNOWN = -1
_VOID_COLOUR = voc_palette()[IGNORE]
_BACKGROUNDS = frozenset(
    [
        "background",
        "_background_",
        "bg",
        "void",
        "unlabelled",
        "unlabeled",
        "ignore",
        "other",
        "none",
    ]
)
Values = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int16]


class LabelKey:
    """What the stored values and colours of the masks of one data set mean.

    Args:
        classes: names, and the values and colours that their list states.
        values: stored value -> name of its class; empty: as the list states, or the
            position in the list.
        void: a stored value that is void. Without `values`, the names of the list are those of
            the other values, in order: with 0 they begin at 1. 255 is void as well, unless it is
            the value of a class.

    Raises:
        RecipeError: a value that is none or that is void too, a name that no class has, or void
            = 0 beside a list that begins with a name for it.
    """

    def __init__(
        self,
        classes: ClassList,
        values: Mapping[str | int, str] | None = None,
        void: int | None = None,
    ) -> None:
        self._classes, self._values, self._void = classes, values or {}, void
        self._stated = bool(values) or classes.values is not None
        self._table = _table(classes, values or {}, void)
        usual = np.full(IGNORE + 1, _UNKNOWN, np.int16)
        usual[: len(classes.names)] = np.arange(len(classes.names))
        usual[IGNORE] = IGNORE
        self._is_usual = bool((usual == self._table).all())

    def facts(self) -> dict[str, object]:
        """The values and the void that were stated, for the protocol; nothing of the usual ones."""
        values = {str(value): name for value, name in self._values.items()}
        return {
            **({"values": values} if values else {}),
            **({} if self._void is None else {"void": self._void}),
        }

    def read(self, path: Path) -> Tensor:
        """The mask in `path`: uint8 HW, 0..K-1 and 255 for void.

        A mask in colours is read by the colours that the list of classes states. Where it states
        none, one that is grey throughout is read as the grey picture that it is.

        Raises:
            DataError: the file cannot be read; a value or a colour that no class has; a palette
                that contradicts the colours of the classes; grey of few bits that has two
                readings.
        """
        mask = read_mask_picture(path)
        mode = mask.picture.mode
        if mode == "LA" or not self._classes.colours:
            greys = mask.greys()
            if greys is not None:
                return self._of_values(greys, path)
        if mode == "RGB":
            return self._of_colours(mask.picture, path)
        if mode == "RGBA" and _is_opaque(mask):
            return self._of_colours(mask.picture.convert("RGB"), path)
        if mode not in ("1", "L", "P"):
            why = f"is a colour picture ({mode}), not a label map"
            if mode == "RGBA" and self._classes.colours:
                why = "has transparent pixels, whose colours say nothing"
            raise DataError(f"{path} {why}; save label ids as 8-bit grey PNG")
        if mask.bits < 8:
            return self._of_few_bits(mask, path)
        stored = np.array(mask.picture) if self._draws_indices(mask, path) else mask.values()
        return self._of_values(stored, path)

    def _of_values(self, stored: Values, path: Path) -> Tensor:
        if self._is_usual:
            try:
                return check_labels(torch.from_numpy(stored), len(self._classes.names), path)
            except DataError as error:
                raise DataError(f"{error}{self._hint(stored)}") from None
        labels = self._table[stored]
        if labels.min() == _UNKNOWN:
            row, column = np.argwhere(labels == _UNKNOWN)[0]
            known = ", ".join(str(v) for v in np.flatnonzero(self._table != _UNKNOWN)[:10])
            raise DataError(
                f"{path} holds the value {stored[row, column]} (row {row}, column {column}), which "
                f"no class has; mapped are {known}: correct the mask, or name it in values"
            )
        return torch.from_numpy(labels.astype(np.uint8))

    def _hint(self, stored: Values) -> str:
        """How to map the values of a mask, where they are as many as the classes, far apart."""
        names = self._classes.names
        used = [value for value in np.unique(stored).tolist() if value != IGNORE]
        if not len(names) >= len(used) > 1 or used[-1] <= len(names):
            return ""
        if len(used) < len(names):
            return "; if they are values of classes, map them in values"
        pairs = ", ".join(f'{value} = "{name}"' for value, name in zip(used, names, strict=True))
        return f"; if they are values of classes, map them, such as values = {{{pairs}}}"

    def _of_few_bits(self, mask: MaskPicture, path: Path) -> Tensor:
        """A picture of 1, 2 or 4 bits: its grey values in 0..255, or the numbers as stored."""
        greys = mask.values()
        numbers = greys // (255 // (2**mask.bits - 1))
        by_grey, by_number = self._table[greys], self._table[numbers]
        grey_fits, number_fits = by_grey.min() != _UNKNOWN, by_number.min() != _UNKNOWN
        if grey_fits and (not number_fits or (by_grey == by_number).all()):
            return torch.from_numpy(by_grey.astype(np.uint8))
        if number_fits and not grey_fits and self._stated:
            return torch.from_numpy(by_number.astype(np.uint8))
        kind = "1-bit" if mask.bits == 1 else f"grey with {mask.bits} bits"
        most = int(greys.max())
        raise DataError(
            f"{path} is {kind}, and its {numbers.max()} may stand for {numbers.max()} or for "
            f"{most}; save label ids as 8-bit grey PNG, or map {most} in values"
        )

    def _draws_indices(self, mask: MaskPicture, path: Path) -> bool:
        """Whether the palette of a mask draws each index in the stated colour of its class."""
        if mask.picture.mode != "P" or not self._classes.colours:
            return False
        palette, agree = mask.palette(), False
        for index in mask.used().tolist():
            label = int(self._table[index])
            if label in (_UNKNOWN, IGNORE) or index >= len(palette):
                continue
            if self._is_of_another(label, tuple(palette[index].tolist())):
                self._refuse_palette(palette, index, path)
                return False
            agree |= label in self._classes.colours
        return agree

    def _is_of_another(self, label: int, drawn: tuple[int, ...]) -> bool:
        """Whether a class is drawn in another colour than its own, or in that of another class."""
        colours = self._classes.colours
        if label in colours:
            return drawn != colours[label]
        usual = (self._classes.palette[label], voc_palette()[label])  # VOC's: what most tools draw
        return drawn in colours.values() and drawn not in usual

    def _refuse_palette(self, palette: Values, index: int, path: Path) -> None:
        if not (palette != palette[:, :1]).any():
            return  # a grey picture says nothing of colours
        label, drawn = int(self._table[index]), tuple(palette[index].tolist())
        names, colours = self._classes.names, self._classes.colours
        if label in colours:
            gives = f"gives '{names[label]}' the colour {_text(colours[label])}"
        else:
            owner = next(other for other, colour in colours.items() if colour == drawn)
            gives = f"gives that colour to '{names[owner]}', and none to '{names[label]}'"
        raise DataError(
            f"{path} draws label {index} in {_text(drawn)}, but {self._classes.path.name} {gives}; "
            "save the mask as RGB, or with label ids in the order of "
            f"{self._classes.path.name}, or leave the colours out there"
        )

    def _of_colours(self, picture: Image.Image, path: Path) -> Tensor:
        key = self._colour_key(path)
        codes = np.array(sorted(key), np.uint32)
        labels = np.array([key[code] for code in codes.tolist()], np.uint8)
        pixels = np.frombuffer(picture.tobytes("raw", "RGBX"), "<u4")
        starts = _starts_of_runs(pixels)  # one search for each run of equal pixels
        found = (pixels[starts] & 0xFFFFFF).astype(np.uint32)  # the fourth byte is padding
        places = np.searchsorted(codes, found).clip(max=len(codes) - 1)
        wrong = codes[places] != found
        if wrong.any():
            row, column = divmod(int(starts[wrong.argmax()]), picture.width)
            colour = cast(Colour, picture.getpixel((column, row)))
            raise DataError(
                f"{path} holds the colour {_text(colour)} (row {row}, column {column}), which no "
                f"class of {self._classes.path.name} has; add it there, as '__ignore__ R G B' on "
                "the first line if it is void, or correct the mask"
            )
        read = np.repeat(labels[places], np.diff(starts, append=pixels.size))
        return torch.from_numpy(read.reshape(picture.height, picture.width))

    def _colour_key(self, path: Path) -> dict[int, int]:
        """Code of a colour -> label."""
        stated, name = self._classes.colours, self._classes.path.name
        if not stated:
            raise DataError(
                f"{path} is a colour picture (RGB), not a label map; save label ids as 8-bit grey "
                f"PNG, or give each class in {name} its colour"
            )
        key = {_code(_VOID_COLOUR): IGNORE}
        key |= {_code(colour): IGNORE for colour in self._classes.void_colours}
        taken: dict[Colour, int] = {}
        for label, colour in stated.items():
            if colour in taken or colour in self._classes.void_colours:
                raise DataError(
                    f"{self._classes.path} gives the colour {_text(colour)} twice; give each class "
                    f"a colour of its own, to read {path.name} by colours"
                )
            taken[colour] = label
        return key | {_code(colour): label for colour, label in taken.items()}


def _table(classes: ClassList, values: Mapping[str | int, str], void: int | None) -> Labels:
    """The label of each stored value, or -1."""
    table = np.full(IGNORE + 1, _UNKNOWN, np.int16)
    table[[IGNORE, *classes.void_values]] = IGNORE
    if void is not None:
        if not 0 <= void <= IGNORE:
            raise RecipeError(f"void = {void} is no value of an 8-bit mask; take one of 0..255")
        table[void] = IGNORE
    for value, label in _labels(classes, values, void).items():
        if value == void:
            raise RecipeError(
                f"value {value} is the class '{classes.names[label]}' and void = {void} as well; "
                "leave one out"
            )
        table[value] = label
    return table


def _labels(
    classes: ClassList, values: Mapping[str | int, str], void: int | None
) -> dict[int, int]:
    """Stored value -> label of a class."""
    if values:
        return {_value(str(key)): _label(str(key), name, classes) for key, name in values.items()}
    if classes.values is not None:
        return {value: label for label, value in classes.values.items()}
    if void == 0 and classes.names[0].casefold() in _BACKGROUNDS:
        raise RecipeError(
            f"void = 0 leaves no value for the first name of {classes.path}, "
            f"'{classes.names[0]}': the names are then those of 1, 2, ...; drop that line, or give "
            f'values = {{1 = "{classes.names[0]}", ...}}'
        )
    free = [value for value in range(IGNORE + 1) if value != void]
    return {free[label]: label for label in range(len(classes.names))}


def _value(key: str) -> int:
    if not (key.isascii() and key.isdecimal() and len(key) <= 3 and int(key) <= IGNORE):
        raise RecipeError(
            f"values.{key} is no value of an 8-bit mask; write values = "
            '{0 = "background", 255 = "pet"}'
        )
    return int(key)


def _label(key: str, name: str, classes: ClassList) -> int:
    if name not in classes.names:
        raise RecipeError(
            f"values.{key} = '{name}' is no class of {classes.path}.{suggest(name, classes.names)}"
        )
    return classes.names.index(name)


def _is_opaque(mask: MaskPicture) -> bool:
    return mask.picture.getchannel("A").getextrema() == (255, 255)


def _code(colour: Colour) -> int:
    return colour[0] | (colour[1] << 8) | (colour[2] << 16)


def _starts_of_runs(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
    """Where a value (1D) differs from the one before it, the first among them."""
    return np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))


def _text(colour: Colour | tuple[int, ...]) -> str:
    return " ".join(map(str, colour))
