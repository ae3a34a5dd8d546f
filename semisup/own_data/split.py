"""Which images are trained on and which are reported on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from semisup.errors import DataError
from semisup.own_data.look import Pictures
from semisup.own_data.similar import MOST, alike, groups_of, hash_pictures, video_of
from semisup.system.words import counted

SHARE = 0.2
"""Of the images with masks, those that are reported on."""

FEWEST = 5
"""That are reported on, where there are masks enough for both sides."""

LARGEST = 200
"""That are reported on: each more is a mask that is not trained on."""

_ORDERS = 50
"""Orders that are tried for one in which both sides have every class."""

_VAL = frozenset(("val", "valid", "validation"))
_TEST = frozenset(("test", "testing"))


@dataclass
class Lists:
    """The lists of a folder, of images as relative paths.

    Attributes:
        train: with and without masks.
        val: with masks.
        test: with masks, where folders called test hold some.
        left_out: in no list: unlabelled images like those of val.
        notes: a sentence each.
    """

    train: list[str]
    val: list[str]
    test: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def draw_lists(
    found: Pictures,
    holds: Mapping[str, frozenset[int]],
    seed: int,
    own: Mapping[str, Sequence[str]] | None = None,
) -> Lists:
    """Draw the lists: by folders called train and val where there are some, else by a seed.

    Near-duplicates and frames of one video are kept on one side. Unlabelled images that are like
    those that are reported on are in no list.

    Args:
        found: the images and their masks.
        holds: image with a mask -> the values in it.
        seed: of the draw; it does not depend on the order of the files.
        own: "train" or "val" -> the images of a list of the user's own, which stays as it is.

    Raises:
        DataError: fewer than two images have masks, or a list of the user's leaves none to the
            other side.
    """
    own = own or {}
    masked = sorted(found.masks)
    if len(masked) < 2:
        what = counted(len(masked), "image")
        raise DataError(
            f"{what} of {found.root} {'has' if len(masked) == 1 else 'have'} a mask that can be "
            "used, and two are needed, to train on and to report on; "
            + (found.notes[0] if found.notes else "put masks/<name>.png beside images/<name>.jpg")
        )
    notes: list[str] = []
    group = _groups(found, masked, notes)
    test = [name for name in masked if _is_in(name, _TEST)]
    rest = [name for name in masked if name not in set(test)]
    val = [name for name in rest if _is_in(name, _VAL)]
    if own:
        chosen = _beside_own(rest, own)
    elif val and len(val) < len(rest):
        _tell_shared(val, rest, group, notes)
        chosen = set(val)
    else:
        chosen = _choose(rest, group, holds, seed, notes)
    val = [name for name in rest if name in chosen]
    reported = {group[name] for name in (*val, *test)}
    left_out = [
        name
        for name in found.unlabelled
        if _is_in(name, _VAL | _TEST) or (group.get(name) in reported and not _is_one(group))
    ]
    if left_out:
        notes.append(
            f"{counted(len(left_out), 'unlabelled image')} such as {left_out[0]} in no list: like "
            "the images of val, or beside them"
        )
    listed = own.get("val", ())
    bare = [name for name in listed if name not in found.masks]
    if bare:
        notes.append(
            f"val.txt is kept as it is, and lists {bare[0]}, which has no mask to be scored by; "
            "draw one, or take it off the list"
        )
    gone = {*val, *test, *left_out, *listed}
    train = own.get("train") or [name for name in found.images if name not in gone]
    return Lists(list(train), val, test, left_out, notes)


def _beside_own(masked: Sequence[str], own: Mapping[str, Sequence[str]]) -> set[str]:
    """The images to report on, where the user has written train.txt, val.txt or both."""
    train, val = set(own.get("train", ())), set(own.get("val", ()))
    both = sorted(train & val)
    if both:
        raise DataError(f"{both[0]} is in train.txt and in val.txt; take it off one of the two")
    if "val" not in own:
        val = set(masked) - train
    other = "train.txt" if "train" in own else "val.txt"
    if not val or not set(masked) - val:
        raise DataError(
            f"{other} is kept as it is, and leaves no image with a mask to the other list; take "
            "some off it, or let --overwrite draw both"
        )
    return val


def _is_one(group: Mapping[str, str]) -> bool:
    """Whether all images are of one group, as the frames of a single video."""
    return len(set(group.values())) == 1


def _is_in(name: str, folders: frozenset[str]) -> bool:
    return not folders.isdisjoint(part.casefold() for part in PurePosixPath(name).parent.parts)


def _groups(found: Pictures, masked: Sequence[str], notes: list[str]) -> dict[str, str]:
    """Image -> name of its group."""
    others = found.unlabelled
    if len(found.images) > MOST:
        kept = max(0, MOST - len(masked))
        others = [others[i * len(others) // kept] for i in range(kept)] if kept else []
        notes.append(f"near-duplicates were looked for among {MOST:,} of the images only")
    pairs = alike(hash_pictures(found.root, [*masked, *others]), masked)
    group = groups_of(found.images, pairs)
    near = {name for pair in pairs for name in pair}
    if near:
        such = " and ".join(pairs[0])
        notes.append(f"{counted(len(near), 'near-duplicate')}, such as {such}: kept together")
    videos = {video_of(name) for name in found.images} - {None}
    if videos:
        frames = sum(video_of(name) is not None for name in found.images)
        what = counted(len(videos), "video")
        notes.append(f"{counted(frames, 'frame')} of {what}, by their names: kept together")
    return group


def _tell_shared(
    val: Sequence[str], rest: Sequence[str], group: Mapping[str, str], notes: list[str]
) -> None:
    trained = {group[name]: name for name in rest if name not in set(val)}
    both = [(name, trained[group[name]]) for name in val if group[name] in trained]
    if both:
        notes.append(
            f"{both[0][0]} of val is like {both[0][1]} of train: your folders say so, and it is "
            "left as it is, but scores will be too good"
        )


def _choose(
    masked: Sequence[str],
    group: Mapping[str, str],
    holds: Mapping[str, frozenset[int]],
    seed: int,
    notes: list[str],
) -> set[str]:
    """The images to report on."""
    target = round(SHARE * len(masked))
    target = min(LARGEST, max(target, min(FEWEST, len(masked) // 2), 1))
    groups: dict[str, list[str]] = defaultdict(list)
    for name in masked:
        groups[group[name]].append(name)
    if len(groups) == 1:
        notes.append(
            f"all masks are of one video or of near-duplicates: the last {target} are reported on, "
            "and scores will be too good; add masks of other scenes"
        )
        return set(sorted(masked)[-target:])
    # A group of more than half of the masks would leave too few to train on.
    small = {key: names for key, names in groups.items() if len(names) <= len(masked) // 2}
    best: tuple[tuple[int, int, int], set[str]] | None = None
    for order in range(_ORDERS):
        chosen = _drawn(small, target, f"{seed}/{order}")
        missing = _missing(masked, chosen, holds)
        score = (missing[0], missing[1], abs(len(chosen) - target))
        if best is None or score < best[0]:
            best = score, chosen
        if score == (0, 0, 0):
            break
    assert best is not None
    return best[1]


def _drawn(groups: Mapping[str, list[str]], target: int, seed: str) -> set[str]:
    """Whole groups in the order of a hash, as long as they fit; one at least."""
    ranked = sorted(groups, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest())
    chosen: set[str] = set()
    for key in ranked:
        if not chosen or len(chosen) + len(groups[key]) <= target:
            chosen.update(groups[key])
    return chosen


def _missing(
    masked: Sequence[str], chosen: set[str], holds: Mapping[str, frozenset[int]]
) -> tuple[int, int]:
    """How many values no mask of train has, and how many no mask of val has."""
    every = _union(holds.get(name, frozenset()) for name in masked)
    train = _union(holds.get(name, frozenset()) for name in masked if name not in chosen)
    val = _union(holds.get(name, frozenset()) for name in chosen)
    return len(every - train), len(every - val)


def _union(sets: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset().union(*sets)
