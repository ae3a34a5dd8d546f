"""What answers at once imports no torch; and what is known without it is what the classes say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import facts as writer
import pytest
from click.testing import CliRunner, Result
from support.runs import TABLES, make_set

import semisup
from semisup import catalog, facts
from semisup.cli.main import cli
from semisup.options import options_schema
from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.toml import dump_toml
from semisup.runs.data import untouched
from semisup.runs.folder import RunFolder

ROOT = Path(semisup.__file__).resolve().parents[1]

REMEDY = "run 'python docs/facts.py'"

PROGRAM = """
import sys
from click.testing import CliRunner
from semisup.cli.main import cli

for line in sys.stdin.read().splitlines():
    code, *words = line.split(" ")
    done = CliRunner().invoke(cli, words, prog_name="semisup")
    heavy = sorted({"torch", "torchvision", "scipy", "matplotlib"} & set(sys.modules))
    assert not heavy, f"{line}: imports {heavy}"
    assert done.exit_code == int(code), (line, done.output, done.exception)
"""

ONE_STEP = TABLES | {"train": TABLES["train"] | {"steps": 1}}


def call(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="semisup")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/, a recipe with a baseline, and finished runs of both in runs/."""
    folder = tmp_path_factory.mktemp("place")
    make_set(folder / "data")
    (folder / "base.toml").write_text(dump_toml(ONE_STEP))
    strong = {"data": TABLES["data"] | {"strong_labelled": True}}
    tables = ONE_STEP | strong | {"baseline": {"recipe": "base.toml"}}
    (folder / "own.toml").write_text(dump_toml(tables))
    done = call(*run_of(folder))
    assert done.exit_code == 0, done.output
    return folder


def run_of(place: Path, recipe: str = "own.toml") -> list[object]:
    return ["run", place / recipe, "--out", place / "runs", "--data-root", place / "data"]


@pytest.fixture
def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is not told at once is told that it went the slow way."""

    def slow(*_: object, **__: object) -> None:
        raise semisup.errors.RunError("the slow way")

    monkeypatch.setattr("semisup.api.run_loaded", slow)


def test_what_answers_at_once_imports_no_torch(place: Path) -> None:
    lines = [
        "0 --help",
        "0 --version",
        "0 run --help",
        "0 show quickstart",
        "0 show voc_small/decouplednet_10 --changed --set data.split=1/4",
        "0 list",
        "0 list recipes voc_small --json",
        "0 schema",
        "1 show quickstrat",
        "1 run voc_small",
        "1 show quickstart --set train.stepz=3",
        "1 run quickstart --set model.name=unett",
        "2 train",
        "0 " + " ".join(map(str, run_of(place))),
        "0 " + " ".join(map(str, run_of(place, "base.toml"))),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr


# A finished run


@pytest.mark.usefixtures("_slow")
def test_a_finished_run_is_told_with_its_gain(place: Path) -> None:
    done = call(*run_of(place))
    assert done.exit_code == 0, done.output
    assert "This run was finished before" in done.stdout
    assert "own beside base" in done.stdout
    content = json.loads(call(*run_of(place), "--json").stdout)
    assert content["gain"]["baseline"] == "base"


def touch(path: Path) -> None:
    path.write_bytes(path.read_bytes())


def touched_result(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


@pytest.fixture
def copied(place: Path, tmp_path: Path) -> Path:
    """A place of its own, told once the slow way: times of copied files are others."""
    shutil.copytree(place, tmp_path / "place")
    assert call(*run_of(tmp_path / "place", "base.toml")).exit_code == 0
    return tmp_path / "place"


def changes() -> Iterator[tuple[str, Any]]:
    yield "an image", lambda place: touch(place / "data" / "images" / "t0.png")
    yield "a mask", lambda place: touch(place / "data" / "masks" / "v0.png")
    yield "a list", lambda place: touch(place / "data" / "train.txt")
    yield "one more", lambda place: (place / "data" / "masks" / "more.png").write_bytes(b"")
    yield "one less", lambda place: (place / "data" / "images" / "t1.png").unlink()
    yield "result", lambda place: touched_result(next(place.glob("runs/base/*/result.json")))
    yield "files", lambda place: next(place.glob("runs/base/*/files.json")).unlink()
    yield "state", lambda place: next(place.glob("runs/base/*/untouched.json")).write_text("[")
    yield "no state", lambda place: next(place.glob("runs/base/*/untouched.json")).unlink()


@pytest.mark.parametrize(("what", "change"), list(changes()), ids=lambda value: str(value)[:9])
def test_a_run_whose_data_were_touched_is_compared_again(
    what: str, change: Any, copied: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("_slow")
    assert call(*run_of(copied, "base.toml")).exit_code == 0
    change(copied)
    assert "the slow way" in call(*run_of(copied, "base.toml")).stderr, what


def test_a_changed_image_is_refused_and_not_told(copied: Path) -> None:
    path = copied / "data" / "images" / "t0.png"
    path.write_bytes(path.read_bytes() + b" ")
    done = call(*run_of(copied, "base.toml"))
    assert done.exit_code == 1
    assert "the first that differs is 'images/t0.png'" in done.stderr
    assert call(*run_of(copied, "base.toml")).exit_code == 1, "what is refused is not kept"


def test_of_masks_outside_of_the_set_no_state_is_kept(tmp_path: Path) -> None:
    """Those of SBD lie beside VOC's folder: a change of one is found by the slow way alone."""
    folder, data = RunFolder(tmp_path / "run"), tmp_path / "VOC2012"
    for place in (folder.path, data / "JPEGImages", tmp_path / "sbd" / "cls"):
        place.mkdir(parents=True)
    (data / "JPEGImages" / "a.jpg").write_bytes(b"")
    (tmp_path / "sbd" / "cls" / "a.mat").write_bytes(b"")
    folder.files.write_text('{"trained": {"JPEGImages/a.jpg": "0 bytes"}}')
    state = untouched.state_of(load_recipe("quickstart"), [data])
    untouched.keep_state(folder, state, {"trained": data})
    assert folder.untouched.is_file()
    folder.untouched.unlink()
    folder.files.write_text('{"trained": {"JPEGImages/a.jpg": "0 bytes", "cls/a.mat": "x"}}')
    untouched.keep_state(folder, state, {"trained": data})
    assert not folder.untouched.exists()


