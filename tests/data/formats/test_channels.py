from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from PIL import Image

from semisup.data.formats import channels
from semisup.data.formats.channels import find_kind, kind_of, read_image
from semisup.errors import DataError
from semisup.ops.pixels import GREY, RGB, ImageKind

FOUR = ImageKind(4, 16)
DEEP = np.random.default_rng(0).integers(0, 2**16, (9, 12, 4)).astype(np.uint16)
FLAT = (DEEP >> 8).astype(np.uint8)

TIFFS: dict[str, tuple[npt.NDArray[Any], dict[str, Any]]] = {
    "samples side by side": (DEEP, {"photometric": "minisblack", "planarconfig": "contig"}),
    "RGB and one more": (DEEP, {"photometric": "rgb"}),
    "channels one behind the other": (
        np.moveaxis(DEEP, 2, 0),
        {"photometric": "minisblack", "planarconfig": "separate"},
    ),
    "a page for each channel": (np.moveaxis(DEEP, 2, 0), {"photometric": "minisblack"}),
    "ImageJ": (np.moveaxis(DEEP, 2, 0), {"imagej": True, "metadata": {"axes": "CYX"}}),
    "OME": (np.moveaxis(DEEP, 2, 0), {"ome": True, "metadata": {"axes": "CYX"}}),
    "tiles": (DEEP, {"photometric": "rgb", "tile": (16, 16)}),
    "deflate": (DEEP, {"photometric": "rgb", "compression": "deflate", "predictor": True}),
    "LZW": (DEEP, {"photometric": "rgb", "compression": "lzw"}),
    "big endian": (DEEP, {"photometric": "rgb", "byteorder": ">"}),
    "BigTIFF": (DEEP, {"photometric": "rgb", "bigtiff": True}),
    "ImageJ, with an axis of one frame": (
        np.moveaxis(DEEP, 2, 0)[None, None],
        {"imagej": True, "metadata": {"axes": "TZCYX"}},
    ),
    "pages that no note explains": (
        np.moveaxis(DEEP, 2, 0),
        {"photometric": "minisblack", "metadata": None},
    ),
    "GeoTIFF": (
        DEEP,
        {
            "photometric": "minisblack",
            "planarconfig": "contig",
            "metadata": None,
            "extratags": [(33550, "d", 3, (1.0, 1.0, 0.0), True), (42113, "s", 0, "0", True)],
        },
    ),
}

FLAT_TIFFS: dict[str, tuple[int, dict[str, Any]]] = {
    "two samples, of which Pillow reads one": (
        2,
        {"photometric": "minisblack", "planarconfig": "contig"},
    ),
    "RGB and a sample that Pillow drops": (
        4,
        {"photometric": "rgb", "extrasamples": ["unspecified"]},
    ),
    "RGB and a sample that GDAL calls transparency": (4, {"photometric": "rgb"}),
    "transparency that is multiplied in": (4, {"photometric": "rgb", "extrasamples": [1]}),
    "three samples of no colours": (3, {"photometric": "minisblack", "planarconfig": "contig"}),
    "RGB, compressed as Pillow may not read it": (
        3,
        {"photometric": "rgb", "compression": "jpeg2000"},
    ),
}


def tiff(path: Path, values: npt.NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, values, **options)
    return path


@pytest.mark.parametrize("form", TIFFS)
def test_a_tiff_of_four_channels_in_every_form(tmp_path: Path, form: str) -> None:
    values, options = TIFFS[form]
    path = tiff(tmp_path / "a.tif", values, **options)
    assert kind_of(path) == FOUR
    image = read_image(path, FOUR)
    assert image.dtype == torch.uint16
    assert np.array_equal(image.numpy(), np.moveaxis(DEEP, 2, 0))


