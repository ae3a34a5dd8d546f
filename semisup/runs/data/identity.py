"""What data a run was begun with, and the refusal to go on with other data, or to answer for it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.data.base import SegmentationData
from semisup.data.by_name import listed
from semisup.data.fingerprint import (
    Files,
    changed_files,
    file_name,
    fingerprint,
    is_size,
)
from semisup.data.formats.trees import digest_of, names_folder
from semisup.data.sets.drawn_masks import describe
from semisup.data.sets.masks_in_folder import MasksInFolder
from semisup.data.sets.photographs import describe_photographs, read_photographs
from semisup.errors import DataError, RecipeError, RunError
from semisup.evaluation.protocol import ids_sha256
from semisup.models.torchvision_weights import TORCHVISION
from semisup.ops.pixels import RGB_FORMAT, ImageFormat
from semisup.recipe.places import PLACES
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import flatten, read_toml
from semisup.runs.assemble import open_data, open_reported, train_subset
from semisup.runs.data.untouched import gone
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.result import DataRecord, Result, SetRecord, plain
from semisup.system.files import write_text
from semisup.system.words import counted

_IDENTITY = {
    "sha256": "another split of the images",
    "tags": "other image tags",
    "masks": "other masks (data.masks)",
    "weak_masks": "other weak masks (data.weak_masks)",
    "unlabelled_from": "other unlabelled images (data.unlabelled)",
}
"""What of a described split must stay the same while a run goes on, in words."""

_STEPS = "train.steps"

_LOOKED_FOR = 20
"""Recorded files of which one must be there, or the data are gone."""


@dataclass(frozen=True)
class SetIdentity:
    """One set of images: what a run records of it, and the facts of its files.

    Attributes:
        record: for run.json and result.json.
        files: what `record.files_sha256` is of; images alone where that is empty.
    """

    record: SetRecord
    files: Files


@dataclass(frozen=True)
class DataIdentity:
    """The data of a run.

    Attributes:
        trained: the training subset.
        reported: the set that is reported on.
        images: what the values of the images are, and how they are normalised; never compared.
    """

    trained: SetIdentity
    reported: SetIdentity
    images: ImageFormat = RGB_FORMAT

    @property
    def record(self) -> DataRecord:
        """For run.json and result.json."""
        return DataRecord(self.reported.record, self.trained.record, self.images)


def identify(
    data: SegmentationData, root: Path, labelled: Collection[int] | None = None
) -> SetIdentity:
    """What a set is known again by.

    Args:
        data: the set.
        root: the data root in which it was found.
        labelled: positions of the images whose masks are used; None opens no file, and the record
            states no hash of them.
    """
    files = fingerprint(data, _own_masks(data, labelled or ()))
    record = SetRecord(
        name=data.name,
        subset=data.subset,
        root=str(root.resolve()),
        folder=os.path.relpath(data.root, root),
        classes=tuple(data.classes),
        images=len(data),
        ids_sha256=ids_sha256(data.ids),
        masks=len(data.masked_ids),
        files=len(files),
        files_sha256="" if labelled is None else digest_of(files),
        stored_classes=tuple(data.stored_classes),
    )
    return SetIdentity(record, files)


def _own_masks(data: SegmentationData, labelled: Collection[int]) -> Collection[int]:
    """Masks of `data.masks` are none of the data set; they are compared as a folder."""
    return () if isinstance(data, MasksInFolder) else labelled


def identify_reported(data: SegmentationData, root: Path) -> SetIdentity:
    """`identify`, with all masks of a set that is scored."""
    return identify(data, root, [index for index in range(len(data)) if data.has_mask(index)])


def write_files(path: Path, identity: DataIdentity) -> None:
    """Write the name and fact of each file of a run's data, so that a changed one can be named."""
    facts = {"trained": identity.trained.files, "reported": identity.reported.files}
    write_text(path, json.dumps(facts, indent=0) + "\n")


