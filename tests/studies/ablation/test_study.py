"""Study files: what they may state, and which recipes they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.studies import STUDY, plan_of, write_study

from semisup.errors import RecipeError
from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import flatten
from semisup.studies.ablation import cells as module
from semisup.studies.ablation.cells import cells_of, shared_stages
from semisup.studies.ablation.study import change_of, find_study, read_study, shipped_studies


def changed(old: str, new: str) -> str:
    assert STUDY.count(old) == 1
    return STUDY.replace(old, new)


def test_cells_are_all_combinations_of_values(tmp_path: Path) -> None:
    study = read_study(str(write_study(tmp_path)))
    assert study.about == "Two arms."
    assert study.seeds == (0, 1)
    assert [dict(point.values) for point in study.points()] == [
        {"data.split": split, "arm": arm} for split in ("1/2", "all") for arm in ("plain", "strong")
    ]
    first, second, *_ = cells_of(study)
    assert first.label == "data.split=1/2, arm=plain"
    assert first.run.changes == ("data.split=1/2",)
    assert second.run.changes == ("data.split=1/2", "data.strong_labelled=true")
    assert first.run.name == "tiny"


def test_a_cell_is_the_run_that_its_command_makes(tmp_path: Path) -> None:
    plan = plan_of(write_study(tmp_path), "train.steps=3")
    for job in plan.jobs:
        run, recipe, *options, seed = job.words()
        assert run == "run"
        assert options[-1] == "--seed"
        loaded = load_recipe(recipe, options[1:-1:2], overrides={"train.seed": (int(seed), "")})
        assert loaded.train.steps == 3
        assert job.folder == plan.out / "tiny" / f"{loaded.digest()}-s{seed}"
    assert len({job.folder for job in plan.jobs}) == 8
    assert len({job.key for job in plan.jobs}) == 8


def test_seed_by_seed_each_arm_has_as_many_as_the_others(tmp_path: Path) -> None:
    plan = plan_of(write_study(tmp_path))
    assert [job.seed for job in plan.jobs] == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("key", "value", "change"),
    [
        ("data.split", "1/8", "data.split=1/8"),
        ("data.split", "3", 'data.split="3"'),
        ("data.split", "true", 'data.split="true"'),
        ("data.split", "", "data.split="),
        ("data.split", " x ", 'data.split=" x "'),
        ("data.crop", [32, 32], "data.crop=[32, 32]"),
        ("train.ema", 1e-05, "train.ema=1e-05"),
        ("data.flip", False, "data.flip=false"),
        ("data.root", "mü", "data.root=mü"),
    ],
)
def test_a_value_is_told_as_set_reads_it(key: str, value: Any, change: str) -> None:
    from semisup.recipe.toml import parse_change

    assert change_of(key, value) == change
    assert parse_change(change) == (key, value)


def test_keys_may_be_tables_and_recipes_lie_beside_the_study(tmp_path: Path) -> None:
    text = """
seeds = [7, 3]

[set.train]
steps = 5

[axes]
data.crop = [[32, 32], [16, 16]]

[axes.arm.a]
recipe = "tiny.toml"

