"""Image tags: which foreground classes are in a picture, but not where.

Background is never tagged, because nobody does so: as a column of a batch it is always True. No
mask is opened for tags but by `tags_from_masks`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from semisup.data.base import BACKGROUND, SegmentationData
from semisup.data.labels.classes_in_masks import read_presence
from semisup.data.labels.tag_files import Names, read_tag_file, text_of_tags
from semisup.data.weak_labels.base import ImageRandom
from semisup.errors import DataError, RecipeError
from semisup.system.files import write_text
from semisup.system.progress import track
from semisup.system.words import counted

_FORMS = 'write "xml" or "file:PATH"'


@dataclass(frozen=True, slots=True)
class Tags:
    """The foreground classes of each image of a data set.

    Attributes:
        classes: the K class names.
        of: image id -> its label ids, in sorted order of the ids; 0, background, is in none.
        source: "xml", "masks" or "file:NAME".
    """

    classes: tuple[str, ...]
    of: Mapping[str, frozenset[int]]
    source: str

    @property
    def sha256(self) -> str:
        """SHA-256 over the sorted lines of the file that `write_tags` makes, without its head."""
        return hashlib.sha256("".join(sorted(self.lines())).encode()).hexdigest()

    @property
    def class_counts(self) -> dict[str, int]:
        """Foreground class -> number of images that have its tag."""
        counts = Counter(label for labels in self.of.values() for label in labels)
        return {name: counts[label] for label, name in enumerate(self.classes) if label}

    def lines(self) -> list[str]:
        """A line for each image: the id and the names of its classes, with tabs between."""
        return [
            "\t".join([key, *(self.classes[label] for label in sorted(labels))]) + "\n"
            for key, labels in self.of.items()
        ]


def read_tags(data: SegmentationData, spec: str) -> Tags:
    """The tags of exactly the images of `data`; no mask is opened.

    - "xml": the classes of all objects in the data set's own annotations, difficult ones too.
    - "file:PATH": a file of tags (see `tag_files`); it may hold other images besides. Nothing in
      it is run.

    Tags of classes that `data` leaves out are dropped.

    Raises:
        RecipeError: `spec` cannot be understood, `data` has no such annotations, or its class 0
            is no background.
        DataError: annotations or file cannot be used, or the file lacks an image.
    """
    _check_background(data)
    if spec == "xml":
        return _tags(data, _names_of_objects(data), spec)
    if not spec.startswith("file:"):
        hint = ", after 'semisup data tags --from masks'" if spec == "masks" else ""
        raise RecipeError(f"tags '{spec}' cannot be understood: {_FORMS}{hint}")
    path = Path(spec.removeprefix("file:"))
    names = read_tag_file(path, data)
    _check_complete(path, names, data)
    return _tags(data, names, f"file:{path.name}")


def tags_from_masks(data: SegmentationData) -> Tags:
    """The tags that the masks of `data` come to; opens all of them.

    Raises:
        RecipeError: class 0 of `data` is no background.
        DataError: a mask cannot be used.
    """
    _check_background(data)
    presence = read_presence(data, data.ids)
    of = {key: labels - {0} for key, labels in sorted(presence.items())}
    return Tags(data.classes, of, "masks")


class MaskTags:
    """Image tags as a person would give them who sees the masks.

    Args:
        miss_rate: share of the tags that are left out, in [0, 1]: small objects are overlooked.

    Raises:
        RecipeError: it is no share.
    """

    def __init__(self, *, miss_rate: float = 0.0) -> None:
        if not 0 <= miss_rate <= 1:
            raise RecipeError(f"tags need miss_rate in 0..1, not {miss_rate}")
        self.miss_rate = miss_rate

    def read(self, data: SegmentationData, seed: int) -> Tags:
        """The tags of `data`; errors as of `tags_from_masks`."""
        tags = tags_from_masks(data)
        of = {
            key: frozenset(
                label
                for label in sorted(labels)
                if not ImageRandom(seed, "tags", key, str(label)).happens(self.miss_rate)
            )
            for key, labels in tags.of.items()
        }
        return Tags(tags.classes, of, tags.source)


def write_tags(path: Path, tags: Tags) -> None:
    """Writes `tags` as a file that "file:PATH" reads back with the same `sha256`.

    The file appears whole or not at all.

    Raises:
        DataError: an id or a class has a tab or a line break in its name.
        RunError: the file cannot be written.
    """
    for name in (*tags.classes, *tags.of):
        if "\t" in name or name.splitlines() != [name]:
            raise DataError(
                f"the name {name!r} has a tab or a line break in it, which a tag file cannot hold; "
                "rename it"
            )
    write_text(path, text_of_tags(tags.classes, tags.sha256, tags.lines()))


def _tags(data: SegmentationData, names: Names, source: str) -> Tags:
    label = {name: number for number, name in enumerate(data.classes) if number}
    kept = {key: frozenset(label[n] for n in names[key] if n in label) for key in sorted(data.ids)}
    return Tags(data.classes, kept, source)


def _names_of_objects(data: SegmentationData) -> Names:
    rows = enumerate(track(data.ids, "reading annotations"))
    return {key: frozenset(data.object_names(index)) for index, key in rows}


def _check_background(data: SegmentationData) -> None:
    if data.classes[0] == BACKGROUND:
        return
    if data.stored_classes[0] == BACKGROUND:
        raise RecipeError(
            f"the images of {data.name} cannot have tags while '{BACKGROUND}' is left out, which "
            "is class 0 to them and which nobody tags; keep the class"
        )
    raise RecipeError(
        f"the images of {data.name} cannot have tags: class 0 is '{data.classes[0]}', not "
        f"'{BACKGROUND}', which nobody tags; keep the class, or take another data set"
    )


def _check_complete(path: Path, names: Names, data: SegmentationData) -> None:
    missing = [key for key in data.ids if key not in names]
    if missing:
        raise DataError(
            f"{path} has no tags for {len(missing)} of the {counted(len(data), 'image')} of subset "
            f"'{data.subset}' of {data.root}, such as '{missing[0]}' (a line is an id and its "
            "classes, with tabs between); add them, or take the file of this subset"
        )
