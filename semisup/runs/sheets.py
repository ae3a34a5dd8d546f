"""Pictures of a predictor at work: the panel for TensorBoard and the sheet of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.data.base import Colour, SegmentationData
from semisup.data.formats.pictures import read_grey, read_labels
from semisup.errors import SemisupError
from semisup.evaluation.evaluate import Evaluation
from semisup.evaluation.inference import Inference
from semisup.evaluation.labelling.writing import confidence_path
from semisup.methods.base import Method
from semisup.metrics.confusion import label_map
from semisup.monitoring.snapshots import NOISE_SEED, make_samples, spread
from semisup.ops.pixels import (
    RGB_FORMAT,
    ImageFormat,
    as_shown,
    normalise,
    normalised_as_shown,
)
from semisup.pictures.drawing import heat, overlay
from semisup.pictures.grid import image_grid
from semisup.pictures.legends import background_of
from semisup.pictures.panels import training_panel
from semisup.pictures.sheets import contact_sheet
from semisup.types import IGNORE, Batch, Labelled

PANEL_IMAGES = 4
_LEAST_WIDTH = 240
"""Of a picture on a sheet that label maps are drawn on."""

TRUTH, PREDICTION = "ground truth", "prediction"
"""Titles of columns."""


def draw_panel(
    batch: Batch,
    predictor: nn.Module,
    method: Method,
    classes: Sequence[str],
    palette: Sequence[Colour],
    images: ImageFormat = RGB_FORMAT,
) -> Tensor:
    """Input, ground truth, prediction and the method's own maps of a training batch.

    Of a method that reads no mask, its tagged images and the prediction.

    Returns:
        uint8 3HW.
    """
    labelled = batch.labelled if method.reads.labelled else None
    image = (labelled or batch.weak).image[:PANEL_IMAGES]
    logits = predictor(image).float()
    if image.ndim == 5:
        return _block_panel(batch.labelled, logits, classes, palette, images)
    maps, extra = {PREDICTION: label_map(logits).cpu()}, {}
    if labelled is not None:
        mask = labelled.mask[:PANEL_IMAGES]
        few = Labelled(
            image=image,
            mask=mask,
            valid=labelled.valid[:PANEL_IMAGES],
            ids=labelled.ids[:PANEL_IMAGES],
        )
        maps = {TRUTH: mask.to(torch.uint8).cpu(), **maps}
        extra = method.pictures(Batch(labelled=few), logits)
    shown = normalised_as_shown(image, images)
    return training_panel(shown, maps, classes, palette, extra=extra, ends=method.picture_ends)


def _block_panel(
    labelled: Labelled,
    logits: Tensor,
    classes: Sequence[str],
    palette: Sequence[Colour],
    images: ImageFormat,
) -> Tensor:
    """Of each block the slice with most labels: input, ground truth and prediction; uint8 3HW."""
    masks = labelled.mask[: len(logits)].cpu()
    chosen = (masks != IGNORE).sum((-2, -1)).argmax(1).tolist()
    shown = [volume[:, place] for volume, place in zip(labelled.image, chosen, strict=False)]
    truth = [mask[place] for mask, place in zip(masks, chosen, strict=True)]
    scores = [maps[:, place] for maps, place in zip(logits, chosen, strict=True)]
    maps = {
        TRUTH: torch.stack(truth).to(torch.uint8),
        PREDICTION: label_map(torch.stack(scores)).cpu(),
    }
    return training_panel(normalised_as_shown(torch.stack(shown), images), maps, classes, palette)


@torch.no_grad()
def draw_sheet(
    path: Path,
    inference: Inference,
    data: SegmentationData,
    scored: Evaluation,
    method: Method,
    *,
    count: int,
) -> None:
    """Write the picture sheet of a run: image, ground truth, prediction, the method's maps.

    The images are spread evenly over the set, so nobody has picked the good ones.

    Args:
        path: PNG to write.
        inference: the predictor with its protocol.
        data: the set that was scored.
        scored: its evaluation, for the captions.
        method: whose maps are shown.
        count: images on the sheet; 0 writes none.
    """
    if not count:
        return
    method.eval()
    chosen = spread(len(scored.ids), count)
    rows, captions, own = [], [], []
    for position in chosen:
        name = scored.ids[position]
        index = data.index(name)
        image, mask = data.image(index), data.mask(index)
        logits = inference.logits_of(data, index, image)[None]
        labels = label_map(logits)[0].cpu()
        rows.append(panels(as_shown(image, inference.images.kind), (mask, labels), data))
        own.append(_own_maps(method, image, mask, name, logits, inference.images))
        captions.append(f"{name}    {scored.describe_image(position)}")
    names = [name for name in own[0] if all(name in maps for maps in own)]
    for row, maps in zip(rows, own, strict=True):
        row += [heat(maps[name][0, 0]) for name in names]
    scales = {name: method.picture_ends.get(name, ("", "")) for name in names}
    legend = list(zip(data.classes, data.palette, strict=True))
    columns = ["image", TRUTH, PREDICTION, *names]
    contact_sheet(path, rows, columns=columns, captions=captions, legend=legend, scales=scales)


def panels(shown: Tensor, maps: Sequence[Tensor], data: SegmentationData) -> list[Tensor]:
    """A row of a sheet: the image (uint8 3HW), then each label map (HW) laid over it.

    Small ones are enlarged, so that outlines are thin beside their pixels.
    """
    factor = max(1, -(-_LEAST_WIDTH // shown.shape[-1]))
    shown = _squares(shown, factor)
    background = background_of(data.classes)
    drawn = (
        overlay(shown, _squares(labels.cpu(), factor), data.palette, background=background)
        for labels in maps
    )
    return [shown.permute(1, 2, 0), *drawn]


def _squares(maps: Tensor, factor: int) -> Tensor:
    """Each pixel of maps (...HW) as a square of `factor` pixels."""
    return maps.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


@torch.no_grad()
def draw_sample_sheet(path: Path, method: Method, *, step: int, seed: int) -> None:
    """Write what the generator of a finished run makes; nothing where the method has none.

    Args:
        path: PNG to write.
        method: after its last step.
        step: which one that was.
        seed: of the run.
    """
    method.eval()
    images = make_samples(method)
    if images is not None:
        caption = [
            f"made after step {step}, run seed {seed}",
            f"all {len(images)} images of the fixed noise (seed {NOISE_SEED}), in order; nobody "
            "has picked any",
        ]
        image_grid(path, images, caption, columns=4)


def _own_maps(
    method: Method, image: Tensor, mask: Tensor, name: str, logits: Tensor, images: ImageFormat
) -> dict[str, Tensor]:
    """The method's maps of one image; none where it is too small for them."""
    device = logits.device
    mask = mask[None].to(device).long()
    labelled = Labelled(
        image=normalise(image[None].to(device), images),
        mask=mask,
        valid=torch.ones_like(mask, dtype=torch.bool),
        ids=(name,),
    )
    try:
        return method.pictures(Batch(labelled=labelled), logits)
    except SemisupError:  # a picture is no reason to lose a run that is trained and scored
        return {}


