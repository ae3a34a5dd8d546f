"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from semisup.runs.paths import Paths

F = TypeVar("F", bound=Callable[..., Any])


class Seeds(click.ParamType):  # type: ignore[type-arg]
    """Seeds as "0,1,2" or "0-4": ascending, each once."""

    name = "LIST"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The seeds; a part such as 3-5 stands for 3, 4 and 5."""
        if isinstance(value, tuple):
            return value
        seeds: list[int] = []
        for part in str(value).split(","):
            first, dash, last = (number.strip() for number in part.partition("-"))
            if not first.isdecimal() or (dash and not last.isdecimal()):
                self.fail(f"'{value}' is no list of seeds. Give it as 0,1,2 or 0-4.", param, ctx)
            if dash and (int(last) < int(first) or int(last) - int(first) >= MOST_SEEDS):
                self.fail(f"'{part}' is no range of at most {MOST_SEEDS} seeds.", param, ctx)
            seeds += range(int(first), int(last if dash else first) + 1)
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            self.fail(f"'{value}' has seed {twice[0]} twice. Give each once.", param, ctx)
        return tuple(seeds)


MOST_SEEDS = 100
"""Of one range: a slip of the hand starts no thousand runs."""

changes = click.option(
    "--set",
    "changes",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key of the recipe, such as data.split=1/4; may be repeated.",
)

protocol_changes = click.option(
    "--set",
    "changes",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key of [eval], such as eval.flip=true; may be repeated.",
)

crf = click.option("--crf", is_flag=True, help="Refine with a dense CRF, as --set eval.crf=true.")

seed_of_run = click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Which run of a recipe; default: the one that ended last.",
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

data_root_of_run = click.option(
    "--data-root",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="SEMISUP_DATA, else where the run's data lay",
    help="Folder of the data sets.",
)

step_of_run = click.option(
    "--step",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take the kept checkpoint of step N, of a run that may not be finished.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def plugins(command: F) -> F:
    """`--plugin`, whose modules are imported before `command` is called, as are installed ones."""

    @click.option(
        "--plugin",
        "plugins",
        metavar="MODULE|FILE",
        multiple=True,
        help="Code of your own that registers a method, network or data set; may be repeated. "
        "SEMISUP_PLUGINS too.",
    )
    @functools.wraps(command)
    def load_first(*args: Any, plugins: tuple[str, ...], **values: Any) -> Any:
        load_plugins(plugins)
        return command(*args, **values)

    return cast(F, load_first)


def load_plugins(names: tuple[str, ...]) -> None:
    """Import what the user names, in the environment too, and what is installed.

    Of installed plug-ins that cannot be used, standard error says so.

    Raises:
        RecipeError: one that is named cannot be used.
    """
    from semisup import catalog
    from semisup.plugins import named_in_environment

    catalog.load_plugins([*named_in_environment(), *names])
    for line in catalog.load_installed().values():
        click.echo(f"semisup: {line}", err=True)


def warn_of_changed_plugins(folder: Path) -> None:
    """Say on standard error which plug-ins have changed since a run was made with them."""
    from semisup.runs.reopen import changed_since

    for line in changed_since(folder):
        click.echo(f"semisup: warning: {line}", err=True)


def with_crf(changes: tuple[str, ...], crf: bool) -> tuple[str, ...]:
    """The changes of `--set`, and that of `--crf` where it is given."""
    return (*changes, "eval.crf=true") if crf else changes


def with_samples(changes: tuple[str, ...], samples: int | None) -> tuple[str, ...]:
    """The changes of `--set`, and that of `--samples` where it is given."""
    return changes if samples is None else (*changes, f"eval.samples={samples}")


def paths(data_root: Path, out: Path = Path("runs")) -> Paths:
    """Where the data and the runs lie."""
    from semisup.runs.paths import Paths

    return Paths(data_root=data_root, out=out)


def paths_of_run(data_root: Path | None) -> Paths | None:
    """Where the data of a run are looked for; None: where they lay when it last went on."""
    from semisup.runs.paths import Paths

    if data_root is not None:
        return Paths(data_root=data_root, overrides=True)
    stated = os.environ.get("SEMISUP_DATA")
    return Paths(data_root=Path(stated)) if stated else None


def marker_of(step: int | None) -> str:
    """What a run must have in its folder: a result, or checkpoints where a step is named."""
    return "result.json" if step is None else "checkpoints"


def find_run(name: str, out: Path, seed: int | None = None, *, marker: str = "result.json") -> Path:
    """The folder of a run: a path, or the run of a recipe that ended last.

    Of several runs, standard error says which one was taken.

    Args:
        name: a run's folder, or a recipe.
        out: folder of the runs.
        seed: only runs of this seed; None: any.
        marker: what a run must have in its folder, and whose time says which is the last:
            "result.json" of finished runs, "checkpoints" of all.

    Raises:
        RunError: there is none.
    """
    from semisup.errors import RunError
    from semisup.system.files import exists

    kind = "finished run" if marker == "result.json" else "run"
    found = list((out / name).glob(f"*/{marker}")) if exists(out / name) else []
    if exists(Path(name)) and Path(name).is_dir() and (os.sep in name or not found):
        if seed is not None:
            raise RunError(f"--seed {seed}: {name} is one run already. Name a recipe, or no seed.")
        return Path(name)
    if not found:
        raise RunError(
            f"no {kind} '{name}' in {out}. Name a run's folder, or a recipe that was run "
            "there; set --out if the runs lie elsewhere."
        )
    folders = [path.parent for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]
    if seed is not None:
        folders = [folder for folder in folders if folder.name.endswith(f"-s{seed}")]
    if not folders:
        known = ", ".join(sorted({path.parent.name.rpartition("-s")[2] for path in found}))
        raise RunError(f"--seed {seed}: recipe '{name}' has {kind}s of seeds {known} only.")
    if len(folders) > 1:
        click.echo(
            f"{len(folders)} {kind}s of '{name}'; taking the one that ended last: {folders[-1]}",
            err=True,
        )
    return folders[-1]


def width() -> int:
    """Columns of the terminal, from 60 to 120; 80 where there is none."""
    import shutil

    return min(max(shutil.get_terminal_size((80, 24)).columns, 60), 120)
