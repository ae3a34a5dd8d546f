"""A whole alternating step against the textbook one with the field's habits.

    python benchmarks/gan.py
    python benchmarks/gan.py --method gan_segmentation --rounds 7 --memory
    python benchmarks/gan.py --method s4gan --compile
    python benchmarks/gan.py --device cuda --batch 16 --side 321 --precision bf16 --peak 989

DeepLab v3+ on MobileNetV2, 7 classes, and a generator and a discriminator of the widths that the
recipes on VOC at 256 px have (`--wide`: the papers'), on random images. The textbook step is that
of the published scripts; then one habit after another is given up:

channels first  images and weights in torch's default memory format;
items           .item() of every loss at every step, for the log;
host labels     label maps and one-hot truth made by NumPy on the host and copied over;
all gradients   backward() into every network that the loss passed through, cleared afterwards;
two passes      each player's loss from a forward pass of its own;
plain optimiser one kernel for each tensor and operation.

The last line but one has none of them, and the last is the library itself, its engine included.
Before they are timed, all are shown to move every weight alike, in double precision. `--memory`
measures the peaks, each way in a process of its own. On a GPU the library's step is run once under
torch's synchronisation check, and `--peak` (TFLOP/s of the card) gives the share that it reached.
"""

from __future__ import annotations

