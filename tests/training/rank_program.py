"""What test_several_processes.py runs in each of several processes, and in one alone.

    python -m torch.distributed.run --nproc-per-node 2 rank_program.py FOLDER CHECK...
    python rank_program.py FOLDER 1:CHECK,CHECK 4:CHECK

The second way starts the processes itself, one number of them after the other, as `forked` does
from the process of the tests: what takes longest in a short check is to import torch.

Each check leaves what it found in `FOLDER/<check>-<world>.pt` (first process) or, where the ranks
differ, in `FOLDER/<check>-<world>-<rank>.pt`.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from semisup import catalog
from semisup.errors import DataError, Interrupted, RunError
from semisup.evaluation.evaluate import evaluate
from semisup.evaluation.inference import Inference
from semisup.losses.supervised import SupervisedLoss
from semisup.methods.base import Method, Task
from semisup.settings import EvalSettings, OptimSettings
from semisup.system import distributed as ranks
from semisup.training.loop import _step, ready, train
from semisup.training.state import TrainingState
from semisup.training.updates import Updates
from semisup.types import IGNORE, Progress

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
fixtures = importlib.import_module("support.training")
with_game = importlib.import_module("support.methods").with_game

METHODS = ("supervised", "adversarial")
CPU = torch.device("cpu")
Told = dict[int, list[tuple[str, int]]]
"""Step -> what each rank says of its stop, and its exit code."""


def plain(folder: Path, method: str, **options: Any) -> TrainingState:
    """A training in which no image has a part in what becomes of another."""
    return fixtures.make_training(
        folder, method, segmenter=fixtures.PlainSegmenter, hold_out=False, batch=4, **options
    )


def gradients(folder: Path) -> dict[str, Any]:
    """What one step of plain descent at rate 1 subtracts from every weight: its gradient."""
    found = {}
    descent = OptimSettings(lr=1.0, momentum=0.0, schedule="constant")
    for method in METHODS:
        for accumulate in (1, 3):
            place = folder / f"gradients-{ranks.world()}-{method}-{accumulate}"
            run = plain(place, method, optimiser=descent, accumulate=accumulate, ema=0.0)
            before = {k: v.clone() for k, v in run.method.state_dict().items()}
            streams = ready(run, run.streams(0))
            scalars, _ = _step(run, streams, Progress(9, 10))
            for key, value in run.method.state_dict().items():
                found[f"{method}/{accumulate}/{key}"] = before[key] - value
            for key, value in scalars.items():
                found[f"{method}/{accumulate}/scalar/{key}"] = ranks.mean_over_ranks(value)
    return found


CRITERIA = (
    SupervisedLoss(divisor="weights"),
    SupervisedLoss("ohem", ohem_threshold=0.4, ohem_min_kept=4),
    SupervisedLoss("focal", divisor="weights"),
    SupervisedLoss("dice", divisor="weights"),
    SupervisedLoss("cross_entropy+dice"),
)
"""Losses that several processes compute as one; Lovasz takes each process's pixels alone."""


def criteria(folder: Path) -> dict[str, Any]:
    """Values and gradients of supervised losses whose valid pixels are not shared alike."""
    drawn = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, 5, generator=drawn, dtype=torch.float64)
    mask = torch.randint(0, 3, (4, 5, 5), generator=drawn)
    mask[0] = IGNORE
    mask[1, :3] = 2
    weights = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    share = len(mask) // ranks.world()
    own = slice(ranks.rank() * share, (ranks.rank() + 1) * share)
    found = {}
    for criterion in CRITERIA:
        maps = logits[own].clone().requires_grad_()
        loss = criterion(maps, mask[own], class_weights=weights)
        (gradient,) = torch.autograd.grad(loss / ranks.world(), maps)
        found[f"{criterion.kind}/value"] = ranks.mean_over_ranks(loss.detach())
        found[f"{criterion.kind}/gradient"] = torch.cat(ranks.gather(gradient))
    return found


