"""What is known of the classes of the catalogue without their import, which takes seconds (torch).

`facts.json` states the first line of each class, its options and what a list shows of it. It is
written by `docs/facts.py` from the classes themselves, and a test compares the two. Of a class
whose source has changed since, nothing is known: it is imported, and asked itself.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from semisup.options import schema_of

PACKAGE = Path(__file__).resolve().parent

FILE = PACKAGE / "facts.json"

_DIGITS = 16
"""Of the hash of a source file."""

_TYPES: dict[str, Any] = {
    "Literal": Literal,
    "Optional": typing.Optional,
    "Sequence": Sequence,
    "Union": typing.Union,
    "bool": bool,
    "dict": dict,
    "float": float,
    "int": int,
    "list": list,
    "str": str,
    "tuple": tuple,
}
"""Names that the type of an option may be made of."""


@dataclass(frozen=True)
class Facts:
    """What is known of one class.

    Attributes:
        about: the first line of its docstring.
        values: attributes that are asked of it most, and of a network what it costs.
        options: name -> `type` and `default`, or `table` and `default`; what has no default is
            required. None where they cannot be written down.
        tables: name of a nested table -> its options, likewise.
    """

    about: str
    values: Mapping[str, Any]
    options: Mapping[str, Mapping[str, Any]] | None
    tables: Mapping[str, Mapping[str, Mapping[str, Any]]]


def facts_of(kind: str, name: str) -> Facts | None:
    """What is known of a class of the package; None where its source has changed since.

    Args:
        kind: "model", "method" or "data set".
        name: in the catalogue.
    """
    content = _content()
    entry = content.get(kind, {}).get(name)
    if entry is None or any(
        content["files"].get(file) != source_digest(file) for file in entry["files"]
    ):
        return None
    return Facts(entry["about"], entry["values"], entry["options"], content["tables"])


@functools.cache
def _content() -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


@functools.cache
def source_digest(file: str) -> str:
    """The start of the hash of a source file; empty where there is none.

    Args:
        file: relative to the package, such as "models/unet.py".
    """
    try:
        return hashlib.sha256((PACKAGE / file).read_bytes()).hexdigest()[:_DIGITS]
    except OSError:
        return ""


def schema_from(name: str, facts: Facts) -> type[BaseModel] | None:
    """The options of a class as `options_schema` has them; None where they are not written down."""
    if facts.options is None:
        return None
    return _schema(name, facts.options, facts.tables)


def _schema(
    name: str,
    options: Mapping[str, Mapping[str, Any]],
    tables: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> type[BaseModel]:
    chosen: dict[str, tuple[Any, Any]] = {}
    nested: dict[str, type[BaseModel]] = {}
    for key, option in options.items():
        default = option.get("default", ...)
        if "table" in option:
            nested[key] = _schema(option["table"], tables[option["table"]], {})
            chosen[key] = (nested[key], default)
        else:
            hint = parse_type(option["type"])
            chosen[key] = (hint, tuple(default) if isinstance(default, list) else default)
    return schema_of(name, chosen, nested)


def type_text(hint: Any) -> str:
    """The type of an option as `parse_type` reads it."""
    plain = isinstance(hint, type) and not typing.get_args(hint)
    text = hint.__name__ if plain else str(hint)
    return text.replace("typing.", "").replace("collections.abc.", "").replace("NoneType", "None")


def parse_type(text: str) -> Any:
    """A type from its text, such as "tuple[int, int]"; nothing is executed.

    Raises:
        ValueError: it is made of other names.
    """
    try:
        return _type(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"{text!r} is no type of an option") from error


def _type(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name in _TYPES:
            return _TYPES[name]
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts):
            return tuple(_type(part) for part in parts)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=outer, slice=inner):
            return _type(outer)[_type(inner)]
    raise ValueError(f"{ast.unparse(node)!r} is no type of an option")
