"""semisup compare: arms over seeds and budgets, and differences as a hand calculation has them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import stats
from support.finished import PROTOCOL, finished_run

from semisup.cli.main import cli
from semisup.errors import RunError
from semisup.studies.comparison import Arm, Comparison, compare
from semisup.studies.groups import groups_of
from semisup.studies.output.formats import as_csv, as_json, as_latex, as_markdown, as_text
from semisup.studies.output.tables import letters_of
from semisup.studies.places import find_runs

SCORES = {
    ("plain", "1/8"): [0.31, 0.36, 0.33],
    ("plain", "1/2"): [0.45, 0.41, 0.47],
    ("better", "1/8"): [0.33, 0.41, 0.34],
    ("better", "1/2"): [0.46, 0.40, 0.49],
}
"""Method and budget -> mIoU of the seeds 0, 1 and 2."""

MASKS = {"1/8": 25, "1/2": 100}


def make_run(out: Path, method: str, split: str, seed: int, miou: float, **changes: Any) -> Path:
    budget = split.replace("/", "-")
    place = out / f"scenes/{method}_unet" / f"{method}{budget}-s{seed}"
    settings = {"method.name": method, "data.split": split, "data.split_seed": 0}
    result = {
        "recipe": f"scenes/{method}_unet",
        "split": {"labelled": MASKS[split], "sha256": f"list of {split}"},
        "per_class": {"a": {"iou": miou + 0.1}, "b": {"iou": miou - 0.1}},
    }
    return finished_run(place, f"{method}{budget}", seed, miou, settings, **{**result, **changes})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder of runs: two methods, two budgets, three seeds."""
    for (method, split), values in SCORES.items():
        for seed, miou in enumerate(values):
            make_run(tmp_path / "runs", method, split, seed, miou)
    return tmp_path / "runs"


def compared(out: Path, *places: str, **options: Any) -> Comparison:
    found = find_runs(places or ["scenes/plain_unet", "scenes/better_unet"], out)
    return compare(found.runs, first=found.first, notes=found.notes, **options)


def command(out: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *words, "--out", str(out)], prog_name="semisup")


def arm_of(comparison: Comparison, method: str, split: str) -> Arm:
    (found,) = (
        arm
        for arm in comparison.arms
        if (arm.runs[0].settings["method.name"], arm.runs[0].settings["data.split"])
        == (method, split)
    )
    return found


