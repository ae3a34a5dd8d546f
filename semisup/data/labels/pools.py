"""Where the images come from that have no mask: the unlabelled and the weakly labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from semisup.data.base import SegmentationData
from semisup.data.labels.pseudo_masks import Confidences
from semisup.data.labels.splits import Split
from semisup.data.sets.drawn_masks import with_masks
from semisup.data.sets.photographs import Photographs, describe_photographs, read_photographs
from semisup.errors import DataError

_WEAK = "data.weak_masks"


@dataclass(frozen=True, slots=True)
class Pool:
    """The images that a stream reads.

    Attributes:
        data: where they are.
        ids: which of its images, sorted.
        source: for run and result: where they come from, and how a folder is known again.
        confidences: of their masks, where these are pseudo-masks that are weighted by them.
    """

    data: SegmentationData
    ids: tuple[str, ...]
    source: dict[str, Any]
    confidences: Confidences | None = None


def make_pool(
    data: SegmentationData,
    spec: str,
    training: Split,
    held_out: Sequence[str] = (),
    weakly: Sequence[str] = (),
) -> Pool:
    """The unlabelled images that `spec` describes.

    - "rest": the images of the training subset that the split leaves without any label.
    - "all": all images of the split, those with masks and tags too, but no held-out one.
    - "folder:PATH": the photographs of a folder and its sub-folders, and no image of the data set
      beside. Held-out images that lie in it are left out, known by their resolved paths.

    Args:
        data: the training subset.
        spec: as above.
        training: its split, without the held-out images.
        held_out: ids of `data` that choose the checkpoint.
        weakly: ids of `data` that have weak masks: labels too.

    Raises:
        RecipeError: `spec` cannot be understood.
        DataError: the folder is missing, or holds no photograph but held-out images.
    """
    spec = spec.strip()
    if spec == "rest":
        labelled = frozenset(weakly)
        ids = tuple(name for name in training.unlabelled if name not in labelled)
        return Pool(data, ids, {"source": spec})
    if spec == "all":
        return Pool(data, tuple(training.labels), {"source": spec})
    tree = read_photographs(spec)
    photographs = Photographs(tree, beside=data)
    hidden = {data.image_path(data.index(name)).resolve() for name in held_out}
    ids = tuple(name for name, path in tree.files.items() if path.resolve() not in hidden)
    if not ids:
        raise DataError(
            f"{tree.folder} holds nothing but held-out images, which no stream may read; take "
            "another folder for data.unlabelled"
        )
    return Pool(photographs, ids, describe_photographs(tree))


def make_weak_pool(
    data: SegmentationData, spec: str, training: Split, seed: int = 0, weighted: bool = False
) -> Pool:
    """The images with weak masks, but for those that have a mask of their own.

    Args:
        data: the training subset.
        spec: "folder:PATH" of <id>.png: 0..K-1 where there is a label, 255 elsewhere; or a kind of
            weak label, which is drawn from the masks of `data`.
        training: who has a mask, without the held-out images.
        seed: of what is drawn.
        weighted: whether the confidences of pseudo-masks are read, too.

    Returns:
        The images; the masks of its `data` are the weak ones.

    Raises:
        RecipeError: `spec` cannot be understood.
        DataError: the folder is missing, holds no mask of an image of `data`, or weak labels of
            other classes.
    """
    weak = with_masks(data, spec, seed, _WEAK, weighted)
    others = [name for name, kind in training.labels.items() if kind != "mask"]
    ids = tuple(name for name in others if weak.has_mask(weak.index(name)))
    return Pool(weak, ids, weak.source, weak.confidences)
