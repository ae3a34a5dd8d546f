"""The options of a class as a strict schema, and the wording of its errors."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic import create_model as create_schema

from semisup.errors import RecipeError, suggest


def check_options(cls: type, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` checked against the keyword-only parameters of `cls`.

    Args:
        cls: whose options they are.
        name: of it, for errors.
        options: values; of a parameter whose type is a dataclass, an instance or its table.

    Returns:
        The same keys, with tables as instances of their dataclass.

    Raises:
        RecipeError: an unknown key (suggests the right one), a value of the wrong type, or one
            that a dataclass refuses.
    """
    from pydantic import ValidationError

    schema = options_schema(cls)
    try:
        checked = schema.model_validate({key: _as_table(value) for key, value in options.items()})
        return {key: _as_instance(cls, key, getattr(checked, key)) for key in options}
    except ValidationError as error:
        raise RecipeError(f"{name}: {describe_errors(error, schema)}") from None
    except ValueError as error:
        raise RecipeError(f"{name}: {error}") from None


def option_names(cls: type) -> set[str]:
    """Dotted names of all options of a class: those of a nested table are "game.loss"."""
    return names_in(options_schema(cls))


def names_in(schema: type[BaseModel]) -> set[str]:
    """Dotted names of all options in a schema."""
    nested = nested_schemas(schema)
    return {
        name
        for key in schema.model_fields
        for name in (
            [f"{key}.{inner}" for inner in nested[key].model_fields] if key in nested else [key]
        )
    }


def nested_schemas(schema: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Options that are a table of their own -> the schema of the table."""
    return {
        key: field.annotation
        for key, field in schema.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


@functools.cache
def nested_tables(cls: type) -> dict[str, Any]:
    """Options that are a table of their own -> the dataclass that the table fills."""
    return {
        name: hint
        for name, (hint, _) in parameters(cls).items()
        if isinstance(hint, type) and is_dataclass(hint)
    }


@functools.cache
def options_schema(cls: type) -> type[BaseModel]:
    """The options of `cls` as a strict pydantic model, read off its keyword-only parameters.

    A parameter whose type is a dataclass becomes a nested model, from which a recipe's table fills
    it. A dataclass's own schema has a field for each of its own.
    """
    nested = {name: options_schema(table) for name, table in nested_tables(cls).items()}
    chosen = {
        name: (hint, asdict(default) if name in nested else default)
        for name, (hint, default) in parameters(cls).items()
    }
    return schema_of(cls.__name__, chosen, nested)


def schema_of(
    name: str,
    options: Mapping[str, tuple[Any, Any]],
    nested: Mapping[str, type[BaseModel]],
) -> type[BaseModel]:
    """A strict model of options.

    Args:
        name: of the model.
        options: name -> type and default; of a nested table any type, and its values.
        nested: the models of those that are a table of their own.
    """
    chosen: dict[str, Any] = {}
    for key, (hint, default) in options.items():
        if key in nested:
            chosen[key] = (nested[key], nested[key](**default))
        else:
            chosen[key] = (_accept_lists(hint), default)
    config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    return create_schema(name, __config__=config, **chosen)


def parameters(cls: type) -> dict[str, tuple[Any, Any]]:
    """Name -> type and default (... where it is required) of each keyword-only parameter."""
    hints = typing.get_type_hints(inspect.unwrap(cls.__init__))  # type: ignore[misc]
    return {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _as_table(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _as_instance(cls: type, key: str, value: Any) -> Any:
    if key not in nested_tables(cls):
        return value
    try:
        return nested_tables(cls)[key](**plain_values(value))
    except ValueError as error:
        raise ValueError(f"{key}.{error}") from None


def plain_values(model: BaseModel) -> dict[str, Any]:
    """The values of a checked model of options, those of nested tables as dictionaries."""
    values = {key: getattr(model, key) for key in type(model).model_fields}
    return {key: plain_values(v) if isinstance(v, BaseModel) else v for key, v in values.items()}


def _accept_lists(annotation: Any) -> Any:
    """TOML has lists where Python has tuples."""

    def as_tuple(value: Any) -> Any:
        plain = isinstance(value, Sequence) and not isinstance(value, str)
        return tuple(value) if plain else value

    parts = (annotation, *typing.get_args(annotation))
    if any(typing.get_origin(part) is tuple for part in parts):
        return Annotated[annotation, BeforeValidator(as_tuple)]
    return annotation


def describe_errors(
    error: Any, schema: type[BaseModel], prefix: str = "", known: Sequence[str] = ()
) -> str:
    """Pydantic's errors as one line: key, what is wrong, what would be right.

    Args:
        error: the `ValidationError`.
        schema: the model it comes from, for suggestions.
        prefix: what stands before a key, such as "train.".
        known: further keys that are allowed there.
    """
    parts = []
    for entry in error.errors():
        table, path = _table_of(schema, entry["loc"])
        # Behind the key stands which of several types was tried, and a place in a list.
        name, *inner = entry["loc"][len(path) :]
        places = [str(part) for part in inner if isinstance(part, int)]
        key = prefix + ".".join([*path, str(name), *places])
        if entry["type"] == "extra_forbidden":
            names = [field.alias or key for key, field in table.model_fields.items()]
            names += () if path else known
            parts.append(f"there is no key '{key}'.{suggest(str(entry['loc'][-1]), names)}")
        elif entry["type"] == "missing":
            parts.append(f"'{key}' is missing.")
        else:
            given = entry["input"]
            kind = type(given).__name__
            parts.append(f"'{key}' = {_shown(given)} ({kind}): {entry['msg']}.")
    return " ".join(parts)


def _shown(given: Any) -> str:
    try:
        return repr(given)
    except RecursionError:  # tables within tables, a thousand deep
        return "..."


def _table_of(
    schema: type[BaseModel], location: Sequence[int | str]
) -> tuple[type[BaseModel], list[str]]:
    """The nested model that an error lies in, and the keys that lead to it."""
    path: list[str] = []
    for part in location[:-1]:
        field = schema.model_fields.get(str(part))
        annotation = None if field is None else field.annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        schema = annotation
        path.append(str(part))
    return schema, path
