"""Images a second and peak memory of every network, and of the versions that other libraries have.

    python benchmarks/models.py inference              # every network of the catalogue for images
    python benchmarks/models.py training
    python benchmarks/models.py same                   # the same network of another library
    python benchmarks/models.py nearest                # networks of the same name or encoder
    python benchmarks/models.py training --networks enet,linknet --size 360x480 --batch 4
    python benchmarks/models.py inference --device cuda --size 512x1024

Each prints one table in Markdown, a row as soon as it is measured. All networks have 21 classes and
random weights. In `inference` one pass is timed, in `training` forward pass, cross entropy at the
size of the image (auxiliary maps by their weights), backward pass and a step of SGD with momentum.
A GPU computes in bf16 where it can.

Both formats of memory, NCHW and channels last, take turns, and in `same` and `nearest` so do ours
and the peer's: a ratio is the median of those within each round. `same` first moves the weights of
ours over and compares all maps. `nearest` has other networks, so it also states the ratio for a
multiply-add: how many times as many of them ours does in a second. That needs
segmentation-models-pytorch and timm.

On a machine that others use too, `--clock processor` counts the seconds of all threads.

Peak memory is that of a process of its own, channels last, above what it had after its imports.
"""

from __future__ import annotations

import copy
import gc
import json
import multiprocessing
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peers import CLASSES, NEAREST, SAME, Ours
from ratios import (
    CLOCKS,
    Contestant,
    Timing,
    arguments,
    forget_peak,
    height_and_width,
    interleave,
    machine,
    markdown_head,
    markdown_row,
    peak_memory,
    speed_up,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from semisup.catalog import MODELS
from semisup.system.device import autocast, resolve_device, resolve_precision
from semisup.types import IGNORE

FORMATS = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}
PLANES, LAST = FORMATS
KINDS = ("inference", "training")
PEERS = {"same": SAME, "nearest": NEAREST}
IMPORTS = ["torchvision", "semisup.catalog", "timm", "segmentation_models_pytorch"]
"""What takes time to import; the last two for the peers alone."""

SIZES = {"inference": (192, 256), "training": (128, 160), "same": (192, 256), "nearest": (128, 160)}
"""Table -> height and width of the images, so that it takes some minutes on two cores."""

BATCH = {"inference": 1, "training": 2, "same": 2, "nearest": 2}
COMMON = [name for name, cls in MODELS.items() if not (cls.trained_by or cls.reads_volumes)]
"""Networks that a common method trains on images."""

CLOSE = 1e-5
"""Largest difference of the same network's maps, as a share of their largest value."""


class Passes:
    """A network in one format of memory, and its passes over a batch.

    Args:
        network: images BCHW -> a list of maps.
        options: of the command line.
        size: H and W of the images.
        memory: name of the format.
    """

    def __init__(
        self, network: nn.Module, options: Namespace, size: tuple[int, int], memory: str
    ) -> None:
        self.device = resolve_device(options.device)
        self.precision = resolve_precision("auto", self.device)
        self.network = network.to(self.device, memory_format=FORMATS[memory])
        generator = torch.Generator().manual_seed(1)
        image = torch.randn(options.batch, 3, *size, generator=generator)
        mask = torch.randint(0, CLASSES, (options.batch, *size), generator=generator)
        mask[:, :2] = IGNORE
        self.image = image.to(self.device).contiguous(memory_format=FORMATS[memory])
        self.mask = mask.to(self.device)

    def prepared(self, kind: str) -> Contestant:
        """What does one pass of "inference" or "training"."""
        self.network.train(kind == "training")
        if kind == "inference":
            return self.infer
        fused = {"lr": 1e-4, "momentum": 0.9, "fused": True}
        self.optimiser = torch.optim.SGD(self.network.parameters(), **fused)
        return self.train

    @torch.inference_mode()
    def infer(self) -> list[Tensor]:
        with autocast(self.precision, self.device):
            maps: list[Tensor] = self.network(self.image)
        return maps

    def train(self) -> None:
        with autocast(self.precision, self.device):
            maps = self.network(self.image)
        weights = getattr(self.network, "weights", [1.0] * len(maps))
        losses = [w * self._loss(m.float()) for w, m in zip(weights, maps, strict=True)]
        torch.stack(losses).sum().backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _loss(self, maps: Tensor) -> Tensor:
        if maps.shape[-2:] == self.mask.shape[-2:]:
            return F.cross_entropy(maps, self.mask, ignore_index=IGNORE)
        return maps.square().mean()  # of a backbone


