"""The sheet that says why a network which segments class by class predicts what it does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from semisup.errors import DataError, RecipeError
from semisup.evaluation.class_by_class import check_by_class, draw_explanation
from semisup.evaluation.folders.prediction_folder import PredictionFolder
from semisup.evaluation.folders.sources import find_images
from semisup.evaluation.inference import Inference
from semisup.evaluation.predict import predict_files
from semisup.settings import EvalSettings

CLASSES = ("background", "cat", "dog")
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 200, 0))


class Known(nn.Module):
    """Finds class 1 at the left and class 2 at the right, or what it is told to."""

    def __init__(self, found: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        self.found = found

    def force_classes(self, classes: object) -> None:
        raise NotImplementedError

    def explain(self, image: Tensor) -> dict[int, dict[str, Tensor]]:
        height, width = image.shape[-2:]
        share = torch.linspace(0, 1, width).expand(height, width)
        labels = (0, *self.found) if self.found else ()
        return {label: {"saliency": share, "map": 1 - share} for label in labels}

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.zeros(len(image), 3, *image.shape[-2:])
        half = image.shape[-1] // 2
        logits[:, 1, :, :half] = 5.0 * (1 in self.found)
        logits[:, 2, :, half:] = 5.0 * (2 in self.found)
        return logits


def inference(predictor: nn.Module) -> Inference:
    return Inference(predictor, EvalSettings(), torch.device("cpu"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (60, 40), (90, 90, 90)).save(path)
    return path


def heights(found: tuple[int, ...], folder: Path) -> int:
    image = torch.full((3, 40, 60), 90, dtype=torch.uint8)
    predictor = Known(found)
    labels = predictor(image[None].float()).argmax(1)[0].byte()
    path = folder / "sheet.png"
    draw_explanation(path, inference(predictor), image, labels, CLASSES, PALETTE)
    with Image.open(path) as sheet:
        return sheet.height


def test_a_row_for_the_whole_and_one_for_each_class(tmp_path: Path) -> None:
    none, one, two = (heights(found, tmp_path) for found in ((), (1,), (1, 2)))
    assert none < one < two
    assert two - one == one - none  # with none there is one row as well: the whole


def test_predict_writes_it_beside_the_label_map(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = find_images([photo])

    def written() -> int:
        folder = PredictionFolder(out, {}, found.names)
        arguments = (inference(Known()), found.images, folder, CLASSES, PALETTE)
        return predict_files(*arguments, explain=True).written

    assert written() == 1
    names = {path.name for path in out.iterdir()}
    assert names == {"photo.png", "photo_explain.png", "predictions.json"}
    assert written() == 0
    (out / "photo_explain.png").unlink()
    assert written() == 1


def test_an_image_that_would_be_written_over(photo: Path) -> None:
    other = photo.with_name("photo_explain.png")
    Image.new("RGB", (4, 4)).save(other)
    assert len(find_images([photo, other]).images) == 2
    with pytest.raises(DataError, match="would be written over the prediction"):
        find_images([photo, other], endings=["_overlay", "_explain"])


def test_a_network_that_does_not_segment_by_class() -> None:
    assert check_by_class(known := Known(), "--explain") is known
    with pytest.raises(RecipeError, match=r"--explain: a Conv2d does not identify classes"):
        check_by_class(nn.Conv2d(3, 2, 1), "--explain")
