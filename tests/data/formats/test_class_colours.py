from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from semisup.data.base import Colour
from semisup.data.formats.class_colours import BACKGROUND_COLOUR, SAFE_COLOURS, class_colours
from semisup.data.formats.class_lists import read_class_list
from semisup.data.formats.mask_keys import LabelKey
from semisup.data.formats.pictures import full_palette, voc_palette
from semisup.data.sets.scenes.writing import DESIGNS
from semisup.types import IGNORE

Array = npt.NDArray[np.float64]

SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
"""Machado et al. 2009, severity 1, as the authors publish them: on linear RGB."""

XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""From linear sRGB, white D65."""


def lab(colours: list[Colour], sight: str) -> Array:
    """CIE Lab of sRGB colours, as a kind of sight has them."""
    share = np.array(colours) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SIGHTS[sight].T, 0, 1)
    x = seen @ XYZ.T / XYZ.sum(1)
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    lightness, a, b = 116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])
    return np.stack([lightness, a, b], 1)


def smallest_distance(colours: list[Colour], sight: str) -> float:
    """Of any two of the colours."""
    seen = lab(colours, sight)
    between = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    return float(between[np.triu_indices(len(colours), 1)].min())


def test_lab_is_that_of_the_standard() -> None:
    seen = lab([(255, 255, 255), (255, 0, 0), (0, 0, 255)], "normal")
    np.testing.assert_allclose(
        seen, [[100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]], atol=0.02
    )


@pytest.mark.parametrize("sight", SIGHTS)
def test_any_two_classes_of_scenes_can_be_told_apart(sight: str) -> None:
    for design in DESIGNS.values():
        colours = [*class_colours(design.classes), voc_palette()[IGNORE]]
        assert smallest_distance(colours, sight) >= 27


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(("count", "least"), [(12, 27.0), (16, 17.0), (24, 13.0)])
def test_colours_are_as_far_apart_as_is_stated(count: int, least: float, sight: str) -> None:
    colours = [BACKGROUND_COLOUR, *SAFE_COLOURS[:count], voc_palette()[IGNORE]]
    assert smallest_distance(colours, sight) >= least


def test_colours_of_voc_are_not_as_far_apart() -> None:
    assert smallest_distance(list(voc_palette(21)), "deuteranopia") < 11


def test_a_background_is_black_wherever_it_stands() -> None:
    names = ["sky", "_background_", "road"]
    assert class_colours(names) == (SAFE_COLOURS[0], BACKGROUND_COLOUR, SAFE_COLOURS[1])


def test_every_class_of_the_longest_list_has_a_colour_of_its_own() -> None:
    colours = class_colours([f"class {n}" for n in range(IGNORE)])
    assert len(set(colours)) == IGNORE


@pytest.mark.parametrize("text", ["background\ncat\ndog\n", "background\ncat 128 0 0\ndog\n"])
def test_masks_in_the_colours_of_voc_keep_their_labels(text: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(text)
    labels = np.array([[0, 1, 2, IGNORE]], np.uint8)
    for name, palette in (("voc", voc_palette(3)), ("own", class_colours(("bg", "cat", "dog")))):
        if name == "own" and "128" in text:
            palette = (palette[0], (128, 0, 0), palette[2])
        picture = Image.fromarray(labels)
        picture.putpalette(full_palette(palette))
        picture.save(tmp_path / f"{name}.png")
        read = LabelKey(read_class_list(tmp_path / "classes.txt")).read(tmp_path / f"{name}.png")
        assert read.tolist() == labels.tolist(), name


def test_a_class_in_the_usual_colour_of_voc_is_not_taken_for_another(tmp_path: Path) -> None:
    """'dog' states the colour that VOC's palette has for label 1, which states none."""
    (tmp_path / "classes.txt").write_text("background\ncat\ndog 128 0 0\n")
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette(full_palette(voc_palette(2)))
    picture.save(tmp_path / "mask.png")
    read = LabelKey(read_class_list(tmp_path / "classes.txt")).read(tmp_path / "mask.png")
    assert read.tolist() == [[0, 1]]