def test_means_and_differences_are_those_of_a_hand_calculation(out: Path) -> None:
    comparison = compared(out)
    assert len(comparison.arms) == len(SCORES)
    for (method, split), values in SCORES.items():
        arm = arm_of(comparison, method, split)
        assert list(arm.scores.values()) == values
        assert arm.masks == (MASKS[split], MASKS[split])
        assert arm.mean == pytest.approx(np.mean(values), abs=1e-12)
        assert arm.sd == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
        assert arm.interval == pytest.approx((low, high), abs=1e-12)

    assert len(comparison.differences) == len(MASKS)
    for one in comparison.differences:
        split = "1/8" if "1/8" in one.arm else "1/2"
        values, others = np.array(SCORES["better", split]), np.array(SCORES["plain", split])
        expected = stats.ttest_rel(values, others).confidence_interval(0.95)
        assert split in one.baseline
        assert one.paired is not None
        assert one.paired.interval == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert one.mean == pytest.approx(np.mean(values - others), abs=1e-12)
        exact = stats.permutation_test(
            (values - others,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert one.paired.p == pytest.approx(exact.pvalue, abs=1e-12)
        for name in ("a", "b"):  # the same differences, since each class is a constant apart
            assert one.classes[name].mean == pytest.approx(one.mean, abs=1e-12)
            assert one.classes[name].interval == pytest.approx(one.paired.interval, abs=1e-12)

    smaller, larger = sorted(one.paired.p for one in comparison.differences if one.paired)
    corrected = sorted(one.p_holm for one in comparison.differences if one.p_holm is not None)
    first = min(1.0, 2 * smaller)
    assert corrected == pytest.approx([first, max(first, larger)])


def test_budgets_of_one_recipe_are_never_averaged(out: Path) -> None:
    comparison = compared(out, "scenes/plain_unet")
    assert [(arm.name, arm.masks, len(arm.runs)) for arm in comparison.arms] == [
        ('scenes/plain_unet, data.split = "1/2"', (100, 100), 3),
        ('scenes/plain_unet, data.split = "1/8"', (25, 25), 3),
    ]
    assert comparison.differences == ()


def tied(out: Path, name: str, seed: int, split: Mapping[str, Any] = {}, **changes: Any) -> Path:
    """A run whose split and training share a seed."""
    settings = {"data.split_seed": seed, "data.tags": "file:tags.txt"}
    split = {"labelled": 25, "sha256": f"list {seed}", **split}
    return finished_run(
        out / name / f"s{seed}", f"{name}{seed}", seed, 0.5, settings, split=split, **changes
    )


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("masks", "data.masks"),
        ("weak_masks", "data.weak_masks"),
        ("unlabelled_from", "data.unlabelled"),
        ("tags", "data.tags"),
    ],
)
def test_files_of_one_name_and_other_content_are_never_averaged(
    tmp_path: Path, part: str, key: str
) -> None:
    for seed in range(4):
        sha = "aabbccdd00" if seed < 2 else "eeff001122"
        tied(tmp_path, "one", seed, {part: {"source": "named", "sha256": sha}})
    arms = compared(tmp_path, str(tmp_path / "one")).arms
    assert {arm.name: arm.seeds for arm in arms} == {
        f"r, {key} of content aabbccdd": (0, 1),
        f"r, {key} of content eeff0011": (2, 3),
    }
    done = command(tmp_path, f"x={tmp_path / 'one'}")
    assert f"are both of the arm `x`, and differ in the content of {key}" in done.stderr
    assert done.stderr.count("\n") == 1


def on_masks(out: Path, name: str, masks: str, miou: float, **changes: Any) -> None:
    """Two runs on masks of a folder, or on the data set's own where that is empty."""
    folder = f"folder:{masks}"
    split: dict[str, Any] = {"labelled": 25, "sha256": "list"}
    protocol = PROTOCOL
    if masks:
        split["masks"] = {"source": folder, "sha256": f"{masks:0<8}99"}
        protocol = {**PROTOCOL, "training_masks": f"{folder} ({masks:0<8})"}
    files = {"files_sha256": f"files {masks}", "ids_sha256": "ids"}
    for seed in range(2):
        finished_run(
            out / name / f"s{seed}",
            name,
            seed,
            miou + seed / 10,
            {"data.masks": folder if masks else "", "data.split_seed": 0},
            **{"split": split, "protocol": protocol, "data": {"trained": files}, **changes},
        )


def test_kinds_of_masks_are_compared_as_arms(tmp_path: Path) -> None:
    on_masks(tmp_path, "own", "", 0.5)
    on_masks(tmp_path, "clicks", "points", 0.3)
    on_masks(tmp_path, "lines", "scribbles", 0.35, recipe="other")
    comparison = compared(tmp_path, *(str(tmp_path / name) for name in ("own", "clicks", "lines")))
    names = [arm.name for arm in comparison.arms]
    assert names == [
        'r, data.masks = ""',
        'r, data.masks = "folder:points"',
        'other, data.masks = "folder:scribbles"',
    ]
    assert [one.mean for one in comparison.differences] == pytest.approx([-0.2, -0.15])
    assert f"Trained on masks of folder:points (points00): {names[1]}." in comparison.notes
    assert f"Trained on the data set's own masks: {names[0]}." in comparison.notes
    text = " ".join(as_text(comparison).split())
    assert text.count("points00") == 1  # in no protocol of all
    alone = as_text(compared(tmp_path, str(tmp_path / "clicks")))
    assert "trained on the masks of folder:points (points00)" in " ".join(alone.split())
    assert "Trained on" not in alone