def multiply_adds(network: nn.Module, size: tuple[int, int]) -> int:
    """Of one image of `size`, by torch's counter."""
    bare = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        bare(torch.empty(1, 3, *size, device="meta"))
    return int(counter.get_total_flops()) // 2


def timed(
    builds: dict[str, nn.Module], kind: str, options: Namespace, size: tuple[int, int]
) -> dict[str, Timing]:
    """Passes of each network in each format, in turn; "name, format" -> seconds."""
    runs: dict[str, Contestant] = {}
    for name, network in builds.items():
        for memory in FORMATS:
            passes = Passes(copy.deepcopy(network), options, size, memory)
            runs[f"{name}, {memory}"] = passes.prepared(kind)
    timings = interleave(runs, options.rounds, CLOCKS[options.clock])
    del runs
    gc.collect()
    return timings


class Apart:
    """Measures peaks of memory, each in a process of its own.

    They are forked from a server that has imported what they need and done nothing. The `with`
    block ends it.
    """

    def __init__(self, options: Namespace) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTS[: None if options.table in PEERS else 2])
        self.options = options
        self._pool = context.Pool(1, maxtasksperchild=1)

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()
        self._pool.join()

    def peaks(self, *which: object) -> dict[str, float]:
        """MiB of each kind of pass; `which` as `network_of` takes it."""
        return self._pool.apply(peaks_here, (self.options, which))


def peaks_here(options: Namespace, which: tuple[Any, ...]) -> dict[str, float]:
    """Peak memory of this process above that of its imports, in MiB, by inference and training."""
    torch.set_num_threads(options.threads)
    before, found = peak_memory(), {}
    network, size = network_of(options, *which)
    forget_peak()  # building one may have taken more: torchvision's VGG16 has a classifier
    for kind in KINDS if options.table in PEERS else [options.table]:
        run = Passes(network, options, size, LAST).prepared(kind)
        run()
        run()
        found[kind] = peak_memory() - before
    return found


def network_of(
    options: Namespace, which: str | int, side: str = "ours"
) -> tuple[nn.Module, tuple[int, int]]:
    """A network and the size of its images.

    Args:
        options: of the command line.
        which: name in the catalogue, or place in the table of pairs.
        side: of a pair, "ours" or "theirs".
    """
    if isinstance(which, str):
        return Ours(which), options.size
    pair = PEERS[options.table][which]
    return getattr(pair, side)(), fitting(options.size, pair.multiple)


