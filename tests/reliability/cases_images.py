"""Pictures that are damaged, of another kind, or not there."""

from __future__ import annotations

import builtins
import errno
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import read, refused
from click.testing import Result
from PIL import Image, ImageOps
from places import Call, Place, cut, noise

from semisup.data.formats.pictures import read_rgb
from semisup.data.sets.folder import Folder
from semisup.system.memory import forget_peak, peak_mebibytes

MEND = "mend or remove"


def chunk(kind: bytes, content: bytes) -> bytes:
    sums = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + sums


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header announces what it likes; `chunks` follow it."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def bounded(place: Place) -> Call:
    """`data verify`, and that it took no more memory than a small picture does."""
    forget_peak()
    before = peak_mebibytes()

    def then(_: Result) -> None:
        assert peak_mebibytes() - before < 200

    return Call(place.verify(), then)


def shows(place: Place, path: Path, expected: torch.Tensor, tolerance: int = 0) -> Call:
    """`data verify`, and that the picture in `path` is read as `expected` (3HW)."""

    def then(_: Result) -> None:
        difference = (read_rgb(path).int() - expected.int()).abs()
        assert int(difference.max()) <= tolerance

    return Call(place.verify(), then)


def forbid(place: Place, path: Path) -> None:
    """Take the right to read `path`; root has it whatever the mode says, so it is made up there."""
    path.chmod(0)
    whole = builtins.open

    def guarded(name: Any, *rest: Any, **options: Any) -> Any:
        if not isinstance(name, int) and os.fsdecode(name) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return whole(name, *rest, **options)

    place.patch.setattr(builtins, "open", guarded)


@refused("JPEG cut short", "images/t0.jpg cannot be decoded", MEND)
def truncated_jpeg(place: Place) -> list[object]:
    cut(place.replace_image(Image.fromarray(noise(40, 50)), ".jpg"))
    return place.verify()


@refused("PNG cut short", "images/t0.png cannot be decoded", MEND)
def truncated_png(place: Place) -> list[object]:
    cut(place.image())
    return place.verify()


@refused("PNG cut short, met while training", "images/t", "cannot be decoded", MEND)
def truncated_png_while_training(place: Place) -> list[object]:
    for number in range(4):
        cut(place.image(f"t{number}"))
    return place.train("data.workers=1")


@refused("PNG with a wrong checksum", "images/t0.png is no JPEG, PNG, TIFF, BMP or WebP file", MEND)
def wrong_checksum(place: Place) -> list[object]:
    content = bytearray(place.image().read_bytes())
    content[content.index(b"IHDR") + 14] ^= 1
    place.image().write_bytes(content)
    return place.verify()


@refused("image of no bytes", "images/t0.png is no JPEG, PNG, TIFF, BMP or WebP file", MEND)
def empty_image(place: Place) -> list[object]:
    place.image().write_bytes(b"")
    return place.verify()


@refused(
    "web page saved as .jpg", "images/t0.jpg is no JPEG, PNG, TIFF, BMP or WebP file", "convert it"
)
def page_as_jpeg(place: Place) -> list[object]:
    place.image().unlink()
    place.image().with_suffix(".jpg").write_text("<!DOCTYPE html><title>404</title>")
    return place.verify()


@refused(
    "GIF renamed to .png", "images/t0.png is no JPEG, PNG, TIFF, BMP or WebP file", "convert it"
)
def gif_as_png(place: Place) -> list[object]:
    Image.fromarray(noise(40, 50)).save(place.image(), format="GIF")
    return place.verify()


@refused("folder where an image is expected", "images/t0.png is a folder", "put the picture")
def folder_as_image(place: Place) -> list[object]:
    place.image().unlink()
    place.image().mkdir()
    return place.verify()


@refused("image folder with a broken link", "images/gone.png is a broken link", "mend or remove")
def broken_link(place: Place) -> list[object]:
    (place.data / "images" / "gone.png").symlink_to(place.root / "nowhere.png")
    return place.verify()


@refused("links that go round in a circle", "images/round.png is a broken link", "mend or remove")
def circle_of_links(place: Place) -> list[object]:
    one, two = (place.data / "images" / name for name in ("round.png", "trip.png"))
    one.symlink_to(two)
    two.symlink_to(one)
    return place.verify()


@refused(
    "line break in the name of a file",
    "images/t 0.png is no JPEG, PNG, TIFF, BMP or WebP file",
    MEND,
)
def line_break_in_a_name(place: Place) -> list[object]:
    (place.data / "images" / "t\n0.png").write_bytes(b"")
    return ["data", "verify", "folder", "--subset", "all", "--data-root", place.data]


@refused("image that one may not read", "images/t0.png cannot be read (Permission denied)", "check")
def forbidden_image(place: Place) -> list[object]:
    forbid(place, place.image())
    return place.verify()


