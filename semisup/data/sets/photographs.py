"""Any folder of photographs, as images that have no mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.channels import read_image
from semisup.data.formats.orientation import stored_orientation, upright
from semisup.data.formats.pictures import IMAGE_SUFFIXES
from semisup.data.formats.trees import FileTree, folder_of, read_tree
from semisup.errors import DataError
from semisup.ops.pixels import ImageKind


class Photographs(SegmentationData):
    """The images of a folder and its sub-folders, of any sizes.

    An id is the path of a file relative to the folder, suffix included; they are sorted. There are
    no masks: asking for one is an error, whatever lies on the disk. So photographs are turned as
    their EXIF orientation says, as `semisup predict` turns them.

    Args:
        tree: the files.
        beside: the data set whose recipe reads them, for classes, colours and the kind of image.
    """

    name = "photographs"

    def __init__(self, tree: FileTree, beside: SegmentationData) -> None:
        self.root, self.subset = tree.folder, tree.name
        self.ids = tuple(tree.files)
        self.classes, self.palette = beside.classes, beside.palette
        self._files, self._kind = tuple(tree.files.values()), beside.image_kind

    @property
    def image_kind(self) -> ImageKind:
        """That of the data set beside."""
        return self._kind

    def image_path(self, index: int) -> Path:
        """Where photograph `index` lies."""
        return self._files[index]

    def image(self, index: int) -> Tensor:
        """Photograph `index` as a viewer shows it: CHW; errors as in `read_image`."""
        path = self._files[index]
        return upright(read_image(path, self._kind), stored_orientation(path))

    def has_mask(self, index: int) -> bool:
        """Never."""
        return False

    def mask_path(self, index: int) -> NoReturn:
        """There is none.

        Raises:
            DataError: always.
        """
        raise DataError(f"{self._files[index]} is an unlabelled photograph; there is no mask of it")

    def mask(self, index: int) -> NoReturn:
        """There is none.

        Raises:
            DataError: always.
        """
        self.mask_path(index)


def read_photographs(spec: str) -> FileTree:
    """The files that "folder:PATH" names; no picture is opened.

    Raises:
        RecipeError: another form.
        DataError: no such folder, or no photograph in it.
    """
    folder = folder_of(spec, "data.unlabelled", '"rest", "all" or ')
    return read_tree(
        folder, IMAGE_SUFFIXES, 'give data.unlabelled = "folder:PATH" of a folder of photographs'
    )


def describe_photographs(tree: FileTree) -> dict[str, Any]:
    """Name, number of files and SHA-256 of their names and sizes, for run and result."""
    return {
        "source": tree.name,
        "files": len(tree.files),
        "sha256": tree.sha256_of_sizes(),
        "sha256_of": "names and sizes",
    }
