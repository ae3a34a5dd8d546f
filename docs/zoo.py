"""The model zoo: what was measured with which method, network and masks, and the command for it.

Nothing in it is typed. Scores, seeds, masks and networks are those of the results that are kept in
docs/measurements/, papers are those that the pages of the methods name first, and commands are the
shipped recipes with what the kept runs have changed. docs/generate.py writes it when the site is
built, so it holds each run as soon as it is kept.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.evaluation.protocol import protocol_line
from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.places import PLACES, without_watching
from semisup.recipe.toml import flatten
from semisup.studies.groups import check_comparable, groups_of, shared_protocol
from semisup.studies.kept import SEED_OF_SPLIT, Run, read_runs
from semisup.studies.output.tables import masks
from semisup.studies.pages import deviation

DOCS = Path(__file__).parent
MEASUREMENTS = DOCS / "measurements"
QUICKSTART = MEASUREMENTS / "things_1-64.jsonl"
WEIGHTS = "model.weights"

HEAD = """---
hide:
  - toc
---

<!-- Written by docs/zoo.py. -->

# Model zoo

Every method, network and number of masks whose results are kept, made from the result files when
this site was built. mIoU is the mean over the seeds of the checkpoint that a run reports, as the
command prints it; sd is the standard deviation over the seeds. "At the end" is the mean after the
last step. Scores of one table have one protocol and may be compared; those of two tables may not.
Intervals and tests are in [Results](../results.md), what to take in [Choosing a
method](../choosing.md).

No weights are offered for download: the command below a table makes them, on one thread of a CPU in
minutes to an hour, the same to the bit on one kind of machine. `DATA` is the folder of the [data
set](../datasets/index.md).
"""

COLUMNS = (
    ("method", "---"),
    ("mIoU", "--:"),
    ("sd", "--:"),
    ("masks", "--:"),
    ("network", "---"),
    ("seeds", "---"),
    ("at the end", "--:"),
    ("paper", "---"),
    ("recipe", "---"),
)


def zoo_page(folder: Path = MEASUREMENTS) -> str:
    """The page, of all kept results of a folder.

    Raises:
        RunError: a file cannot be read, or results contradict one another.
    """
    sections: dict[str, list[list[Run]]] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for group in groups_of(read_runs([file])):
            key = json.dumps(group[0].protocol, sort_keys=True)
            sections.setdefault(key, []).append(group)
    if not sections:
        raise RunError(f"{folder}: has no kept results (*.jsonl).")
    titles = [_title(groups[0][0].protocol) for groups in sections.values()]
    parts = [HEAD]
    for title, groups in zip(titles, sections.values(), strict=True):
        if titles.count(title) > 1:  # of two protocols, which the line below the table tells apart
            title += f", {groups[0][0].protocol['selection']}"
        parts += [f"## {title}\n", *_section(groups)]
    return "\n".join(parts)


def _title(protocol: Mapping[str, Any]) -> str:
    images = f"{protocol['images']} images of {protocol['subset']}"
    return f"{protocol['data']}: {images}, {len(protocol['classes'])} classes"


def _section(groups: Sequence[Sequence[Run]]) -> Iterator[str]:
    """The table of one protocol: few masks first, then the better score."""
    runs = [run for group in groups for run in group]
    check_comparable(runs)
    ordered = sorted(groups, key=lambda group: (_budget(group), -_mean(group, "selected")))
    yield _table([_row(group) for group in ordered])
    for command in sorted({command_of(run) for run in runs}):
        yield f"```sh\n{command}\n```\n"
    yield f"Protocol: {protocol_line(shared_protocol(runs))}.\n"


def _budget(runs: Sequence[Run]) -> int:
    return max(int(run.split["labelled"]) for run in runs)


def _mean(runs: Sequence[Run], score: str) -> float:
    return statistics.fmean(run.miou(score) for run in runs)


def _row(runs: Sequence[Run]) -> list[str]:
    first = runs[0]
    settings = first.settings
    share = settings.get("data.split", "")
    ended = all(run.content["scores"].get("last") for run in runs)
    method = str(settings["method.name"])
    return [
        name_of(first),
        f"**{_mean(runs, 'selected'):.3f}**",
        deviation([run.miou("selected") for run in runs]),
        f"{masks(runs)} ({share})" if share else masks(runs),
        f"`{settings['model.name']}`",
        _seeds([run.seed for run in runs]),
        f"{_mean(runs, 'last'):.3f}" if ended else "-",
        paper_of(method),
        f"`{recipe_of(first)}`",
    ]


def name_of(run: Run) -> str:
    """The method of a run as a link to its page, and whether labelled images have strong views."""
    method = str(run.settings["method.name"])
    page = DOCS / "methods" / f"{method}.md"
    name = f"[{method}](../methods/{method}.md)" if page.is_file() else f"`{method}`"
    return f"{name}, strong views" if run.settings.get("data.strong_labelled") else name


def _seeds(seeds: Sequence[int]) -> str:
    """0 to 4, or each of them."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def paper_of(method: str) -> str:
    """The link that the page of a method names first, or a dash."""
    page = DOCS / "methods" / f"{method}.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    found = re.search(
        r"\[arXiv (\S+)\]\((https://arxiv\.org/[^)\s]+)\)", text.partition("\n## ")[0]
    )
    return f"[{found[1]}]({found[2]})" if found else "-"


