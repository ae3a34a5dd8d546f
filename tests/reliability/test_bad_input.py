"""Every kind of bad input: one clear line, the right exit code, nothing half written."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import cases_channels
import cases_coco
import cases_commands
import cases_disk
import cases_images
import cases_lists
import cases_masks
import cases_other_runs
import cases_own_sets
import cases_pools
import cases_predict
import cases_recipes
import cases_runs
import cases_scores
import cases_tags
import cases_tools
import cases_training
import cases_volumes
import cases_weights
import numpy as np
import pytest
from cases import Case
from click.testing import Result
from PIL import Image
from places import Call, Place, run_command
from safetensors.torch import load_file
from table import Table

from semisup.training.checkpoint import load_state

MODULES = {
    "images": cases_images,
    "channels": cases_channels,
    "masks": cases_masks,
    "lists and folders": cases_lists,
    "tags": cases_tags,
    "files of other programs": cases_tools,
    "sets of one's own": cases_own_sets,
    "other folders": cases_pools,
    "volumes": cases_volumes,
    "annotations of objects": cases_coco,
    "recipes": cases_recipes,
    "weights": cases_weights,
    "training": cases_training,
    "run folders": cases_runs,
    "files of other runs": cases_other_runs,
    "disk": cases_disk,
    "scores": cases_scores,
    "predict": cases_predict,
    "command line": cases_commands,
}
"""What the input is of -> its cases."""

CASES = [
    (theme, case)
    for theme, module in MODULES.items()
    for case in vars(module).values()
    if isinstance(case, Case)
]

NOTES = re.compile(
    r"[a-z]+ \.\.\.|[a-z]+ starts from .*|step +\d+/\d+ .*|.* tensors loaded.*|bad: .*"
)
"""What may stand on standard error before the error: phases, log points, notes, bad images."""


@pytest.mark.parametrize(("theme", "case"), CASES, ids=[case.name for _, case in CASES])
def test_bad_input(theme: str, case: Case, place: Place, table: Table) -> None:
    prepared = case.prepare(place)
    call = prepared if isinstance(prepared, Call) else Call(prepared)
    before = contents(place.root)
    result = run_command(call.arguments)
    assert result.exit_code == case.code, (result.output, result.exception)
    said = case.gives or error_line(result, case.code)
    for part in case.says:
        assert part in said
    if case.code:
        nothing_is_half_written(place.root, before)
    call.then(result)
    said = said.replace(str(place.finished.data), "WHERE/THEY/LAY")
    table.add(theme, case.title, said, case.code, place.root)


def error_line(result: Result, code: int) -> str:
    """The one line that was said; click's own errors have the usage before them."""
    assert isinstance(result.exception, SystemExit), result.exception
    *notes, line = result.stderr.splitlines()
    if code == 2:
        return line.removeprefix("Error: ")
    assert [note for note in notes if not NOTES.fullmatch(note)] == []
    assert line.startswith("semisup: "), line
    return line.removeprefix("semisup: ")


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def nothing_is_half_written(root: Path, before: dict[Path, bytes]) -> None:
    """What was there is as it was; what is new is whole."""
    after = contents(root)
    for path, content in before.items():
        if path.name in ("lock", "run.json", "untouched.json") or "tfevents" in path.name:
            continue  # a run that goes on writes down that it did, and how its data were then
        assert after.get(path) == content, f"{path} was changed"
    for path in after.keys() - before.keys():
        assert not re.fullmatch(r"\..*\.(tmp|part)", path.name), path
        assert path.name != "result.json"
        is_whole(path)
    assert not list(root.rglob(".scenes-*"))


def is_whole(path: Path) -> None:
    """Raise if a new file cannot be read to its end."""
    if path.suffix == ".pt":
        load_state(path)
    elif path.suffix == ".safetensors":
        load_file(path)
    elif path.suffix == ".npz":
        assert np.load(path)["probabilities"].size
    elif path.suffix == ".png":
        Image.open(path).load()
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        # A log may end in half a line, which the next start takes back.
        lines = path.read_text().splitlines(keepends=True)
        assert all(json.loads(line) for line in lines if line.endswith("\n"))


def test_titles_and_names_are_not_used_twice() -> None:
    for values in (titles(), [case.name for _, case in CASES]):
        assert len(set(values)) == len(values) > 60


def test_the_page_says_what_the_cases_said(table: Table) -> None:
    """The cases run before this; of one that was skipped the old row stands."""
    if table.rewrite:
        table.write(titles())
    written = table.written()
    remedy = "run python -m pytest tests/reliability --write-table"
    assert [title for title in titles() if title not in written] == [], remedy
    assert written.keys() <= set(titles()), remedy
    for title, row in table.rows.items():
        assert written[title] == row, remedy


def titles() -> Sequence[str]:
    return [case.title for _, case in CASES]
