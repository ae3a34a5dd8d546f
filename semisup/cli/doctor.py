"""`semisup doctor`."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import click

from semisup.cli import options


@click.command(
    short_help="Show versions, devices, disk and data found.",
    epilog="""\b
Example:
  semisup doctor --data-root /data
""",
)
@options.data_root
@options.plugins
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

    from semisup.runs.assemble import worker_count
    from semisup.system.cores import usable_cores
    from semisup.system.device import (
        device_name,
        resolve_device,
        resolve_precision,
        settle_on,
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
        "usable cores, 1 to 8, so that decoding leaves the rest to training; each has one thread)",
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
            found[name] = f"not found: {_how_to_get(name, data_root)}"
    return found


def _how_to_get(name: str, data_root: Path) -> str:
    """What to do for a data set that is not there."""
    from semisup.data.fetching.sources import SOURCES

    source = SOURCES.get(name)
    if source is None:  # from outside the package
        return "see its own documentation"
    if source.instead:  # of images of one's own
        return f"put images/, masks/ and classes.txt in {data_root}"
    command = f"semisup data fetch {name} --data-root {data_root}"
    return command if source.archives else f"'{command}' says how to get it"
