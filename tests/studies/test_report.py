"""semisup report: one page with its tables and figures, that claims no more than the tests do."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import stats
from support.finished import PROTOCOL, finished_run
from support.hparams import tab_of

from semisup.cli.main import cli
from semisup.errors import RunError
from semisup.studies.ablation.attempts import Attempt, add_attempt
from semisup.studies.report import content, look
from semisup.studies.report.board import FOLDER, board_files
from semisup.studies.report.commands import commands_of
from semisup.studies.report.content import Report, read_report
from semisup.studies.report.folder import MARK, drawn_of, files_of, write_report
from semisup.studies.report.tables import left_out, names_in_sentences
from semisup.studies.report.verdicts import Verdict, verdicts

pytest.importorskip("jinja2")

PLAIN = [0.31, 0.36, 0.33, 0.34, 0.30, 0.35]
GAINS = {
    "better": [0.05, 0.06, 0.04, 0.05, 0.055, 0.045],
    "worse": [-0.02, -0.03, -0.025, -0.02, -0.03, -0.024],
    "alike": [0.02, -0.03, 0.01, 0.0, 0.02, -0.01],
}
"""Method -> mIoU above the plain one, of the seeds 0 to 5."""

STEPS = (5, 10)

FILES = "semisup.studies.report.folder.files_of"


def make_run(out: Path, method: str, split: str, seed: int, miou: float, **changes: Any) -> Path:
    budget, masks = split.replace("/", "-"), {"1/8": 25, "1/2": 100}[split]
    lines = [{"step": n, "checkup": True, "held_out/miou": miou + n / 1000} for n in STEPS]
    result = {
        "recipe": f"scenes/{method}",
        "split": {"labelled": masks, "sha256": f"list of {split}"},
        "per_class": {"a": {"iou": miou + 0.1}, "b": {"iou": miou - 0.1}},
        "confusion": [[9, 1], [6, 2]],
        "checkpoint": {"step": 10},
        "time": {"train_seconds": 7 + seed, "score_seconds": 1},
    }
    settings = {"method.name": method, "data.split": split, "data.split_seed": 0}
    place = out / f"scenes/{method}" / f"{method}{budget}-s{seed}"
    return finished_run(
        place, f"{method}{budget}", seed, miou, settings, lines, **{**result, **changes}
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: a supervised baseline, three methods, and two budgets of one of them."""
    out = tmp_path_factory.mktemp("report") / "runs"
    for seed, miou in enumerate(PLAIN):
        make_run(out, "supervised", "1/8", seed, miou)
        make_run(out, "supervised", "1/2", seed, miou + 0.1)
        for method, gains in GAINS.items():
            make_run(out, method, "1/8", seed, miou + gains[seed])
    begun = out / "scenes/better/better1-8-s6"
    begun.mkdir()
    (begun / "recipe.toml").write_text("[train]\nseed = 6\nsteps = 10\n")
    return out


@pytest.fixture(scope="module")
def report(runs: Path) -> Report:
    return read_report([str(runs)], runs, command="semisup report runs")


@pytest.fixture(scope="module")
def files(report: Report) -> dict[str, bytes]:
    return dict(files_of(report))


def command(*words: str) -> Result:
    return CliRunner().invoke(cli, ["report", *words], prog_name="semisup")


def said(report: Report) -> dict[str, Verdict]:
    """Method -> what is said of it."""
    found = verdicts(report.comparison, {arm.name: arm.name for arm in report.comparison.arms})
    methods = [*GAINS]
    return {name: one for one in found for name in methods if f"scenes/{name}" in one.text}


