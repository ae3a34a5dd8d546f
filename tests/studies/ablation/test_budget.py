"""Annotation budgets: seconds of a person's time as numbers of images."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.studies import Noted, finish, plan_of, stand_in, write_study

from semisup.data.weak_labels.costs import Content
from semisup.errors import RecipeError, RunError
from semisup.studies.ablation.budget import Budget, images_for, kind_paid, read_budget
from semisup.studies.ablation.cells import cells_of
from semisup.studies.ablation.local import LocalExecutor
from semisup.studies.ablation.study import read_study


def budget(**stated: object) -> Budget:
    found = read_budget({"images": 1000, **stated})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [("tags", 20.0), ("points", 23.3), ("scribbles", 34.9), ("boxes", 38.1), ("masks", 239.7)],
)
def test_an_image_of_voc_costs_what_is_published(kind: str, seconds: float) -> None:
    assert budget().seconds_an_image(kind) == pytest.approx(seconds, abs=0.06)


def test_four_hours_are_60_masks_or_618_clicked_images() -> None:
    assert budget().affords(4 * 3600, "masks") == 60
    assert budget().affords(4 * 3600, "points") == 618


@pytest.mark.parametrize(("seconds", "each", "count"), [(10, 5, 2), (9.99, 5, 1), (0.3, 0.1, 3)])
def test_images_are_whole(seconds: float, each: float, count: int) -> None:
    assert images_for(seconds, each) == count


def test_a_study_may_state_its_own_images_and_costs() -> None:
    own = budget(asked=3, classes=1, objects=2, costs={"masks": {"object": 10}})
    assert own.content == Content(3.0, 1.0, 2.0, 0.0)
    assert own.seconds_an_image("masks") == 2 + 20
    assert own.seconds_an_image("tags") == 3
    assert read_budget({}) is None


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"images": 0}, "'budget.images' = 0"),
        ({"images": True}, "'budget.images' = True"),
        ({"object": 3}, "there is no key 'budget.object'. Did you mean 'objects'?"),
        ({"objects": -1}, "'budget.objects' = -1"),
        ({"seconds": 3}, "is of the cells: state it in"),
        ({"costs": {"mask": {}}}, "no such kind of label. Did you mean 'masks'?"),
        ({"costs": {"masks": {"objects": 1}}}, "Did you mean 'object'?"),
        ({"costs": {"masks": {"object": "1"}}}, "'budget.costs.masks.object' = '1'"),
        ({"costs": 3}, "must be a table"),
    ],
)
def test_what_is_wrong_in_a_budget_is_named(stated: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        budget(**stated)


STUDY = """
base = "tiny.toml"

[budget]
images = 6

[set]
"budget.kind" = "masks"

[axes]
"budget.seconds" = [500, 1000]
"""


def test_seconds_become_the_split_of_a_cell(tmp_path: Path) -> None:
    study = read_study(str(write_study(tmp_path, STUDY)))
    cells = cells_of(study)
    assert [cell.run.changes for cell in cells] == [("data.split=2/6",), ("data.split=4/6",)]
    assert [cell.masks for cell in cells] == [2, 4]
    assert [cell.seconds for cell in cells] == [500, 1000]
    assert cells[0].label == "budget.seconds=500"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[500, 1000]", "[100]", "one image costs 239.7 s; take more"),
        ("[500, 1000]", "[2000]", "all 6 images cost 1,438 s; take no more"),
        ("[500, 1000]", '["all"]', "budget.seconds = 'all': is a number of seconds"),
        ("[500, 1000]", "[inf]", "budget.seconds = inf: is a number of seconds"),
        (
            '"masks"\n\n[axes]\n"budget.seconds" = [500, 1000]',
            '"points"\n\n[axes]\n"budget.seconds" = [100]',
            "the cell trains on whole masks. State data.masks = 'points'",
        ),
        ('"masks"', '"mask"', "no such kind of label. Did you mean 'masks'?"),
        ("[set]", '[set]\n"data.split" = "1/2"', "and budget.seconds states it too"),
        ("budget.kind", "budget.kinds", "there is no key 'budget.kinds'"),
    ],
)
def test_what_a_budget_cannot_buy_is_told(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    path = write_study(tmp_path, STUDY.replace(old, new))
    with pytest.raises(RecipeError) as error:
        cells_of(read_study(str(path)))
    assert str(error.value).startswith(f"study {path}: ")
    assert expected in str(error.value)


DRAWN = STUDY.replace('"budget.kind" = "masks"', '"data.masks" = "points:clicks=2"').replace(
    "[500, 1000]", "[100]"
)


def test_weak_labels_are_paid_for_with_their_options(tmp_path: Path) -> None:
    """VOC's average image: 18.5 s for absent classes, 1.5 first clicks, and 4.1 others of 5.6."""
    each = 18.5 + 1.5 * 2.4 + (2 * 2.8 - 1.5) * 0.9
    (cell,) = cells_of(read_study(str(write_study(tmp_path, DRAWN))))
    assert cell.run.changes == ("data.masks=points:clicks=2", f"data.split={100 // each:.0f}/6")
    assert cell.masks == 3
    assert budget().seconds_an_image("points:clicks=2") == pytest.approx(each)


