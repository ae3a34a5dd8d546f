"""Label maps as annotations of MS COCO: run-length encoded masks that pycocotools reads.

Runs go down the columns, from the left. The compressed form is that of COCO's maskApi.c.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semisup.data.formats.class_colours import is_background
from semisup.data.formats.pictures import read_labels
from semisup.errors import RunError
from semisup.system.files import exists, write_text
from semisup.types import IGNORE

_MOST_LETTERS = 7
"""Of a number of 32 bits with a sign, five bits each."""

Labels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


def class_masks(labels: Labels) -> dict[int, dict[str, Any]]:
    """Label -> `segmentation` (`size`, compressed `counts`), `area` and `bbox` (x, y, w, h).

    Args:
        labels: HW; void (255) is no label.
    """
    height, width = labels.shape
    down = labels.T.ravel()
    starts = np.concatenate(([0], np.flatnonzero(down[1:] != down[:-1]) + 1))
    values = down[starts]
    found = {}
    for label in np.unique(values).tolist():
        if label == IGNORE:
            continue
        counts = _counts(starts, values == label, down.size)
        region = labels == label
        rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
        top, left = int(rows[0]), int(columns[0])
        found[label] = {
            "segmentation": {"size": [height, width], "counts": compressed(counts)},
            "area": int(counts[1::2].sum()),
            "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        }
    return found


def _counts(starts: npt.NDArray[np.intp], inside: npt.NDArray[np.bool_], size: int) -> Counts:
    """Lengths of runs outside and inside, in turn, the first one outside (0 where there is none).

    Args:
        starts: where runs of equal labels begin.
        inside: whether each has the label.
        size: number of pixels.
    """
    changes = starts[np.flatnonzero(np.diff(inside, prepend=False))]
    return np.diff(np.concatenate(([0], changes, [size]))).astype(np.int64)


def compressed(counts: Counts) -> str:
    """Lengths of runs as COCO writes them: differences to the one before the last, base 32."""
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    letters = np.zeros((len(rest), _MOST_LETTERS), np.uint8)
    used = np.zeros(letters.shape, bool)
    active = np.ones(len(rest), bool)
    for place in range(_MOST_LETTERS):
        bits, rest = rest & 31, rest >> 5
        more = np.where(bits & 16, rest != -1, rest != 0)
        letters[:, place] = bits + 32 * more + 48
        used[:, place] = active
        active &= more
    return letters[used].tobytes().decode("ascii")


def check_coco(path: Path, names: Iterable[str], *, overwrite: bool) -> None:
    """Refuse to write over a file that has annotations of further images.

    Args:
        path: of the file that will be written.
        names: of the images that it will have, as `file_name`; a video's frames begin with its own.
        overwrite: whether it may be replaced whatever it has.

    Raises:
        RunError: it has further images, or is none of this kind.
    """
    if overwrite or not exists(path):
        return
    known = set(names)
    try:
        stated = [str(one["file_name"]) for one in json.loads(path.read_bytes())["images"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"{path}: is there already and no prediction. Choose another --to."
        ) from None
    for name in stated:
        if name not in known and name.rpartition("/")[0] not in known:
            raise RunError(
                f"{path}: has annotations of other images, such as {name}. Predict all images in "
                "one call, choose another --to, or replace the file with --overwrite."
            )


def write_coco(path: Path, maps: Sequence[tuple[str, Path]], classes: Sequence[str]) -> None:
    """Write label maps as one file of annotations.

    Each class of an image is one annotation; `category_id` is the pixel value of the class in the
    label maps. A background, by the name of the class, has no annotation, and no category.

    Args:
        path: of the file; whole or not at all.
        maps: `file_name` of each image, and its label map.
        classes: K names.

    Raises:
        DataError: a label map cannot be read.
        RunError: the file cannot be written.
    """
    categories = {
        label: {"id": label, "name": name}
        for label, name in enumerate(classes)
        if not is_background(name)
    }
    images: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, (name, place) in enumerate(maps, start=1):
        labels = read_labels(place).numpy()
        height, width = labels.shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for label, own in class_masks(labels).items():
            if label in categories:
                ids = {"id": len(found) + 1, "image_id": number, "category_id": label}
                found.append({**ids, **own, "iscrowd": 0})
    content = {
        "info": {"description": "predictions of semisup"},
        "images": images,
        "categories": list(categories.values()),
        "annotations": found,
    }
    write_text(path, json.dumps(content, separators=(",", ":")) + "\n")
