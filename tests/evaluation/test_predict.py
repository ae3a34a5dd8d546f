from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from semisup.data.formats.pictures import read_rgb
from semisup.errors import DataError
from semisup.evaluation.inference import Inference
from semisup.evaluation.predict import find_images, predict_files, write_submission
from semisup.metrics.confusion import label_map
from semisup.pictures.drawing import overlay
from semisup.settings import EvalSettings

Make = Callable[..., Any]
CLASSES = ("road", "sky", "tree")
PALETTE = ((128, 64, 128), (70, 130, 180), (107, 142, 35))


@pytest.fixture
def infer(colours: Make) -> Callable[..., Inference]:
    def make(predictor: nn.Module | None = None, **settings: Any) -> Inference:
        return Inference(predictor or colours(), EvalSettings(**settings), torch.device("cpu"))

    return make


def save_picture(path: Path, size: tuple[int, int] = (9, 12), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 1), dtype=np.uint8)
    Image.fromarray(np.repeat(noise, 3, axis=2)).save(path)
    return path


def expected_labels(inference: Inference, path: Path) -> Tensor:
    return label_map(inference(read_rgb(path)[None]))[0]


def test_a_label_map_holds_class_ids_in_the_classes_colours(infer: Make, tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "in" / "street.png")
    count = predict_files(infer(), [picture], tmp_path, CLASSES, PALETTE)
    assert count == 1
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["street.png"]
    with Image.open(tmp_path / "street.png") as written:
        assert (written.format, written.mode, written.size) == ("PNG", "P", (12, 9))
        labels = np.array(written)
        shown = np.array(written.convert("RGB"))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert labels.tolist() == expected_labels(infer(), picture).tolist()
    assert (shown == np.array(PALETTE, dtype=np.uint8)[labels]).all()


def test_what_is_there_is_left_alone(infer: Make, tmp_path: Path) -> None:
    pictures = [save_picture(tmp_path / "in" / f"{n}.png", seed=n) for n in range(3)]
    (tmp_path / "1.png").write_bytes(b"here already")
    assert predict_files(infer(), pictures, tmp_path, CLASSES, PALETTE) == 2
    assert (tmp_path / "1.png").read_bytes() == b"here already"
    before = (tmp_path / "0.png").stat().st_mtime_ns
    time.sleep(0.01)
    assert predict_files(infer(), pictures, tmp_path, CLASSES, PALETTE) == 0
    assert (tmp_path / "0.png").stat().st_mtime_ns == before


def test_a_call_that_is_stopped_leaves_no_label_map_that_is_not_done(
    infer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = save_picture(tmp_path / "in" / "a.png")

    def stop(*arguments: Any, **keywords: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stop)
    with pytest.raises(KeyboardInterrupt):
        predict_files(infer(), [picture], tmp_path, CLASSES, PALETTE, soft=True)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_an_overlay_lies_over_the_picture(infer: Make, tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "in" / "a.png")
    predict_files(infer(), [picture], tmp_path, CLASSES, PALETTE, with_overlay=True)
    expected = overlay(read_rgb(picture), expected_labels(infer(), picture), PALETTE)
    with Image.open(tmp_path / "a_overlay.png") as written:
        assert np.array_equal(np.array(written), expected.numpy())


@pytest.mark.parametrize("settings", [{}, {"flip": True}, {"scales": [1.0, 2.0]}])
def test_soft_predictions_are_probabilities_once(
    settings: Any, infer: Make, tmp_path: Path
) -> None:
    picture = save_picture(tmp_path / "in" / "a.png")
    inference = infer(**settings)
    predict_files(inference, [picture], tmp_path, CLASSES, PALETTE, soft=True)
    with np.load(tmp_path / "a.npz") as stored:
        probabilities, classes = stored["probabilities"], stored["classes"]
    assert probabilities.dtype == np.float16
    assert probabilities.shape == (3, 9, 12)
    assert classes.tolist() == list(CLASSES)
    scores = inference(read_rgb(picture)[None])[0]
    expected = scores if settings else scores.softmax(0)
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-3)
    np.testing.assert_allclose(probabilities.astype(np.float32).sum(0), 1.0, atol=2e-3)


def test_images_are_found_in_folders_and_by_name(tmp_path: Path) -> None:
    names = ["b.jpg", "a.PNG", "c.jpeg", "deep/d.png"]
    for name in names:
        save_picture(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    single = save_picture(tmp_path / "z.png")
    found = find_images([single, tmp_path / "in"])
    assert [p.name for p in found] == ["z.png", "a.PNG", "b.jpg", "c.jpeg"]


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    one = save_picture(tmp_path / "one" / "a.png")
    two = save_picture(tmp_path / "two" / "a.jpg")
    with pytest.raises(DataError, match=rf"{two}: would be written over .* {one}.*two folders"):
        find_images([tmp_path / "one", two])


def test_a_folder_without_images_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"holds no image \(\.jpg, \.jpeg, \.png\)"):
        find_images([tmp_path])
    with pytest.raises(DataError, match="no such file or folder"):
        find_images([tmp_path / "none.png"])


def test_a_damaged_image_is_named(infer: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        predict_files(infer(), [tmp_path / "bad.png"], tmp_path / "out", CLASSES, PALETTE)


@pytest.fixture
def voc(patches: Make) -> Any:
    data = patches([(8, 9), (10, 7)], num_classes=21, subset="test")
    data.name = "voc"
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


@pytest.mark.parametrize(("name", "num_classes"), [("voc", 3), ("camvid", 21)])
def test_other_classes_than_the_servers_are_refused(
    name: str, num_classes: int, infer: Make, patches: Make, tmp_path: Path
) -> None:
    data = patches([(8, 8)], num_classes=num_classes)
    data.name = name
    with pytest.raises(DataError, match=rf"all 21 classes of voc, not the {num_classes} of {name}"):
        write_submission(infer(), data, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_is_not_written_over_another_images_labels(tmp_path: Path) -> None:
    paths = [save_picture(tmp_path / f"{name}.png") for name in ("a", "a_overlay", "b")]
    assert find_images(paths) == paths
    with pytest.raises(DataError, match=r"a_overlay\.png: would be written over .*a\.png"):
        find_images(paths, endings=["_overlay"])
    assert find_images(paths[1:], endings=["_overlay"]) == paths[1:]