import contextlib
import copy
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ratios import Contestant, arguments, interleave, machine, peak_memory, show, speed_up
from steps import (
    Library,
    check_synchronisations,
    in_format,
    ladder,
    largest_difference,
    weights_of,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from semisup.catalog import create_method, create_model
from semisup.methods.base import Method, Task
from semisup.models.layers import statistics_kept
from semisup.ops.pixels import to_normalised, to_unit
from semisup.system.device import autocast
from semisup.types import IGNORE, Batch, Labelled, Unlabelled

CLASSES = 7
HABITS = (
    *("channels first", "items", "host labels"),
    *("all gradients", "two passes", "plain optimiser"),
)
WIDTHS: dict[str, dict[str, Any]] = {
    "adversarial": {"discriminator_width": 16},
    "adversarial_luc": {},
    "gan_segmentation": {"generator_width": 32},
    "s4gan": {"discriminator_width": 16},
}
"""Options of the recipes in recipes/voc_small."""

ALL_ACCEPTED = {"s4gan": {"confidence_threshold": 0.2}}
"""Where a fresh discriminator accepts no image, so that a term would have no gradient."""


class Scripted:
    """A training step as in the published scripts.

    Args:
        method: holds the networks and the weights of the terms.
        habits: those that it has, of `HABITS`.
        options: of the command line.
    """

    def __init__(self, method: Any, habits: frozenset[str], options: Namespace) -> None:
        self.method, self.habits, self.options = method, habits, options
        if "channels first" in habits:
            method.to(memory_format=torch.contiguous_format)
        self.parameters = {
            player: [p for group in groups for p in group.params]
            for player, groups in method.players().items()
        }
        self.optimisers = {
            player: torch.optim.SGD(
                [{"params": list(g.params), "lr": options.rate * g.lr_scale} for g in groups],
                lr=options.rate,
                momentum=0.9,
                fused=None if "plain optimiser" in habits else True,
                foreach=False if "plain optimiser" in habits else None,
            )
            for player, groups in method.players().items()
        }
        self.first: Batch | None = None
        self.log: list[float] = []

    def __call__(self, batch: Batch) -> None:
        step = {
            "adversarial": self._adversarial,
            "adversarial_luc": self._adversarial_luc,
            "gan_segmentation": self._gan,
            "s4gan": self._s4gan,
        }
        if "channels first" in self.habits:  # laid out once: its loader would have given it so
            self.first = self.first or in_format(batch, torch.contiguous_format)
            batch = self.first
        step[self.options.method](batch)

    def _descend(self, player: str, loss: Tensor, keep: bool = False) -> None:
        if "items" in self.habits:
            self.log.append(loss.item())
        if "all gradients" in self.habits:
            loss.backward(retain_graph=keep)
        else:
            loss.backward(inputs=self.parameters[player], retain_graph=keep)
        self.optimisers[player].step()
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)

    def _forward(self, network: Callable[..., Any], *inputs: Tensor) -> Any:
        with autocast(self.options.precision, inputs[0].device):
            found = network(*inputs)
        if self.options.precision == "float32":
            return found
        return tuple(f.float() for f in found) if isinstance(found, tuple) else found.float()

    def _against(self, logits: Tensor, target: float, valid: Tensor) -> Tensor:
        """Binary cross entropy, with targets built where the habit is to build them."""
        if "host labels" in self.habits:
            targets = torch.from_numpy(np.full(tuple(logits.shape), target))
            targets = targets.to(logits.device, logits.dtype)
        else:
            targets = torch.full_like(logits, target)
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (loss.view_as(valid) * valid).sum() / valid.sum()

    def _one_hot(self, truth: Tensor) -> Tensor:
        if "host labels" not in self.habits:
            classes = torch.arange(CLASSES, device=truth.device).view(1, -1, 1, 1)
            return (truth[:, None] == classes).float()
        on_host = truth.cpu().numpy()
        planes = np.stack([on_host == label for label in range(CLASSES)], axis=1)
        return torch.from_numpy(planes.astype(np.float32)).to(truth.device)

    def _adversarial(self, batch: Batch) -> None:
        method, again = self.method, "two passes" in self.habits
        segmenter, discriminator = method.segmenter, method.discriminator
        mask, free = batch.labelled.mask, batch.unlabelled
        known = mask != IGNORE
        logits = self._forward(segmenter, batch.labelled.image)
        predicted = logits.softmax(1)
        scores = self._forward(discriminator, predicted)
        others = self._forward(segmenter, free.image)
        other_scores = self._forward(discriminator, others.softmax(1))
        accepted = (other_scores.detach().sigmoid() > 0.2).squeeze(1) & free.valid
        answer = others.detach().argmax(1).masked_fill(~accepted, IGNORE)
        taught = F.cross_entropy(others, answer, ignore_index=IGNORE, reduction="sum")
        self._descend(
            "segmenter",
            F.cross_entropy(logits, mask, ignore_index=IGNORE)
            + method.adversarial_weight * self._against(scores, 1.0, known)
            + method.adversarial_weight_unlabelled * self._against(other_scores, 1.0, free.valid)
            + method.self_taught_weight * taught / accepted.sum().clamp(min=1),
            keep=not again,
        )
        truth = torch.where(known, mask, predicted.detach().argmax(1))
        real = self._forward(discriminator, self._one_hot(truth).to(predicted))
        fake = self._forward(discriminator, predicted.detach()) if again else scores
        loss = self._against(real, 1.0, known) + self._against(fake, 0.0, known)
        self._descend("discriminator", 0.5 * loss)

    def _adversarial_luc(self, batch: Batch) -> None:
        method, mask = self.method, batch.labelled.mask
        known = mask != IGNORE

        def reduced(maps: Tensor) -> Tensor:
            return F.avg_pool2d(maps, method.downsampling, ceil_mode=True)

        def score(maps: Tensor) -> Tensor:
            found: Tensor = self._forward(method.adversary, reduced(maps), image)
            return found

        image = reduced(to_unit(batch.labelled.image))
        shares = method.adversary.shares(reduced(known[:, None].to(image)).squeeze(1))
        logits = self._forward(method.segmenter, batch.labelled.image)
        predicted = logits.softmax(1)
        scores = score(predicted)
        self._descend(
            "segmenter",
            F.cross_entropy(logits, mask, ignore_index=IGNORE)
            + method.adversarial_weight * self._against(scores, 1.0, shares),
            keep="two passes" not in self.habits,
        )
        truth = torch.where(known, mask, predicted.detach().argmax(1))
        real = score(self._one_hot(truth).to(predicted))
        fake = score(predicted.detach()) if "two passes" in self.habits else scores
        loss = self._against(real, 1.0, shares) + self._against(fake, 0.0, shares)
        self._descend("adversary", 0.5 * loss)

    def _s4gan(self, batch: Batch) -> None:
        method, again = self.method, "two passes" in self.habits
        mask, free = batch.labelled.mask, batch.unlabelled
        pairs = torch.ones_like(mask[:, 0, 0], dtype=torch.bool)

        def score_predictions(maps: Tensor) -> Any:
            outside = ~free.valid[:, None]
            image = to_unit(free.image).masked_fill(outside, 0.0)
            return self._forward(method.discriminator, maps.masked_fill(outside, 0.0), image)

        def score_truth() -> Any:
            truth = torch.where(mask != IGNORE, mask, logits.detach().argmax(1))
            maps = self._one_hot(truth).to(logits)
            return self._forward(method.discriminator, maps, to_unit(batch.labelled.image))

        logits = self._forward(method.segmenter, batch.labelled.image)
        others = self._forward(method.segmenter, free.image)
        fake, features = score_predictions(others.softmax(1))
        real, wanted = score_truth()
        accepted = fake.detach().sigmoid() > method.confidence_threshold
        taught = accepted[:, None, None] & free.valid
        answer = others.detach().argmax(1).masked_fill(~taught, IGNORE)
        self_taught = F.cross_entropy(others, answer, ignore_index=IGNORE, reduction="sum")
        distance = (features.mean(0) - wanted.detach().mean(0)).abs().mean()
        self._descend(
            "segmenter",
            F.cross_entropy(logits, mask, ignore_index=IGNORE)
            + method.feature_matching_weight * distance
            + method.self_taught_weight * self_taught / taught.sum().clamp(min=1),
            keep=not again,
        )
        if again:
            (fake, _), (real, _) = score_predictions(others.softmax(1).detach()), score_truth()
        loss = self._against(fake, 0.0, pairs) + self._against(real, 1.0, pairs)
        self._descend("discriminator", 0.5 * loss)

    def _gan(self, batch: Batch) -> None:
        method, again = self.method, "two passes" in self.habits
        segmenter, generator, real = method.segmenter, method.generator, batch.unlabelled
        noise = generator.draw(len(real.image), real.image)
        generated = to_normalised(self._forward(generator, noise))
        everywhere = torch.ones_like(real.valid)

        def realness(images: Tensor) -> Tensor:
            logits = self._forward(segmenter, images)
            return logits[:, :-1].logsumexp(1, keepdim=True) - logits[:, -1:]

        with statistics_kept(segmenter):
            scores = realness(generated)
        self._descend("generator", self._against(scores, 1.0, everywhere), keep=not again)
        logits = self._forward(segmenter, batch.labelled.image)[:, :-1]
        held = realness(real.image)
        if again:
            with statistics_kept(segmenter):
                scores = realness(generated.detach())
        self._descend(
            "segmenter",
            F.cross_entropy(logits, batch.labelled.mask, ignore_index=IGNORE)
            + method.unlabelled_weight * self._against(held, 1.0, real.valid)
            + method.generated_weight * self._against(scores, 0.0, everywhere),
        )


