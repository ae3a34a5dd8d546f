"""Large images: tiles that cover each pixel once, equal to the whole image, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from semisup.evaluation import tiles
from semisup.evaluation.inference import Inference
from semisup.evaluation.tiles import is_tiled, label_images, tiles_of
from semisup.methods.gan_segmentation import ClassLogits
from semisup.models.unet import UNet
from semisup.settings import EvalSettings

CPU = torch.device("cpu")


def noise(height: int, width: int, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, height // 8 + 1, width // 8 + 1, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (smooth * 255).to(torch.uint8)


def unet() -> nn.Module:
    torch.manual_seed(0)
    return UNet(4, width=2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 384 pixels that share 128 on each side: more than the U-Net's receptive field."""
    monkeypatch.setattr(tiles, "SIDE", 384)
    monkeypatch.setattr(tiles, "MARGIN", 128)


@pytest.mark.parametrize("size", [(1, 1), (2048, 2048), (300, 9000), (2049, 4097), (6000, 6000)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_each_pixel_is_of_one_tile_which_sees_its_surroundings(
    size: tuple[int, int], scale: float
) -> None:
    found = tiles_of(*size, (scale,))
    pixels = sum(
        (rows.kept_last - rows.kept_first) * (columns.kept_last - columns.kept_first)
        for rows, columns in found
    )
    assert pixels == size[0] * size[1]
    for spans, length in zip(zip(*found, strict=True), size, strict=True):
        distinct = sorted(set(spans))
        ends = [0, *(span.kept_last for span in distinct)]
        assert [span.kept_first for span in distinct] == ends[:-1]
        assert ends[-1] == length
        for span in distinct:
            assert span.first == max(0, span.kept_first - tiles.MARGIN / scale)
            assert span.last >= min(length, span.kept_last + tiles.MARGIN / scale)
            assert span.first % tiles.STEP == (length - span.last) % tiles.STEP == 0
    largest = max((r.last - r.first) * (c.last - c.first) for r, c in found)
    assert largest * scale**2 <= tiles.SIDE**2


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("size", "settings"),
    [((300, 530), {}), ((300, 530), {"flip": True}), ((602, 1010), {"scales": [0.5]})],
)
def test_tiles_give_what_the_whole_image_gives(
    size: tuple[int, int], settings: dict[str, Any]
) -> None:
    images = noise(*size, count=1 if settings else 2)
    inference = Inference(unet(), EvalSettings(**settings), CPU)
    whole = inference.logits(images).softmax(dim=1)
    assert is_tiled(inference, images)
    labels, probabilities, _ = label_images(inference, images, torch.float32)
    assert probabilities is not None
    assert float((probabilities - whole).abs().max()) < 1e-5
    assert torch.equal(labels, probabilities.argmax(dim=1).byte())
    two = whole.topk(2, dim=1).values
    clear = two[:, 0] - two[:, 1] > 1e-4
    assert torch.equal(labels[clear], whole.argmax(dim=1).byte()[clear])
    assert len(labels.unique()) > 1


def valid_unet() -> UNet:
    torch.manual_seed(0)
    return UNet(4, width=2, padding="valid")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "settings", [{}, {"flip": True, "mode": "slide", "window": [384, 384], "overlap": 0.0}]
)
def test_tiles_of_valid_convolutions_give_what_the_whole_image_gives(
    settings: dict[str, Any],
) -> None:
    images = noise(300, 530)
    network = valid_unet()
    whole = Inference(network, EvalSettings(flip=settings.get("flip", False)), CPU).logits(images)
    inference = Inference(network, EvalSettings(**settings), CPU)
    assert is_tiled(inference, images)
    probabilities = label_images(inference, images, torch.float32).probabilities
    assert probabilities is not None
    assert float((probabilities - whole.softmax(dim=1)).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("window", "overlap", "flip", "wrapped"),
    [
        ([388, 388], 0.0, False, False),
        ([64, 64], 0.0, False, True),
        ([37, 90], 0.5, False, False),
        ([99, 60], 0.2, True, True),
    ],
)
def test_windows_of_valid_convolutions_give_what_the_whole_image_gives(
    window: list[int], overlap: float, flip: bool, wrapped: bool
) -> None:
    network: nn.Module = ClassLogits(valid_unet()) if wrapped else valid_unet()
    images = noise(131, 117)
    slid = EvalSettings(mode="slide", window=window, overlap=overlap, flip=flip)
    whole = Inference(network, EvalSettings(flip=flip), CPU).logits(images).softmax(dim=1)
    found = Inference(network, slid, CPU).logits(images).softmax(dim=1)
    assert float((found - whole).abs().max()) < 1e-5
    assert float(whole.std()) > 1e-2


def test_an_image_that_fits_is_seen_whole() -> None:
    images = noise(70, 90)
    inference = Inference(unet(), EvalSettings(), CPU)
    labels, probabilities, _ = label_images(inference, images, torch.float32)
    assert not is_tiled(inference, images)
    assert probabilities is not None
    assert torch.equal(probabilities, inference.logits(images).softmax(dim=1))
    assert torch.equal(labels, probabilities.argmax(dim=1).byte())


@pytest.mark.usefixtures("small")
def test_no_forward_pass_is_larger_than_a_tile() -> None:
    class Watched(nn.Module):
        largest = 0

        def forward(self, image: Tensor) -> Tensor:
            self.largest = max(self.largest, image.shape[-2] * image.shape[-1])
            return image

    settings: list[dict[str, Any]] = [{}, {"scales": [0.5]}, {"mode": "slide", "window": [99, 99]}]
    for chosen in settings:
        network = Watched()
        label_images(Inference(network, EvalSettings(**chosen), CPU), noise(500, 900))
        assert 0 < network.largest <= 384**2


PROGRAM = """
import sys
from pathlib import Path
import torch
from PIL import Image
from semisup.system.memory import peak_mebibytes
from semisup.evaluation.inference import Inference
from semisup.evaluation.predict import predict_files
from semisup.evaluation.folders.prediction_folder import PredictionFolder
from semisup.evaluation.folders.sources import find_images
from semisup.models.unet import UNet
from semisup.settings import EvalSettings

torch.set_num_threads(1)
side, folder = int(sys.argv[1]), Path(sys.argv[2])
Image.effect_noise((side, side), 99).convert("RGB").save(folder / "a.png", compress_level=1)
found = find_images([folder / "a.png"])
colours = [(label, 0, 0) for label in range(21)]
inference = Inference(UNet(21, width=2), EvalSettings(), torch.device("cpu"))
done = predict_files(
    inference, found.images, PredictionFolder(folder / "out", {}, found.names),
    [str(label) for label in range(21)], colours, with_overlay=True,
)
assert (done.written, done.bad) == (1, ()), done
assert Image.open(folder / "out" / "a.png").size == (side, side)
print(round(peak_mebibytes()))
"""


def peak_mebibytes(side: int, folder: Any) -> int:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(side), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return int(done.stdout)


@pytest.mark.slow
def test_a_picture_of_36_million_pixels_takes_bounded_memory(tmp_path: Any) -> None:
    """A forward pass on the whole would hold 21 x 36 million logits alone: 2.9 GiB."""
    small, large = (peak_mebibytes(side, tmp_path / str(side)) for side in (2048, 6000))
    pixels = (6000**2 - 2048**2) / 2**20
    assert large - small < 20 * pixels  # bytes a pixel: the picture, its overlay, copies of both
