"""Why a network that segments class by class predicts what it does, as a picture sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from semisup.data.base import Colour
from semisup.errors import RecipeError
from semisup.evaluation.inference import Inference
from semisup.models.base import SegmentsByClass
from semisup.ops.pixels import as_shown, normalise
from semisup.pictures.drawing import heat, overlay
from semisup.pictures.legends import background_of
from semisup.pictures.sheets import contact_sheet
from semisup.types import IGNORE

COLUMNS = ("image", "what it looks at", "where it is", "in the prediction")


def check_by_class(predictor: object, what: str) -> SegmentsByClass:
    """`predictor`, if it segments class by class.

    Args:
        predictor: of a run.
        what: the option that needs it.

    Raises:
        RecipeError: the predictor does not segment class by class.
    """
    if not isinstance(predictor, SegmentsByClass):
        raise RecipeError(
            f"{what}: a {type(predictor).__name__} does not identify classes and segment each of "
            "them; use a run of the method decouplednet or cam, or leave the option out."
        )
    return predictor


@torch.inference_mode()
def draw_explanation(
    path: Path,
    inference: Inference,
    image: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    palette: Sequence[Colour],
) -> None:
    """Write a sheet of one image: a row for the whole, and one for each identified class.

    Of scales, mirrors and windows of the protocol nothing is seen in the maps: they are those of
    one forward pass on the whole image.

    Args:
        path: PNG to write.
        inference: whose predictor segments class by class.
        image: CHW, as the inference takes it.
        labels: HW uint8, the prediction.
        classes: K names.
        palette: K colours.

    Raises:
        RecipeError: the predictor does not segment class by class.
    """
    predictor = check_by_class(inference.predictor, "--explain")
    found = predictor.explain(normalise(image[None].to(inference.device), inference.images))
    picture = as_shown(image, inference.images.kind)
    shown = picture.permute(1, 2, 0)
    rows, captions, ground = [], [], background_of(classes)
    for label, maps in found.items():
        own = labels.cpu() if label == 0 else _alone(labels.cpu(), label)
        panels = [heat(maps[name]) for name in ("saliency", "map")]
        rows.append(
            [shown, *panels, overlay(picture, own, palette, background=ground, hatched=False)]
        )
        others = ", ".join(classes[other] for other in found if other)
        captions.append(
            f"together ({others}); the background; the whole prediction"
            if label == 0
            else f"{classes[label]}: {(own == label).float().mean():.1%} of the pixels"
        )
    if not rows:
        blank = torch.zeros(labels.shape)
        drawn = overlay(picture, labels.cpu(), palette, background=ground)
        rows = [[shown, heat(blank), heat(blank), drawn]]
        captions = ["no class was identified: everything is background"]
    used = [label for label in range(len(classes)) if label in found]
    legend = [(classes[label], palette[label]) for label in used]
    scales = dict.fromkeys(COLUMNS[1:3], ("", ""))
    contact_sheet(
        path, rows, columns=COLUMNS, captions=captions, legend=legend, void=False, scales=scales
    )


def _alone(labels: Tensor, label: int) -> Tensor:
    """The pixels of one class; all others void."""
    return labels.masked_fill(labels != label, IGNORE)
