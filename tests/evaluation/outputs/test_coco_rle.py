"""Label maps as masks of COCO, beside pycocotools where that is installed."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from semisup.data.formats.pictures import write_palette_png
from semisup.errors import RunError
from semisup.evaluation.outputs.coco_rle import check_coco, class_masks, compressed, write_coco
from semisup.types import IGNORE

CLASSES = ("background", "cat", "dog")


def label_maps() -> list[npt.NDArray[np.uint8]]:
    """Noise, stripes along and across, one label, single pixels, long runs."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 3, (9, 7), dtype=np.uint8).repeat(31, 0).repeat(17, 1)
    corner = np.zeros((30, 40), np.uint8)
    corner[-1, -1] = corner[0, 0] = 2
    far = np.zeros((700, 900), np.uint8)
    far[600:, 850:] = 1
    return [
        random.integers(0, 3, (23, 31), dtype=np.uint8),
        np.where(random.random((40, 50)) < 0.02, IGNORE, blocks[:40, :50]).astype(np.uint8),
        np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None] % 3, (30, 20)).copy(),
        np.full((5, 6), 1, np.uint8),
        corner,
        far,
        np.array([[2]], np.uint8),
    ]


@pytest.mark.parametrize(
    "labels", label_maps(), ids=lambda labels: "x".join(map(str, labels.shape))
)
def test_runs_are_those_of_pycocotools(labels: npt.NDArray[np.uint8]) -> None:
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools (extra coco) is missing")
    found = class_masks(labels)
    assert set(found) == set(np.unique(labels).tolist()) - {IGNORE}
    for label, own in found.items():
        region = np.asfortranarray(labels == label)
        theirs = mask.encode(region.astype(np.uint8))
        assert own["segmentation"] == {
            "size": list(labels.shape),
            "counts": theirs["counts"].decode(),
        }
        assert own["area"] == int(mask.area(theirs))
        assert own["bbox"] == mask.toBbox(theirs).tolist()


def test_runs_begin_outside_and_go_down_the_columns() -> None:
    labels = np.array([[1, 0, 1], [1, 0, 0]], np.uint8)
    # Down the columns: 1 1 0 0 1 0, so runs of 0, 2, 2, 1, 1. From the fourth on
    # the one before the last is taken off.
    assert class_masks(labels)[1]["segmentation"]["counts"] == "022OO"
    # A number above 15 takes two letters of five bits, the lower ones first.
    assert compressed(np.array([16])) == "`0"


def test_a_file_holds_each_class_of_each_image_but_the_background(tmp_path: Path) -> None:
    labels = torch.tensor([[0, 1, 1], [2, 2, IGNORE]], dtype=torch.uint8)
    write_palette_png(tmp_path / "x.png", labels, [])
    write_coco(tmp_path / "coco.json", [("sub/x.jpg", tmp_path / "x.png")], CLASSES)
    content = json.loads((tmp_path / "coco.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "sub/x.jpg", "height": 2, "width": 3}]
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert [one["category_id"] for one in content["annotations"]] == [1, 2]
    assert [one["area"] for one in content["annotations"]] == [2, 2]
    assert content["annotations"][0]["bbox"] == [1, 0, 2, 1]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_pycocotools_reads_the_file(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools (extra coco) is missing")
    maps = []
    for number, labels in enumerate(label_maps()):
        path = tmp_path / f"{number}.png"
        write_palette_png(path, torch.from_numpy(labels % IGNORE % 3), [])
        maps.append((f"{number}.jpg", path))
    write_coco(tmp_path / "coco.json", maps, CLASSES)
    with contextlib.redirect_stdout(io.StringIO()):
        read = coco.COCO(str(tmp_path / "coco.json"))
    for image, labels in zip(read.getImgIds(), label_maps(), strict=True):
        again = np.zeros_like(labels)
        for one in read.loadAnns(read.getAnnIds(image)):
            again[read.annToMask(one) > 0] = one["category_id"]
        assert np.array_equal(again, labels % IGNORE % 3)


def test_annotations_of_other_images_are_not_written_over(tmp_path: Path) -> None:
    write_palette_png(tmp_path / "x.png", torch.zeros(2, 2, dtype=torch.uint8), [])
    path = tmp_path / "coco.json"
    names = ["a.jpg", "clip.mp4/frame_000000"]
    write_coco(path, [(name, tmp_path / "x.png") for name in names], CLASSES)
    check_coco(path, ["a.jpg", "clip.mp4", "b.jpg"], overwrite=False)
    check_coco(path, ["b.jpg"], overwrite=True)
    with pytest.raises(RunError, match=r"coco\.json: has annotations of other images, such as a\."):
        check_coco(path, ["clip.mp4"], overwrite=False)
    path.write_text("[1, 2]")
    with pytest.raises(RunError, match=r"coco\.json: is there already and no prediction"):
        check_coco(path, names, overwrite=False)
