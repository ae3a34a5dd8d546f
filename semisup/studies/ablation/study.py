"""Study files: a base recipe, axes over its keys, and seeds, as TOML.

    base = "voc_small/supervised_lraspp_all"
    seeds = 10
    exclude = [{ arm = "fixmatch", "data.split" = "all" }]

    [set]
    "train.steps" = 400

    [axes]
    "data.split" = ["1/64", "1/16", "all"]

    [axes.arm.supervised]

    [axes.arm.fixmatch]
    recipe = "voc_small/fixmatch_lraspp_1-32"

An axis is a dotted key with a list of values, or a table of named groups of keys, of which one may
state the recipe that its cells start from. In a value of [set] or of a group the name of an axis in
braces, such as "{data.split}", stands for the cell's value of that axis.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.errors import RecipeError, suggest
from semisup.recipe.load import STUDIES, TABLES, recipe_folder
from semisup.recipe.toml import flatten, parse_value, read_tables
from semisup.studies.ablation.budget import BUDGET, Budget, read_budget
from semisup.system.files import is_file

KEYS = ("base", "seeds", "set", "axes", "exclude", "budget")
"""What a study file may state."""

MOST_SEEDS = 1000

_BRACES = re.compile(r"\{([^{}]*)\}")
"""An axis whose value stands there."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/-]*")


@dataclass(frozen=True)
class Value:
    """One place on an axis.

    Attributes:
        name: what it is called, such as "1/64" or "fixmatch".
        keys: dotted key -> value, all that it changes.
        recipe: what its cells start from; empty: the base of the study.
    """

    name: str
    keys: Mapping[str, Any]
    recipe: str = ""


@dataclass(frozen=True)
class Axis:
    """What a study varies.

    Attributes:
        name: a dotted key, or what its groups have in common, such as "arm".
        values: in the order of the file.
        grouped: whether its values are named groups of keys.
    """

    name: str
    values: tuple[Value, ...]
    grouped: bool = False

    @property
    def keys(self) -> set[str]:
        """All keys that one of its values changes."""
        return {key for value in self.values for key in value.keys}


@dataclass(frozen=True)
class Point:
    """One combination of values: a recipe of the study, whatever the seed.

    Attributes:
        values: axis -> the name of its value.
        base: the recipe that it starts from.
        keys: dotted key -> value of what is changed.
    """

    values: Mapping[str, str]
    base: str
    keys: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Such as "arm=fixmatch, data.split=1/64"."""
        return ", ".join(f"{axis}={name}" for axis, name in self.values.items()) or "the base"


@dataclass(frozen=True)
class Study:
    """A checked study file; its recipes are not loaded yet.

    Attributes:
        name: of the study, the file's.
        path: of the file.
        about: its first line, where that is a comment.
        text: the whole file.
        base: the recipe of cells whose values state none; empty: each states one.
        seeds: of every recipe.
        axes: in the order of the file.
        fixed: dotted key -> value of every cell.
        exclude: combinations that are left out: axis -> names of its values.
        budget: what annotation costs, where an axis states it in seconds.
    """

    name: str
    path: Path
    about: str
    text: str
    base: str
    seeds: tuple[int, ...]
    axes: tuple[Axis, ...]
    fixed: Mapping[str, Any]
    exclude: tuple[Mapping[str, frozenset[str]], ...]
    budget: Budget | None

    @property
    def arms(self) -> Axis | None:
        """The axis whose values are compared: that of recipes, else of groups, else of methods."""
        ways = (
            lambda axis: any(value.recipe for value in axis.values),
            lambda axis: axis.grouped,
            lambda axis: axis.name == "method.name",
        )
        found = (axis for way in ways for axis in self.axes if way(axis))
        return next(found, None)

    def points(self) -> Iterator[Point]:
        """Every combination of values that is not excluded, the last axis fastest."""
        for values in itertools.product(*(axis.values for axis in self.axes)):
            chosen = {axis.name: value.name for axis, value in zip(self.axes, values, strict=True)}
            if any(_lies_in(chosen, left_out) for left_out in self.exclude):
                continue
            base = next((value.recipe for value in values if value.recipe), self.base)
            keys = dict(self.fixed)
            for value in values:
                keys |= value.keys
            yield Point(chosen, base, {key: _filled(value, chosen) for key, value in keys.items()})

    def error(self, text: str) -> RecipeError:
        """An error in this file."""
        return RecipeError(f"study {self.path}: {text}")


def _lies_in(chosen: Mapping[str, str], left_out: Mapping[str, frozenset[str]]) -> bool:
    return all(chosen[axis] in names for axis, names in left_out.items())


def _filled(value: Any, chosen: Mapping[str, str]) -> Any:
    """A value in which an axis in braces has become the cell's value of that axis."""
    if isinstance(value, list):
        return [_filled(one, chosen) for one in value]
    if not isinstance(value, str):
        return value
    return _BRACES.sub(lambda found: chosen[found[1]], value)


