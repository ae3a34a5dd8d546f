"""Pseudo-masks of many images, written into a folder that recipes read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.pictures import (
    labelled_image,
    read_grey,
    read_labels,
    write_grey_png,
    write_palette_png,
)
from semisup.data.labels.pseudo_masks import CONFIDENCE
from semisup.errors import DataError, RunError
from semisup.evaluation.inference import Inference
from semisup.evaluation.labelling.rule import PseudoMask, pseudo_mask
from semisup.evaluation.tiles import label_images
from semisup.models.base import SegmentsByClass
from semisup.system.files import exists
from semisup.system.progress import track
from semisup.system.torch_errors import translated_errors
from semisup.types import IGNORE


@dataclass(frozen=True)
class PseudoMasks:
    """What was written.

    Attributes:
        images: that have a pseudo-mask now.
        kept: those of them whose files were there already.
        shares: class -> share of all pixels that are labelled as it, in [0, 1].
        confidence: mean over all pixels of the probability of the most probable class.
        empty: images of which no pixel is labelled.
    """

    images: int
    kept: int
    shares: Mapping[str, float]
    confidence: float
    empty: int

    @property
    def share(self) -> float:
        """Of the pixels that are labelled, in [0, 1]."""
        return sum(self.shares.values())

    def content(self) -> dict[str, Any]:
        """For the record beside the masks."""
        return {
            "images": self.images,
            "images_without_a_label": self.empty,
            "labelled_share": self.share,
            "labelled_share_of_class": dict(self.shares),
            "mean_confidence": self.confidence,
        }


def write_pseudo_masks(
    out: Path,
    inference: Inference,
    data: SegmentationData,
    ids: Sequence[str],
    threshold: float,
    tags: Mapping[str, frozenset[int]],
) -> PseudoMasks:
    """Write OUT/<id>.png and OUT/confidence/<id>.png for each image; no mask of `data` is opened.

    An image whose files are there already is left alone, so that a call that was interrupted goes
    on where it was stopped; each mask states the hash of its image.

    Args:
        out: folder of the pseudo-masks.
        inference: the network with its protocol.
        data: the images.
        ids: which of them are labelled.
        threshold: smallest probability that is taught, in [0, 1].
        tags: id -> the foreground classes that are known to be in the image; others have none.

    Raises:
        DataError: an image cannot be read, or a mask that is there is of another image.
        RunError: a file cannot be written.
    """
    counts = torch.zeros(data.num_classes, dtype=torch.int64)
    kept, pixels, sure, empty = 0, 0, 0.0, 0
    for name in track(ids, "labelling", len(ids)):
        index = data.index(name)
        digest = _hash_of(data.image_path(index), name)
        made = _made_before(out, name, digest)
        if made is None:
            known = tags.get(name)
            made = label_image(inference, data.image(index), threshold, known)
            _write(out, name, made, data, digest)
        else:
            kept += 1
        labelled = made.labels[made.labels != IGNORE].long()
        counts += torch.bincount(labelled, minlength=len(counts))
        pixels += made.labels.numel()
        sure += float(made.confidence.double().sum()) / 255
        empty += not len(labelled)
    shares = {
        name: int(count) / max(1, pixels)
        for name, count in zip(data.classes, counts.tolist(), strict=True)
    }
    return PseudoMasks(len(ids), kept, shares, sure / max(1, pixels), empty)


def label_image(
    inference: Inference, image: Tensor, threshold: float, tags: frozenset[int] | None
) -> PseudoMask:
    """The pseudo-mask of one image.

    A network that segments class by class is asked for the classes of the tags alone.

    Args:
        inference: the network with its protocol.
        image: CHW, as the inference takes it.
        threshold: smallest probability that is taught.
        tags: the foreground classes in the image; None: not known.
    """
    network = inference.predictor
    by_class = network if isinstance(network, SegmentsByClass) else None
    if by_class is not None:
        by_class.force_classes(None if tags is None else sorted(tags))
    try:
        with translated_errors():
            made = label_images(inference, image[None], torch.float32)
    finally:
        if by_class is not None:
            by_class.force_classes(None)
    assert made.probabilities is not None
    return pseudo_mask(made.probabilities[0], threshold, tags)


def confidence_path(out: Path, name: str) -> Path:
    """Where the confidence of an image goes."""
    return out / CONFIDENCE / f"{name}.png"


def _write(out: Path, name: str, made: PseudoMask, data: SegmentationData, digest: str) -> None:
    """The confidence first and the mask last, by which the image is done."""
    paths = confidence_path(out, name), out / f"{name}.png"
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{path.parent}: cannot be made ({error.strerror}). Choose another --out."
            ) from None
    write_grey_png(paths[0], made.confidence)
    write_palette_png(paths[1], made.labels, data.palette, image=digest)


def _made_before(out: Path, name: str, digest: str) -> PseudoMask | None:
    """What an earlier call has written of an image; None: it has not, or not to the end.

    Raises:
        DataError: it is of another image, or damaged.
    """
    mask, confidence = out / f"{name}.png", confidence_path(out, name)
    if not (exists(mask) and exists(confidence)):
        return None
    if labelled_image(mask) != digest:
        raise DataError(
            f"{mask}: is the pseudo-mask of another image than '{name}' is now; remove it, or give "
            "these pseudo-masks a folder of their own"
        )
    return PseudoMask(read_labels(mask), read_grey(confidence)[0])


def _hash_of(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: image '{name}' cannot be read ({error.strerror})") from None
