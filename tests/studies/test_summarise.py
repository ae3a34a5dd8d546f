"""docs/summarise.py: which runs are averaged, and what the rows are called."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.finished import PROTOCOL, finished_run

from semisup.studies.comparison import compare
from semisup.studies.places import find_runs

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "summarise.py"
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A folder of a finished run, of a digest, seed, mIoU, settings and changes of its result."""

    def run(
        digest: str = "aa",
        seed: int = 0,
        miou: float = 0.5,
        settings: Mapping[str, Any] = {},
        folder: str = "runs",
        **changes: Any,
    ) -> Path:
        place = tmp_path / folder / f"{digest}-s{seed}"
        return finished_run(place, digest, seed, miou, settings, **changes)

    return run


def table(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    runpy.run_path(str(SCRIPT))["main"]([str(argument) for argument in arguments])
    return capsys.readouterr().out


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_seeds_of_one_recipe_are_averaged(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, miou in ((1, 0.3), (0, 0.5)):
        make(seed=seed, miou=miou)
    text = table(capsys, tmp_path)
    assert rows(text) == [
        ["`r`", "25", "0 1", "0.500 0.300", "**0.400**", "0.141", "-0.871 to 1.671", "7"]
    ]
    assert "Score: selected, that is of the checkpoint by this rule: last checkpoint." in text


@pytest.mark.parametrize(
    ("key", "value", "first", "second"),
    [
        ("data.split", "1/2", 'data.split = "1/8"', 'data.split = "1/2"'),
        ("train.steps", 20, "train.steps = 10", "train.steps = 20"),
        ("method.weight", 0.5, "method.weight = null", "method.weight = 0.5"),
    ],
)
def test_runs_of_other_settings_have_a_row_of_their_own(
    make: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: object,
    first: str,
    second: str,
) -> None:
    make("aa", 0)
    make("aa", 1)
    make("bb", 0, settings={key: value}, split={"labelled": 100})
    one, two = rows(table(capsys, tmp_path))
    assert (one[0], one[1], one[2]) == (f"`r`, {first}", "25", "0 1")
    assert (two[0], two[1], two[2]) == (f"`r`, {second}", "100", "0")


def test_options_of_other_methods_are_no_part_of_a_name(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("aa", settings={"method.name": "supervised"})
    make("bb", settings={"method.name": "cps", "method.cutmix": 1.0})
    for digest, decay in (("cc", 0.9), ("dd", 0.99)):
        make(digest, settings={"method.name": "fixmatch", "method.teacher_decay": decay})
    assert [row[0] for row in rows(table(capsys, tmp_path))] == [
        '`r`, method.name = "supervised"',
        '`r`, method.name = "cps"',
        '`r`, method.name = "fixmatch", method.teacher_decay = 0.9',
        '`r`, method.name = "fixmatch", method.teacher_decay = 0.99',
    ]


def test_rows_that_nothing_tells_apart_have_their_digest(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("aa")
    make("bb")
    assert [row[0] for row in rows(table(capsys, tmp_path))] == ["`r`, digest aa", "`r`, digest bb"]


def test_other_training_files_are_a_row_of_their_own(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        data = {"trained": {"files_sha256": str(number) * 64}}
        make(folder=f"runs{number}", data=data)
    assert [row[0] for row in rows(table(capsys, tmp_path))] == [
        "`r`, trained on files 11111111",
        "`r`, trained on files 22222222",
    ]


@pytest.mark.parametrize("folders", [("runs", "copy"), ("a", "b"), ("x/y", "x/z")])
def test_one_seed_twice_is_refused_with_both_folders(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], folders: tuple[str, str]
) -> None:
    places = [make(folder=folder) for folder in folders]
    with pytest.raises(SystemExit, match="are of the same recipe, data and seed 0") as caught:
        table(capsys, tmp_path)
    assert all(str(place) in str(caught.value) for place in places)


def test_a_run_that_is_named_twice_counts_once(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make()
    assert rows(table(capsys, tmp_path, place))[0][2] == "0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": {**PROTOCOL, "flip": True}}, "scored by different protocols"),
        ({"protocol": {**PROTOCOL, "selection": "best of held-out"}}, "different protocols"),
        ({"data": {"reported": {"files_sha256": "b"}}}, "scored on files of other content"),
    ],
)
def test_what_must_not_stand_in_one_table_is_refused(
    make: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    reason: str,
) -> None:
    make("aa")
    make("bb", **changes)
    with pytest.raises(SystemExit, match=reason) as caught:
        table(capsys, tmp_path)
    assert "aa-s0 and " in str(caught.value)


def test_the_score_of_the_last_step_is_asked_for(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(miou=0.5)
    text = table(capsys, tmp_path, "--score", "last")
    assert rows(text)[0][3] == "0.250"
    assert "Score: last, that is of the checkpoint by this rule: after the last step." in text
    make("bb", scores={"selected": {"miou": 0.5}, "last": None})
    with pytest.raises(SystemExit, match="bb-s0: only its reported checkpoint was scored"):
        table(capsys, tmp_path, "--score", "last")


def test_nothing_to_summarise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"no result\.json below"):
        table(capsys, tmp_path)


SEEDS = range(4)


@pytest.fixture
def arms(tmp_path: Path) -> Callable[..., list[str]]:
    """Folders of arms, mIoU of each seed by name, as options; split and training share a seed."""

    def make(scores: Mapping[str, list[float]], **changes: Any) -> list[str]:
        for number, (name, values) in enumerate(scores.items()):
            for seed, miou in enumerate(values):
                finished_run(
                    tmp_path / name / f"s{seed}",
                    f"{number}{seed}",
                    seed,
                    miou,
                    {"method.name": name, "data.split_seed": seed, **changes.get("settings", {})},
                    split={"labelled": 25, "sha256": f"list {seed}"},
                )
        return [part for name in scores for part in ("--arm", f"{name}={tmp_path / name}")]

    return make


PLAIN = {"plain": [0.30, 0.40, 0.32, 0.38], "better": [0.32, 0.43, 0.33, 0.40]}


def test_arms_are_compared_seed_by_seed(
    arms: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    text = table(capsys, *arms(PLAIN), "--baseline", "plain")
    first, second, third = text.split("\n\n")[:3]
    # t of 0.975 and 3 degrees is 3.182, and half of that sd of 0.0476: 0.0757.
    assert rows(first)[0] == [
        "`plain`", "25", "4", "0.175", "0.024", "0.137 to 0.213",
        "0.350", "0.048", "0.274 to 0.426", "7",
    ]  # fmt: skip
    assert rows(second) == [
        ["`plain`", "last", "0.150", "0.200", "0.160", "0.190"],
        ["`plain`", "selected", "0.300", "0.400", "0.320", "0.380"],
        ["`better`", "last", "0.160", "0.215", "0.165", "0.200"],
        ["`better`", "selected", "0.320", "0.430", "0.330", "0.400"],
    ]
    # 2, 3, 1 and 2 points: sd of 0.816 points, t of 3.182 / 2 gives 1.299; all of one sign.
    [difference] = rows(third)
    assert difference == [
        "`better`", "`plain`", "4", "+0.020", "0.008", "+0.007 to +0.033", "0.125", "0.125", "0.017"
    ]  # fmt: skip
    assert "With 4 pairs p is never below 0.125." in text


def test_runs_whose_seed_draws_the_split_are_one_arm(
    arms: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """`data.split_seed = "same"`: what is a seed's own split is no other recipe."""
    text = table(capsys, *arms(PLAIN, settings={"data.split_seed": "same"}), "--baseline", "plain")
    assert [row[2] for row in rows(text.split("\n\n")[0])] == ["4", "4"]
    [difference] = rows(text.split("\n\n")[2])
    assert difference[:4] == ["`better`", "`plain`", "4", "+0.020"]


def test_holm_is_over_the_arms_of_the_table(
    arms: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    same = {"third": [0.31, 0.39, 0.33, 0.37]}
    text = table(capsys, *arms({**PLAIN, **same}), "--baseline", "`plain`")
    better, third = rows(text.split("\n\n")[2])
    assert better[-3:-1] == ["0.125", "0.250"]
    assert third[-3:-1] == ["1.000", "1.000"]


def test_with_two_baselines_each_pair_is_compared_once_and_all_are_one_family(
    arms: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    options = arms({**PLAIN, "third": [0.31, 0.45, 0.35, 0.41]})
    text = table(capsys, *options, "--baseline", "plain", "--baseline", "better")
    found = rows(text.split("\n\n")[2])
    assert [row[:2] for row in found] == [
        ["`better`", "`plain`"],
        ["`third`", "`plain`"],
        ["`third`", "`better`"],
    ]
    # Of third less better, -1, 2, 2 and 1 points, 4 or more are 6 of 16 sums: 0.375.
    assert [row[-3] for row in found] == ["0.125", "0.125", "0.375"]
    assert [row[-2] for row in found] == ["0.375", "0.375", "0.375"]
    assert "corrected for the 3 comparisons" in text


def test_a_brief_table_has_the_differences_from_the_first_baseline_and_the_p_of_all(
    arms: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = PLAIN | {"strong": [0.28, 0.41, 0.30, 0.37], "begun": [0.4]}
    options = [*arms(scores), "--baseline", "plain", "--baseline", "strong", "--score", "last"]
    differences = rows(table(capsys, *options).split("\n\n")[2])
    known = {name: cells for name, base, *cells in differences if base == "`plain`"}
    brief = rows(table(capsys, *options, "--brief"))
    assert [row[:3] for row in brief] == [
        [f"`{name}`", "25", count]
        for name, count in [("plain", "4"), ("strong", "4"), ("begun", "1"), ("better", "4")]
    ]
    assert brief[0][3:] == ["0.175", "-", "-", "-"]
    assert brief[2][3:] == ["0.200", "+0.050", "-", "-"]  # one pair
    for row in (brief[1], brief[3]):
        _, difference, _, interval, _, corrected, _ = known[row[0]]
        assert row[4:] == [difference, interval, corrected]


def test_a_brief_table_needs_a_baseline(
    arms: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="--brief compares with a baseline"):
        table(capsys, *arms(PLAIN), "--brief")


def test_one_score_stands_there_where_the_last_checkpoint_is_the_selected_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, miou in (("plain", 0.3), ("better", 0.4)):
        for seed in range(3):
            both = {"selected": {"miou": miou + seed / 50}, "last": {"miou": miou + seed / 50}}
            split = {"labelled": 25, "sha256": str(seed)}
            values = {"data.split_seed": seed}
            place = tmp_path / name / str(seed)
            finished_run(place, name, seed, 0.0, values, scores=both, split=split)
    options = [
        part for name in ("plain", "better") for part in ("--arm", f"{name}={tmp_path / name}")
    ]
    text = table(capsys, *options, "--baseline", "plain")
    assert "mIoU, last" in text
    assert "difference, last" in text
    assert "mIoU, selected" not in text
    assert "Score: last, that is of the checkpoint by this rule: after the last step." in text


@pytest.mark.parametrize(("seeds", "note"), [(5, "0.125"), (6, "0.0625"), (7, "")])
def test_too_few_seeds_for_so_many_comparisons_are_said_so(
    arms: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    seeds: int,
    note: str,
) -> None:
    scores = {"plain": [0.3] * seeds, "better": [0.4] * seeds, "third": [0.5] * seeds}
    text = table(capsys, *arms(scores), "--baseline", "plain")
    assert (f"no corrected p is below {note}: more seeds." in text) == bool(note)
    corrected = {row[-2] for row in rows(text.split("\n\n")[2])}
    assert corrected == {f"{2 * 2 ** (1 - seeds):.3f}"}
    assert ("With 5 pairs p is never below 0.0625." in text) == (seeds == 5)


def test_another_budget_has_a_row_and_no_difference(
    arms: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arms(PLAIN)
    for seed in SEEDS:
        finished_run(
            tmp_path / "all" / f"s{seed}",
            f"all{seed}",
            seed,
            0.6,
            {"data.split": "all", "data.split_seed": 0},  # nothing is drawn
            split={"labelled": 200, "sha256": "all"},
        )
    text = table(capsys, *options, "--arm", f"ceiling={tmp_path / 'all'}", "--baseline", "plain")
    assert [row[:3] for row in rows(text.split("\n\n")[0])] == [
        ["`plain`", "25", "4"],
        ["`better`", "25", "4"],
        ["`ceiling`", "200", "4"],
    ]
    assert [row[0] for row in rows(text.split("\n\n")[2])] == ["`better`"]
    assert "Not compared, since their labelled images are others: `ceiling`." in text


def test_an_arm_that_has_begun_is_compared_on_the_seeds_that_both_have(
    arms: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    options = arms({"plain": [0.3, 0.4, 0.5], "better": [0.4, 0.5, 0.6], "begun": [0.9, 0.8]})
    text = table(capsys, *options, "--baseline", "plain")
    assert [row[2] for row in rows(text.split("\n\n")[0])] == ["3", "2", "3"]
    found = {row[0]: row[2:4] for row in rows(text.split("\n\n")[2])}
    assert found == {"`better`": ["3", "+0.100"], "`begun`": ["2", "+0.500"]}
    assert "corrected for the 2 comparisons of" in text
    assert "Compared with `plain` on the 2 seeds that both have (0 1): `begun`." in text
    brief = rows(table(capsys, *options, "--baseline", "begun", "--brief"))
    assert {row[0]: (row[2], row[4]) for row in brief} == {
        "`begun`": ("2", "-"),
        "`plain`": ("3", "-0.500 (2 of 3 seeds)"),
        "`better`": ("3", "-0.400 (2 of 3 seeds)"),
    }


def test_one_seed_that_both_have_is_a_difference_without_an_interval(
    arms: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    text = table(capsys, *arms({"plain": [0.3, 0.4], "one": [0.4]}), "--baseline", "plain")
    assert rows(text.split("\n\n")[2]) == [["`one`", "`plain`", "1", "+0.100", *["-"] * 5]]
    assert "Compared with `plain` on the one seed that both have (0): `one`." in text
    assert "Holm" not in text.split("\n\n")[3]


def test_pages_and_compare_pair_by_one_rule(
    arms: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arms(
        {"plain": [0.3, 0.4, 0.6], "better": [0.5, 0.5, 0.9], "begun": [0.2, 0.9], "one": [0.4]}
    )
    text = table(capsys, *options, "--baseline", "plain")
    found = find_runs(options[1::2], tmp_path)
    comparison = compare(found.runs, first=found.first)
    ours = sorted(comparison.differences, key=lambda one: one.arm)
    for row, one in zip(rows(text.split("\n\n")[2]), ours, strict=True):
        assert row[:4] == [f"`{one.arm}`", "`plain`", str(len(one.seeds)), f"{one.mean:+.3f}"]
        assert row[7] == ("-" if one.p_holm is None else f"{one.p_holm:.3f}")
    for note in comparison.notes:
        assert note in text.replace("`", "")
    assert len(comparison.notes) == 2


@pytest.mark.parametrize("seed_of_split", [None, 7])
def test_a_seed_of_the_split_that_is_not_that_of_the_training_is_a_setting(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed_of_split: int | None
) -> None:
    for seed in SEEDS:
        split_seed = seed if seed_of_split is None else seed_of_split + seed % 2
        make(f"d{split_seed}", seed, settings={"data.split_seed": split_seed})
    found = [row[2] for row in rows(table(capsys, tmp_path))]
    assert found == (["0 1 2 3"] if seed_of_split is None else ["0 2", "1 3"])


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"plain": [0.3, 0.4], "better": [math.nan]}, "`better`: the score of seed 0 is not fin"),
        ({"other": [0.3, 0.3]}, "--baseline plain: no row has that name. Known: other."),
    ],
)
def test_arms_that_cannot_be_paired(
    arms: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    scores: Mapping[str, list[float]],
    reason: str,
) -> None:
    with pytest.raises(SystemExit, match=reason):
        table(capsys, *arms(scores), "--baseline", "plain")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"split": {"labelled": 25, "sha256": "others"}}, "have different labelled images"),
        (
            {
                "split": {"labelled": 25, "sha256": "list 0"},
                "data": {"trained": {"files_sha256": "b"}},
            },
            "were trained on files of other content",
        ),
        ({"protocol": {**PROTOCOL, "flip": True}}, "scored by different protocols"),
    ],
)
def test_runs_of_one_seed_that_are_not_comparable_are_named(
    arms: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    reason: str,
) -> None:
    options = arms(PLAIN)
    for seed in SEEDS:
        split = {"data.split_seed": seed}
        finished_run(tmp_path / "odd" / f"s{seed}", f"o{seed}", seed, 0.5, split, **changes)
    with pytest.raises(SystemExit, match=reason) as caught:
        table(capsys, *options, "--arm", f"odd={tmp_path / 'odd'}", "--baseline", "plain")
    assert str(tmp_path / "odd" / "s0") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_arm_of_two_recipes_is_refused(
    arms: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms(PLAIN)
    with pytest.raises(SystemExit, match=r"both of the arm `x`, and differ in .*method\.name"):
        table(capsys, "--arm", f"x={tmp_path}", "--baseline", "x")


@pytest.mark.parametrize("option", ["x", "=runs", "x="])
def test_an_arm_that_is_not_understood(capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit, match=f"--arm {option}: is not of the form NAME=FOLDER"):
        table(capsys, "--arm", option)


def test_a_run_in_two_arms_is_refused(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make()
    with pytest.raises(SystemExit, match="aa-s0 is in the arms 'x' and 'y'"):
        table(capsys, "--arm", f"x={tmp_path}", "--arm", f"y={tmp_path}")


def test_marked_parts_of_a_page_are_made_anew_and_the_rest_is_left(
    arms: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = " ".join(arms(PLAIN))
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n<!-- summarise: {options} -->\nold\n<!-- end -->\n\nAfter.\n")
    table(capsys, "--page", page)
    text = page.read_text()
    made = table(capsys, *options.split())
    assert text == f"Before.\n\n<!-- summarise: {options} -->\n{made}<!-- end -->\n\nAfter.\n"
    table(capsys, "--page", page)
    assert page.read_text() == text


def test_tables_of_the_pages_are_those_of_the_kept_results() -> None:
    rewritten = runpy.run_path(str(SCRIPT))["rewritten"]
    for page in sorted(SCRIPT.parent.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        remedy = f"python docs/summarise.py --page {page.relative_to(SCRIPT.parents[1])}"
        assert rewritten(text) == text, f"write it anew: {remedy}"
