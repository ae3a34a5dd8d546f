"""Recipes: what to run, as data.

A recipe is TOML: names out of the catalogue, and options that are checked against the parameters
they bind to. Defaults live in code; a recipe states what differs, `extends` one parent at most,
and `--set` changes single keys. Every value knows where it came from.
"""

from __future__ import annotations

import difflib
import functools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from semisup.catalog import DATASETS, METHODS, MODELS, Table, check_name, load_installed
from semisup.errors import RecipeError, suggest
from semisup.options import describe_errors, names_in, plain_values
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import flatten, parse_change, read_toml, shown, unflatten
from semisup.settings import (
    BaselineSettings,
    DataSettings,
    EvalSettings,
    InitSettings,
    MethodSettings,
    ModelSettings,
    OptimSettings,
    TrainSettings,
)
from semisup.system.files import is_file
from semisup.system.words import NAMED

S = TypeVar("S", bound=BaseModel)

DEEPEST = 20
"""Recipes over one another."""

STUDIES = "studies/"
"""Where studies lie among the shipped recipes, which are files of another kind."""

TABLES = ("init", "baseline", "data", "model", "method", "optim", "train", "eval")


_CATALOGUES: dict[str, Table[Any]] = {
    "data": DATASETS,
    "model": MODELS,
    "method": METHODS,
}
"""Tables that name a class and hold its options."""


_CHANGED = "--set"
"""Where a value came from that no file states."""

_FROM_OUTSIDE = (_CHANGED, "--split")
"""Where values came from that are for the baseline of a recipe too."""

DEFAULT = "default"
"""Where a value came from that nobody has stated."""

_IGNORED = "data.ignore_classes"
"""A key of every recipe whose value is of one data set alone."""

Stated = dict[str, tuple[Any, str]]
"""Dotted key -> its value and where that came from."""


def _first_stage(recipe: Recipe, seen: tuple[str, ...]) -> Recipe | None:
    """The recipe that `[init]` names, with what is handed on to it."""
    init = recipe.init
    _check_init(recipe)
    if not init.recipe:
        return None
    seen = (*seen, recipe.name)
    if len(seen) > DEEPEST:
        circle = " from ".join(seen[:4])
        raise RecipeError(f"init.from goes round in a circle: {circle} ... Name a first stage.")
    seed = recipe.train.seed if init.seed == "same" else init.seed
    handed = {"train.seed": seed, **_places_of(recipe)}
    ignored = {_IGNORED: list(recipe.data.ignore_classes)}
    source = f"recipe {recipe.name}"
    try:
        first = load_recipe(init.recipe, init.changes, overrides=_state(handed, source), seen=seen)
        others = dict(handed)
        if not init.weights and first.model.name != recipe.model.name:
            others.pop("model.weights", None)  # those of another network
        if recipe.data.ignore_classes and first.data.name == recipe.data.name:
            others |= ignored
        if others == handed:
            return first
        overrides = _state(others, source)
        return load_recipe(init.recipe, init.changes, overrides=overrides, seen=seen)
    except RecipeError as error:
        if len(seen) > 1:  # said once, by the recipe that the user named
            raise
        raise RecipeError(f"recipe {recipe.name}: its first stage ([init]): {error}") from None


def _check_init(recipe: Recipe) -> None:
    """Refuse what [init] says of a first stage that is not there, or that nothing is taken from."""
    taken = recipe.pseudo_masks
    if taken and not recipe.init.recipe:
        raise RecipeError(
            f"recipe {recipe.name}: {taken[0]} = 'init' takes the pseudo-masks of a first stage, "
            "and there is none. Name its recipe in init.from."
        )
    if recipe.init.recipe and not recipe.init.weights and not taken:
        raise RecipeError(
            f"recipe {recipe.name}: init.weights = false leaves nothing of the first stage. Set "
            "data.masks or data.weak_masks to 'init', for its pseudo-masks, or take [init] out."
        )


def _places_of(recipe: Recipe) -> dict[str, Any]:
    """Where things lie, which is handed on to the recipes that go before this one."""
    return {
        "data.root": recipe.data.root,
        "data.workers": recipe.data.workers,
        "data.cache": recipe.data.cache,
        **({"data.tags": recipe.data.tags} if recipe.data.tags else {}),
        **({"model.weights": recipe.model.weights} if recipe.model.weights else {}),
    }


