"""Label maps for images without ground truth: palette PNGs, overlays, probabilities."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from semisup.data.base import Colour, SegmentationData
from semisup.data.formats.pictures import read_rgb, write_palette_png
from semisup.errors import DataError, RunError
from semisup.evaluation.class_by_class import draw_explanation
from semisup.evaluation.inference import Inference
from semisup.metrics.confusion import label_map
from semisup.pictures.drawing import overlay
from semisup.system.files import exists, write_atomically, write_text
from semisup.system.progress import track
from semisup.system.torch_errors import translated_errors

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


Image8 = TypeVar("Image8", Tensor, NDArray[np.uint8])
"""An image in memory: a tensor, or an array of numpy."""


class Predictor:
    """Labels images in memory with a trained network, by the protocol of its run.

    Args:
        inference: the network with its protocol.
        classes: K names.
        palette: K colours.
    """

    def __init__(
        self, inference: Inference, classes: Sequence[str], palette: Sequence[Colour]
    ) -> None:
        self.classes = tuple(classes)
        self.palette = tuple(palette)
        self._inference = inference

    def __call__(self, image: Image8) -> Image8:
        """The class of each pixel, as uint8 class ids 0..K-1.

        Args:
            image: uint8 RGB of any size: an array HW3 of numpy, or a tensor 3HW or B3HW.

        Returns:
            Of the same kind: an array HW, or a tensor HW or BHW on the CPU.

        Raises:
            DataError: the image is of another type or shape.
        """
        labels: Image8 = _as_given(label_map(self._logits(image)).cpu(), image)
        return labels

    def probabilities(self, image: Image8) -> Any:
        """The probability of each class at each pixel, float32.

        Args:
            image: as for calling it.

        Returns:
            Of the same kind: an array KHW, or a tensor KHW or BKHW on the CPU.

        Raises:
            DataError: the image is of another type or shape.
        """
        return _as_given(self._logits(image).softmax(dim=1).cpu(), image)

    def _logits(self, image: Tensor | NDArray[np.uint8]) -> Tensor:
        with translated_errors():
            return self._inference.logits(_as_batch(image))


def _as_batch(image: Any) -> Tensor:
    """An image in memory as uint8 B3HW."""
    kind = f"{type(image).__name__} {getattr(image, 'dtype', '')}".strip()
    shape = tuple(getattr(image, "shape", ()))
    if getattr(image, "dtype", None) in (torch.uint8, np.uint8) and 0 not in shape:
        if isinstance(image, Tensor) and len(shape) in (3, 4) and shape[-3] == 3:
            return image if len(shape) == 4 else image[None]
        if isinstance(image, np.ndarray) and len(shape) == 3 and shape[-1] == 3:
            return torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    raise DataError(
        f"image: cannot label a {kind} of shape {shape}. Give uint8 RGB: an array HW3, or a tensor "
        "3HW or B3HW."
    )


def _as_given(values: Tensor, image: Any) -> Any:
    """What was computed of a batch, in the form in which the image was given."""
    if isinstance(image, Tensor):
        return values if image.ndim == 4 else values[0]
    return values[0].numpy()


def find_images(paths: Sequence[Path], *, endings: Sequence[str] = ()) -> list[Path]:
    """The files named, and the images in the folders named (not below them), sorted.

    Args:
        paths: files and folders.
        endings: of other files that will be written, such as "_overlay" of `<stem>_overlay.png`.

    Raises:
        DataError: a path is not there, a folder holds no image, or one prediction would be written
            over another.
    """
    found: list[Path] = []
    for path in paths:
        if not exists(path):
            raise DataError(f"{path}: there is no such file or folder. Check the path.")
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise DataError(f"{path}: holds no image ({', '.join(IMAGE_SUFFIXES)}).")
            found += inside
        else:
            found.append(path)
    stems: dict[str, Path] = {}
    for path in found:
        _check_free(path, stems.setdefault(path.stem, path))
    for path in found:
        for ending in endings:
            _check_free(path, stems.get(path.stem.removesuffix(ending), path))
    return found


def _check_free(path: Path, other: Path) -> None:
    """Raise if what is predicted for `path` goes where that of `other`, another image, goes."""
    if other != path:
        raise DataError(
            f"{path}: would be written over the prediction of {other}. "
            "Predict them into two folders."
        )


def make_folder(out: Path) -> None:
    """Make the folder of the predictions.

    Raises:
        RunError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made ({error.strerror}). Choose another --to.") from None


