"""Masks from another folder over any data set: pseudo-labels of an earlier round, other tools'."""

from __future__ import annotations

import functools
import unicodedata
import warnings
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from semisup.data.base import Problem, SegmentationData, WrappedData
from semisup.data.formats.lists import check_labels
from semisup.data.formats.pictures import read_labels
from semisup.data.formats.trees import FileTree, folder_of, read_tree
from semisup.data.labels.pseudo_masks import (
    CONFIDENCE,
    Confidences,
    confidences_in,
    made_by,
    masks_of,
)
from semisup.data.sets.folder_masks import named_nearly
from semisup.data.weak_labels.manifest import check_written_for
from semisup.errors import DataError

_REMEDY = 'give {key} = "folder:PATH" of a folder with <id>.png'
_KEY = "data.masks"


class MasksInFolder(WrappedData):
    """A data set whose masks are the <id>.png of a folder.

    They are 8-bit grey or palette PNGs: the pixel values are the label ids of the classes of
    `data`, 255 is void, colours do not matter. An image without such a file has no mask; the masks
    of `data` itself are never opened. Files of other images are left out.

    Args:
        data: images and classes.
        tree: the files, in sub-folders where the ids have some.
        key: of the recipe that names the folder, for errors.
        weighted: whether the confidences of pseudo-masks are read, too.

    Attributes:
        confidences: of pseudo-masks, where they are read; None elsewhere.

    Raises:
        DataError: no file is named after an image, or two are named after one; or they are weak
            labels that were written for other classes.
    """

    def __init__(
        self, data: SegmentationData, tree: FileTree, key: str = _KEY, weighted: bool = False
    ) -> None:
        super().__init__(data)
        check_written_for(tree.folder, data)
        self._tree = tree
        self._masks = _by_id(tree)
        if not any(_composed(name) in self._masks for name in self.ids):
            raise DataError(
                f"{tree.folder} holds no mask of an image of subset '{data.subset}' of "
                f"{data.name}, such as {data.ids[0]}.png, but {next(iter(tree.files))}; "
                f"{_REMEDY.format(key=key)}"
            )
        self._warn_of_others()
        self.confidences = confidences_in(tree.folder) if weighted else None

    def _warn_of_others(self) -> None:
        """Say that images are unlabelled although a file seems to be named after them."""
        known = {_composed(name) for name in self.ids}
        others = [path for name, path in self._masks.items() if name not in known]
        bare = [name for name in self.ids if _composed(name) not in self._masks]
        near = named_nearly(bare, others) if others else []
        if near:
            what = "1 image is" if len(near) == 1 else f"{len(near):,} images are"
            warnings.warn(
                f"{what} unlabelled, though a file in {self._tree.folder} seems to be named after "
                f"{'it' if len(near) == 1 else 'them'}, but is not {near[0]}.png: rename it",
                stacklevel=3,
            )

    def has_mask(self, index: int) -> bool:
        """Whether the folder holds a mask of image `index`."""
        return _composed(self.ids[index]) in self._masks

    @property
    def has_objects(self) -> bool:
        """False: masks of classes do not tell objects apart."""
        return False

    def object_numbers(self, index: int) -> None:
        """None, for the same reason."""

    def problems_beside(self, index: int, image: Tensor, mask: Tensor | None) -> list[Problem]:
        """As of an image without a mask: what lies beside the set's own was not made for this."""
        return self._data.problems_beside(index, image, None)

    def masks_without_image(self) -> list[Path]:
        """None: those of the set itself are not used, and the folder may have more than are."""
        return []

    def mask_path(self, index: int) -> Path:
        """Where the mask of image `index` lies or should lie."""
        name = self.ids[index]
        return self._masks.get(_composed(name), self._tree.folder / f"{name}.png")

    def mask(self, index: int) -> Tensor:
        """Mask `index`: uint8 HW, 0..K-1 and 255; errors as in `read_labels`, `check_labels`."""
        path = self.mask_path(index)
        return check_labels(read_labels(path), self.num_classes, path)

    @functools.cached_property
    def source(self) -> dict[str, Any]:
        """Where the masks come from; see `describe_masks`."""
        return describe_masks(self._tree, self.confidences)


def read_masks(spec: str, key: str = _KEY) -> FileTree:
    """The masks that "folder:PATH" names; none is opened.

    Args:
        spec: the value of the key.
        key: of the recipe, for errors.

    Raises:
        RecipeError: another form.
        DataError: no such folder, or no PNG in it, or pseudo-masks that are not complete.
    """
    return masks_of(read_tree(folder_of(spec, key), (".png",), _REMEDY.format(key=key)))


def describe_masks(tree: FileTree, confidences: Confidences | None = None) -> dict[str, Any]:
    """Name, number of files and SHA-256 of their names and contents, for run and result.

    Of pseudo-masks also which run made them.

    Args:
        tree: the masks.
        confidences: beside them, where they are read: the hash is of both then.
    """
    stated, hashed, of = made_by(tree.folder), tree, "names and contents"
    if confidences is not None:
        beside = {f"{CONFIDENCE}/{name}": path for name, path in confidences.tree.files.items()}
        hashed, of = FileTree(tree.folder, {**tree.files, **beside}), f"{of}, with confidences"
    return {
        "source": tree.name,
        "files": len(tree.files),
        "sha256": hashed.sha256_of_contents(),
        "sha256_of": of,
        **({} if stated is None else {"made_by": stated}),
    }


def _by_id(tree: FileTree) -> dict[str, Path]:
    masks: dict[str, Path] = {}
    for name, path in tree.files.items():
        key = _composed(str(PurePosixPath(name).with_suffix("")))
        if key in masks:
            raise DataError(f"{masks[key]} and {path} are of the same image; remove one of the two")
        masks[key] = path
    return masks


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