TRUSTING = {"confidence_threshold": 0.4}
STEADIED = {"label_smoothing": 0.1, "r1": 2.0}
TWICE = {"discriminator_updates": 2}
GAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "adversarial": ("adversarial", TRUSTING),
    "adversarial, steadied": (
        "adversarial",
        {**TRUSTING, **STEADIED, **TWICE, "spectral_norm": True},
    ),
    "adversarial_luc": ("adversarial_luc", {}),
    "adversarial_luc, steadied": ("adversarial_luc", {**STEADIED, **TWICE}),
    "s4gan": ("s4gan", TRUSTING),
    "s4gan, steadied": ("s4gan", {**TRUSTING, **STEADIED, **TWICE}),
    "gan_segmentation": ("gan_segmentation", {}),
    "gan_segmentation, steadied": ("gan_segmentation", {**STEADIED, "generator_updates": 2}),
    "gan_segmentation, matching": ("gan_segmentation", {"feature_matching_weight": 1.0}),
    "gan_segmentation_weak": ("gan_segmentation_weak", {}),
    "gan_segmentation_weak, steadied": ("gan_segmentation_weak", {"r1": 2.0}),
    "cps": ("cps", {}),
    "cps, code": ("cps", {"follows": "code"}),
    "cutmix_seg": ("cutmix_seg", TRUSTING),
    "cutmix_seg, code": ("cutmix_seg", {**TRUSTING, "follows": "code"}),
    "fixmatch": ("fixmatch", TRUSTING),
    "fixmatch, taught": ("fixmatch", {**TRUSTING, "divisor": "taught"}),
    "fixmatch, self": ("fixmatch", {**TRUSTING, "partner": "self"}),
    "fixmatch, code": ("fixmatch", {**TRUSTING, "follows": "code"}),
    "mean_teacher": ("mean_teacher", {}),
    "mean_teacher, code": ("mean_teacher", {"follows": "code"}),
    # Dropped channels are each process's own.
    "unimatch": ("unimatch", {**TRUSTING, "feature_dropout": 0.0}),
    "unimatch, code": ("unimatch", {**TRUSTING, "feature_dropout": 0.0, "follows": "code"}),
}
"""Methods of several players with what they add up over images, all on."""

DECOUPLED = "one player and no sum over images but that of `supervised`; needs its own network"
NOT_GAMES = {
    "supervised": "one player: `gradients` and `losses` have it",
    "decouplednet": DECOUPLED,
    "decouplednet_classifier": DECOUPLED,
    "decouplednet_joint": DECOUPLED,
    "mask_rcnn": "one player; its sums over boxes are each process's own, as in torchvision",
    "partial_cross_entropy": "one player, and its losses are those of `supervised`",
    "cam": "one player and no sum over images but that of `supervised`",
    "wssl": "one player, and its losses are those of `supervised`; orders are each process's own",
    "wssl_tags": "as `wssl`, without masks",
    "s4gan_multi_label": "its classifier has batch norm, each process's own; its game is s4gan's",
}
"""Methods of the catalogue that `GAMES` leaves out, each with its reason."""

NARROW = {"discriminator_width": 4, "generator_width": 4, "view": "small", "downsampling": 1}


def game(name: str, options: dict[str, Any]) -> Method:
    """A method in which no image has a part in what becomes of another, but in means over them.

    So neither batch norm nor dropout, which are each process's own; and the noise of all processes
    together is that of one alone.
    """
    torch.manual_seed(0)
    task = Task(lambda extra=0: fixtures.PlainSegmenter(3 + extra), 3, (32, 32))
    built = catalog.create_method(name, task, **with_game(**options))
    for module in list(built.modules()):
        for key, part in list(module.named_children()):
            if isinstance(part, nn.BatchNorm2d | nn.Dropout2d):
                setattr(module, key, nn.Identity())
    generator = getattr(built, "generator", None)
    if generator is not None:
        drawn = torch.Generator().manual_seed(3)
        with torch.no_grad():  # without batch norm its first images are one grey
            for weight in generator.parameters():
                weight.mul_(10)

        def draw(count: int, like: torch.Tensor) -> torch.Tensor:
            noise = torch.rand(count * ranks.world(), generator.noise, generator=drawn)
            return (2 * noise - 1)[count * ranks.rank() :][:count].to(like)

        generator.draw = draw
    return built


def games(folder: Path) -> dict[str, Any]:
    """Gradients of one step, and weights and scalars after three, of methods of several players."""
    found = {}
    for case, (name, options) in GAMES.items():
        known = catalog.METHODS[name].__init__.__kwdefaults__
        narrow = {key: value for key, value in NARROW.items() if key in known}
        for what, count, rate in (("gradient", 1, 1.0), ("weight", 3, 0.05)):
            place = folder / f"games-{ranks.world()}-{case}-{what}"
            run = plain(place, "adversarial", ema=0.0, accumulate=1)
            run.method = game(name, narrow | options).train()
            players = run.method.players()
            descent = OptimSettings(lr=rate, momentum=0.0, schedule="constant")
            run.updates = Updates(players, dict.fromkeys(players, descent))
            before = {k: v.clone() for k, v in run.method.state_dict().items()}
            streams = ready(run, run.streams(0))
            for step in range(count):
                scalars, _ = _step(run, streams, Progress(9 * count + step, 10 * count))
            for key, value in run.method.state_dict().items():
                found[f"{case}/{what}/{key}"] = before[key] - value
            for key, value in scalars.items():
                found[f"{case}/{what}/scalar/{key}"] = ranks.mean_over_ranks(value)
    return found