def load_baseline(recipe: Recipe) -> Recipe | None:
    """The recipe that `recipe` is compared with, with its seeds, data and weights.

    What was changed beside its files (`--set`, `--split`) is changed there too, but for the method.

    Raises:
        RecipeError: it cannot be used, or is scored in another way.
    """
    if not recipe.baseline.recipe:
        return None
    given = flatten(recipe.resolved())
    changed = {k: v for k, v in given.items() if _is_changed_for_both(k, recipe.sources[k])}
    seeds = {key: given[key] for key in ("train.seed", "data.split_seed")}
    handed = changed | seeds | _places_of(recipe)
    source = f"recipe {recipe.name}"
    try:
        baseline = load_recipe(recipe.baseline.recipe, overrides=_state(handed, source))
    except RecipeError as error:
        raise RecipeError(
            f"recipe {recipe.name}: its baseline ([baseline]): {error} Without one: "
            'baseline.recipe = "".'
        ) from None
    baseline = replace(baseline, baseline=BaselineSettings())
    if baseline.digest() == recipe.digest():
        raise RecipeError(
            f"recipe {recipe.name}: its baseline '{baseline.name}' trains the very same. Name "
            'another one, or none: baseline.recipe = "".'
        )
    _check_scored_alike(recipe, baseline)
    return baseline


def _is_changed_for_both(key: str, source: str) -> bool:
    """Whether a key was changed from outside, and is of other methods too."""
    of_labels = key in ("data.weak_masks", "train.confidence_weights")
    of_method = of_labels or key.startswith(("method.", "baseline.", "init."))
    return source in _FROM_OUTSIDE and not of_method and not _is_other_player(key)


_OF_DATA = ("data.name", "data.subset", "data.ignore_classes", "train.precision")
_NOT_OF_SCORES = ("eval.every", "eval.watch", "eval.pictures", "eval.boundary")


def _check_scored_alike(recipe: Recipe, baseline: Recipe) -> None:
    of_data = (*_OF_DATA, *(f"data.{name}" for name in recipe.data_options))
    own, other = flatten(recipe.resolved()), flatten(baseline.resolved())
    for key in ("data.name", *sorted(own.keys() | other.keys())):
        counts = key.startswith("eval.") or _is_of(key, of_data)
        if counts and key not in _NOT_OF_SCORES and own.get(key) != other.get(key):
            raise RecipeError(
                f"recipe {recipe.name}: its baseline '{baseline.name}' has another {key}: "
                f"{other.get(key)!r}, not {own.get(key)!r}. Their scores would not be "
                "comparable; give both the same."
            )


def recipe_folder() -> Path:
    """Where the shipped recipes lie: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "_recipes"
    return shipped if shipped.is_dir() else package.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every recipe that comes with the package; studies are none."""
    folder = recipe_folder()
    found = {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.toml")
    }
    return {name: found[name] for name in sorted(found) if not name.startswith(STUDIES)}


@functools.cache
def _first_listing() -> dict[str, Path]:
    """The shipped recipes, listed once: to list them takes longer than to read one."""
    return shipped_recipes()


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path that ends in .toml, or the name of a shipped one.

    Raises:
        RecipeError: there is none.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not is_file(path):
            raise RecipeError(f"recipe {name}: there is no such file. Check the path.")
        return path
    known = _first_listing()
    if name not in known:
        known = shipped_recipes()  # one may have been added since
    if name.startswith(STUDIES):
        raise RecipeError(f"{name!r} is a study, no recipe: 'semisup ablate' runs studies.")
    if name not in known:
        raise RecipeError(f"no recipe is called {name!r}.{_alike(name, known)}")
    return known[name]


def _alike(name: str, known: Mapping[str, Path]) -> str:
    """The end of an error line: recipes that begin as `name`, or the nearest one."""
    word = name.strip().strip("/")
    leaves = [recipe for recipe in known if recipe.rpartition("/")[2].startswith(word)]
    begin = [recipe for recipe in known if recipe.startswith(word)]
    found = (begin or leaves) if word else []
    near = found or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if len(found) > 1:
        more = len(found) - NAMED
        rest = f" and {more} more: semisup list recipes {shlex.quote(word)}" if more > 0 else ""
        return f" Those that begin so: {', '.join(found[:NAMED])}{rest}."
    if near:
        return f" Did you mean '{near[0]}'? A file must end in .toml."
    return " 'semisup list recipes' names all; a file must end in .toml."


