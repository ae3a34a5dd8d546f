"""Label maps for the servers of the benchmarks, and a check of their form by other code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from semisup.data.base import SegmentationData
from semisup.data.sets.ade20k import Ade20k
from semisup.data.sets.cityscapes import Cityscapes
from semisup.data.sets.voc import Voc
from semisup.data.submissions import LAYOUTS
from semisup.errors import DataError
from semisup.evaluation.inference import Inference
from semisup.evaluation.submission import write_submission
from semisup.metrics.confusion import label_map
from semisup.settings import EvalSettings

Make = Callable[..., Any]

CITY_IDS = {7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33}
"""The label ids that Cityscapes scores, as its scripts list them."""

VALUES = {"voc": set(range(21)), "cityscapes": CITY_IDS, "ade20k": set(range(1, 151))}


def complaints(folder: Path, data: SegmentationData) -> list[str]:
    """What a server would refuse: by the rules that the benchmarks publish, with Pillow alone."""
    files = sorted(folder.iterdir())
    found = [f"{path.name} is no PNG" for path in files if path.suffix != ".png"]
    for index, name in enumerate(data.ids):
        own = [path for path in files if path.name.startswith(name)]
        if len(own) != 1:
            found.append(f"{len(own)} files of {name}")
            continue
        with Image.open(own[0]) as picture, Image.open(data.image_path(index)) as image:
            if picture.mode not in ("L", "P"):
                found.append(f"{own[0].name} has colours")
            if picture.size != image.size:
                found.append(f"{own[0].name} is not of the size of its image")
            if not set(np.unique(np.array(picture)).tolist()) <= VALUES[data.name]:
                found.append(f"{own[0].name} has a value that is no class")
    if len(files) != len(data):
        found.append(f"{len(files)} files of {len(data)} images")
    return found


@pytest.fixture
def infer(colours: Make) -> Callable[..., Inference]:
    def make(predictor: nn.Module | None = None) -> Inference:
        return Inference(predictor or colours(), EvalSettings(), torch.device("cpu"))

    return make


@pytest.fixture
def voc(patches: Make) -> Any:
    data = patches([(8, 9), (10, 7)], num_classes=21, subset="test")
    data.name, data.classes = "voc", LAYOUTS["voc"].classes
    return data


def test_a_submission_has_the_servers_layout(
    voc: Any, infer: Make, colours: Make, tmp_path: Path
) -> None:
    inference = infer(colours(21))
    folder = write_submission(inference, voc, tmp_path)
    assert folder == tmp_path / "results" / "VOC2012" / "Segmentation" / "comp6_test_cls"
    assert sorted(p.name for p in folder.iterdir()) == ["test00.png", "test01.png"]
    for index, name in enumerate(("test00.png", "test01.png")):
        with Image.open(folder / name) as written:
            assert written.mode == "P"
            expected = label_map(inference(voc.image(index)[None]))[0]
            assert np.array(written).tolist() == expected.tolist()
    other = write_submission(inference, voc, tmp_path, competition="comp5")
    assert other.name == "comp5_test_cls"


def test_a_submission_opens_no_mask(
    voc: Any, infer: Make, colours: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(index: int) -> None:
        raise AssertionError(index)

    monkeypatch.setattr(voc, "mask", refuse)
    write_submission(infer(colours(21)), voc, tmp_path)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("voc", "the server of voc wants all its 21 classes, not 3"),
        ("cityscapes", "the server of cityscapes wants all its 19 classes, not 3"),
        ("camvid", "no server of camvid is known, but of ade20k, cityscapes, voc"),
    ],
)
def test_a_set_that_no_server_takes_is_refused(
    name: str, what: str, infer: Make, patches: Make, tmp_path: Path
) -> None:
    data = patches([(8, 8)], num_classes=3)
    data.name = name
    with pytest.raises(DataError, match=what):
        write_submission(infer(), data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_label_map_of_another_image_is_not_sent_along(
    voc: Any, infer: Make, colours: Make, tmp_path: Path
) -> None:
    folder = write_submission(infer(colours(21)), voc, tmp_path)
    (folder / "test02.png").write_bytes(b"of an earlier list")
    with pytest.raises(DataError, match=r"test02\.png: is a label map of none of the images"):
        write_submission(infer(colours(21)), voc, tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_label_has_its_own_value(name: str) -> None:
    layout = LAYOUTS[name]
    labels = torch.arange(len(layout.classes), dtype=torch.uint8).view(1, -1)
    values = layout.as_stored(labels)[0].tolist()
    assert set(values) == VALUES[name]
    assert len(set(values)) == len(values)


def few(data: SegmentationData, count: int) -> SegmentationData:
    data.ids = data.ids[:count]
    return data


REAL = {
    "voc": lambda shared: few(Voc(shared / "voc2012", "val"), 3),
    "cityscapes": lambda shared: few(Cityscapes(shared / "cityscapes", "train"), 1),
    "ade20k": lambda shared: few(Ade20k(shared / "ade20k", "val"), 3),
}


@pytest.mark.parametrize("name", REAL)
def test_a_submission_of_real_images_would_be_taken(
    name: str, infer: Make, colours: Make, shared_data: Path, tmp_path: Path
) -> None:
    data = REAL[name](shared_data)
    inference = infer(colours(len(LAYOUTS[name].classes)))
    folder = write_submission(inference, data, tmp_path)
    assert complaints(folder, data) == []

    # What is read back is what was predicted.
    with Image.open(folder / f"{data.ids[0]}{LAYOUTS[name].ending}") as picture:
        stored = np.array(picture)
    expected = label_map(inference(data.image(0)[None]))[0].numpy()
    back = np.full(256, 255)
    back[list(LAYOUTS[name].values)] = np.arange(len(LAYOUTS[name].values))
    assert np.array_equal(back[stored], expected)

    # The check can fail.
    files = sorted(folder.iterdir())
    with Image.open(files[0]) as picture:
        wrong = Image.fromarray(np.full_like(np.array(picture), 34 + 200 * (name == "ade20k")))
    wrong.save(files[0])
    assert len(complaints(folder, data)) == 1
    files[0].unlink()
    assert len(complaints(folder, data)) == 2