def read_files(path: Path) -> dict[str, dict[str, str]]:
    """What `write_files` wrote; empty where that is not there or damaged: it only helps to name."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    tables = content.items() if isinstance(content, dict) else ()
    return {
        key: {name: str(fact) for name, fact in files.items()}
        for key, files in tables
        if isinstance(files, dict)
    }


def recorded_files(path: Path, recorded: DataRecord) -> dict[str, dict[str, str]]:
    """`read_files`, without the tables whose hash is not the recorded one: they are of other data.

    Args:
        path: of the file.
        recorded: the data of the run.
    """
    found = read_files(path)
    sets = {"trained": recorded.trained, "reported": recorded.reported}
    return {
        key: found[key]
        for key, record in sets.items()
        if key in found and record is not None and digest_of(found[key]) == record.files_sha256
    }


def refuse_other_data(folder: RunFolder, recorded: DataRecord | None, now: DataIdentity) -> None:
    """Refuse to go on with, or to answer for, other data than a run was begun with.

    Args:
        folder: of the run.
        recorded: what its run.json or result.json states; None compares nothing.
        now: the data as they are.

    Raises:
        RunError: classes, ids or files differ; names the difference.
    """
    if recorded is None:
        return
    files = recorded_files(folder.files, recorded)
    for key, then, found in (
        ("trained", recorded.trained, now.trained),
        ("reported", recorded.reported, now.reported),
    ):
        what = difference(then, found, files.get(key)) if then is not None else ""
        if then is not None and what:
            raise RunError(f"{folder.path}: {_other_data(then, found.record, what)}")


def difference(then: SetRecord, now: SetIdentity, files: Files | None = None) -> str:
    """How a set differs from the recorded one, in words; empty where it does not.

    Args:
        then: as recorded.
        now: as it is.
        files: the recorded facts of its files, to name one that has changed.
    """
    found = now.record
    if then.classes != found.classes:
        return f"its classes were {listed(then.classes)}, now they are {listed(found.classes)}"
    if then.stored_classes and then.stored_classes != found.stored_classes:
        stood, stand = listed(then.stored_classes), listed(found.stored_classes)
        return f"the labels of its files stood for {stood}, now for {stand}"
    before, after = files or {}, now.files or {}
    changed = changed_files(before, after) if before and after else []
    if (then.images, then.ids_sha256) != (found.images, found.ids_sha256):
        apart = [name for name in changed if (name in before) != (name in after)]
        images = [name for name in apart if is_size(before.get(name) or after[name])]
        return f"{then.subset} had {_images(then)}, now it has {_images(found)}{_first(images)}"
    if found.files_sha256 and then.files_sha256 != found.files_sha256:
        gone = sum(name in before for name in changed)
        number = f"{gone} of the {then.files} files" if gone else "files"
        return f"{number} of {then.subset} have changed{_first(changed)}"
    return ""


def _first(names: Sequence[str]) -> str:
    return f"; the first that differs is {names[0]!r}" if names else ""


def _images(record: SetRecord) -> str:
    return f"{counted(record.images, 'image')} (ids {record.ids_sha256[:8]})"


def _other_data(then: SetRecord, now: SetRecord, what: str) -> str:
    """The difference with what happened and the remedy."""
    if then.root == now.root:
        return (
            f"the data in {now.root} have changed since it was begun: {what}. Put them back as "
            "they were, or choose another --out."
        )
    return (
        f"was begun with the data in {then.root}, and those in {now.root} are others: {what}. "
        "Give the --data-root of its own, or choose another --out."
    )


def refuse_changed_data(folder: Path, recorded: Any, now: Mapping[str, Any]) -> None:
    """Refuse to go on with other labels or unlabelled images than a run was begun with.

    Args:
        folder: of the run.
        recorded: its split as recorded; a part that it does not state is not compared.
        now: the same parts as they are now.

    Raises:
        RunError: one of them differs.
    """
    if not isinstance(recorded, dict):
        return
    for key, what in _IDENTITY.items():
        if key in recorded and key in now and recorded[key] != now[key]:
            raise RunError(
                f"{folder}: was begun with {what}: {_brief(recorded[key])}, now "
                f"{_brief(now[key])}. Put the files back as they were, or choose another --out."
            )


def check_finished(folder: RunFolder, recipe: Recipe, result: Result, paths: Paths) -> list[str]:
    """Refuse the result of data that have changed since, where they are there.

    Masks are opened where the run has used them, and no others.

    Returns:
        What could not be compared, each in one line.

    Raises:
        RunError: the classes, ids or files are others, or the content of a folder.
    """
    unlabelled = recipe.data.unlabelled
    found: dict[str, Any] = {}
    notes = list[str]()
    for part in ("masks", "weak_masks"):
        spec = paths.masks_of(recipe, f"data.{part}")
        with _noting(notes, f"data.{part}"):
            if spec:
                found[part] = describe(spec, f"data.{part}", recipe.train.confidence_weights)
    with _noting(notes, "data.unlabelled"):
        if unlabelled.strip() not in ("rest", "all"):
            found["unlabelled_from"] = describe_photographs(read_photographs(unlabelled))
    refuse_changed_data(folder.path, plain(result.split), found)
    return [*notes, *_check_sets(folder, recipe, result, paths)]


@contextlib.contextmanager
def _noting(notes: list[str], key: str) -> Iterator[None]:
    """Of a folder that cannot be read any more, say that it is not compared."""
    try:
        yield
    except DataError as error:
        notes.append(f"{key} is not compared with what the run was begun with: {error}.")


def _check_sets(folder: RunFolder, recipe: Recipe, result: Result, paths: Paths) -> list[str]:
    root, recorded = paths.data_of(recipe), result.data
    if recorded is None:
        return [f"{folder.path}: does not say which data it was trained on; not compared."]
    if not root.is_dir():
        return [gone(root)]
    files = recorded_files(folder.files, recorded)
    try:
        trained = open_data(recipe, paths, train_subset(recipe))
        reported = open_reported(recipe, paths)
    except DataError as error:
        if _any_is_there(root, recorded, files):
            raise
        return [f"the data are not there any more ({error}); this is the result as recorded."]
    now = DataIdentity(
        _identify_again(trained, root, files.get("trained")),
        _identify_again(reported, root, files["reported"])
        if "reported" in files
        else identify_reported(reported, root),
    )
    refuse_other_data(folder, recorded, now)
    _refuse_other_masks(folder, recipe, recorded, now)
    if "trained" in files or recorded.trained is None:
        return []
    return [f"{folder.files}: is gone or of another run: the training masks are not compared."]


def _refuse_other_masks(
    folder: RunFolder, recipe: Recipe, recorded: DataRecord, now: DataIdentity
) -> None:
    """A mask more or less changes who is labelled, unless a list says so."""
    sets = [(recorded.reported, now.reported.record)]
    in_folder = names_folder(recipe.data.masks) or "data.masks" in recipe.pseudo_masks
    listed_ones = in_folder or recipe.data.split.strip().startswith("file:")
    if recorded.trained is not None and not listed_ones:
        sets.append((recorded.trained, now.trained.record))
    for then, found in sets:
        if then.masks != found.masks:
            before = counted(then.masks, "image")
            what = f"{before} of {then.subset} had a mask, now {found.masks} have"
            raise RunError(f"{folder.path}: {_other_data(then, found, what)}")


def _identify_again(
    data: SegmentationData, root: Path, files: Mapping[str, str] | None
) -> SetIdentity:
    """`identify`, with the masks that are among the recorded files."""
    if files is None:
        return identify(data, root)
    used = [
        index
        for index in range(len(data))
        if data.has_mask(index) and file_name(data.root, data.mask_path(index)) in files
    ]
    return identify(data, root, used)


def _any_is_there(root: Path, recorded: DataRecord, files: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether one of some recorded files lies under the data root still."""
    names = list(files.get("reported", ()))[:_LOOKED_FOR]
    return any((root / recorded.reported.folder / name).exists() for name in names)


