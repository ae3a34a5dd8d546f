"""Kill runs at random moments, let them go on, and compare them bit by bit with one left alone.

    python tests/faults/kills.py                  # 40 kills, about 8 minutes on two cores
    python tests/faults/kills.py --short          # 4 kills, without the rest
    python tests/faults/kills.py --methods all --kills 35
    python tests/faults/kills.py --kills 500 --seed 7 --keep /tmp/kills

Real processes, real SIGKILL: at a random time after the start, at a random step, while a checkpoint
is being written, while the run is scored and recorded. A run is killed several times before it may
end. Compared are the last checkpoint, the exported predictor, scalars.jsonl, TensorBoard's last
values, the picture sheet and the result (but for the clock and the number of resumes).

Besides: 0, 1 and 3 workers, `evaluate` and `predict` killed and called again, and two processes
under torchrun of which one is killed, without and with a restart. Exits with 1 where anything
differs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
STEPS = 40
KILLS_A_RUN = 4
PATIENCE = 120.0
"""Seconds after which a process that should have got somewhere is given up."""

RECIPE = f"""
[data]
name = "scenes"
split = "1/4"
crop = [48, 48]
labelled_batch = 2
unlabelled_batch = 2
train = 24
val = 20
test = 12
size = [56, 64]
DATA
[model]
name = "unet"
width = 4
batch_norm = true
[method]
name = "METHOD"
OPTIONS
[optim.segmenter]
kind = "adamw"
lr = 3e-3
warmup = 0.1
PLAYERS
[train]
steps = {STEPS}
accumulate = 2
ema = 0.9
clip = 1.0
log_every = 3
checkpoint_every = 4
[eval]
every = 10
hold_out = 2
"""


@dataclass(frozen=True)
class Tried:
    """What the recipe of a method has beside the common part.

    Attributes:
        players: those that learn by Adam beside the segmenter.
        options: lines of [method].
        data: lines of [data].
        method: its name where one method is tried in several forms; else the key in `METHODS`.
    """

    players: tuple[str, ...] = ()
    options: str = ""
    data: str = ""
    method: str = ""


CODE = 'follows = "code"\n'
TRUSTING = "confidence_threshold = 0.3\n"
TAGGED = 'tags = "xml"\nweak_batch = 2'
METHODS = {
    "supervised": Tried(),
    "adversarial": Tried(("discriminator",), "discriminator_width = 4"),
    "adversarial_luc": Tried(
        ("adversary",), "discriminator_width = 4\ndownsampling = 1\nspectral_norm = true"
    ),
    "gan_segmentation": Tried(
        ("generator",),
        "generator_width = 4\nfeature_matching_weight = 0.1\nimage_pool = 4\n"
        "generator_average = 0.9\ninstance_noise = 0.1",
    ),
    "gan_segmentation_weak": Tried(("generator",), "generator_width = 4", TAGGED),
    "cps": Tried(("second_segmenter",)),
    "cps_code": Tried(("second_segmenter",), CODE, method="cps"),
    "cutmix_seg": Tried(options=TRUSTING),
    "cutmix_seg_code": Tried(options=TRUSTING + CODE, method="cutmix_seg"),
    "fixmatch": Tried(options=TRUSTING),
    "fixmatch_code": Tried(options=TRUSTING + CODE, method="fixmatch"),
    "fixmatch_self": Tried(options=TRUSTING + 'partner = "self"', method="fixmatch"),
    "mean_teacher": Tried(),
    "mean_teacher_code": Tried(options=CODE, method="mean_teacher"),
    "unimatch": Tried(options=TRUSTING),
    "unimatch_code": Tried(options=TRUSTING + CODE, method="unimatch"),
    "s4gan": Tried(
        ("discriminator",),
        "discriminator_width = 4\nconfidence_threshold = 0.4\nspectral_norm = true",
    ),
    "wssl": Tried(data=TAGGED),
    "cam": Tried(data=TAGGED),
    "s4gan_multi_label": Tried(("discriminator", "classifier"), "discriminator_width = 4"),
}

DECOUPLED = "needs its own network, of nearly 2 million weights; its loop is that of `supervised`"
NOT_TRIED = {
    "decouplednet": "starts from the run of another recipe, beside: " + DECOUPLED,
    "decouplednet_classifier": DECOUPLED,
    "decouplednet_joint": DECOUPLED,
    "mask_rcnn": "needs its own network and data: tests/runs/test_objects.py has its resumption",
    "partial_cross_entropy": "needs weak masks: tests/runs/test_weak_masks.py has its resumption",
    "wssl_tags": "its step is a part of that of `wssl`",
}
"""Methods of the catalogue that `METHODS` leaves out, each with its reason."""


@dataclass
class Shop:
    """Where the runs are made, and what went wrong so far."""

    folder: Path
    chance: random.Random
    failures: list[str] = field(default_factory=list)

    def recipe(self, method: str) -> Path:
        path = self.folder / f"{method}.toml"
        tried = METHODS[method]
        name = tried.method or method
        text = RECIPE.replace("METHOD", name).replace("OPTIONS", tried.options)
        tables = [f'[optim.{player}]\nkind = "adam"\nlr = 1e-4' for player in tried.players]
        text = text.replace("DATA", tried.data).replace("PLAYERS", "\n".join(tables))
        path.write_text(text)
        return path

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.failures.append(what)
            print(f"  DIFFERS: {what}", flush=True)

    def command(self, *arguments: object, processes: int, restarts: int) -> list[str]:
        torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        torchrun += [f"--max-restarts={restarts}"]
        start = torchrun if processes > 1 else []
        return [sys.executable, *start, "-m", "semisup", *map(str, arguments)]

    def run_of(self, method: str, out: Path, *changes: str) -> tuple[object, ...]:
        settings = [part for change in changes for part in ("--set", change)]
        place = ("--out", out, "--data-root", self.folder / "data", "--device", "cpu")
        return ("run", self.recipe(method), *settings, *place)


@contextlib.contextmanager
def started(
    shop: Shop, *arguments: object, processes: int = 1, restarts: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """A command under way; what it says goes to a file that its `log` attribute names."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    with (
        (shop.folder / "log.txt").open("w") as log,
        subprocess.Popen(
            shop.command(*arguments, processes=processes, restarts=restarts),
            stdout=log,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def finish(shop: Shop, *arguments: object, processes: int = 1) -> None:
    """A command to its end, which must be a good one."""
    with started(shop, *arguments, processes=processes) as process:
        code = process.wait(PATIENCE)
    said = (shop.folder / "log.txt").read_text()
    shop.check(code == 0, f"{arguments[0]} ended with {code}: {said[-400:]}")
    shop.check("Traceback" not in said, f"{arguments[0]} shows a traceback: {said[-400:]}")


# ---- When to kill ----

Moment = Callable[[Path], bool]
"""(folder of the runs) -> whether the moment has come."""


def at_time(chance: random.Random) -> Moment:
    """Any time from the start of the interpreter on."""
    end = time.monotonic() + chance.uniform(0.0, 9.0)
    return lambda out: time.monotonic() > end


def at_step(chance: random.Random) -> Moment:
    """At a random time while the weights move."""
    wanted = chance.randrange(STEPS // 3 + 1)
    return lambda out: (
        sum(path.read_bytes().count(b"\n") for path in files(out, "scalars.jsonl")) > wanted
    )


def at_save(chance: random.Random) -> Moment:
    """While a file is being written: most of them are checkpoints."""
    skipped: set[Path] = set()
    skip = chance.randrange(5)

    def writing(out: Path) -> bool:
        skipped.update(files(out, ".step-*.tmp"))
        skipped.update(files(out, ".best-*.tmp"))
        return len(skipped) > skip

    return writing


def at_end(chance: random.Random) -> Moment:
    """After training, while the run is scored and recorded."""
    delay = chance.uniform(0.0, 1.5)
    since: list[float] = []

    def ending(out: Path) -> bool:
        if not since and files(out, f"step-{STEPS:08d}.pt"):
            since.append(time.monotonic())
        return bool(since) and time.monotonic() > since[0] + delay

    return ending


MOMENTS = (at_time, at_step, at_save, at_end)


def files(out: Path, pattern: str) -> list[Path]:
    """Files under `out`, which may change while they are looked for."""
    with contextlib.suppress(FileNotFoundError):
        return list(out.rglob(pattern))
    return []


def kill_when(process: subprocess.Popen[str], out: Path, moment: Moment) -> bool:
    """Kill a process when the moment comes; returns whether it had not ended before."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and not moment(out):
        assert time.monotonic() < end, "the process does not get anywhere"
        time.sleep(0.0005)
    lives = process.poll() is None
    process.kill()
    process.wait(PATIENCE)
    return lives


# ---- What a run came to ----


def outcome(out: Path) -> dict[str, str]:
    """Name -> digest of all that must not depend on how often a run was stopped."""
    return outcome_of(next(out.glob("*/*/result.json")).parent)


def outcome_of(folder: Path) -> dict[str, str]:
    """`outcome` of one run."""
    names = ["predictor.safetensors", "scalars.jsonl", "split.txt", "pictures/sheet.png"]
    paths = {name: folder / name for name in [*names, "warnings.jsonl"]}
    found = {n: _digest(p.read_bytes()) if p.is_file() else "none" for n, p in paths.items()}
    result = json.loads((folder / "result.json").read_text())
    for other in ("time", "git"):  # the clock, and whoever works on the code meanwhile
        del result[other]
    found["result.json"] = _digest(json.dumps(result, sort_keys=True).encode())
    state = torch.load(max((folder / "checkpoints").glob("step-*.pt")), weights_only=True)
    del state["seconds"]
    found |= {f"checkpoint{name}": digest for name, digest in _flat(state)}
    found |= {f"TensorBoard {tag}": str(value) for tag, value in _last_values(folder).items()}
    found["left over"] = str(sorted(path.name for path in folder.rglob(".*.tmp")))
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{name}/{place}")
    elif isinstance(value, torch.Tensor):
        yield name, _digest(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    else:
        yield name, repr(value)


def _last_values(folder: Path) -> dict[str, tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every restart
    board = EventAccumulator(str(folder))
    board.Reload()
    last = {tag: board.Scalars(tag)[-1] for tag in board.Tags()["scalars"]}
    return {tag: (e.step, e.value) for tag, e in last.items() if not tag.startswith("speed/")}


def compare(shop: Shop, expected: dict[str, str], found: dict[str, str], what: str) -> None:
    different = [name for name in sorted(expected | found) if expected.get(name) != found.get(name)]
    shop.check(not different, f"{what}: {', '.join(different[:6])}")


# ---- The trials ----


def killed_runs(shop: Shop, method: str, kills: int, expected: dict[str, str]) -> None:
    done = 0
    while done < kills:
        out = shop.folder / f"{method}-killed"
        shutil.rmtree(out, ignore_errors=True)
        moments = []
        for _ in range(min(KILLS_A_RUN, kills - done)):
            make = shop.chance.choice(MOMENTS)
            with started(shop, *shop.run_of(method, out)) as process:
                if not kill_when(process, out, make(shop.chance)):
                    break  # it came to its end first
            moments.append(make.__name__)
            done += 1
        finish(shop, *shop.run_of(method, out))
        what = f"{method} killed {', '.join(moments) or 'never'}"
        compare(shop, expected, outcome(out), what)
        print(f"  {done}/{kills} kills: {what}", flush=True)


def workers(shop: Shop, method: str, expected: dict[str, str]) -> None:
    for count in (0, 3):
        out = shop.folder / f"{method}-workers-{count}"
        finish(shop, *shop.run_of(method, out, f"data.workers={count}"))
        found = outcome(out)
        compare(shop, expected, found, f"{method} with {count} workers")
    print("  0, 1 and 3 workers", flush=True)


def scoring_and_prediction(shop: Shop, run: Path, kills: int) -> None:
    """`evaluate` and `predict`, killed and called again."""
    folder = next(run.glob("*/*/result.json")).parent
    place = ("--data-root", shop.folder / "data", "--device", "cpu")
    scored = ("evaluate", folder, "--subset", "test", *place)
    finish(shop, *scored)
    kept = next(folder.glob("result-test-*.json"))
    expected = _without_clock(kept)
    kept.unlink()
    images = next((shop.folder / "data").rglob("JPEGImages"))
    predicted = ("predict", folder, images, "--device", "cpu", "--to")
    finish(shop, *predicted, shop.folder / "whole")
    for turn in range(kills):
        with started(shop, *scored) as process:
            kill_when(process, folder, at_time(shop.chance))
        finish(shop, *scored)
        shop.check(_without_clock(kept) == expected, "evaluate after a kill")
        out = shop.folder / f"predictions-{turn}"
        wanted = shop.chance.randrange(1, 30)
        with started(shop, *predicted, out) as process:
            kill_when(process, out, lambda out, wanted=wanted: len(files(out, "*.png")) > wanted)
        finish(shop, *predicted, out)
        shop.check(_pictures(out) == _pictures(shop.folder / "whole"), "predict after a kill")
    print(f"  evaluate and predict, {kills} kills each", flush=True)


def _without_clock(result: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(result.read_text())
    return {key: value for key, value in content.items() if key not in ("time", "git")}


def _pictures(out: Path) -> dict[str, str]:
    return {path.name: _digest(path.read_bytes()) for path in sorted(out.iterdir())}


def several_processes(shop: Shop, method: str) -> None:
    """One of two is killed: the run ends soon and says why, or torchrun starts it again."""
    whole = shop.folder / "ranks-whole"
    finish(shop, *shop.run_of(method, whole), processes=2)
    out = shop.folder / "ranks-killed"
    code, took = one_of_two_killed(shop, method, out)
    said = (shop.folder / "log.txt").read_text()
    shop.check(code != 0 and took < 30, f"torchrun ended with {code} after {took:.0f} s")
    shop.check("another process of this run has ended" in said, f"no reason: {said[-400:]}")
    finish(shop, *shop.run_of(method, out), processes=2)
    compare(shop, outcome(whole), outcome(out), "two processes, one killed")
    print(f"  two processes, one killed: ended after {took:.1f} s, went on", flush=True)
    out = shop.folder / "ranks-restarted"
    code, _ = one_of_two_killed(shop, method, out, restarts=1)
    shop.check(code == 0, f"torchrun did not restart: it ended with {code}")
    compare(shop, outcome(whole), outcome(out), "two processes, one killed, restarted")
    print("  two processes, one killed: torchrun started both again", flush=True)


def one_of_two_killed(shop: Shop, method: str, out: Path, restarts: int = 0) -> tuple[int, float]:
    """Start two processes, kill one of them; returns torchrun's exit code, and after how long."""
    with started(shop, *shop.run_of(method, out), processes=2, restarts=restarts) as process:
        moment, end = at_step(shop.chance), time.monotonic() + PATIENCE
        while not moment(out):
            assert process.poll() is None, (shop.folder / "log.txt").read_text()[-800:]
            assert time.monotonic() < end, "the processes do not get anywhere"
            time.sleep(0.0005)
        os.kill(shop.chance.choice(_children(process.pid)), signal.SIGKILL)
        killed = time.monotonic()
        code = process.wait(PATIENCE)
    return code, time.monotonic() - killed


def _children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(child) for child in text.split()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="over all methods (%(default)s)")
    parser.add_argument("--short", action="store_true", help="4 kills, no workers, no ranks")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    parser.add_argument("--methods", default="supervised,adversarial", help="or all (%(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for the runs, kept at the end")
    options = parser.parse_args()
    methods = list(METHODS) if options.methods == "all" else options.methods.split(",")
    kills = 4 if options.short else options.kills
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        shop = Shop(folder, random.Random(options.seed))
        for place, method in enumerate(methods):
            print(method, flush=True)
            whole = folder / f"{method}-whole"
            finish(shop, *shop.run_of(method, whole))
            expected = outcome(whole)
            share = kills * (place + 1) // len(methods) - kills * place // len(methods)
            killed_runs(shop, method, share, expected)
            if not options.short:
                workers(shop, method, expected)
        if not options.short:
            scoring_and_prediction(shop, whole, max(1, kills // 10))
            several_processes(shop, methods[-1])
    print(f"{len(shop.failures)} differences" if shop.failures else "all equal, to the last bit")
    return bool(shop.failures)


if __name__ == "__main__":
    sys.exit(main())
