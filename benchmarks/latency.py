"""Latency of one image in torch and, exported through torch.onnx, in onnxruntime.

    python benchmarks/latency.py --size 360x480
    python benchmarks/latency.py --size 512x1024
    python benchmarks/latency.py --networks segnet,enet --threads 1

Prints a table in Markdown, a row as soon as it is measured. All networks have 11 classes and random
weights; norms have statistics other than those of the start. Each is exported at the size given,
which is then fixed, and its logits in onnxruntime have to be torch's (to 1e-4 of their largest;
but for 10 % of the pixels where it unpools: two values of a window may be equal but for rounding).
torch computes in inference mode, channels last; onnxruntime optimises the graph as it does by
itself, which includes norms that become part of convolutions. Both take turns; what is printed is
the median, with one thread and with `--threads`. A network that takes long has fewer rounds
(`--seconds`). On a machine that others use too, `--threads 1 --clock processor` is steadier.

Needs onnx, onnxscript and onnxruntime: pip install -e '.[export]'.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import statistics
import tempfile
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from ratios import (
    CLOCKS,
    Contestant,
    arguments,
    height_and_width,
    interleave,
    machine,
    markdown_head,
    markdown_row,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from semisup.catalog import create_model

CLASSES = 11
BASE = "segnet"
NETWORKS = (
    *(BASE, "enet", "segnet_basic", "linknet", "unet", "fc_densenet56", "lraspp"),
    *("deeplab_v3plus", "pspnet", "fcn8s"),
)
CLOSE = 1e-4
"""Largest difference of the logits, as a share of their largest value."""

SWITCHES = {"bayesian_segnet", "deconvnet", "enet", "segnet", "segnet_basic"}
"""Networks that unpool. Where two values of a window differ by rounding alone, another sum in
another order puts the value elsewhere; so does torch itself with norms made part of convolutions.
"""

MOVED = 0.1
"""Largest share of the pixels whose logits may differ by more than `CLOSE` in those. SegNet differs
from itself in 5 % between torch's memory formats at 512 x 1024, and in none at 360 x 480.
"""


def build(name: str) -> nn.Module:
    """A network in eval mode whose norms and scores do something, also where those start at 0."""
    torch.manual_seed(0)
    network = create_model(name, CLASSES).eval()
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif key.endswith("running_mean"):
            value.normal_(0.0, 0.1)
        elif key.endswith("weight") and value.dim() > 1 and not value.any():
            value.normal_(0.0, 0.01)
    return network


def export(network: nn.Module, image: Tensor, path: Path) -> None:
    """Write the network as ONNX, for images of this size."""
    with quiet():
        program = torch.onnx.export(
            network,
            (image,),
            dynamo=True,
            input_names=["image"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    program.save(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """In the `with` block, the exporter does not speak of itself."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


@dataclass(frozen=True)
class Exported:
    """A network in onnxruntime.

    Args:
        path: of the ONNX file.
        image: what it is given.
        threads: of onnxruntime.
    """

    path: Path
    image: Tensor
    threads: int

    def session(self) -> Callable[[], Tensor]:
        """What computes the logits of the image."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            self.path, options, providers=["CPUExecutionProvider"]
        )
        given = {"image": self.image.numpy()}
        return lambda: torch.from_numpy(session.run(None, given)[0])


def with_threads(threads: int, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`run` with so many threads of torch."""

    def call() -> Tensor:
        torch.set_num_threads(threads)
        return run()

    return call


def compare(torchs: Tensor, exported: Tensor, *, moved: float = 0.0) -> tuple[float, float]:
    """Largest difference as a share of the largest logit, and the share of pixels above `CLOSE`.

    Raises:
        AssertionError: that share is larger than `moved`: the exported network is another one.
    """
    assert torchs.shape == exported.shape, (torchs.shape, exported.shape)
    assert torchs.any(), "logits are all 0, so that nothing is compared"
    differences = (torchs - exported).abs().amax(1) / torchs.abs().max()
    largest, share = float(differences.max()), float((differences > CLOSE).float().mean())
    assert share <= moved, f"logits of {share:.2%} of the pixels differ, by up to {largest:.0e}"
    return largest, share


