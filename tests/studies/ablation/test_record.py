"""`study.json`: a study or a recipe that is changed meanwhile is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.studies import STUDY, finish, plan_of, write_study

from semisup.errors import RunError
from semisup.studies.ablation.plan import Plan
from semisup.studies.ablation.record import FILE, write_record


def begin(path: Path, *, run: bool = True) -> Plan:
    """Write the record of a study, and run it."""
    plan = plan_of(path)
    write_record(plan.out, plan.study, plan.cells, plan.changes)
    if run:
        finish(plan)
    return plan


def test_it_holds_the_study_and_the_digests_of_its_cells(tmp_path: Path) -> None:
    plan = begin(write_study(tmp_path), run=False)
    content = json.loads((plan.out / FILE).read_text())
    assert content["study"] == "grid"
    assert content["file"] == STUDY
    assert content["seeds"] == [0, 1]
    assert [cell["digest"] for cell in content["cells"]] == [c.run.digest for c in plan.cells]
    assert content["older"] == []


def test_it_holds_what_annotation_costs_wherever_that_is_stated(tmp_path: Path) -> None:
    budget = '[budget]\nimages = 6\n[axes.arm.few]\n"budget.seconds" = 500\n'
    plan = begin(write_study(tmp_path, f'base = "tiny.toml"\n{budget}'), run=False)
    (cell,) = json.loads((plan.out / FILE).read_text())["cells"]
    assert (cell["values"], cell["seconds"]) == ({"arm": "few"}, 500)


def test_runs_of_an_older_recipe_stay_and_are_not_counted_in(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    before = begin(path)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(recipe.read_text().replace("width = 2", "width = 3"))
    now = plan_of(path)
    (note,) = now.notes
    digest = before.cells[0].run.digest
    assert note.startswith(
        f"the study or a recipe has changed: 8 runs of older recipes (data.split=1/2, arm=plain "
        f"was {digest} and 3 more) stay in "
    )
    assert now.count("done") == 0
    assert now.count("left") == 8
    begin(path, run=False)
    assert plan_of(path).notes == (note,)  # as long as they are there
    assert all((job.folder / "result.json").is_file() for job in before.jobs)


def test_a_recipe_that_is_changed_back_is_found_finished(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    begin(path)
    recipe = tmp_path / "tiny.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace("width = 2", "width = 3"))
    begin(path, run=False)
    recipe.write_text(text)
    again = begin(path, run=False)
    assert again.count("done") == 8
    assert again.notes == ()  # none was run with the other width


def test_an_arm_or_a_seed_more_leaves_the_rest_finished(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    begin(path)
    more = STUDY.replace("seeds = 2", "seeds = 3") + '\n[axes.arm.plainer]\n"data.flip" = false\n'
    write_study(tmp_path, more)
    plan = plan_of(path)
    assert plan.notes == ()
    assert (plan.count("done"), plan.count("left")) == (8, 10)


def test_another_study_is_refused(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    begin(path, run=False)
    other = path.rename(tmp_path / "other.toml")
    with pytest.raises(RunError, match="holds the study 'grid', not 'other'"):
        plan_of(other)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"study": 1, "cells": [], "older": []}',
        '{"study": "grid", "cells": [3]}',
        '{"study": "grid", "older": [], "cells": [{"recipe": 1, "digest": "", "values": {}}]}',
    ],
)
def test_a_damaged_record_is_told_in_one_line(content: str, tmp_path: Path) -> None:
    plan = begin(write_study(tmp_path), run=False)
    (plan.out / FILE).write_text(content)
    with pytest.raises(RunError, match=r"study\.json: cannot be read") as error:
        plan_of(tmp_path / "grid.toml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("recipe", "digest"),
    [("r", "/ab"), ("/r", "ab"), ("../r", "ab"), ("a/../b", "ab"), ("r", "a*")],
)
def test_a_cell_that_lies_elsewhere_is_a_damaged_record(
    recipe: str, digest: str, tmp_path: Path
) -> None:
    path = write_study(tmp_path)
    (tmp_path / "out").mkdir()
    cell = {"recipe": recipe, "digest": digest, "values": {}}
    (tmp_path / "out" / FILE).write_text(
        json.dumps({"study": "grid", "cells": [cell], "older": []})
    )
    with pytest.raises(RunError, match=r"study\.json: cannot be read"):
        plan_of(path)