def claim_folder(out: Path, facts: Mapping[str, Any], stems: Sequence[str]) -> None:
    """Note in a folder what its label maps are made by; refuse it where that was something else.

    Args:
        out: folder of the label maps.
        facts: what they depend on: run, protocol.
        stems: names of the label maps that will be written.

    Raises:
        RunError: the folder holds label maps of other facts, or files that would be taken for them.
    """
    marker = out / "predictions.json"
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    if marker.is_file():
        if marker.read_bytes() != text.encode():
            raise RunError(
                f"{out}: holds predictions of another run or protocol (see {marker.name}). "
                "Choose another --to."
            )
        return
    for stem in stems:
        if (out / f"{stem}.png").exists():
            raise RunError(
                f"{out / stem}.png: is there already and no prediction. Choose another --to."
            )
    write_text(marker, text)


def predict_files(
    inference: Inference,
    paths: Sequence[Path],
    out: Path,
    classes: Sequence[str],
    palette: Sequence[Colour],
    *,
    with_overlay: bool = False,
    soft: bool = False,
    explain: bool = False,
) -> int:
    """Write `<stem>.png` (label map) for each image; returns how many were written.

    An image whose files are all there already is left alone, so that an interrupted call goes on
    where it was stopped; `claim_folder` sees to it that they are of the same run and protocol.

    Args:
        inference: the predictor with its protocol.
        paths: image files.
        out: folder to write to.
        classes: K names, kept beside the probabilities.
        palette: K colours.
        with_overlay: write `<stem>_overlay.png` too.
        soft: write `<stem>.npz` too: `probabilities` float16 KHW and `classes`.
        explain: write `<stem>_explain.png` too: what each identified class comes from.
    """
    written = 0
    for path in track(paths, "predicting"):
        target = out / f"{path.stem}.png"
        picture, probabilities = out / f"{path.stem}_overlay.png", out / f"{path.stem}.npz"
        reasons = out / f"{path.stem}_explain.png"
        wanted = [target, *[picture] * with_overlay, *[probabilities] * soft, *[reasons] * explain]
        if all(file.is_file() for file in wanted):
            continue
        image = read_rgb(path)
        logits = inference.logits(image[None])
        labels = label_map(logits)[0].cpu()
        if soft:
            _write_soft(probabilities, logits.softmax(dim=1)[0], classes)
        if with_overlay:
            _write_picture(picture, overlay(image, labels, palette))
        if explain:
            draw_explanation(reasons, inference, image, labels, classes, palette)
        write_palette_png(target, labels, palette)  # last: it says that the image is done
        written += 1
    return written


def _write_picture(path: Path, picture: Tensor) -> None:
    """Write uint8 HW3 as PNG."""
    encoded = Image.fromarray(picture.numpy())
    write_atomically(path, lambda file: encoded.save(file, format="PNG"))


def _write_soft(path: Path, probabilities: Tensor, classes: Sequence[str]) -> None:
    values = probabilities.to(torch.float16).cpu().numpy()
    write_atomically(
        path,
        lambda file: np.savez_compressed(file, probabilities=values, classes=np.array(classes)),
    )


def write_submission(
    inference: Inference, data: SegmentationData, out: Path, competition: str = "comp6"
) -> Path:
    """Label maps in the folder layout of the VOC server; pack `results/` and upload it.

    Args:
        inference: the predictor with its protocol.
        data: the images, such as VOC's "test".
        out: where `results/VOC2012/Segmentation/<competition>_<subset>_cls/` is made.
        competition: comp5 (VOC's data alone) or comp6 (other data too, such as ImageNet).

    Returns:
        The folder of the label maps.

    Raises:
        DataError: the data set's label ids are not VOC's 21.
    """
    if data.name != "voc" or data.num_classes != 21:
        raise DataError(
            f"the VOC server wants all 21 classes of voc, not the {data.num_classes} of "
            f"{data.name}. Train without data.classes."
        )
    folder = out / "results" / "VOC2012" / "Segmentation" / f"{competition}_{data.subset}_cls"
    folder.mkdir(parents=True, exist_ok=True)
    for index in track(range(len(data)), "predicting"):
        labels = label_map(inference(data.image(index)[None]))[0].cpu()
        write_palette_png(folder / f"{data.ids[index]}.png", labels, data.palette)
    return folder