@pytest.mark.parametrize(
    ("masks", "stated", "paid"),
    [
        ("", "", "masks"),
        ("", "tags", "tags"),
        ("points:clicks=2", "", "points:clicks=2"),
        ("points:clicks=2", "points", "points:clicks=2"),
        ("boxes", "tags", "tags"),
        ("folder:{0}", "", "points:clicks=3,per=class"),
        ("folder:{0}/none", "boxes", "boxes"),
    ],
)
def test_the_kind_that_is_paid_for_is_that_of_the_masks(
    masks: str, stated: str, paid: str, tmp_path: Path
) -> None:
    labels = {"kind": "points", "options": {"per": "class", "clicks": 3}}
    (tmp_path / "weak_labels.json").write_text(json.dumps(labels))
    assert kind_paid(stated, masks.format(tmp_path)) == paid


@pytest.mark.parametrize(
    ("masks", "stated", "expected"),
    [
        ("", "points", "budget.kind = 'points', but the cell trains on whole masks"),
        ("points", "boxes", "budget.kind = 'boxes', but data.masks = 'points' are points"),
        ("points", "masks", "budget.kind = 'masks', but data.masks = 'points' are points"),
        ("folder:nowhere", "", "does not say which labels it holds. State budget.kind"),
    ],
)
def test_a_kind_that_is_not_trained_on_is_not_paid_for(
    masks: str, stated: str, expected: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        kind_paid(stated, masks)


def test_weak_labels_beside_masks_are_not_free(tmp_path: Path) -> None:
    text = STUDY.replace('"budget.kind" = "masks"', '"data.weak_masks" = "points"')
    with pytest.raises(RecipeError, match=r"data\.weak_masks = 'points': budget\.seconds pays"):
        cells_of(read_study(str(write_study(tmp_path, text))))


def test_a_change_does_not_state_what_a_budget_buys(tmp_path: Path) -> None:
    study = read_study(str(write_study(tmp_path, STUDY)))
    with pytest.raises(RecipeError, match=r"--set data\.split=1/2: budget\.seconds states it"):
        cells_of(study, ["data.split=1/2"])


def test_a_wrong_number_of_images_is_noticed_when_a_cell_is_finished(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY)
    plan = plan_of(path)
    command = stand_in(
        plan, budget_seconds_500={"labelled": 2}, budget_seconds_1000={"labelled": 9}
    )
    LocalExecutor(command).run(plan, Noted())
    with pytest.raises(RunError, match="has 9 masks, and 4 paid for"):
        plan_of(path)


@pytest.mark.parametrize(
    ("labelled", "tagged", "is_right"),
    [(0, 25, True), (0, 24, False), (0, 26, False), (5, 20, True), (5, 25, True), (5, 19, False)],
)
def test_a_wrong_number_of_tagged_images_is_noticed_when_a_cell_is_finished(
    labelled: int, tagged: int, is_right: bool, tmp_path: Path
) -> None:
    text = STUDY.replace("= 6", "= 40").replace("masks", "tags").replace("[500, 1000]", "[500]")
    plan = plan_of(write_study(tmp_path, text))
    assert plan.cells[0].run.changes == ("data.tagged=25/40",)  # of 20 s each
    finish(plan)
    path = plan.jobs[0].folder / "result.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"split": {"labelled": labelled, "tagged": tagged}}))
    if is_right:
        assert plan_of(tmp_path / "grid.toml").count("done") == 1
    else:
        with pytest.raises(RunError, match=f"has tags of {tagged} images, and 25 paid for"):
            plan_of(tmp_path / "grid.toml")
