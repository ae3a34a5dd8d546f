"""The way in from outside: register, --plugin, SEMISUP_PLUGINS, entry points."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import re
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.plugins import EXAMPLES

import semisup
from semisup import catalog, plugins
from semisup.cli.main import cli
from semisup.errors import RecipeError
from semisup.methods.base import Method
from semisup.methods.supervised import Supervised
from semisup.models.unet import UNet

pytestmark = pytest.mark.usefixtures("outside", "no_confusion_is_drawn")

MINE = """
import semisup
from semisup.methods.supervised import Supervised


class Mine(Supervised):
    \"\"\"Mine.\"\"\"


semisup.register("mine", Mine)
"""


class Other(Supervised):
    """Other."""


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str = MINE, name: str = "my_method.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def semisup_command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def said(*words: object) -> str:
    """The one line on standard error of a command that fails."""
    done = semisup_command(*words)
    assert done.exit_code == 1, done.output
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_class_is_registered_by_its_kind() -> None:
    semisup.register("other", Other)
    semisup.register("narrow", type("Narrow", (UNet,), {}))
    assert catalog.METHODS["other"] is Other
    assert semisup.create_model("narrow", num_classes=2, width=4).num_classes == 2
    assert catalog.OUTSIDE["method", "other"].sha256
    semisup.register("other", Other)  # again: nothing happens


class Unfinished(Method):
    """Has no step."""


class Untyped(Supervised):
    """An option without a type."""

    def __init__(self, task: object, *, strength=1.0) -> None:  # type: ignore[no-untyped-def]
        super().__init__(task)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "cls", "message"),
    [
        ("supervised", Other, "a method is called 'supervised' already (semisup.methods.superv"),
        ("my method", Other, "'my method' is no name; use letters, digits and _."),
        ("", Other, "is no name"),
        ("text", str, "is neither a Method, a Segmenter nor a SegmentationData"),
        ("instance", 3, "give the class, not an instance"),
        ("unfinished", Unfinished, "lacks step. Write it."),
        ("untyped", Untyped, "'strength'). Give each keyword-only parameter of __init__ a type"),
    ],
)
def test_what_cannot_be_registered(name: str, cls: type, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        semisup.register(name, cls)
    assert "\n" not in str(caught.value)
    assert name == "supervised" or name not in catalog.METHODS


def test_a_file_fills_list_and_schema(write: Write) -> None:
    path = write()
    rows = json.loads(semisup_command("list", "methods", "--json", "--plugin", path).stdout)
    mine = next(row for row in rows if row["name"] == "mine")
    assert mine == {"name": "mine", "from": "my_method.py", "about": "Mine."}
    assert not any("from" in row for row in rows if row["name"] != "mine")
    assert "my_method.py" in semisup_command("list", "methods", "--plugin", path).stdout
    schema = semisup_command("schema", "--plugin", path).stdout
    assert '"const": "mine"' in schema


def test_a_misspelt_name_is_suggested(write: Write) -> None:
    semisup_command("list", "recipes", "--plugin", write())
    with pytest.raises(RecipeError, match="Did you mean 'mine'"):
        catalog.find(catalog.METHODS, "method", "mime")


def test_the_environment_names_plugins_too(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [write(), write(MINE.replace("mine", "second"), "second_method.py")]
    monkeypatch.setenv("SEMISUP_PLUGINS", os.pathsep.join(map(str, both)))
    assert semisup_command("list", "recipes").exit_code == 0
    assert {"mine", "second"} <= catalog.METHODS.keys()


def test_a_module_by_its_name(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(MINE, "my_package/methods.py")
    write("", "my_package/__init__.py")
    monkeypatch.syspath_prepend(write().parent)
    assert semisup_command("list", "recipes", "--plugin", "my_package.methods").exit_code == 0
    assert catalog.OUTSIDE["method", "mine"].plugin == "my_package.methods"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\nraise ValueError('no\\nuse')\n", "ValueError: no use (PATH, line 3)"),
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all' (PATH, line 1)"),
        ("def f(:\n", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("x = 1\n", "registers nothing. Call semisup.register(name, cls) in it."),
        (MINE.replace('"mine"', '"supervised"'), "is called 'supervised' already"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(text: str, message: str, write: Write) -> None:
    path = write(text)
    line = said("list", "recipes", "--plugin", path)
    assert f"plug-in {path}" in line
    assert message.replace("PATH", str(path)) in line


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py", "is no .py file. Check the path"),
        ("no_such_module_here", "there is no such module. Install it, or name its file"),
        ("my-method.py", "'my-method' is no name of a module. Rename the file"),
        ("json.py", "a module 'json' is there already"),
    ],
)
def test_a_name_that_cannot_be_imported_is_one_line(
    name: str, message: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write().parent)
    if name in ("my-method.py", "json.py"):
        write(MINE, name)
    assert message in said("list", "recipes", "--plugin", name)


def test_workers_find_a_file_s_classes_without_it_being_imported(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As spawned processes do: they are handed `sys.path`, and nothing else."""
    path = write()
    semisup_command("list", "recipes", "--plugin", path)
    first = catalog.METHODS["mine"]
    pickled = pickle.dumps(first)
    catalog.METHODS.pop("mine")
    catalog.OUTSIDE.clear()
    monkeypatch.delitem(sys.modules, "my_method")
    found = PathFinder.find_spec("my_method", sys.path)  # and by no finder of this process
    assert found is not None
    assert found.origin == str(path)
    again = pickle.loads(pickled)
    assert f"{again.__module__}.{again.__name__}" == "my_method.Mine"
    assert again is not first


