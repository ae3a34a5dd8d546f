"""Slices that lie over one another and make a volume."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semisup.errors import DataError, RecipeError

DEEPEST = 4096
"""Slices of a block: more of them are refused before memory is asked for."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a network for volumes is shown of a stack of slices.

    Attributes:
        depth: slices that follow one another.
        rotation: largest angle, in degrees, by which a training block is turned in its plane.
        deformation: standard deviation, in voxels, of the displacements by which a training block
            is deformed; 0: none.

    Raises:
        RecipeError: one is out of its range.
    """

    depth: int
    rotation: float = 0.0
    deformation: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= DEEPEST:
            raise RecipeError(
                f"depth = {self.depth}: a block has at least one slice, and at most {DEEPEST:,}"
            )
        if not 0 <= self.rotation <= 180:
            raise RecipeError(f"rotation = {self.rotation:g}: must be 0 to 180 degrees")
        if not 0 <= self.deformation <= 100:
            raise RecipeError(f"deformation = {self.deformation:g}: must be 0 to 100 voxels")


def by_numbers(name: str) -> list[tuple[bool, int, str]]:
    """A key by which "slice2.png" comes before "slice10.png"."""
    parts = re.split(r"([0-9]+)", name)
    return [
        (place % 2 == 0, int(part) if place % 2 else 0, part) for place, part in enumerate(parts)
    ]


def gap(names: Sequence[str]) -> tuple[str, str] | None:
    """The neighbours whose numbers lie furthest apart, where those of others lie nearer.

    None where all steps are equal, or more than one number changes, or what is around it does.

    Args:
        names: of slices, in order.
    """
    if len({re.sub("[0-9]+", "0", name) for name in names}) != 1:
        return None
    numbers = [[int(digits) for digits in re.findall("[0-9]+", name)] for name in names]
    changing = [column for column in zip(*numbers, strict=True) if len({*column}) > 1]
    if len(changing) != 1:
        return None
    steps = [after - before for before, after in itertools.pairwise(changing[0])]
    furthest = steps.index(max(steps))
    return None if min(steps) == max(steps) else (names[furthest], names[furthest + 1])


def mirrored(place: int, length: int) -> int:
    """The slice that stands at `place` where a stack of `length` is mirrored at its ends."""
    period = max(1, 2 * length - 2)
    folded = place % period
    return min(folded, period - folded) % length


def as_volume(slices: Sequence[Tensor], paths: Sequence[Path]) -> Tensor:
    """Slices (CHW) of one size, in their order, as CDHW.

    Args:
        slices: of a volume.
        paths: where each of them lies, for the error.

    Raises:
        DataError: two differ in size; names one.
    """
    for part, path in zip(slices, paths, strict=True):
        if part.shape != slices[0].shape:
            own, first = ("x".join(map(str, s.shape[-2:])) for s in (part, slices[0]))
            raise DataError(
                f"{path}: is {own}, and {paths[0].name} is {first} (height x width). All slices of "
                "a volume must have one size."
            )
    return torch.stack(list(slices), dim=1)
