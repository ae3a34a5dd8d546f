"""Palettes that contradict one another or the list of classes, and those that do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.data.formats.palettes import read_indices, read_palette
from semisup.data.formats.pictures import full_palette, voc_palette
from semisup.data.formats.trees import read_tree
from semisup.data.palettes import (
    Contradiction,
    PlacedMask,
    contradictions,
    doubts,
    palettes_of,
)
from semisup.data.sets.folder import Folder
from semisup.data.sets.masks_in_folder import MasksInFolder
from semisup.errors import DataError

BLACK, RED, GREEN, BLUE = (0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200)
HALF = np.array([[0, 0, 1, 1]] * 4, np.uint8)
THREE = np.array([[0, 0, 1, 2]] * 4, np.uint8)


def palette_png(path: Path, labels: np.ndarray, *colours: tuple[int, int, int]) -> None:
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(labels)
    image.putpalette([channel for colour in colours for channel in colour])
    image.save(path)


def folder(root: Path, masks: Mapping[str, tuple[np.ndarray, ...]], *, lines: str = "") -> Folder:
    (root / "images").mkdir()
    for name, (labels, *colours) in masks.items():
        Image.fromarray(np.zeros((*labels.shape, 3), np.uint8)).save(root / f"images/{name}.png")
        palette_png(root / "masks" / f"{name}.png", labels, *colours)
    (root / "classes.txt").write_text(lines or "background\ncat\ndog\n")
    return Folder(root, "all")


def found(data: Folder | MasksInFolder) -> list[Contradiction]:
    masks = [PlacedMask(data, position) for position in range(len(data))]
    return contradictions(palettes_of(masks))


def test_a_palette_is_read_from_the_head_of_a_file(tmp_path: Path) -> None:
    palette_png(tmp_path / "a.png", HALF, BLACK, RED)
    assert (read_palette(tmp_path / "a.png") or ())[:2] == (BLACK, RED)
    indices = read_indices(tmp_path / "a.png")
    assert indices is not None
    assert indices.tolist() == HALF.tolist()
    Image.fromarray(HALF).save(tmp_path / "grey.png")
    (tmp_path / "text.png").write_bytes(b"no picture")
    (tmp_path / "short.png").write_bytes((tmp_path / "a.png").read_bytes()[:20])
    for name in ("grey.png", "text.png", "short.png", "nowhere.png"):
        assert read_palette(tmp_path / name) is None
        assert read_indices(tmp_path / name) is None


def test_two_colours_of_one_used_label_are_told_with_both_files(tmp_path: Path) -> None:
    masks = {"a": (HALF, BLACK, RED), "b": (HALF, BLACK, RED), "c": (1 - HALF, RED, BLACK)}
    (conflict,) = found(folder(tmp_path, masks))
    assert conflict.file == tmp_path / "masks" / "c.png"
    assert conflict.reason.startswith(
        f"{tmp_path}/masks/a.png and {tmp_path}/masks/c.png give label 0 two colours, 0 0 0 "
        "(masks: 2) and 200 0 0 (masks: 1), as others do with 1 more label: a program gave"
    )


@pytest.mark.parametrize("seed", range(3))
def test_pictures_made_indexed_one_by_one_are_told(tmp_path: Path, seed: int) -> None:
    """As paint programs do: the colours are right, and their numbers are each file's own."""
    generator = np.random.default_rng(seed)
    colours = np.array([BLACK, RED, GREEN], np.uint8)
    data = folder(tmp_path, dict.fromkeys("abcdef", (THREE, BLACK, RED, GREEN)))
    for path in sorted((tmp_path / "masks").iterdir()):
        labels = generator.integers(0, 3, (4, 4))
        order = generator.permutation(3)
        numbers = np.argsort(order)[labels].astype(np.uint8)
        palette_png(path, numbers, *map(tuple, colours[order].tolist()))
        shown = np.array(Image.open(path).convert("RGB"))
        assert (shown == colours[labels]).all()
    assert found(data)


def test_colours_that_no_pixel_has_do_not_count(tmp_path: Path) -> None:
    masks = {"a": (HALF, BLACK, RED, GREEN), "b": (HALF, BLACK, RED, BLUE), "c": (HALF, BLACK, RED)}
    assert found(folder(tmp_path, masks)) == []


def test_grey_palettes_do_not_count(tmp_path: Path) -> None:
    """They are grey masks that an optimiser has numbered anew: how to read them is known."""
    grey = [(0, 0, 0), (1, 1, 1)]
    masks = {"a": (HALF, *grey), "b": (1 - HALF, *grey[::-1]), "c": (HALF, BLACK, RED)}
    assert found(folder(tmp_path, masks)) == []


