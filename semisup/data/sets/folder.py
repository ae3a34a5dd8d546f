"""Anyone's own images and masks."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.channels import find_kind, read_image
from semisup.data.formats.class_lists import NAMES, read_class_list, warn_of_other_lists
from semisup.data.formats.id_lists import KnownIds, ListedId, read_id_list, shown
from semisup.data.formats.lists import choose_subset, find_folder, unique
from semisup.data.formats.mask_keys import LabelKey
from semisup.data.formats.orientation import Choice, Orientation, check_mask_orientation
from semisup.data.formats.pictures import IMAGE_SUFFIXES
from semisup.data.formats.trees import files_by_id, other_files
from semisup.data.sets.folder_masks import MaskFiles
from semisup.data.sets.folder_pairs import Pairs
from semisup.errors import DataError, RecipeError
from semisup.ops.pixels import ImageKind
from semisup.system.files import exists, is_file


class Folder(SegmentationData):
    """A folder of images, a folder of masks and the names of the classes.

    - images/<id>.jpg, .jpeg, .png, .tif, .tiff, .bmp or .webp; in sub-folders, the id begins with
      their path;
    - masks/<id>.png (.tif, .bmp): label ids as 8-bit grey or palette picture, 255 for void, or an
      RGB picture in the colours that classes.txt states. An image without one is unlabelled;
    - classes.txt (or labelmap.txt, class_names.txt): one name a line, its position being the
      label id, with a colour behind it if you like ("road 128 64 128"), and the forms of
      `read_class_list`;
    - or, with `pairs`, a list of the images and their masks, wherever in the folder they lie;
    - <subset>.txt: one id a line. "all" is every image, unless there is an all.txt.

    Args:
        root: the folder itself, or the data root that `folder` is in.
        subset: name of a list, or "all".
        folder: the folder under `root`.
        channels: of the images; None: as most of them have. 3 reads 8-bit grey as three equal ones,
            and 4 the transparency of 8-bit RGB as a channel of its own.
        exif: whether photographs are turned as their EXIF orientation says: "auto" as the size of
            each mask proves that it was drawn, "apply" always, "ignore" never.
        mask_suffix: what stands behind the id in the name of a mask, such as "_mask".
        values: value in a mask -> name of its class, such as {0 = "background", 255 = "pet"};
            empty: the position in classes.txt, or the number that it states.
        void: a value in a mask that is void, such as 0: the names are those of the other values
            then, in order. 255 is void too, unless it is the value of a class.
        pairs: a list in the folder, such as "pairs.csv", with image,mask on each line, in place of
            images/ and masks/ (`semisup init` writes one); an id is the path of the image without
            ending.

    Raises:
        DataError: a folder, classes.txt or the subset is missing, a line names no image, an id
            has two images, or a line of classes.txt cannot be read.
        RecipeError: `values` or `void` contradict classes.txt.
    """

    name = "folder"
    default_split = "masked"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        folder: str = ".",
        channels: int | None = None,
        exif: Choice = "auto",
        mask_suffix: str = "",
        values: dict[str | int, str] | None = None,
        void: int | None = None,
        pairs: str = "",
    ) -> None:
        self.root, self._list = _find(root, folder, pairs)
        warn_of_other_lists(self._list)
        self.subset = subset
        listed = read_class_list(self._list)
        self.classes, self.palette = listed.names, listed.palette
        self._key = LabelKey(listed, values, void)
        if "/" in mask_suffix or "\0" in mask_suffix:
            raise RecipeError(f"mask_suffix = {mask_suffix!r} is no end of a name of a file")
        self._mask_suffix = mask_suffix
        self._pairs = Pairs(self.root, pairs) if pairs else None
        self._files = self._find_images()
        self.ids = self._read_subset()
        self._channels, self._exif = channels, exif

    def _find_images(self) -> dict[str, Path]:
        """Id -> file."""
        if self._pairs is None:
            return files_by_id(self.root / "images", IMAGE_SUFFIXES)
        if self._mask_suffix:
            raise RecipeError("pairs names the masks already; leave data.mask_suffix out")
        return self._pairs.images

    def _read_subset(self) -> tuple[str, ...]:
        lists = {p.stem: p for p in self.root.glob("*.txt") if p.name not in NAMES}
        if self.subset not in lists:
            _refuse_other_endings(self.root, self.subset)
        if self.subset == "val" and "val" not in lists:
            raise DataError(
                f"no subset 'val' in {self.root}; write val.txt, one id a line, of the images to "
                "report on"
            )
        choose_subset(self.subset, {*lists, "all"}, self.root)
        if self.subset not in lists:
            if self._pairs is None:
                _warn_of_others(self.root / "images")
            return unique(sorted(self._files), self.root / "images")
        path = lists[self.subset]
        known = KnownIds(self._files, self._files.__getitem__)
        return unique((self._listed(path, line) for line in read_id_list(path, known)), path)

    def _listed(self, path: Path, listed: ListedId) -> str:
        """The id in a line of a list."""
        if listed.id is not None:
            return listed.id
        entry = shown(listed.entry)
        if listed.why:
            raise DataError(f"{path} has the line '{entry}', which {listed.why}")
        if "\0" in listed.entry or len(listed.entry) > 250:
            raise DataError(f"{path} has the line '{entry}', which names no file; correct it")
        if self._pairs is not None:
            raise DataError(
                f"{path} lists '{entry}', which data.pairs names no image of; drop the line, or "
                f"run 'semisup init {self.root}' again where the picture is new"
            )
        self._refuse_folder(listed.entry)
        raise DataError(
            f"{path} lists '{entry}', but there is no {self.root / 'images' / entry}"
            f"{', '.join(IMAGE_SUFFIXES[:-1])} or {IMAGE_SUFFIXES[-1]}; add it or drop the line"
        )

    def _refuse_folder(self, name: str) -> None:
        for suffix in IMAGE_SUFFIXES:
            path = self.root / "images" / f"{name}{suffix}"
            if exists(path) and path.is_dir():
                raise DataError(f"{path} is a folder; put the picture in its place")

    @functools.cached_property
    def _masks(self) -> MaskFiles | Pairs:
        if self._pairs is not None:
            return self._pairs
        masks = MaskFiles(self.root / "masks", self._mask_suffix, self._files)
        masks.warn_of_overlooked()
        return masks

    @functools.cached_property
    def _orientation(self) -> Orientation:
        masks = {path: self._masks.path(name) for name, path in self._files.items()}
        return Orientation(self._exif, masks)

    @functools.cached_property
    def _kind(self) -> ImageKind:
        return find_kind(tuple(self._files.values()), self._channels)

    @property
    def image_kind(self) -> ImageKind:
        """As most images of the folder are, in whatever subset; grey among RGB is RGB."""
        return self._kind

    def image_path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self._files[self.ids[index]]

    def mask_path(self, index: int) -> Path:
        """Where the mask of image `index` lies or should lie."""
        return self._masks.path(self.ids[index])

    def has_mask(self, index: int) -> bool:
        """Whether there is a mask of image `index`."""
        return self._masks.has(self.ids[index])

    def image(self, index: int) -> Tensor:
        """Image `index`: CHW; errors as in `read_image` and `Orientation.turned`."""
        path = self.image_path(index)
        return self._orientation.turned(read_image(path, self.image_kind), path)

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..K-1 and 255.

        Raises:
            DataError: as in `LabelKey` and `check_mask_orientation`.
        """
        name = self.ids[index]
        if not self._masks.has(name):
            raise self._masks.missing(name)
        path = self._masks.path(name)
        check_mask_orientation(path, self.image_path(index))
        return self._key.read(path)

    def facts(self) -> dict[str, object]:
        """How the masks are read, where it is not by position."""
        return self._key.facts()


