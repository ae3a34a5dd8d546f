"""Images in memory: every stated form gives the same labels; all others are refused in one line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from semisup.errors import DataError
from semisup.evaluation.in_memory import as_batch
from semisup.evaluation.inference import Inference
from semisup.evaluation.predict import Predictor
from semisup.metrics.confusion import label_map
from semisup.ops.pixels import ImageKind
from semisup.settings import EvalSettings

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
CHW = torch.from_numpy(PIXELS).permute(2, 0, 1)


@pytest.fixture
def inference(colours: Callable[..., Any]) -> Inference:
    return Inference(colours(), EvalSettings(), torch.device("cpu"))


@pytest.fixture
def predictor(inference: Inference) -> Predictor:
    return Predictor(inference, ("a", "b", "c"), ((0, 0, 0),) * 3)


def test_every_form_gives_the_same_labels(predictor: Predictor, inference: Inference) -> None:
    expected = label_map(inference(CHW[None]))[0]
    assert len(expected.unique()) > 1
    for image in (PIXELS, Image.fromarray(PIXELS), PIXELS[::-1][::-1], np.asfortranarray(PIXELS)):
        labels, probabilities = predictor(image), predictor.probabilities(image)
        assert (type(labels), labels.dtype) == (np.ndarray, np.uint8)
        assert np.array_equal(labels, expected.numpy())
        assert probabilities.shape == (3, 9, 12)
        assert np.array_equal(probabilities.argmax(0), labels)
    for image, shape in ((CHW, (9, 12)), (CHW.contiguous(), (9, 12)), (CHW[None], (1, 9, 12))):
        labels = predictor(image)
        assert isinstance(labels, Tensor)
        assert torch.equal(labels, expected.expand(shape))
    both = predictor(np.stack([PIXELS, PIXELS[:, ::-1]]))
    assert both.shape == (2, 9, 12)
    assert np.array_equal(both[0], expected.numpy())
    assert np.array_equal(both[1], predictor(np.ascontiguousarray(PIXELS[:, ::-1])))


def test_an_inference_takes_one_image_or_a_batch(inference: Inference) -> None:
    assert torch.equal(inference(CHW), inference(CHW[None])[0])
    assert torch.equal(inference.logits(CHW), inference.logits(CHW[None])[0])


@pytest.mark.parametrize(
    "images", [CHW / 255, CHW[None].double(), CHW[0], CHW[None, None], CHW[:, :0]]
)
def test_an_inference_refuses_what_would_be_wrong(images: Tensor, inference: Inference) -> None:
    for call in (inference, inference.logits):
        with pytest.raises(
            DataError, match=r"^images: cannot predict torch\.\w+ .*8-bit RGB, .* 0\.\.255"
        ):
            call(images)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (PIXELS / 255, r"ndarray float64 .*uint8 RGB, 0\.\.255.*\(image \* 255\)\.round\(\)"),
        (CHW / 255, r"Tensor torch\.float32 .*uint8 RGB, 0\.\.255"),
        (PIXELS.astype(np.float32), "ndarray float32"),
        (PIXELS.astype(np.int64), "ndarray int64"),
        (PIXELS.astype(np.uint16), "ndarray uint16"),
        (PIXELS[..., 0], r"of shape \(9, 12\)"),
        (PIXELS[..., :2], r"of shape \(9, 12, 2\)"),
        (np.moveaxis(PIXELS, -1, 0), r"shape \(3, 9, 12\).*np\.moveaxis\(image, -3, -1\)"),
        (CHW.movedim(0, -1), r"shape \(9, 12, 3\).*image\.movedim\(-1, -3\)"),
        (PIXELS[:0], r"of shape \(0, 12, 3\)"),
        (CHW[None, None], r"of shape \(1, 1, 3, 9, 12\)"),
        ([[0, 0, 0]], "cannot label a list"),
        (None, "cannot label a NoneType"),
        (Image.new("I;16", (3, 3)), "mode I;16"),
        (Image.new("F", (3, 3)), "mode F"),
        (Image.new("RGB", (0, 3)), r"size \(0, 3\)"),
        (Image.new("RGBA", (3, 3)), "transparent pixels; flatten"),
    ],
)
def test_all_else_is_refused_in_one_line(image: Any, reason: str, predictor: Predictor) -> None:
    for call in (predictor, predictor.probabilities):
        with pytest.raises(DataError, match=rf"^image: .*{reason}|^image: has {reason}") as caught:
            call(image)
        assert "\n" not in str(caught.value)


def test_a_file_of_16_bits_is_not_cut_to_8(tmp_path: Path) -> None:
    pixels = b"".join(b"\0" + bytes(range(12)) for _ in range(2))
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")):
        sums = struct.pack(">I", zlib.crc32(kind + data))
        content += struct.pack(">I", len(data)) + kind + data + sums
    (tmp_path / "a.png").write_bytes(content)
    with (
        Image.open(tmp_path / "a.png") as picture,
        pytest.raises(DataError, match=r"mode RGB and size \(2, 2\) with 16 bits a channel"),
    ):
        as_batch(picture)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LA", "YCbCr"])
def test_pictures_of_other_colours_are_read_as_files_are(mode: str) -> None:
    picture = Image.fromarray(PIXELS).convert(mode)
    expected = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(as_batch(picture)[0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_a_viewer_shows_it(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        viewed = torch.from_numpy(np.array(ImageOps.exif_transpose(picture))).permute(2, 0, 1)
        assert torch.equal(as_batch(picture)[0], viewed)
        assert torch.equal(as_batch(picture, apply_exif=False)[0], CHW)


DEEP = ImageKind(4, 16)


def test_big_endian_values_are_those_of_the_machine() -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (5, 6, 4)).astype(np.uint16)
    assert torch.equal(as_batch(values.astype(">u2"), DEEP), as_batch(values, DEEP))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((5, 6, 4)), '(image * 65535).round().astype("uint16").'),
        (torch.zeros(4, 5, 6), "(image * 65535).round().to(torch.uint16)."),
        (np.zeros((5, 6, 4), np.int16), 'turned into it by image.astype("uint16").'),
        (Image.new("RGBA", (6, 5)), "cannot label a picture of mode RGBA of shape (6, 5)."),
    ],
)
def test_what_is_refused_says_how_it_is_converted(image: object, said: str) -> None:
    with pytest.raises(DataError) as caught:
        as_batch(image, DEEP)
    assert said in str(caught.value)