class Page(HTMLParser):
    """What of a page can be wrong: tags that do not match, ids, links, pictures without a text."""

    VOID = frozenset({"meta", "img", "br", "wbr", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.links: list[str] = []
        self.named: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        target = found.get("href") or ""
        (self.references if target.startswith("#") else self.links).append(target)
        self.references += [
            f"#{name}" for key in ("aria-labelledby",) for name in (found.get(key) or "").split()
        ]
        self.references += re.findall(r"url\((#[^)]+)\)", " ".join(v or "" for v in found.values()))
        if tag in ("img", "svg", "table", "th", "html"):
            self.named.append((tag, found))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.open, self.getpos())


def test_the_page_is_sound(files: dict[str, bytes]) -> None:
    text = files["index.html"].decode()
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {target.removeprefix("#") for target in page.references if target} <= set(page.ids)
    links = {target for target in page.links if target}
    assert links
    assert links <= files.keys()
    for tag, found in page.named:
        if tag == "svg":
            assert found.get("role") == "img", found
            assert found.get("aria-labelledby") or found.get("aria-label")
        if tag == "img":
            assert found.get("alt")
        if tag == "th":
            assert found.get("scope") in ("col", "row")
    assert text.count("<caption>") == sum(tag == "table" for tag, _ in page.named)
    assert '<html lang="en">' in text


def test_nothing_is_fetched_from_elsewhere(files: dict[str, bytes]) -> None:
    text = files["index.html"].decode()
    assert not re.search(r"(?:https?:)?//[\w-]+\.\w|@import|<link|src=\"(?!data:)", text)
    assert "default-src 'none'" in text


def test_figures_follow_the_colours_of_the_page(files: dict[str, bytes]) -> None:
    text = files["index.html"].decode()
    drawn = "".join(re.findall(r"<svg class=\"figure\".*?</svg>", text, flags=re.DOTALL))
    assert drawn.count("<svg") >= 7
    for colour in (*look.COLOURS, look.INK, look.MUTED, look.GRID):
        assert colour not in drawn
    assert "currentColor" in drawn
    assert "<style" not in drawn
    for number in range(len(look.COLOURS)):  # light and dark
        assert text.count(f"--arm{number}:") == 2


def test_all_figures_of_such_runs_are_there_in_three_formats(files: dict[str, bytes]) -> None:
    names = {Path(name).stem for name in files if name.startswith("figures/")}
    expected = {"runs", "gain", "budgets", "classes", "curves", "cost"}
    assert names == expected | {"confusion-A", "confusion-B"}
    for name in names:
        assert files[f"figures/{name}.png"].startswith(b"\x89PNG")
        assert files[f"figures/{name}.pdf"].startswith(b"%PDF")
        assert b"<svg" in files[f"figures/{name}.svg"]
        assert f'aria-labelledby="{name}-title' in files["index.html"].decode()
    text = files["index.html"].decode()
    assert "No score against annotation cost" in text
    assert "No calibration" in text


def test_the_same_runs_give_the_same_bytes_wherever_they_lie(
    runs: Path, tmp_path: Path, files: dict[str, bytes]
) -> None:
    shutil.copytree(runs, tmp_path / "other/place")
    moved = read_report([str(tmp_path / "other/place")], tmp_path, command="semisup report runs")
    again = dict(files_of(moved))
    assert again.keys() == files.keys()
    assert [name for name in files if files[name] != again[name]] == []
    assert str(runs) not in files["index.html"].decode()


def test_the_supervised_arm_of_each_budget_is_the_baseline(report: Report) -> None:
    pairs = [(one.arm, one.baseline) for one in report.comparison.differences]
    assert len(pairs) == len(GAINS)
    assert {base for _, base in pairs} == {'scenes/supervised, data.split = "1/8"'}


def test_only_a_significant_difference_is_called_one(report: Report) -> None:
    found = said(report)
    assert {name: one.kind for name, one in found.items()} == {
        "better": "open",
        "worse": "open",
        "alike": "open",
    }  # 3 comparisons of 6 pairs: no corrected p is below 3 / 32
    assert all("cannot tell" in one.text for one in found.values())


def test_a_significant_difference_is_told_with_its_direction(runs: Path) -> None:
    for method, kind, word in (("better", "above", "higher"), ("worse", "below", "lower")):
        places = ["scenes/supervised/supervised1-8-*", f"scenes/{method}/*-s[0-5]"]
        found = said(read_report(places, runs))[method]
        assert (found.kind, word in found.text) == (kind, True)
        assert "p = 0.031" in found.text
        expected = stats.t.interval(0.95, 5, np.mean(GAINS[method]), stats.sem(GAINS[method]))
        assert f"{expected[0]:+.3f} to {expected[1]:+.3f}" in found.text


@pytest.mark.parametrize(("p", "kind"), [(0.05, "above"), (0.0501, "open")])
def test_a_p_of_just_the_level_is_significant_as_it_is_counted_elsewhere(
    runs: Path, p: float, kind: str
) -> None:
    places = ["scenes/supervised/supervised1-8-*", "scenes/better/*-s[0-5]"]
    found = read_report(places, runs).comparison
    one = replace(found.differences[0], p_holm=p)
    (verdict,) = verdicts(replace(found, differences=(one,)), {arm.name: "A" for arm in found.arms})
    assert verdict.kind == kind


def test_what_is_not_significant_is_told_with_what_could_have_been_seen(runs: Path) -> None:
    places = ["scenes/supervised/supervised1-8-*", "scenes/alike/*"]
    found = said(read_report(places, runs))["alike"]
    assert found.kind == "open"
    assert "6 seeds show no significant difference" in found.text
    (number,) = re.findall(r"t-test at 0.05, not corrected, finds one of ([\d.]+)", found.text)
    detectable = float(number)
    assert 0.02 < detectable < 0.04
    assert not re.search("better|higher|lower|worse", found.text)


def test_a_difference_above_the_detectable_one_is_not_told_as_one_that_could_not_be_seen(
    tmp_path: Path,
) -> None:
    for seed, gain in enumerate([0.03] * 5 + [-0.002]):
        make_run(tmp_path, "supervised", "1/8", seed, 0.3)
        make_run(tmp_path, "better", "1/8", seed, 0.3 + gain)
    report = read_report([str(tmp_path)], tmp_path)
    (one,) = report.comparison.differences
    assert one.paired is not None
    assert one.mean > one.paired.detectable
    text = said(report)["better"].text
    assert "could have seen" not in text
    assert "6 seeds show no significant difference" in text
    assert "in four of five studies" in text


def test_five_seeds_cannot_tell_and_the_page_says_so(runs: Path) -> None:
    places = ["scenes/supervised/supervised1-8-s[0-4]", "scenes/better/*-s[0-4]"]
    found = said(read_report(places, runs))["better"]
    assert found.kind == "open"
    assert "5 seeds cannot tell" in found.text
    assert "0.0625" in found.text


def test_tables_have_both_checkpoints_and_the_numbers_of_a_hand_calculation(
    files: dict[str, bytes],
) -> None:
    rows = list(csv.DictReader(io.StringIO(files["arms.csv"].decode())))
    (better,) = (row for row in rows if row["recipe"] == "scenes/better")
    values = np.add(PLAIN, GAINS["better"])
    assert float(better["mean_selected"]) == pytest.approx(values.mean())
    assert float(better["mean_last"]) == pytest.approx(values.mean() / 2)
    assert float(better["sd_selected"]) == pytest.approx(values.std(ddof=1))
    assert float(better["difference"]) == pytest.approx(np.mean(GAINS["better"]))
    assert float(better["p"]) == pytest.approx(2 / 2**6)
    assert float(better["p_holm"]) == pytest.approx(3 * 2 / 2**6)
    runs = list(csv.DictReader(io.StringIO(files["runs.csv"].decode())))
    assert len(runs) == 6 * 5
    assert runs[0]["run"].startswith("supervised/")
    for run in runs:
        assert float(run["iou/a"]) == pytest.approx(float(run["miou_selected"]) + 0.1)
    assert r"\toprule" in files["report.tex"].decode()
    assert "**Cost**" in files["report.md"].decode()


def test_confusion_is_the_mean_of_the_shares_of_rows(runs: Path, tmp_path: Path) -> None:
    make_run(tmp_path, "better", "1/8", 0, 0.4, confusion=[[3, 1], [0, 0]])
    make_run(tmp_path, "better", "1/8", 1, 0.4, confusion=[[100, 100], [1, 4]])
    found = read_report([str(tmp_path)], tmp_path).confused
    assert found["scenes/better"].tolist() == [[0.625, 0.375], [0.2, 0.8]]
    with pytest.raises(RunError, match=r"no arm has that name. Did you mean 'scenes/better'"):
        read_report([str(tmp_path)], runs, confusion=["scenes/beter"])


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1, -1], [0, 1]], "text", [[1, "x"], [0, 1]]])
def test_a_damaged_confusion_is_one_line(tmp_path: Path, matrix: Any) -> None:
    make_run(tmp_path, "better", "1/8", 0, 0.4, confusion=matrix)
    done = command(str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "'confusion' is no table of 2 x 2 counts" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("field", "value"), [("flip", True), ("pretraining", "imagenet"), ("data", "voc")]
)
def test_runs_that_must_not_stand_together_are_refused_with_the_field(
    tmp_path: Path, field: str, value: Any
) -> None:
    make_run(tmp_path, "better", "1/8", 0, 0.4)
    make_run(tmp_path, "alike", "1/8", 0, 0.4, protocol={**PROTOCOL, field: value})
    done = command(str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert f"different protocols: {field} is" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_unfinished_is_named_with_its_state(files: dict[str, bytes]) -> None:
    text = files["index.html"].decode()
    assert "better/better1-8-s6: stopped at 0." in text


def test_a_run_that_cannot_be_read_is_named_on_the_page_and_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        FILES, lambda report, *_: iter([("page", "\n".join(left_out(report)).encode())])
    )
    make_run(tmp_path / "runs", "better", "1/8", 0, 0.4)
    damaged = make_run(tmp_path / "runs", "alike", "1/8", 0, 0.4) / "result.json"
    damaged.write_text(damaged.read_text()[:40])
    done = command(str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith(f"semisup: {damaged}: ")
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "out/page").read_text().startswith("alike/alike1-8-s0/result.json: ")