def _check_braces(where: str, value: Any, names: Sequence[str]) -> None:
    """Refuse braces that hold no axis."""
    for one in value if isinstance(value, list) else [value]:
        for name in _BRACES.findall(one) if isinstance(one, str) else ():
            if name not in names:
                raise _Wrong(f"{where}: '{{{name}}}' is no axis.{suggest(name, names)}")


def shipped_studies() -> dict[str, Path]:
    """Name -> file of every study that comes with the package."""
    folder = recipe_folder() / STUDIES
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_study(name: str) -> Path:
    """The file of a study: a path that ends in .toml, or the name of a shipped one.

    Raises:
        RecipeError: there is none.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not is_file(path):
            raise RecipeError(f"study {name}: there is no such file. Check the path.")
        return path
    known = shipped_studies()
    short = name.removeprefix(STUDIES)
    if short not in known:
        hint = suggest(short, known)
        raise RecipeError(f"no study is called {name!r}.{hint} A file must end in .toml.")
    return known[short]


def read_study(name: str) -> Study:
    """Read and check a study file.

    Args:
        name: of a shipped study, or the path of a .toml file.

    Raises:
        RecipeError: it cannot be used; names the file and the key.
    """
    path = find_study(name)
    tables = read_tables(path, "study")
    text = path.read_text(encoding="utf-8-sig")
    try:
        return _study(path, text, tables)
    except RecursionError:
        raise RecipeError(f"study {path}: is nested too deeply. Write it flat.") from None
    except _Wrong as error:
        raise RecipeError(f"study {path}: {error}") from None


class _Wrong(Exception):  # noqa: N818 - becomes a RecipeError that names the file
    """What is wrong in a study file."""


def _study(path: Path, text: str, tables: Mapping[str, Any]) -> Study:
    for key in tables:
        if key not in KEYS:
            raise _Wrong(f"there is no key '{key}'.{suggest(key, KEYS)}")
    base = tables.get("base", "")
    if not isinstance(base, str):
        raise _Wrong(f"'base' = {base!r} is no name of a recipe.")
    axes = _axes(path, _table(tables, "axes"))
    fixed = flatten(_table(tables, "set"))
    for key, value in fixed.items():
        _check_key(f"set.{key}", key, value)
    _check_once(axes, fixed)
    names = [axis.name for axis in axes]
    for key, value in fixed.items():
        _check_braces(f"'set.{key}'", value, names)
    for axis in axes:
        for one in axis.values:
            for key, value in one.keys.items():
                _check_braces(f"axes.{axis.name}, '{key}'", value, names)
    if not base and not any(all(value.recipe for value in axis.values) for axis in axes):
        raise _Wrong("'base' is missing: the recipe that its cells start from.")
    try:
        budget = read_budget(_table(tables, "budget"))
    except ValueError as error:
        raise _Wrong(str(error)) from None
    stated = {key for axis in axes for key in axis.keys} | fixed.keys()
    if budget is None and any(key.startswith(BUDGET) for key in stated):
        raise _Wrong("'budget' is missing: a budget in seconds needs budget.images, see the docs.")
    first = text.lstrip("\ufeff").split("\n", 1)[0]
    study = Study(
        name=path.stem,
        path=path,
        about=first.lstrip("# ").strip() if first.startswith("#") else "",
        text=text,
        base=_beside(path, base),
        seeds=_seeds(tables.get("seeds", 1)),
        axes=axes,
        fixed=fixed,
        exclude=_excluded(tables.get("exclude", []), axes),
        budget=budget,
    )
    if next(study.points(), None) is None:
        raise _Wrong("'exclude' leaves no cell. Take an entry out.")
    return study


def _table(tables: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = tables.get(key, {})
    if not isinstance(table, Mapping):
        raise _Wrong(f"[{key}] must be a table, not {table!r}.")
    return table


def _beside(path: Path, recipe: str) -> str:
    """A recipe's file relative to that of the study."""
    return str(path.parent / recipe) if recipe.endswith(".toml") else recipe