[axes.arm.b]
recipe = "other.toml"
data.flip = false
"""
    path = write_study(tmp_path, text, other='extends = "tiny.toml"\n')
    study = read_study(str(path))
    assert study.seeds == (7, 3)
    cells = cells_of(study)
    assert [cell.label for cell in cells] == [
        f"data.crop={crop}, arm={arm}" for crop in ("[32, 32]", "[16, 16]") for arm in "ab"
    ]
    assert cells[3].run.recipe == str(tmp_path / "other.toml")
    assert cells[3].run.changes == ("train.steps=5", "data.crop=[16, 16]", "data.flip=false")
    assert study.arms is not None
    assert study.arms.name == "arm"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("data.split=1/8", "'axes.data.split' varies it. Change the file."),
        (" data.strong_labelled = false", "'axes.arm' varies it"),
        ("train.seed=5", "seeds are stated by the key 'seeds' of the file"),
        ("baseline.recipe=quickstart", "the cells of a study have no baselines"),
    ],
)
def test_a_change_does_not_contradict_the_name_of_a_cell(
    change: str, expected: str, tmp_path: Path
) -> None:
    path = write_study(tmp_path)
    with pytest.raises(RecipeError) as error:
        plan_of(path, change)
    assert str(error.value).startswith(f"study {path}: --set {change}: {expected}")


def test_excluded_combinations_are_left_out(tmp_path: Path) -> None:
    left_out = 'seeds = 2\nexclude = [{ arm = "strong", "data.split" = ["all"] }]'
    study = read_study(str(write_study(tmp_path, changed("seeds = 2", left_out))))
    assert [" ".join(point.values.values()) for point in study.points()] == [
        "1/2 plain",
        "1/2 strong",
        "all plain",
    ]


WRONG = {
    "a key": ("seeds = 2", "seed = 2", "there is no key 'seed'. Did you mean 'seeds'?"),
    "no base": ('base = "tiny.toml"', "", "'base' is missing"),
    "another base": ('base = "tiny.toml"', 'base = "quickstrat"', "Did you mean 'quickstart'?"),
    "no number": ("seeds = 2", "seeds = 0", "is a number from 1 to 1000"),
    "text": ("seeds = 2", 'seeds = "2"', "is how many, such as 10, or a list"),
    "twice": ("seeds = 2", "seeds = [1, 2, 1]", "'seeds' has 1 twice"),
    "negative": ("seeds = 2", "seeds = [-1]", "-1 is no seed"),
    "true": ("seeds = 2", "seeds = [true]", "True is no seed"),
    "undotted": ('"data.split"', "split", "is neither a dotted key, such as data.split, nor a "),
    "suggested": ('"data.split"', "split", "Did you mean 'data.split'?"),
    "of no table": ('"data.split"', '"date.split"', "'date.split' is no key of a recipe"),
    "of a table": ('"data.split"', '"data.splt"', "there is no key 'data.splt'. Did you mean"),
    "a value": ('"1/2", "all"', '"1/2", 3.5, "x"', "x' cannot be understood"),
    "no list": ('["1/2", "all"]', '"all"', "is a list of values, such as [1, 2]"),
    "the same": ('"1/2", "all"', '"1/2", "1/2"', "has 1/2 twice"),
    "a seed": ("[axes]\n", '[axes]\n"train.seed" = [1, 2]\n', "seeds are stated by the key"),
    "a baseline": (
        "[axes]\n",
        '[set]\nbaseline.recipe = "quickstart"\n[axes]\n',
        "the cells of a study have no baselines",
    ),
    "both": ("[axes]\n", '[set]\n"data.split" = "1/4"\n[axes]\n', "is stated by [set] and by axes"),
    "no group": ("[axes.arm.plain]", "[axes.none]\n[axes.arm.plain]", "'axes.none' has no group"),
    "an odd name": ("[axes.arm.plain]", '[axes.arm."a=b"]', "a group is named by letters"),
    "a plain value": ("[axes.arm.plain]", "[axes.arm]\nplain = 3", "'axes.arm.plain' = 3 is no "),
    "two recipes": (
        "[axes.arm.plain]",
        '[axes.other.x]\nrecipe = "tiny.toml"\n[axes.arm.plain]\nrecipe = "tiny.toml"',
        "axes.other and axes.arm both state recipes",
    ),
    "exclude an axis": (
        "seeds = 2",
        'seeds = 2\nexclude = [{ arms = "plain" }]',
        "no axis is called 'arms'. Did you mean 'arm'?",
    ),
    "exclude a value": (
        "seeds = 2",
        'seeds = 2\nexclude = [{ arm = "plane" }]',
        "'arm' has no value plane. Did you mean 'plain'?",
    ),
    "exclude all": (
        "seeds = 2",
        'seeds = 2\nexclude = [{ arm = ["plain", "strong"] }]',
        "'exclude' leaves no cell",
    ),
    "alike": (
        '"data.strong_labelled" = true',
        '"data.strong_labelled" = false',
        "'data.split=1/2, arm=plain' and 'data.split=1/2, arm=strong' train the very same",
    ),
    "braces": (
        '"data.strong_labelled" = true',
        '"init.set" = ["data.split={data.splits}"]',
        "'{data.splits}' is no axis. Did you mean 'data.split'?",
    ),
    "budget": ('"data.split"', '"budget.seconds"', "'budget' is missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line_with_the_file(case: str, tmp_path: Path) -> None:
    old, new, expected = WRONG[case]
    path = write_study(tmp_path, changed(old, new))
    if case == "a value":  # a split is understood when the data are known
        path.write_text(STUDY.replace('"data.split"', '"train.steps"').replace('"all"', '"x"'))
        expected = "'train.steps' = '1/2' (str)"
    with pytest.raises(RecipeError) as error:
        cells_of(read_study(str(path)))
    assert str(error.value).startswith(f"study {path}: ")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_is_suggested_and_a_file_must_be_there() -> None:
    with pytest.raises(RecipeError, match=r"no study is called 'quickstrat'\. Did you mean"):
        find_study("quickstrat")
    with pytest.raises(RecipeError, match=r"study none\.toml: there is no such file"):
        find_study("none.toml")
    with pytest.raises(RecipeError, match="is a study, no recipe"):
        load_recipe("studies/quickstart")
    assert find_study("studies/quickstart") == find_study("quickstart")


@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_can_be_planned(name: str) -> None:
    study = read_study(name)
    assert study.about
    cells = cells_of(study)
    assert study.arms is not None
    assert len({cell.run.digest for cell in cells}) == len(cells) > 1
    assert not any(recipe.startswith("studies/") for recipe in shipped_recipes())


def test_the_cells_of_the_consistency_study_are_the_recipes_of_the_results() -> None:
    for cell in cells_of(read_study("consistency")):
        split = cell.values["data.split"].replace("/", "-")
        shipped = load_recipe(f"voc_small/{cell.values['arm']}_lraspp_{split}")
        assert cell.run.digest == shipped.digest()


def test_the_cells_of_the_partners_study_are_the_recipes_of_the_results() -> None:
    cells = cells_of(read_study("cutmix_partners"))
    assert [cell.values["partner"] for cell in cells] == ["other", "other", "self", "self"]
    for cell in cells[:2]:
        shipped = load_recipe(f"voc_small/{cell.values['teaching']}_lraspp_1-32")
        assert cell.run.digest == shipped.digest()


@pytest.mark.parametrize(
    ("study", "recipe_of"),
    [
        ("gan", lambda arm, split: f"voc_small/{arm}_deeplab_v3plus_{split.replace('/', '-')}"),
        (
            "decouplednet",
            lambda arm, split: {
                "supervised": f"voc_small/supervised_fcn8s_{split[:-6]}_a_class",
                "strong_only": f"voc_small/decouplednet_strong_only_{split[:-6]}",
                "decouplednet": f"voc_small/decouplednet_{split[:-6]}",
                "decouplednet_joint": f"voc_small/decouplednet_joint_{split[:-6]}",
            }[arm],
        ),
    ],
)
def test_cells_are_the_shipped_recipes_but_for_the_draw_of_the_images(
    study: str, recipe_of: Callable[[str, str], str]
) -> None:
    found = 0
    for cell in cells_of(read_study(study)):
        name = recipe_of(cell.values["arm"], cell.values["data.split"])
        if name not in shipped_recipes():
            continue
        found += 1
        own = load_recipe(cell.run.recipe, cell.run.changes)
        assert differing(own, load_recipe(name)) == ["data.split_seed"]
        if own.first is not None:
            shipped = load_recipe(name).first
            assert shipped is not None
            drawn = ["data.split_seed"] if cell.values["arm"] == "strong_only" else []
            assert differing(own.first, shipped) == drawn
            assert own.first.data.tagged == own.data.tagged
    assert found == {"gan": 3, "decouplednet": 10}[study]


def differing(one: Recipe, other: Recipe) -> list[str]:
    """Keys at which two recipes differ in what they train."""
    left, right = flatten(one.resolved()), flatten(other.resolved())
    changed = {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}
    return sorted(changed - {"init.set", "train.seed"})


def test_an_axis_in_braces_is_its_value(tmp_path: Path) -> None:
    text = changed('"data.strong_labelled" = true', '"data.tags" = "file:{data.split}-{arm}.txt"')
    cells = cells_of(read_study(str(write_study(tmp_path, text))))
    assert [cell.run.changes[-1] for cell in cells] == [
        "data.split=1/2",
        "data.tags=file:1/2-strong.txt",
        "data.split=all",
        "data.tags=file:all-strong.txt",
    ]


def test_a_cell_trains_no_baseline_beside_itself() -> None:
    cells = cells_of(read_study("quickstart"))
    runs = [load_recipe(cell.run.recipe, cell.run.changes) for cell in cells]
    assert [run.baseline.recipe for run in runs] == [""] * 4
    assert load_recipe("quickstart").baseline.recipe


STAGES = """
base = "scenes/decouplednet_5"
seeds = 2