def load_recipe(
    name: str,
    changes: Sequence[str] = (),
    *,
    overrides: Mapping[str, tuple[Any, str]] | None = None,
    seen: tuple[str, ...] = (),
) -> Recipe:
    """Read, extend, change and check a recipe.

    Args:
        name: a shipped recipe or the path of a .toml file.
        changes: `key=value` as given to --set; later ones win.
        overrides: dotted key -> (value, where it came from), applied last (such as --seed).
        seen: the recipes that start from this one, the last stage first.

    Raises:
        RecipeError: anything that cannot be used; names the file and the key.
    """
    load_installed()  # before options are told apart by their class
    path = find_recipe(name)
    changed: dict[str, Any] = {}
    for change in changes:
        key, value = parse_change(change)
        changed |= flatten({key: value})
    stated = overlay(_read_with_parents(path, seen=()), _state(changed, _CHANGED))
    stated = overlay(stated, overrides or {})
    label = path.with_suffix("").name if name.endswith(".toml") else name
    tables = unflatten({key: value for key, (value, _) in stated.items()}, label)
    return build_recipe(label, tables, {key: source for key, (_, source) in stated.items()}, seen)


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The same recipe with another `train.seed`, which its first stage may share.

    Raises:
        RecipeError: the seed is none.
    """
    tables = recipe.resolved()
    tables["train"]["seed"] = seed
    return build_recipe(recipe.name, tables, {**recipe.sources, "train.seed": "seed"})


def overlay(
    inherited: Mapping[str, tuple[Any, str]], layer: Mapping[str, tuple[Any, str]]
) -> Stated:
    """One layer of a recipe (a file, or all of --set) over what it inherits.

    The layer's keys win. Where it names another data set, model or method, the options that only
    the old class has are not inherited, and with another method no optimiser but the segmenter's,
    which every method has: the other players were the old method's. Nor is, with another data set,
    a subset that was only watched.
    """
    kept = dict(inherited)
    for table, catalogue in _CATALOGUES.items():
        key = f"{table}.name"
        if key not in layer or key not in inherited or layer[key][0] == inherited[key][0]:
            continue
        old, new = (_options_of(catalogue, stated[key][0]) for stated in (inherited, layer))
        gone = tuple(f"{table}.{option}" for option in old - new)
        if table == "data":
            gone = (*gone, _IGNORED, *_watching({**inherited, **layer}))
        kept = {name: value for name, value in kept.items() if not _is_of(name, gone)}
        if table == "method":
            kept = {name: value for name, value in kept.items() if not _is_other_player(name)}
    return kept | dict(layer)


def _options_of(catalogue: Table[Any], name: Any) -> set[str]:
    """Options of a class; none of a name that is not there, which is reported later."""
    return names_in(catalogue.schema(name)) if name in catalogue else set()


def _watching(stated: Mapping[str, tuple[Any, str]]) -> tuple[str, ...]:
    """Keys that say which subset of the data set is only watched, and how often."""
    watch, held_out = (stated.get(f"eval.{key}", (None, ""))[0] for key in ("watch", "hold_out"))
    if not watch:
        return ()
    return ("eval.watch",) if held_out else ("eval.watch", "eval.every")


def _is_of(key: str, options: tuple[str, ...]) -> bool:
    """Whether a key is one of `options`, or lies in one that is a table."""
    return any(key == option or key.startswith(f"{option}.") for option in options)


def _is_other_player(key: str) -> bool:
    return key.startswith("optim.") and key.split(".")[1] != "segmenter"


def stated_in(name: str) -> dict[str, Any]:
    """Dotted key -> value of all that a recipe and its parents state; nothing is checked.

    Args:
        name: as in `load_recipe`.

    Raises:
        RecipeError: a file cannot be read.
    """
    return {key: value for key, (value, _) in _read_with_parents(find_recipe(name), ()).items()}


def _state(values: Mapping[str, Any], source: str) -> Stated:
    return {key: (value, source) for key, value in values.items()}


def build_recipe(
    name: str,
    tables: Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
    seen: tuple[str, ...] = (),
) -> Recipe:
    """Check nested tables and fill in the defaults; load the recipe that it starts from."""
    for table, content in tables.items():
        if table not in TABLES:
            raise RecipeError(
                f"recipe {name}: there is no table [{table}].{suggest(table, TABLES)}"
            )
        if not isinstance(content, Mapping):
            raise RecipeError(f"recipe {name}: [{table}] must be a table, not {content!r}.")
    data, data_options = _split_options(name, "data", tables, DataSettings, DATASETS, "data set")
    if "split" not in tables["data"]:
        split = DATASETS.value(data.name, "default_split")
        data = data.model_copy(update={"split": split})
    model, model_options = _split_options(name, "model", tables, ModelSettings, MODELS, "model")
    method, method_options = _split_options(
        name, "method", tables, MethodSettings, METHODS, "method"
    )
    optim = {
        player: _check(name, f"optim.{player}", table, OptimSettings)
        for player, table in tables.get("optim", {}).items()
    }
    recipe = Recipe(
        name=name,
        init=_check(name, "init", tables.get("init", {}), InitSettings),
        baseline=_check(name, "baseline", tables.get("baseline", {}), BaselineSettings),
        data=data,
        model=model,
        method=method,
        optim=optim,
        train=_check(name, "train", tables.get("train", {}), TrainSettings),
        eval=_check(name, "eval", tables.get("eval", {}), EvalSettings),
        data_options=data_options,
        model_options=model_options,
        method_options=method_options,
        sources={},
    )
    given = sources or {}
    filled = {key: given.get(key, DEFAULT) for key in flatten(recipe.resolved())}
    return replace(recipe, sources=filled, first=_first_stage(recipe, seen))


def _check(recipe: str, table: str, content: Any, schema: type[S], known: Sequence[str] = ()) -> S:
    if not isinstance(content, Mapping):
        raise RecipeError(f"recipe {recipe}: [{table}] must be a table, not {content!r}.")
    try:
        return schema.model_validate(dict(content))
    except ValidationError as error:
        what = describe_errors(error, schema, f"{table}.", known)
        raise RecipeError(f"recipe {recipe}: {what}") from None


def _split_options(
    recipe: str,
    table: str,
    tables: Mapping[str, Any],
    schema: type[S],
    catalogue: Table[Any],
    kind: str,
) -> tuple[S, dict[str, Any]]:
    """One table that holds our own keys and the options of the class that it names."""
    content = tables.get(table, {})
    if not isinstance(content, Mapping) or "name" not in content:
        raise RecipeError(f"recipe {recipe}: '{table}.name' is missing.{suggest('', catalogue)}")
    try:
        chosen = shown(str(content["name"]))
        check_name(catalogue, kind, chosen)
    except RecipeError as error:
        raise RecipeError(f"recipe {recipe}: {error}") from None
    options = catalogue.schema(chosen)
    ours = {k: v for k, v in content.items() if k in schema.model_fields}
    theirs = {k: v for k, v in content.items() if k not in schema.model_fields}
    settings = _check(recipe, table, ours, schema)
    checked = _check(recipe, table, theirs, options, known=list(schema.model_fields))
    # What a table of ours states is not for the class alone to decide: model.in_channels.
    own = {k: v for k, v in plain_values(checked).items() if k not in schema.model_fields}
    return settings, own


def _read_with_parents(path: Path, seen: tuple[Path, ...]) -> Stated:
    """What a recipe states over what its parents do."""
    path = path.resolve()
    if path in seen:
        circle = " -> ".join(p.name for p in (*seen, path))
        raise RecipeError(f"recipe {path}: 'extends' goes round in a circle: {circle}.")
    if len(seen) == DEEPEST:
        raise RecipeError(f"recipe {path}: 'extends' is {DEEPEST} recipes deep. Copy what it says.")
    own = read_toml(path)
    parent = own.pop("extends", None)
    for key in ("init.from", "baseline.recipe"):
        named = own.get(key)
        if isinstance(named, str) and named.endswith(".toml"):
            own[key] = str(path.parent / named)
    stated = _state(own, path.name)
    if parent is None:
        return stated
    if not isinstance(parent, str):
        raise RecipeError(f"recipe {path}: 'extends' must be one name, not {parent!r}.")
    try:
        found = path.parent / parent if parent.endswith(".toml") else find_recipe(parent)
    except RecipeError as error:
        raise RecipeError(f"recipe {path}: {error}") from None
    if not is_file(found):
        raise RecipeError(f"recipe {path}: extends {shown(parent)}, which is not there.")
    return overlay(_read_with_parents(found, (*seen, path)), stated)
