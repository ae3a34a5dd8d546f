"""Write docs/reference/, never out of date: from code, kept results and notebooks.

Recipe keys, catalogue and commands are of the code; the model zoo is of docs/measurements/
(docs/zoo.py), and notebook.md of the notebook (docs/cells.py).
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from cells import NOTEBOOKS, notebook_page
from zoo import zoo_page

from semisup import catalog
from semisup.cli.display.listing import count_parameters
from semisup.cli.main import cli
from semisup.errors import SemisupError
from semisup.options import nested_tables, options_schema
from semisup.recipe.load import shipped_recipes
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
from semisup.system.files import write_text

OUT = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/generate.py: edit the docstrings in the code instead. -->\n\n"
TABLES = {
    "init": InitSettings,
    "baseline": BaselineSettings,
    "data": DataSettings,
    "model": ModelSettings,
    "method": MethodSettings,
    "optim.PLAYER": OptimSettings,
    "train": TrainSettings,
    "eval": EvalSettings,
}
KINDS = {
    "Models": catalog.MODELS,
    "Methods": catalog.METHODS,
    "Data sets": catalog.DATASETS,
}


def type_text(schema: dict[str, Any]) -> str:
    """A type as a reader of TOML thinks of it."""
    if "$ref" in schema:
        return f"table, see [{schema['$ref'].rpartition('/')[2]}](#{anchor(schema['$ref'])})"
    if "anyOf" in schema:
        parts = [type_text(part) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(parts)
    if "const" in schema or "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        items = schema.get("prefixItems") or [schema["items"], {}]
        return f"[{', '.join(type_text(item) if item else '...' for item in items)}]"
    names = {"boolean": "true or false", "number": "number", "integer": "whole number"}
    return names.get(schema["type"], "text") + _bounds(schema)


def anchor(reference: str) -> str:
    """The heading of a nested table on its page, as MkDocs makes an anchor of it."""
    return reference.rpartition("/")[2].lower()


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = [
        f"above {above:g}" if above is not None else "",
        f"from {low:g}" if low is not None else "",
        f"to {high:g}" if high is not None else "",
        f"to below {below:g}" if below is not None else "",
    ]
    return "".join(f" {part}" for part in parts if part)


def table(schema: dict[str, Any], about: dict[str, str]) -> str:
    """Keys, types, defaults and meanings as a Markdown table."""
    required = schema.get("required", [])
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, entry in schema.get("properties", {}).items():
        default = "required" if key in required else f"`{default_text(entry.get('default'))}`"
        text = entry.get("description") or about.get(key, "")
        text = escape(re.sub(r"\s+", " ", text)).replace("|", r"\|")
        lines.append(f"| `{key}` | {type_text(entry)} | {default} | {text} |")
    return "\n".join(lines) + "\n"


def default_text(value: Any) -> str:
    """A default as TOML; what is not set has none."""
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "not set" if value is None else json.dumps(value)


def escape(text: str) -> str:
    """`text` with the angle brackets outside of code kept from being read as HTML."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def sections(cls: type) -> dict[str, dict[str, str]]:
    """The "Args" and "Logs" of a class, those of the classes that it inherits from included."""
    found: dict[str, dict[str, str]] = {}
    for base in reversed(cls.__mro__):
        for head, entries in own_sections(base).items():
            found[head] = found.get(head, {}) | entries
    return found


def own_sections(cls: type) -> dict[str, dict[str, str]]:
    """The `name: text` sections of a class's own docstring."""
    found: dict[str, dict[str, str]] = {}
    entries: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
        if head := re.fullmatch(r"(\w+):", line):
            entries = found.setdefault(head[1], {})
        elif entry := re.match(r"    (\w+): (.*)", line):
            name = entry[1]
            entries[name] = entry[2]
        elif name in entries and line.startswith("        "):
            entries[name] += " " + line.strip()
    return {head: found[head] for head in ("Args", "Attributes", "Logs") if head in found}


def prose(cls: type) -> str:
    """The docstring up to its first section."""
    text = re.split(r"\n(?:Args|Attributes|Logs|Raises):\n", inspect.getdoc(cls) or "")[0]
    return escape(text.strip()) + "\n"


def recipe_page() -> str:
    """Every key of every table of a recipe."""
    parts = [
        "# Recipe keys\n",
        "`extends` stands before all tables; everything else is in one of these. `[data]`, "
        "`[model]` and `[method]` also take the options of what they name: see the "
        "[catalogue](catalogue.md).\n",
    ]
    for name, settings in TABLES.items():
        schema = settings.model_json_schema()
        parts += [f"## `[{name}]`\n", table(schema, {})]
    return "\n".join(parts)


def catalogue_page() -> str:
    """Models, methods, data sets and recipes with their options."""
    parts = ["# Catalogue\n", "What a recipe may name, with the options of each.\n"]
    for kind, entries in KINDS.items():
        parts.append(f"## {kind}\n")
        for name, cls in sorted(entries.items()):
            parts += entry(kind, name, cls)
    parts.append("## Nested tables of options\n")
    nested = {table for cls in catalog.METHODS.values() for table in nested_tables(cls).values()}
    for table_class in sorted(nested, key=lambda cls: cls.__name__):
        schema = options_schema(table_class).model_json_schema()
        about = sections(table_class)["Attributes"]
        parts += [f"### {table_class.__name__}\n", prose(table_class), table(schema, about)]
    parts += [
        "## Recipes\n",
        *(recipe_line(name, path) for name, path in shipped_recipes().items()),
    ]
    return "\n".join(parts) + "\n"


def entry(kind: str, name: str, cls: type) -> Iterator[str]:
    """One class of the catalogue."""
    about = sections(cls)
    yield f"### {name}\n"
    yield prose(cls)
    if kind == "Models":
        yield f"{count_parameters(name):,} learnable parameters at 21 classes and the defaults.\n"
    schema = options_schema(cls).model_json_schema()
    if schema.get("properties"):
        yield table(schema, about.get("Args", {}))
    else:
        yield "No options.\n"
    if "Logs" in about:
        yield "| scalar | meaning |\n|---|---|"
        yield from (f"| `{scalar}` | {escape(text)} |" for scalar, text in about["Logs"].items())
        yield ""


def recipe_line(name: str, path: Path) -> str:
    """A shipped recipe and the first line of its header."""
    return f"- `{name}`: {path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}"


def commands_page() -> str:
    """`--help` of every command."""
    parts = ["# Commands\n"]
    for names, command in walk(cli, ("semisup",)):
        context = click.Context(command, info_name=" ".join(names), max_content_width=90)
        context.terminal_width = 90
        parts += [f"## {' '.join(names)}\n", f"```text\n{command.get_help(context)}\n```\n"]
    return "\n".join(parts)


def walk(
    command: click.Command, names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all that are below it."""
    yield names, command
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            yield from walk(inner, (*names, name))


def main() -> None:
    """Write the five pages."""
    OUT.mkdir(exist_ok=True)
    pages = {"recipe": recipe_page(), "catalogue": catalogue_page(), "commands": commands_page()}
    for name, text in pages.items():
        write_text(OUT / f"{name}.md", HEAD + text)
    write_text(OUT / "zoo.md", zoo_page())
    write_text(OUT / "notebook.md", notebook_page(NOTEBOOKS / "first_steps.ipynb"))


if __name__ == "__main__":
    try:
        main()
    except SemisupError as error:
        sys.exit(str(error))
