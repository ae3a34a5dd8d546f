"""What a run is scored on: its own data as they were, or another set by the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semisup.catalog import DATASETS, find
from semisup.data.base import SegmentationData
from semisup.data.before_training import check_palettes, check_reported
from semisup.data.by_name import ClassesByName, listed
from semisup.data.image_formats import fitted
from semisup.data.without_classes import OPTION, without_classes
from semisup.errors import DataError, RecipeError, RunError
from semisup.ops.pixels import RGB
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import parse_change
from semisup.runs.assemble import open_data, open_reported
from semisup.runs.data.identity import SetIdentity, difference, identify_reported, recorded_files
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.result import DataRecord, RunRecord, SetRecord
from semisup.settings import DataSettings


def find_data(recipe: Recipe, recorded: DataRecord | None, paths: Paths | None) -> Paths:
    """Where the data of a run lie, or lay, if they are nowhere.

    Args:
        recipe: of the run.
        recorded: its data; None: it did not record them.
        paths: as given by the user; None: nothing was given.
    """
    if paths is not None and (paths.overrides or not recipe.data.root):
        return paths
    root = None if recorded is None else (recorded.trained or recorded.reported).root
    given = paths or Paths()
    if root is not None and (Path(root).is_dir() or not given.data_root.is_dir()):
        return Paths(Path(root), overrides=True)
    return given


@dataclass(frozen=True)
class ScoredSet:
    """What a run is scored on.

    Attributes:
        data: the set, under the class list of the run.
        identity: what it is known again by.
        left_out: classes of the run that it does not have.
        notes: that it is not the run's own, how classes were matched, and what is in doubt about
            its masks, each in one line.
    """

    data: SegmentationData
    identity: SetIdentity
    left_out: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def open_scored(
    folder: RunFolder,
    recipe: Recipe,
    run: RunRecord,
    paths: Paths,
    subset: str = "",
    changes: Sequence[str] = (),
) -> ScoredSet:
    """Open what a run is scored on, its own data or another set.

    Of the data in the run's own place nothing may have changed. Those elsewhere, and a set that
    `changes` name, may be others: then classes are matched by their names, and the masks are asked
    what they give away, as those of a run's own set are when it starts.

    Args:
        folder: of the run.
        recipe: that it was trained by.
        run: what is known of it.
        paths: where the data lie.
        subset: which ids; empty: what the recipe reports on.
        changes: `data.key=value` of another data set.

    Raises:
        RunError: the run's own data have changed, or the classes of another set are others.
        DataError: no score can come of the masks of another set, as in `check_reported`.
        RecipeError: a change that is no name, root or option of a data set.
    """
    stated = {parse_change(change)[0] for change in changes}
    if changes:
        recipe = _with_set(recipe, changes)
        paths = Paths(paths.data_root) if "data.root" in stated else paths
    root = paths.data_of(recipe)
    own = None if run.data is None else run.data.reported
    strict = f"data.{OPTION}" in stated or (own is not None and str(root.resolve()) == own.root)
    opened = (open_reported if strict else _open_elsewhere)(recipe, paths, subset)
    try:
        data = fitted(opened, RGB if run.data is None else run.data.images.kind)
    except DataError as error:
        raise RunError(f"{folder.path}: cannot be scored: {error}") from None
    identity = identify_reported(data, root)
    record = identity.record
    where = f"{record.name} {record.subset} in {record.root}"
    if own is not None and not changes and record.root == own.root:
        _refuse_changed(folder, own, identity)
        return ScoredSet(data, identity, notes=_doubts(data) if subset else ())
    same = own is not None and record == replace(own, root=record.root, folder=record.folder)
    doubts = _doubts(data)
    notes = (*(() if same else (f"{where} is not the set that the run reports on",)), *doubts)
    if record.classes == run.classes:
        return ScoredSet(data, identity, notes=notes)
    try:
        mapped = ClassesByName(data, run.classes, run.palette)
    except DataError as error:
        raise RunError(f"{folder.path}: cannot be scored on {where}: {error}") from None
    matched = f"{where}: {mapped.describe()}"
    return ScoredSet(mapped, identity, mapped.absent, (matched, *doubts))


def _doubts(data: SegmentationData) -> tuple[str, ...]:
    """What is in doubt about the masks of a set that the start of the run did not ask."""
    return (*check_reported(data), *check_palettes(data, (), data))


def _open_elsewhere(recipe: Recipe, paths: Paths, subset: str) -> SegmentationData:
    """The set that is reported on, without those of the ignored classes that it has."""
    settings = recipe.data.model_copy(update={OPTION: ()})
    data = open_reported(replace(recipe, data=settings), paths, subset)
    ignored = [name for name in recipe.data.ignore_classes if name in data.classes]
    return without_classes(data, ignored)


def _refuse_changed(folder: RunFolder, own: SetRecord, now: SetIdentity) -> None:
    """Refuse the run's own data where they are not what they were; another subset has its ids."""
    if now.record.subset == own.subset:
        what = difference(own, now, recorded_files(folder.files, DataRecord(own)).get("reported"))
    else:
        then = replace(now.record, classes=own.classes, stored_classes=own.stored_classes)
        what = difference(then, now)
    if what:
        raise RunError(
            f"{folder.path}: its data in {own.root} have changed since: {what}. Put them back as "
            f"they were, or add --data {own.name} to score them as another set."
        )


def _with_set(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with another data set to report on; nothing is trained with it.

    Raises:
        RecipeError: a key of `changes` is none of a data set itself.
    """
    values = {}
    for change in changes:
        key, value = parse_change(change)
        name = key.removeprefix("data.")
        if name not in ("name", "root", OPTION) and name in DataSettings.model_fields:
            raise RecipeError(
                f"--set {change}: a finished run can be scored in another way but not changed; "
                "only eval.* can be set, and data.name, data.root and the options of a data set."
            )
        values[name] = value
    name = str(values.pop("name", recipe.data.name))
    find(DATASETS, "data set", name)
    other = name != recipe.data.name
    table = {
        "name": name,
        "root": str(values.pop("root", "" if other else recipe.data.root)),
        OPTION: values.pop(OPTION, () if other else recipe.data.ignore_classes),
    }
    return replace(
        recipe,
        data=recipe.data.model_copy(update=table),
        data_options=values if other else recipe.data_options | values,
        eval=recipe.eval.model_copy(update={"subset": ""}) if other else recipe.eval,
    )


def open_submission(
    folder: RunFolder, recipe: Recipe, run: RunRecord, paths: Paths, subset: str
) -> SegmentationData:
    """A subset of the run's own data set, of which no mask is read.

    Raises:
        RunError: its classes are not those of the run.
    """
    data = open_data(recipe, paths, subset)
    if tuple(data.classes) != run.classes:
        raise RunError(
            f"{folder.path}: its classes are {listed(run.classes)}, those of {data.name} in "
            f"{paths.data_of(recipe)} are {listed(data.classes)}. Give the --data-root of "
            "the run's own data."
        )
    return data
