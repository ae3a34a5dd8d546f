"""Every code example of the documentation runs, loads or is understood."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from support.commands import is_understood

import semisup
from semisup.catalog import MODELS, load_plugins
from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.toml import flatten
from semisup.studies.ablation.cells import cells_of
from semisup.studies.ablation.study import read_study

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "reference" not in page.parts]  # written from the code

NO_CODE = {"text", ""}
"""What is shown is output or a layout of files."""


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        page: relative to the checkout.
        line: of its first line of code.
        language: as the page states it.
        code: without the indentation of the block.
        note: the HTML comment on the line before it, which says how it is to be taken.
    """

    page: str
    line: int
    language: str
    code: str
    note: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


FENCE = re.compile(r"^(?P<indent> *)```(?P<language>.*)$")
NOTE = re.compile(r"^ *<!-- (?P<note>.*) -->$")


def blocks_of(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    inside: list[str] | None = None
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if inside is None and fence:
            inside, first, indent = [], number + 1, len(fence["indent"])
            language = fence["language"].strip(" {}").removeprefix(".")
            before = NOTE.match(lines[number - 2]) if number > 1 else None
            note = before["note"] if before else ""
        elif inside is not None and fence:
            name = page.relative_to(ROOT).as_posix()
            yield Block(name, first, language, "\n".join(inside) + "\n", note)
            inside = None
        elif inside is not None:
            inside.append(line[indent:])
    assert inside is None, f"{page}: a block of code is not closed"


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [b for b in BLOCKS if b.language == "python" and not b.note.startswith("outline of ")]
OUTLINES = [b for b in BLOCKS if b.note.startswith("outline of ")]
TOML = [block for block in BLOCKS if block.language == "toml"]
JSON = [block for block in BLOCKS if block.language == "json"]


def commands_of(block: Block) -> Iterator[str]:
    """Each call of semisup in a block of shell, its variables filled in."""
    values: dict[str, list[str]] = {"seed": ["0"]}
    for line in block.code.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if stated := re.fullmatch(r"(\w+)=(?:\"(.*)\"|'(.*)'|(\S*))", line):
            values[stated[1]] = [stated[2] or stated[3] or stated[4]]
        if loop := re.match(r"for (\w+) in ([^;]+)", line):
            values[loop[1]] = loop[2].split()
        for command in re.findall(r"(?:^|&& |; |do |\$ |-m |/)(semisup [^|>&;]+)", line):
            yield from filled(command.replace(" ...", ""), values)


def filled(command: str, values: Mapping[str, Sequence[str]]) -> Iterator[str]:
    variable = re.search(r"\$\{?(\w+)\}?", command)
    if variable is None:
        yield command.strip()
        return
    for value in values[variable[1]]:
        yield from filled(command.replace(variable[0], value), values)


COMMANDS = [
    (f"{block}: {command}", command)
    for block in BLOCKS
    if block.language == "sh"
    for command in commands_of(block)
]


def test_every_kind_of_block_is_known() -> None:
    known = NO_CODE | {"python", "sh", "toml", "json"}
    assert [f"{b}: {b.language}" for b in BLOCKS if b.language not in known] == []
    assert min(len(PYTHON), len(OUTLINES), len(TOML), len(COMMANDS)) > 2


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages take for granted: photographs, weights and the log of a run."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    picture.save(tmp_path / "photo.jpg")
    (tmp_path / "photos").mkdir()
    picture.save(tmp_path / "photos" / "cat.jpg")
    network = semisup.create_model("unet", num_classes=5, width=16, batch_norm=True)
    save_file(network.state_dict(), tmp_path / "predictor.safetensors")
    log = tmp_path / "runs" / "quickstart" / "84702d3b14-s0" / "scalars.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 50, "loss_segmentation": 1.3}\n{"step": 60, "final": true}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMISUP_DATA", raising=False)
    return tmp_path


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}))
@pytest.mark.usefixtures("outside")
def test_python_runs_from_the_top_of_a_page_to_its_end(page: str, workplace: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for block in PYTHON:
        if block.page == page:
            included = re.fullmatch(r'--8<-- "(.+)"\n', block.code)
            own = {"__name__": "example"} if included else names
            source = (EXAMPLES / included[1]).read_text() if included else block.code
            blank = "\n" * (block.line - 1)  # so that a traceback names the line of the page
            exec(compile(blank + source, block.page, "exec"), own)


@pytest.mark.parametrize("block", OUTLINES, ids=str)
def test_an_outline_names_what_the_class_has(block: Block) -> None:
    module = importlib.import_module(block.note.removeprefix("outline of "))
    (outline,) = ast.parse(block.code).body
    assert isinstance(outline, ast.ClassDef)
    cls = getattr(module, outline.name)
    for member in outline.body:
        if isinstance(member, ast.FunctionDef):
            if isinstance(vars(cls).get(member.name), property):
                assert member.decorator_list, f"{member.name} is a property"
                continue
            names = [argument.arg for argument in member.args.args]
            assert list(inspect.signature(getattr(cls, member.name)).parameters) == names
        else:
            assert isinstance(member, ast.AnnAssign)
            assert isinstance(member.target, ast.Name)
            assert member.target.id in {*vars(cls), *cls.__annotations__}, member.target.id


@pytest.mark.parametrize("block", TOML, ids=str)
@pytest.mark.usefixtures("outside")
def test_toml_loads_as_a_recipe(block: Block, workplace: Path) -> None:
    """The comment before a block names the recipe that it is a part of, or the plug-in it needs."""
    if plugin := re.fullmatch(r"with (\w+\.py)", block.note):
        load_plugins([str(EXAMPLES / plugin[1])])
    parent = "" if plugin else block.note.removeprefix("over ")
    if block.note == "of pyproject.toml":
        assert tomllib.loads(block.code)["project"]
        return
    if block.note == "a study":
        (workplace / "shown.toml").write_text(block.code)
        assert cells_of(read_study("shown.toml"))
        return
    whole = f'extends = "{parent}"\n{block.code}' if parent else block.code
    (workplace / "shown.toml").write_text(whole)
    recipe = load_recipe("shown.toml")
    stated = tomllib.loads(block.code)
    for table in stated.keys() - {"extends", "optim"}:
        flat, all_of_it = flatten(stated[table]), flatten(recipe.resolved()[table])
        assert flat.items() <= all_of_it.items(), table


@pytest.mark.parametrize("block", JSON, ids=str)
def test_json_is_json(block: Block) -> None:
    for line in block.code.splitlines():
        json.loads(line)


@pytest.mark.parametrize("command", [c for _, c in COMMANDS], ids=[name for name, _ in COMMANDS])
def test_click_understands_the_commands(command: str) -> None:
    words = shlex.split(command)[1:]
    assert is_understood(words)
    if words[0] in ("run", "show") and not words[1].endswith(".toml"):
        assert words[1] in shipped_recipes()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_recipes_that_the_text_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:camvid|scenes|voc|voc_small)/[a-z0-9_-]+)`", page.read_text("utf-8"))
    assert {*named} <= shipped_recipes().keys()


def test_the_page_of_models_names_a_recipe_of_every_network_on_its_own_data() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    for section in sections:
        networks = {*section.splitlines()[0].split(", ")} & MODELS.keys()
        named = {*re.findall(r"`([a-z0-9_]+/[a-z0-9_-]+)`", section)} & shipped_recipes().keys()
        assert not networks or named, section.splitlines()[0]


def test_no_command_is_passed_over() -> None:
    shown = sum(
        len(re.findall(r"\bsemisup (?=[a-z]+( |$))", re.sub(r"#.*", "", line)))
        for block in BLOCKS
        if block.language == "sh"
        for line in block.code.splitlines()
    )
    assert len(COMMANDS) >= shown > 50
