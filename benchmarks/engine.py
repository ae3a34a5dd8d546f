"""What the engine costs: a step through `train` against the same step in a bare PyTorch loop.

    python benchmarks/engine.py                         # U-Net, 4 crops of 96 x 96
    python benchmarks/engine.py --model fcn8s --crop 321
    python benchmarks/engine.py --method adversarial
    python benchmarks/engine.py --workers 4             # and how long a step waits for the loader

Engine and bare loop take turns of `--steps` steps within one call of `train`: the same uint8
batches in memory, the same first weights and dropout; after the first turn both must have come to
the same weights. Both normalise on the device and have the same optimisers (fused SGD; fused Adam
for a discriminator), memory format (channels last) and precision (bf16 on a GPU, float32 on a CPU).
The engine also keeps the mean of the loss, checks that it is finite and whether a signal came, and
would log, score and save if that were due. The bare loop with `--method adversarial` calls the
method's own step with two plain optimisers, so that ratio is about the loop and the updates alone.

Then, what makes the host wait for the device between two log points. On a GPU,
`torch.cuda.set_sync_debug_mode("error")` ends the run at the first such call. On a CPU the
operations that would wait are counted, and all others: each is a kernel launch on a GPU.
"""

from __future__ import annotations

import copy
import gc
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ratios import Timing, arguments, machine, show, speed_up
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from semisup.catalog import create_method, create_model
from semisup.data.loading.samples import RawBatch
from semisup.data.loading.streams import Stream
from semisup.data.loading.to_device import to_device
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.views.weak import WeakView
from semisup.methods.base import Method, Task
from semisup.monitoring.tracker import Tracker
from semisup.monitoring.view import Silent
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD
from semisup.runs.folder import RunFolder
from semisup.settings import OptimSettings, TrainSettings
from semisup.system.device import autocast, resolve_device, resolve_precision
from semisup.training.checkpoint import Checkpoints
from semisup.training.loop import train
from semisup.training.state import TrainingState
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Progress, StreamName

CLASSES = 21
BARE, AGAIN, ENGINE = "bare loop", "bare loop again", "engine"
LIMIT = 1.03
PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
"""Dense bf16 FLOP/s of the SXM cards by NVIDIA's data sheets; part of the card's name -> peak."""

OPTIM = {
    "segmenter": OptimSettings(lr=1e-3, momentum=0.9, weight_decay=5e-4, schedule="constant"),
    "discriminator": OptimSettings(kind="adam", lr=1e-4, schedule="constant"),
}

Step = Callable[[], None]


class Prepared:
    """Stands in for a stream: a few batches in memory, again and again."""

    def __init__(self, name: str, batch: int, crop: int) -> None:
        self.batch_size = batch
        generator = torch.Generator().manual_seed(len(name))
        self._batches = cycle([made_batch(name, batch, crop, generator) for _ in range(4)])

    def __iter__(self) -> Iterator[RawBatch]:
        return self

    def __next__(self) -> RawBatch:
        return next(self._batches)

    def close(self) -> None: ...


