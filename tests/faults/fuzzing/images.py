"""Pictures to damage: valid PNG and JPEG files of every kind, and changes that keep their form."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from random import Random

import numpy as np
import tifffile
from fuzzing.mutation import any_change, number
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type of PNG -> samples a pixel."""
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
PASSES = (*ADAM7, (0, 1, 1, 2))
"""Interlaced PNG: first column, first row, step of columns, step of rows of each pass."""

Chunk = tuple[bytes, bytes]


def png(chunks: Sequence[Chunk]) -> bytes:
    """A PNG of `chunks` with the right lengths and checksums."""
    parts = [SIGNATURE]
    for kind, data in chunks:
        parts.append(struct.pack(">I", len(data)) + kind + data)
        parts.append(struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def chunks_of(content: bytes) -> list[Chunk]:
    """The chunks of a valid PNG."""
    chunks, at = [], len(SIGNATURE)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def header(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> Chunk:
    """IHDR."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


def noise_png(
    chance: Random, depth: int, colour: int, interlace: int, transparent: bool = False
) -> bytes:
    """A small valid PNG of random pixels."""
    width, height = chance.randint(1, 12), chance.randint(1, 12)
    passes = PASSES if interlace else ((0, 0, 1, 1),)
    rows = []
    for left, top, across, down in passes:
        columns = len(range(left, width, across))
        row = -(-columns * SAMPLES[colour] * depth // 8)
        for _ in range(len(range(top, height, down)) if columns else 0):
            rows.append(bytes([chance.randrange(5)]) + chance.randbytes(row))
    chunks = [header(width, height, depth, colour, interlace)]
    if colour == 3:
        chunks.append((b"PLTE", chance.randbytes(3 << depth)))
    if transparent and colour in (0, 2, 3):
        chunks.append((b"tRNS", chance.randbytes({0: 2, 2: 6, 3: 1 << depth}[colour])))
    return png([*chunks, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")])


def png_seeds() -> list[bytes]:
    """All colour types, depths, interlace, transparency; an animated one; opaque alpha."""
    chance = Random(0)
    seeds = [
        noise_png(chance, depth, colour, interlace, transparent)
        for colour, depths in DEPTHS.items()
        for depth in depths
        for interlace in (0, 1)
        for transparent in (False, True)
    ]
    frames = [Image.new("L", (9, 7), shade) for shade in (10, 200)]
    return [
        *seeds,
        _encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        _encoded(Image.new("RGBA", (5, 4), (9, 8, 7, 255)), "PNG"),
    ]


def jpeg_seeds() -> list[bytes]:
    """Baseline and progressive, grey, colour and CMYK, with EXIF, several frames, restarts."""
    rows = np.random.default_rng(0).integers(0, 255, (24, 33, 3), dtype=np.uint8)
    colour = Image.fromarray(rows)
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x0128], exif[0x9286] = 6, 72.0, 2, b"ASCII\0\0\0text"
    return [
        _encoded(colour, "JPEG"),
        _encoded(colour, "JPEG", quality=95, subsampling=0, optimize=True),
        _encoded(colour, "JPEG", progressive=True),
        _encoded(colour.convert("L"), "JPEG"),
        _encoded(colour.convert("L"), "JPEG", progressive=True),
        _encoded(colour.convert("CMYK"), "JPEG"),
        _encoded(colour, "JPEG", exif=exif, dpi=(72, 72), comment=b"text"),
        _encoded(colour, "JPEG", restart_marker_rows=1),
        _encoded(colour, "MPO", save_all=True, append_images=[colour], exif=exif),
    ]


def mask_seeds() -> list[bytes]:
    """Masks of two classes: grey, with a palette, indexed grey, in colours, of zeros in 1 bit."""
    labels = np.random.default_rng(0).integers(0, 2, (24, 33), dtype=np.uint8)
    grey, drawn, greys = (Image.fromarray(labels) for _ in range(3))
    drawn.putpalette([0, 0, 0, 128, 0, 0])
    greys.putpalette([1, 1, 1, 0, 0, 0])
    colours = np.array([[128, 0, 0], [224, 224, 192]], np.uint8)[labels]
    pictures = [grey, drawn, greys, Image.fromarray(colours), Image.new("1", (33, 24))]
    return [_encoded(picture, "PNG") for picture in pictures]


def tiff_seeds() -> list[bytes]:
    """Plain and packed, grey, palette, colour and CMYK, 1 and 16 bits, two pages."""
    rows = np.random.default_rng(0).integers(0, 255, (24, 33, 3), dtype=np.uint8)
    colour = Image.fromarray(rows)
    deep = Image.fromarray(rows[..., 0].astype(np.uint16))
    kinds = [colour, *(colour.convert(mode) for mode in ("L", "1", "CMYK", "RGBA")), deep]
    packed = [
        _encoded(colour, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg")
    ]
    pages = _encoded(colour, "TIFF", save_all=True, append_images=[colour])
    return [
        *(_encoded(kind, "TIFF") for kind in (*kinds, colour.quantize(5))),
        *packed,
        pages,
    ]


def deep_tiff_seeds() -> list[bytes]:
    """Four channels of 16 bits: side by side, apart, as pages, packed, in tiles; 8 bits; floats."""
    deep = np.random.default_rng(0).integers(0, 2**16, (24, 33, 4)).astype(np.uint16)
    apart = np.moveaxis(deep, 2, 0)
    forms: tuple[tuple[np.ndarray, dict[str, object]], ...] = (
        (deep, {"photometric": "rgb"}),
        (deep, {"photometric": "minisblack", "planarconfig": "contig", "byteorder": ">"}),
        (apart, {"photometric": "minisblack", "planarconfig": "separate"}),
        (apart, {"photometric": "minisblack"}),
        (apart, {"imagej": True, "metadata": {"axes": "CYX"}}),
        (apart, {"ome": True, "metadata": {"axes": "CYX"}}),
        (deep, {"photometric": "rgb", "tile": (16, 16), "compression": "deflate"}),
        (deep, {"photometric": "rgb", "compression": "lzw", "predictor": True}),
        ((deep[..., :2] >> 8).astype(np.uint8), {"planarconfig": "contig"}),
        (deep[..., 0], {}),
        (deep.astype(np.float32), {"photometric": "rgb"}),
    )
    seeds = []
    for values, options in forms:
        file = io.BytesIO()
        tifffile.imwrite(file, values, **{"photometric": "minisblack", **options})
        seeds.append(file.getvalue())
    return seeds


def array_seeds() -> list[bytes]:
    """Arrays of NumPy: HW, HWC and CHW, of 8 and 16 bits, of either order, of other types."""
    deep = np.random.default_rng(0).integers(0, 2**16, (24, 33, 4)).astype(np.uint16)
    arrays = (deep, np.moveaxis(deep, 2, 0), deep[..., 0], np.asfortranarray(deep))
    others = (deep.astype(">u2"), (deep >> 8).astype(np.uint8), deep / 2.0, deep[None], deep[:0])
    seeds = []
    for values in (*arrays, *others):
        file = io.BytesIO()
        np.save(file, values)
        seeds.append(file.getvalue())
    return seeds


def deep_png_seeds() -> list[bytes]:
    """PNG of 16 bits: grey, colour, with alpha, interlaced or not."""
    chance = Random(0)
    kinds = [(colour, interlace) for colour in (0, 2, 4, 6) for interlace in (0, 1)]
    return [noise_png(chance, 16, colour, interlace) for colour, interlace in kinds]


def bmp_seeds() -> list[bytes]:
    """Grey, palette, colour, 1 bit, with alpha."""
    rows = np.random.default_rng(0).integers(0, 255, (24, 33, 3), dtype=np.uint8)
    colour = Image.fromarray(rows)
    kinds = [colour, colour.quantize(5), *(colour.convert(mode) for mode in ("L", "1", "RGBA"))]
    return [_encoded(kind, "BMP") for kind in kinds]


def webp_seeds() -> list[bytes]:
    """With and without loss, with alpha, of two pictures."""
    rows = np.random.default_rng(0).integers(0, 255, (24, 33, 3), dtype=np.uint8)
    colour = Image.fromarray(rows)
    return [
        _encoded(colour, "WEBP"),
        _encoded(colour, "WEBP", lossless=True),
        _encoded(colour.convert("RGBA"), "WEBP", lossless=True),
        _encoded(colour, "WEBP", save_all=True, append_images=[Image.new("RGB", (33, 24))]),
    ]


def change_png(chance: Random, content: bytes) -> bytes:
    """Change chunks and pixels, mostly with checksums that are right again."""
    chunks = chunks_of(content)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(chunks))
        kind, data = chunks[at]
        change = chance.randrange(7)
        if change == 0 or kind == b"IHDR":
            chunks[at] = kind, _change_header(chance, data)
        elif change == 1:
            chunks[at] = kind, any_change(chance, data)
        elif change == 2:
            chunks.insert(chance.randrange(len(chunks)), chunks[at])
        elif change == 3 and len(chunks) > 1:
            del chunks[at]
        elif change == 4:
            chunks.insert(chance.randrange(1, len(chunks) + 1), _extra_chunk(chance))
        elif kind == b"IDAT":
            chunks[at] = kind, _change_pixels(chance, data)
        else:
            chance.shuffle(chunks)
    changed = png(chunks)
    return any_change(chance, changed) if chance.random() < 0.2 else changed


def _change_header(chance: Random, data: bytes) -> bytes:
    if len(data) != 13:
        return any_change(chance, data)
    fields = list(struct.unpack(">IIBBBBB", data))
    at = chance.randrange(7)
    fields[at] = number(chance) % (1 << 32) if at < 2 else chance.choice((0, 1, 2, 3, 4, 6, 8, 16))
    return struct.pack(">IIBBBBB", *fields)


def _change_pixels(chance: Random, data: bytes) -> bytes:
    try:
        rows = zlib.decompress(data)
    except zlib.error:
        return any_change(chance, data)
    return zlib.compress(any_change(chance, rows), chance.randrange(10))


def _extra_chunk(chance: Random) -> Chunk:
    """A chunk that decoders read on the side, with sound or unsound content."""
    zeros = zlib.compress(bytes(1 << chance.randrange(22)))
    extras = (
        (b"tRNS", chance.randbytes(chance.choice((0, 1, 2, 6, 256, 300)))),
        (b"PLTE", chance.randbytes(chance.choice((0, 1, 3, 6, 768, 900)))),
        (b"iCCP", b"profile\0\0" + zeros),
        (b"zTXt", b"key\0\0" + zeros),
        (b"iTXt", b"key\0\1\0en\0key\0" + zeros),
        (b"tEXt", b"key\0" + chance.randbytes(9)),
        (b"eXIf", b"MM\0*" + chance.randbytes(40)),
        (b"acTL", struct.pack(">II", number(chance) % 2**32, number(chance) % 2**32)),
        (b"fcTL", chance.randbytes(chance.choice((0, 13, 26)))),
        (b"fdAT", chance.randbytes(chance.choice((0, 3, 30)))),
        (b"gAMA", chance.randbytes(chance.choice((0, 3, 4)))),
        (b"cHRM", chance.randbytes(chance.choice((0, 31, 32)))),
        (b"sRGB", chance.randbytes(chance.choice((0, 1)))),
        (b"pHYs", chance.randbytes(chance.choice((0, 8, 9)))),
        (b"IDAT", zeros),
        (b"IEND", b""),
        (chance.randbytes(4), chance.randbytes(20)),
    )
    return chance.choice(extras)


def large_png(chance: Random) -> bytes:
    """A file of some hundred kilobytes that claims, or really holds, very many pixels."""
    depth, colour = chance.choice(((1, 0), (8, 0), (8, 2), (8, 3), (8, 6)))
    width, height = chance.choice(((9000, 9000), (13000, 13000), (65000, 2700), (30000, 30000)))
    row = 1 + -(-width * SAMPLES[colour] * depth // 8)
    held = height if chance.random() < 0.5 and row * height < 2**28 else 10
    squeeze = zlib.compressobj()
    data = b"".join(squeeze.compress(bytes(row)) for _ in range(held)) + squeeze.flush()
    palette = [(b"PLTE", bytes(768))] if colour == 3 else []
    top = header(width, height, depth, colour, chance.choice((0, 0, 1)))
    return png([top, *palette, (b"IDAT", data), (b"IEND", b"")])


def change_jpeg(chance: Random, content: bytes) -> bytes:
    """Change segments before the scan, mostly with lengths that are right again."""
    segments, scan = segments_of(content)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(segments))
        marker, data = segments[at]
        change = chance.randrange(6)
        if 0xC0 <= marker <= 0xC2 and change < 4 and len(data) > 5:
            segments[at] = marker, _change_frame(chance, data)
        elif change < 3:
            segments[at] = marker, any_change(chance, data)[:65533]
        elif change == 3:
            segments.insert(chance.randrange(len(segments)), segments[at])
        elif change == 4 and len(segments) > 1:
            del segments[at]
        else:
            segments.insert(chance.randrange(len(segments)), _extra_segment(chance))
    if chance.random() < 0.3:
        scan = any_change(chance, scan)
    return jpeg(segments, scan)


def jpeg(segments: Sequence[tuple[int, bytes]], scan: bytes) -> bytes:
    """A JPEG of segments and the data from the first start of scan on."""
    head = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments
    )
    return b"\xff\xd8" + head + scan


def segments_of(content: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The segments of a valid JPEG before its first scan, and the rest."""
    segments, at = [], 2
    while content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        segments.append((content[at + 1], content[at + 4 : at + 2 + length]))
        at += 2 + length
    return segments, content[at:]


def _change_frame(chance: Random, data: bytes) -> bytes:
    """Another depth, height, width, number or sampling of components."""
    changed = bytearray(data)
    if chance.random() < 0.4:
        changed[1:5] = struct.pack(">HH", number(chance) % 65536, number(chance) % 65536)
    else:
        changed[chance.randrange(len(changed))] = chance.choice((0, 1, 2, 3, 4, 8, 12, 0x11, 0xFF))
    return bytes(changed)


def _extra_segment(chance: Random) -> tuple[int, bytes]:
    length = chance.choice((0, 1, 12, 200))
    heads = (b"Exif\0\0II*\0\x08\0\0\0", b"Exif\0\0MM\0*", b"ICC_PROFILE\0\x01\x02", b"MPF\0II*\0")
    extras = (
        *((0xE1, head + chance.randbytes(length)) for head in heads[:2]),
        *((0xE2, head + chance.randbytes(length)) for head in heads[2:]),
        (0xEE, b"Adobe" + chance.randbytes(chance.choice((2, 7, 8)))),
        (0xED, b"Photoshop 3.0\x008BIM" + chance.randbytes(length)),
        (0xE0, b"JFIF\0" + chance.randbytes(chance.choice((0, 2, 9)))),
        (0xC4, chance.randbytes(length)),
        (0xDB, chance.randbytes(length)),
        (0xDD, chance.randbytes(2)),
        (chance.randrange(0xC0, 0xFF), chance.randbytes(length)),
    )
    return chance.choice(extras)


def large_jpeg(chance: Random) -> bytes:
    """A small picture that claims to be a very large one."""
    segments, scan = segments_of(chance.choice(jpeg_seeds()))
    size = chance.choice(((9000, 9000), (13000, 13000), (65500, 2700), (30000, 30000)))
    large = [
        (marker, data[:1] + struct.pack(">HH", *size) + data[5:])
        if marker in (0xC0, 0xC1, 0xC2)
        else (marker, data)
        for marker, data in segments
    ]
    return jpeg(large, scan)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()
