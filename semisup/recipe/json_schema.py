"""The JSON schema of a recipe, for editors that complete and check TOML."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from semisup.catalog import DATASETS, METHODS, MODELS, Table, load_installed
from semisup.options import nested_schemas
from semisup.settings import (
    BaselineSettings,
    DataSettings,
    EvalSettings,
    InitSettings,
    MethodSettings,
    ModelSettings,
    OptimSettings,
    Settings,
    TrainSettings,
)


def recipe_schema() -> dict[str, Any]:
    """JSON schema of a recipe file, for editors."""
    load_installed()
    tables: dict[str, Any] = {
        "init": _table_schema(InitSettings),
        "baseline": _table_schema(BaselineSettings),
        "data": _named_schema(DataSettings, DATASETS),
        "model": _named_schema(ModelSettings, MODELS),
        "method": _named_schema(MethodSettings, METHODS),
        "optim": {
            "type": "object",
            "description": "One table for each player of the method.",
            "additionalProperties": _table_schema(OptimSettings),
        },
        "train": _table_schema(TrainSettings),
        "eval": _table_schema(EvalSettings),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "semisup recipe",
        "$defs": {
            nested.__name__: nested.model_json_schema()
            for name in METHODS
            for nested in nested_schemas(METHODS.schema(name)).values()
        },
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "extends": {"type": "string", "description": "The one parent recipe."},
            **tables,
        },
    }


def _table_schema(settings: type[BaseModel]) -> dict[str, Any]:
    """Schema of one table. No key is required of a file: its parent may state it."""
    schema = settings.model_json_schema()
    schema.pop("required", None)
    return schema


def _named_schema(settings: type[Settings], catalogue: Table[Any]) -> dict[str, Any]:
    """Our own keys with, for each name, the options of its class."""
    own = settings.model_json_schema()
    variants = []
    for name in catalogue:
        options = catalogue.schema(name).model_json_schema()
        variants.append(
            {
                "type": "object",
                "properties": {
                    **options["properties"],
                    **own["properties"],
                    "name": {"const": name},
                },
                "additionalProperties": False,
            }
        )
    return {"anyOf": variants, "description": (settings.__doc__ or "").splitlines()[0]}