def _find(root: Path | str, folder: str, pairs: str) -> tuple[Path, Path]:
    """The folder, and the list of its classes."""
    place = Path(root).expanduser() / folder
    name = next((name for name in NAMES if is_file(place / name)), NAMES[0])
    found = find_folder(
        root,
        (folder,),
        (name,) if pairs else ("images", "masks", name),
        what="the data folder",
        remedy="and lay out images/<id>.jpg, masks/<id>.png and classes.txt there",
    )
    if not pairs and (found / "masks").resolve() == (found / "images").resolve():
        raise DataError(f"{found / 'masks'} and images are one folder; give the masks their own")
    return found, found / name


def _refuse_other_endings(root: Path, subset: str) -> None:
    """Say that a list is there as "train.csv", where "train.txt" is looked for."""
    for ending in (".csv", ".tsv", ".lst", ".list", ".json", ""):
        if is_file(root / f"{subset}{ending}"):
            raise DataError(
                f"no {subset}.txt in {root}, but {subset}{ending} is there: name it {subset}.txt, "
                "with one id a line"
            )


def _warn_of_others(folder: Path) -> None:
    """Say which files of a folder that is taken as a whole are no images that can be read."""
    others = other_files(folder, IMAGE_SUFFIXES)
    if others:
        names = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        count = "1 file is" if len(others) == 1 else f"{len(others):,} files are"
        warnings.warn(f"{folder}: {count} of no format that is read: {names}", stacklevel=2)