def _brief(fact: Any) -> str:
    """A hash by its first digits, with the source where one is known."""
    if not isinstance(fact, dict):
        return f"sha256 {str(fact)[:8]}"
    files = f", {fact['files']} files" if "files" in fact else ""
    digest = f" (sha256 {str(fact['sha256'])[:8]}{files})" if "sha256" in fact else ""
    return f"{fact.get('source')}{digest}"


def of_other_length(folder: Path, recipe: Recipe) -> str:
    """That a run of another number of steps is there, which this one does not go on from.

    Args:
        folder: of the run that begins.
        recipe: that it is of.

    Returns:
        A line; empty where there is none. Of a run of as many steps too, whose files were others.
    """
    own = _but_for_steps(flatten(recipe.resolved()))
    for other in sorted(folder.parent.glob(f"*-s{recipe.train.seed}")):
        stated = _recipe_of(other)
        if other == folder or _but_for_steps(stated) != own:
            continue
        if stated.get(_STEPS) == recipe.train.steps:
            if by_content := _named_files(recipe):
                return (
                    f"{other} is a run of the same recipe, by another content of "
                    f"{' or '.join(by_content)}; this is another run, which begins at step 0."
                )
            continue
        return (
            f"{other} is a run of train.steps = {stated.get(_STEPS)}; with {recipe.train.steps} "
            "this is another run, which begins at step 0: learning rates follow shares of the "
            "whole run, so the steps of the two are not the same. To start from its weights, set "
            f"model.weights (--weights) to {other / 'predictor.safetensors'}."
        )
    return ""


def _named_files(recipe: Recipe) -> list[str]:
    """The keys by which a recipe names a file whose content is part of what a run is."""
    lists = {
        "data.split": recipe.data.split,
        "data.tagged": recipe.data.tagged,
        "data.tags": recipe.data.tags,
    }
    named = [key for key, value in lists.items() if value.strip().startswith("file:")]
    by_file = recipe.model.weights not in ("", TORCHVISION)
    return [*["model.weights"] * by_file, *named]


def _recipe_of(run: Path) -> dict[str, Any]:
    """The dotted keys of a run's recipe; empty where it cannot be read."""
    try:
        return read_toml(RunFolder(run).recipe)
    except RecipeError:
        return {}


def _but_for_steps(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Without the keys that a file of TOML cannot state, those without a value."""
    apart = (_STEPS, *PLACES)
    return {k: value for k, value in stated.items() if k not in apart and value is not None}
