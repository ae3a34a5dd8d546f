"""The commands that make the runs of a report again, and the recipes that they need."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from semisup.errors import SemisupError
from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.toml import dump_toml, unflatten
from semisup.studies.comparison import Arm
from semisup.studies.kept import SEED_OF_SPLIT, Run
from semisup.studies.output.tables import letters_of
from semisup.studies.report.content import Report
from semisup.studies.report.study import Study


def command_of(
    places: Sequence[str],
    baseline: str,
    score: str,
    title: str,
    confusion: Sequence[str],
    *,
    pictures: bool,
) -> str:
    """The command that makes a report of these options."""
    words = ["semisup", "report", *places]
    for name, value in (("--baseline", baseline), ("--title", title)):
        words += [name, value] if value else []
    words += [word for name in confusion for word in ("--confusion", name)]
    words += ["--score", score] if score != "selected" else []
    words += ["--pictures"] if pictures else []
    return shlex.join(words)


def commands_of(report: Report) -> tuple[str, dict[str, str]]:
    """The commands as lines, and file name -> text of the recipes that are not shipped."""
    lines, files = [], {}
    if report.study is not None and report.study.text:
        files["study.toml"] = report.study.text
        lines += _of_study(report.study)
    letters = letters_of(report.comparison.arms)
    for arm in report.comparison.arms:
        place = arm.runs[0].recipe
        if not _is_shipped(arm.runs[0]):
            files[f"{letters[arm.name]}.toml"] = _recipe(arm)
            place = f"recipes/{letters[arm.name]}.toml"
        lines += [f"# {letters[arm.name]}  {arm.name}"]
        lines += [f"semisup run {shlex.quote(place)} --seeds {_seeds(arm.seeds)}"]
    if report.command:
        lines += ["", "# this report", report.command]
    return "\n".join(lines) + "\n", files


def _of_study(study: Study) -> list[str]:
    """The command of the whole study, where its file finds its recipes wherever it lies."""
    own = sorted({cell.recipe for cell in study.cells} - set(shipped_recipes()))
    if own:
        return [
            f"# the study {study.name}: recipes/study.toml names recipes of its own, such as",
            f"# {own[0]}, which have to lie beside it; each arm by itself:",
        ]
    words = ["semisup", "ablate", "recipes/study.toml"]
    words += [word for change in study.changes for word in ("--set", change)]
    head = f"# the study {study.name}, all of its runs"
    return [head, shlex.join(words), "", "# or each arm by itself"]


def _is_shipped(run: Run) -> bool:
    """Whether the recipe of that name is still the one that the run was made by."""
    if run.recipe not in shipped_recipes():
        return False
    try:
        return load_recipe(run.recipe).digest() == run.digest
    except SemisupError:  # such as one that needs a plug-in
        return False


def _recipe(arm: Arm) -> str:
    settings = dict(arm.runs[0].settings)
    if len(arm.runs) > 1 and all(r.settings.get(SEED_OF_SPLIT) == r.seed for r in arm.runs):
        settings[SEED_OF_SPLIT] = "same"  # as the seed of the training
    return dump_toml(unflatten(settings, arm.name))


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds as --seeds takes them: 0-4,7."""
    spans: list[list[int]] = []
    for seed in seeds:
        if spans and seed == spans[-1][-1] + 1:
            spans[-1][1:] = [seed]
        else:
            spans.append([seed])
    return ",".join("-".join(map(str, span)) for span in spans)
