"""Which pictures of a folder are images, which are masks, and which mask belongs to which image."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from semisup.data.formats.orientation import Choice, stored_orientation, swaps_sides
from semisup.data.formats.pictures import IMAGE_SUFFIXES, MASK_SUFFIXES
from semisup.data.formats.trees import list_files
from semisup.errors import DataError
from semisup.system.words import counted

MANY = 64
"""Values or colours of one picture beyond which it is no mask, or one that was smoothed."""

_RESULTS = ("run.json", "result.json", "predictions.json")
"""What lies in folders that semisup has written, whose pictures are none of the user's."""

_MASK_WORD = re.compile(
    r"masks?|labels?|labelmaps?|annot(ation)?s?|gts?|(ground)?truths?|segs?|segmentations?|"
    r"segmentationclass(aug)?|mattes?|trimaps?"
)
_IMAGE_WORD = re.compile(
    r"images?|imgs?|photos?|pictures?|jpegimages|rgb|inputs?|originals?|leftimg8bit|ground"
)
_OBJECTS = frozenset(("segmentationobject", "instances", "instance_masks"))
_BEHIND = re.compile(
    r"(?P<core>.+?)(?P<suffix>[_\-. ]+(masks?|labels?|labelmap|gt|gtfine_labelids|seg|segmentation|"
    r"ground_?truth|annot(ation)?|matte|trimap|l))",
    re.IGNORECASE,
)
_BEFORE = re.compile(r"(masks?|labels?|gt|seg|segmentation)[_\-. ]+(?P<core>.+)", re.IGNORECASE)
_SAMPLED = 5
_PLACES = 3


@dataclass
class Pictures:
    """What a folder holds.

    Attributes:
        root: the folder.
        images: path of each image, relative to the root, sorted.
        masks: image -> its mask, both relative to the root.
        sizes: image -> (height, width) as stored, where the file says.
        mask_suffix: what stands behind the names of the masks, where all have the same.
        native: whether they lie as the data set `folder` looks for them: images/<id>.jpg and
            masks/<id>.png.
        exif: how turned photographs are read; None where there are none with a mask.
        notes: what is left out or contradicts itself, a sentence each.
    """

    root: Path
    images: tuple[str, ...]
    masks: dict[str, str]
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    mask_suffix: str = ""
    native: bool = False
    exif: Choice | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def unlabelled(self) -> list[str]:
        """The images without a mask."""
        return [image for image in self.images if image not in self.masks]


