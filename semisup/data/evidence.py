"""What the labels in a set of masks say about the masks: evidence that they mean something else.

A label is in range or it is not; that it is in range does not show that it is right. Here a whole
set is asked: a class that no mask holds, masks of nothing but 0 and 255, lists of names that are
one off. What cannot be right is a fault; what may be right is a doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from semisup.data.base import SegmentationData
from semisup.data.formats.class_colours import is_background
from semisup.data.labels.classes_in_masks import MaskContent
from semisup.system.words import NAMED, names
from semisup.types import IGNORE

_VOIDS = frozenset({"void", "unlabelled", "unlabeled", "ignore", "ignored", "__ignore__"})
_OUTLINES = ("border", "boundary", "contour", "edge", "outline")
_FEW = 3
"""Masks from which on a habit of their labels can be told from chance."""


class Sign(NamedTuple):
    """What a set of masks gives away, in one sentence with the remedy.

    Attributes:
        text: the sentence.
        fault: whether nothing can be learnt from, or scored on, such masks.
    """

    text: str
    fault: bool


class MaskSet(NamedTuple):
    """Masks that are used for one purpose.

    Attributes:
        which: of what they are the masks, such as "of train".
        classes: K names.
        contents: what each mask holds.
        stored: the names of all labels of the files, where `classes` are not all of them; the
            pixels of the others are void here, and the labels of `classes` are numbered anew.
        drawn: whether they are drawn from objects, so that no file holds their labels.
    """

    which: str
    classes: tuple[str, ...]
    contents: Sequence[MaskContent]
    stored: tuple[str, ...] = ()
    drawn: bool = False

    @property
    def left_out(self) -> list[str]:
        """Classes of the files that are void here."""
        return [name for name in self.stored if name not in self.classes]

    @property
    def labels(self) -> frozenset[int]:
        """All labels that some mask holds, void apart."""
        return frozenset[int]().union(*(content.labels for content in self.contents))

    @property
    def named(self) -> str:
        """Such as "the 30 masks of train"."""
        count = len(self.contents)
        if count == 1:
            return f"the mask {self.which.replace('that are', 'that is')}"
        return f"the {count:,} masks {self.which}"


def masks_of(data: SegmentationData, which: str, contents: Sequence[MaskContent]) -> MaskSet:
    """Some masks of a data set, with the classes of its files."""
    drawn = data.has_objects and is_background(data.classes[0])
    return MaskSet(which, data.classes, contents, data.stored_classes, drawn)


def signs(masks: MaskSet) -> list[Sign]:
    """What a set of masks gives away; nothing where there are no masks.

    Where all pixels are void, or masks hold only 0 and 255, the rest follows and is left out.
    """
    if not masks.contents:
        return []
    for fault in (_all_void, _binary):
        if text := fault(masks):
            return [Sign(text, True)]
    return [Sign(text, False) for doubt in _DOUBTS for text in doubt(masks)]


def signs_of_some(masks: MaskSet) -> list[Sign]:
    """As `signs`, of a sample of a set: what it does not hold, others may."""
    return [sign for sign in signs(masks) if sign.fault] + [
        Sign(text, False) for habit in _HABITS for text in habit(masks)
    ]


def signs_of_classes(classes: Sequence[str]) -> list[Sign]:
    """What the list of classes gives away by itself."""
    found = []
    if len(classes) == 1:
        found.append(
            Sign(
                f"'{classes[0]}' is the only class: every pixel is of it, and an mIoU of 1.0000 is "
                "no result. Name a second class, such as background",
                True,
            )
        )
    for label, name in enumerate(classes):
        if name.strip().lower() in _VOIDS:
            text = (
                f"'{name}' is class {label}, which is trained and scored as any other; if its "
                f'pixels are to be left out, set data.ignore_classes = ["{name}"]'
            )
            found.append(Sign(text, False))
    return found + [Sign(text, False) for text in _names_in_doubt(classes)]


def _names_in_doubt(classes: Sequence[str]) -> Iterator[str]:
    """Names that are numbers of other labels, or that differ in their case alone."""
    numbers = {label: name for label, name in enumerate(classes) if name.isdecimal()}
    wrong = [label for label, name in numbers.items() if int(name) != label]
    if wrong and len(numbers) == len(classes):
        yield (
            f"the names of the classes are numbers, and '{numbers[wrong[0]]}' is that of label "
            f"{wrong[0]}: position in the list is the label. If the numbers are the values in the "
            "masks, write 'number,name'"
        )
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            yield (
                f"'{other}' and '{name}' are two classes, and their names differ in their case "
                "alone: if they are one, merge them in the masks and in the list of classes"
            )


def _all_void(masks: MaskSet) -> str:
    if masks.labels:
        return ""
    ignored = f" or of {names(masks.left_out)}, left out" if masks.left_out else ""
    return (
        f"every labelled pixel in {masks.named} is void ({IGNORE}){ignored}: there is nothing to "
        f"learn or to score. If {IGNORE} is a class, map it; else correct the masks"
    )


def _binary(masks: MaskSet) -> str:
    has_void = any(content.void for content in masks.contents)
    if masks.labels != {0} or not has_void or len(masks.classes) < 2:
        return ""
    if masks.left_out and masks.stored[0] != masks.classes[0]:
        return ""  # 0 is another label in the files
    if masks.drawn:
        return (
            f"all objects in {masks.named} are crowds or of classes that are left out: no pixel of "
            f"{names(masks.classes[1:])} is left. Keep classes that have objects of their own"
        )
    hold = "hold" if len(masks.contents) != 1 else "holds"
    left, beside = names(masks.classes[1:]), ""
    if masks.left_out:
        beside = f" (or {names(masks.left_out)}, left out)"
    return (
        f"{masks.named} {hold} only 0 and {IGNORE}{beside}: {IGNORE} is void, and no pixel of "
        f"{left} is left. If {IGNORE} is a class, map it{_values(masks.stored or masks.classes)}"
    )


def _values(classes: Sequence[str]) -> str:
    if len(classes) != 2:
        return f", or save its pixels as a label from 1 to {len(classes) - 1}"
    return f' (folder: values = {{0 = "{classes[0]}", {IGNORE} = "{classes[1]}"}}), or save it as 1'


def _absent(masks: MaskSet) -> Iterator[str]:
    """Classes without a pixel, and what an absence at either end of the list points to."""
    held, classes = masks.labels, masks.classes
    absent = [name for label, name in enumerate(classes) if label not in held]
    if not absent:
        return
    has = "has" if len(absent) == 1 else "have"
    of = f" of {len(classes)} classes" if len(absent) > NAMED else ""
    yield f"{names(absent)}{of} {has} no labelled pixel in {masks.named}{_one_off(masks)}"


def _one_off(masks: MaskSet) -> str:
    held, classes = masks.labels, masks.classes
    if masks.left_out:
        return ""  # the numbers are not those of the files
    last = len(classes) - 1
    if held == {0}:
        return f": all is '{classes[0]}', and there is nothing to tell apart"
    at = [label for label, name in enumerate(classes) if is_background(name)]
    if 0 not in held and (at[:1] == [0] or _count_from_one(masks)):
        return (
            f". None holds label 0, '{classes[0]}': labels start at 0 here. If theirs start at 1, "
            "subtract 1; if 0 is no class, take it out of the list of classes"
        )
    if last not in held and at and at[0] > 0 and 0 in held:
        return (
            f". '{classes[at[0]]}' is class {at[0]}, and the last class is nowhere: the names may "
            "be one off, because the position in the list of classes, from 0, is the label"
        )
    if held == set(range(last)) and any(content.void for content in masks.contents):
        return f". {IGNORE} is void: if it stands for '{classes[last]}' in the masks, map it"
    return ""


def _count_from_one(masks: MaskSet) -> bool:
    """Whether the labels are 1, 2, ... without a gap, in enough masks to be no chance."""
    highest = max(masks.labels)
    complete = masks.labels == set(range(1, highest + 1))
    return complete and highest > 1 and len(masks.contents) >= _FEW


def _two_habits(masks: MaskSet) -> Iterator[str]:
    """Some masks of 0 and 255 among masks of 0 and 1 without void: two ways to save an object."""
    only_void = sum(content == MaskContent(frozenset({0}), True) for content in masks.contents)
    others = [content for content in masks.contents if content.labels - {0}]
    elsewhere = any(content.void for content in others)
    if masks.left_out:
        return  # their pixels are void here, whatever the files hold
    if only_void >= _FEW and others and not elsewhere and len(masks.classes) > 1:
        yield (
            f"{only_void} of {masks.named} hold only 0 and {IGNORE}, and no other one has void "
            f"({IGNORE}): is it a class there? Save the objects of all masks as one label"
        )


def _smooth_seams(masks: MaskSet) -> Iterator[str]:
    """Masks whose classes meet over the labels between theirs, as if they were amounts."""
    seams = [content.seams for content in masks.contents if content.seams.prevail]
    between = sorted(frozenset[int]().union(*(one.between for one in seams)))
    if len(seams) < _FEW or all(_is_outline(masks.classes[label]) for label in between):
        return
    part = "all" if len(seams) == len(masks.contents) else len(seams)
    yield (
        f"{part} of {masks.named} pass from one class to another over a thin seam of the "
        f"classes numbered between ({names([masks.classes[label] for label in between])}), as "
        "smooth resizing or JPEG leave it: resize masks with nearest neighbour, and save them "
        "without loss. If such a class is drawn as an outline, all is well"
    )


def _is_outline(name: str) -> bool:
    return any(word in name.lower() for word in _OUTLINES)


_HABITS: tuple[Callable[[MaskSet], Iterator[str]], ...] = (_two_habits, _smooth_seams)
_DOUBTS = (_absent, *_HABITS)
