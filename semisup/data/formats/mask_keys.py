"""From the values and colours that masks hold to labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from semisup.data.base import Colour
from semisup.data.formats.class_lists import ClassList
from semisup.data.formats.lists import check_labels
from semisup.data.formats.pictures import MaskPicture, read_mask_picture, voc_palette
from semisup.errors import DataError, RecipeError, suggest
from semisup.types import IGNORE

_UNKNOWN = -1
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
        self._classes = classes
        self._stated = bool(values) or classes.values is not None
        self._table = _table(classes, values or {}, void)
        usual = np.full(IGNORE + 1, _UNKNOWN, np.int16)
        usual[: len(classes.names)] = np.arange(len(classes.names))
        usual[IGNORE] = IGNORE
        self._is_usual = bool((usual == self._table).all())

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
        if mode == "RGB" or (mode == "RGBA" and _is_opaque(mask)):
            return self._of_colours(np.array(mask.picture.convert("RGB")), path)
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
            colour = self._classes.colours.get(int(self._table[index]))
            if colour is None or index >= len(palette):
                continue
            if tuple(palette[index].tolist()) != colour:
                self._refuse_palette(palette, index, path)
                return False
            agree = True
        return agree

    def _refuse_palette(self, palette: Values, index: int, path: Path) -> None:
        if not (palette != palette[:, :1]).any():
            return  # a grey picture says nothing of colours
        label = int(self._table[index])
        raise DataError(
            f"{path} draws label {index} in {_text(tuple(palette[index].tolist()))}, but "
            f"{self._classes.path.name} gives '{self._classes.names[label]}' the colour "
            f"{_text(self._classes.colours[label])}; save the mask as RGB, or with label ids in "
            f"the order of {self._classes.path.name}, or leave the colours out there"
        )

    def _of_colours(self, colours: Values, path: Path) -> Tensor:
        key = self._colour_key(path)
        codes = np.array(sorted(key), np.int32)
        labels = np.array([key[code] for code in codes.tolist()], np.uint8)
        wide = colours.astype(np.int32)
        found = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
        places = np.searchsorted(codes, found).clip(max=len(codes) - 1)
        wrong = codes[places] != found
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{path} holds the colour {_text(tuple(colours[row, column].tolist()))} (row {row},"
                f" column {column}), which no class of {self._classes.path.name} has; add it there,"
                " as '__ignore__ R G B' on the first line if it is void, or correct the mask"
            )
        return torch.from_numpy(labels[places])

    def _colour_key(self, path: Path) -> dict[int, int]:
        """Code of a colour -> label."""
        stated, name = self._classes.colours, self._classes.path.name
        if not stated:
            raise DataError(
                f"{path} is a colour picture (RGB), not a label map; save label ids as 8-bit grey "
                f"PNG, or give each class in {name} its colour"
            )
        key = {_code(voc_palette()[IGNORE]): IGNORE}
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
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


def _text(colour: Colour | tuple[int, ...]) -> str:
    return " ".join(map(str, colour))
