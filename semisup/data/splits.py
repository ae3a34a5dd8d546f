"""Which images are labelled, and how.

A split is reproducible from its name and the list of ids alone: choices are made by ordering the
ids by a keyed hash, which no version of a library and no order of the list on disk can change.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath

import torch

from semisup.console import track
from semisup.data.base import SegmentationData
from semisup.data.tags import Tags
from semisup.errors import DataError, RecipeError
from semisup.files import write_text
from semisup.types import IGNORE

KINDS = ("mask", "tags", "none")
"""How an image may be labelled: with its full mask, with tags alone, or not at all."""

_REMEDY = 'write "all", a share such as "1/8", "5/class" or "file:PATH"'

_FOLDERS = 32
"""Parts of a path in a list that are looked at, from its end."""

Presence = Mapping[str, frozenset[int]]
"""Image id -> the label ids that its mask holds."""


@dataclass(frozen=True, slots=True)
class Split:
    """Who is labelled, and how.

    Attributes:
        name: such as "1/8-s0", "all", "5-per-class-s0" or "file:list.txt".
        labels: image id -> one of `KINDS`, in sorted order of the ids.
        classes: the K class names.
        presence: labelled id -> the label ids in its mask.
    """

    name: str
    labels: Mapping[str, str]
    classes: tuple[str, ...]
    presence: Presence
    tags: Tags | None = None

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
        """Sorted ids of the images with tags, those with a mask among them."""
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

    - "all" or "1": every image is labelled.
    - "1/8" or "0.125": this share of the images, rounded up as in the lists of the literature
      (1,323 of 10,582; 372 of 2,975). For one seed, a smaller share lies inside every larger one.
    - "5/class": so many images that 5 of them hold each class (all there are, of a rarer class).
      An image counts for every class it holds, so there are fewer than 5 K of them. Chosen one
      by one, rare classes first, so that "5/class" lies inside "10/class". Sampling by class
      reads which classes each mask of the subset holds, as DecoupledNet's (Hong et al. 2015)
      does; no other kind of split opens a mask that it does not label.
    - "file:PATH": the ids of a list, one a line; what is not named is unlabelled. Paths with an
      extension and a second column for the mask, as in published lists, are understood. If lines
      end in a kind, as `write_split` makes them, an image that is not named is left out.

    Raises:
        RecipeError: `spec` cannot be understood, or would label nothing.
        DataError: the list cannot be read, or names an image twice or one that is not there.
    """
    if not data.ids:
        raise DataError(f"{data.root}: subset '{data.subset}' has no images; choose another one")
    spec = spec.strip()
    if spec.startswith("file:"):
        return _split_of_list(data, Path(spec.removeprefix("file:")))
    per_class = re.fullmatch(r"(\d+)/class", spec)
    if per_class:
        return _split_by_class(data, int(per_class[1]), seed)
    share = Fraction(1) if spec == "all" else _share(spec)
    chosen = _shuffled(data.ids, seed, "split")[: math.ceil(share * len(data.ids))]
    name = "all" if share == 1 else f"{share}-s{seed}"
    return _split(data, name, _kinds(data, frozenset(chosen)))


def hold_out(split: Split, count: int, seed: int) -> tuple[Split, tuple[str, ...]]:
    """Sets `count` labelled images aside, to choose a checkpoint or a threshold on.

    They are taken from the labelled images, not from the unlabelled ones: whoever looks at a mask
    to choose a model has used that mask, so it counts against the label budget. They leave the
    split altogether, so that no stream trains on what selects.

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
    if not 0 <= count < len(labelled):
        raise RecipeError(
            f"cannot hold out {count} of the {len(labelled)} labelled images of split "
            f"'{split.name}': choose a number from 0 to {len(labelled) - 1}"
        )
    if count == 0:
        return split, ()
    held = frozenset(_shuffled(labelled, seed, "hold-out")[:count])
    rest = Split(
        name=f"{split.name}-without-{count}-s{seed}",
        labels={key: kind for key, kind in split.labels.items() if key not in held},
        classes=split.classes,
        presence={key: labels for key, labels in split.presence.items() if key not in held},
    )
    return rest, tuple(sorted(held))


def write_split(path: Path, split: Split) -> None:
    """Writes `split` as a list that "file:PATH" reads back with the same `sha256`.

    The file appears whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    head = f"# name: {split.name}\n# sha256: {split.sha256}\n"
    write_text(path, head + "".join(split._lines()))


def _split(data: SegmentationData, name: str, kinds: Mapping[str, str]) -> Split:
    """The split of all images in `kinds`; opens the masks of the labelled ones."""
    labels = dict(sorted(kinds.items()))
    labelled = [key for key, kind in labels.items() if kind == "mask"]
    return Split(name, labels, data.classes, _presence(data, labelled))


def _kinds(data: SegmentationData, labelled: Container[str]) -> dict[str, str]:
    """Every image of `data` with its kind."""
    return {key: "mask" if key in labelled else "none" for key in data.ids}


