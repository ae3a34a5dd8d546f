"""The Python interface: what `import semisup` offers to scripts and notebooks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from semisup.errors import Interrupted, RecipeError, RunError, SemisupError
from semisup.evaluation import predict as prediction
from semisup.evaluation.folders.prediction_folder import UNCERTAINTY_NAMES, PredictionFolder
from semisup.evaluation.folders.sources import find_images
from semisup.evaluation.uncertainty import Sampled
from semisup.monitoring.live import make_view
from semisup.monitoring.view import Silent
from semisup.recipe.load import load_recipe as load
from semisup.recipe.load import with_seed
from semisup.recipe.recipe import Recipe
from semisup.runs import reopen
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.reopen import OpenRun
from semisup.runs.result import FinishedRun, Result, Scores, read_result
from semisup.runs.run import run_recipe
from semisup.studies import comparison as studies
from semisup.studies.comparison import Comparison
from semisup.studies.history import Curve, read_history
from semisup.studies.output.files import write as write_comparison
from semisup.studies.output.formats import as_html, as_text
from semisup.studies.output.notebooks import html_of_run
from semisup.studies.places import find_runs
from semisup.system.device import resolve_device
from semisup.system.distributed import joined
from semisup.system.progress import quiet

if TYPE_CHECKING:
    from semisup.exporting.export import Exported
    from semisup.runs.label import LabelledImages


@dataclasses.dataclass(frozen=True)
class TrainedRun(FinishedRun):
    """A finished run as scripts and notebooks have it; a notebook shows its pictures."""

    @property
    def scores(self) -> Scores:
        """Scores of the reported predictor over all classes."""
        return self.result.scores.selected

    @property
    def history(self) -> dict[str, Curve]:
        """Scalar -> its steps and values along the run, as arrays of numpy.

        Raises:
            RunError: the log of the run is damaged.
        """
        return read_history(self.folder)

    def predict(self, image: Any, **options: Any) -> Any:
        """The class of each pixel of one image; see `semisup.predict`, of which the options are."""
        return predict(self, image, **options)

    def compare(self, *others: Run | Sequence[Run], **options: Any) -> ComparedRuns:
        """This run beside others, as the baseline; see `semisup.compare`."""
        return compare(self, *others, **options)

    def _repr_html_(self) -> str:
        is_own = self.file == RunFolder(self.folder).result
        return html_of_run(self.folder, self.result, with_sheet=is_own)


class ComparedRuns(Comparison):
    """A comparison as scripts and notebooks have it; printed, it is a table."""

    def write(self, to: str | Path) -> Path:
        """Write tables (.md, .tex, .csv, .json, .txt) or a figure (.png, .pdf, .svg).

        Raises:
            RunError: no file has that ending, or it cannot be written.
        """
        write_comparison(self, Path(to))
        return Path(to)

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


@dataclasses.dataclass(frozen=True)
class AblatedStudy:
    """What has come of a study.

    Attributes:
        folder: of its runs, which `compare` and `report` take.
        runs: folder of each finished cell, seed by seed.
        failed: what a cell or first stage is called -> why it is not finished, in one line.
    """

    folder: Path
    runs: tuple[Path, ...]
    failed: dict[str, str]


Run = FinishedRun | OpenRun | str | Path
"""A finished run: what `run` returned, what `open_run` returned, or its folder."""

_ONE_AT_A_TIME = threading.RLock()
"""Held while a run trains: torch's random numbers and threads are those of the whole process."""