def test_runs_on_other_masks_are_refused_where_the_scoring_differs(tmp_path: Path) -> None:
    on_masks(tmp_path, "own", "", 0.5)
    flipped = {**PROTOCOL, "training_masks": "folder:points (points00)", "flip": True}
    on_masks(tmp_path, "clicks", "points", 0.3, protocol=flipped)
    done = command(tmp_path, str(tmp_path / "own"), str(tmp_path / "clicks"))
    assert "were scored by different protocols: flip is false and true. Give" in done.stderr
    assert done.stderr.count("\n") == 1


def test_weights_of_one_name_and_other_content_are_refused_with_both(tmp_path: Path) -> None:
    weights = ["w.pt (aaaaaaaa)", "w.pt (bbbbbbbb)"]
    places = [
        tied(tmp_path, "one", seed, protocol={**PROTOCOL, "pretraining": weights[seed]})
        for seed in range(2)
    ]
    done = command(tmp_path, str(tmp_path / "one"))
    assert done.exit_code == 1
    assert f"{places[0]} and {places[1]} were scored by different protocols" in done.stderr
    assert f'pretraining is "{weights[0]}" and "{weights[1]}"' in done.stderr
    runs = find_runs([str(tmp_path / "one")], tmp_path).runs
    assert [len(group) for group in groups_of(runs)] == [1, 1]  # as figures and the zoo group them


def test_a_seed_that_is_there_twice_is_refused_with_both_folders(out: Path) -> None:
    copy = make_run(out.parent / "copy", "plain", "1/8", 1, 0.36)
    with pytest.raises(RunError, match="are of the same recipe, data and seed 1") as caught:
        compared(out, "scenes/plain_unet", str(copy))
    assert str(copy) in str(caught.value)
    assert "plain1-8-s1" in str(caught.value)


def test_another_protocol_is_refused_with_the_field(out: Path) -> None:
    protocol = {**PROTOCOL, "flip": True, "scales": [0.5, 1.0]}
    make_run(out, "third", "1/8", 0, 0.5, protocol=protocol)
    done = command(out, "scenes/plain_unet", "scenes/third_unet")
    assert done.exit_code == 1
    assert "different protocols: flip is false and true (and scales)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_seeds_that_one_arm_lacks_are_left_out_of_the_difference_and_said(out: Path) -> None:
    shutil.rmtree(out / "scenes/better_unet/better1-8-s2")
    comparison = compared(out)
    (one,) = (one for one in comparison.differences if "1/8" in one.arm)
    assert one.seeds == (0, 1)
    assert one.mean == pytest.approx((0.02 + 0.05) / 2)
    (note,) = (note for note in comparison.notes if "seeds that both have" in note)
    assert note.startswith("Compared with scenes/plain_unet, ")
    assert "on the 2 seeds that both have (0 1): scenes/better_unet, " in note


def test_one_seed_has_a_difference_and_no_interval(out: Path) -> None:
    places = [str(out / f"scenes/{name}_unet/{name}1-8-s0") for name in ("plain", "better")]
    (one,) = compared(out, *places).differences
    assert (one.mean, one.paired, one.p_holm) == (pytest.approx(0.02), None, None)
    assert "+0.020" in command(out, *places).output


def test_other_labelled_images_are_not_compared(out: Path) -> None:
    places = ["scenes/plain_unet/plain1-8-s*", "scenes/better_unet/better1-2-s*"]
    comparison = compared(out, *places)
    assert comparison.differences == ()
    assert "since their labelled images are others: scenes/better_unet" in comparison.notes[0]


def test_an_unfinished_run_is_left_out_and_named(out: Path) -> None:
    begun = out / "scenes/plain_unet/plain1-8-s9"
    begun.mkdir()
    (begun / "recipe.toml").write_text("")
    comparison = compared(out)
    assert arm_of(comparison, "plain", "1/8").seeds == (0, 1, 2)
    assert comparison.notes == (f"Left out, since they are not finished: {begun}.",)