def made_batch(name: StreamName, batch: int, crop: int, generator: torch.Generator) -> RawBatch:
    regions = torch.randint(0, CLASSES, (batch, 1, 4, 4), generator=generator).float()
    masks = F.interpolate(regions, (crop, crop)).squeeze(1).to(torch.uint8)
    masks[:, : crop // 20] = IGNORE
    raw = RawBatch(
        name,
        images=torch.randint(0, 256, (batch, 3, crop, crop), generator=generator).to(torch.uint8),
        valid=torch.ones(batch, crop, crop, dtype=torch.bool),
        ids=tuple(str(number) for number in range(batch)),
        labels={"mask": masks} if name == "labelled" else {},
    )
    return raw.pin_memory() if torch.cuda.is_available() else raw


class Waited(Stream):
    """A stream that measures how long it was waited for."""

    seconds = 0.0

    def __next__(self) -> RawBatch:
        begin = time.perf_counter()
        batch = super().__next__()
        self.seconds += time.perf_counter() - begin
        return batch


def make_method(options: Namespace, device: torch.device) -> Method:
    torch.manual_seed(0)
    width = {"width": options.width} if options.width else {}
    extra = {"self_taught_start": 0.0} if options.method == "adversarial" else {}
    task = Task(lambda: create_model(options.model, CLASSES, **width), CLASSES)
    method = create_method(options.method, task, **extra)
    return method.to(device).to(memory_format=torch.channels_last)


def make_training(
    method: Method, folder: Path, streams: Mapping[str, Any], steps: int, device: torch.device
) -> TrainingState:
    settings = TrainSettings(steps=steps, log_every=steps, checkpoint_every=steps)
    precision = resolve_precision("auto", device)
    directory = RunFolder(folder)
    directory.make()
    players = method.players()
    optim = {player: OPTIM[player] for player in players}
    return TrainingState(
        method=method,
        updates=Updates(players, optim, precision=precision),
        streams=lambda step: dict(streams),
        settings=settings,
        device=device,
        precision=precision,
        checkpoints=Checkpoints(directory.checkpoints),
        tracker=lambda *start: Tracker(directory.path, *start),
        fingerprint="benchmark",
    )


def optimisers(method: Method) -> dict[str, torch.optim.Optimizer]:
    """torch's own, with the settings of the engine's."""

    def groups(player: str) -> list[dict[str, Any]]:
        decay, lr = OPTIM[player].weight_decay, OPTIM[player].lr
        return [
            {"params": g.params, "lr": lr * g.lr_scale, "weight_decay": decay * g.decay_scale}
            for g in method.players()[player]
        ]

    momentum = OPTIM["segmenter"].momentum
    made = {"segmenter": torch.optim.SGD(groups("segmenter"), momentum=momentum, fused=True)}
    if "discriminator" in method.players():
        made["discriminator"] = torch.optim.Adam(groups("discriminator"), fused=True)
    return made


def bare_supervised(method: Method, streams: Mapping[str, Any], device: torch.device) -> Step:
    """Written as one would without the engine: not a line of ours but the network."""
    network, optimiser = method.segmenter, optimisers(method)["segmenter"]
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)
    fast = resolve_precision("auto", device) == "bf16"

    def step() -> None:
        raw = next(streams["labelled"])
        image = raw.images.to(device, non_blocking=True).float() / 255
        image = ((image - mean) / std).contiguous(memory_format=torch.channels_last)
        mask = raw.labels["mask"].to(device, non_blocking=True).long()
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            loss = F.cross_entropy(network(image), mask, ignore_index=IGNORE)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def bare_of_method(method: Method, streams: Mapping[str, Any], device: torch.device) -> Step:
    """The method's own step with nothing around it."""
    plain, precision = optimisers(method), resolve_precision("auto", device)
    inputs = {
        player: [p for group in groups for p in group.params]
        for player, groups in method.players().items()
    }

    def update(player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        with torch.autocast(device.type, enabled=False):
            loss.backward(inputs=inputs[player], retain_graph=keep_graph)
        plain[player].step()
        plain[player].zero_grad(set_to_none=True)
        torch.clear_autocast_cache()

    def step() -> None:
        moved = {
            name: to_device(next(stream), device, memory_format=torch.channels_last)
            for name, stream in streams.items()
        }
        with autocast(precision, device):
            method.step(Batch(**moved), Progress(0, 1), update)

    return step


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def assert_same_way(ours: nn.Module, theirs: nn.Module, first: nn.Module) -> None:
    """Both have moved from the `first` weights, and by the same way but for rounding."""

    def distance(one: nn.Module, other: nn.Module) -> float:
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        return float(nn.utils.get_total_norm([a.detach() - b.detach() for a, b in pairs]))

    moved, apart = distance(theirs, first), distance(ours, theirs)
    assert moved > 0, "the weights stand still"
    assert apart < 0.05 * moved, f"engine and bare loop do not agree: {apart} apart of {moved}"


class Turns(Silent):
    """Gives the bare loop its turns after every `--steps` steps of the engine, and times both.

    After the last round the engine takes one more turn, which `watch` counts.
    """

    def __init__(
        self, options: Namespace, device: torch.device, bare: Step, agree: Step, watch: Watch
    ) -> None:
        self._length, self._last = options.steps, options.rounds + 1
        self._device, self._bare, self._agree, self._watch = device, bare, agree, watch
        self.seconds: dict[str, list[float]] = {BARE: [], AGAIN: [], ENGINE: []}
        self._seed(0)
        self._begin = time.perf_counter()

    def stepped(self, done: int, steps: int) -> None:
        turn, rest = divmod(done, self._length)
        if rest or turn > self._last + 1:
            return
        if turn > self._last:
            self._watch.__exit__(None, None, None)
            return
        wait(self._device)
        engine = time.perf_counter() - self._begin
        self._seed(turn - 1)
        bare = self._turn()
        if turn == 1:  # not timed: it warms up whatever caches
            self._agree()
        else:
            for name, taken in ((ENGINE, engine), (BARE, bare), (AGAIN, self._turn())):
                self.seconds[name].append(taken / self._length)
        self._seed(turn)
        if turn == self._last:
            self._watch.__enter__()
        self._begin = time.perf_counter()

    def _turn(self) -> float:
        gc.collect()
        begin = time.perf_counter()
        for _ in range(self._length):
            self._bare()
        wait(self._device)
        return time.perf_counter() - begin

    def _seed(self, turn: int) -> None:
        gc.collect()
        torch.manual_seed(turn)  # of dropout


WAITING = (
    *("_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique", "aten.equal"),
    "repeat_interleave.Tensor",
)
"""Operations whose answer, or its size, is read back from the device; so is that of a mask."""


def waits(operation: Any, arguments: Any) -> bool:
    """Whether the host would wait for a GPU here."""
    name = str(operation)
    if name.startswith(("aten.index.Tensor", "aten.index_put")):
        return any(i is not None and i.dtype == torch.bool for i in arguments[1])
    return any(part in name for part in WAITING)


class Watch(TorchDispatchMode):
    """On a CPU counts operations, and those that read a value back; on a GPU the latter raise."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self.operations = 0
        self.waiting: list[str] = []

    def __enter__(self) -> Watch:
        if self._device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
            return self
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *error: Any) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
        else:
            super().__exit__(*error)

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        self.operations += not operation.is_view
        if waits(operation, arguments):
            self.waiting.append(str(operation))
        return operation(*arguments, **keywords or {})


def compare(options: Namespace, device: torch.device, folder: Path) -> None:
    method = make_method(options, device)
    first, other = copy.deepcopy(method), copy.deepcopy(method)

    def streams() -> dict[str, Prepared]:
        names = method.reads.streams
        return {name: Prepared(name, options.batch, options.crop) for name in names}

    bare = bare_supervised if options.method == "supervised" else bare_of_method
    step = bare(other, streams(), device)
    steps = (options.rounds + 2) * options.steps + 1  # the last one is logged and saved
    run = make_training(method, folder, streams(), steps, device)
    watch = Watch(device)
    turns = Turns(options, device, step, lambda: assert_same_way(method, other, first), watch)
    run.view = turns
    train(run)
    timings = {name: Timing(tuple(values)) for name, values in turns.seconds.items()}
    images = options.batch * len(method.reads.streams)
    title = f"One step, {options.model}, {options.method}, {images} crops of {options.crop}"
    show(title, timings, base=BARE, work=images, unit="images")
    cost, noise = (1 / speed_up(timings, name, BARE) for name in (ENGINE, AGAIN))
    print(f"engine: {cost:.3f}x the time of the bare loop (wanted: at most {LIMIT}x; ", end="")
    print(f"the bare loop itself, once more: {noise:.3f}x)")
    tell_waits(watch, step, options.steps, device)
    tell_flops(step, timings, device)


def tell_waits(watch: Watch, bare: Step, steps: int, device: torch.device) -> None:
    if device.type == "cuda":
        print(f"nothing waited for the device in {steps} steps (set_sync_debug_mode = error)")
        return
    with Watch(device) as plain:
        bare()
    print(
        f"{len(watch.waiting)} operations waited for the device in {steps} steps; operations a "
        f"step: engine {watch.operations / steps:.0f}, bare loop {plain.operations}"
    )


def tell_flops(bare: Step, timings: Mapping[str, Timing], device: torch.device) -> None:
    with FlopCounterMode(display=False) as counter:
        bare()
    rate = counter.get_total_flops() / timings[ENGINE].median
    line = f"engine: {counter.get_total_flops() / 1e9:.1f} GFLOP a step, {rate / 1e12:.3f} TFLOP/s"
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    for name, peak in PEAK.items():
        if name in card:
            line += f", {rate / peak:.1%} of {peak / 1e12:.0f} TFLOP/s ({name}, dense bf16)"
    print(line)


class Marks(Silent):
    """When each step was taken, and how long the streams had been waited for until then."""

    def __init__(self, streams: Mapping[str, Waited], device: torch.device) -> None:
        self._streams, self._device = streams, device
        self.seen: list[tuple[float, float]] = []

    def stepped(self, done: int, steps: int) -> None:
        wait(self._device)
        waited = sum(stream.seconds for stream in self._streams.values())
        self.seen.append((time.perf_counter(), waited))


def tell_loader(options: Namespace, device: torch.device, folder: Path) -> None:
    """Train from JPEG files through worker processes."""
    method, crop, steps = make_method(options, device), options.crop, 3 * options.steps
    data = Scenes(folder / "data", train=64, val=0, test=0, size=(crop, crop * 4 // 3))
    common: dict[str, Any] = {
        "seed": 0,
        "batch_size": options.batch,
        "view": WeakView(crop=(crop, crop), scale=(0.5, 2.0), flip=True),
        "workers": options.workers,
    }
    names = method.reads.streams
    streams = {name: Waited(data, data.ids, name=name, **common) for name in names}
    run = make_training(method, folder / "run", streams, steps + 1, device)
    run.view = marks = Marks(streams, device)
    train(run)
    begin, end = marks.seen[options.steps - 1], marks.seen[steps - 1]
    passed, waited = (b - a for a, b in zip(begin, end, strict=True))
    print(
        f"{options.workers} workers a stream, JPEG: {500 * passed / options.steps:.1f} ms a step, "
        f"of which {waited / passed:.1%} waiting for the loader"
    )


def parse() -> Namespace:
    parser = arguments("What the engine costs.", rounds=10)
    parser.add_argument("--model", default="unet", help="of the catalogue (%(default)s)")
    parser.add_argument("--width", type=int, default=0, help="of the model; 0: its own")
    parser.add_argument("--method", default="supervised", choices=["supervised", "adversarial"])
    parser.add_argument("--crop", type=int, default=96, help="pixels (%(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="images a stream (%(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="of one turn (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--workers", type=int, default=0, help="time the loader too, with so many")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        compare(options, device, Path(folder) / "compare")
        if options.workers:
            tell_loader(options, device, Path(folder) / "loader")


if __name__ == "__main__":
    main()
