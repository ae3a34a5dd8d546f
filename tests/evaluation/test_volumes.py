"""Slices of a volume, labelled by a network that sees blocks of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from semisup.data.sets.stack import Stack
from semisup.errors import DataError
from semisup.evaluation.evaluate import evaluate
from semisup.evaluation.folders.prediction_folder import PredictionFolder
from semisup.evaluation.folders.sources import find_images
from semisup.evaluation.inference import slide
from semisup.evaluation.predict import Labelled, predict_files
from semisup.evaluation.volumes import SliceFiles, VolumeInference
from semisup.models.unet3d import UNet3D
from semisup.ops.pixels import GREY, ImageFormat
from semisup.settings import EvalSettings

CPU = torch.device("cpu")
FORMAT = ImageFormat((0.0,), (1.0,), 8)


class Own(nn.Module):
    """Class 1 where the voxel itself is bright, and a note of what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[list[int]] = []

    def forward(self, volume: Tensor) -> Tensor:
        self.shown.append((volume[0, 0, :, 0, 0] * 255).round().int().tolist())
        return torch.cat([0.5 - volume, volume - 0.5], dim=1)


def grey(root: Path, count: int = 12, size: tuple[int, int] = (6, 8)) -> Stack:
    """Slices whose first column is their number; every second one is bright elsewhere."""
    for number in range(count):
        values = np.full(size, 250 if number % 2 else 10, np.uint8)
        values[:, 0] = number
        labels = (values > 127).astype(np.uint8)
        for folder, content in (("images", values), ("masks", labels)):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(content).save(root / folder / f"{number}.png")
    return Stack(root, "val", classes=["dark", "bright"], held_out=5, depth=4)


def inference(predictor: nn.Module, depth: int = 4, **settings: object) -> VolumeInference:
    return VolumeInference(predictor, EvalSettings(**settings), CPU, images=FORMAT, depth=depth)  # type: ignore[arg-type]


def test_each_slice_is_labelled_once_from_the_middle_of_a_block(tmp_path: Path) -> None:
    data, network = grey(tmp_path), Own()
    scored = evaluate(inference(network), data, boundary=False)
    assert scored.scores.miou == 1.0
    assert scored.ids == tuple(map(str, range(7, 12)))
    assert scored.counts.shape[0] == 5  # a score of each slice
    assert network.shown == [[6, 7, 8, 9], [8, 9, 10, 11], [10, 11, 10, 9]]


@pytest.mark.parametrize("depth", [1, 2, 3, 8, 16])
def test_blocks_of_any_depth(tmp_path: Path, depth: int) -> None:
    data = grey(tmp_path)
    assert evaluate(inference(Own(), depth), data, boundary=False).scores.miou == 1.0


def test_slices_in_any_order_are_scored_alike(tmp_path: Path) -> None:
    data = grey(tmp_path)
    network = UNet3D(2, in_channels=1, width=1).eval()
    one, other = (
        evaluate(inference(network), data, ids, boundary=False)
        for ids in (data.ids, data.ids[::-1])
    )
    assert torch.equal(one.confusion, other.confusion)
    assert torch.equal(one.counts, other.counts.flip(0))


@pytest.mark.parametrize(
    "settings", [{"mode": "slide", "window": (4, 5), "overlap": 0.5}, {"flip": True}]
)
def test_windows_and_mirrors_in_the_plane(tmp_path: Path, settings: dict[str, object]) -> None:
    data = grey(tmp_path)
    assert evaluate(inference(Own(), **settings), data, boundary=False).scores.miou == 1.0


def test_windows_of_a_volume_are_averaged() -> None:
    volume = torch.randn(1, 1, 3, 7, 9)

    def signed(block: Tensor, rows: slice, columns: slice) -> Tensor:
        part = block[..., rows, columns]
        return torch.cat([part, -part], 1)

    whole = slide(volume, signed, (4, 4), 0.5)
    assert torch.allclose(whole, torch.cat([volume, -volume], 1))


@pytest.mark.parametrize("shape", [(1, 6, 8), (2, 1, 6, 8), (1, 3, 4, 6, 8)])
def test_what_is_no_volume_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="reads volumes: label a folder of slices"):
        inference(Own())(torch.zeros(shape, dtype=torch.uint8))


def test_a_data_set_without_slices_is_refused(tmp_path: Path) -> None:
    from semisup.data.sets.folder import Folder

    grey(tmp_path)
    (tmp_path / "classes.txt").write_text("dark\nbright\n")
    data = Folder(tmp_path, "all")
    with pytest.raises(DataError, match="no slices of a volume"):
        evaluate(inference(Own()), data)


def test_a_held_out_mask_of_another_size_is_named(tmp_path: Path) -> None:
    data = grey(tmp_path)
    for number, size in ((8, (3, 4)), (9, (8, 6)), (10, (1, 1))):
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / "masks" / f"{number}.png")
        with pytest.raises(
            DataError, match=f"masks/{number}.png: the mask is .* make them the same"
        ):
            evaluate(inference(Own()), data, [str(number)], boundary=False)


def label(root: Path, *slices: Path, overwrite: bool = False) -> Labelled:
    """Label files as slices of a volume, into `root`/labels."""
    sources = find_images(slices)
    folder = PredictionFolder(root / "labels", {}, sources.names, overwrite=overwrite)
    colours = [(0, 0, 0), (255, 255, 255)]
    return predict_files(inference(Own()), sources.images, folder, ["dark", "bright"], colours)


def test_an_interrupted_prediction_of_a_stack_goes_on(tmp_path: Path) -> None:
    grey(tmp_path)
    images = tmp_path / "images"
    assert label(tmp_path, images).written == 12
    for name in ("0", "7", "8"):
        (tmp_path / "labels" / f"{name}.png").unlink()
    again = label(tmp_path, images)
    assert (again.written, again.kept, again.bad) == (3, 9, ())


@pytest.mark.parametrize("change", ["alone", "removed", "added", "swapped"])
def test_labels_made_among_other_slices_are_not_kept(tmp_path: Path, change: str) -> None:
    grey(tmp_path)
    images = tmp_path / "images"
    label(tmp_path, images / "6.png" if change == "alone" else images)
    if change == "removed":
        (images / "7.png").unlink()
    if change == "added":
        Image.new("L", (8, 6)).save(images / "6b.png")
    if change == "swapped":
        (images / "8.png").write_bytes((images / "5.png").read_bytes())
    made = label(tmp_path, images)
    stale = [line for line in made.bad if "6.png among other slices than now" in line]
    assert len(stale) == 1
    assert "--overwrite" in stale[0]
    assert label(tmp_path, images, overwrite=True).bad == ()


def test_files_are_slices_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    grey(tmp_path)
    paths = sorted((tmp_path / "images").iterdir())
    volume = SliceFiles(paths, GREY)
    assert [path.stem for path in volume.paths] == [str(number) for number in range(12)]
    assert volume.context(-2, 3)[0, :, 0, 0].tolist() == [2, 1, 0, 1, 2]
    Image.new("L", (8, 7)).save(tmp_path / "images" / "3.png")
    with pytest.raises(DataError, match=re.escape("3.png: is 7x8, and 2.png is 6x8")):
        volume.context(2, 4)
