"""The machine: device, precision, seeds, versions."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy
import torch

from semisup.errors import SemisupError
from semisup.system.cores import usable_cores
from semisup.system.distributed import is_first, rank
from semisup.system.memory import keep_freed_memory
from semisup.system.words import counted
from semisup.version import __version__

Precision = Literal["float32", "bf16", "fp16"]


def resolve_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" takes a GPU if there is one.

    "auto" and "cuda" give each process of a run a GPU of its own.

    Raises:
        SemisupError: no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{_local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise SemisupError(f"--device {name}: no such device. Use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise SemisupError(
            f"--device {name}: torch sees {count} CUDA devices here. Use cpu, or as many processes "
            "as there are devices."
        )
    return device


def _local_rank() -> int:
    """Number of this process among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def resolve_precision(name: str, device: torch.device) -> Precision:
    """What "auto" means on `device`: bf16 on a GPU that has it, else float32."""
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if fast else "float32"
    if name == "fp16" and device.type != "cuda":
        raise SemisupError("train.precision = fp16 needs a GPU. Use auto or float32 on a CPU.")
    assert name in ("float32", "bf16", "fp16")
    return name  # type: ignore[return-value]  # narrowed by the assert above


@contextlib.contextmanager
def autocast(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run forward passes in `precision`; weights stay float32."""
    if precision == "float32":
        yield
        return
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    with torch.autocast(device.type, dtype=dtype):
        yield


@contextlib.contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Use torch's deterministic algorithms, for the length of a `with` block.

    On a CPU torch's algorithms are deterministic for one number of threads in any case.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def settle_on(device: torch.device) -> None:
    """Make `device` torch's own choice, and take no more threads than there are cores for it.

    torch counts the cores of the machine, not those of a container or of one of several processes.
    OMP_NUM_THREADS, which torchrun sets to 1, comes first.
    """
    if device.type == "cuda":  # else parts of torch would open a second context on cuda:0
        torch.cuda.set_device(device)
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
    keep_freed_memory()


def seed_everything(seed: int) -> None:
    """Seed torch's generators: initial weights and dropout. Streams carry their own seeds."""
    torch.manual_seed(seed)


def seed_rank(seed: int, step: int = 0) -> None:
    """Seed what the ranks must not have in common, such as dropout.

    The first rank goes on with the generator that a process alone would have.
    """
    if not is_first():
        digest = hashlib.blake2b(f"{seed}/{rank()}/{step}".encode(), digest_size=8).digest()
        torch.manual_seed(int.from_bytes(digest, "big") >> 1)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """State of torch's generators, for a checkpoint."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Continue the generators where `random_state` left them."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def wait_for_device(device: torch.device) -> None:
    """Until it has done all that it was given: a GPU works on while the program goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    """The device for people, such as "NVIDIA H200" or "cpu (x86_64, 2 threads)".

    A processor of a PC is named with its family and model, "cpu (Intel Xeon, 6/207, 1 thread)": two
    kinds of processor round differently, so that one seed does not have the same bits on both.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({_processor()}, {counted(torch.get_num_threads(), 'thread')})"


def _processor(info: Path = Path("/proc/cpuinfo")) -> str:
    try:
        first = info.read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0]
    except OSError:
        first = ""
    rows = (line.partition(":") for line in first.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in rows}
    try:
        return f"{facts['model name']}, {facts['cpu family']}/{facts['model']}"
    except KeyError:  # not of this family, or no Linux
        return platform.machine()


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    import torchvision

    return {
        "semisup": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
    }


def git_state() -> dict[str, Any] | None:
    """Commit of the code and whether it was changed; None outside a checkout of semisup."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout.strip()
