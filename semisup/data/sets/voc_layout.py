"""Reading a tree in the layout of Pascal VOC, whatever its classes are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from semisup.data.base import Colour, ObjectBox, Problem, SegmentationData
from semisup.data.formats.id_lists import KnownIds, read_ids
from semisup.data.formats.lists import check_labels, choose_subset, relabel
from semisup.data.formats.pictures import IMAGE_SUFFIXES, read_labels, read_rgb
from semisup.data.formats.trees import list_files
from semisup.data.formats.voc_annotations import Box, read_boxes, read_names
from semisup.data.sets.voc_objects import StoredMask, fault_of_map, faults_of_boxes
from semisup.data.without_classes import check_names, classes_made_void, relabelling
from semisup.errors import DataError, RecipeError, suggest
from semisup.system.files import is_file
from semisup.types import IGNORE


class VocTree(SegmentationData):
    """A folder with JPEGImages, SegmentationClass and ImageSets/Segmentation.

    SegmentationObject is read by `instances` and `object_numbers`, Annotations by `boxes`,
    `object_boxes` and `object_names`, and both, where they are there, by `problems_beside`.

    Args:
        folder: the folder itself.
        subset: name of a list in ImageSets/Segmentation.
        names: the name of each label id.
        palette: the colour of each label id.
        keep: classes to keep, in any order; they are numbered in the order of `names` and all
            others become void. None keeps all.
    """

    def __init__(
        self,
        folder: Path,
        subset: str,
        names: tuple[str, ...],
        palette: Sequence[Colour],
        keep: tuple[str, ...] | None = None,
    ) -> None:
        self.root = folder
        self.subset = subset
        self._names = names
        kept = _positions(keep, names)
        self.classes = tuple(names[label] for label in kept)
        self.palette = tuple(palette[label] for label in kept)
        self._label = relabelling(names, self.classes)
        self.ids = self._read_subset()

    @property
    def stored_classes(self) -> tuple[str, ...]:
        """All names, those that are not kept among them."""
        return self._names

    def _lists(self) -> Path:
        return self.root / "ImageSets" / "Segmentation"

    def _read_subset(self) -> tuple[str, ...]:
        known = [path.stem for path in self._lists().glob("*.txt")]
        choose_subset(self.subset, known, self._lists())
        return self._read_list(self._lists() / f"{self.subset}.txt")

    def _read_list(self, path: Path) -> tuple[str, ...]:
        return read_ids(path, self._known_ids)

    def _known_ids(self) -> KnownIds:
        files = self._image_files()
        return KnownIds(files, files.__getitem__)

    def _image_files(self) -> dict[str, Path]:
        """Id -> file of all images, whatever their ending."""
        files = list_files(self.root / "JPEGImages", IMAGE_SUFFIXES)
        return {name.rpartition(".")[0]: path for name, path in files.items()}

    def image_path(self, index: int) -> Path:
        """JPEGImages/<id>.jpg."""
        return self.root / "JPEGImages" / f"{self.ids[index]}.jpg"

    def mask_path(self, index: int) -> Path:
        """SegmentationClass/<id>.png."""
        return self.root / "SegmentationClass" / f"{self.ids[index]}.png"

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..K-1 of the kept classes, else 255.

        Raises:
            DataError: as `read_labels`, or a label that is no class.
        """
        path = self.mask_path(index)
        labels = check_labels(self._read_mask(path), len(self._names), path)
        if self.classes == self._names:
            return labels
        return relabel(labels, self._label)

    def _read_mask(self, path: Path) -> Tensor:
        return read_labels(path)

    def instances(self, index: int) -> Tensor:
        """Objects of image `index`: uint8 HW, 0 background, 1, 2, ... one an object, 255 void.

        All annotated objects are in it, also those of classes that are not kept.

        Raises:
            DataError: as `mask`.
        """
        return read_labels(self._map_of_objects(index))

    def boxes(self, index: int) -> list[Box]:
        """Boxes of the objects of kept classes in image `index`.

        Raises:
            DataError: the XML file is missing or damaged.
        """
        return [box for box in read_boxes(self._annotation(index)) if box.name in self.classes]

    def object_numbers(self, index: int) -> Tensor | None:
        """As `instances`; None where SegmentationObject has no file of it, as for SBD's masks."""
        return self.instances(index) if is_file(self._map_of_objects(index)) else None

    def object_boxes(self, index: int) -> list[ObjectBox]:
        """As `SegmentationData`, from Annotations/<id>.xml."""
        path = self._annotation(index)
        label = {name: number for number, name in enumerate(self.classes)}
        return [
            ObjectBox(
                label.get(self._known(box.name, path), IGNORE),
                *(box.xmin - 1, box.ymin - 1, box.xmax, box.ymax),
            )
            for box in read_boxes(path)
        ]

    def object_names(self, index: int) -> list[str]:
        """As `SegmentationData`, from Annotations/<id>.xml."""
        path = self._annotation(index)
        return [self._known(name, path) for name in read_names(path)]

    def _known(self, name: str, path: Path) -> str:
        """The name of a class, if it is one of all that the data set has."""
        if name not in self._names:
            raise DataError(
                f"{path} names the class '{name}', which {self.name} does not have."
                f"{suggest(name, self._names)}"
            )
        return name

    def problems_beside(self, index: int, image: Tensor, mask: Tensor | None) -> list[Problem]:
        """What is wrong with the map of objects and the boxes of image `index`.

        As `fault_of_map` and `faults_of_boxes` say it, of the files that are there. SBD's own masks
        (.mat) are not compared with VOC's objects, whose outlines are others.
        """
        height, width = image.shape[-2:]
        objects, boxes = self._map_of_objects(index), self._annotation(index)
        problems = []
        if is_file(objects):
            stored = None
            if mask is not None and self.mask_path(index).suffix == ".png":
                stored = StoredMask(self.mask_path(index), mask.numpy(), self.classes)
            fault = fault_of_map(objects, (height, width), stored)
            problems += [Problem(objects, fault)] if fault else []
        if is_file(boxes):
            faults = faults_of_boxes(boxes, (height, width), self._names)
            problems += [Problem(boxes, fault) for fault in faults]
        return problems

    def _map_of_objects(self, index: int) -> Path:
        return self.root / "SegmentationObject" / f"{self.ids[index]}.png"

    def _annotation(self, index: int) -> Path:
        return self.root / "Annotations" / f"{self.ids[index]}.xml"

    def facts(self) -> dict[str, object]:
        """The classes that are not kept, where there are some."""
        return classes_made_void(self._names, self.classes)


def _positions(keep: tuple[str, ...] | None, names: tuple[str, ...]) -> list[int]:
    """The label ids of the classes to keep, ascending."""
    if keep is None:
        return list(range(len(names)))
    check_names(keep, "classes", names)
    if not keep:
        raise RecipeError("classes is empty; name the classes to keep, or leave the key out")
    return sorted(names.index(name) for name in keep)
