"""The documentation site: diagrams, formulas, the model zoo, the notebook."""

from __future__ import annotations

import itertools
import json
import re
import statistics
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from cells import NOTEBOOKS, cells, notebook_page
from diagrams import (
    BOX,
    KINDS,
    LETTER,
    MARKER,
    WIDTH,
    Diagram,
    Edge,
    Node,
    read,
    svg,
    with_diagrams,
)
from hooks import mathml, on_page_markdown, with_formulas
from start_picture import drawn, in_colours
from support.finished import finished_run
from zoo import MEASUREMENTS, command_of, paper_of, quickstart_table, recipe_of, zoo_page

from semisup.catalog import METHODS
from semisup.errors import RunError, SemisupError
from semisup.studies.kept import read_kept

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DIAGRAMS = read()
FORMULAS = [
    pytest.param(formula, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, formula in enumerate(
        re.findall(r"^\$\$\n(.*?)\n\$\$$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )
]


def inside(node: Node, point: tuple[float, float]) -> bool:
    left, top, right, bottom = node.box
    return left < point[0] < right and top < point[1] < bottom


def crossed(diagram: Diagram, edge: Edge) -> list[str]:
    """Boxes that an arrow runs through on its way."""
    others = [node for node in diagram.nodes if node.name not in (edge.source, edge.target)]
    return [node.name for node in others if any(inside(node, edge.at(i / 40)) for i in range(41))]


def test_every_method_has_a_diagram_and_its_objective_in_formulas() -> None:
    pages = {page.stem: page.read_text("utf-8") for page in (DOCS / "methods").glob("*.md")}
    families = {name for name in METHODS if name in pages}
    assert len(families) > 10
    for name in families:
        assert f"<!-- diagram: {name} -->" in pages[name], name
        assert "\n$$\n" in pages[name], name


def test_every_diagram_stands_on_a_page_and_every_marker_names_one() -> None:
    named = [(page, name) for page in PAGES for name in MARKER.findall(page.read_text("utf-8"))]
    assert {name for _, name in named} == DIAGRAMS.keys()
    assert len({*named}) == len(named), "a page has one of them twice"


@pytest.mark.parametrize("diagram", DIAGRAMS.values(), ids=lambda diagram: diagram.name)
def test_in_a_diagram_nothing_covers_anything_and_all_words_fit(diagram: Diagram) -> None:
    for one, other in itertools.combinations(diagram.nodes, 2):
        apart = abs(one.x - other.x) >= BOX[0] or abs(one.y - other.y) >= BOX[1]
        assert apart, f"{one.name} covers {other.name}"
    for node in diagram.nodes:
        assert node.box[0] >= 0, node.name
        assert node.box[2] <= WIDTH, node.name
        assert len(node.lines) <= 2, node.name
        assert max(map(len, node.lines)) * LETTER < BOX[0], node.name
    for edge in diagram.edges:
        assert crossed(diagram, edge) == [], f"{edge.source} to {edge.target}"


@pytest.mark.parametrize("diagram", DIAGRAMS.values(), ids=lambda diagram: diagram.name)
def test_in_a_diagram_every_box_is_joined_and_every_loss_is_reached(diagram: Diagram) -> None:
    kinds = {node.name: node.kind for node in diagram.nodes}
    joined = {name for edge in diagram.edges for name in (edge.source, edge.target)}
    assert joined == kinds.keys()
    trained = {edge.target for edge in diagram.edges if edge.kind == "forward"}
    assert {name for name, kind in kinds.items() if kind == "loss"} <= trained
    assert not {edge.source for edge in diagram.edges} & {
        name for name, kind in kinds.items() if kind == "loss"
    }


def test_a_diagram_is_one_block_of_html_with_a_text_for_who_cannot_see_it() -> None:
    for diagram in DIAGRAMS.values():
        text = svg(diagram)
        assert "\n\n" not in text  # an empty line would end the block in Markdown
        figure = ElementTree.fromstring(text)
        (picture,) = figure.findall("svg")
        assert picture.get("aria-label") == diagram.text
        assert len(picture.findall("g")) == len(diagram.nodes)
        assert {group.get("class") for group in picture.findall("g")} <= KINDS.keys()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('nodes = ["x picture 0 0 x"]\nedges = []', "'x picture 0 0 x' is not ID KIND"),
        ('nodes = ["x image 0 0"]\nedges = []', "'x image 0 0' is not ID KIND"),
        ('nodes = ["x image 0 0 x"]\nedges = ["x -> S"]', "'x -> S' is not ID -> ID"),
        ('nodes = ["x image 0 0 x"]\nedges = ["x => x"]', "'x => x' is not ID -> ID"),
    ],
)
def test_a_description_that_is_not_understood(tmp_path: Path, table: str, message: str) -> None:
    path = tmp_path / "diagrams.toml"
    path.write_text(f'[new]\ntext = "t"\n{table}\n')
    with pytest.raises(SemisupError, match=f"diagram new: {re.escape(message)}"):
        read(path)


def test_a_marker_becomes_its_diagram_and_an_unknown_one_is_named() -> None:
    page = with_diagrams("Before.\n\n<!-- diagram: supervised -->\n\nAfter.\n")
    assert page.startswith("Before.\n\n<figure")
    assert page.endswith("</figure>\n\nAfter.\n")
    with pytest.raises(SemisupError, match=r"no diagram is called other\. Known: supervised, "):
        with_diagrams("<!-- diagram: other -->\n")


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_are_understood(formula: str) -> None:
    pytest.importorskip("latex2mathml", reason="formulas need the extra docs")
    made = ElementTree.fromstring(mathml(formula, block=True))
    assert made.get("display") == "block"
    rows = formula.count(r"\\") + 1 if "align" in formula else 0
    assert len(made.findall(".//{*}mtr")) == rows


def test_formulas_of_a_page_become_mathml() -> None:
    pytest.importorskip("latex2mathml", reason="formulas need the extra docs")
    block = '<div class="arithmatex">\\[\na &lt; b\n\\]</div>'
    page = f'<p>Of <span class="arithmatex">\\(x_1\\)</span>.</p>\n{block}'
    made = with_formulas(page)
    assert made.count("<math") == 2
    assert '<div class="formula"><math' in made
    assert "arithmatex" not in made
    assert "<mo>&#x0003C;</mo>" in made


@pytest.mark.parametrize("formula", [r"\unheard x", r"\begin{aligned} a & b \end{aligned}"])
def test_a_formula_with_an_unknown_command_is_refused_and_not_printed_raw(formula: str) -> None:
    pytest.importorskip("latex2mathml", reason="formulas need the extra docs")
    with pytest.raises(SemisupError, match="latex2mathml does not know"):
        mathml(formula, block=True)


def cells_of(table: str) -> list[list[str]]:
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_zoo_has_each_recipe_with_kept_results_once_and_its_mean() -> None:
    page = zoo_page()
    rows = [row for row in cells_of(page) if row[0] != "method"]
    expected = {}
    for file in sorted(MEASUREMENTS.glob("*.jsonl")):
        for run in read_kept(file):
            expected.setdefault(run.recipe, []).append(run)
    assert len(rows) == len(expected)
    for row in rows:
        (recipe,) = [name for name in expected if row[-1] == f"`{name}`"]
        scores = [run.content["scores"]["selected"]["miou"] for run in expected[recipe]]
        assert row[1] == f"**{statistics.fmean(scores):.3f}**", recipe
        assert row[2] == (f"{statistics.stdev(scores):.3f}" if len(scores) > 1 else "-"), recipe
        labelled = expected[recipe][0].content["split"]["labelled"]
        assert row[3].startswith(f"{labelled:,} ("), recipe


def test_the_zoo_puts_scores_of_two_protocols_in_two_tables(tmp_path: Path) -> None:
    for name, images in (("a", 10), ("b", 20)):
        kept = (MEASUREMENTS / "things_1-64.jsonl").read_text("utf-8")
        shared, *runs = map(json.loads, kept.splitlines())
        shared["shared"]["protocol"]["images"] = images
        lines = [json.dumps(line) for line in (shared, *runs)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    page = zoo_page(tmp_path)
    assert re.findall("^## (.*)", page, re.MULTILINE) == [
        "scenes: 10 images of val, 9 classes",
        "scenes: 20 images of val, 9 classes",
    ]


def test_a_zoo_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no kept results"):
        zoo_page(tmp_path)


def test_the_command_of_a_row_states_what_the_runs_changed() -> None:
    run = read_kept(MEASUREMENTS / "things_1-64.jsonl")[0]
    assert recipe_of(run) == run.recipe
    assert command_of(run) == "semisup run RECIPE --seed SEED"
    settings = {**run.settings, "train.steps": 50, "data.crop": [32, 32]}
    changed = type(run)(run.source, {**run.content, "settings": settings})
    assert recipe_of(changed) == f"{run.recipe} --set data.crop=[32, 32] --set train.steps=50"
    lost = type(run)("there", {**run.content, "recipe": "scenes/other"})
    with pytest.raises(RunError, match="there: no recipe is called scenes/other"):
        recipe_of(lost)
    weighted = {**run.settings, "model.weights": "w.pth", "data.name": "voc"}
    other = type(run)(run.source, {**run.content, "settings": weighted})
    assert command_of(other) == "semisup run RECIPE --seed SEED --weights w.pth --data-root DATA"


def test_papers_are_those_of_the_pages_of_the_methods() -> None:
    assert paper_of("fixmatch") == "[2001.07685](https://arxiv.org/abs/2001.07685)"
    assert paper_of("supervised") == "-"
    assert paper_of("not_a_method") == "-"


def test_the_table_of_the_start_page_needs_all_its_runs(tmp_path: Path) -> None:
    rows = cells_of(quickstart_table())
    assert [len(row) for row in rows] == [3, 3, 3, 3]
    assert rows[2][0] == "13 masks and 787 pictures without one (FixMatch)"
    finished_run(tmp_path / "run")
    with pytest.raises(RunError, match="has no runs of scenes/supervised_things_1-64, quickstart"):
        quickstart_table(tmp_path)


def test_the_start_page_has_the_picture_the_result_and_nothing_that_is_cut() -> None:
    text = (DOCS / "index.md").read_text("utf-8")
    assert (DOCS / "images" / "quickstart.png").is_file()
    assert "(images/quickstart.png)" in text
    made = on_page_markdown(text)
    assert quickstart_table() in made
    assert "<!--" not in made
    install = text.partition("## Install")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", install, re.DOTALL)
    assert max(map(len, block.splitlines())) <= 38  # letters in a line of code at 390 px


def test_the_picture_of_the_start_page_has_a_row_for_each_image() -> None:
    palette = np.array([[0, 0, 0], [200, 10, 20]], np.uint8)
    mask = np.array([[0, 1], [255, 1]], np.uint8)
    shown = in_colours(mask, palette)
    assert shown.tolist() == [[[0, 0, 0], [200, 10, 20]], [[255, 255, 255], [200, 10, 20]]]
    figure = drawn([("image", [shown] * 3), ("mask", [shown] * 3)])
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:2]] == ["image", "mask"]