[axes]
"data.split" = ["5/class", "10/class"]
"""


def test_a_first_stage_is_one_job_for_all_that_start_from_it(tmp_path: Path) -> None:
    plan = plan_of(write_study(tmp_path, STAGES), "data.tags=xml")
    stages = [job for job in plan.jobs if job.cell is None]
    assert [job.label for job in stages] == [
        f"first stage scenes/decouplednet_classifier, seed {seed}" for seed in (0, 1)
    ]
    cells = [job for job in plan.jobs if job.cell is not None]
    assert [job.needs for job in cells] == [stages[job.seed].folder for job in cells]
    place = [plan.jobs.index(job) for job in stages]
    assert place == [0, 3]  # each before the first that starts from it
    for job in stages:
        _, recipe, *options, seed = job.words()
        first = load_recipe(recipe, options[1:-1:2])
        stated = load_recipe("scenes/decouplednet_5", ["data.tags=xml"]).first
        assert stated is not None
        assert first.digest() == stated.digest()
        assert job.folder.name == f"{first.digest()}-s{seed}"
    assert shared_stages(plan.cells) == [
        "first stage scenes/decouplednet_classifier: trained once a seed for 2 recipes"
    ]


def test_a_first_stage_that_is_an_arm_too_is_one_job(tmp_path: Path) -> None:
    text = """
