"""MATLAB's files: scipy writes them, and reads what we read."""

from __future__ import annotations

import io
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from semisup.data.formats.matlab import level5
from semisup.data.formats.matlab.level5 import (
    read_field,
    read_field_texts,
    read_file,
    read_numbers,
    read_texts,
)
from semisup.data.formats.voc_annotations import read_sbd_mask
from semisup.errors import DataError

MASK = np.random.default_rng(0).integers(0, 21, (37, 50)).astype(np.uint8)


def written(content: dict[str, Any], *, packed: bool = True) -> bytes:
    file = io.BytesIO()
    savemat(file, content, do_compression=packed)
    return file.getvalue()


def as_published(mask: np.ndarray) -> dict[str, Any]:
    """A cell of sparse boundaries stands before the mask, other variables beside it."""
    boundaries = np.empty((20, 1), dtype=object)
    boundaries[:, 0] = [csc_matrix(mask == label) for label in range(20)]
    fields = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": np.ones((2, 1))}
    return {"first": 1.5, "GTcls": fields, "last": "text"}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("shape", [(37, 50), (1, 1), (2, 2), (1, 4), (5, 1)])
def test_a_mask_is_read_as_it_was_written(shape: tuple[int, int], packed: bool) -> None:
    mask = np.ascontiguousarray(MASK[: shape[0], : shape[1]])
    found = read_field(written(as_published(mask), packed=packed), "GTcls", "Segmentation")
    assert found.dtype == np.uint8
    assert np.array_equal(found, mask)


@pytest.mark.parametrize("kind", ["float64", "float32", "int16", "uint32", "int8"])
def test_other_numbers_keep_their_type(kind: str) -> None:
    values = np.arange(-3, 3).reshape(2, 3).astype(kind)
    found = read_field(written({"a": {"b": values}}), "a", "b")
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)


def test_what_is_not_there() -> None:
    content = written(as_published(MASK))
    for variable, field in (("GTinst", "Segmentation"), ("GTcls", "Other"), ("first", "a")):
        with pytest.raises(KeyError):
            read_field(content, variable, field)
    with pytest.raises(ValueError, match="no plain numbers"):
        read_field(content, "GTcls", "Boundaries")
    with pytest.raises(ValueError, match="not the format of MATLAB 5"):
        read_field(b"MATLAB 7.3 " + bytes(200), "GTcls", "Segmentation")


def test_a_file_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level5, "_LARGEST", 1 << 22)
    packed = zlib.compress(bytes(1 << 22) + bytes(1 << 20), 9)
    tag = (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little")
    with pytest.raises(ValueError, match="too large"):
        read_field(written({})[:128] + tag + packed, "GTcls", "Segmentation")


NAMES = ["a", "räume/größe", "日本", "x" * 300]


def of_lists() -> dict[str, Any]:
    """Numbers, a cell of texts, and an array of structs with a text and something else each."""
    structs = np.zeros((1, 4), [("depth", object), ("path", object)])
    structs["path"] = np.array(NAMES, object)
    structs["depth"] = 1.0
    numbers = np.arange(6.0).reshape(2, 3)
    return {"numbers": numbers, "cell": np.array([NAMES], object), "structs": structs}


@pytest.mark.parametrize("packed", [True, False])
def test_numbers_and_texts_are_read_as_they_were_written(packed: bool) -> None:
    content = written(of_lists(), packed=packed)
    assert read_numbers(content, "numbers").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_texts(content, "cell") == NAMES
    assert read_field_texts(content, "structs", "path") == NAMES


def test_texts_that_are_none_are_refused() -> None:
    content = written(of_lists())
    with pytest.raises(ValueError, match="'numbers' is no cell"):
        read_texts(content, "numbers")
    with pytest.raises(ValueError, match="no text where there should be one"):
        read_field_texts(content, "structs", "depth")
    for variable, field in (("structs", "name"), ("none", "path"), ("cell", "path")):
        with pytest.raises(KeyError):
            read_field_texts(content, variable, field)


@pytest.mark.parametrize("packed", [True, False])
def test_damaged_lists_are_refused_or_give_as_many_texts(packed: bool, tmp_path: Path) -> None:
    whole, chance, path = written(of_lists(), packed=packed), random.Random(0), tmp_path / "a.mat"
    refused: list[str] = []
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            content[chance.randrange(128, len(content))] = chance.randrange(256)
        path.write_bytes(content[: chance.choice((len(content), chance.randrange(len(content))))])
        try:
            found = read_file(
                path, lambda read: read_field_texts(read, "structs", "path"), "get it"
            )
        except DataError as error:
            refused.append(str(error))
        else:
            assert len(found) == len(NAMES)
    assert len(refused) > 75
    assert all(line.startswith(str(path)) and line.endswith("; get it") for line in refused)


@pytest.mark.parametrize("packed", [True, False])
def test_damage_anywhere_is_refused_or_gives_a_map(packed: bool, tmp_path: Path) -> None:
    whole = written(as_published(MASK[:5, :6]), packed=packed)
    chance, path, refused = random.Random(0), tmp_path / "a.mat", 0
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            content[chance.randrange(128, len(content))] = chance.randrange(256)
        path.write_bytes(content[: chance.choice((len(content), chance.randrange(len(content))))])
        try:
            mask = read_sbd_mask(path)
        except DataError:
            refused += 1
        else:
            assert mask.dim() == 2
    assert refused > 100
