from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from semisup.evaluation.folders.prediction_folder import PredictionFolder
from semisup.evaluation.folders.sources import find_images
from semisup.evaluation.inference import Inference
from semisup.evaluation.predict import Labelled, predict_files
from semisup.ops.pixels import ImageFormat
from semisup.settings import EvalSettings

CLASSES = ("background", "cat", "dog")
PALETTE = ((0, 0, 0), (200, 30, 30), (30, 30, 200))

MEAN = (0.5, 0.5, 0.5)

Make = Callable[..., Any]


class Brightest(torch.nn.Module):
    """The class of a pixel is its brightest channel."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


@pytest.fixture
def predict(tmp_path: Path) -> Make:
    """Predict files into tmp_path/out."""

    def call(*paths: Path, overwrite: bool = False, facts: Any = None, **options: Any) -> Labelled:
        found = find_images(paths)
        folder = PredictionFolder(
            tmp_path / "out", facts or {}, found.names, videos=found.videos, overwrite=overwrite
        )
        inference = Inference(
            Brightest(), EvalSettings(), torch.device("cpu"), images=ImageFormat(MEAN, MEAN, 8)
        )
        return predict_files(inference, found.images, folder, CLASSES, PALETTE, **options)

    return call
