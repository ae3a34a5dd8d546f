"""Folders of pseudo-masks: what `semisup label` writes and `data.masks` and `data.weak_masks` read.

OUT/<id>.png              label ids, 255 where the run was not sure enough
OUT/confidence/<id>.png   8 bits, 255 times the probability of the most probable class
OUT/weak_labels.json      what they are: run, threshold, protocol, data, classes
OUT/pseudo_masks.json     what came of it, written last: without it the folder is not complete
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.pictures import read_grey
from semisup.data.formats.trees import FileTree, read_tree
from semisup.data.labels.known_lists.known import sha256_of
from semisup.data.weak_labels.manifest import MANIFEST, read_manifest
from semisup.errors import DataError
from semisup.system.files import write_text
from semisup.system.words import counted

KIND = "pseudo_masks"
"""As the manifest names them."""

RECORD = "pseudo_masks.json"
CONFIDENCE = "confidence"
"""Folder of the confidences, beside the masks."""


def pseudo_mask_manifest(
    data: SegmentationData,
    ids: tuple[str, ...],
    made_by: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """What some pseudo-masks are: all that they depend on, but the pixels of the images.

    Args:
        data: images and classes.
        ids: of the images that are labelled.
        made_by: run, step and weights of the network.
        options: threshold, tags and protocol, each under a key of its own.
    """
    return {
        "kind": KIND,
        "made_by": dict(made_by),
        **options,
        "data": data.name,
        "facts": json.loads(json.dumps(data.facts(), default=str)),
        "subset": data.subset,
        "images": len(ids),
        "images_sha256": sha256_of(ids),
        "classes": list(data.classes),
    }


def check_names(ids: tuple[str, ...]) -> None:
    """Refuse an id whose mask would lie among the confidences.

    Raises:
        DataError: names it.
    """
    for name in ids:
        if name.partition("/")[0] == CONFIDENCE:
            raise DataError(
                f"image '{name}' lies in a folder called '{CONFIDENCE}', where the confidences of "
                "pseudo-masks go: rename that folder"
            )


def write_record(out: Path, record: Mapping[str, Any]) -> None:
    """Write what came of the labelling, which says that the folder is complete.

    Raises:
        RunError: it cannot be written.
    """
    write_text(out / RECORD, json.dumps(record, indent=1) + "\n")


def masks_of(tree: FileTree) -> FileTree:
    """The masks in a folder of PNGs: of pseudo-masks, all but the confidences.

    Raises:
        DataError: the pseudo-masks are not complete or more than were written, or the folder's
            manifest is damaged.
    """
    content = pseudo_masks_in(tree.folder)
    if content is None:
        return tree
    if not (tree.folder / RECORD).is_file():
        raise DataError(
            f"{tree.folder} has no {RECORD}: its pseudo-masks are not complete. Repeat the "
            "'semisup label' that began them; it goes on where it was stopped"
        )
    masks = {
        name: path for name, path in tree.files.items() if not name.startswith(f"{CONFIDENCE}/")
    }
    if not masks:
        raise DataError(f"{tree.folder} holds confidences and no mask: label the images anew")
    stated = content.get("images")
    if not isinstance(stated, int):
        raise DataError(f"{tree.folder / MANIFEST} does not say how many masks; label anew")
    if len(masks) != stated:
        too_few = len(masks) < stated
        remedy = "it writes what is missing" if too_few else "take out what it did not write"
        raise DataError(
            f"{tree.folder} holds {counted(len(masks), 'mask')}, and {MANIFEST} states "
            f"{stated}: repeat the 'semisup label' that made them; {remedy}"
        )
    return FileTree(tree.folder, masks)


class Confidences:
    """How sure the run that made some pseudo-masks was of each pixel.

    Args:
        folder: of the pseudo-masks.

    Raises:
        DataError: it holds no confidences.
    """

    def __init__(self, folder: Path) -> None:
        self.tree = read_tree(
            folder / CONFIDENCE, (".png",), "repeat the 'semisup label' that made the masks"
        )
        self._paths = {_composed(name): path for name, path in self.tree.files.items()}

    def check(self, ids: Iterable[str]) -> None:
        """Refuse images without a confidence.

        Raises:
            DataError: names the first.
        """
        for name in ids:
            self._path(name)

    def __call__(self, name: str, mask: Tensor) -> Tensor:
        """255 times the probability of the most probable class: uint8 HW.

        Args:
            name: id of the image.
            mask: its pseudo-mask, uint8 HW.

        Raises:
            DataError: there is none, it cannot be read, or it is of another size.
        """
        path = self._path(name)
        found = read_grey(path)[0]
        if found.shape != mask.shape:
            raise DataError(
                f"{path} is {found.shape[0]}x{found.shape[1]}, but the pseudo-mask of the image is "
                f"{mask.shape[0]}x{mask.shape[1]} (height x width): label the image anew"
            )
        return found

    def _path(self, name: str) -> Path:
        try:
            return self._paths[_composed(f"{name}.png")]
        except KeyError:
            raise DataError(
                f"{self.tree.folder} has no {name}.png: label the images anew, or set "
                "train.confidence_weights to false"
            ) from None


def confidences_in(folder: Path) -> Confidences | None:
    """The confidences in a folder of pseudo-masks; None of any other folder.

    Raises:
        DataError: the manifest is damaged, or they are missing.
    """
    return None if pseudo_masks_in(folder) is None else Confidences(folder)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def pseudo_masks_in(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder of pseudo-masks; None of any other folder.

    Raises:
        DataError: the manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    content = read_manifest(path)
    return content if content.get("kind") == KIND else None


def made_by(folder: Path) -> dict[str, Any] | None:
    """Run, step and weights that made the pseudo-masks of a folder, with the threshold.

    None where the folder holds masks of another kind.

    Raises:
        DataError: the manifest is damaged, or does not say.
    """
    content = pseudo_masks_in(folder)
    if content is None:
        return None
    stated = content.get("made_by")
    if not isinstance(stated, dict) or "threshold" not in content:
        raise DataError(f"{folder / MANIFEST} does not say which run made the masks; label anew")
    return {**stated, "threshold": content["threshold"]}