def _seeds(stated: Any) -> tuple[int, ...]:
    if _is_whole(stated):
        if not 1 <= stated <= MOST_SEEDS:
            raise _Wrong(f"'seeds' = {stated}: is a number from 1 to {MOST_SEEDS}, or a list.")
        return tuple(range(stated))
    if not isinstance(stated, list) or not stated:
        raise _Wrong(f"'seeds' = {stated!r}: is how many, such as 10, or a list such as [0, 3, 5].")
    for seed in stated:
        if not _is_whole(seed) or not 0 <= seed < 2**63:
            raise _Wrong(f"'seeds': {seed!r} is no seed.")
        if stated.count(seed) > 1:
            raise _Wrong(f"'seeds' has {seed} twice. State each once.")
    return tuple(stated)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _axes(path: Path, stated: Mapping[str, Any]) -> tuple[Axis, ...]:
    axes = []
    for name, content in stated.items():
        if name in (*TABLES, "budget") and isinstance(content, Mapping):
            # [axes] data.split = [...], without quotes.
            axes += [_axis_of_key(f"{name}.{key}", v) for key, v in flatten(content).items()]
        elif isinstance(content, Mapping):
            axes.append(_axis_of_groups(path, name, content))
        else:
            axes.append(_axis_of_key(name, content))
    return tuple(axes)


def _axis_of_key(key: str, values: Any) -> Axis:
    if "." not in key:
        likely = [f"{table}.{key}" for table in TABLES if key in _fields(table)]
        hint = f" Did you mean '{likely[0]}'?" if likely else ""
        raise _Wrong(
            f"'axes.{key}' is neither a dotted key, such as data.split, nor a table of named "
            f"groups.{hint}"
        )
    if not isinstance(values, list) or not values:
        raise _Wrong(f"'axes.{key}' = {values!r}: is a list of values, such as [1, 2].")
    for value in values:
        _check_key(f"axes.{key}", key, value)
    names = [name_of(value) for value in values]
    for name in names:
        if names.count(name) > 1:
            raise _Wrong(f"'axes.{key}' has {name} twice. State each value once.")
    pairs = zip(names, values, strict=True)
    return Axis(key, tuple(Value(name, {key: value}) for name, value in pairs))


def _fields(table: str) -> set[str]:
    from semisup import settings

    schema = getattr(settings, f"{table.capitalize()}Settings")
    return {*schema.model_fields}


def _axis_of_groups(path: Path, name: str, groups: Mapping[str, Any]) -> Axis:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise _Wrong(f"'axes.{name}': a table of groups has a plain name, such as axes.arm.")
    if not groups:
        raise _Wrong(f"'axes.{name}' has no group. Add one, such as [axes.{name}.fixmatch].")
    values = []
    for key, content in groups.items():
        where = f"axes.{name}.{key}"
        if not _NAME.fullmatch(key):
            raise _Wrong(f"'{where}': a group is named by letters, digits and _ . + / - alone.")
        if not isinstance(content, Mapping):
            raise _Wrong(
                f"'{where}' = {content!r} is no table. An axis is a list of values of a dotted "
                "key, or named groups of keys."
            )
        recipe = content.get("recipe", "")
        if not isinstance(recipe, str):
            raise _Wrong(f"'{where}.recipe' = {recipe!r} is no name of a recipe.")
        keys = flatten({k: v for k, v in content.items() if k != "recipe"})
        for dotted, value in keys.items():
            _check_key(f"{where}.{dotted}", dotted, value)
        values.append(Value(key, keys, _beside(path, recipe)))
    return Axis(name, tuple(values), grouped=True)