def draw_data_sheet(path: Path, data: SegmentationData, count: int) -> tuple[str, ...]:
    """Write a contact sheet of a data set: image, mask overlay and class legend.

    Of images that have a mask, where any has; else of the images alone.

    Returns:
        The ids of the images whose masks are shown.
    """
    masked = data.masked_ids
    names = masked or tuple(data.ids)
    shown = tuple(names[position] for position in spread(len(names), count))
    rows, captions = [], []
    for name in shown:
        index = data.index(name)
        image = as_shown(data.image(index), data.image_kind)
        captions.append(name)
        if not masked:
            rows.append([image.permute(1, 2, 0)])
        else:
            mask = data.mask(index)
            rows.append(panels(image, (mask,), data))
            captions[-1] += f"    {', '.join(_present(mask, data.classes))}"
    legend = list(zip(data.classes, data.palette, strict=True)) if masked else None
    columns = ["image", "mask"] if masked else ["image"]
    contact_sheet(path, rows, columns=columns, captions=captions, legend=legend)
    return shown if masked else ()


def draw_weak_sheet(path: Path, data: SegmentationData, folder: Path, count: int) -> None:
    """Write a sheet of weak labels: image, mask and label, with marks drawn large enough to see.

    Args:
        path: PNG to write.
        data: images, and masks where there are some.
        folder: of the weak labels, <id>.png.
        count: images on the sheet.
    """
    labelled = [name for name in data.ids if (folder / f"{name}.png").is_file()]
    names = [labelled[position] for position in spread(len(labelled), count)]
    masked = all(data.has_mask(data.index(name)) for name in names)
    rows, captions = [], []
    for name in names:
        index = data.index(name)
        image = as_shown(data.image(index), data.image_kind)
        label = read_labels(folder / f"{name}.png")
        shown = panels(image, (data.mask(index),) if masked else (), data)
        shown.append(_marked(image, label, data.palette))
        rows.append(shown)
        present = [name for name in _present(label, data.classes) if name != "void"]
        given = float((label != IGNORE).float().mean())
        captions.append(f"{name}    {given:.2%} labelled: {', '.join(present)}")
    columns = ["image", "mask", "weak label"] if masked else ["image", "weak label"]
    legend = list(zip(data.classes, data.palette, strict=True))
    contact_sheet(path, rows, columns=columns, captions=captions, legend=legend)


