"""A label map lies where its image lies on the ground."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from semisup.evaluation.outputs.geotiff import place_of

Make = Callable[..., Any]

TAGS: dict[int, tuple[int, Any]] = {
    33550: (12, (0.5, 0.5, 0.0)),
    33922: (12, (0.0, 0.0, 0.0, 500000.25, 4100000.5, 0.0)),
    34735: (3, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)),
    34736: (12, (6378137.0, 298.257223563)),
    34737: (2, "WGS 84 / UTM zone 33N|"),
}
ROTATED = {34264: (12, tuple(float(n) / 3 for n in range(16))), 34735: TAGS[34735]}


def save(path: Path, tags: dict[int, tuple[int, Any]], pixels: npt.NDArray[np.uint8]) -> Path:
    stated = ImageFileDirectory_v2()
    for number, (kind, value) in tags.items():
        stated.tagtype[number] = kind
        stated[number] = value
    Image.fromarray(pixels).save(path, tiffinfo=stated)
    return path


def pixels() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 256, (12, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("tags", [TAGS, ROTATED], ids=["scale and tie point", "transformation"])
def test_a_label_map_has_the_tags_of_its_image(
    tags: dict[int, tuple[int, Any]], predict: Make, tmp_path: Path
) -> None:
    field = save(tmp_path / "field.tif", tags, pixels())
    assert predict(field).written == 1
    with Image.open(tmp_path / "out" / "field_labels.tif") as written:
        assert {n: written.tag_v2.get(n) for n in tags} == {n: v for n, (_, v) in tags.items()}
        assert {n: written.tag_v2.tagtype[n] for n in tags} == {n: k for n, (k, _) in tags.items()}
        assert 42113 not in written.tag_v2
        assert written.mode == "P"
        labels = np.array(written)
        assert written.convert("RGB").getpixel((0, 0)) in ((0, 0, 0), (200, 30, 30), (30, 30, 200))
    with Image.open(tmp_path / "out" / "field.png") as plain:
        assert np.array_equal(np.array(plain), labels)
    assert np.array_equal(labels, pixels().argmax(2))


def test_pixels_without_data_have_no_class_there(predict: Make, tmp_path: Path) -> None:
    image = pixels()
    image[:3, :4] = 7
    image[5, 5] = (7, 7, 8)
    predict(save(tmp_path / "field.tif", TAGS | {42113: (2, "7")}, image))
    with Image.open(tmp_path / "out" / "field_labels.tif") as written:
        assert written.tag_v2[42113] == "255"
        expected = image.argmax(2)
        expected[:3, :4] = 255
        assert np.array_equal(np.array(written), expected)


def test_a_tiff_without_a_place_and_other_images_have_no_such_file(
    predict: Make, tmp_path: Path
) -> None:
    save(tmp_path / "plain.tif", {42113: (2, "7")}, pixels())
    Image.fromarray(pixels()).save(tmp_path / "b.png")
    predict(tmp_path / "plain.tif", tmp_path / "b.png")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["b.png", "plain.png", "predictions.json"]
    (tmp_path / "cut.tif").write_bytes(b"II*\0\x08\0\0\0\xff")
    assert place_of(tmp_path / "cut.tif") is None
    assert place_of(tmp_path / "missing.tif") is None


def test_an_image_with_a_place_is_labelled_as_it_is_stored(predict: Make, tmp_path: Path) -> None:
    """Its tags give the place of the stored rows and columns."""
    predict(save(tmp_path / "field.tif", TAGS | {0x0112: (3, 6)}, pixels()))
    for name in ("field.png", "field_labels.tif"):
        with Image.open(tmp_path / "out" / name) as written:
            assert np.array_equal(np.array(written), pixels().argmax(2))


def test_a_label_map_whose_place_is_missing_is_made_again(predict: Make, tmp_path: Path) -> None:
    field = save(tmp_path / "field.tif", TAGS, pixels())
    predict(field)
    assert predict(field).kept == 1
    (tmp_path / "out" / "field_labels.tif").unlink()
    assert predict(field).written == 1
    assert (tmp_path / "out" / "field_labels.tif").is_file()
    assert predict(field, overwrite=True, facts={"another": 1}).written == 1


def test_a_large_tiff_of_any_byte_order_has_a_place(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile (extra tiff) is missing")
    for order in "<>":
        tifffile.imwrite(
            tmp_path / "four.tif", np.zeros((5, 6, 4), np.uint16), bigtiff=True, byteorder=order,
            photometric="rgb", extratags=[(n, k, len(v), v, True) for n, (k, v) in TAGS.items()],
        )  # fmt: skip
        found = place_of(tmp_path / "four.tif")
        assert found is not None
        assert found.tags == {n: v for n, (_, v) in TAGS.items()}


def test_other_tools_read_where_a_label_map_lies(predict: Make, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile (extra tiff) is missing")
    tifffile.imwrite(
        tmp_path / "big.tif", pixels(), bigtiff=True, photometric="rgb",
        extratags=[(n, k, len(v), v, True) for n, (k, v) in TAGS.items()],
    )  # fmt: skip
    predict(tmp_path / "big.tif")
    with tifffile.TiffFile(tmp_path / "out" / "big_labels.tif") as written:
        page = written.pages[0]
        assert {n: page.tags[n].value for n in TAGS} == {n: v for n, (_, v) in TAGS.items()}
        assert page.geotiff_tags["ProjectedCSTypeGeoKey"] == 32633
        assert np.array_equal(page.asarray(), pixels().argmax(2))
