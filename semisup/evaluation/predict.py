"""Label maps for images without ground truth: palette PNGs, overlays, probabilities."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semisup.data.base import Colour
from semisup.data.formats.channels import read_image
from semisup.data.formats.orientation import stored_orientation, upright
from semisup.data.formats.pictures import write_palette_png
from semisup.errors import DataError, RecipeError, SemisupError
from semisup.evaluation.class_by_class import draw_explanation
from semisup.evaluation.folders.prediction_folder import (
    EXPLANATION,
    OVERLAY,
    PROBABILITIES,
    UNCERTAINTY,
    UNCERTAINTY_COLOURS,
    PredictionFolder,
)
from semisup.evaluation.folders.sources import LABELS, ImageFile
from semisup.evaluation.in_memory import as_batch, as_given
from semisup.evaluation.inference import Inference
from semisup.evaluation.tiles import LabelledImages, is_tiled, label_images
from semisup.evaluation.uncertainty import Sampled
from semisup.evaluation.volumes import SliceFiles, VolumeInference
from semisup.metrics.confusion import label_map
from semisup.ops.pixels import RGB, ImageKind, as_shown
from semisup.pictures.drawing import overlay
from semisup.system.files import write_atomically
from semisup.system.progress import track
from semisup.system.torch_errors import translated_errors

_ROWS = 512
"""Of a picture that are drawn at once."""


class Predictor:
    """Labels images in memory with a trained network, by the protocol of its run.

    Args:
        inference: the network with its protocol.
        classes: K names.
        palette: K colours.
        apply_exif: whether a picture of Pillow is turned as its EXIF orientation says.
    """

    def __init__(
        self,
        inference: Inference,
        classes: Sequence[str],
        palette: Sequence[Colour],
        *,
        apply_exif: bool = True,
    ) -> None:
        self.classes = tuple(classes)
        self.palette = tuple(palette)
        self._inference = inference
        self._apply_exif = apply_exif

    def __call__(self, image: Any) -> Any:
        """The class of each pixel, as uint8 class ids 0..K-1.

        Args:
            image: uint8 RGB, 0..255, of any size: an array HW3 or BHW3 of numpy, a tensor 3HW or
                B3HW, or a picture of Pillow, which is turned as its EXIF orientation says. Where
                the run was trained on others, with as many channels and bits as those.

        Returns:
            Of the same kind: an array HW or BHW (HW for a picture), or a tensor HW or BHW on the
            CPU.

        Raises:
            DataError: the image is of another type or shape; floats are never converted by guess.
        """
        return as_given(self._label(image).labels, image)

    def probabilities(self, image: Any) -> Any:
        """The probability of each class at each pixel, float32.

        Args:
            image: as for calling it.

        Returns:
            Of the same kind: an array KHW or BKHW, or a tensor KHW or BKHW on the CPU.

        Raises:
            DataError: the image is of another type or shape.
        """
        return as_given(self._softly(image)[1], image)

    def sampled(self, image: Any) -> Sampled:
        """Labels, mean probabilities and uncertainty, from `eval.samples` passes with dropout.

        Args:
            image: as for calling it.

        Returns:
            Each of the same kind as the image.

        Raises:
            DataError: the image is of another type or shape.
            RecipeError: the protocol has no samples.
        """
        if not self._inference.settings.samples:
            raise RecipeError(
                "samples: the protocol of this run has none. Open it with "
                "changes='eval.samples=20', or another number."
            )
        made, probabilities = self._softly(image)
        assert made.uncertainty is not None
        parts = (made.labels, probabilities, made.uncertainty)
        return Sampled(*(as_given(part, image) for part in parts))

    def _softly(self, image: Any) -> tuple[LabelledImages, Tensor]:
        made = self._label(image, torch.float32)
        assert made.probabilities is not None
        return made, made.probabilities

    def _label(self, image: Any, soft: torch.dtype | None = None) -> LabelledImages:
        batch = as_batch(image, self._inference.images.kind, apply_exif=self._apply_exif)
        with translated_errors():
            return label_images(self._inference, batch, soft)


def read_upright(path: Path, kind: ImageKind = RGB, *, apply_exif: bool = True) -> Tensor:
    """An image file as a viewer shows it: CHW; errors as in `read_image`.

    Args:
        path: of the file.
        kind: channels and bits that it must have.
        apply_exif: False: as it is stored.
    """
    image = read_image(path, kind)
    return upright(image, stored_orientation(path)) if apply_exif else image


class UnlabelledImagesError(DataError):
    """Images that could not be labelled, after all others were.

    Attributes:
        lines: the reason for each, in one line that names its file.
    """

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Labelled:
    """What `predict_files` did.

    Attributes:
        written: number of images that were labelled.
        kept: number of images whose files were there already.
        tiled: number of those written that were too large for one forward pass.
        bad: the reason for each image that could not be labelled, in one line that names its file.
    """

    written: int
    kept: int
    tiled: int
    bad: tuple[str, ...]

    def check(self) -> None:
        """Raise if an image could not be labelled.

        Raises:
            UnlabelledImagesError: of one, its line; of several, their number and the first line.
        """
        total = self.written + self.kept + len(self.bad)
        if len(self.bad) == 1:
            raise UnlabelledImagesError(self.bad[0], self.bad)
        if self.bad:
            raise UnlabelledImagesError(
                f"{len(self.bad)} of {total} images have no label map, such as: {self.bad[0]}",
                self.bad,
            )


@dataclass(frozen=True, slots=True)
class _Prediction:
    image: Tensor  # CHW
    labels: Tensor  # uint8 HW
    probabilities: Tensor | None  # float16 KHW
    uncertainty: Tensor | None  # HW
    tiled: bool


def predict_files(
    inference: Inference,
    images: Sequence[ImageFile],
    folder: PredictionFolder,
    classes: Sequence[str],
    palette: Sequence[Colour],
    *,
    with_overlay: bool = False,
    soft: bool = False,
    explain: bool = False,
    apply_exif: bool = True,
) -> Labelled:
    """Write `<name>.png` (label map) for each image; goes on past those that cannot be labelled.

    Where the protocol has samples, `<name>_uncertainty.png` (16 bits) and
    `<name>_uncertainty_colours.png` (for people) as well.

    An image whose files are all there already is left alone, so that an interrupted call goes on
    where it was stopped; the folder sees to it that they are of the same run and protocol, and each
    label map states the hash of its image, or of the slices that it is made from. One of another
    image counts as bad and is left alone.

    Args:
        inference: the predictor with its protocol.
        images: what to label, and under which names.
        folder: where to write.
        classes: K names, kept beside the probabilities.
        palette: K colours.
        with_overlay: write `<name>_overlay.png` too.
        soft: write `<name>.npz` too: `probabilities` float16 KHW and `classes`.
        explain: write `<name>_explain.png` too: what each identified class comes from.
        apply_exif: whether images are turned as their EXIF orientation says.
    """
    samples = inference.settings.samples
    endings = [
        *[PROBABILITIES] * soft,
        *[OVERLAY] * with_overlay,
        *[EXPLANATION] * explain,
        *[UNCERTAINTY, UNCERTAINTY_COLOURS] * bool(samples),
        LABELS,
    ]
    written, kept, tiled, bad = 0, 0, 0, []
    volumes = _volumes(inference, images)
    hash_of = functools.cache(_file_sha256)
    for source in track(images, "predicting"):
        image = _stated_hash(inference, volumes, source.path, hash_of)
        if image and folder.is_of_another(source.name, image):
            of = "another image than {} is now" if not volumes else "{} among other slices than now"
            bad.append(
                f"{folder.file(source.name)}: is the label map of {of.format(source.path)}; "
                "replace it with --overwrite, or choose another --to"
            )
            continue
        if image and folder.is_done(source.name, endings):
            kept += 1
            continue
        try:
            made = (
                _predict_slice(inference, volumes[source.path.parent], source.path, soft)
                if isinstance(inference, VolumeInference)
                else _predict(inference, source.path, soft, apply_exif)
            )
        except SemisupError as error:
            bad.append(_naming(source.path, error))
            continue
        folder.begin(source.name)
        files = {ending: folder.file(source.name, ending) for ending in endings}
        if made.probabilities is not None:
            _write_soft(files[PROBABILITIES], made.probabilities, classes)
        if with_overlay:
            _write_picture(files[OVERLAY], _overlay(made, inference.images.kind, palette))
        if explain:
            draw_explanation(
                files[EXPLANATION], inference, made.image, made.labels, classes, palette
            )
        if made.uncertainty is not None:
            _write_uncertainty(files, made.uncertainty, samples)
        # last: the image is done
        write_palette_png(files[LABELS], made.labels, palette, image=image)
        written += 1
        tiled += made.tiled
    return Labelled(written, kept, tiled, tuple(bad))


def _file_sha256(path: Path) -> str:
    """The hash of an image file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _stated_hash(
    inference: Inference,
    volumes: Mapping[Path, SliceFiles],
    path: Path,
    hash_of: Callable[[Path], str],
) -> str:
    """What a label map states of its image: the hash of it, or of the slices that it is made from.

    Empty where one cannot be read.
    """
    if not isinstance(inference, VolumeInference):
        return hash_of(path)
    volume = volumes[path.parent]
    places = inference.places_around(volume.paths.index(path))
    hashes = [hash_of(own) for own in volume.paths_of(places)]
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if all(hashes) else ""


