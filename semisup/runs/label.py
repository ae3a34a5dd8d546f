"""Pseudo-masks from a finished run: who is labelled, by which network, and where they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from semisup.data.base import SegmentationData
from semisup.data.formats.id_lists import read_ids
from semisup.data.formats.trees import folder_of, names_folder
from semisup.data.image_formats import fitted
from semisup.data.labels.pseudo_masks import (
    KIND,
    check_names,
    pseudo_mask_manifest,
    write_record,
)
from semisup.data.labels.tags import Tags, read_tags
from semisup.data.weak_labels.manifest import MANIFEST, claimed
from semisup.errors import DataError, RecipeError, RunError, suggest
from semisup.evaluation.labelling.writing import PseudoMasks, write_pseudo_masks
from semisup.evaluation.volumes import VolumeInference
from semisup.runs.assemble import open_data, train_subset
from semisup.runs.reopen import OpenRun
from semisup.system.words import counted

THRESHOLD = 0.9
"""Smallest probability that is taught, unless another is named."""


@dataclass(frozen=True)
class LabelledImages:
    """Images that a run has labelled.

    Attributes:
        data: where they are.
        ids: sorted.
        made: what was written of them.
        split: of the run, when the images that it had no mask of were labelled; else empty, also
            when the run's masks are weak labels.
    """

    data: SegmentationData
    ids: tuple[str, ...]
    made: PseudoMasks
    split: str


def label_run(
    opened: OpenRun,
    out: Path,
    *,
    threshold: float = THRESHOLD,
    subset: str = "",
    listed: Path | None = None,
    tags: str = "",
) -> LabelledImages:
    """Write pseudo-masks of images that the run had no mask of.

    No mask of theirs is opened, whether there is one or not. The same call again goes on where it
    was stopped. A run that was trained on pseudo-masks (`data.masks`) labels the same images again,
    which is the next round; one that was trained on other weak labels labels all images.

    Args:
        opened: the run; its protocol is how an image is seen.
        out: folder to write, new or of the same pseudo-masks.
        threshold: smallest probability that is taught, in [0, 1].
        subset: of the run's data set; empty: what it was trained on.
        listed: a file of the ids to label; None: all of the subset that have no mask in the run.
        tags: "xml" or "file:PATH", which classes are in which image; empty: those of the run.

    Raises:
        RecipeError: the threshold is no share, the network reads volumes, or the tags cannot be
            understood.
        RunError: the run's split is not what it was, or there is nothing to label.
        DataError: an id of the list is unknown or has a mask in the run, the folder holds something
            else, or an image cannot be read.
    """
    if not 0 <= threshold <= 1:
        raise RecipeError(f"--threshold {threshold}: is a probability, from 0 to 1.")
    inference = opened.inference()
    if isinstance(inference, VolumeInference):
        raise RecipeError(
            f"{opened.folder}: its network reads volumes, and pseudo-masks are of images. Label "
            "them with 'semisup predict'."
        )
    own = opened.experiment
    _check_same_split(opened)
    data = own.data
    if subset and subset != train_subset(opened.recipe):
        data = open_data(opened.recipe, own.paths, subset)
    if data.classes != opened.classes:
        raise RunError(
            f"{opened.folder}: has other classes than its data now ({', '.join(data.classes[:3])}, "
            "...). Put the data back as they were."
        )
    data = fitted(data, opened.images.kind)
    masked = _masked(opened, data)
    ids = _chosen(opened, data, masked, listed)
    check_names(ids)
    known = _tags_of(opened, data, tags)
    protocol = opened.recipe.eval.model_dump(mode="json")
    options = {
        "threshold": threshold,
        "tags": None if known is None else f"{known.source} ({known.sha256[:8]})",
        **{f"eval.{key}": protocol[key] for key in _SEEN_BY},
    }
    made_by = {key: value for key, value in opened.identity().items() if key in _MADE_BY}
    stated = pseudo_mask_manifest(data, ids, made_by, options)
    of = _known_of(opened, data, known, tags)
    with claimed(out, stated):
        made = write_pseudo_masks(out, inference, data, ids, threshold, of)
    record = {"kind": KIND, "made_by": {**made_by, "run": opened.folder.name}, **options}
    write_record(out, {**record, **made.content()})
    is_own = data.subset == own.data.subset and listed is None and not _has_weak_masks(opened)
    split = own.labels.split.name if is_own else ""
    return LabelledImages(data, ids, made, split)


_MADE_BY = ("recipe", "recipe_hash", "seed", "step", "weights")

_SEEN_BY = (
    *("mode", "window", "overlap", "scales", "flip", "samples", "samples_seed", "crf"),
    *("crf_iterations", "crf_smoothness_weight", "crf_smoothness_sigma", "crf_exact"),
    *("crf_appearance_weight", "crf_appearance_sigma", "crf_colour_sigma"),
)
"""Keys of [eval] that say how an image is seen; the others say how it is scored."""


def _check_same_split(opened: OpenRun) -> None:
    """Refuse data by which other images are labelled than the run was trained on.

    Raises:
        RunError: its record states another split.
    """
    if opened.result is None:
        return
    then, now = opened.result.split, opened.experiment.labels.split
    if then.sha256 != now.sha256:
        raise RunError(
            f"{opened.folder}: was trained with split {then.name} (sha256 {then.sha256[:8]}), and "
            f"its data give {now.name} (sha256 {now.sha256[:8]}) now. Put the data back as they "
            "were, or name the --data-root of its own."
        )


def _has_weak_masks(opened: OpenRun) -> bool:
    """Whether the masks of a run are pseudo-masks or other weak labels, which a round replaces."""
    spec = opened.recipe.data.masks
    if not spec or not names_folder(spec):
        return bool(spec)
    return (folder_of(spec, "data.masks") / MANIFEST).is_file()


def _masked(opened: OpenRun, data: SegmentationData) -> frozenset[str]:
    """Ids of `data` whose masks the run has seen, held-out ones included; weak ones are none."""
    own, labelled = opened.experiment.data, opened.experiment.labels.split.labelled
    if _has_weak_masks(opened):
        return frozenset()
    if data.subset == own.subset:
        return frozenset(labelled)
    paths = {own.image_path(own.index(name)).resolve() for name in labelled}
    found = enumerate(data.ids)
    return frozenset(name for index, name in found if data.image_path(index).resolve() in paths) | (
        frozenset(labelled) & frozenset(data.ids)
    )


def _chosen(
    opened: OpenRun, data: SegmentationData, masked: frozenset[str], listed: Path | None
) -> tuple[str, ...]:
    """Ids of the images to label, sorted.

    Raises:
        DataError: an id of the list is unknown, or has a mask in the run.
        RunError: there is none.
    """
    if listed is not None:
        ids = read_ids(listed)
        known = frozenset(data.ids)
        for name in ids:
            if name not in known:
                raise DataError(
                    f"{listed}: '{name}' is no image of subset '{data.subset}' of {data.name}."
                    f"{suggest(name, data.ids)}"
                )
            if name in masked:
                raise DataError(
                    f"{listed}: '{name}' has a mask in this run, which no pseudo-mask replaces; "
                    "take it out of the list"
                )
        if not ids:
            raise DataError(f"{listed}: names no image")
        return tuple(sorted(ids))
    own = opened.experiment
    if own.labels.masks.get("made_by") and data.subset == own.data.subset:
        return own.labels.split.labelled  # by the round before
    ids = tuple(sorted(name for name in data.ids if name not in masked))
    if not ids:
        raise RunError(
            f"{opened.folder}: has masks of all {counted(len(masked), 'image')} of subset "
            f"'{data.subset}'. Name another with --subset, or take a run of a smaller split."
        )
    return ids


def _tags_of(opened: OpenRun, data: SegmentationData, spec: str) -> Tags | None:
    """The tags that are named, else those of the run's recipe; None: there are none."""
    stated = spec or opened.recipe.data.tags
    if not stated:
        return None
    if not spec and data.subset == opened.experiment.data.subset:
        return opened.experiment.labels.split.tags
    return read_tags(data, stated)


def _known_of(
    opened: OpenRun, data: SegmentationData, tags: Tags | None, spec: str
) -> Mapping[str, frozenset[int]]:
    """Id -> tags of the images that have any; of the run's own tags, where its split says so."""
    if tags is None:
        return {}
    split = opened.experiment.labels.split
    if spec or data.subset != opened.experiment.data.subset:
        return tags.of
    return {name: tags.of[name] for name in split.weak}