def fitting(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """`size` with its sides cut to multiples of `multiple`."""
    height, width = (max(side // multiple, 1) * multiple for side in size)
    return height, width


def of_catalogue(options: Namespace, apart: Apart) -> Iterable[dict[str, Any]]:
    """A row for each network of the catalogue that a common method trains on images."""
    for name in options.networks or COMMON:
        torch.manual_seed(0)
        network = Ours(name)
        timings = timed({name: network}, options.table, options, options.size)
        row: dict[str, Any] = {
            "network": name,
            "parameters": sum(p.numel() for p in network.parameters()),
            "multiply_adds": multiply_adds(network, options.size),
        }
        for memory in FORMATS:
            row[memory] = options.batch / timings[f"{name}, {memory}"].median
        row["ratio"] = speed_up(timings, f"{name}, {LAST}", f"{name}, {PLANES}")
        row["memory"] = apart.peaks(name)[options.table]
        yield row


def of_peers(options: Namespace, apart: Apart) -> Iterable[dict[str, Any]]:
    """A row for each pair: inference and training, ours against the peer."""
    for number, pair in enumerate(PEERS[options.table]):
        if options.networks and pair.name not in options.networks:
            continue
        size = fitting(options.size, pair.multiple)
        torch.manual_seed(0)
        both = {"ours": pair.ours(), "theirs": pair.theirs()}
        peaks = {side: apart.peaks(number, side) for side in both}
        row: dict[str, Any] = {"network": pair.name, "peer": pair.peer, "size": size}
        if options.table == "same":
            row["difference"] = difference_of(both["ours"], both["theirs"], size)
        counts = {name: multiply_adds(network, size) for name, network in both.items()}
        row["multiply_adds"] = counts
        for kind in KINDS:
            timings = timed(both, kind, options, size)
            row[kind] = {
                "ours": options.batch / timings[f"ours, {LAST}"].median,
                "theirs": options.batch / timings[f"theirs, {LAST}"].median,
                **{m: speed_up(timings, f"ours, {m}", f"theirs, {m}") for m in FORMATS},
                "memory": {side: peaks[side][kind] for side in both},
            }
        yield row


@torch.inference_mode()
def difference_of(ours: nn.Module, theirs: nn.Module, size: tuple[int, int]) -> float:
    """Move the weights of ours over; largest difference of the maps, as a share of the largest.

    Raises:
        AssertionError: they are not the same network.
    """
    for network in (ours, theirs):
        network.eval()
    here, there = (tensors_of(network) for network in (ours, theirs))
    for value in here:
        if value.is_floating_point() and value.dim() == 1:  # norms and biases start at 0 or 1
            value.copy_(torch.rand_like(value) + 0.5)
        if value.dim() == 3 and value.shape[1] > 1:  # a table of positions, resized in another way
            value.copy_(value[:, :1].clone())
    shapes = [[value.shape for value in values] for values in (here, there)]
    assert shapes[0] == shapes[1], "not the same network: weights have other shapes"
    for value, target in zip(here, there, strict=True):
        target.copy_(value)
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(2))
    pairs = list(zip(ours(image), theirs(image), strict=True))
    largest = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    assert largest < CLOSE, f"not the same network: maps differ by {largest:.0e} of the largest"
    return largest


def tensors_of(network: nn.Module) -> list[Tensor]:
    """Weights and statistics in their order; without DINOv2's unused token, which timm lacks."""
    return [value for key, value in network.state_dict().items() if "mask_token" not in key]


CATALOGUE_COLUMNS = (
    *("network", "M parameters", "G multiply-adds", "NCHW, images/s", "channels last, images/s"),
    *("channels last / NCHW", "peak MiB"),
)
PEER_COLUMNS = (
    *("ours", "peer", "largest difference", "G multiply-adds, ours and peer"),
    *("inference, images/s", "ours / peer", "NCHW", "peak MiB, ours and peer"),
    *("training, images/s", "ours / peer", "NCHW", "peak MiB, ours and peer"),
)
PER_MULTIPLY_ADD = "ours / peer for a multiply-add, inference and training"


def cells_of_catalogue(row: dict[str, Any]) -> list[str]:
    return [
        f"`{row['network']}`",
        f"{row['parameters'] / 1e6:.2f}",
        f"{row['multiply_adds'] / 1e9:.2f}",
        *(f"{row[memory]:.2f}" for memory in FORMATS),
        f"{row['ratio']:.2f}",
        f"{row['memory']:,.0f}",
    ]


def cells_of_peers(row: dict[str, Any]) -> list[str]:
    counts = row["multiply_adds"]
    cells = [row["network"], row["peer"]]
    cells += [f"{row['difference']:.0e}"] if "difference" in row else ["another network"]
    cells.append(f"{counts['ours'] / 1e9:.2f}, {counts['theirs'] / 1e9:.2f}")
    for kind in KINDS:
        found = row[kind]
        cells += [
            f"{found['ours']:.2f}",
            f"**{found[LAST]:.2f}**",
            f"{found[PLANES]:.2f}",
            ", ".join(f"{found['memory'][side]:,.0f}" for side in ("ours", "theirs")),
        ]
    if "difference" not in row:
        more = counts["ours"] / counts["theirs"]
        cells.append(", ".join(f"{more * row[k][LAST]:.2f}" for k in KINDS))
    return cells


def parse() -> Namespace:
    parser = arguments("Images a second and peak memory of every network.", rounds=3)
    parser.add_argument("table", choices=[*KINDS, *PEERS], help="what is measured")
    parser.add_argument("--networks", default="", help="names, with commas between them; all")
    parser.add_argument("--size", type=height_and_width, help="height x width; by the table")
    parser.add_argument("--batch", type=int, default=0, help="images; by the table: 1 or 2")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:N (%(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="(%(default)s)")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    options.networks = [name for name in options.networks.split(",") if name]
    options.size = options.size or SIZES[options.table]
    options.batch = options.batch or BATCH[options.table]
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    height, width = options.size
    print(f"{machine()}\n{options.batch} images of {height} x {width}, {options.rounds} rounds\n")
    catalogue = options.table in KINDS
    columns = CATALOGUE_COLUMNS if catalogue else PEER_COLUMNS
    if options.table == "nearest":
        columns = (*columns, PER_MULTIPLY_ADD)
    print(markdown_head(columns, texts=1 if catalogue else 2))
    rows = []
    with Apart(options) as apart:
        for row in of_catalogue(options, apart) if catalogue else of_peers(options, apart):
            cells = cells_of_catalogue(row) if catalogue else cells_of_peers(row)
            print(markdown_row(cells), flush=True)
            rows.append(row)
    if options.json:
        record = {"machine": machine(), "table": options.table, "batch": options.batch}
        text = json.dumps({**record, "size": options.size, "rows": rows}, indent=2)
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
