"""Pictures and label maps are read as stored, or refused."""

from __future__ import annotations

import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semisup.data.formats.pictures import (
    labelled_image,
    read_labels,
    read_rgb,
    voc_palette,
    write_palette_png,
)
from semisup.errors import DataError, RunError

RED = (200, 30, 10)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def pixel(path: Path) -> list[int]:
    picture = read_rgb(path)
    assert picture.shape == (3, 4, 6)
    assert picture.dtype == torch.uint8
    return picture[:, 1, 2].tolist()


def solid(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (6, 4), colour)


def test_rgb_png_is_read_exactly_with_rows_first(tmp_path: Path) -> None:
    values = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    picture = read_rgb(save(tmp_path / "a.png", Image.fromarray(values)))
    assert torch.equal(picture, torch.from_numpy(values).permute(2, 0, 1))
    assert picture.permute(1, 2, 0).is_contiguous()  # as it was decoded


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (solid("L", 77), [77, 77, 77]),
        (solid("1", 1), [255, 255, 255]),
        (solid("RGB", RED).quantize(4), [*RED]),
        (solid("RGBA", (*RED, 255)), [*RED]),
        (solid("LA", (77, 255)), [77, 77, 77]),
    ],
    ids=["grey", "1-bit", "palette", "opaque alpha", "opaque grey alpha"],
)
def test_other_kinds_of_png_become_rgb(
    tmp_path: Path, image: Image.Image, expected: list[int]
) -> None:
    assert pixel(save(tmp_path / "a.png", image)) == expected