def test_void_may_have_any_colour(tmp_path: Path) -> None:
    labels = np.where(HALF == 1, 255, 0).astype(np.uint8)
    one, other = full_palette(voc_palette(3)), full_palette(voc_palette(3))
    other[-3:] = [9, 9, 9]
    data = folder(tmp_path, {"a": (HALF, BLACK, RED), "b": (HALF, BLACK, RED)})
    for name, palette in {"a": one, "b": other}.items():
        image = Image.fromarray(labels)
        image.putpalette(palette)
        image.save(tmp_path / "masks" / f"{name}.png")
    assert found(data) == []


STATED = "background\ncat 200 0 0\ndog 0 200 0\n"


def test_colours_of_another_class_of_the_list_are_told(tmp_path: Path) -> None:
    data = folder(tmp_path, {"a": (THREE, BLACK, GREEN, RED)}, lines=STATED)
    assert found(data) == []  # by who reads it
    with pytest.raises(DataError, match=r"draws label 1 in 0 200 0, but classes.txt gives"):
        data.mask(0)


@pytest.mark.parametrize("colours", [(RED, BLACK, BLACK), (GREEN, RED, RED)])
def test_a_class_without_a_colour_has_not_that_of_another(
    tmp_path: Path, colours: tuple[tuple[int, int, int], ...]
) -> None:
    data = folder(tmp_path, {"a": (THREE * 0, *colours)}, lines=STATED)
    with pytest.raises(DataError, match=r"but classes.txt gives that colour to '(cat|dog)', and"):
        data.mask(0)


@pytest.mark.parametrize(
    ("labels", "colours", "lines"),
    [
        (THREE, (BLACK, RED, GREEN), STATED),
        (THREE, (BLACK, GREEN, RED), "background\ncat\ndog\n"),  # no colours are stated
        (HALF, (BLACK, RED, RED), STATED),  # the wrong one is not used
    ],
)
def test_a_list_that_states_no_other_colour_is_not_contradicted(
    tmp_path: Path, labels: np.ndarray, colours: tuple[tuple[int, int, int], ...], lines: str
) -> None:
    data = folder(tmp_path, {"a": (labels, *colours)}, lines=lines)
    assert found(data) == []
    assert data.mask(0).tolist() == labels.tolist()


def test_masks_of_another_folder_have_colours_of_their_own(tmp_path: Path) -> None:
    data = folder(tmp_path, {"a": (THREE, BLACK, RED, GREEN)}, lines=STATED)
    palette_png(tmp_path / "made" / "a.png", THREE, BLACK, GREEN, RED)
    made = MasksInFolder(data, read_tree(tmp_path / "made", (".png",), ""))
    assert found(made) == []
    masks = [PlacedMask(data, 0), PlacedMask(made, 0)]
    assert contradictions(palettes_of(masks)) == []


@pytest.mark.parametrize("name", ["background", "_background_", "BG"])
def test_a_black_class_beside_a_coloured_background_is_in_doubt(tmp_path: Path, name: str) -> None:
    masks = {"a": (HALF, RED, BLACK, GREEN), "b": (THREE, RED, BLACK, GREEN)}
    data = folder(tmp_path, masks, lines=f"{name}\ncat\ndog\n")
    placed = palettes_of([PlacedMask(data, position) for position in range(len(data))])
    assert contradictions(placed) == []
    (text,) = doubts(placed)
    assert text.startswith(f"{data.mask_path(0)} draws '{name}' in 200 0 0 and 'cat' in black")


@pytest.mark.parametrize(
    ("colours", "lines"),
    [
        ((BLACK, RED, GREEN), "background\ncat\ndog\n"),
        ((RED, GREEN, BLACK), "background\ncat\ndog\n"),  # no pixel is black
        ((RED, BLACK, GREEN), "road\nsky\ndog\n"),
        ((BLACK, BLACK, GREEN), "background\ncat\ndog\n"),
        ((BLACK, RED, GREEN), "cat\nbackground\nbackground of dog\n"),  # which one is it?
    ],
)
def test_other_colours_are_in_no_doubt(
    tmp_path: Path, colours: tuple[tuple[int, int, int], ...], lines: str
) -> None:
    data = folder(tmp_path, {"a": (HALF, *colours)}, lines=lines)
    assert doubts(palettes_of([PlacedMask(data, 0)])) == []