_PARAMETERS = {
    r"--step (\d+)": r"step=\1",
    r"--(data|device) (\w+(?::\w+)?)": r'\1="\2"',
    r"add --plugin (\S+)": r"import \1 first",
    r"--set (?=\S)": "changes: ",
    r"--data-root\b": "data_root",
    r"--out\b": "'runs'",
    r"--to\b": "'to'",
    r"--seed\b": "'seed'",
    r"--overwrite\b": "overwrite=True",
    r"--overlay\b": "overlay",
    r"--baseline\b": "baseline",
    r"--format (\w+)": r'format="\1"',
    r"--format\b": "format",
    r"--size\b": "size",
    r"--score (\w+)": r'score="\1"',
    r"--confusion (?=\S)": "confusion: ",
    r"--threshold\b": "threshold",
    r"--subset\b": "subset",
    r"--retry\b": "retry=True",
}
"""A flag of the command line, as a pattern -> the parameter of these functions."""


@contextlib.contextmanager
def _by_parameters() -> Iterator[None]:
    """Errors name parameters of these functions, where those of the command line name flags."""
    try:
        yield
    except SemisupError as error:
        error.args = tuple(_by_name(part) if isinstance(part, str) else part for part in error.args)
        raise


def _by_name(line: str) -> str:
    for flag, parameter in _PARAMETERS.items():
        line = re.sub(rf"(?<![\w/-]){flag}", parameter, line)
    return line