def recipe_of(run: Run) -> str:
    """The recipe of a run, and what the run has changed of it as it is shipped now.

    Raises:
        RunError: no recipe of that name is shipped.
    """
    if run.recipe not in shipped_recipes():
        raise RunError(f"{run.source}: no recipe is called {run.recipe}; keep runs of shipped ones")
    shipped = without_watching(flatten(load_recipe(run.recipe).resolved()))
    words = [run.recipe]
    for key, value in sorted(without_watching(run.settings).items()):
        known = key in shipped and key not in {*PLACES, SEED_OF_SPLIT, WEIGHTS}
        if known and value != shipped[key]:
            words.append(f"--set {key}={value if isinstance(value, str) else json.dumps(value)}")
    return " ".join(words)


def command_of(run: Run) -> str:
    """What makes a run, with words in capitals for the recipe and the seed of a row."""
    words = ["semisup run RECIPE --seed SEED"]
    if run.settings.get(WEIGHTS):
        words.append(f"--weights {run.settings[WEIGHTS]}")
    if run.settings["data.name"] != "scenes":
        words.append("--data-root DATA")
    return " ".join(words)


def _table(rows: Sequence[Sequence[str]]) -> str:
    names, rules = zip(*COLUMNS, strict=True)
    lines = [f"| {' | '.join(cells)} |" for cells in (names, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:], ""])


def quickstart_table(file: Path = QUICKSTART) -> str:
    """For the start page: what the two runs of the quickstart score, and what all masks give.

    Raises:
        RunError: one of the three is not kept.
    """
    groups = {(group[0].recipe): group for group in groups_of(read_runs([file]))}
    recipes = ("scenes/supervised_things_1-64", "quickstart", "scenes/supervised_things_all")
    if missing := [recipe for recipe in recipes if recipe not in groups]:
        raise RunError(f"{file}: has no runs of {', '.join(missing)}; keep some.")
    lines = ["| trained on | mIoU | sd |", "|---|--:|--:|"]
    for recipe in recipes:
        runs = groups[recipe]
        unlabelled = int(runs[0].split["unlabelled"]) if recipe == "quickstart" else 0
        rest = f" and {unlabelled:,} pictures without one (FixMatch)" if unlabelled else ""
        values = [run.miou("selected") for run in runs]
        words = f"{masks(runs)} masks{rest}"
        lines.append(f"| {words} | **{statistics.fmean(values):.3f}** | {deviation(values)} |")
    count = {len(groups[recipe]) for recipe in recipes}
    note = f"Mean and standard deviation over {min(count)} seeds" if len(count) == 1 else "Means"
    return "\n".join([*lines, "", f"*{note}, on {runs[0].protocol['images']} other pictures.*", ""])