def losses(folder: Path) -> dict[str, Any]:
    """The log of 50 steps, every one of them."""
    found = {}
    for method in METHODS:
        place = folder / f"losses-{ranks.world()}-{method}"
        train(plain(place, method, steps=50, log_every=1, accumulate=1, checkpoint_every=100))
        found[method] = (place / "scalars.jsonl").read_text() if ranks.is_first() else ""
    return found


def scores(folder: Path) -> dict[str, Any]:
    """An evaluation of 41 images of three sizes, and which images this process opened."""
    sizes = [(24, 30 + 2 * (number // 3 % 3)) for number in range(41)]
    data = fixtures.Patches(sizes)
    torch.manual_seed(0)
    inference = Inference(fixtures.PlainSegmenter(), EvalSettings(), CPU)
    result = evaluate(inference, data)
    return {
        "confusion": result.confusion,
        "counts": result.counts,
        "summary": result.summary(),
        "opened": [sorted(part) for part in ranks.gather(data.opened)],
    }


def messages(folder: Path) -> dict[str, Any]:
    """How many all-reduces of gradients two steps of three batches each need."""
    run = plain(folder / f"messages-{ranks.world()}", "adversarial", accumulate=3)
    sent = 0

    def count(state, bucket):  # type: ignore[no-untyped-def]  # torch reads the annotations
        nonlocal sent
        sent += 1
        return allreduce_hook(state, bucket)

    for gradient in run.updates._gradients.values():
        gradient._averaging.register_comm_hook(None, count)
    streams = ready(run, run.streams(0))
    for step in range(2):
        _step(run, streams, Progress(step, 4))
    return {"sent": sent}


def resume(folder: Path) -> dict[str, Any]:
    """A run with dropout, batch norm and a choice of checkpoint, stopped by a signal to one rank.

    The last rank alone gets the signal, and all of them stop after the same step.
    """
    found: dict[str, Any] = {}
    for name, stops in (("whole", ()), ("stopped", (1, 4))):
        place = folder / f"resume-{ranks.world()}-{name}"
        run, told = _train_with_stops(place, "adversarial", stops)
        found |= {f"{name}-{stop}": heard for stop, heard in told.items()}
        found[name] = {
            "method": run.method.state_dict(),
            "updates": run.updates.state_dict(),
            "average": run.average.state_dict(),
            "checkup": run.checkup.state_dict(),
            "scalars": (place / "scalars.jsonl").read_text() if ranks.is_first() else "",
        }
        found[f"{name}-random"] = ranks.gather(torch.get_rng_state())
        found[f"{name}-buffers"] = ranks.gather(dict(run.method.named_buffers()))
    return found


def _train_with_stops(place: Path, method: str, stops: Sequence[int]) -> tuple[TrainingState, Told]:
    """A run to its end, stopped before some of its steps, and what all ranks say at each stop."""
    told: Told = {}
    for stop in stops:
        run = fixtures.make_training(place, method, batch=4)
        _before_step(run, stop, _signal_to_last_rank)
        try:
            train(run)
        except Interrupted as error:
            told[stop] = ranks.gather((str(error), error.exit_code))
    run = fixtures.make_training(place, method, batch=4)
    train(run)
    return run, told


def trust(folder: Path) -> dict[str, Any]:
    """What the ranks know of a trust that they are asked for, stopped by a signal or not.

    The first stop is at a checkpoint that is due anyway.
    """
    found: dict[str, Any] = {}
    for name, stops in (("whole", ()), ("stopped", (2, 4))):
        place = folder / f"trust-{ranks.world()}-{name}"
        run, told = _train_with_stops(place, "trusting", stops)
        found |= {f"{name}-{stop}": [text for text, _ in heard] for stop, heard in told.items()}
        found[name] = (place / "scalars.jsonl").read_text() if ranks.is_first() else ""
        found[f"{name}-known"] = ranks.gather(run.pseudo_labels.state_dict())
    return found


def _before_step(run: TrainingState, step: int, act: Callable[[], None]) -> None:
    take, waiting = run.method.step, [act]

    def stepping(batch: Any, progress: Progress, update: Any) -> Any:
        if progress.step == step and waiting:
            waiting.pop()()
        return take(batch, progress, update)

    run.method.step = stepping  # type: ignore[method-assign]


def _signal_to_last_rank() -> None:
    if ranks.rank() == ranks.world() - 1:
        os.kill(os.getpid(), signal.SIGTERM)


def scoring(folder: Path) -> dict[str, Any]:
    """What the ranks say where the last one gets a signal while all of them score."""
    run = fixtures.make_training(folder / f"scoring-{ranks.world()}", "supervised", batch=4)
    checkup = run.checkup

    class Signalled:
        state_dict, load_state_dict = checkup.state_dict, checkup.load_state_dict

        def __call__(self, predictor: nn.Module, step: int, facts: Any) -> Any:
            _signal_to_last_rank()
            return checkup(predictor, step, facts)

    run.checkup = Signalled()
    try:
        train(run)
    except Interrupted as error:
        return {"told": ranks.gather(str(error))}
    return {}


def unused(folder: Path) -> dict[str, Any]:
    """Gradients where the loss of one rank leaves out a part that that of the other reaches."""
    parts = [nn.Parameter(torch.ones(2)) for _ in range(3)]
    gradients = ranks.Gradients(parts)
    for _ in range(2):
        loss = parts[0].sum() * (ranks.rank() + 1)
        if ranks.is_first():
            loss = loss + 4 * parts[1].sum()
        gradients.backward(loss)
    return {"gradients": ranks.gather([part.grad for part in parts])}


def fewer(folder: Path) -> dict[str, Any]:
    """A run whose weights stand still, begun by two processes; the next one goes on alone."""
    settings = {"steps": 6, "log_every": 6, "checkpoint_every": 3, "lr": 1e-12, "ema": 0.0}
    run = plain(folder / "fewer", "supervised", **settings)
    if ranks.world() > 1:
        _before_step(run, 2, _signal_to_last_rank)
    try:
        train(run)
    except Interrupted:
        return {}
    train(plain(folder / "alone", "supervised", **settings))
    lines = {name: (folder / name / "scalars.jsonl").read_text() for name in ("fewer", "alone")}
    return {"processes": run.processes, **lines}


def trouble(folder: Path) -> dict[str, Any]:
    """What goes wrong in one process is told by all, and does not leave the others waiting."""
    found: dict[str, Any] = {}
    run = plain(folder / f"trouble-{ranks.world()}", "adversarial")

    def poison() -> None:
        if ranks.rank() == ranks.world() - 1:
            with torch.no_grad():
                next(run.method.discriminator.parameters()).fill_(torch.nan)

    _before_step(run, 2, poison)
    try:
        train(run)
    except RunError as error:
        found["bad loss"] = ranks.gather(str(error))

    def fail() -> None:
        raise DataError("shelf.txt: is empty")

    try:
        ranks.from_first(fail)
    except DataError as error:
        found["from first"] = ranks.gather((str(error), error.reported))
    order = folder / f"order-{ranks.world()}"

    def append() -> int:
        known = order.read_text() if order.exists() else ""
        with order.open("a") as file:
            file.write(f"{ranks.rank()} ")
        return len(known)

    found["order"] = ranks.gather(ranks.first_before_others(append))
    network = nn.BatchNorm1d(3)
    network.running_mean.fill_(float(ranks.rank() + 5))
    ranks.share_buffers(network)
    found["buffers"] = ranks.gather(network.running_mean)
    return found


CHECKS = {
    check.__name__: check
    for check in (
        *(gradients, games, losses, scores, messages, resume),
        *(trust, scoring, unused, fewer, trouble, criteria),
    )
}


def main(folder: Path, checks: list[str]) -> None:
    torch.set_num_threads(1)
    with ranks.joined(CPU):
        for name in checks:
            found = CHECKS[name](folder)
            if ranks.is_first():
                torch.save(found, folder / f"{name}-{ranks.world()}.pt")


def forked(folder: Path, processes: int, checks: list[str]) -> None:
    """`main` in so many children, with what torchrun would tell them; exits if one fails."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if child:
            children.append(child)
            continue
        code = 1
        signal.alarm(300)  # ends one that waits for ever
        try:
            told = {"RANK": rank, "WORLD_SIZE": processes}
            told |= {f"LOCAL_{name}": value for name, value in told.items()}
            told |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in told.items()})
            main(folder, checks)
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    if failed:
        raise RuntimeError(f"{len(failed)} of {processes} processes failed")


if __name__ == "__main__":
    place, words = Path(sys.argv[1]), sys.argv[2:]
    if ":" not in words[0]:
        main(place, words)
    else:
        for word in words:
            number, _, names = word.partition(":")
            forked(place, int(number), names.split(","))