def test_a_recipe_imports_nothing(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write("raise SystemExit('imported')").parent)
    recipe = write(
        '[method]\nname = "my_method"\n[model]\nname="unet"\n[data]\nname="scenes"\n', "r.toml"
    )
    assert "no method is called 'my_method'" in said("show", recipe)
    assert "my_method" not in sys.modules


def install(folder: Path, name: str, entries: str) -> None:
    """A distribution, as pip leaves it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[semisup]\n{entries}\n")


@pytest.fixture
def installed(write: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two distributions: one with a method, one that is broken in two ways."""
    text = (
        "from semisup.methods.supervised import Supervised\n\nclass Mine(Supervised):\n    pass\n"
    )
    folder = write(text, "my_installed.py").parent
    write("import nowhere_at_all\n", "my_broken.py")
    install(folder, "good-plugin", "mine = my_installed:Mine")
    install(folder, "bad-plugin", "broken = my_broken:Method\nno_kind = my_installed:__doc__")
    monkeypatch.syspath_prepend(folder)
    return folder


def test_entry_points_are_found_at_the_first_use_of_a_name(installed: Path) -> None:
    assert "mine" not in catalog.METHODS
    assert catalog.find(catalog.METHODS, "method", "mine").__name__ == "Mine"
    assert catalog.OUTSIDE["method", "mine"].plugin == "my_installed"
    with pytest.raises(RecipeError, match=r"plug-in 'broken' of distribution bad-plugin 1\.0"):
        catalog.find(catalog.METHODS, "method", "broken")


def test_a_broken_entry_point_is_one_line_and_the_others_work(installed: Path) -> None:
    done = semisup_command("list", "methods", "--json")
    assert done.exit_code == 0
    assert "mine" in [row["name"] for row in json.loads(done.stdout)]
    first, second = done.stderr.splitlines()
    assert first == (
        "semisup: plug-in 'broken' of distribution bad-plugin 1.0 (my_broken:Method): cannot be "
        f"imported: ModuleNotFoundError: No module named 'nowhere_at_all' ({installed}"
        "/my_broken.py, line 1). Mend it, or leave it out."
    )
    assert "'no_kind' of distribution bad-plugin 1.0 (my_installed:__doc__)" in second
    assert "is neither a Method" in second


def test_help_and_import_load_no_entry_point(installed: Path) -> None:
    """What a new process imports is executed anew."""
    for module in (semisup, plugins, catalog):
        spec = importlib.util.find_spec(module.__name__)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert semisup_command("run", "--help").exit_code == 0
    assert "my_installed" not in sys.modules
    catalog.find(catalog.METHODS, "method", "mine")
    assert "my_installed" in sys.modules


def test_the_example_files_register_what_they_define() -> None:
    catalog.load_plugins(sorted(map(str, EXAMPLES.glob("*.py"))))
    assert {name for _, name in catalog.OUTSIDE} == {path.stem for path in EXAMPLES.glob("*.py")}
