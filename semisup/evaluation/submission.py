"""Label maps for the server of a benchmark."""

from __future__ import annotations

from pathlib import Path

from semisup.data.base import SegmentationData
from semisup.data.formats.pictures import write_grey_png, write_palette_png
from semisup.data.submissions import LAYOUTS, Layout
from semisup.errors import DataError
from semisup.evaluation.folders.prediction_folder import make_folder
from semisup.evaluation.inference import Inference
from semisup.metrics.confusion import label_map
from semisup.system.files import exists, is_file
from semisup.system.progress import track


def write_submission(
    inference: Inference, data: SegmentationData, out: Path, competition: str = "comp6"
) -> Path:
    """Label maps in the layout of the data set's server; pack `results/` and upload it.

    Args:
        inference: the predictor with its protocol.
        data: the images, such as VOC's "test".
        out: where `results/` is made, as `LAYOUTS` has it.
        competition: of VOC: comp5 (its data alone) or comp6 (other data too, such as ImageNet).

    Returns:
        The folder of the label maps.

    Raises:
        DataError: no server of this data set is known, its classes are not those of the server, an
            image is not there, or the folder holds label maps of other images, which the server
            would be given too.
    """
    layout = _layout(data)
    folder = out / layout.folder.format(subset=data.subset, competition=competition)
    for path in map(data.image_path, range(len(data))):
        if exists(path.parent) and not is_file(path):  # a set in memory has no folder
            raise DataError(f"{path} is missing; put it there, or take it off the list")
    own = {f"{name}{layout.ending}" for name in data.ids}
    others = sorted({path.name for path in folder.glob("*.png")} - own)
    if others:
        raise DataError(
            f"{folder / others[0]}: is a label map of none of the images of {data.subset}, one "
            f"of {len(others)}. Remove them or choose another --to."
        )
    make_folder(folder)
    palette = None if layout.is_renumbered else data.palette
    for index in track(range(len(data)), "predicting"):
        labels = layout.as_stored(label_map(inference(data.image(index)[None]))[0].cpu())
        path = folder / f"{data.ids[index]}{layout.ending}"
        if palette is None:
            write_grey_png(path, labels)
        else:
            write_palette_png(path, labels, palette)
    return folder


def _layout(data: SegmentationData) -> Layout:
    layout = LAYOUTS.get(data.name)
    if layout is None:
        raise DataError(
            f"no server of {data.name} is known, but of {', '.join(sorted(LAYOUTS))}: predict its "
            "images as IMAGES"
        )
    if data.classes != layout.classes:
        raise DataError(
            f"the server of {data.name} wants all its {len(layout.classes)} classes, not "
            f"{data.num_classes}. Train without data.classes and data.ignore_classes."
        )
    return layout