@pytest.mark.usefixtures("_slow")
def test_a_result_whose_data_are_gone_says_so(place: Path, tmp_path: Path) -> None:
    words = ["run", place / "base.toml", "--out", place / "runs", "--data-root", tmp_path / "no"]
    done = call(*words)
    assert done.exit_code == 0, done.output
    assert "the data are not there any more; this is the result as it was recorded." in done.stderr


@pytest.mark.usefixtures("_slow")
@pytest.mark.parametrize("device", ["cuda:7", "nonsense"])
def test_a_device_that_is_named_is_looked_for(device: str, place: Path) -> None:
    assert "the slow way" in call(*run_of(place, "base.toml"), "--device", device).stderr


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "inner" / "back").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "file").write_text("x")
    recipe = load_recipe("quickstart")
    state = untouched.state_of(recipe, [tmp_path / "data"])
    assert state.keys() == {"version", str(tmp_path / "data")}
    assert untouched.state_of(recipe, [tmp_path / "nowhere"]) == {}


def test_of_too_many_files_no_state_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untouched, "MOST", 3)
    for number in range(4):
        (tmp_path / str(number)).write_text("")
    assert untouched.state_of(load_recipe("quickstart"), [tmp_path]) == {}


# What is known without the classes


def test_the_facts_are_those_of_the_classes() -> None:
    stored = json.loads(facts.FILE.read_text(encoding="utf-8"))
    found = writer.collect(measure=False)
    for kind in (*catalog.KINDS, "tables"):
        assert stored[kind].keys() == found[kind].keys(), REMEDY
        for name in found[kind]:
            assert stored[kind][name] == found[kind][name], f"{kind} {name}: {REMEDY}"
    changed = [file for file in found["files"] if stored["files"].get(file) != found["files"][file]]
    assert changed == [], REMEDY


@pytest.mark.slow
def test_the_costs_are_those_of_the_networks() -> None:
    stored = json.loads(facts.FILE.read_text(encoding="utf-8"))
    assert writer.collect()["model"] == stored["model"], REMEDY


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_options_are_read_off_the_facts_as_off_the_class(kind: str) -> None:
    for name, cls in catalog.KINDS[kind].items():
        known = facts.facts_of(kind, name)
        assert known is not None, f"{name}: {REMEDY}"
        schema, real = facts.schema_from(cls.__name__, known), options_schema(cls)
        assert schema is not None, f"{name}: the type of an option cannot be written down"
        assert schema.model_json_schema() == real.model_json_schema()
        for key, field in real.model_fields.items():
            default = schema.model_fields[key].default
            if field.annotation == schema.model_fields[key].annotation:
                assert default == field.default
                assert type(default) is type(field.default)
            else:
                assert default.model_dump() == field.default.model_dump()


def test_a_digest_is_the_same_with_and_without_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in shipped_recipes() if name.startswith(("scenes/", "voc_small/d"))]
    unasked = catalog.Table("method", "", {})
    assert unasked.known("x") == {}
    for table in catalog.KINDS.values():
        places = {name: f"{cls.__module__}:{cls.__qualname__}" for name, cls in table.items()}
        monkeypatch.setattr(table, "_entries", places)
    told = [load_recipe(name).digest() for name in names]
    monkeypatch.setattr(catalog, "facts_of", lambda *_: None)
    assert [load_recipe(name).digest() for name in names] == told


def test_a_class_whose_source_has_changed_is_asked_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert facts.facts_of("model", "unet") is not None
    monkeypatch.setattr(
        facts, "source_digest", lambda file: "" if file == "models/unet.py" else "x"
    )
    assert facts.facts_of("model", "unet") is None
    monkeypatch.undo()
    facts._content.cache_clear()
    monkeypatch.setattr(facts, "FILE", tmp_path / "not_there.json")
    assert facts.facts_of("model", "unet") is None
    facts._content.cache_clear()


@pytest.mark.parametrize(
    "text", ["__import__('os')", "tuple[int", "Tensor", "int + str", "(lambda: 3)()", "int()"]
)
def test_what_is_no_type_is_not_executed(text: str) -> None:
    with pytest.raises(ValueError, match="is no type of an option"):
        facts.parse_type(text)


def test_a_class_in_place_of_ours_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from semisup.methods.supervised import Supervised

    class Other(Supervised):
        """Another one."""

        def __init__(self, task: Any, *, strength: float = 0.5) -> None:
            super().__init__(task)

    monkeypatch.setitem(catalog.METHODS, "supervised", Other)  # type: ignore[misc]
    assert catalog.METHODS.about("supervised") == "Another one."
    assert catalog.METHODS.schema("supervised").model_fields.keys() == {"strength"}