@torch.inference_mode()
def times(runs: dict[str, Contestant], options: Namespace) -> dict[str, float]:
    """Median seconds of each run, in turn; all have run before, the first just now."""
    begin = time.perf_counter()
    next(iter(runs.values()))()
    once = time.perf_counter() - begin
    rounds = max(1, min(options.rounds, int(options.seconds / once)))
    timings = interleave(runs, rounds, CLOCKS[options.clock], warm=True)
    return {name: statistics.median(timing.seconds) for name, timing in timings.items()}


def measure(name: str, options: Namespace) -> dict[str, Any]:
    """A row of the table."""
    network = build(name)
    image = torch.randn(1, 3, *options.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.to("meta")(image.to("meta"))
    network = build(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        export(network, image, path)
        exported = {n: Exported(path, image, n).session() for n in options.threads}
    network = network.to(memory_format=torch.channels_last)
    last = image.contiguous(memory_format=torch.channels_last)
    runs: dict[str, Callable[[], Tensor]] = {}
    for threads in options.threads:
        runs[f"torch, {threads}"] = with_threads(threads, lambda: network(last))
        runs[f"onnxruntime, {threads}"] = exported[threads]
    with torch.inference_mode():
        maps = [run() for run in runs.values()]
    moved = MOVED if name in SWITCHES else 0.0
    largest, share = max(compare(maps[0], other, moved=moved) for other in maps[1:])
    return {
        "network": name,
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": int(counter.get_total_flops()) // 2,
        "difference": largest,
        "moved": share,
        "seconds": times(runs, options),
    }


def cells(row: dict[str, Any], base: dict[str, Any] | None) -> list[str]:
    """Of the table; speed and size against `base` where that was measured."""
    made = [
        f"`{row['network']}`",
        f"{row['parameters'] / 1e6:.2f}",
        f"{base['parameters'] / row['parameters']:.1f}" if base else "",
        f"{row['multiply_adds'] / 1e9:.2f}",
        f"{row['difference']:.0e}",
        f"{row['moved']:.2%}",
    ]
    for way, seconds in row["seconds"].items():
        made.append(f"{1000 * seconds:,.0f}")
        made.append(f"{base['seconds'][way] / seconds:.1f}" if base else "")
    return made


def columns(threads: Sequence[int]) -> list[str]:
    heads = ["network", "M parameters", "fewer, times", "G multiply-adds"]
    heads += ["largest difference", "pixels above 1e-4"]
    for number in threads:
        word = "thread" if number == 1 else "threads"
        for way in ("torch", "onnxruntime"):
            heads += [f"{way}, {number} {word}, ms", "faster, times"]
    return heads


def parse() -> Namespace:
    parser = arguments("Latency of one image in torch and in onnxruntime.", rounds=5)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="(%(default)s)")
    parser.add_argument("--size", type=height_and_width, default=(360, 480), help="(360x480)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of torch for a network (%(default)s)"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="(%(default)s)")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.set_defaults(threads=2)
    options = parser.parse_args()
    options.networks = options.networks.split(",")
    options.threads = sorted({1, options.threads})
    return options


def main() -> None:
    options = parse()
    height, width = options.size
    torch.set_num_threads(max(options.threads))
    print(f"{machine()}, onnxruntime {onnxruntime.__version__}")
    print(f"One image of {height} x {width}; faster and fewer: times, against {BASE}\n")
    print(markdown_head(columns(options.threads), texts=1))
    rows: dict[str, dict[str, Any]] = {}
    for name in options.networks:
        rows[name] = measure(name, options)
        print(markdown_row(cells(rows[name], rows.get(BASE))), flush=True)
    if options.json:
        record = {"machine": machine(), "size": options.size, "rows": list(rows.values())}
        options.json.write_text(json.dumps(record, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
