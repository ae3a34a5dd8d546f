"""Which images are labelled, and how.

A split is reproducible from its name and the list of ids alone, one by class from the masks or the
tags as well: see `choices`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from semisup.data.base import SegmentationData
from semisup.data.formats.id_lists import line_of
from semisup.data.labels.classes_in_masks import MaskContent, Presence, read_contents
from semisup.data.labels.selection import REMEDY, Choice, choose, shuffled
from semisup.data.labels.tags import Tags
from semisup.errors import DataError, RecipeError
from semisup.system.files import write_text
from semisup.system.words import counted

_TAGS = 'name the tags, such as data.tags = "xml" in a recipe or --tags xml'


@dataclass(frozen=True, slots=True)
class Split:
    """Who is labelled, and how.

    Attributes:
        name: such as "1/8-s0", "all", "5-per-class-s0+tags" or "file:list.txt".
        labels: image id -> "mask", "tags" (alone) or "none", in sorted order of the ids.
        classes: the K class names.
        presence: labelled id -> the label ids in its mask.
        tags: where the tags are, if some images have any.
        contents: labelled id -> what its mask holds beside the labels.
    """

    name: str
    labels: Mapping[str, str]
    classes: tuple[str, ...]
    presence: Presence
    tags: Tags | None = None
    contents: Mapping[str, MaskContent] = field(default_factory=dict)

    @property
    def labelled(self) -> tuple[str, ...]:
        """Sorted ids of the images whose mask may be read."""
        return tuple(key for key, kind in self.labels.items() if kind == "mask")

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """Sorted ids of the images that come without any label."""
        return tuple(key for key, kind in self.labels.items() if kind == "none")

    @property
    def weak(self) -> tuple[str, ...]:
        """Sorted ids of the images with tags; who has a mask has tags as well."""
        if self.tags is None:
            return ()
        return tuple(key for key, kind in self.labels.items() if kind != "none")

    @property
    def sha256(self) -> str:
        """SHA-256 over the sorted lines "<id> <kind>" and a newline each: equal splits agree."""
        return hashlib.sha256("".join(sorted(self._lines())).encode()).hexdigest()

    @property
    def class_counts(self) -> dict[str, int]:
        """Class name -> number of labelled images that contain it; absent classes have 0."""
        counts = Counter(label for labels in self.presence.values() for label in labels)
        return {name: counts[label] for label, name in enumerate(self.classes)}

    def _lines(self) -> Iterable[str]:
        return (f"{key} {kind}\n" for key, kind in self.labels.items())


def make_split(
    data: SegmentationData,
    spec: str,
    seed: int,
    *,
    tags: Tags | None = None,
    tagged: str = "all",
) -> Split:
    """The split of `data` that `spec` describes.

    - "masked", "all" or "1": every image that has a mask is labelled.
    - "1/8" or "0.125": this share of the images, rounded up as in the lists of the literature
      (1,323 of 10,582; 372 of 2,975). For one seed, a smaller share lies inside every larger one.
    - "5/class": so many images that 5 of them hold each class (all there are, of a rarer class).
      An image counts for every class it holds, so there are fewer than 5 K of them. Chosen one
      by one, rare classes first, so that "5/class" lies inside "10/class", as in DecoupledNet
      (Hong et al. 2015). With tags, these say which foreground classes an image holds. Without,
      its mask does, and background counts: "1/8-balanced" apart, no other kind of split opens a
      mask that it does not label. DecoupledNet's own lists are no longer to be had: this is a rule
      of the same kind with a seed.
    - "1/8-balanced": as many images as "1/8", chosen class by class as in "5/class": the first of
      the same order. So every class that an image holds is in it, and the rare ones are as often
      as can be, unless there are fewer images than classes need; `class_counts` says which are 0.
    - "1/8-sequences": whole recordings of a video set, as many as come nearest to "1/8", so that
      no two frames of one are labelled and unlabelled. Refused if that is more than twice
      the number, or less than half.
    - "none": no image is labelled; needs tags.
    - "file:PATH": the ids of a list, one a line; what is not named is unlabelled. Paths with an
      extension and a second column for the mask, as in published lists, are understood, see
      `semisup.data.formats.id_lists`. If lines
      end in a kind, as `write_split` makes them, the list is complete: an image that is not named
      is left out, one of kind "none" has no tags, and `tagged` has no say.

    Shares and counts are of the images that have a mask, `data.masked_ids`: mostly all.

    Args:
        data: the images.
        spec: who is labelled with a mask.
        seed: of the choice.
        tags: of the images of `data`; None: nobody has tags.
        tagged: who has tags beside those with a mask; as `spec`, but not "none". For one seed,
            both choose the same images in the same words.

    Raises:
        RecipeError: `spec` or `tagged` cannot be understood, or would label nothing.
        DataError: a list cannot be read, names an image twice or one that is not there, labels
            one that has no mask, or states tags where there are none.
    """
    if not data.ids:
        raise DataError(f"{data.root}: subset '{data.subset}' has no images; choose another one")
    assert tags is None or tags.of.keys() >= set(data.ids), "tags of another subset"
    spec, tagged = spec.strip(), tagged.strip()
    if tags is None and tagged != "all":
        raise RecipeError(f"tagged = '{tagged}' says who has tags, but there are none: {_TAGS}")
    if tags is None and spec == "none":
        raise RecipeError(f"split 'none' labels no image at all: {_TAGS}, or {REMEDY}")
    if not data.masked_ids and not spec.startswith("file:") and spec != "none":
        _refuse_bare(data)
    choice = choose(data, spec, seed, tags, data.masked_ids)
    if choice.states_kinds:
        return _split_as_stated(data, choice, tags, tagged)
    kinds = {**dict.fromkeys(data.ids, "none"), **choice.kinds}
    if tags is None:
        return _split(data, choice.name, kinds)
    name, weak = _choose_tagged(data, tagged, seed, tags)
    kinds |= {key: "tags" for key in weak if kinds[key] == "none"}
    return _split(data, f"{choice.name}+{name}", kinds, tags=tags)


def _refuse_bare(data: SegmentationData) -> None:
    """Refuse a set without a mask; the line is about the first that is missing."""
    try:
        data.mask(0)
    except DataError as error:
        raise DataError(f"no image of {data.name} {data.subset} has a mask: {error}") from None


def hold_out(split: Split, count: int, seed: int) -> tuple[Split, tuple[str, ...]]:
    """Sets `count` labelled images aside, to choose a checkpoint or a threshold on.

    They are taken from the labelled images, not from the others: a mask that chooses a model is
    used, so it counts against the label budget. They leave the split
    altogether, the weak images too, so that no stream trains on what selects.

    Args:
        split: where to take them from.
        count: how many images; 0 gives `split` back.
        seed: which ones.

    Returns:
        The smaller split, and the sorted ids that were set aside.

    Raises:
        RecipeError: there are too few labelled images for it.
    """
    labelled = split.labelled
    if count == 0:
        return split, ()
    if not 0 < count < len(labelled):
        raise RecipeError(
            f"cannot hold out {count} of the {counted(len(labelled), 'labelled image')} of split "
            f"'{split.name}': choose a number from 0 to {max(0, len(labelled) - 1)}"
        )
    held = frozenset(shuffled(labelled, seed, "hold-out")[:count])
    rest = replace(
        split,
        name=f"{split.name}-without-{count}-s{seed}",
        labels={key: kind for key, kind in split.labels.items() if key not in held},
        presence={key: labels for key, labels in split.presence.items() if key not in held},
        contents={key: content for key, content in split.contents.items() if key not in held},
    )
    return rest, tuple(sorted(held))


def write_split(path: Path, split: Split) -> None:
    """Writes `split` as a list that "file:PATH" reads back with the same `sha256`.

    The file appears whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    name = re.sub(r"[\r\n]", " ", split.name)
    head = f"# name: {name}\n# sha256: {split.sha256}\n"
    if split.tags is not None:
        head += f"# tags: {split.tags.source}, sha256 {split.tags.sha256}\n"
    write_text(path, head + "".join(line_of(*pair) for pair in split.labels.items()))