def test_a_failed_cell_is_told_with_its_last_line(tmp_path: Path) -> None:
    make_run(tmp_path, "better", "1/8", 0, 0.4)
    better = tmp_path / "scenes/better"
    for seed in range(1, 5):
        (better / f"better1-8-s{seed}").mkdir()
        if seed != 2:
            text = f"[train]\nseed = {seed}\n"
            (better / f"better1-8-s{seed}/recipe.toml").write_text(text)
    add_attempt(better / "better1-8-s1", Attempt(0.0, 1.0, 1, 1.0, 1, "out of memory"))
    add_attempt(better / "better1-8-s2", Attempt(0.0, 1.0, 1, 1.0, 1, "data/x.png is missing"))
    add_attempt(better / "better1-8-s3", Attempt(0.0, 1.0, 143, 1.0, 1, "ended", stopped=True))
    (better / "better1-8-s4/cell.json").write_text("{")
    found = read_report([str(tmp_path)], tmp_path).unfinished
    assert list(found.values()) == [
        "stopped at 0: out of memory",
        "failed: data/x.png is missing",  # before there was a recipe
        "stopped at 0",
        "stopped at 0, and its cell.json cannot be read",
    ]


def study(cells: list[dict[str, Any]], **changes: Any) -> str:
    return json.dumps({"study": "mine", "file": "base = 1\n", "cells": cells} | changes)