def _presence(data: SegmentationData, ids: Sequence[str]) -> dict[str, frozenset[int]]:
    position = {key: index for index, key in enumerate(data.ids)}
    found = {}
    for key in track(ids, "reading masks", total=len(ids)):
        histogram = torch.bincount(data.mask(position[key]).flatten(), minlength=IGNORE + 1)
        found[key] = frozenset(histogram[:IGNORE].nonzero().flatten().tolist())
    return found


def _shuffled(ids: Iterable[str], seed: int, purpose: str) -> list[str]:
    """`ids` in an order that depends on the seed, the purpose and the ids, not on their order."""

    def key(name: str) -> bytes:
        return hashlib.blake2b(f"{purpose}/{seed}/{name}".encode(), digest_size=16).digest()

    return sorted(ids, key=key)


def _share(spec: str) -> Fraction:
    try:
        # Spelt out: of an exponent of a billion `Fraction` would write down all the digits.
        share = Fraction(spec) if re.fullmatch(r"[\d./+-]{1,40}", spec) else None
    except (ValueError, ZeroDivisionError):
        share = None
    if share is None:
        raise RecipeError(f"split '{spec}' cannot be understood: {_REMEDY}")
    if not 0 < share <= 1:
        raise RecipeError(f"split '{spec}' is no share above 0 and up to 1: {_REMEDY}")
    return share


def _split_by_class(data: SegmentationData, count: int, seed: int) -> Split:
    name = f"{count}-per-class-s{seed}"
    presence = _presence(data, data.ids)
    candidates: dict[int, list[str]] = {}
    for key in _shuffled(data.ids, seed, "split"):
        for label in presence[key]:
            candidates.setdefault(label, []).append(key)
    chosen = _choose_by_class(candidates, presence, count)
    if not chosen:
        raise RecipeError(f"split '{name}' labels no image at all: {_REMEDY}")
    labels = dict(sorted(_kinds(data, chosen).items()))
    return Split(name, labels, data.classes, {key: presence[key] for key in sorted(chosen)})


def _choose_by_class(
    candidates: Mapping[int, Sequence[str]], presence: Presence, count: int
) -> set[str]:
    """Raises the number of images of every class to 1, then to 2, ... up to `count`.

    A smaller count stops the same walk earlier: this is what makes the splits nested.
    """
    rare_first = sorted(candidates, key=lambda label: (len(candidates[label]), label))
    waiting = {label: iter(keys) for label, keys in candidates.items()}
    chosen: set[str] = set()
    have: Counter[int] = Counter()
    most = max(map(len, candidates.values()), default=0)
    for target in range(1, min(count, most) + 1):
        for label in rare_first:
            while have[label] < min(target, len(candidates[label])):
                key = next(key for key in waiting[label] if key not in chosen)
                chosen.add(key)
                have.update(presence[key])
    return chosen


def _split_of_list(data: SegmentationData, path: Path) -> Split:
    known = frozenset(data.ids)
    kinds: dict[str, str] = {}
    lines: dict[str, int] = {}
    whole = False
    for number, line in _read_list(path):
        entry, kind = _entry_and_kind(line, known)
        key = _known_id(entry, known)
        if key is None:
            raise DataError(
                f"{path}, line {number}: '{entry}' is no image of subset '{data.subset}' of "
                f"{data.root};{_nearest(entry, data.ids)} correct the line or choose the subset "
                "that the list was made for"
            )
        if key in lines:
            raise DataError(
                f"{path}, line {number}: '{key}' was named on line {lines[key]} already; "
                "remove one of them"
            )
        whole = whole or kind is not None
        kinds[key], lines[key] = kind or "mask", number
    if "mask" not in kinds.values():
        raise DataError(f"{path}: labels no image; give a list with one image id a line")
    return _split(data, f"file:{path.name}", kinds if whole else _kinds(data, kinds))


def _read_list(path: Path) -> list[tuple[int, str]]:
    """Numbered lines of a list without comments and blank ones."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path}: cannot read the split list ({error.strerror}); give file:PATH of a text file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text; give a list of image ids") from error
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _entry_and_kind(line: str, known: frozenset[str]) -> tuple[str, str | None]:
    entry, _, last = line.rpartition(" ")
    if last in KINDS and entry and line not in known:
        return entry.strip(), last
    return line, None


def _known_id(entry: str, known: frozenset[str]) -> str | None:
    """The id meant by "id", "folder/id.jpg" or "folder/id.jpg folder/id.png", if there is one."""
    if entry in known:
        return entry
    return next((key for key in _readings(entry) if key in known), None)


def _readings(entry: str) -> Iterator[str]:
    """What an id could be in a line of paths: with ever fewer folders, with and without suffix."""
    for text in (entry, entry.split()[0]):
        parts = PurePosixPath(text).parts
        for start in range(max(0, len(parts) - _FOLDERS), len(parts)):
            tail = PurePosixPath(*parts[start:])
            yield str(tail)
            yield str(tail.parent / tail.stem)


def _nearest(entry: str, ids: Sequence[str]) -> str:
    # `errors.suggest` would print all ids where none is near, and a set may have 100,000.
    near = difflib.get_close_matches(PurePosixPath(entry.split()[0]).stem, ids, n=1, cutoff=0.6)
    return f" did you mean '{near[0]}'?" if near else f" its ids look like '{ids[0]}':"
