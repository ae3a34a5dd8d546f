from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from semisup.data.formats.pictures import read_rgb
from semisup.errors import DataError
from semisup.evaluation.folders.prediction_folder import PredictionFolder
from semisup.evaluation.folders.sources import find_images
from semisup.evaluation.inference import Inference
from semisup.evaluation.predict import (
    Labelled,
    UnlabelledImagesError,
    predict_files,
)
from semisup.metrics.confusion import label_map
from semisup.pictures.drawing import overlay
from semisup.pictures.legends import present, with_legend
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


def predict(
    inference: Inference, paths: list[Path], out: Path, overwrite: bool = False, **options: Any
) -> Labelled:
    found = find_images(paths)
    folder = PredictionFolder(out, {}, found.names, overwrite=overwrite)
    return predict_files(inference, found.images, folder, CLASSES, PALETTE, **options)


def expected_labels(inference: Inference, path: Path) -> Tensor:
    return label_map(inference(read_rgb(path)[None]))[0]


def test_a_label_map_holds_class_ids_in_the_classes_colours(infer: Make, tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "in" / "street.png")
    assert predict(infer(), [picture], tmp_path) == Labelled(1, 0, 0, ())
    names = sorted(p.name for p in tmp_path.iterdir() if p.is_file())
    assert names == ["predictions.json", "street.png"]
    with Image.open(tmp_path / "street.png") as written:
        assert (written.format, written.mode, written.size) == ("PNG", "P", (12, 9))
        labels = np.array(written)
        shown = np.array(written.convert("RGB"))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert labels.tolist() == expected_labels(infer(), picture).tolist()
    assert (shown == np.array(PALETTE, dtype=np.uint8)[labels]).all()


def test_what_is_there_is_left_alone_unless_it_is_to_be_replaced(
    infer: Make, tmp_path: Path
) -> None:
    pictures = [save_picture(tmp_path / "in" / f"{n}.png", seed=n) for n in range(3)]
    assert predict(infer(), pictures[:1], tmp_path / "out").written == 1
    Image.new("L", (2, 2)).save(tmp_path / "out" / "1.png")
    here = (tmp_path / "out" / "1.png").read_bytes()
    assert predict(infer(), pictures, tmp_path / "out") == Labelled(1, 2, 0, ())
    assert (tmp_path / "out" / "1.png").read_bytes() == here
    assert predict(infer(), pictures, tmp_path / "out", overwrite=True) == Labelled(3, 0, 0, ())
    with Image.open(tmp_path / "out" / "1.png") as written:
        assert np.array(written).tolist() == expected_labels(infer(), pictures[1]).tolist()


def test_a_call_that_is_stopped_leaves_no_label_map_that_is_not_done(
    infer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = save_picture(tmp_path / "in" / "a.png")

    def stop(*arguments: Any, **keywords: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stop)
    with pytest.raises(KeyboardInterrupt):
        predict(infer(), [picture], tmp_path / "out", soft=True)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["predictions.json"]


def test_an_overlay_lies_over_the_picture(infer: Make, tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "in" / "a.png", size=(1100, 3))  # more rows than a strip
    predict(infer(), [picture], tmp_path, with_overlay=True)
    labels = expected_labels(infer(), picture)
    expected = with_legend(
        overlay(read_rgb(picture), labels, PALETTE), present(labels, CLASSES, PALETTE)
    )
    with Image.open(tmp_path / "a_overlay.png") as written:
        assert np.array_equal(np.array(written), expected.numpy())


@pytest.mark.parametrize("settings", [{}, {"flip": True}, {"scales": [1.0, 2.0]}])
def test_soft_predictions_are_probabilities_once(
    settings: Any, infer: Make, tmp_path: Path
) -> None:
    picture = save_picture(tmp_path / "in" / "a.png")
    inference = infer(**settings)
    predict(inference, [picture], tmp_path, soft=True)
    with np.load(tmp_path / "a.npz") as stored:
        probabilities, classes = stored["probabilities"], stored["classes"]
    assert probabilities.dtype == np.float16
    assert probabilities.shape == (3, 9, 12)
    assert classes.tolist() == list(CLASSES)
    scores = inference(read_rgb(picture)[None])[0]
    expected = scores if settings else scores.softmax(0)
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-3)
    np.testing.assert_allclose(probabilities.astype(np.float32).sum(0), 1.0, atol=2e-3)


def test_bad_images_are_passed_over_and_named(infer: Make, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number, name in enumerate(("a", "m", "z")):
        save_picture(photos / "sub" / f"{name}.png", seed=number)
    (photos / "b.jpg").write_bytes(b"")
    Image.new("RGBA", (4, 4)).save(photos / "c.png")
    done = predict(infer(), [photos], tmp_path / "out")
    assert (done.written, done.kept) == (3, 0)
    assert [line.split(" ")[0] for line in done.bad] == [f"{photos}/b.jpg", f"{photos}/c.png"]
    for name in ("a", "m", "z"):
        with Image.open(tmp_path / "out" / "sub" / f"{name}.png") as written:
            expected = expected_labels(infer(), photos / "sub" / f"{name}.png")
            assert np.array(written).tolist() == expected.tolist()
    with pytest.raises(UnlabelledImagesError, match=r"2 of 5 images have no .*b\.jpg") as error:
        done.check()
    assert error.value.lines == done.bad
    again = predict(infer(), [photos], tmp_path / "out")
    assert (again.written, again.kept, again.bad) == (0, 3, done.bad)


def test_a_call_without_a_prediction_leaves_no_folder(infer: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    done = predict(infer(), [tmp_path / "bad.png"], tmp_path / "deep" / "out")
    with pytest.raises(DataError, match=r"^\S+bad\.png is no JPEG, PNG, TIFF, BMP or WebP file"):
        done.check()
    assert not (tmp_path / "deep").exists()


def test_an_image_that_the_network_cannot_take_is_a_bad_one(infer: Make, tmp_path: Path) -> None:
    class Picky(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.nn.functional.pad(image, (4, 4, 4, 4), mode="reflect")[..., 4:-4, 4:-4]

    small, large = (save_picture(tmp_path / f"{n}.png", (n, n)) for n in (2, 9))
    done = predict(infer(Picky()), [small, large], tmp_path / "out")
    assert done.written == 1
    assert re.match(rf"{small}: the images are too small for the network", done.bad[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_predictions_are_as_a_viewer_shows_the_photograph(
    orientation: int, infer: Make, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as stored:
        viewed = np.array(ImageOps.exif_transpose(stored))
    shown = torch.from_numpy(viewed).permute(2, 0, 1)
    labels = label_map(infer()(shown[None]))[0]
    predict(infer(), [tmp_path / "a.png"], tmp_path / "out", with_overlay=True)
    with Image.open(tmp_path / "out" / "a.png") as written:
        assert np.array(written).tolist() == labels.tolist()
    with Image.open(tmp_path / "out" / "a_overlay.png") as written:
        drawn = np.array(written)[: labels.shape[0], : labels.shape[1]]
        assert np.array_equal(drawn, overlay(shown, labels, PALETTE).numpy())
    predict(infer(), [tmp_path / "a.png"], tmp_path / "stored", apply_exif=False)
    with Image.open(tmp_path / "stored" / "a.png") as written:
        plain = torch.from_numpy(pixels).permute(2, 0, 1)
        assert np.array(written).tolist() == label_map(infer()(plain[None]))[0].tolist()