def test_a_study_has_its_own_runs_alone_and_says_what_is_missing(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, "better", "1/8", seed, 0.4)
        make_run(tmp_path, "better", "1/2", seed, 0.5)
        make_run(tmp_path, "alike", "1/8", seed, 0.4)
    cells = [
        {"recipe": "scenes/better", "digest": f"better{split}", **cost}
        for split, cost in (
            ("1-8", {"values": {"budget.seconds": "3600"}}),
            ("1-2", {"values": {"arm": "many"}, "seconds": 14400}),  # stated by a group
        )
    ]
    (tmp_path / "study.json").write_text(study(cells, seeds=[0, 1, 2]))
    found = read_report([str(tmp_path)], tmp_path)
    assert found.title == "Study mine"
    assert {arm.runs[0].recipe for arm in found.comparison.arms} == {"scenes/better"}
    assert [found.annotation_seconds(arm) for arm in found.comparison.arms] == [14400, 3600]
    assert "2 runs below the folder" in found.left_out[-1]
    assert "seeds 2: not finished" in found.left_out[0]
    assert "annotation" in drawn_of(found)
    commands, recipes = commands_of(found)
    assert recipes["study.toml"] == "base = 1\n"
    assert "recipes of its own, such as\n# scenes/better, which have to lie beside it" in commands
    assert "ablate" not in commands