@pytest.mark.parametrize("form", FLAT_TIFFS)
def test_no_sample_of_a_tiff_of_8_bits_is_lost(tmp_path: Path, form: str) -> None:
    count, options = FLAT_TIFFS[form]
    path = tiff(tmp_path / "a.tif", FLAT[..., :count], **options)
    kind = find_kind([path], 4 if count == 4 else None)
    assert kind == ImageKind(count, 8)
    assert np.array_equal(read_image(path, kind).numpy(), np.moveaxis(FLAT[..., :count], 2, 0))


def test_a_fourth_band_that_a_tiff_calls_transparency(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", FLAT, photometric="rgb")
    with pytest.raises(DataError, match=r"or set data\.channels = 4 if the fourth is a channel"):
        read_image(path, find_kind([path]))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("count", [3, 5, 13])
def test_a_page_for_each_channel(tmp_path: Path, bits: int, count: int) -> None:
    values = np.random.default_rng(count).integers(0, 2**bits, (count, 20, 30))
    path = tiff(tmp_path / "a.tif", values.astype(f"uint{bits}"), photometric="minisblack")
    kind = kind_of(path)
    assert kind == ImageKind(count, bits)
    assert np.array_equal(read_image(path, kind).numpy(), values)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_of_a_pyramid_the_full_picture_is_read(tmp_path: Path, count: int) -> None:
    """As GDAL adds overviews: pages that are marked as reduced."""
    path = tmp_path / "a.tif"
    full = np.random.default_rng(0).integers(0, 256, (64, 96, count)).astype(np.uint8).squeeze()
    options = {"photometric": "rgb" if count == 3 else "minisblack", "tile": (16, 16)}
    if count == 4:
        options["planarconfig"] = "contig"
    with tifffile.TiffWriter(path) as file:
        for step in (1, 2, 4):
            values, reduced = full[::step, ::step], int(step > 1)
            file.write(values, subfiletype=reduced, metadata=None, **options)
    kind = kind_of(path)
    assert kind == ImageKind(count, 8)
    image = read_image(path, kind).permute(1, 2, 0).numpy()
    assert np.array_equal(image.squeeze(), full)


def test_a_small_picture_beside_the_image_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(DEEP, photometric="rgb", metadata=None)
        file.write(FLAT[::3, ::3, :3], photometric="rgb", subfiletype=1, metadata=None)
    assert kind_of(path) == FOUR
    assert np.array_equal(read_image(path, FOUR).numpy(), np.moveaxis(DEEP, 2, 0))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_where_white_is_0_the_values_are_turned(tmp_path: Path, dtype: str) -> None:
    values = (FLAT if dtype == "uint8" else DEEP)[..., 0]
    path = tiff(tmp_path / "a.tif", values, photometric="miniswhite")
    kind = kind_of(path)
    assert kind is not None
    assert np.array_equal(read_image(path, kind).numpy()[0], ~values)


WIDE = np.random.default_rng(1).integers(0, 2**16, (6, 8, 13)).astype(np.uint16)


@pytest.mark.parametrize("layout", ["contig", "separate", "pages", "npy", "npy, channels first"])
def test_more_channels_than_rows(tmp_path: Path, layout: str) -> None:
    """Read by the axes that a TIFF states, or by data.channels."""
    first, last = np.moveaxis(WIDE, 2, 0), WIDE
    path = tmp_path / ("a.npy" if "npy" in layout else "a.tif")
    if layout in ("contig", "separate"):
        values = last if layout == "contig" else first
        tiff(path, values, photometric="minisblack", planarconfig=layout)
        assert find_kind([path]) == ImageKind(13, 16)
    elif layout == "pages":
        tiff(path, first, photometric="minisblack")
    else:
        np.save(path, first if "first" in layout else last)
    kind = find_kind([path], 13)
    assert kind == ImageKind(13, 16)
    assert np.array_equal(read_image(path, kind).numpy(), first)


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_an_array_that_does_not_tell_its_channels_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    values = np.moveaxis(WIDE, 2, 0)
    if suffix == ".npy":
        np.save(path, values)
    else:
        tiff(path, values, photometric="minisblack")
    line = "has the shape 13x6x8, of which no axis is surely that of the channels; set data.chan"
    with pytest.raises(DataError, match=f"^{re.escape(f'{path} {line}')}"):
        read_image(path, find_kind([path]))


def test_a_picture_under_the_name_of_another_format(tmp_path: Path) -> None:
    Image.fromarray(FLAT[..., 0]).save(tmp_path / "a.png", format="JPEG")
    Image.fromarray(FLAT[..., :3]).save(tmp_path / "b.tif", format="PNG")
    assert kind_of(tmp_path / "a.png") == GREY
    assert kind_of(tmp_path / "b.tif") == RGB
    assert np.array_equal(read_image(tmp_path / "b.tif", RGB), np.moveaxis(FLAT[..., :3], 2, 0))


def test_the_kind_of_many_channels_is_found_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tiff(tmp_path / "a.tif", WIDE, photometric="minisblack", planarconfig="contig")
    read_image(path, find_kind([path, path]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (DEEP, FOUR),
        (np.moveaxis(DEEP, 2, 0), FOUR),
        (np.asfortranarray(DEEP), FOUR),
        (DEEP.astype(">u2"), FOUR),
        (DEEP[..., 0], ImageKind(1, 16)),
        (DEEP[..., :1], ImageKind(1, 16)),
        (DEEP[..., :2], ImageKind(2, 16)),
        (FLAT, ImageKind(4, 8)),
        (FLAT[..., :3], RGB),
        (FLAT[..., 0], GREY),
    ],
)
def test_arrays(tmp_path: Path, values: npt.NDArray[Any], kind: ImageKind) -> None:
    path = tmp_path / "a.npy"
    np.save(path, values)
    assert kind_of(path) == kind
    image = read_image(path, kind)
    assert (image.dtype, tuple(image.shape)) == (kind.dtype, (kind.channels, 9, 12))
    source = DEEP if kind.bits == 16 else FLAT
    assert np.array_equal(image.numpy(), np.moveaxis(source[..., : kind.channels], 2, 0))


def test_grey_arrays_in_a_set_of_rgb_have_three_equal_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FLAT[..., 0])
    assert np.array_equal(read_image(tmp_path / "a.npy", RGB).numpy(), [FLAT[..., 0]] * 3)


