"""`semisup show`, `list`, `monitor`, `doctor` and `schema`: look, change nothing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semisup.cli import options

if TYPE_CHECKING:
    from semisup.recipe import Recipe

KINDS = ("models", "methods", "datasets", "recipes")


@click.command(
    epilog="""\b
Examples:
  semisup show quickstart
  semisup show quickstart --set data.split=1/4 --json
"""
)
@click.argument("recipe")
@options.changes
@options.as_json
def show(recipe: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Print a RECIPE with every default filled in and where each value came from."""
    from semisup.recipe import load_recipe
    from semisup.tables import dump_toml

    loaded = load_recipe(recipe, changes)
    _check_players(loaded)
    if as_json:
        tables: dict[str, Any] = {
            "name": loaded.name,
            "digest": loaded.digest(),
            "recipe": loaded.resolved(),
            "sources": dict(loaded.sources),
        }
        click.echo(json.dumps(tables, indent=1))
        return
    click.echo(f"# {loaded.name}, digest {loaded.digest()}\n")
    click.echo(dump_toml(loaded.resolved(), notes=loaded.sources))


def _check_players(recipe: Recipe) -> None:
    """Refuse [optim.*] tables that are not the method's players.

    Who plays is known once the method is built: here without memory or weights.
    """
    import torch

    from semisup.assemble import build_method
    from semisup.cli.listing import COUNT_CLASSES
    from semisup.engine.updates import make_optimisers

    fresh = recipe.model.model_copy(update={"weights": ""})
    with torch.device("meta"):
        method, _ = build_method(replace(recipe, model=fresh), COUNT_CLASSES)
        make_optimisers(method.players(), recipe.optim)


@click.command(
    "list",
    epilog="""\b
Examples:
  semisup list
  semisup list models
  semisup list recipes --json
""",
)
@click.argument("kind", required=False, type=click.Choice(KINDS))
@options.as_json
def list_names(kind: str | None, as_json: bool) -> None:
    """List what a recipe may name: models (with parameter counts), methods, datasets, recipes."""
    from semisup.cli.listing import entries, print_entries

    chosen = {name: entries(name) for name in ([kind] if kind else KINDS)}
    if as_json:
        click.echo(json.dumps(chosen[kind] if kind else chosen, indent=1))
        return
    for name, rows in chosen.items():
        print_entries(name, rows)


@click.command(
    epilog="""\b
Examples:
  semisup monitor
  semisup monitor runs/quickstart --port 6007
"""
)
@click.argument("runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--port", type=click.IntRange(0, 65535), default=6006, show_default=True)
@click.option(
    "--host",
    default="localhost",
    show_default=True,
    help="Address to serve on; 0.0.0.0 lets other machines look.",
)
def monitor(runs: Path, port: int, host: str) -> None:
    """Start TensorBoard on RUNS (default: ./runs) and say where to look."""
    from semisup.errors import RunError
    from semisup.files import exists

    if not exists(runs) or not runs.is_dir():
        raise RunError(
            f"{runs}: there is no such folder. Run a recipe first, or name the folder given to "
            "run --out."
        )
    click.echo(f"TensorBoard on {runs}: http://{host}:{port} (stop it with Ctrl-C)")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs)]
    command += ["--host", host, "--port", str(port)]
    try:
        code = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        code = 0
    if code:
        raise RunError(f"TensorBoard ended with code {code}. Is port {port} free? Try --port.")


@click.command(
    epilog="""\b
Example:
  semisup doctor --data-root /data
"""
)
@options.data_root
@options.as_json
def doctor(data_root: Path, as_json: bool) -> None:
    """Say what this machine has: versions, devices, threads, disk, data found."""
    facts = _machine() | {"data": _data_found(data_root)}
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, inner in value.items():
                click.echo(f"  {key:<14}{inner}")
        else:
            click.echo(f"{name:<16}{value}")


def _machine() -> dict[str, Any]:
    import torch

    from semisup.assemble import worker_count
    from semisup.engine.runtime import (
        device_name,
        resolve_device,
        resolve_precision,
        settle_on,
        usable_cores,
        versions,
    )

    device = resolve_device("auto")
    settle_on(device)
    threads = torch.get_num_threads()
    stated = os.environ.get("OMP_NUM_THREADS")
    why = f"OMP_NUM_THREADS = {stated}" if stated else "torch's choice, at most the usable cores"
    gigabyte = 1e9
    return {
        "versions": versions(),
        "system": platform.platform(),
        "device": f"{device} - {device_name(device)}",
        "cuda": _cuda(),
        "precision": f"{resolve_precision('auto', device)} (train.precision = auto)",
        "cores": f"{usable_cores()} usable of {os.cpu_count()} (affinity, container's quota)",
        "threads": f"{threads} for torch ({why}; set OMP_NUM_THREADS to change)",
        "workers": f"{worker_count('auto')} for each stream (data.workers = auto: a quarter of the "
        "usable cores, 1 to 8, so that decoding leaves the rest to training)",
        "disk free": f"{shutil.disk_usage('.').free / gigabyte:.1f} GB here",
    }


def _cuda() -> dict[str, str]:
    """Versions that torch was built with, and every device with its memory."""
    import torch

    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    found = {"version": torch.version.cuda or "none", "cudnn": str(cudnn or "none")}
    gibibyte = 2**30
    devices = {}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / gibibyte
        devices[f"cuda:{index}"] = f"{properties.name}, {memory:.1f} GiB"
    return found | (devices or {"devices": "none"})


def _data_found(data_root: Path) -> dict[str, str]:
    """What of each data set lies under the data root; opens lists, no image."""
    from semisup.catalog import DATASETS, create_dataset
    from semisup.errors import SemisupError

    found = {"root": str(data_root.resolve())}
    for name, cls in DATASETS.items():
        if name == "scenes":  # made on first use: nothing to look for
            found[name] = "made on first use"
            continue
        try:
            sizes = [
                f"{subset} {len(create_dataset(name, data_root, subset))}"
                for subset in (cls.train_subset, cls.eval_subset)
            ]
            found[name] = ", ".join(sizes)
        except SemisupError:
            found[name] = "not found"
    return found


@click.command(
    epilog="""\b
Example:
  semisup schema > semisup-recipe.schema.json
"""
)
def schema() -> None:
    """Print the JSON schema of a recipe, for editors that complete and check TOML."""
    from semisup.cli.schema import recipe_schema

    click.echo(json.dumps(recipe_schema(), indent=1))
