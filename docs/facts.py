"""Write semisup/facts.json from the classes of the catalogue: `python docs/facts.py`.

It is what the command line tells of them without importing torch. After a change of a class of the
catalogue, its options or its costs, run this again; a test says so.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semisup import catalog, facts
from semisup.cli.display.listing import measured
from semisup.options import nested_tables, parameters

ATTRIBUTES = {"data set": ("default_split", "train_subset", "eval_subset")}
"""Class attributes that are asked without need of the class."""


def collect(*, measure: bool = True) -> dict[str, Any]:
    """The content of facts.json.

    Args:
        measure: whether to measure the networks, which takes some ten seconds; else their costs
            are those in the file.
    """
    stored = json.loads(facts.FILE.read_text(encoding="utf-8")) if not measure else {}
    content: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    files: set[str] = set()
    for kind, table in catalog.KINDS.items():
        content[kind] = {}
        for name in sorted(table):
            cls = table[name]
            values = {key: getattr(cls, key) for key in ATTRIBUTES.get(kind, ())}
            if kind == "model":
                known = stored.get(kind, {}).get(name, {}).get("values", {})
                values |= measured(name) if measure else known
            nested = nested_tables(cls)
            tables |= {hint.__name__: options_of(hint) for hint in nested.values()}
            own = sorted(sources(cls))
            files |= {*own}
            content[kind][name] = {
                "about": catalog.first_line(cls),
                "values": values,
                "options": options_of(cls),
                "files": own,
            }
    content["tables"] = dict(sorted(tables.items()))
    content["files"] = {file: facts.source_digest(file) for file in sorted(files)}
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


def options_of(cls: type) -> dict[str, Any] | None:
    """Type and default of each option; None where a type cannot be read again."""
    nested = nested_tables(cls)
    found: dict[str, Any] = {}
    for name, (hint, default) in parameters(cls).items():
        if name in nested:
            found[name] = {"table": hint.__name__, "default": vars(default)}
            continue
        text = facts.type_text(hint)
        try:
            if facts.parse_type(text) != hint:
                return None
        except ValueError:
            return None
        found[name] = {"type": text} | ({} if default is ... else {"default": default})
    return found


def sources(cls: type) -> Iterator[str]:
    """Files of the package that a class, its bases and its nested tables are written in."""
    for one in (*cls.__mro__, *nested_tables(cls).values()):
        if one.__module__.startswith("semisup."):
            path = Path(inspect.getfile(one)).resolve()
            yield path.relative_to(facts.PACKAGE).as_posix()


def main() -> None:
    """Write the file."""
    text = json.dumps(collect(), indent=1, ensure_ascii=False) + "\n"
    facts.FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