def _check_key(where: str, key: str, value: Any) -> None:
    """Refuse what no recipe has, or a study says otherwise."""
    table, dot, rest = key.partition(".")
    if table not in (*TABLES, "budget") or not dot or not rest:
        raise _Wrong(
            f"'{where}': '{key}' is no key of a recipe, such as data.split."
            f"{suggest(table, [*TABLES, 'budget'])}"
        )
    if key == "train.seed":
        raise _Wrong(f"'{where}': seeds are stated by the key 'seeds'.")
    if table == "baseline":
        raise _Wrong(f"'{where}': the cells of a study have no baselines; make it an arm.")
    if isinstance(value, Mapping):
        raise _Wrong(f"'{where}' = {value!r} is a table, no value.")
    try:
        json.dumps(value)
    except TypeError:
        raise _Wrong(f"'{where}' = {value}: a date is no value of a recipe.") from None


def _check_once(axes: Sequence[Axis], fixed: Mapping[str, Any]) -> None:
    """Refuse what is stated twice, since one of the two would silently win."""
    seen = dict.fromkeys(fixed, "[set]")
    names: set[str] = set()
    with_recipe = ""
    for axis in axes:
        if axis.name in names:
            raise _Wrong(f"'axes.{axis.name}' is stated twice.")
        names.add(axis.name)
        for key in sorted(axis.keys):
            if key in seen:
                raise _Wrong(f"'{key}' is stated by {seen[key]} and by axes.{axis.name}.")
            seen[key] = f"axes.{axis.name}"
        if any(value.recipe for value in axis.values):
            if with_recipe:
                raise _Wrong(f"axes.{with_recipe} and axes.{axis.name} both state recipes.")
            with_recipe = axis.name


def _excluded(stated: Any, axes: Sequence[Axis]) -> tuple[Mapping[str, frozenset[str]], ...]:
    if not isinstance(stated, list):
        raise _Wrong(f"'exclude' = {stated!r} is no list of tables.")
    known = {axis.name: axis for axis in axes}
    found = []
    for number, entry in enumerate(stated, 1):
        if not isinstance(entry, Mapping) or not entry:
            raise _Wrong(f"'exclude' {number} = {entry!r} is no table such as {{arm = 'name'}}.")
        left_out = {}
        for key, value in flatten(entry).items():
            if key not in known:
                raise _Wrong(f"'exclude' {number}: no axis is called '{key}'.{suggest(key, known)}")
            values = [name_of(v) for v in (value if _are_several(value, known[key]) else [value])]
            names = [one.name for one in known[key].values]
            for name in values:
                if name not in names:
                    raise _Wrong(
                        f"'exclude' {number}: '{key}' has no value {name}.{suggest(name, names)}"
                    )
            left_out[key] = frozenset(values)
        found.append(left_out)
    return tuple(found)


def _are_several(value: Any, axis: Axis) -> bool:
    """Whether a list is of values, and not one value that is a list itself."""
    return isinstance(value, list) and name_of(value) not in {one.name for one in axis.values}


def name_of(value: Any) -> str:
    """A value as it is told."""
    if isinstance(value, str) and value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def change_of(key: str, value: Any) -> str:
    """`key=value` as --set reads it."""
    if isinstance(value, str) and value == value.strip() and parse_value(value, key) == value:
        return f"{key}={value}"
    return f"{key}={json.dumps(value, ensure_ascii=False)}"