def look_at(root: Path, *, without: Iterable[str] = ()) -> Pictures:
    """Find the images and masks of a folder; only names and heads of files are read, but where
    names do not tell images from masks.

    Args:
        root: the folder.
        without: files to pass over, relative to the root.

    Raises:
        DataError: it is no folder, cannot be listed, or holds no picture.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder; name the folder of your pictures")
    files = _without_results(list_files(root, IMAGE_SUFFIXES), root)
    names = [name for name in files if name not in set(without) and "\n" not in name]
    if not names:
        raise DataError(
            f"{root} holds no picture; put your photographs there ({', '.join(IMAGE_SUFFIXES)})"
        )
    names = [name for name in names if not _is_of_objects(PurePosixPath(name).parent)]
    masks = _named_as_masks(names)
    masks = masks or _valued_as_masks(files, names)
    images = [name for name in names if name not in masks]
    if not images:
        raise DataError(
            f"all {len(names):,} pictures of {root} are in folders of masks; put the photographs "
            "into a folder of their own, such as images"
        )
    found = Pictures(root, (), {})
    images = _with_ids(images, found.notes)
    _pair(found, images, sorted(masks))
    _measure(found, images)
    _check_sizes(found)
    _decide_exif(found)
    found.mask_suffix, found.native = _is_native(found)
    return found


def _without_results(files: Mapping[str, Path], root: Path) -> dict[str, Path]:
    """The files outside of the folders of runs and predictions."""
    known: dict[PurePosixPath, bool] = {}

    def is_result(folder: PurePosixPath) -> bool:
        if folder not in known:
            here = any((root / folder / name).is_file() for name in _RESULTS)
            known[folder] = here or (folder.parent != folder and is_result(folder.parent))
        return known[folder]

    return {name: path for name, path in files.items() if not is_result(PurePosixPath(name).parent)}


def _named_as_masks(names: Sequence[str]) -> set[str]:
    """The pictures whose names, or folders, say that they are masks."""
    in_folders = {name for name in names if _is_of_masks(PurePosixPath(name).parent)}
    known = {_plain(str(PurePosixPath(name).with_suffix(""))) for name in names}
    beside = {name for name in names if name not in in_folders and _is_beside(name, known)}
    return in_folders | beside


def _is_of_objects(folder: PurePosixPath) -> bool:
    """Whether a folder holds the numbers of objects, beside that of the classes."""
    return any(part.casefold() in _OBJECTS for part in folder.parts)


def _is_of_masks(folder: PurePosixPath) -> bool:
    last = [word for part in folder.parts for word in _words(part)[-1:]]
    return any(_MASK_WORD.fullmatch(word) for word in last)


def _words(part: str) -> list[str]:
    """The words of a name, small; of "trainannot" two."""
    words = re.split(r"[_\-. ]+", part.casefold())
    return [piece for word in words for piece in re.sub("(annot|masks?)$", r" \1", word).split()]


def _is_beside(name: str, known: set[str]) -> bool:
    """Whether a picture is named after another one, as x_mask.png is after x.jpg."""
    path = PurePosixPath(name)
    for form in (_BEHIND, _BEFORE):
        match = form.fullmatch(path.stem)
        if match and _plain(str(path.with_name(match["core"]))) in known:
            return True
    return False


def _valued_as_masks(files: Mapping[str, Path], names: Sequence[str]) -> set[str]:
    """Of pictures of one name, such as photos/x.jpg and painted/x.png, those of few values."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_stem[_plain(PurePosixPath(name).stem)].append(name)
    groups: dict[str, list[str]] = defaultdict(list)
    for same in by_stem.values():
        for name in same if len(same) > 1 else ():
            if name.lower().endswith(MASK_SUFFIXES):
                groups[str(PurePosixPath(name).parent)].append(name)
    found: set[str] = set()
    for group in groups.values():
        step = max(1, len(group) // _SAMPLED)
        if all(_has_few_values(files[name]) for name in group[::step][:_SAMPLED]):
            found.update(group)
    return found


def _has_few_values(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            if picture.mode in ("1", "P"):
                return True
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(np.uint32)
    except Exception:  # damage makes Pillow fail in nearly every way there is
        return False
    return len(np.unique(pixels[:, 0] | pixels[:, 1] << 8 | pixels[:, 2] << 16)) <= MANY


def _with_ids(images: Sequence[str], notes: list[str]) -> list[str]:
    """The images without those that have the id, the path without ending, of another one."""
    by_id: dict[str, list[str]] = defaultdict(list)
    for name in images:
        by_id[name.rpartition(".")[0]].append(name)
    for same in by_id.values():
        if len(same) > 1:
            notes.append(
                f"{' and '.join(same)} have one name: only the first is used; rename the other"
            )
    return [same[0] for same in by_id.values()]


def _pair(found: Pictures, images: Sequence[str], masks: Sequence[str]) -> None:
    """Give each image its mask."""
    by_core: dict[str, list[str]] = defaultdict(list)
    for name in images:
        by_core[_plain(PurePosixPath(name).stem)].append(name)
    owners: dict[str, list[str]] = defaultdict(list)
    orphans, unclear = [], []
    for mask in masks:
        near = next((by_core[core] for core in _cores(mask) if core in by_core), [])
        if len(near) > 1:
            near = [name for name in near if _neutral(name) == _neutral(mask)]
            if len(near) != 1:
                unclear.append(mask)
                continue
        if near:
            owners[near[0]].append(mask)
        else:
            orphans.append(mask)
    found.images = tuple(images)
    lossy = []
    for image, several in sorted(owners.items()):
        whole = [mask for mask in several if mask.lower().endswith(MASK_SUFFIXES)]
        if len(whole) > 1:
            found.notes.append(
                f"{image} has {len(whole)} masks, {' and '.join(whole[:3])}: none of them is used; "
                "remove all but one"
            )
        elif whole:
            found.masks[image] = whole[0]
        else:
            lossy.append(several[0])
    if lossy:
        found.notes.append(
            f"{counted(len(lossy), 'mask')} such as {lossy[0]} cannot be used, since JPEG and WebP "
            "change the values along the edges; save as PNG"
        )
    _tell(found.notes, orphans, "belongs to no image", "belong to no image; they are left out")
    _tell(
        found.notes,
        unclear,
        "fits several images of one name",
        "fit several images of one name; lay masks out in the folders of the images",
    )


def _tell(notes: list[str], masks: Sequence[str], one: str, several: str) -> None:
    if masks:
        such = f" (such as {masks[0]})" if len(masks) > 1 else f" ({masks[0]})"
        rest = several if len(masks) > 1 else f"{one}{several[several.find(';') :]}"
        notes.append(f"{counted(len(masks), 'mask')}{such} {rest}")


def _cores(mask: str) -> list[str]:
    """What the image of a mask may be called, the likeliest first."""
    stem = PurePosixPath(mask).stem
    cores = [stem]
    for form in (_BEHIND, _BEFORE):
        match = form.fullmatch(stem)
        if match:
            cores.append(match["core"])
    if cores[-1].lower().endswith(IMAGE_SUFFIXES):  # x.jpg.png
        cores.append(cores[-1].rpartition(".")[0])
    return [_plain(core) for core in cores]


def _neutral(name: str) -> tuple[str, ...]:
    """The folders of a file without the words that tell images from masks."""
    parts = PurePosixPath(name).parent.parts
    words = [[word for word in _words(part) if not _is_kind(word)] for part in parts]
    return tuple("_".join(part) for part in words if part)


def _is_kind(word: str) -> bool:
    return bool(_MASK_WORD.fullmatch(word) or _IMAGE_WORD.fullmatch(word))


def _measure(found: Pictures, images: Sequence[str]) -> None:
    """Read the sizes, and leave out what is no picture."""
    damaged = []
    for name in images:
        size = size_of(found.root / name)
        if size is not None:
            found.sizes[name] = size
        elif not name.lower().endswith((".tif", ".tiff", ".npy")):  # other readers take these
            damaged.append(name)
    if damaged:
        found.notes.append(
            f"left out, since they cannot be read as pictures: {counted(len(damaged), 'file')} "
            f"such as {damaged[0]}; mend or remove"
            if len(damaged) > 1
            else f"{damaged[0]} cannot be read as a picture and is left out; mend or remove it"
        )
    gone = set(damaged)
    found.images = tuple(name for name in images if name not in gone)
    found.masks = {image: mask for image, mask in found.masks.items() if image not in gone}


def size_of(path: Path) -> tuple[int, int] | None:
    """(height, width) as stored, by the head of a file; None where Pillow cannot tell."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except Exception:  # damage makes Pillow fail in nearly every way there is
        return None


def _check_sizes(found: Pictures) -> None:
    """Leave out the masks of another size than their image."""
    for image, mask in sorted(found.masks.items()):
        size, other = found.sizes.get(image), size_of(found.root / mask)
        if other is None:
            found.notes.append(f"{mask} cannot be read as a picture and is left out; mend it")
            del found.masks[image]
            continue
        if size is None:
            continue
        turned = size[::-1] if swaps_sides(stored_orientation(found.root / image)) else size
        if other not in (size, turned):
            found.notes.append(
                f"{mask} is {other[0]}x{other[1]}, but {image} is {size[0]}x{size[1]} (height x "
                "width): the mask is left out; draw it anew on this image"
            )
            del found.masks[image]


def _decide_exif(found: Pictures) -> None:
    """What the sizes of the masks prove of photographs that state an orientation."""
    proofs: dict[bool, str] = {}
    unclear = []
    for image, mask in sorted(found.masks.items()):
        orientation = stored_orientation(found.root / image)
        if orientation == 1 or image not in found.sizes:
            continue
        size = found.sizes[image]
        if not swaps_sides(orientation) or size[0] == size[1]:
            unclear.append(image)
        else:
            proofs.setdefault(size_of(found.root / mask) != size, image)
    if not proofs and not unclear:
        return
    found.exif = "auto"
    if len(proofs) > 1:
        found.notes.append(
            f"the mask of {proofs[True]} was drawn on the picture as its EXIF turns it, and "
            f"that of {proofs[False]} on the stored one; each is read as its size says"
        )
    if unclear:
        found.exif = "ignore" if proofs.keys() == {False} else "apply"
        why = "as those of the others" if len(proofs) == 1 else "as most tools do"
        found.notes.append(
            f"sizes cannot tell whether the mask of {unclear[0]}, which EXIF turns, was drawn on "
            f'the turned picture: exif = "{found.exif}" is written, {why}; look at the sheet'
        )


def _is_native(found: Pictures) -> tuple[str, bool]:
    """The suffix of all masks, and whether the data set `folder` finds all files itself."""
    suffixes = set()
    for image, mask in found.masks.items():
        place, own = PurePosixPath(image), PurePosixPath(mask)
        if place.parts[0] != "images" or own.parts[0] != "masks" or len(place.parts) < 2:
            return "", False
        wanted = str(PurePosixPath(*place.parts[1:]).with_suffix(""))
        actual = str(PurePosixPath(*own.parts[1:]).with_suffix(""))
        if not actual.startswith(wanted):
            return "", False
        suffixes.add(actual.removeprefix(wanted))
    inside = all(image.startswith("images/") for image in found.images)
    # Whatever was left out above, `folder` would find again.
    doubt = ("none of them", "left out", "only the first")
    left_out = [note for note in found.notes if any(words in note for words in doubt)]
    if not inside or len(suffixes) != 1 or left_out:
        return "", False
    return suffixes.pop(), True


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def places_of_images(found: Pictures) -> list[str]:
    """Folders, or patterns of files, that hold all images and no other picture.

    Relative to the root; "" is the root itself. Where no few places hold just the images, those
    that come nearest.
    """
    files = _without_results(list_files(found.root, IMAGE_SUFFIXES), found.root)
    others = [PurePosixPath(name) for name in files if name not in set(found.images)]
    images = [PurePosixPath(name) for name in found.images]
    places = _places(PurePosixPath(""), images, others)
    if len(places) > _PLACES:
        # Such as a/1/images, a/2/images and more: a/*/images.
        parts = [PurePosixPath(place).parts for place in places]
        starred = "/".join(
            step[0] if len(set(step)) == 1 else "*" for step in zip(*parts, strict=False)
        )
        fit = {str(path.relative_to(found.root)) for path in found.root.glob(starred)}
        places = [starred] if fit == set(places) else [""]
    return places


def _places(
    folder: PurePosixPath, images: Sequence[PurePosixPath], others: Sequence[PurePosixPath]
) -> list[str]:
    """Those of a folder, of the images and the other pictures that are anywhere below it."""
    depth = len(folder.parts)
    inside = [image for image in images if len(image.parts) == depth + 1]
    below = sorted({image.parts[depth] for image in images if len(image.parts) > depth + 1})
    if not others and (inside or len(below) > 1):
        return ["" if folder == PurePosixPath("") else str(folder)]
    places = []
    if inside:
        endings = {image.suffix for image in inside}
        beside = {other.suffix for other in others if len(other.parts) == depth + 1}
        if endings & beside or len(endings) > 1:
            return [str(folder) if depth else ""]
        places.append(str(folder / f"*{endings.pop()}"))
    for name in below:
        own = [image for image in images if image.parts[: depth + 1] == (*folder.parts, name)]
        rest = [other for other in others if other.parts[: depth + 1] == (*folder.parts, name)]
        own = [image for image in own if len(image.parts) > depth + 1]
        rest = [other for other in rest if len(other.parts) > depth + 1]
        places += _places(folder / name, own, rest)
    return places