def laid(files: Iterator[tuple[str, bytes]], folder: Path) -> Path:
    """A folder of these files."""
    for name, data in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder / FOLDER


def test_tensorboard_compares_the_cells_of_a_study_by_its_axes(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path, "better", "1/8", seed, 0.4 + 0.1 * seed)
        make_run(tmp_path, "better", "1/2", seed, 0.6)
    cells = [
        {
            "recipe": "scenes/better",
            "digest": f"better{split}",
            "values": {"arm": "few", "data.split": split.replace("-", "/"), "optim.lr": lr},
            "seconds": 60,
        }
        for split, lr in (("1-8", "0.1"), ("1-2", "3e-2"))
    ]
    (tmp_path / "study.json").write_text(study(cells, seeds=[0, 1]))
    found = read_report([str(tmp_path)], tmp_path)
    values, rows = tab_of(laid(board_files(found), tmp_path / "out"))
    assert values["data.split"] == ["1/2", "1/8"]
    assert values["optim.lr"] == [0.03, 0.1]  # numbers, which have an order
    assert values["labelled images"] == [100, 25]
    few = rows["B"]
    assert few[0] == {
        "arm": "few",
        "data.split": "1/8",
        "optim.lr": 0.1,
        "labelled images": 25,
        "annotation seconds": 60,
    }
    assert few[1]["score/miou"] == pytest.approx(0.45)
    assert few[1]["score/miou of the last checkpoint"] == pytest.approx(0.225)
    assert few[2] == ["B-s0", "B-s1"]


def test_tensorboard_compares_runs_without_a_study_by_what_differs(
    report: Report, tmp_path: Path
) -> None:
    values, rows = tab_of(laid(board_files(report), tmp_path))
    assert values["data.split"] == ["1/2", "1/8"]
    assert set(values["method.name"]) == {"supervised", *GAINS}
    assert values.keys() == {"method.name", "data.split", "labelled images"}
    assert len(rows) == len(report.comparison.arms)


def test_runs_of_seeds_that_a_study_does_not_have_are_not_counted_in(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path, "better", "1/8", seed, 0.4)
    cells = [{"recipe": "scenes/better", "digest": "better1-8"}]
    (tmp_path / "study.json").write_text(study(cells, seeds=[0, 2]))
    found = read_report([str(tmp_path)], tmp_path)
    assert [run.seed for run in found.runs] == [0, 2]
    (line,) = found.left_out
    assert line.startswith("1 run below the folder: first stages, or of recipes or seeds that")


def test_a_study_is_made_again_with_what_it_was_given(tmp_path: Path) -> None:
    made = {"recipe": "scenes/supervised_unet_1-8", "recipe_hash": "aa"}
    finished_run(tmp_path / "unet/aa-s0", **made)
    given = ["train.steps=100", "model.weights=file:/home/me/my weights.pth"]
    cells = [{"recipe": made["recipe"], "digest": "aa"}]
    (tmp_path / "study.json").write_text(study(cells, changes=given))
    commands, _ = commands_of(read_report([str(tmp_path)], tmp_path))
    assert (
        "semisup ablate recipes/study.toml --set train.steps=100 "
        "--set 'model.weights=file:my weights.pth'\n"
    ) in commands