seeds = 1
[axes.arm.classifier]
recipe = "scenes/decouplednet_classifier"
[axes.arm.all]
recipe = "scenes/decouplednet_5"
"""
    plan = plan_of(write_study(tmp_path, text))
    assert [job.label for job in plan.jobs] == ["arm=classifier, seed 0", "arm=all, seed 0"]
    turned = text.replace("arm.classifier", "arm.x").replace("arm.all", "arm.classifier")
    plan = plan_of(write_study(tmp_path, turned.replace("decouplednet_5", "decouplednet_5")))
    assert [job.cell is not None for job in plan.jobs] == [True, True]


@pytest.fixture
def loads() -> Iterator[mock.Mock]:
    with mock.patch.object(module, "load_recipe", wraps=load_recipe) as counted:
        yield counted


def test_ten_thousand_cells_load_each_recipe_once(tmp_path: Path, loads: mock.Mock) -> None:
    text = """
base = "tiny.toml"
seeds = 500
[axes]
"train.steps" = [1, 2, 3, 4, 5]
"data.flip" = [true, false]
"data.strong_labelled" = [true, false]
"""
    plan = plan_of(write_study(tmp_path, text))
    assert len(plan.jobs) == 10_000
    assert loads.call_count == 20


@pytest.mark.parametrize(
    ("place", "stated"),
    [
        ('"data.split" = ["1/2", "all"]', '"train.steps" = [2020-01-01]'),
        ("seeds = 2", 'seeds = 2\nexclude = [{ "data.split" = 2020-01-01 }]'),
    ],
)
def test_a_date_is_told_in_one_line(place: str, stated: str, tmp_path: Path) -> None:
    assert place in STUDY
    with pytest.raises(RecipeError, match="2020-01-01") as error:
        read_study(str(write_study(tmp_path, STUDY.replace(place, stated))))
    assert "\n" not in str(error.value)
