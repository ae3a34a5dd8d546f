"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from semisup.assemble import Place

F = TypeVar("F", bound=Callable[..., Any])

changes = click.option(
    "--set",
    "changes",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key of the recipe, such as data.split=1/4; may be repeated.",
)

device = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)

out = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of the runs.",
)

data_root = click.option(
    "--data-root",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="SEMISUP_DATA",
    default=Path("data"),
    show_default="SEMISUP_DATA, else ./data",
    help="Folder of the data sets.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def place(data_root: Path, out: Path = Path("runs")) -> Place:
    """Where the data and the runs lie."""
    from semisup.assemble import Place

    return Place(data_root=data_root, out=out)


def find_run(name: str, out: Path) -> Path:
    """The folder of a finished run: a path, or the name of a recipe that has exactly one.

    Raises:
        RunError: there is none, or more than one.
    """
    from semisup.errors import RunError

    if os.sep in name and Path(name).is_dir():
        return Path(name)
    finished = sorted(path.parent for path in (out / name).glob("*/result.json"))
    if Path(name).is_dir() and not finished:
        return Path(name)
    if not finished:
        raise RunError(
            f"no finished run '{name}' in {out}. Name a run's folder, or a recipe that was run "
            "there; set --out if the runs lie elsewhere."
        )
    if len(finished) > 1:
        folders = ", ".join(str(path) for path in finished)
        raise RunError(f"recipe '{name}' has {len(finished)} runs. Name one of: {folders}.")
    return finished[0]