def test_opaque_palette_transparency_is_no_obstacle(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", solid("RGB", RED).quantize(4), transparency=b"\xff\xff")
    assert pixel(path) == [*RED]


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", solid("CMYK", (0, 255, 255, 0)), quality=100)
    assert np.allclose(pixel(path), [255, 0, 0], atol=3)


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    path = save(tmp_path / "a.jpg", solid("RGB", RED), exif=exif)
    assert read_rgb(path).shape == (3, 4, 6)


@pytest.mark.parametrize("mode", ["I;16", "RGB"])
def test_16_bits_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    if mode == "I;16":
        Image.fromarray(np.full((4, 6), 1000, np.uint16)).save(path)
    else:
        path.write_bytes(png_of_16_bits())
    with pytest.raises(DataError, match=r"a\.png has 16 bits a channel; save it with 8 bits"):
        read_rgb(path)


def png_of_16_bits() -> bytes:
    """A 1x1 RGB PNG with 16 bits a channel, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = zlib.compress(b"\0" + struct.pack(">HHH", 300, 600, 900))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_transparent_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", solid("RGBA", (*RED, 128)))
    with pytest.raises(DataError, match=r"a\.png has transparent pixels; flatten"):
        read_rgb(path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("read", [read_rgb, read_labels])
def test_a_file_cut_short_is_named(
    tmp_path: Path, suffix: str, read: Callable[[Path], object]
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    path = save(tmp_path / f"cut.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=rf"cut\.{suffix} (cannot be decoded|is no PNG)") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "is missing"), (b"", "is no"), (b"GIF89a" + b"\0" * 99, "is no")]
)
def test_no_picture_at_all(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.png {reason}"):
        read_rgb(path)


def test_another_format_under_the_name_png_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", solid("RGB", RED), format="GIF")
    with pytest.raises(DataError, match="no JPEG, PNG, TIFF, BMP or WebP file; convert it"):
        read_rgb(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", solid("RGB", RED))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 11)  # 24 pixels are more than twice that
    with pytest.raises(DataError, match=r"a\.png has too many pixels"):
        read_rgb(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 13)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pixel(path) == [*RED]


@pytest.mark.parametrize("mode", ["P", "L"])
def test_labels_are_the_stored_values(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 1, 20], [255, 15, 7]], np.uint8)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([200] * 768)  # the colours say nothing
    labels = read_labels(save(tmp_path / "a.png", image))
    assert labels.dtype == torch.uint8
    assert labels.tolist() == values.tolist()


def test_a_palette_of_few_bits_keeps_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
    image.putpalette([0, 0, 0, 9, 9, 9, 80, 0, 80, 200, 200, 200])
    path = save(tmp_path / "a.png", image, bits=2)
    assert path.read_bytes()[24] == 2  # bit depth in the header
    assert read_labels(path).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (solid("RGB", RED), r"a colour picture \(RGB\), not a label map"),
        (solid("RGBA", (*RED, 255)), r"a colour picture \(RGBA\)"),
        (solid("1", 1), "1-bit, not a label map"),
        (Image.fromarray(np.ones((4, 6), np.uint16)), "16 bits a channel"),
    ],
    ids=["rgb", "rgba", "1-bit", "16-bit"],
)
def test_what_is_no_label_map_is_refused(tmp_path: Path, image: Image.Image, reason: str) -> None:
    with pytest.raises(DataError, match=rf"a\.png .*{reason}"):
        read_labels(save(tmp_path / "a.png", image))


def test_grey_of_few_bits_is_refused_because_pillow_stretches_it(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", solid("L", 3))
    header = bytearray(path.read_bytes())
    import struct
    import zlib

    header[24] = 4
    header[29:33] = struct.pack(">I", zlib.crc32(bytes(header[12:29])))
    path.write_bytes(bytes(header))
    with pytest.raises(DataError, match=r"grey with 4 bits; save label ids as 8-bit"):
        read_labels(path)


def test_a_jpeg_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no PNG, TIFF or BMP file"):
        read_labels(save(tmp_path / "a.jpg", solid("L", 3)))


def test_voc_palette() -> None:
    palette = voc_palette()
    assert palette[15] == (192, 128, 128)
    assert palette[255] == (224, 224, 192)
    assert palette[:6] == (
        *((0, 0, 0), (128, 0, 0), (0, 128, 0)),
        *((128, 128, 0), (0, 0, 128), (128, 0, 128)),
    )
    assert palette[16:21] == ((0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128))
    assert len(set(palette)) == 256
    assert voc_palette(21) == palette[:21]


def test_palette_png_round_trip_keeps_indices_and_colours(tmp_path: Path) -> None:
    labels = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    path = tmp_path / "a.png"
    write_palette_png(path, labels, voc_palette())
    assert torch.equal(read_labels(path), labels)
    colours = Image.open(path).convert("RGB")
    assert colours.getpixel((15, 0)) == (192, 128, 128)
    assert colours.getpixel((15, 15)) == (224, 224, 192)


def test_a_label_map_says_of_which_image_it_is(tmp_path: Path) -> None:
    path, digest = tmp_path / "a.png", "0123456789abcdef" * 4
    write_palette_png(path, torch.zeros(3, 4, dtype=torch.uint8), voc_palette(), image=digest)
    assert labelled_image(path) == digest
    with Image.open(path) as picture:
        assert picture.info["semisup image"] == digest
    content = path.read_bytes()
    for damaged in (b"", content[:60], b"GIF" + content[3:]):
        path.write_bytes(damaged)
        assert labelled_image(path) is None
    write_palette_png(path, torch.zeros(3, 4, dtype=torch.uint8), voc_palette())
    assert labelled_image(path) == ""
    assert labelled_image(tmp_path / "none.png") is None


def test_short_palette_has_void_at_255(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_palette_png(path, torch.tensor([[1, 7, 255]], dtype=torch.uint8), [(9, 9, 9), RED])
    colours = Image.open(path).convert("RGB")
    assert [colours.getpixel((x, 0)) for x in range(3)] == [RED, (0, 0, 0), (224, 224, 192)]


def test_writing_replaces_whole_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for value in (1, 2):
        write_palette_png(path, torch.full((2, 2), value, dtype=torch.uint8), voc_palette(3))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert read_labels(path).unique().tolist() == [2]
    assert path.stat().st_mode & stat.S_IRUSR
    with pytest.raises(RunError, match="cannot be written"):
        write_palette_png(tmp_path / "none" / "a.png", torch.zeros(1, 1, dtype=torch.uint8), [])


def test_a_png_without_pixels_is_refused(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png", solid("L", 3)).read_bytes()
    place = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:place] + content[-12:])
    for read in (read_rgb, read_labels):
        with pytest.raises(DataError, match=r"a\.png cannot be decoded"):
            read(tmp_path / "a.png")


def test_a_palette_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png", solid("P", 0)).read_bytes()
    palette, pixels = content.index(b"PLTE") - 4, content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:palette] + content[pixels:])
    for read in (read_rgb, read_labels):
        with pytest.raises(DataError, match=r"a\.png has no palette"):
            read(tmp_path / "a.png")
    alphas = struct.pack(">I", 300) + b"tRNS" + bytes(300)
    chunk = alphas + struct.pack(">I", zlib.crc32(alphas[4:]))
    place = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:place] + chunk + content[place:])
    with pytest.raises(DataError, match=r"a\.png cannot be decoded \(palette index"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # the command line does, too
def test_damaged_notes_of_a_sound_picture_are_passed_over(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.jpg", solid("RGB", RED), exif=exif, quality=95)
    content = path.read_bytes()
    entries = content.index(b"Exif") + 14
    path.write_bytes(content[:entries] + b"\xff\xff" + content[entries + 2 :])
    assert pixel(path) == pytest.approx(RED, abs=3)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    for read in (read_rgb, read_labels):
        with pytest.raises(DataError, match=r"a\.png is a pipe; put the picture in its place"):
            read(tmp_path / "a.png")


def test_a_colour_profile_that_ends_too_soon_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (4, 4)))
    content = path.read_bytes()
    profile = b"iCCPname"  # no end of the name, no method: Pillow raises IndexError
    chunk = struct.pack(">I", 4) + profile + struct.pack(">I", zlib.crc32(profile))
    end = content.index(b"IEND") - 4
    path.write_bytes(content[:end] + chunk + content[end:])
    with pytest.raises(DataError, match=r"a\.png cannot be decoded \("):
        read_labels(path)
