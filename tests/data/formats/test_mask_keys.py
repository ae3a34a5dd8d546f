"""Masks are read by value, by grey or by colour, and refused where two readings are possible."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.data.formats.class_lists import read_class_list
from semisup.data.formats.mask_keys import LabelKey
from semisup.data.formats.pictures import read_labels
from semisup.errors import DataError, RecipeError

COLOURED = "background 0 0 0\ncat 48 112 32\ndog 200 10 10\n"
LABELS = [[0, 1, 2], [255, 2, 1]]


def key(tmp_path: Path, text: str = "background\ncat\ndog\n", **options: object) -> LabelKey:
    (tmp_path / "classes.txt").write_text(text)
    return LabelKey(read_class_list(tmp_path / "classes.txt"), **options)  # type: ignore[arg-type]


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def indexed(path: Path, indices: object, palette: list[tuple[int, int, int]]) -> Path:
    image = Image.fromarray(np.array(indices, np.uint8))
    image.putpalette([channel for colour in palette for channel in colour])
    return save(path, image)


def grey_palette(path: Path, labels: object, order: list[int]) -> Path:
    """What an optimiser makes of a grey picture: `order` has the grey value of each index."""
    indices = np.vectorize(order.index)(np.array(labels))
    return indexed(path, indices, [(grey, grey, grey) for grey in order])


def few_bits(path: Path, numbers: object, bits: int) -> Path:
    """A grey PNG with `bits` for each pixel."""
    values = np.array(numbers, np.uint8)
    height, width = values.shape
    planes = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(planes.reshape(height, -1), axis=1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


@pytest.mark.parametrize("order", [[0, 255, 1, 2], [2, 1, 255, 0], [0, 1, 2, 255], [255, 0, 1, 2]])
def test_an_indexed_grey_picture_has_the_labels_of_its_greys(
    tmp_path: Path, order: list[int]
) -> None:
    path = grey_palette(tmp_path / "a.png", LABELS, order)
    assert read_labels(path).tolist() == LABELS
    assert key(tmp_path).read(path).tolist() == LABELS
    assert key(tmp_path, COLOURED).read(path).tolist() == LABELS


def test_an_indexed_grey_picture_has_greys_that_no_class_has(tmp_path: Path) -> None:
    path = grey_palette(tmp_path / "a.png", [[0, 127]], [127, 0])
    with pytest.raises(DataError, match="holds label 127, but the classes are"):
        key(tmp_path).read(path)
    values = {"0": "background", "127": "dog"}
    assert key(tmp_path, values=values).read(path).tolist() == [[0, 2]]


def test_a_grey_palette_that_tells_nothing_apart_is_none(tmp_path: Path) -> None:
    path = indexed(tmp_path / "a.png", LABELS[0:1], [(9, 9, 9)] * 3)
    assert read_labels(path).tolist() == LABELS[0:1]


def test_a_grey_palette_of_the_stated_colours_draws_indices(tmp_path: Path) -> None:
    path = indexed(tmp_path / "a.png", [[0, 1]], [(0, 0, 0), (255, 255, 255)])
    grey = key(tmp_path, "background 0 0 0\npet 255 255 255\n")
    assert grey.read(path).tolist() == [[0, 1]]
    assert key(tmp_path, "background\npet\n").read(path).tolist() == [[0, 255]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_colours_become_labels(tmp_path: Path, mode: str, ending: str) -> None:
    colours = [[(0, 0, 0), (200, 10, 10)], [(48, 112, 32), (224, 224, 192)]]
    image = Image.fromarray(np.array(colours, np.uint8)).convert(mode)
    path = save(tmp_path / f"a.{ending}", image)
    assert key(tmp_path, COLOURED).read(path).tolist() == [[0, 2], [1, 255]]


def test_the_colour_of_what_is_ignored_is_void(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (2, 1), (7, 7, 7)))
    assert key(tmp_path, "__ignore__ 7 7 7\n" + COLOURED).read(path).tolist() == [[255, 255]]


def test_an_unknown_colour_is_named_with_its_place(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 3))
    image.putpixel((2, 1), (48, 112, 33))
    path = save(tmp_path / "a.png", image)
    with pytest.raises(DataError, match=r"a\.png holds the colour 48 112 33 \(row 1, column 2\)"):
        key(tmp_path, COLOURED).read(path)


@pytest.mark.parametrize("run", [1, 3, 50])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_in_runs_are_read_as_pixel_by_pixel(tmp_path: Path, run: int, mode: str) -> None:
    colours = np.array([(0, 0, 0), (48, 112, 32), (200, 10, 10), (224, 224, 192)], np.uint8)
    stored = np.random.default_rng(run).integers(0, 4, 35).repeat(run)[: 7 * 5].reshape(7, 5)
    path = save(tmp_path / "a.png", Image.fromarray(colours[stored]).convert(mode))
    read = key(tmp_path, COLOURED).read(path)
    assert read.tolist() == np.where(stored == 3, 255, stored).tolist()


@pytest.mark.parametrize("place", [(0, 0), (3, 2), (3, 4), (6, 0)])
def test_the_first_of_unknown_colours_is_named(tmp_path: Path, place: tuple[int, int]) -> None:
    picture = np.zeros((7, 5, 3), np.uint8)
    picture[place], picture[6, 4] = (112, 48, 32), (9, 9, 9)  # red and green of a cat exchanged
    path = save(tmp_path / "a.png", Image.fromarray(picture))
    where = r"48 32 \(row {}, column {}\)".format(*place)
    with pytest.raises(DataError, match=f"holds the colour 112 {where}"):
        key(tmp_path, COLOURED).read(path)


def test_colours_need_a_key_and_each_class_its_own(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (4, 3), (1, 0, 0)))
    with pytest.raises(DataError, match=r"is a colour picture \(RGB\).* or give each class in"):
        key(tmp_path).read(path)
    with pytest.raises(DataError, match="gives the colour 1 2 3 twice"):
        key(tmp_path, "a 1 2 3\nb 1 2 3\n").read(path)
    image = Image.new("RGBA", (4, 3), (0, 0, 0, 9))
    with pytest.raises(DataError, match="has transparent pixels"):
        key(tmp_path, COLOURED).read(save(tmp_path / "b.png", image))


def grey(labels: object, mode: str) -> Image.Image:
    return Image.fromarray(np.array(labels, np.uint8)).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_grey_picture_in_other_channels_has_the_labels_of_its_greys(
    tmp_path: Path, mode: str, ending: str
) -> None:
    path = save(tmp_path / f"a.{ending}", grey(LABELS, mode))
    found = key(tmp_path).read(path)
    assert found.tolist() == LABELS
    assert found.is_contiguous()
    values = {"0": "dog", "1": "background", "2": "cat"}
    assert key(tmp_path, values=values).read(path).tolist() == [[2, 0, 1], [255, 1, 0]]
    assert key(tmp_path, "a\nb\n", void=0).read(path).tolist() == [[255, 0, 1], [255, 1, 0]]


def test_a_grey_bitmap_of_24_bits_has_the_labels_of_its_greys(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bmp", grey(LABELS, "RGB"))
    assert key(tmp_path).read(path).tolist() == LABELS


def test_where_colours_are_stated_rgb_is_read_by_them_and_grey_with_alpha_by_value(
    tmp_path: Path,
) -> None:
    text = "background 1 1 1\ncat 0 0 0\ndog 2 2 2\n"
    path = save(tmp_path / "a.png", grey([[0, 1, 2]], "RGB"))
    assert key(tmp_path, text).read(path).tolist() == [[1, 0, 2]]
    path = save(tmp_path / "b.png", grey([[0, 1, 2]], "LA"))
    assert key(tmp_path, text).read(path).tolist() == [[0, 1, 2]]
    path = save(tmp_path / "c.png", grey([[0, 3]], "RGB"))
    with pytest.raises(DataError, match="holds the colour 3 3 3"):
        key(tmp_path, text).read(path)


@pytest.mark.parametrize(
    ("mode", "channel"), [("RGB", 0), ("RGB", 1), ("RGB", 2), ("RGBA", 0), ("RGBA", 3), ("LA", 1)]
)
def test_what_is_not_quite_grey_or_opaque_is_refused(
    tmp_path: Path, mode: str, channel: int
) -> None:
    stored = np.array(grey(LABELS, mode))
    stored[1, 0, channel] -= 1
    path = save(tmp_path / "a.png", Image.fromarray(stored, mode))
    with pytest.raises(DataError, match=r"is a colour picture \((RGB|RGBA|LA)\), not"):
        key(tmp_path).read(path)


def test_a_palette_in_the_stated_colours_is_read_by_index(tmp_path: Path) -> None:
    colours = [(0, 0, 0), (48, 112, 32), (200, 10, 10)]
    path = indexed(tmp_path / "a.png", [[0, 1, 2]], colours)
    assert key(tmp_path, COLOURED).read(path).tolist() == [[0, 1, 2]]


def test_a_palette_that_contradicts_the_stated_colours_is_refused(tmp_path: Path) -> None:
    swapped = [(48, 112, 32), (0, 0, 0), (200, 10, 10)]
    path = indexed(tmp_path / "a.png", [[0, 1, 2]], swapped)
    with pytest.raises(DataError) as caught:
        key(tmp_path, COLOURED).read(path)
    assert f"{path} draws label 0 in 48 112 32, but classes.txt gives 'background'" in str(
        caught.value
    )
    assert key(tmp_path).read(path).tolist() == [[0, 1, 2]]  # without colours there is no doubt
    unused = [(0, 0, 0), (48, 112, 32), (1, 1, 1)]
    path = indexed(tmp_path / "b.png", [[0, 1]], unused)
    assert key(tmp_path, COLOURED).read(path).tolist() == [[0, 1]]


def test_values_are_mapped_to_names(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 255, 128]], np.uint8)))
    values = {"0": "background", "255": "dog", "128": "cat"}
    assert key(tmp_path, values=values).read(path).tolist() == [[0, 2, 1]]
    more = {"0": "background", "128": "background"}
    assert key(tmp_path, values=more).read(path).tolist() == [[0, 255, 0]]


@pytest.mark.parametrize("void", [0, 11, 255])
def test_a_value_may_be_void(tmp_path: Path, void: int) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[void, 1, 2, 255]], np.uint8)))
    expected = [255, 0, 1, 255] if void == 0 else [255, 1, 2, 255]
    assert key(tmp_path, "tree\ncat\ndog\n", void=void).read(path).tolist() == [expected]


def test_numbers_of_the_list_are_the_values(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 255, 7]], np.uint8)))
    text = "0,background\n255,pet\n7,__ignore__\n"
    assert key(tmp_path, text).read(path).tolist() == [[0, 1, 255]]


def test_a_value_without_a_class_is_named_with_its_place(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 255], [9, 0]], np.uint8)))
    values = {"0": "background", "255": "dog"}
    with pytest.raises(DataError, match=r"a\.png holds the value 9 \(row 1, column 0\).* 0, 255"):
        key(tmp_path, values=values).read(path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"values": {"0": "bird"}}, r"values\.0 = 'bird' is no class of .*classes\.txt"),
        ({"values": {"x": "cat"}}, r"values\.x is no value"),
        ({"values": {"256": "cat"}}, r"values\.256 is no value"),
        ({"values": {"0": "cat"}, "void": 0}, "value 0 is the class 'cat' and void = 0"),
        ({"void": 300}, "void = 300 is no value"),
        ({"void": 0}, "void = 0 leaves no value for the first name"),
    ],
)
def test_options_that_make_no_sense(
    tmp_path: Path, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(RecipeError, match=reason):
        key(tmp_path, **options)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_zeros_are_zeros_whatever_the_bits(tmp_path: Path, bits: int) -> None:
    path = few_bits(tmp_path / "a.png", np.zeros((3, 5)), bits)
    assert read_labels(path).tolist() == [[0] * 5] * 3
    assert key(tmp_path).read(path).tolist() == [[0] * 5] * 3


def test_grey_of_few_bits_is_read_where_the_key_decides(tmp_path: Path) -> None:
    path = few_bits(tmp_path / "a.png", [[0, 1, 1]], 1)
    with pytest.raises(DataError, match=r"a\.png is 1-bit, and its 1 may stand for 1 or for 255"):
        key(tmp_path).read(path)
    values = {"0": "background", "255": "cat"}
    assert key(tmp_path, values=values).read(path).tolist() == [[0, 1, 1]]
    path = few_bits(tmp_path / "b.png", [[0, 1, 2]], 4)  # 0, 17, 34 in 8 bits
    with pytest.raises(DataError, match=r"b\.png is grey with 4 bits"):
        key(tmp_path).read(path)
    assert key(tmp_path, "0,background\n17,cat\n34,dog\n").read(path).tolist() == [[0, 1, 2]]
    assert key(tmp_path, "0,background\n1,cat\n2,dog\n").read(path).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("values", "names", "hint"),
    [
        ([0, 127], "a\nb\n", r'values = \{0 = "a", 127 = "b"\}$'),
        ([10, 20, 30, 255], "a\nb\nc\n", r'values = \{10 = "a", 20 = "b", 30 = "c"\}$'),
        ([0, 80], "a\nb\nc\n", "; if they are values of classes, map them in values$"),
        ([0, 3], "a\nb\nc\n", r"is 0 void in the masks\?\)$"),
        ([0, 7, 8, 9], "a\nb\nc\n", "or the list of classes$"),
    ],
)
def test_values_far_apart_come_with_their_mapping(
    tmp_path: Path, values: list[int], names: str, hint: str
) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([values], np.uint8)))
    with pytest.raises(DataError, match=hint):
        key(tmp_path, names).read(path)


@pytest.mark.parametrize("compression", ["jpeg", "tiff_jpeg"])
def test_a_tiff_that_is_compressed_with_loss_is_no_mask(tmp_path: Path, compression: str) -> None:
    image = Image.fromarray(np.zeros((16, 16), np.uint8))
    image.save(tmp_path / "a.tif", compression=compression)
    with pytest.raises(DataError, match=r"a\.tif is compressed .* with loss"):
        key(tmp_path).read(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_a_tiff_whose_0_is_white_is_no_mask(
    tmp_path: Path, compression: str | None, dtype: type
) -> None:
    import tifffile

    options = {"photometric": "miniswhite", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", np.eye(16, dtype=dtype), **options)
    with pytest.raises(DataError, match="stores white as 0"):
        key(tmp_path).read(tmp_path / "a.tif")