@refused("two images of one id", "t0.jpeg and t0.png have the same id", "rename one")
def two_of_one_id(place: Place) -> list[object]:
    Image.fromarray(noise(40, 50)).save(place.image().with_suffix(".jpeg"))
    return place.verify()


@refused("16 bits grey", "images/t0.png has 16 bits a channel", "save it with 8 bits")
def sixteen_bit_grey(place: Place) -> list[object]:
    place.replace_image(Image.fromarray(noise(40, 50, 1).astype(np.uint16) * 256))
    return place.verify()


@refused("16 bits a colour", "images/t0.png has 16 bits a channel", "save it with 8 bits")
def sixteen_bit_colour(place: Place) -> list[object]:
    rows = (b"\0" + bytes(50 * 6)) * 40
    content = png(50, 40, chunk(b"IDAT", zlib.compress(rows)), depth=16)
    place.image().write_bytes(content)
    return place.verify()


@refused("transparent pixels", "images/t0.png has transparent pixels", "flatten it")
def transparent(place: Place) -> list[object]:
    place.replace_image(Image.fromarray(noise(40, 50, 4), "RGBA"))
    return place.verify()


@read("CMYK JPEG", "read: its colours as RGB")
def cmyk(place: Place) -> Call:
    picture = Image.new("CMYK", (50, 40), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    path = place.replace_image(picture, ".jpg", quality=95)
    red = torch.tensor([255, 0, 0]).view(3, 1, 1).expand(3, 40, 50)
    return shows(place, path, red, tolerance=8)


@read("grey JPEG", "read: three equal channels")
def grey(place: Place) -> Call:
    picture = Image.new("L", (50, 40), 77)
    path = place.replace_image(picture, ".jpg", quality=95)
    return shows(place, path, torch.full((3, 40, 50), 77), tolerance=2)


@read("palette PNG as an image", "read: the colours, not the indices")
def palette_image(place: Place) -> Call:
    colours = torch.from_numpy(noise(40, 50)).permute(2, 0, 1) // 128 * 128
    picture = Image.fromarray(colours.permute(1, 2, 0).numpy())
    return shows(place, place.replace_image(picture.quantize(8)), colours)


@read("JPEG with an EXIF orientation", "read: as it is stored, as its mask is")
def exif_orientation(place: Place) -> Call:
    picture = Image.new("RGB", (50, 40), (9, 90, 200))
    path = place.replace_image(picture, ".jpg", exif=turned(6), quality=95)
    stored = torch.tensor([9, 90, 200]).view(3, 1, 1).expand(3, 40, 50)
    return shows(place, path, stored, tolerance=3)


def turned(orientation: int) -> Image.Exif:
    """The note of a camera that was held otherwise."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def drawn_upright(place: Place, suffix: str, orientation: int) -> Call:
    """`data verify` of a photograph that lies on its side, with a mask as a viewer shows it."""
    picture = Image.fromarray(noise(50, 40))
    place.replace_image(picture, suffix, exif=turned(orientation))

    def then(_: Result) -> None:
        data = Folder(place.data, "train")
        image, mask = data.pair(data.index("t0"))
        with Image.open(data.image_path(data.index("t0"))) as stored:
            viewed = torch.from_numpy(np.array(ImageOps.exif_transpose(stored)))
        assert torch.equal(image, viewed.permute(2, 0, 1))
        assert mask.shape == image.shape[-2:] == (40, 50)

    return Call(place.verify(), then)


@read("JPEG that lies on its side, its mask drawn upright", "read: as a viewer shows it")
def exif_jpeg_drawn_upright(place: Place) -> Call:
    return drawn_upright(place, ".jpg", 6)


@read("PNG that lies on its other side, its mask drawn upright", "read: as a viewer shows it")
def exif_png_drawn_upright(place: Place) -> Call:
    return drawn_upright(place, ".png", 8)


@read("JPEG mirrored and on its side, its mask drawn upright", "read: as a viewer shows it")
def exif_mirrored_drawn_upright(place: Place) -> Call:
    return drawn_upright(place, ".jpg", 5)


CHOICE = 'data.exif = "apply"'


@refused("JPEG upside down by its EXIF", "t0.jpg has the EXIF orientation 3", CHOICE)
def exif_upside_down(place: Place) -> list[object]:
    place.replace_image(Image.fromarray(noise(40, 50)), ".jpg", exif=turned(3))
    return place.verify()


@refused("square PNG on its side by its EXIF", "t0.png has the EXIF orientation 6", CHOICE)
def exif_square(place: Place) -> list[object]:
    place.replace_image(Image.fromarray(noise(40, 40)), exif=turned(6))
    Image.new("L", (40, 40), 1).save(place.mask())
    return place.verify()


@refused("mirrored JPEG, met while training", "has the EXIF orientation 2", CHOICE)
def exif_mirrored_while_training(place: Place) -> list[object]:
    for number in range(4):
        place.image(f"t{number}").unlink()
        path = place.image(f"t{number}").with_suffix(".jpg")
        Image.fromarray(noise(40, 50)).save(path, exif=turned(2))
    return place.train()


@read("JPEG upside down, exif = apply", "read: as a viewer shows it")
def exif_upside_down_applied(place: Place) -> Call:
    place.replace_image(Image.fromarray(noise(40, 50)), ".jpg", exif=turned(3))
    arguments = [*place.verify(), "--option", "exif=apply"]

    def then(_: Result) -> None:
        data = Folder(place.data, "train", exif="apply")
        stored = read_rgb(data.image_path(data.index("t0")))
        assert torch.equal(data.image(data.index("t0")), stored.rot90(2, (-2, -1)))

    return Call(arguments, then)


@refused("EXIF applied against the size of a mask", "t0.png: the mask is 40x50", "EXIF orientation")
def exif_against_the_mask(place: Place) -> list[object]:
    place.replace_image(Image.fromarray(noise(40, 50)), ".jpg", exif=turned(6))
    return [*place.verify(), "--option", "exif=apply"]


@read("image of 1 x 1 pixel", "read: trained on and scored, its crop being mostly padding")
def one_pixel(place: Place) -> Call:
    for name in ("t0", "t1", "t2", "t3", "v0"):
        Image.fromarray(noise(1, 1)).save(place.image(name))
        Image.new("L", (1, 1), 1).save(place.mask(name))

    def then(result: Result) -> None:
        assert "folder val, 2 images" in result.stdout

    return Call(place.train(), then)


@refused("PNG whose header says 30,000 x 30,000", "images/t0.png has too many pixels", "tiles")
def huge_png(place: Place) -> Call:
    rows = zlib.compress(bytes(90_001 * 50), 1)
    place.image().write_bytes(png(30_000, 30_000, chunk(b"IDAT", rows)))
    return bounded(place)


@refused("JPEG whose header says 65,000 x 65,000", "images/t0.jpg has too many pixels", "tiles")
def huge_jpeg(place: Place) -> Call:
    path = place.replace_image(Image.fromarray(noise(40, 50)), ".jpg")
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    path.write_bytes(content)
    return bounded(place)


@refused("PNG whose comment unpacks to 200 MB", "images/t0.png cannot be decoded", MEND)
def bomb_in_a_comment(place: Place) -> Call:
    packer = zlib.compressobj(1)  # in pieces: this process must not have had that memory either
    packed = b"".join([packer.compress(bytes(10**6)) for _ in range(200)] + [packer.flush()])
    comment = b"Comment\0\0" + packed
    place.image().write_bytes(png(50, 40, chunk(b"zTXt", comment)))
    return bounded(place)


def lossless(place: Place, suffix: str, **options: object) -> Call:
    """`data verify`, and that a picture of another format is read to the bit."""
    values = noise(40, 50)
    path = place.replace_image(Image.fromarray(values), suffix, **options)
    return shows(place, path, torch.from_numpy(values).permute(2, 0, 1))


@read("TIFF image", "read: its pixels")
def tiff(place: Place) -> Call:
    return lossless(place, ".tif", compression="tiff_lzw")


@read("BMP image", "read: its pixels")
def bmp(place: Place) -> Call:
    return lossless(place, ".BMP")


@read("WebP image", "read: its pixels")
def webp(place: Place) -> Call:
    return lossless(place, ".webp", lossless=True)


@refused("TIFF image of 16 bits", "images/t0.tif is 1 channel of 16 bits", "convert it")
def tiff_of_16_bits(place: Place) -> list[object]:
    place.replace_image(Image.fromarray(noise(40, 50, 1).astype(np.uint16) * 256), ".tif")
    return place.verify()


@refused("TIFF image of floats", "images/t0.tif holds values of the type float32", "uint8")
def tiff_of_floats(place: Place) -> list[object]:
    place.replace_image(Image.fromarray(noise(40, 50, 1).astype(np.float32)), ".tif")
    return place.verify()


@refused("TIFF image of two pages", "images/t0.tif holds 2 pictures", "a file of its own")
def tiff_of_two_pages(place: Place) -> list[object]:
    pages = [Image.fromarray(noise(40, 50)) for _ in range(2)]
    place.replace_image(pages[0], ".tif", save_all=True, append_images=pages[1:])
    return place.verify()


@refused("TIFF image cut short", "images/t0.tif cannot be decoded", MEND)
def truncated_tiff(place: Place) -> list[object]:
    cut(place.replace_image(Image.fromarray(noise(40, 50)), ".tif"), 0.6)
    return place.verify()
