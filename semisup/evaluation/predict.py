"""Label maps for images without ground truth: palette PNGs, overlays, probabilities."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semisup.data.base import Colour
from semisup.data.formats.channels import read_image
from semisup.data.formats.orientation import stored_orientation, upright
from semisup.data.formats.pictures import read_labels, write_palette_png
from semisup.errors import DataError, RecipeError, RunError, SemisupError
from semisup.evaluation.class_by_class import draw_explanation
from semisup.evaluation.folders.prediction_folder import (
    COCO,
    EXPLANATION,
    GEOTIFF,
    OVERLAY,
    PROBABILITIES,
    UNCERTAINTY,
    UNCERTAINTY_COLOURS,
    VIDEO_OVERLAY,
    PredictionFolder,
)
from semisup.evaluation.folders.sources import LABELS, ImageFile
from semisup.evaluation.in_memory import as_batch, as_given
from semisup.evaluation.inference import Inference
from semisup.evaluation.outputs.coco_rle import check_coco, write_coco
from semisup.evaluation.outputs.geotiff import Place, place_of, write_geotiff
from semisup.evaluation.outputs.video import VideoReader, VideoWriter, is_video
from semisup.evaluation.tiles import LabelledImages, is_tiled, label_images
from semisup.evaluation.uncertainty import Sampled
from semisup.evaluation.volumes import SliceFiles, VolumeInference
from semisup.metrics.confusion import label_map
from semisup.ops.pixels import RGB, ImageKind, as_shown
from semisup.pictures.drawing import overlay
from semisup.pictures.legends import background_of, present, with_legend
from semisup.system.files import write_atomically
from semisup.system.progress import track
from semisup.system.torch_errors import translated_errors


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
    coco: bool = False,
    apply_exif: bool = True,
) -> Labelled:
    """Write `<name>.png` (label map) for each image; goes on past those that cannot be labelled.

    Of a video `<name>/frame_000000.png` and so on, a frame in memory at a time, and as overlay one
    video. Of a TIFF that says where it lies on the ground `<name>_labels.tif` as well, with its
    tags; such an image is labelled as it is stored.

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
        coco: write `predictions_coco.json` too: all label maps as masks of MS COCO.
        apply_exif: whether images are turned as their EXIF orientation says.

    Raises:
        RunError: a file cannot be written; or, with `coco`, one is there of other images.
    """
    samples = inference.settings.samples
    endings = [
        *[PROBABILITIES] * soft,
        *[OVERLAY] * with_overlay,
        *[EXPLANATION] * explain,
        *[UNCERTAINTY, UNCERTAINTY_COLOURS] * bool(samples),
        LABELS,
    ]
    if coco:
        check_coco(folder.path / COCO, map(_shown_name, images), overwrite=folder.overwrites)
    task = _Task(
        inference, folder, tuple(classes), tuple(palette), tuple(endings), soft, apply_exif
    )
    pictures = [image for image in images if not is_video(image.path)]
    volumes = _volumes(inference, pictures)
    hash_of = functools.cache(_file_sha256)
    for source in track(pictures, "predicting"):
        image = _stated_hash(inference, volumes, source.path, hash_of)
        task.label(source, image, volumes)
    for source in images:
        if is_video(source.path):
            task.label_video(source, hash_of(source.path))
    if coco and task.done:
        write_coco(folder.path / COCO, task.done, classes)
    return Labelled(task.written, task.kept, task.tiled, tuple(task.bad))


def frame_name(video: str, number: int) -> str:
    """The name of the label map of a frame, from 0, without suffix."""
    return f"{video}/frame_{number:06d}"


def _shown_name(image: ImageFile) -> str:
    """What an image is called in a list of label maps: as its label map, with its own suffix."""
    return f"{image.name}{image.path.suffix}"


@dataclass
class _Task:
    """Labels image after image, and counts what it did."""

    inference: Inference
    folder: PredictionFolder
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    endings: tuple[str, ...]
    soft: bool
    apply_exif: bool
    written: int = 0
    kept: int = 0
    tiled: int = 0
    bad: list[str] = field(default_factory=list)
    done: list[tuple[str, Path]] = field(default_factory=list)

    def label(self, source: ImageFile, digest: str, volumes: Mapping[Path, SliceFiles]) -> None:
        """Label a picture; what is wrong with it is noted among the bad.

        Args:
            source: the picture.
            digest: what its label map states of it; empty where it cannot be read.
            volumes: those that it may be a slice of.
        """
        path, place = source.path, place_of(source.path)
        if digest and self.folder.is_of_another(source.name, digest):
            of = "another image than {} is now" if not volumes else "{} among other slices than now"
            self.bad.append(self._of_another(source.name, of.format(path)))
            return
        endings = (*[GEOTIFF] * (place is not None), *self.endings)
        if not (digest and self.folder.is_done(source.name, endings)):
            try:
                made = (
                    _predict_slice(self.inference, volumes[path.parent], path, self.soft)
                    if isinstance(self.inference, VolumeInference)
                    else _predict(
                        self.inference, path, self.soft, self.apply_exif and place is None
                    )
                )
            except SemisupError as error:
                self.bad.append(_naming(path, error))
                return
            self._write(source.name, made, endings, digest, place)
            self.written += 1
        else:
            self.kept += 1
        self.done.append((_shown_name(source), self.folder.file(source.name)))

    def label_video(self, source: ImageFile, digest: str) -> None:
        """Label each frame of a video; what is wrong with it is noted among the bad.

        Args:
            source: the video.
            digest: what the label maps of its frames state of it; empty where it cannot be read.
        """
        try:
            self._check_frames_fit(source.path)
            with VideoReader(source.path, turned=self.apply_exif) as video:
                self._label_frames(source, video, digest)
        except RunError:  # of the disk, and not of the video
            raise
        except SemisupError as error:
            self.bad.append(_naming(source.path, error))

    def _check_frames_fit(self, path: Path) -> None:
        kind = self.inference.images.kind
        if isinstance(self.inference, VolumeInference) or kind != RGB:
            reads = "slices of volumes" if isinstance(self.inference, VolumeInference) else kind
            raise DataError(f"{path}: is a video, whose frames are {RGB}; the run reads {reads}")

    def _label_frames(self, source: ImageFile, video: VideoReader, digest: str) -> None:
        endings = tuple(ending for ending in self.endings if ending != OVERLAY)
        shown = self.folder.file(source.name, VIDEO_OVERLAY)
        number = -1
        with contextlib.ExitStack() as stack:
            writer = None
            if OVERLAY in self.endings and (self.folder.replaces or not shown.is_file()):
                writer = stack.enter_context(VideoWriter(shown, video))
            frames = track(video.frames(), f"predicting {source.path.name}", video.length)
            for number, frame in enumerate(frames):
                name = frame_name(source.name, number)
                if self.folder.is_of_another(name, digest):
                    of = f"another video than {source.path} is now"
                    raise DataError(self._of_another(name, of))
                labels = self._label_frame(name, frame.image, endings, digest)
                if writer is not None:
                    writer.add(self._overlay(frame.image, labels, whole=True), frame.shown_at)
                file = self.folder.file(name)
                self.done.append((f"{_shown_name(source)}/{Path(name).name}", file))
        if number < 0:
            raise DataError(f"{source.path}: holds no frame; convert or mend it")
        if video.stated is not None and number + 1 < video.stated:
            warnings.warn(
                f"{source.path}: states {video.stated} frames, of which {number + 1} are shown or "
                "can be decoded; look whether its end is missing.",
                stacklevel=2,
            )

    def _label_frame(self, name: str, image: Tensor, endings: Sequence[str], digest: str) -> Tensor:
        """The labels of a frame: made and written, or those that are there."""
        if self.folder.is_done(name, endings):
            self.kept += 1
            return read_labels(self.folder.file(name))
        with translated_errors():
            made = _label(self.inference, image, self.soft)
        self._write(name, made, endings, digest)
        self.written += 1
        return made.labels

    def _of_another(self, name: str, of: str) -> str:
        return (
            f"{self.folder.file(name)}: is the label map of {of}; replace it with --overwrite, or "
            "choose another --to"
        )

    def _write(
        self,
        name: str,
        made: _Prediction,
        endings: Sequence[str],
        digest: str,
        place: Place | None = None,
    ) -> None:
        """Write what is predicted for one image; its label map last, by which it is done."""
        self.folder.begin(name)
        files = {ending: self.folder.file(name, ending) for ending in endings}
        if PROBABILITIES in files and made.probabilities is not None:
            _write_soft(files[PROBABILITIES], made.probabilities, self.classes)
        if OVERLAY in files:
            shown = as_shown(made.image, self.inference.images.kind)
            _write_picture(files[OVERLAY], self._overlay(shown, made.labels))
        if EXPLANATION in files:
            draw_explanation(
                files[EXPLANATION],
                self.inference,
                made.image,
                made.labels,
                self.classes,
                self.palette,
            )
        if made.uncertainty is not None:
            _write_uncertainty(files, made.uncertainty, self.inference.settings.samples)
        if place is not None:
            write_geotiff(files[GEOTIFF], made.labels, self.palette, place, made.image)
        write_palette_png(files[LABELS], made.labels, self.palette, image=digest)
        self.tiled += made.tiled

    def _overlay(self, shown: Tensor, labels: Tensor, *, whole: bool = False) -> Tensor:
        """The classes over a picture (uint8 3HW), with a legend below: uint8 HW3.

        Args:
            shown: the picture.
            labels: HW.
            whole: whether the legend has all classes, or those in the picture.
        """
        drawn = overlay(shown, labels, self.palette, background=background_of(self.classes))
        every = list(zip(self.classes, self.palette, strict=True))
        return with_legend(drawn, every if whole else present(labels, self.classes, self.palette))


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
        return _label(
            inference, read_upright(path, inference.images.kind, apply_exif=apply_exif), soft
        )


def _label(inference: Inference, image: Tensor, soft: bool) -> _Prediction:
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


def _write_picture(path: Path, picture: Tensor) -> None:
    """Write uint8 HW3 as PNG."""
    encoded = Image.fromarray(picture.numpy())
    # A photograph of 16 megapixels takes 2 s in place of 9, for a file a sixth larger.
    write_atomically(path, lambda file: encoded.save(file, format="PNG", compress_level=1))


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