def _predict(inference: Inference, path: Path, soft: bool, apply_exif: bool) -> _Prediction:
    """One image; a `SemisupError` is of this image."""
    with translated_errors():
        image = read_upright(path, inference.images.kind, apply_exif=apply_exif)
        made = label_images(inference, image[None], torch.float16 if soft else None)
        return _Prediction(
            image,
            made.labels[0],
            None if made.probabilities is None else made.probabilities[0],
            None if made.uncertainty is None else made.uncertainty[0],
            is_tiled(inference, image[None]),
        )


def _volumes(inference: Inference, images: Sequence[ImageFile]) -> dict[Path, SliceFiles]:
    """Folder -> its pictures as the slices of a volume, for a network that reads such."""
    if not isinstance(inference, VolumeInference):
        return {}
    paths: dict[Path, list[Path]] = {}
    for image in images:
        paths.setdefault(image.path.parent, []).append(image.path)
    return {folder: SliceFiles(own, inference.images.kind) for folder, own in paths.items()}


def _predict_slice(
    inference: VolumeInference, volume: SliceFiles, path: Path, soft: bool
) -> _Prediction:
    """One slice, with those around it; a `SemisupError` is of one of them."""
    with translated_errors():
        image = read_image(path, inference.images.kind)
        logits = inference.slice_logits(volume, volume.paths.index(path))
        probabilities = logits.softmax(0).to(torch.float16).cpu() if soft else None
        return _Prediction(
            image, label_map(logits[None])[0].cpu(), probabilities, None, tiled=False
        )