def _choose_tagged(
    data: SegmentationData, spec: str, seed: int, tags: Tags
) -> tuple[str, list[str]]:
    """The end of a split's name, and who has tags by `spec`."""
    if spec == "none":
        raise RecipeError(f"tagged = 'none' leaves all tags out: leave out the tags, or {REMEDY}")
    choice = choose(data, spec, seed, tags, data.ids)
    name = "tags" if choice.name == "all" else f"tags-{choice.name}"
    return name, [key for key, kind in choice.kinds.items() if kind != "none"]


def _split_as_stated(
    data: SegmentationData, choice: Choice, tags: Tags | None, tagged: str
) -> Split:
    if tagged != "all":
        raise RecipeError(
            f"split '{choice.name}' states who has tags, and tagged = '{tagged}' does so too: "
            "leave tagged out, or the kinds out of the list"
        )
    weak = [key for key, kind in choice.kinds.items() if kind == "tags"]
    if tags is None and weak:
        raise DataError(
            f"split '{choice.name}' states that '{weak[0]}' has tags, but there are none: {_TAGS}"
        )
    name = choice.name if tags is None else f"{choice.name}+tags"
    return _split(data, name, choice.kinds, tags=tags)


def _split(
    data: SegmentationData,
    name: str,
    kinds: Mapping[str, str],
    *,
    tags: Tags | None = None,
) -> Split:
    """The split of all images in `kinds`; opens the masks of the labelled ones."""
    labels = dict(sorted(kinds.items()))
    contents = read_contents(data, [key for key, kind in labels.items() if kind == "mask"])
    presence = {key: content.labels for key, content in contents.items()}
    return Split(name, labels, data.classes, presence, tags, contents)