def draw_pseudo_mask_sheet(
    path: Path, data: SegmentationData, folder: Path, ids: Sequence[str], count: int
) -> None:
    """Write a sheet of pseudo-masks: image, pseudo-mask and confidence; no mask of `data`.

    Args:
        path: PNG to write.
        data: images and classes.
        folder: of the pseudo-masks.
        ids: of the images that have one.
        count: images on the sheet, spread evenly over `ids`.
    """
    rows, captions = [], []
    for name in (ids[position] for position in spread(len(ids), count)):
        image = as_shown(data.image(data.index(name)), data.image_kind)
        label = read_labels(folder / f"{name}.png")
        sure = read_grey(confidence_path(folder, name))[0]
        rows.append([*panels(image, (label,), data), heat(sure / 255)])
        present = [name for name in _present(label, data.classes) if name != "void"]
        given = float((label != IGNORE).float().mean())
        captions.append(f"{name}    {given:.1%} labelled: {', '.join(present) or 'nothing'}")
    contact_sheet(
        path,
        rows,
        columns=["image", "pseudo-mask", "confidence"],
        captions=captions,
        legend=list(zip(data.classes, data.palette, strict=True)),
        scales={"confidence": ("unsure", "sure")},
    )


def _marked(image: Tensor, label: Tensor, palette: Sequence[Colour]) -> Tensor:
    """Labels over a pale image, drawn large enough to see, with a white line around.

    Args:
        image: uint8 3HW.
        label: uint8 HW, 255 where there is none.
        palette: K colours.

    Returns:
        uint8 HW3.
    """
    reach = max(1, max(label.shape) // 150)
    large = _enlarged(label, reach)
    colours = torch.tensor([*palette, *[(0, 0, 0)] * (IGNORE + 1 - len(palette))])
    picture = (image.permute(1, 2, 0).int() + 255) // 2
    picture[(_enlarged(large, 1) != IGNORE) & (large == IGNORE)] = 255
    return torch.where((large != IGNORE)[..., None], colours[large.long()], picture).to(torch.uint8)


def _enlarged(label: Tensor, reach: int) -> Tensor:
    """A weak label (uint8 HW) with `reach` pixels more about its marks."""
    shifted = (label.int() + 1) % (IGNORE + 1)  # no label is 0, the least
    grown = F.max_pool2d(shifted[None].float(), 2 * reach + 1, 1, reach)[0]
    grown = torch.where(shifted > 0, shifted.float(), grown)
    return ((grown + IGNORE) % (IGNORE + 1)).to(torch.uint8)


def _present(mask: Tensor, classes: Sequence[str]) -> list[str]:
    """The names of what a mask holds, void among them."""
    labels = torch.unique(mask).tolist()
    return ["void" if label == IGNORE else classes[label] for label in labels]