def _naming(path: Path, error: SemisupError) -> str:
    """The line of an error, with the file in it."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def _overlay(made: _Prediction, kind: ImageKind, palette: Sequence[Colour]) -> Tensor:
    """HW3; in strips, since colours are mixed in floats."""
    images = torch.split(as_shown(made.image, kind), _ROWS, dim=1)
    labels = torch.split(made.labels, _ROWS, dim=0)
    strips = [overlay(*strip, palette) for strip in zip(images, labels, strict=True)]
    return torch.cat(strips)


def _write_picture(path: Path, picture: Tensor) -> None:
    """Write uint8 HW3 as PNG."""
    encoded = Image.fromarray(picture.numpy())
    write_atomically(path, lambda file: encoded.save(file, format="PNG"))


def _write_uncertainty(files: Mapping[str, Path], uncertainty: Tensor, samples: int) -> None:
    from semisup.pictures.uncertainty import draw_uncertainty, write_uncertainty

    write_uncertainty(files[UNCERTAINTY], uncertainty, samples)
    _write_picture(files[UNCERTAINTY_COLOURS], draw_uncertainty(uncertainty))


def _write_soft(path: Path, probabilities: Tensor, classes: Sequence[str]) -> None:
    values = probabilities.numpy()
    write_atomically(
        path,
        lambda file: np.savez_compressed(file, probabilities=values, classes=np.array(classes)),
    )