@_by_parameters()
def load_recipe(name: str | Path, changes: str | Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        name: a shipped recipe, such as "quickstart", or the path of a .toml file.
        changes: `key=value`, as after `--set`; later ones win.

    Raises:
        RecipeError: anything that cannot be used; names the file and the key.
    """
    return load(str(name), _listed(changes))


@_by_parameters()
def run(
    recipe: Recipe | str | Path,
    *,
    data_root: str | Path | None = None,
    runs: str | Path = "runs",
    device: str = "auto",
    seed: int | None = None,
    changes: str | Sequence[str] = (),
    progress: bool = True,
    command: Sequence[str] = (),
) -> TrainedRun:
    """Train a recipe, score it and record the result; the same call goes on with a stopped run.

    May be called from any thread. Ctrl-C and SIGTERM stop it after a step, with a checkpoint, if
    that is the main thread. Of several threads one run trains at a time.

    Args:
        recipe: what `load_recipe` returned, or what it takes.
        data_root: folder of the data sets; None: the variable SEMISUP_DATA, else ./data.
        runs: folder of the runs.
        device: auto, cpu, cuda or cuda:N.
        seed: of the run, in place of the recipe's train.seed.
        changes: `key=value` changes, where the recipe is given by name.
        progress: whether to show how far it is: a live view on a terminal, lines elsewhere.
        command: how the run was started, for its record; empty: as this process was.

    Raises:
        SemisupError: whatever a user can mend, in one line.
        Interrupted: a signal came; the run was saved.
    """
    loaded, paths = _loaded(recipe, changes, seed), _paths(data_root, runs)
    return _trained(run_loaded(loaded, paths, device, progress=progress, command=command))


def run_loaded(
    recipe: Recipe, paths: Paths, device: str, *, progress: bool = True, command: Sequence[str] = ()
) -> FinishedRun:
    """`run`, and `semisup run`, in whose errors flags stand for these parameters."""
    where = resolve_device(device)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)
        stack.enter_context(_shown(progress))
        view = stack.enter_context(make_view()) if progress else Silent()
        stack.enter_context(joined(where))
        return run_recipe(recipe, paths, where, view=view, command=command)


@_by_parameters()
def evaluate(
    run: Run,
    *,
    subset: str = "",
    changes: str | Sequence[str] = (),
    data_root: str | Path | None = None,
    data: str = "",
    step: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> TrainedRun:
    """Score a finished run again, on another subset, on other data or by another protocol.

    The result is kept in a file of its own in the run's folder.

    Args:
        run: what `run` or `open_run` returned, or the folder of a run; of one that was opened at a
            step or with changes, these are scored.
        subset: which ids to score; empty: what the recipe reports on.
        changes: `eval.key=value`, as after `--set`, and `data.key=value` of another data set.
        data_root: folder of the data sets; None: the variable SEMISUP_DATA, else where the run's
            data lay.
        data: name of another data set, whose classes are matched by their names; empty: the run's.
        step: of a kept checkpoint, of a run that may not be finished; None: the chosen predictor.
        device: auto, cpu, cuda or cuda:N.
        progress: whether to show a bar on a terminal.

    Raises:
        SemisupError: whatever a user can mend, in one line.
    """
    where = resolve_device(device)
    with _shown(progress), joined(where):
        _warn_of_changed_plugins(_folder(run))
        done = reopen.evaluate_run(
            _folder(run),
            _paths_of_run(data_root),
            where,
            subset,
            _changes_of(run, changes),
            data=data,
            step=_step_of(run, step),
        )
    return _trained(done)


def _trained(done: FinishedRun) -> TrainedRun:
    values = {field.name: getattr(done, field.name) for field in dataclasses.fields(done)}
    baseline = values.pop("baseline")
    return TrainedRun(**values, baseline=None if baseline is None else _trained(baseline))


@_by_parameters()
def read_run(folder: str | Path) -> TrainedRun:
    """The result of a finished run; its weights are not read before they are needed.

    Args:
        folder: of the run, `runs/<recipe>/<digest>-s<seed>`.

    Raises:
        RunError: no finished run lies there, or its result is damaged.
    """
    files = RunFolder(Path(folder))
    result = read_result(files.result)
    if result is None:
        raise RunError(f"{folder}: is no finished run. Start it with semisup.run and let it end.")
    return TrainedRun(files.path, files.result, result, fresh=False)


@_by_parameters()
def compare(
    *given: Run | Sequence[Run],
    baseline: str = "",
    score: str = "selected",
    runs: str | Path = "runs",
) -> ComparedRuns:
    """Compare runs over seeds, and their differences on the same seeds and images.

    Runs of one recipe, budget and data that differ in the seed alone are one arm.

    Args:
        given: each a run, its folder, a folder of runs, a pattern, a recipe that was run, a kept
            file (.jsonl), `NAME=PLACE`, or a sequence of such. All others are compared with the
            first.
        baseline: name of an arm or of a recipe to compare with in place of the first one given.
        score: "selected": of the reported checkpoint; "last": of that after the last step.
        runs: folder of the runs, in which recipes are looked for.

    Raises:
        RunError: whatever must not stand in one table, or cannot be read; in one line.
    """
    _check_score(score)
    parts = [[one] if isinstance(one, Run) else list(one) for one in given]
    places = [[_place(run) for run in part] for part in parts]
    found = find_runs([place for part in places for place in part], Path(runs))
    with_first = len(places) > 1 and not baseline
    first = find_runs(places[0], Path(runs)).runs if with_first else ()
    compared = studies.compare(
        found.runs,
        baseline=baseline,
        first=[run.source for run in first],
        score=score,
        notes=found.notes,
    )
    return ComparedRuns(compared.arms, compared.differences, compared.score, compared.notes)


def _check_score(score: str) -> None:
    if score not in ("selected", "last"):
        raise RunError(f"score: '{score}' is none. Give 'selected' or 'last'.")


def _place(run: Run) -> str:
    """Where the own result of a run lies, which is what is compared.

    Raises:
        RunError: what was given is another score of the run, or a checkpoint of it.
    """
    if isinstance(run, str | Path):
        return str(run)
    own = read_result(RunFolder(run.folder).result)
    if isinstance(run, OpenRun):
        is_other = run.step is not None or bool(run.changes)
    else:
        is_other = own is not None and _scored(run.result) != _scored(own)
    if is_other:
        raise RunError(
            f"{run.folder}: was given as scored or opened in another way, and runs are compared "
            "by their own results. Give the folder; for another subset or protocol set it in the "
            "recipe."
        )
    return str(run.folder)


def _scored(result: Result) -> tuple[object, ...]:
    """What a score is of."""
    files = "" if result.data is None else result.data.reported.files_sha256
    return result.protocol, result.weights_sha256, files


@_by_parameters()
def open_run(
    run: Run, *, changes: str | Sequence[str] = (), step: int | None = None, device: str = "auto"
) -> OpenRun:
    """Open a run; its `predictor()` labels images in memory.

    Args:
        run: what `run` returned, or its folder; of one that is open already, its step and changes
            stay, where no others are given.
        changes: `eval.key=value`, as after `--set`.
        step: of a kept checkpoint, of a run that may not be finished; None: the chosen predictor.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        SemisupError: whatever a user can mend, in one line.
    """
    if isinstance(run, OpenRun) and not changes and step is None:
        return run
    _warn_of_changed_plugins(_folder(run))
    where, all_changes = resolve_device(device), _changes_of(run, changes)
    opened = reopen.open_run(_folder(run), where, all_changes, step=_step_of(run, step))
    return opened.forcing(run.forced) if isinstance(run, OpenRun) and run.forced else opened


def _changes_of(run: Run, changes: str | Sequence[str]) -> list[str]:
    """The changes of the protocol with which a run was opened, and further ones, which win."""
    return [*(run.changes if isinstance(run, OpenRun) else ()), *_listed(changes)]


def _step_of(run: Run, step: int | None) -> int | None:
    """The step with which a run was opened, where no other is named."""
    return run.step if step is None and isinstance(run, OpenRun) else step


def _warn_of_changed_plugins(folder: Path) -> None:
    for line in reopen.changed_since(folder):
        warnings.warn(line, stacklevel=3)


@overload
def predict(
    run: Run,
    image: Tensor,
    *,
    samples: None = ...,
    changes: str | Sequence[str] = ...,
    device: str = ...,
) -> Tensor: ...


@overload
def predict(
    run: Run,
    image: NDArray[np.uint8] | Image | str | Path,
    *,
    samples: None = ...,
    changes: str | Sequence[str] = ...,
    device: str = ...,
) -> NDArray[np.uint8]: ...


@overload
def predict(
    run: Run,
    image: Any,
    *,
    samples: int,
    changes: str | Sequence[str] = ...,
    device: str = ...,
) -> Sampled: ...


@_by_parameters()
def predict(
    run: Run,
    image: Any,
    *,
    samples: int | None = None,
    changes: str | Sequence[str] = (),
    device: str = "auto",
) -> Any:
    """The class of each pixel of one image, as uint8 class ids.

    It opens the run for each call: for many images in memory take `open_run(...).predictor()`.

    Args:
        run: what `run` or `open_run` returned, or the folder of a run.
        image: uint8 RGB, 0..255, of any size: an array HW3 or BHW3 of numpy, a tensor 3HW or B3HW,
            a picture of Pillow or the path of an image file. The latter two are turned as their
            EXIF orientation says, as a viewer shows them. Where the run was trained on images of
            other channels or bits, such ones.
        samples: passes with dropout that are averaged, at least 2; None: as the protocol says.
        changes: `eval.key=value`, as after `--set`.
        device: auto, cpu, cuda or cuda:N.

    Returns:
        An array HW or BHW, or a tensor HW or BHW where the image is a tensor. With `samples` a
        named tuple of `labels`, mean `probabilities` (KHW or BKHW) and `uncertainty` (HW or BHW),
        each of that kind.

    Raises:
        SemisupError: whatever a user can mend, in one line.
    """
    opened = open_run(run, changes=_with_samples(changes, samples), device=device)
    predictor = opened.predictor()
    if isinstance(image, str | Path):
        read = prediction.read_upright(
            Path(image), opened.images.kind, apply_exif=opened.applies_exif
        )
        image = read.movedim(0, -1).numpy()
    return predictor(image) if samples is None else predictor.sampled(image)


@_by_parameters()
def predict_files(
    run: Run,
    images: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    overlay: bool = False,
    soft: bool = False,
    coco: bool = False,
    samples: int | None = None,
    overwrite: bool = False,
    changes: str | Sequence[str] = (),
    device: str = "auto",
    progress: bool = True,
) -> tuple[Path, ...]:
    """Write a palette PNG for each image file, as `semisup predict` does.

    Args:
        run: what `run` or `open_run` returned, or the folder of a run.
        images: files, and folders, which are searched with their sub-folders. A file may be a
            video (extra `video`), of which each frame is labelled.
        to: folder to write to; what is there already is left alone.
        overlay: write the classes over the picture too.
        soft: write the probabilities too (.npz, float16 KHW).
        coco: write all label maps as masks of MS COCO too (predictions_coco.json).
        samples: passes with dropout that are averaged, at least 2; None: as the protocol says. A
            map of the uncertainty is written too, as a grey PNG of 16 bits and in colours.
        overwrite: replace predictions that are there already.
        changes: `eval.key=value`, as after `--set`.
        device: auto, cpu, cuda or cuda:N.
        progress: whether to show a bar on a terminal.

    Returns:
        The label map of each image: pixel value = class id. Of videos the label maps of all frames,
        in order, after those of the pictures.

    Raises:
        SemisupError: whatever a user can mend, in one line. Of images that cannot be labelled it
            is raised after all others were, and its `lines` name each.
    """
    opened = open_run(run, changes=_with_samples(changes, samples), device=device)
    given = [images] if isinstance(images, str | Path) else images
    endings = ["_overlay"] * overlay + UNCERTAINTY_NAMES * bool(opened.recipe.eval.samples)
    found = find_images([Path(path) for path in given], endings=endings, to=Path(to))
    folder = PredictionFolder(
        Path(to), opened.identity(), found.names, videos=found.videos, overwrite=overwrite
    )
    with _shown(progress):
        done = prediction.predict_files(
            opened.inference(),
            found.images,
            folder,
            opened.classes,
            opened.palette,
            with_overlay=overlay,
            soft=soft,
            coco=coco,
            apply_exif=opened.applies_exif,
        )
    dataclasses.replace(done, bad=(*done.bad, *found.unreadable)).check()
    frames = [file for name in found.videos for file in sorted(folder.frames(name))]
    return (*(folder.file(name) for name in found.names), *frames)


@_by_parameters()
def label(
    run: Run,
    to: str | Path,
    *,
    threshold: float = 0.9,
    subset: str = "",
    only: str | Path | None = None,
    tags: str = "",
    changes: str | Sequence[str] = (),
    data_root: str | Path | None = None,
    step: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> LabelledImages:
    """Write pseudo-masks of the images that a run had no mask of, as `semisup label` does.

    A recipe trains on them with `data.masks` or `data.weak_masks`. The same call goes on where it
    was stopped.

    Args:
        run: what `run` or `open_run` returned, or the folder of a run.
        to: folder to write, new or of the same pseudo-masks.
        threshold: smallest probability that is taught, in [0, 1]; below it a pixel is void.
        subset: of the run's data set; empty: what it was trained on.
        only: a file of the ids to label; None: all images that the run had no mask of.
        tags: classes known to be in each image, "xml" or "file:PATH"; empty: those of the run.
        changes: `eval.key=value`, as after `--set`.
        data_root: folder of the data sets; None: the variable SEMISUP_DATA, else where the run's
            data lay.
        step: of a kept checkpoint, of a run that may not be finished; None: the chosen predictor.
        device: auto, cpu, cuda or cuda:N.
        progress: whether to show a bar on a terminal.

    Raises:
        SemisupError: whatever a user can mend, in one line.
    """
    from semisup.runs.label import label_run

    where = resolve_device(device)
    _warn_of_changed_plugins(_folder(run))
    opened = reopen.open_run(
        _folder(run),
        where,
        _changes_of(run, changes),
        paths=_paths_of_run(data_root),
        step=_step_of(run, step),
    )
    listed = None if only is None else Path(only)
    with _shown(progress):
        return label_run(
            opened,
            Path(to).resolve(),
            threshold=threshold,
            subset=subset,
            listed=listed,
            tags=tags,
        )


@_by_parameters()
def ablate(
    study: str | Path,
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    retry: bool = False,
    changes: str | Sequence[str] = (),
    data_root: str | Path | None = None,
    device: str = "auto",
    plugins: Sequence[str] = (),
    progress: bool = True,
) -> AblatedStudy:
    """Run what is left of a study, each cell in a process of its own, as `semisup ablate` does.

    The same call goes on where it was stopped. A cell that fails is told in the answer, and the
    rest goes on.

    Args:
        study: a shipped study, such as "quickstart", or the path of a .toml file.
        out: folder of its runs; None: runs/studies/ and the name of the study.
        jobs: runs at a time, which share the cores.
        retry: whether to try once more what has failed before.
        changes: `key=value` of every cell, as after `--set`.
        data_root: folder of the data sets; None: the variable SEMISUP_DATA, else ./data.
        device: auto, cpu, cuda or cuda:N.
        plugins: modules and files of your own code that the cells need, as after `--plugin`.
        progress: whether to tell of each cell in a line on standard error.

    Raises:
        SemisupError: whatever a user can mend, in one line.
        Interrupted: a signal came; the running cells were saved.
    """
    from semisup import catalog
    from semisup.studies.ablation.executors import Lines
    from semisup.studies.ablation.local import LocalExecutor
    from semisup.studies.ablation.plan import make_plan
    from semisup.studies.ablation.record import write_record
    from semisup.studies.ablation.study import read_study

    if jobs < 1:
        raise RunError(f"jobs: {jobs} is no number of runs. Give 1 or more.")
    catalog.load_plugins(list(plugins))
    read, listed = read_study(str(study)), _listed(changes)
    place = Path("runs") / "studies" / read.name if out is None else Path(out)
    plan = make_plan(read, place, listed)
    told = ["--data-root", str(_paths(data_root).data_root), "--device", device]
    told += [word for plugin in plugins for word in ("--plugin", plugin)]
    local = LocalExecutor(_cell_command(), [*told, "--out", str(place)], jobs=jobs, retry=retry)
    write_record(place, read, plan.cells, listed)
    outcome = local.run(plan, Lines(_print_error if progress else lambda line: None))
    if outcome.signal is not None:
        raise Interrupted("stopped. The same call goes on.", 128 + outcome.signal)
    plan = make_plan(read, place, listed)
    cells = [job for job in plan.jobs if job.cell is not None]
    done = tuple(job.folder for job in cells if plan.states[job.folder] == "done")
    return AblatedStudy(place, done, outcome.failed)


def _cell_command() -> list[str]:
    """What runs a cell."""
    return [sys.executable, "-m", "semisup.cli.studies.cell"]


def _print_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@_by_parameters()
def report(
    *given: Run | Sequence[Run],
    to: str | Path = "report",
    baseline: str = "",
    score: str = "selected",
    title: str = "",
    confusion: Sequence[str] = (),
    pictures: bool = False,
    runs: str | Path = "runs",
    data_root: str | Path | None = None,
) -> Path:
    """Write a page of a study or of runs, and its tables and figures beside it.

    It does what `semisup report` does, and needs the extra `report`. Runs that are not finished or
    cannot be read are left out, and the page names them.

    Args:
        given: the folder of a study, or what `compare` takes.
        to: folder to write; an older report in it is replaced.
        baseline: name of an arm or of a recipe to compare with; empty: the first of several given,
            else the one supervised arm of each budget.
        score: "selected" or "last", which is tested; the table of arms has both.
        title: of the page; empty: by the study.
        confusion: names of the arms whose confusion is drawn; empty: the first two.
        pictures: whether photographs are in it: the same images as each arm predicts them.
        runs: folder of the runs, in which recipes are looked for.
        data_root: folder of the data sets, for pictures; None: the variable SEMISUP_DATA, else
            where the runs' data lay.

    Returns:
        The page.

    Raises:
        SemisupError: whatever a user can mend, in one line.
    """
    from semisup.studies.report.commands import command_of
    from semisup.studies.report.content import read_report
    from semisup.studies.report.folder import PAGE, check_place, write_report
    from semisup.studies.report.page import check_installed

    _check_score(score)
    if pictures and score != "selected":
        raise RunError("pictures: are of the reported checkpoints. Leave 'score' out.")
    check_installed()
    check_place(Path(to))
    parts = [[one] if isinstance(one, Run) else list(one) for one in given]
    places = [_place(run) for part in parts for run in part]
    made = read_report(
        places,
        Path(runs),
        baseline=baseline,
        score=score,
        title=title,
        confusion=confusion,
        command=command_of(places, baseline, score, title, confusion, pictures=pictures),
    )
    cases = None
    if pictures:
        from semisup.studies.report.cases import find_cases

        cases = find_cases(made, resolve_device("auto"), _paths_of_run(data_root))
    write_report(made, Path(to), cases)
    return Path(to) / PAGE


@_by_parameters()
def export(
    run: Run,
    to: str | Path | None = None,
    *,
    format: str | None = None,
    size: tuple[int, int] | None = None,
    step: int | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write the network of a run to a file that needs no semisup, as `semisup export` does.

    The file takes images as they are decoded, BCHW, and gives logits BKHW and labels BHW. It is
    compared with the run, at three sizes other than the traced one, before it takes its name. A
    script that uses it without semisup is written beside it.

    Args:
        run: what `run` or `open_run` returned, or the folder of a run.
        to: the file, .onnx or .pt2; None: the name of the recipe, in the working folder.
        format: "onnx" or "torch" (a program of torch.export); None: as `to` ends, else "onnx".
        size: H and W of the images, for networks that take none of other sizes; None: any.
        step: of a kept checkpoint, of a run that may not be finished; None: the chosen predictor.
        overwrite: replace a file that is there already.

    Raises:
        SemisupError: whatever a user can mend, in one line.
    """
    from semisup.exporting.export import export_run  # torch.export takes seconds to import

    opened = open_run(run, step=step, device="cpu")
    path = None if to is None else Path(to)
    return export_run(opened, path, format, size=size, overwrite=overwrite)


def _loaded(recipe: Recipe | str | Path, changes: str | Sequence[str], seed: int | None) -> Recipe:
    """A recipe under the given changes and seed.

    Raises:
        RecipeError: it cannot be used, or a loaded recipe is to be changed.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, changes)
    elif changes:
        raise RecipeError("changes: the recipe is loaded already. Give them to load_recipe.")
    return recipe if seed is None else with_seed(recipe, seed)


def _listed(changes: str | Sequence[str]) -> Sequence[str]:
    """One change may be given without a list around it."""
    return [changes] if isinstance(changes, str) else changes


def _with_samples(changes: str | Sequence[str], samples: int | None) -> list[str]:
    """The changes of the protocol, and that of a number of samples where one is given."""
    return [*_listed(changes), *([] if samples is None else [f"eval.samples={samples}"])]


def _paths(data_root: str | Path | None, runs: str | Path = "runs") -> Paths:
    root = data_root if data_root is not None else os.environ.get("SEMISUP_DATA", "data")
    return Paths(data_root=Path(root), out=Path(runs))


def _paths_of_run(data_root: str | Path | None) -> Paths | None:
    if data_root is not None:
        return Paths(data_root=Path(data_root), overrides=True)
    stated = os.environ.get("SEMISUP_DATA")
    return Paths(data_root=Path(stated)) if stated else None


def _folder(run: Run) -> Path:
    return Path(run) if isinstance(run, str | Path) else run.folder


def _shown(progress: bool) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if progress else quiet()