def test_arms_have_the_names_that_they_are_given(out: Path) -> None:
    done = command(out, "base=scenes/plain_unet/plain1-8-*", "new=scenes/better_unet/better1-8-*")
    assert done.exit_code == 0, done.output
    assert "A  base" in done.output
    assert "B  new" in done.output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["scenes/plain_unte"], "Did you mean 'scenes/plain_unet'?"),
        (["scenes/none*"], "matches nothing"),
        (["=scenes/plain_unet"], "is not of the form NAME=PLACE"),
        (["scenes/plain_unet", "--baseline", "plain"], "--baseline plain: no arm has that name."),
        (["scenes/plain_unet", "--to", "table.doc"], "table.doc: no table or figure has that"),
        (["scenes/plain_unet", "--to", "none/table.md"], "its folder is not there"),
        (["x=scenes/plain_unet", "y=scenes/plain_unet"], "is in the arms 'x' and 'y'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(out: Path, words: list[str], reason: str) -> None:
    done = command(out, *words)
    assert done.exit_code == 1
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "inner"),
    [("scores", "selected"), ("split", "labelled"), ("time", "train_seconds")],
)
def test_a_result_that_lacks_what_the_tables_need_is_named(out: Path, key: str, inner: str) -> None:
    path = out / "scenes/plain_unet/plain1-8-s1/result.json"
    content = json.loads(path.read_text())
    del content[key][inner]
    path.write_text(json.dumps(content))
    done = command(out, str(path.parent))
    assert done.exit_code == 1
    assert f"{path}: has no '{inner}' in '{key}'." in done.stderr
    assert done.stderr.count("\n") == 1


DAMAGED = {
    "cut short": lambda content: json.dumps(content)[:50],
    "a list": lambda content: json.dumps([content]),
    "no mIoU": lambda content: json.dumps(content | {"scores": {"selected": {}}}),
    "classes without IoU": lambda content: json.dumps(content | {"per_class": {"a": 3}}),
    "data as text": lambda content: json.dumps(content | {"data": "x"}),
    "binary": lambda content: "\0\1\2",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_result_among_others_is_named_and_left_out(out: Path, damage: str) -> None:
    path = out / "scenes/plain_unet/plain1-8-s1/result.json"
    path.write_text(DAMAGED[damage](json.loads(path.read_text())))
    done = command(out, "scenes/plain_unet", "scenes/better_unet")
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith(f"semisup: {path}")
    assert done.stderr.count("\n") == 1
    assert f"Left out, since they cannot be read: {path.parent}." in " ".join(done.stdout.split())
    assert "on the 2 seeds that both have (0 2)" in " ".join(done.stdout.split())
    (one,) = (one for one in compared(out).differences if "1/8" in one.arm)
    assert one.seeds == (0, 2)


@pytest.mark.parametrize("words", [["scenes/plain_unet/*8-s1"], ["scenes/plain_unet/plain1-8-s1"]])
def test_a_place_with_damaged_runs_alone_is_refused(out: Path, words: list[str]) -> None:
    path = out / "scenes/plain_unet/plain1-8-s1/result.json"
    path.write_text("{")
    done = command(out, "scenes/better_unet", *words)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"semisup: {path}: cannot be read")
    assert done.stderr.count("\n") == 1


def test_the_baseline_may_be_a_recipe_of_several_budgets(out: Path) -> None:
    found = find_runs([str(out)], out)
    comparison = compare(found.runs, baseline="scenes/better_unet")
    assert [one.baseline.split(", ")[0] for one in comparison.differences] == [
        "scenes/better_unet"
    ] * 2


def test_the_last_checkpoint_is_asked_for(out: Path) -> None:
    comparison = compared(out, score="last")
    assert arm_of(comparison, "plain", "1/8").mean == pytest.approx(np.mean([0.31, 0.36, 0.33]) / 2)


def test_of_the_last_checkpoint_no_class_of_another_is_shown(out: Path) -> None:
    comparison = compared(out, score="last")
    text = as_text(comparison)
    assert "of each class" not in text
    assert "are kept of the reported checkpoint alone" in " ".join(text.split())
    assert "No interval over images" not in text
    content = json.loads(as_json(comparison))
    assert all(not one["iou"] for one in (*content["arms"], *content["differences"]))
    assert "iou/" not in as_csv(comparison)
    assert "iou/a" in as_csv(compared(out))
    done = command(out, "scenes/plain_unet", "--score", "last", "--sheet", "sheet.png")
    assert "--sheet is of the reported checkpoints" in done.stderr


