"""The options of a class as a strict schema, and the wording of its errors."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic import create_model as create_schema

from semisup.errors import RecipeError, suggest


def check_options(cls: type, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` checked against the keyword-only parameters of `cls`.

    Raises:
        RecipeError: an unknown key (suggests the right one) or a value of the wrong type.
    """
    from pydantic import ValidationError

    schema = options_schema(cls)
    try:
        checked = schema.model_validate(dict(options))
    except ValidationError as error:
        raise RecipeError(f"{name}: {describe_errors(error, schema)}") from None
    return {key: getattr(checked, key) for key in options}


@functools.cache
def options_schema(cls: type) -> type[BaseModel]:
    """The options of `cls` as a strict pydantic model, read off its keyword-only parameters."""
    hints = typing.get_type_hints(inspect.unwrap(cls.__init__))  # type: ignore[misc]
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            required = parameter.default is inspect.Parameter.empty
            default = ... if required else parameter.default
            fields[parameter.name] = (_accept_lists(hints[parameter.name]), default)
    config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    return create_schema(cls.__name__, __config__=config, **fields)


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
        # Behind the key stands which of several types was tried, and a place in a list.
        name, *inner = entry["loc"]
        places = [str(part) for part in inner if isinstance(part, int)]
        key = prefix + ".".join([str(name), *places])
        if entry["type"] == "extra_forbidden":
            names = [field.alias or key for key, field in schema.model_fields.items()]
            names += known
            parts.append(f"there is no key '{key}'.{suggest(str(entry['loc'][-1]), names)}")
        elif entry["type"] == "missing":
            parts.append(f"'{key}' is missing.")
        else:
            given = entry["input"]
            parts.append(f"'{key}' = {given!r} ({type(given).__name__}): {entry['msg']}.")
    return " ".join(parts)