@pytest.mark.usefixtures("outside")
def test_the_notebook_runs_from_top_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code cells in order, on fewer pictures and steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMISUP_DATA", raising=False)
    code = [text for kind, text in cells(NOTEBOOKS / "first_steps.ipynb") if kind == "code"]
    stated = 'SETTINGS = ["train.steps=600"]'
    assert sum(stated in text for text in code) == 1
    few = ["data.train=64", "data.val=2", "data.test=1", "data.workers=0", "eval.pictures=0"]
    names: dict[str, object] = {"__name__": "__main__"}
    with mpl.rc_context({"backend": "agg"}):
        for number, text in enumerate(code, 1):
            short = text.replace(stated, f"SETTINGS = {['train.steps=2', *few]}")
            exec(compile(short, f"cell {number}", "exec"), names)
        plt = names["plt"]
        plt.close("all")  # type: ignore[attr-defined]
    assert names["few"].result.split.labelled == 1  # type: ignore[attr-defined]


def test_a_notebook_is_kept_without_outputs_and_becomes_a_page(tmp_path: Path) -> None:
    page = notebook_page(NOTEBOOKS / "first_steps.ipynb")
    assert page.startswith("# In a notebook\n\n[Download this page as a notebook]")
    assert "```python\nimport matplotlib" in page
    used = {"cell_type": "code", "source": ["1"], "outputs": [], "execution_count": 3}
    path = tmp_path / "used.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "cells": [used]}))
    with pytest.raises(SemisupError, match="cell 1 has an output; clear it"):
        cells(path)
    path.write_text(json.dumps({"nbformat": 3}))
    with pytest.raises(SemisupError, match="no notebook of format 4"):
        cells(path)
