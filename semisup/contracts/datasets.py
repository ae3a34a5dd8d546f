"""What holds for every data set, on the files that are there; none of them is touched."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from semisup.contracts.base import Check, require
from semisup.data.base import SegmentationData
from semisup.data.loading.cache import CachedData
from semisup.errors import DataError
from semisup.types import IGNORE

CHECKED = 20
"""Images that are read, spread over a list; `semisup data verify` reads them all."""


@dataclass(frozen=True)
class DatasetSubject:
    """A data set under its contract.

    Attributes:
        name: in the catalogue.
        open: subset -> the data set.
        train_subset: what it trains on.
        eval_subset: what it reports on.
    """

    name: str
    open: Callable[[str], SegmentationData]
    train_subset: str
    eval_subset: str

    def data(self) -> SegmentationData:
        """What it trains on."""
        return self.open(self.train_subset)


def some(data: SegmentationData) -> list[int]:
    """Positions of up to `CHECKED` images, spread over the list."""
    count = min(CHECKED, len(data))
    return [position * len(data) // count for position in range(count)]


def ids_are_unique(subject: DatasetSubject) -> None:
    """Ids are unique, not none, and have an index."""
    data = subject.data()
    require(len(data.ids) > 0, f"subset '{data.subset}' has no image. Check the list of ids.")
    require(len(set(data.ids)) == len(data.ids), "an id stands twice in `ids`. Make them unique.")
    require(len(data) == len(data.ids), "`len` is not the number of `ids`. Leave it as it is.")
    require(
        all(data.index(name) == number for number, name in enumerate(data.ids)),
        "`index` is not the position in `ids`. Leave it as it is.",
    )
    try:
        data.index("nobody of this name")
    except KeyError:
        return
    require(False, "`index` of an unknown id raises no KeyError. Leave it as it is.")


def subsets_are_apart(subject: DatasetSubject) -> None:
    """What it trains on and what it reports on share no image."""
    training, reported = (
        subject.open(name) for name in (subject.train_subset, subject.eval_subset)
    )
    both = sorted({*training.ids} & {*reported.ids})
    require(
        not both,
        f"'{both[0] if both else ''}' is in '{subject.train_subset}' and '{subject.eval_subset}'. "
        "Report on images that are not trained on.",
    )
    require(training.classes == reported.classes, "the two subsets have other classes.")


def classes_have_names_and_colours(subject: DatasetSubject) -> None:
    """Each class has a name and a colour of its own place."""
    data = subject.data()
    require(data.num_classes > 0, "`classes` is empty.")
    require(
        len(data.classes) == len(data.palette),
        f"{len(data.classes)} classes and {len(data.palette)} colours. Give each class one; "
        "voc_palette(K) makes K.",
    )
    require(len(set(data.classes)) == data.num_classes, "two classes have one name.")
    right = all(
        len(colour) == 3 and 0 <= min(colour) <= max(colour) <= 255 for colour in data.palette
    )
    require(right, "a colour of `palette` is not (R, G, B) in 0..255.")


def it_has_its_name(subject: DatasetSubject) -> None:
    """`name` is the one in the catalogue, and `facts` can be recorded."""
    data = subject.data()
    require(
        data.name == subject.name,
        f"its `name` is '{data.name}', and the catalogue calls it '{subject.name}'. Make them one.",
    )
    json.dumps(data.facts())


def images_and_masks_fit(subject: DatasetSubject) -> None:
    """Images are CHW of `image_kind`, masks uint8 HW of 0..K-1 and 255, of one size."""
    data = subject.data()
    kind = data.image_kind
    for index in some(data):
        image, name = data.image(index), data.ids[index]
        require(
            image.dtype == kind.dtype and image.dim() == 3 and image.shape[0] == kind.channels,
            f"image '{name}' is {image.dtype} of shape {tuple(image.shape)}, not {kind.dtype} "
            f"{kind.channels}HW. Read it by read_image.",
        )
        if not data.has_mask(index):
            continue
        mask = data.mask(index)
        require(
            mask.dtype == torch.uint8 and mask.dim() == 2,
            f"mask '{name}' is {mask.dtype} of shape {tuple(mask.shape)}, not uint8 HW. Read it by "
            "read_labels.",
        )
        require(
            image.shape[1:] == mask.shape,
            f"image '{name}' is {tuple(image.shape[1:])} and its mask {tuple(mask.shape)}.",
        )
        wrong = [v for v in set(mask.flatten().tolist()) if data.num_classes <= v != IGNORE]
        require(
            not wrong,
            f"mask '{name}' holds label {wrong[0] if wrong else ''}, but classes are "
            f"0..{data.num_classes - 1} and {IGNORE} for void. Map it, and use check_labels.",
        )
        pair = data.pair(index)
        same = torch.equal(pair[0], image) and torch.equal(pair[1], mask)
        require(same, f"`pair` of '{name}' is not its image and mask. Leave `pair` as it is.")


def an_image_opens_no_mask(subject: DatasetSubject) -> None:
    """`image` never asks where a mask lies, nor for it."""
    data = subject.data()

    def refuse(index: int) -> Path:
        raise AssertionError

    data.mask_path = data.mask = refuse  # type: ignore[method-assign, assignment]
    try:
        data.image(0)
    except AssertionError:
        require(False, "`image` opens the mask. An image must be read without it.")


def a_missing_file_is_named(subject: DatasetSubject) -> None:
    """A missing image or mask is a DataError that names the file."""
    for part in ("image", "mask"):
        data = subject.data()
        path: Path = getattr(data, f"{part}_path")(0)
        missing = path.with_name(f"missing_{path.name}")
        setattr(data, f"{part}_path", lambda index, missing=missing: missing)
        try:
            getattr(data, part)(0)
        except DataError as error:
            named = missing.name in str(error)
            require(named, f"a missing {part} is refused, but not by its name: {error}")
        except Exception as error:
            require(
                False,
                f"a missing {part} raises {type(error).__name__}, not a DataError. Read it by "
                f"{'read_image' if part == 'image' else 'read_labels'}.",
            )


def an_unknown_subset_is_refused(subject: DatasetSubject) -> None:
    """A subset that is not there is a DataError that names it."""
    unknown = "nothing_of_the_kind"
    try:
        subject.open(unknown)
    except DataError as error:
        require(unknown in str(error), f"an unknown subset is not named: {error}")
    except Exception as error:
        require(False, f"an unknown subset raises {type(error).__name__}. Use choose_subset.")
    else:
        require(False, "an unknown subset is accepted. Use choose_subset.")


def workers_get_a_copy(subject: DatasetSubject) -> None:
    """A pickled copy gives the same images, and so does a cache."""
    data = subject.data()
    data.index(data.ids[0])
    try:
        copy = pickle.loads(pickle.dumps(data))
    except Exception as error:
        require(
            False,
            f"it cannot be pickled for worker processes ({type(error).__name__}: {error}). Keep "
            "paths and lists, no open files and no lambdas; the class must be of a module.",
        )
    same = copy.ids == data.ids and torch.equal(copy.image(0), data.image(0))
    require(same and torch.equal(copy.mask(0), data.mask(0)), "a pickled copy gives others.")
    cached = CachedData(data, 1)
    for _ in range(2):
        same = torch.equal(cached.image(0), data.image(0))
        require(same and torch.equal(cached.mask(0), data.mask(0)), "a cache gives others.")


CHECKS: tuple[Check[DatasetSubject], ...] = (
    Check("ids are unique and have an index", ids_are_unique),
    Check("training and reported images are apart", subsets_are_apart),
    Check("each class has a name and a colour", classes_have_names_and_colours),
    Check("it has the name of the catalogue", it_has_its_name),
    Check("images and masks fit", images_and_masks_fit),
    Check("an image is read without its mask", an_image_opens_no_mask),
    Check("a missing file is named", a_missing_file_is_named),
    Check("an unknown subset is refused", an_unknown_subset_is_refused),
    Check("worker processes get an equal copy", workers_get_a_copy),
)
