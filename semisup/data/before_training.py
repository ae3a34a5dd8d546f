"""What a run asks of its masks before it trains, from those that it opens anyway."""

from __future__ import annotations

from collections.abc import Sequence

from semisup.data.base import SegmentationData
from semisup.data.evidence import Sign, masks_of, signs, signs_of_classes, signs_of_some
from semisup.data.labels.classes_in_masks import content_of, read_contents
from semisup.data.labels.splits import Split
from semisup.data.palettes import PlacedMask, contradictions, doubts, palettes_of
from semisup.errors import DataError
from semisup.system.words import names

MOST_OPENED = 256
"""Masks of the reported set that are opened, unless all classes are seen before that."""


def check_labelled(data: SegmentationData, training: Split) -> list[str]:
    """What is in doubt about the masks that are trained on.

    Args:
        data: the training set.
        training: who is labelled in it, without the held-out images.

    Raises:
        DataError: nothing can be learnt from them: one class, nothing but void, or 0 and 255 alone.
    """
    contents = list(training.contents.values())
    labelled = masks_of(data, "that are trained on", contents)
    found = [*signs_of_classes(data.classes), *signs(labelled)]
    return _doubts(data, found)


def check_held_out(data: SegmentationData, split: Split, held_out: Sequence[str]) -> list[str]:
    """What is in doubt about the masks that choose the checkpoint.

    Args:
        data: the training set.
        split: who is labelled in it, held-out images included.
        held_out: ids.

    Raises:
        DataError: all of them are void throughout.
    """
    void = [key for key in held_out if not split.presence[key]]
    if not void:
        return []
    has = "has" if len(void) == 1 else "have"
    of = f"held-out images of {data.name} {data.subset} ({names(void)}) {has} no valid pixel"
    if len(void) < len(held_out):
        return [f"{len(void)} of the {len(held_out)} {of}, which adds nothing to the choice"]
    raise DataError(
        f"the {len(void)} {of}, so they cannot choose a checkpoint: correct the masks, or change "
        "data.split_seed or eval.hold_out"
    )


def check_weak_masks(data: SegmentationData, ids: Sequence[str]) -> list[str]:
    """What is in doubt about the weak masks that are trained on, each of which is opened.

    Args:
        data: the training set, whose masks are the weak ones.
        ids: of the images that are weakly labelled.

    Raises:
        DataError: one cannot be used, or all are void throughout.
    """
    contents = [*read_contents(data, ids).values()]
    masks = masks_of(data, "of data.weak_masks", contents)
    if masks.labels:  # of one class alone: the masks beside them may have the others
        return [sign.text for sign in signs_of_some(masks)]
    return _doubts(data, signs(masks)) if ids else []


def check_reported(reported: SegmentationData) -> list[str]:
    """What is in doubt about the masks that are reported on, before hours are spent on a training.

    Masks are opened one by one until all classes have been seen; at most `MOST_OPENED`, but for
    sets that hold nothing but void up to there.

    Raises:
        DataError: one is missing, or no score can come of them: nothing but void, or 0 and 255
            alone.
    """
    contents, seen = [], frozenset[int]()
    for index in range(len(reported)):
        if not reported.has_mask(index):
            reported.mask(index)  # says what is missing
    for index in range(len(reported)):
        contents.append(content_of(reported.mask(index)))
        seen |= contents[-1].labels
        if len(seen) == reported.num_classes or (seen and len(contents) == MOST_OPENED):
            break
    masks = masks_of(reported, f"of {reported.subset}", contents)
    if len(contents) < len(reported.masked_ids):
        return [sign.text for sign in signs_of_some(masks)]
    return _doubts(reported, signs(masks))


def check_palettes(
    data: SegmentationData, labelled: Sequence[str], reported: SegmentationData
) -> list[str]:
    """Whether the colours of the masks, read from the heads of their files, contradict each other.

    Args:
        data: the training set.
        labelled: ids whose masks are trained on.
        reported: the set that is reported on; of it as many masks as `check_reported` opens.
    """
    masks = [PlacedMask(data, data.index(key)) for key in labelled]
    scored = [index for index in range(len(reported)) if reported.has_mask(index)]
    masks += [PlacedMask(reported, index) for index in scored[:MOST_OPENED]]
    palettes = palettes_of(masks)
    return [conflict.reason for conflict in contradictions(palettes)] + doubts(palettes)


def doubts_of_some(data: SegmentationData, ids: Sequence[str]) -> list[str]:
    """What is wrong or in doubt about some masks of a set that stand for it; none is refused."""
    masks = masks_of(data, "that are shown", [*read_contents(data, ids).values()])
    palettes = palettes_of([PlacedMask(data, data.index(key)) for key in ids])
    found = [*signs_of_classes(data.classes), *signs_of_some(masks)] if ids else []
    return [
        *(sign.text for sign in found),
        *(conflict.reason for conflict in contradictions(palettes)),
        *doubts(palettes),
    ]


def _doubts(data: SegmentationData, found: Sequence[Sign]) -> list[str]:
    """What is no fault.

    Raises:
        DataError: there is a fault.
    """
    for sign in found:
        if sign.fault:
            raise DataError(f"{data.name}: {sign.text}")
    return [sign.text for sign in found]