def test_text_fits_80_columns_and_names_are_whole(out: Path) -> None:
    text = as_text(compared(out))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert 'scenes/plain_unet, data.split = "1/8"' in text
    assert "A    100  3  0.443  0.031  0.367 to 0.519" in text


def test_many_classes_and_arms_fit_80_columns(tmp_path: Path) -> None:
    for number in range(12):
        for seed in range(2):
            make_run(tmp_path, f"method{number:02}", "1/8", seed, 0.3 + number / 100)
    found = find_runs([str(tmp_path)], tmp_path)
    text = as_text(compare(found.runs, baseline="scenes/method00_unet"))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert all(f"scenes/method{number:02}_unet" in text for number in range(12))


def test_columns_of_pictures_begin_with_what_tells_them_apart(out: Path) -> None:
    from semisup.studies.output.pictures import titles_of

    comparison = compared(out, "scenes/plain_unet")
    runs = [arm.runs[0] for arm in comparison.arms]
    assert titles_of(comparison, runs) == ['A  data.split = "1/2", s0', 'B  data.split = "1/8", s0']
    one = compared(out, "scenes/plain_unet/plain1-8-s0")
    assert titles_of(one, one.arms[0].runs) == ["A  scenes/plain_unet, s0"]


def test_markdown_csv_and_json_have_the_numbers(out: Path) -> None:
    comparison = compared(out)
    assert "| 3 | +0.027 | -0.025 to +0.078 |" in as_markdown(comparison)
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert len(rows) == 12
    assert {(row["digest"], row["seed"]): float(row["miou"]) for row in rows}[
        "better1-8", "1"
    ] == 0.41
    content = json.loads(as_json(comparison))
    assert [arm["masks"] for arm in content["arms"]] == ["100", "25", "100", "25"]
    assert content["differences"][1]["mean"] == pytest.approx(0.08 / 3)


@pytest.fixture
def odd_names(tmp_path: Path) -> Comparison:
    """Names that LaTeX takes for commands."""
    runs = []
    for number, name in enumerate(("a_b", "50 % & more #1", r"x\y{z}~^$")):
        for seed in range(2):
            folder = tmp_path / "odd" / f"{number}-{seed}"
            finished_run(folder, str(number), seed, 0.4, per_class={"a_1": {"iou": 0.2}})
            runs += [run.named(name) for run in find_runs([str(folder)], tmp_path).runs]
    return compare(runs, baseline="a_b")


def test_latex_is_booktabs_and_escaped(odd_names: Comparison) -> None:
    text = as_latex(odd_names)
    assert r"a\_b &" in text
    assert r"50 \% \& more \#1" in text
    assert r"\toprule" in text
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert not [line for line in body if "_" in line.replace(r"\_", "")]


@pytest.mark.parametrize("which", ["odd", "plain"])
def test_latex_compiles(out: Path, odd_names: Comparison, tmp_path: Path, which: str) -> None:
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("needs pdflatex, which is not installed")
    (tmp_path / "table.tex").write_text(as_latex(odd_names if which == "odd" else compared(out)))
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n"
        "\\begin{document}\n\\input{table}\n\\end{document}\n"
    )
    done = subprocess.run(
        [program, "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_a_recipe_with_the_name_of_a_folder_of_pictures_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pets").mkdir()
    run = tmp_path / "runs" / "pets" / "0123456789-s0"
    run.mkdir(parents=True)
    (run / "recipe.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"no result\.json below runs"):
        find_runs(["pets"], Path("runs"))


def test_a_thousand_arms_have_a_letter_each() -> None:
    arms = [Arm(str(number), (), "selected") for number in range(1000)]
    letters = letters_of(arms)
    assert len(set(letters.values())) == 1000
    assert [letters[str(number)] for number in (0, 25, 26, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "ZZ",
        "AAA",
    ]
