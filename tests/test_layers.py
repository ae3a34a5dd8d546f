"""Imports point down: read from the source of every file, function-level imports included."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import semisup

ROOT = Path(semisup.__file__).resolve().parent

ROWS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("api",),
    ("studies", "exporting"),
    ("runs", "contracts", "own_data"),
    ("training", "recipe"),
    ("monitoring", "evaluation", "catalog"),
    ("methods", "pictures"),
    ("losses", "data", "settings", "facts"),
    ("models", "ops", "metrics", "options", "plugins"),
    ("system", "types"),
    ("errors", "version"),
)
"""Top to bottom. A part imports parts of rows below its own, never of its own row or above it."""

FORBIDDEN = {"data": {"models"}, "models": {"ops", "types"}, "metrics": {"models", "ops"}}
"""Stricter than the rows: what a part must not know although it lies below."""

MOST_FILES = 12
"""In one room, so that newcomers find their way."""

SHELVES = {"cli", "methods", "models", "data/sets"}
"""Rooms whose files are all of one shape and found by their names."""

THIRD_PARTY = {
    "tensorboard": {"monitoring.hparams", "monitoring.tracker"},
    "torch.utils.tensorboard": {"monitoring.hparams", "monitoring.tracker"},
    "click": {"cli"},
    "matplotlib": {"pictures.drawing", "pictures.figures", "studies"},
    "onnx": {"exporting"},
    "onnxruntime": {"exporting"},
    "timm": {"models.backbones.timm"},
    "jinja2": {"studies"},
    "mlflow": {"studies.output.mlflow"},
    "markupsafe": {"studies"},
    "submitit": {"studies"},
}
"""Package -> the only parts or modules that may import it."""

HEAVY = ("torch", "torchvision", "numpy", "pydantic", "scipy", "matplotlib", "tensorboard", "PIL")
"""What `semisup --help` must not wait for."""


@dataclass(frozen=True)
class Import:
    """One import statement: `module` (dotted, below semisup) imports `target`, at `line`."""

    module: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"semisup.{self.module}, line {self.line}: imports {self.target}"


def module_name(path: Path) -> str:
    """semisup/training/loop.py -> training.loop; a package's __init__ is the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """As `ast.walk`, but into no expression: those are most of a file, and import nothing."""
    found: deque[ast.AST] = deque([tree])
    while found:
        node = found.popleft()
        yield node
        for part_of in ("body", "handlers", "cases", "orelse", "finalbody"):
            found.extend(getattr(node, part_of, ()))


def imports_of(module: str, source: str) -> Iterator[Import]:
    """Every import, resolved to the module that it loads: `from a import b` is a.b if that is one.

    The imports of `TYPE_CHECKING` blocks count: who writes a type down knows it.
    """
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"semisup.{module}, line {node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                known = full.removeprefix("semisup.") in MODULES
                yield Import(module, full if known else node.module, node.lineno)


IMPORTS = [
    found
    for module, path in MODULES.items()
    for found in imports_of(module, path.read_text(encoding="utf-8"))
]
# The package itself ("" here) is the front door: it forwards names of the catalogue lazily, and no
# file of the package imports it (a test below).
OWN = [
    Import(found.module, found.target.removeprefix("semisup."), found.line)
    for found in IMPORTS
    if found.target.startswith("semisup.") and found.module
]


def part(module: str) -> str:
    return module.partition(".")[0]


def row(module: str) -> int:
    return next(number for number, names in enumerate(ROWS) if part(module) in names)


def test_the_walk_sees_imports_of_every_kind() -> None:
    source = (
        "import semisup.types\n"
        "from semisup import catalog\n"
        "def late():\n    from semisup.training.loop import train\n"
        "if TYPE_CHECKING:\n    import click as c, torch.utils.tensorboard\n"
    )
    assert [found.target for found in imports_of("data.sets.voc", source)] == [
        "semisup.types",
        "semisup.catalog",
        "semisup.training.loop",
        "click",
        "torch.utils.tensorboard",
    ]
    assert len(OWN) > 100


def test_every_part_has_a_row() -> None:
    known = {name for names in ROWS for name in names}
    assert {part(module) for module in MODULES if module} <= known


def test_no_room_is_crowded() -> None:
    rooms: dict[str, int] = {}
    for path in MODULES.values():
        if path.name != "__init__.py":
            room = path.parent.relative_to(ROOT).as_posix()
            rooms[room] = rooms.get(room, 0) + 1
    crowded = {room: count for room, count in rooms.items() if count > MOST_FILES}
    assert crowded.keys() <= SHELVES, crowded


def test_imports_point_down() -> None:
    wrong = [
        found
        for found in OWN
        if part(found.target) != part(found.module)
        and (
            row(found.target) <= row(found.module)
            or part(found.target) in FORBIDDEN.get(part(found.module), set())
        )
    ]
    assert [str(found) for found in wrong] == []


def test_nobody_goes_through_the_front_door() -> None:
    assert [str(found) for found in IMPORTS if found.target == "semisup"] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in OWN:
        graph[found.module].add(found.target)
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"circle: {' -> '.join((*trail, module))}"
        if module not in done:
            for target in sorted(graph[module]):
                walk(target, (*trail, module))
            done.add(module)

    for module in graph:
        walk(module, ())


@pytest.mark.parametrize("package", THIRD_PARTY)
def test_who_may_import_a_third_party_package(package: str) -> None:
    users = {
        found.module
        for found in IMPORTS
        if found.target == package or found.target.startswith(f"{package}.")
    }
    assert {user for user in users if not {user, part(user)} & THIRD_PARTY[package]} == set()


@pytest.mark.parametrize("room", ["training", "monitoring", "evaluation"])
def test_who_runs_a_method_knows_none_by_name(room: str) -> None:
    known = {found.target for found in OWN if part(found.module) == room}
    assert {name for name in known if part(name) == "methods"} <= {"methods.base"}


def test_a_method_knows_no_other_method_and_no_segmenter() -> None:
    from semisup.catalog import METHODS, MODELS

    segmenters = {cls.__module__.removeprefix("semisup."): cls for cls in MODELS.values()}
    for found in OWN:
        if part(found.module) == "methods":
            if found.target in segmenters:  # no other can train this one
                only = {METHODS[name].__module__ for name in segmenters[found.target].trained_by}
                assert only == {f"semisup.{found.module}"}, str(found)
            assert part(found.target) != "methods" or found.target == "methods.base", str(found)


@pytest.mark.parametrize("module", ["semisup", "semisup.cli.main"])
def test_help_waits_for_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
        timeout=60,
    )
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & set(HEAVY) == set()
