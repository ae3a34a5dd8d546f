"""Which images a split spec names.

Choices are made by ordering the ids by a keyed hash, which no version of a library and no order of
the list on disk can change.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from semisup.data.base import SegmentationData
from semisup.data.labels.classes_in_masks import Presence, read_presence
from semisup.data.labels.split_lists import read_kinds
from semisup.data.labels.tags import Tags
from semisup.errors import DataError, RecipeError

REMEDY = 'write "all", "masked", a share such as "1/8", "5/class" or "file:PATH"'

_FURTHEST = 2
"""How many times the wanted number of images whole sequences may come to, or how small a part."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a spec comes to.

    Attributes:
        name: of the choice.
        kinds: the kinds of the images that it names.
        states_kinds: whether a list stated them, and so those of all images.
    """

    name: str
    kinds: Mapping[str, str]
    states_kinds: bool = False


def choose(
    data: SegmentationData, spec: str, seed: int, tags: Tags | None, among: Sequence[str]
) -> Choice:
    """What `spec` names among the ids `among`; see `make_split` for its grammar and the errors.

    With `tags`, "5/class" and "1/8-balanced" go by them and open no mask.
    """
    if spec == "none":
        return Choice(spec, {})
    if spec.startswith("file:"):
        path = Path(spec.removeprefix("file:"))
        kinds, states = read_kinds(data, path)
        _check_masks(data, path, kinds, among)
        return Choice(f"file:{path.name}", kinds, states)
    per_class = re.fullmatch(r"(\d+)/class", spec)
    if per_class:
        return _choose_per_class(data, int(per_class[1]), seed, tags, among)
    way = re.fullmatch(r"(.*)-(balanced|sequences)", spec)
    if way:
        chooser = _choose_balanced if way[2] == "balanced" else _choose_sequences
        return chooser(data, _share(way[1], spec), seed, tags, among)
    share = Fraction(1) if spec in ("all", "masked") else _share(spec, spec)
    if not among:
        data.mask(0)  # says what is missing, and what is there instead
    chosen = shuffled(among, seed, "split")[: math.ceil(share * len(among))]
    name = spec if spec == "masked" else "all" if share == 1 else f"{share}-s{seed}"
    return Choice(name, dict.fromkeys(chosen, "mask"))


def _check_masks(
    data: SegmentationData, path: Path, kinds: Mapping[str, str], among: Sequence[str]
) -> None:
    """Refuse a list that labels an image which has no mask."""
    known = frozenset(among)
    for name, kind in kinds.items():
        if kind == "mask" and name not in known:
            raise DataError(
                f"{data.mask_path(data.index(name))} is missing, and {path} labels '{name}'; add "
                "the mask, or drop the line"
            )


def _choose_per_class(
    data: SegmentationData, count: int, seed: int, tags: Tags | None, among: Sequence[str]
) -> Choice:
    name = f"{count}-per-class-s{seed}"
    chosen = list(_by_class(data, seed, tags, among, count))
    if not chosen:
        raise RecipeError(f"split '{name}' labels no image at all: {REMEDY}")
    return Choice(name, dict.fromkeys(chosen, "mask"))


def _choose_balanced(
    data: SegmentationData, share: Fraction, seed: int, tags: Tags | None, among: Sequence[str]
) -> Choice:
    """The share as in "5/class", class by class, and no further than its number of images."""
    if share == 1:
        return Choice("all", dict.fromkeys(among, "mask"))
    # Images that hold no class at all come last.
    order = itertools.chain(
        _by_class(data, seed, tags, among, len(among)), shuffled(among, seed, "split")
    )
    chosen = itertools.islice(dict.fromkeys(order), math.ceil(share * len(among)))
    return Choice(f"{share}-balanced-s{seed}", dict.fromkeys(chosen, "mask"))


def _choose_sequences(
    data: SegmentationData, share: Fraction, seed: int, tags: Tags | None, among: Sequence[str]
) -> Choice:
    """Whole sequences in the order of their keyed hash, as near to the share as they come.

    Each is taken or left, so that no two frames of one stand on both sides. The chosen ones are the
    first of an order that the share has no say in: this is what makes the splits nested.
    """
    members: dict[str, list[str]] = {}
    for key in among:
        members.setdefault(data.sequence(data.index(key)), []).append(key)
    if share == 1:
        return Choice("all", dict.fromkeys(among, "mask"))
    order = shuffled(members, seed, "sequences")
    sizes = list(itertools.accumulate(len(members[name]) for name in order))
    wanted = math.ceil(share * len(among))
    size = min(sizes, key=lambda size: abs(size - wanted))
    if not wanted <= _FURTHEST * size <= _FURTHEST**2 * wanted:
        raise RecipeError(
            f"split '{share}-sequences' of {data.name} {data.subset} is to label {wanted} of "
            f"{len(among)} images, and whole sequences of seed {seed} come to {size} at best: take "
            f'another seed, a share near {size}/{len(among)}, or "{share}", which parts sequences'
        )
    chosen = [key for name in order[: sizes.index(size) + 1] for key in members[name]]
    return Choice(f"{share}-sequences-s{seed}", dict.fromkeys(chosen, "mask"))


def _by_class(
    data: SegmentationData, seed: int, tags: Tags | None, among: Sequence[str], count: int
) -> Iterator[str]:
    """Images that hold each class `count` times, or as often as there are, in their order."""
    presence = read_presence(data, among) if tags is None else tags.of
    candidates: dict[int, list[str]] = {}
    for key in shuffled(among, seed, "split"):
        for label in presence[key]:
            candidates.setdefault(label, []).append(key)
    return _walk(candidates, presence, count)


def shuffled(ids: Iterable[str], seed: int, purpose: str) -> list[str]:
    """`ids` in an order that depends on the seed, the purpose and the ids, not on their order."""

    def key(name: str) -> bytes:
        return hashlib.blake2b(f"{purpose}/{seed}/{name}".encode(), digest_size=16).digest()

    return sorted(ids, key=key)


def _share(text: str, spec: str) -> Fraction:
    """The share that `text` is, all of `spec` or its beginning."""
    try:
        # Spelt out: of an exponent of a billion `Fraction` would write down all the digits.
        share = Fraction(text) if re.fullmatch(r"[\d./+-]{1,40}", text) else None
    except (ValueError, ZeroDivisionError):
        share = None
    if share is None:
        ways = ', or "1/8-balanced" or "1/8-sequences"' if re.search(r"-[a-z]+$", spec) else ""
        raise RecipeError(f"split '{spec}' cannot be understood: {REMEDY}{ways}")
    if not 0 < share <= 1:
        raise RecipeError(f"split '{spec}' is no share above 0 and up to 1: {REMEDY}")
    return share


def _walk(candidates: Mapping[int, Sequence[str]], presence: Presence, count: int) -> Iterator[str]:
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
                yield key