@pytest.mark.parametrize("text", ["{", "[]", '{"study": "x"}', '{"study": "x", "cells": [1]}'])
def test_a_damaged_record_of_a_study_is_one_line(tmp_path: Path, text: str) -> None:
    make_run(tmp_path, "better", "1/8", 0, 0.4)
    (tmp_path / "study.json").write_text(text)
    done = command(str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "study.json: cannot be read (" in done.stderr
    assert done.stderr.count("\n") == 1


def test_recipes_that_are_not_shipped_lie_beside_and_are_named(files: dict[str, bytes]) -> None:
    text = files["index.html"].decode()
    assert "semisup run recipes/A.toml --seeds 0-5" in text
    assert "semisup report runs" in text
    assert b'name = "supervised"' in files["recipes/A.toml"]
    assert b"seed = 0" not in files["recipes/A.toml"].replace(b"split_seed = 0", b"")


def test_one_arm_has_a_page_without_a_claim_and_its_name_is_no_markup(tmp_path: Path) -> None:
    place = make_run(tmp_path, "better", "1/8", 0, 0.4)
    name = "<script>alert(1)</script>$x_1$"
    done = command(f"{name}={place}", "--title", "<b>&", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert "No difference was tested" in done.output
    text = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert Page(text).open == []
    assert "<script>alert" not in text
    assert "<b>&" not in text
    assert "There is one arm" in text
    assert "No gain is drawn" in text


def test_a_report_replaces_an_older_one_and_nothing_else(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep/report"
    for text in (b"old", b"new"):
        some = {"index.html": text, "figures/a.svg": b"<svg/>"}
        monkeypatch.setattr(FILES, lambda *_, some=some: iter(some.items()))
        write_report(report, folder)
    listed = json.loads((folder / MARK).read_text())["files"]
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == {*listed, MARK} == {"index.html", "figures/a.svg", MARK}
    assert (folder / "index.html").read_bytes() == b"new"
    (folder / "mine.txt").write_text("my own")
    with pytest.raises(RunError, match=r"holds mine.txt, which is no part of a report"):
        write_report(report, folder)
    assert (folder / "mine.txt").read_text() == "my own"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_of_something_else_is_refused_before_runs_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    done = command("nowhere", "--out", str(tmp_path))
    assert done.exit_code == 1
    assert "holds a.txt" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_report_that_fails_half_way_leaves_the_older_one(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FILES, lambda *_: iter([("index.html", b"whole")]))
    write_report(report, tmp_path / "r")

    def broken(*_: Any) -> Iterator[tuple[str, bytes]]:
        yield "index.html", b"half"
        raise RunError("the log of a run is damaged")

    monkeypatch.setattr(FILES, broken)
    with pytest.raises(RunError, match="damaged"):
        write_report(report, tmp_path / "r")
    assert (tmp_path / "r/index.html").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_without_jinja2_one_line_names_the_extra(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = command(str(runs), "--out", str(tmp_path / "r"))
    assert done.exit_code == 1
    assert "pip install 'semisup[report]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_each_file_of_a_run_is_read_a_few_times_whatever_the_number_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        for seed in range(2):
            make_run(tmp_path, f"m{number}", "1/8", seed, 0.4)
    read: dict[str, int] = {}
    text, data = Path.read_text, Path.read_bytes

    def counting(name: str, original: Any) -> Any:
        def counted(self: Path, *words: Any, **options: Any) -> Any:
            read[self.name] = read.get(self.name, 0) + 1
            return original(self, *words, **options)

        return counted

    monkeypatch.setattr(Path, "read_text", counting("text", text))
    monkeypatch.setattr(Path, "read_bytes", counting("bytes", data))
    found = read_report([str(tmp_path)], tmp_path)
    drawn_of(found)
    assert read["result.json"] == 40 + 2 * content.MOST_CONFUSED
    assert read["recipe.toml"] == 40
    assert read["scalars.jsonl"] == 40 + 2 * 8  # the curves of the first eight arms


def test_images_are_chosen_by_the_score_of_the_baseline_alone() -> None:
    """Of each image and class: right pixels, predicted ones, true ones."""
    from semisup.studies.report.cases import by_score

    counts = np.array(
        [
            [[9, 10, 10], [0, 0, 0]],  # 9 / 11, one class is absent
            [[8, 10, 10], [2, 10, 10]],  # (8 / 12 + 2 / 18) / 2
            [[0, 0, 0], [0, 0, 0]],  # no label: neither worst nor median
            [[0, 5, 0], [0, 0, 5]],  # 0
        ]
    )
    assert by_score(counts) == [3, 1, 0]


def test_kept_results_are_read_as_folders_are(tmp_path: Path) -> None:
    kept = Path(__file__).parents[2] / "docs/measurements/voc_small_1-32.jsonl"
    found = read_report([str(kept)], tmp_path, baseline="supervised")
    named = names_in_sentences(found)
    kinds = {one.text.split()[0]: one.kind for one in verdicts(found.comparison, named)}
    assert kinds["H"] == "above"  # UniMatch
    assert list(kinds.values()).count("open") >= 3
    assert {"calibration", "budgets", "gain"} <= drawn_of(found).keys()
    assert "curves" not in drawn_of(found)