def build(options: Namespace) -> Method:
    torch.manual_seed(0)

    def network(extra: int = 0) -> Any:
        return create_model("deeplab_v3plus", CLASSES + extra)

    widths = {} if options.wide else WIDTHS[options.method]
    chosen = {**widths, **ALL_ACCEPTED.get(options.method, {})}
    crop = (options.side, options.side)
    method = create_method(options.method, Task(network, CLASSES, crop), **chosen).train()
    for layer in method.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.p = 0.0  # one way has two forward passes, one has one: dropout would differ
    return method.to(options.device, memory_format=torch.channels_last)


def make_batch(options: Namespace, dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(1)
    side, count = options.side, options.batch
    image, free = (torch.randn(count, 3, side, side, generator=generator) for _ in range(2))
    mask = torch.randint(0, CLASSES, (count, side, side), generator=generator)
    mask[:, :4] = IGNORE
    valid = torch.ones(count, side, side, dtype=torch.bool)
    valid[:, -8:] = False
    ids = tuple(map(str, range(count)))
    to, last = options.device, torch.channels_last
    image, free = (shown.to(to, dtype, memory_format=last) for shown in (image, free))
    return Batch(
        labelled=Labelled(image, mask.to(to), torch.ones_like(mask, dtype=torch.bool).to(to), ids),
        unlabelled=Unlabelled(free, valid.to(to), ids),
    )


def ways_of(options: Namespace) -> dict[str, Callable[[], Any]]:
    """The ladder; with `--compile` also the library, compiled."""
    ways = ladder(
        HABITS,
        lambda habits: Scripted(build(options), habits, options),
        lambda: Library(build(options), options),
    )
    if options.compile:
        ways["semisup, compiled"] = lambda: Library(compiled(build(options)), options)
    return ways


def compiled(method: Method) -> Method:
    for network in method.children():
        network.compile()
    return method


def check_equal(options: Namespace) -> float:
    """Largest difference of any weight from the textbook's after two steps in double precision."""
    side = 144 if options.method == "adversarial_luc" else 64  # the adversary sees a quarter of it
    small = Namespace(**{**vars(options), "side": side, "batch": 2, "precision": "float32"})
    small.compile = False
    batch = make_batch(small, torch.float64)
    ends: dict[str, dict[str, Tensor]] = {}
    for name, make in ways_of(small).items():
        way = make()
        way.method.double()
        for step in range(2):
            torch.manual_seed(step)
            way(batch)
        ends[name] = weights_of(way.method)
    return largest_difference(ends, weights_of(build(small)))


def measure_memory(options: Namespace) -> None:
    """Peak of each way in a process of its own."""
    print("Peak memory, each in a process of its own:")
    for name in ("textbook", "semisup"):
        arguments = [a for a in sys.argv[1:] if a != "--memory"]
        command = [sys.executable, __file__, *arguments, "--peak-of", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"  {name}: {done.stdout.strip()} MiB")


def peak_of(name: str, options: Namespace) -> None:
    way, batch = ways_of(options)[name](), make_batch(options)
    for _ in range(3):
        way(batch)
    print(f"{peak_memory():.0f}")


def parse() -> Namespace:
    parser = arguments("A whole alternating step.", rounds=5)
    parser.add_argument("--method", default="adversarial", choices=list(WIDTHS))
    parser.add_argument("--device", default="cpu", help="where to compute (%(default)s)")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--batch", type=int, default=4, help="images a stream (%(default)s)")
    parser.add_argument("--side", type=int, default=176, help="of a crop, pixels (%(default)s)")
    parser.add_argument("--wide", action="store_true", help="the papers' widths")
    parser.add_argument("--compile", action="store_true", help="also the library, compiled")
    parser.add_argument("--memory", action="store_true", help="also the peaks of memory")
    parser.add_argument("--peak", type=float, default=0.0, help="of the card, TFLOP/s")
    parser.add_argument("--peak-of", default="", help="(used by --memory)")
    parser.set_defaults(rate=1e-3)
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        peak_of(options.peak_of, options)
        return
    print(machine())
    batch = make_batch(options)
    difference = check_equal(options)
    ways = {name: make() for name, make in ways_of(options).items()}
    runs: dict[str, Contestant] = {n: (lambda way=way: way(batch)) for n, way in ways.items()}
    timings = interleave(runs, options.rounds)
    streams = len(ways["semisup"].method.reads.streams)
    title = (
        f"{options.method}: one step, {' + '.join([str(options.batch)] * streams)} crops of "
        f"{options.side} px, {options.precision} (weights differ by {difference:.0e} of their "
        "steps)"
    )
    show(title, timings, base="textbook", work=streams * options.batch, unit="images")
    print(f"semisup is {speed_up(timings, 'semisup', 'textbook'):.2f} x as fast as the textbook")
    if options.device.startswith("cuda"):
        check_synchronisations(ways["semisup"], batch)
    if options.peak:
        with contextlib.redirect_stdout(None), FlopCounterMode(display=False) as counter:
            copy.copy(ways["semisup"])(batch)
        rate = counter.get_total_flops() / timings["semisup"].median / 1e12
        print(f"semisup: {rate:.1f} TFLOP/s, {rate / options.peak:.1%} of {options.peak:.0f}")
    if options.memory:
        measure_memory(options)


if __name__ == "__main__":
    main()
