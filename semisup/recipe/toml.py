"""Nested tables as TOML and as dotted keys."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semisup.errors import RecipeError

LARGEST = 100_000
"""Bytes of a recipe: a shipped one has a thousand, and Python's parser takes minutes for 1 MB."""


def parse_change(change: str) -> tuple[str, Any]:
    """`key=value` of --set: the value as TOML, or as text where it is no TOML.

    Raises:
        RecipeError: there is no `=` or no dotted key, or it is not UTF-8.
    """
    if not change.isascii() and change != change.encode(errors="ignore").decode():
        raise RecipeError(f"--set {shown(change)}: is not UTF-8 text.")
    key, equals, text = change.partition("=")
    key = key.strip()
    if not equals or "." not in key or not all(key.split(".")):
        raise RecipeError(
            f"--set {shown(change)}: is not of the form table.key=value, such as data.split=1/4."
        )
    return key, parse_value(text, f"--set {shown(key)}")


def parse_value(text: str, where: str) -> Any:
    """A value as TOML, or as text where it is no TOML.

    Args:
        text: what stands behind the `=`.
        where: the option of the command line, for the error.
    """
    try:
        value = tomllib.loads(f"value = {text}")["value"]
        _check_integers(value)
        return value
    except ValueError:  # TOMLDecodeError, or an integer of thousands of digits
        return text.strip()
    except RecursionError:
        raise RecipeError(f"{where}: the value is nested too deeply.") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Dotted keys of one file.

    Raises:
        RecipeError: it cannot be read, is too large, no TOML or nested too deeply.
    """
    try:
        return flatten(read_tables(path))
    except RecursionError:
        raise RecipeError(f"recipe {path}: is nested too deeply. Write it flat.") from None


def read_tables(path: Path, kind: str = "recipe") -> dict[str, Any]:
    """The tables of one file.

    Args:
        path: of the file.
        kind: what it is, for errors.

    Raises:
        RecipeError: it cannot be read, is too large, no TOML or nested too deeply.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise RecipeError(
                f"{kind} {path}: has {size:,} bytes, and a {kind} at most {LARGEST:,}. Check the "
                "path."
            )
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        _check_integers(tables)
        return tables
    except OSError as error:
        raise RecipeError(f"{kind} {path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{kind} {path}: is not UTF-8 text. Save it as UTF-8.") from None
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise RecipeError(f"{kind} {path}: is not valid TOML: {error}.") from None
    except RecursionError:
        raise RecipeError(f"{kind} {path}: is nested too deeply. Write it flat.") from None


def _check_integers(value: Any) -> None:
    """TOML's integers have 64 bits; Python's parser takes any, and Python writes not all of them.

    Raises:
        ValueError: one has more.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("it holds an integer of more than 64 bits")
    if isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_integers(item)


def shown(text: str) -> str:
    """`text` in one line, whatever characters it has."""
    return repr(text)[1:-1]


def flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables -> dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(values: Mapping[str, Any], recipe: str) -> dict[str, Any]:
    """Dotted keys -> nested tables; an empty table leaves one that is there as it is.

    Raises:
        RecipeError: a key that needs quotes, or one below a value.
    """
    tables: dict[str, Any] = {}
    for dotted, value in values.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]*", dotted):
            raise RecipeError(
                f"recipe {recipe}: the key {dotted!r} holds more than letters, digits, '_' and '-'."
            )
        *parents, last = dotted.split(".")
        table = tables
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise RecipeError(f"recipe {recipe}: '{dotted}': '{parent}' is a value, no table.")
        if isinstance(value, Mapping) and not value:
            table.setdefault(last, {})
        else:
            table[last] = value
    return tables


def dump_toml(tables: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> str:
    """Tables of scalars and lists as TOML.

    Args:
        tables: nested values.
        notes: dotted key -> comment for the end of its line.
    """
    lines: list[str] = []
    for name, table in tables.items():
        nested = {k: v for k, v in table.items() if isinstance(v, Mapping)}
        plain = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
        if plain:
            lines += [f"[{name}]", *_toml_lines(name, plain, notes or {}), ""]
        for key, inner in nested.items():
            lines += [f"[{name}.{key}]", *_toml_lines(f"{name}.{key}", inner, notes or {}), ""]
    return "\n".join(lines)


def _toml_lines(prefix: str, table: Mapping[str, Any], notes: Mapping[str, str]) -> list[str]:
    lines = []
    for key, value in table.items():
        if value is None:  # TOML has no null: an option that is not set is left out
            continue
        text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML forbids it
        line = f"{key} = {text}"
        note = notes.get(f"{prefix}.{key}")
        lines.append(f"{line:<43} # {note}" if note else line)
    return lines