def test_pngs_of_16_bits(tmp_path: Path) -> None:
    Image.fromarray(DEEP[..., 0]).save(tmp_path / "grey.png")
    assert kind_of(tmp_path / "grey.png") == ImageKind(1, 16)
    grey = read_image(tmp_path / "grey.png", ImageKind(1, 16))
    assert np.array_equal(grey.numpy(), DEEP[None, ..., 0])
    for values in (DEEP[..., :3], DEEP):
        path = write_deep_png(tmp_path / "colours.png", values)
        kind = ImageKind(values.shape[2], 16)
        assert kind_of(path) == kind
        assert np.array_equal(read_image(path, kind).numpy(), np.moveaxis(values, 2, 0))


def write_deep_png(path: Path, values: npt.NDArray[np.uint16]) -> Path:
    """A PNG of 16 bits in colours, which Pillow does not write."""
    import struct
    import zlib

    height, width, count = values.shape
    rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[count], 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", data), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_grey_and_the_fourth_channel_of_8_bits(tmp_path: Path) -> None:
    Image.fromarray(FLAT[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(FLAT, "RGBA").save(tmp_path / "four.png")
    grey = read_image(tmp_path / "grey.png", GREY)
    assert np.array_equal(grey.numpy(), FLAT[None, ..., 0])
    four = read_image(tmp_path / "four.png", ImageKind(4, 8))
    assert np.array_equal(four.numpy(), np.moveaxis(FLAT, 2, 0))
    with pytest.raises(DataError, match=r"four\.png has colours \(RGBA; expected: 8-bit grey"):
        read_image(tmp_path / "four.png", GREY)
    with pytest.raises(DataError, match=r"four\.png has transparent pixels"):
        read_image(tmp_path / "four.png", RGB)


def pictures(folder: Path, *kinds: str) -> list[Path]:
    """A file of each kind: grey, rgb, rgba, deep (16-bit grey) or four (16-bit TIFF)."""
    made = {"grey": FLAT[..., 0], "rgb": FLAT[..., :3], "rgba": FLAT, "deep": DEEP[..., 0]}
    paths = []
    for number, kind in enumerate(kinds):
        path = folder / f"{number:02d}.png"
        if kind == "four":
            path = tiff(path.with_suffix(".tif"), DEEP, photometric="rgb")
        else:
            Image.fromarray(made[kind]).save(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("kinds", "stated", "expected"),
    [
        (("grey",) * 40, None, GREY),
        (("grey",) * 40, 3, RGB),
        (("grey",) * 39 + ("rgb",), None, RGB),
        (("rgb",) + ("grey",) * 40, None, RGB),
        (("deep", "rgb", "rgb"), None, RGB),
        (("rgb", "deep", "deep"), None, ImageKind(1, 16)),
        (("four", "four", "four"), None, FOUR),
        (("four",), 4, FOUR),
        (("rgba", "rgba"), None, RGB),
        (("rgba", "rgba"), 4, ImageKind(4, 8)),
        ((), None, RGB),
    ],
)
def test_the_kind_of_a_set(
    tmp_path: Path, kinds: tuple[str, ...], stated: int | None, expected: ImageKind
) -> None:
    assert find_kind(pictures(tmp_path, *kinds), stated) == expected


@pytest.mark.parametrize(
    ("kind", "stated", "found"),
    [
        ("rgb", 1, "8-bit RGB"),
        ("rgb", 4, "8-bit RGB"),
        ("grey", 4, "8-bit grey"),
        ("four", 3, "4 channels of 16 bits"),
        ("deep", 3, "1 channel of 16 bits"),
    ],
)
def test_other_channels_than_stated(tmp_path: Path, kind: str, stated: int, found: str) -> None:
    files = pictures(tmp_path, kind)
    line = f"data.channels = {stated}, but the images, such as {files[0]}, are {found}; set it to "
    with pytest.raises(DataError, match=f"^{re.escape(line)}"):
        find_kind(files, stated)


def test_a_damaged_file_has_no_say(tmp_path: Path) -> None:
    files = pictures(tmp_path, "grey", "grey", "grey")
    files[0].write_bytes(b"no picture")
    (tmp_path / "x.npy").write_bytes(b"no array")
    (tmp_path / "y.tif").write_bytes(b"II*\0")
    assert kind_of(files[0]) is None
    assert kind_of(tmp_path / "gone.npy") is None
    assert find_kind([*files, tmp_path / "x.npy", tmp_path / "y.tif"]) == GREY


def npy(values: npt.NDArray[Any]) -> Any:
    return lambda path: np.save(path, values)


BAD: dict[str, tuple[str, Any, str]] = {
    "floats": ("a.npy", npy(DEEP / 1.0), "holds values of the type float64; save them as uint8 or"),
    "signed": ("a.npy", npy(DEEP.astype(np.int16)), "holds values of the type int16"),
    "bools": ("a.npy", npy(DEEP > 9), "holds values of the type bool"),
    "four axes": ("a.npy", npy(DEEP[None]), "has the shape 1x9x12x4; save one image"),
    "one axis": ("a.npy", npy(DEEP[0, 0]), "has the shape 4; save one image"),
    "no pixel": ("a.npy", npy(DEEP[:0]), "has the shape 0x12x4, which holds no pixel"),
    "other channels": (
        "a.npy",
        npy(DEEP[..., :2]),
        "is 2 channels of 16 bits (expected: 4 channels of",
    ),
    "8 bits": ("a.npy", npy(FLAT), "is 4 channels of 8 bits (expected: 4 channels of 16 bits"),
    "no array": ("a.npy", lambda path: path.write_bytes(b"x"), "is no array of NumPy or damaged"),
    "objects": ("a.npy", npy(np.array([{}, 1], dtype=object)), "holds values of the type object"),
    "TIFF of floats": (
        "a.tif",
        lambda path: tiff(path, DEEP.astype(np.float32), photometric="rgb"),
        "holds values of the type float32",
    ),
    "TIFF of signed bytes": (
        "a.tif",
        lambda path: tiff(path, FLAT.astype(np.int8)[..., 0]),
        "holds values of the type int8",
    ),
    "TIFF with a palette of 16 bits": (
        "a.tif",
        lambda path: tiff(
            path, DEEP[..., 0], photometric="palette", colormap=np.zeros((3, 2**16), np.uint16)
        ),
        "has a palette of 16 bits; save it as RGB, or grey",
    ),
    "TIFF of five channels": (
        "a.tif",
        lambda path: tiff(
            path, np.dstack([DEEP, DEEP])[..., :5], photometric="minisblack", planarconfig="contig"
        ),
        "is 5 channels of 16 bits (expected: 4 channels of 16 bits); convert it",
    ),
    "TIFF of a film": (
        "a.tif",
        lambda path: tiff(
            path,
            DEEP[..., 0][None].repeat(3, 0),
            photometric="minisblack",
            metadata={"axes": "TYX"},
        ),
        "holds 3 pictures; save each in a file of its own",
    ),
    "no TIFF": ("a.tif", lambda path: path.write_bytes(b"II*\0" + bytes(40)), "is no TIFF file or"),
    "RGB picture": (
        "a.png",
        lambda path: Image.fromarray(FLAT[..., :3]).save(path),
        "is 8-bit RGB (expected: 4 channels of 16 bits); convert it",
    ),
    "grey of 16 bits": (
        "a.png",
        lambda path: Image.fromarray(DEEP[..., 0]).save(path),
        "is 1 channel of 16 bits (expected: 4 channels of 16 bits",
    ),
    "no picture": ("a.png", lambda path: path.write_bytes(b"x"), "is no PNG file of 16 bits or"),
    "folder": ("a.npy", lambda path: path.mkdir(), "is a folder; put the picture in its place"),
    "pipe": ("a.npy", lambda path: os.mkfifo(path), "is a pipe; put the picture in its place"),
    "nothing": ("a.npy", lambda path: None, "is missing; put it there"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    name, write, line = BAD[case]
    write(tmp_path / name)
    with pytest.raises(DataError, match=f"^{re.escape(f'{tmp_path / name} {line}')}") as caught:
        read_image(tmp_path / name, FOUR)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".png"])
def test_what_is_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write = {".npy": np.save, ".tif": tifffile.imwrite, ".png": write_deep_png}[suffix]
    write(path, DEEP)
    whole = path.read_bytes()
    for length in range(0, len(whole), 29):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"^{re.escape(str(path))} ") as caught:
            read_image(path, FOUR)
        assert "\n" not in str(caught.value)


def test_what_announces_too_many_values_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "MOST_VALUES", 9 * 12 * 4 - 1)
    np.save(tmp_path / "a.npy", DEEP)
    tiff(tmp_path / "a.tif", DEEP, photometric="rgb")
    write_deep_png(tmp_path / "a.png", DEEP)
    for name in ("a.npy", "a.tif", "a.png"):
        with pytest.raises(DataError, match=rf"{name} has too many .* to decode safely"):
            read_image(tmp_path / name, FOUR)


@pytest.mark.parametrize(("name", "missing"), [("a.tif", "tifffile"), ("a.png", "imagecodecs")])
def test_the_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, missing: str
) -> None:
    path = tmp_path / name
    if name.endswith(".tif"):
        tiff(path, DEEP, photometric="rgb")
    else:
        write_deep_png(path, DEEP)
    monkeypatch.setitem(sys.modules, missing, None)
    line = rf"{name} .*install {missing}: pip install 'semisup\[tiff\]'"
    with pytest.raises(DataError, match=line):
        read_image(path, FOUR)
