"""A step of each consistency method against the same step with the field's habits.

    python benchmarks/semi.py
    python benchmarks/semi.py --methods fixmatch --rounds 9
    python benchmarks/semi.py --device cuda --network deeplab_v3plus --side 321 --precision bf16
    python benchmarks/semi.py --costs       # of the library's own steps, over supervised training

LR-ASPP on MobileNetV2, 7 classes, random images. The textbook step has the habits of the published
scripts, not all of which are in each of them; then one after another is given up:

channels first     images and weights in torch's default memory format;
items              .item() of every loss at every step, for the log;
boolean masks      CutMix by indexing with a boolean mask, image by image;
single averages    the teacher moves parameter by parameter;
separate passes    labelled images in one forward pass and strong views in another;
plain optimiser    torch's default: one kernel for each tensor and operation on a CPU.

Boxes are drawn before the step in all of them, as by a loader.

The last line but one has none of them, and the last is the library itself, its engine included.
Before they are timed, all are shown to move every weight alike, in double precision, with batch
norms by their running statistics: those of a batch differ where passes are joined.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from ratios import Contestant, arguments, interleave, machine, show, speed_up
from steps import (
    LATE,
    Library,
    check_synchronisations,
    in_format,
    ladder,
    largest_difference,
    weights_of,
)
from torch import Tensor, nn

from semisup.catalog import create_method, create_model
from semisup.methods.base import Method, Task
from semisup.models.base import Segmenter
from semisup.models.layers import in_eval_mode
from semisup.ops.cutmix import CPS, FRENCH, UNIMATCH, BoxRule
from semisup.system.device import autocast
from semisup.types import IGNORE, Batch, Labelled, Unlabelled

CLASSES = 7
HABITS = (
    *("channels first", "items", "boolean masks"),
    *("single averages", "separate passes", "plain optimiser"),
)
OPTIONS: dict[str, dict[str, Any]] = {
    "mean_teacher": {},
    "cutmix_seg": {"confidence_threshold": 0.2},
    "fixmatch": {"confidence_threshold": 0.2},
    "unimatch": {"confidence_threshold": 0.2, "feature_dropout": 0.0},
    "cps": {},
}
"""Thresholds at which a fresh network teaches some pixels; dropped channels would differ."""


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
        plain = "plain optimiser" in habits
        self.optimisers = {
            player: torch.optim.SGD(
                [{"params": list(g.params), "lr": options.rate * g.lr_scale} for g in groups],
                lr=options.rate,
                momentum=0.9,
                fused=None if plain else True,
            )
            for player, groups in method.players().items()
        }
        self.laid_out: Batch | None = None
        self.boxes: dict[tuple[BoxRule, int], Tensor] = {}
        self.log: list[float] = []

    def __call__(self, batch: Batch) -> None:
        if "channels first" in self.habits:  # laid out once: its loader would have given it so
            self.laid_out = self.laid_out or in_format(batch, torch.contiguous_format)
            batch = self.laid_out
        getattr(self, f"_{self.options.method}")(batch.labelled, batch.unlabelled)

    def _mean_teacher(self, labelled: Labelled, free: Unlabelled) -> None:
        target = self._answer(self.method.teacher.network, free.image)
        logits, student = self._maps(self.method.segmenter, labelled.image, free.views[0])
        squares = (student.softmax(1) - target).square().mean(1)
        term = self.method.consistency_weight * self._mean(squares, free.valid)
        self._descend("segmenter", self._supervised(logits, labelled.mask), term)
        self._follow(self.method.segmenter)

    def _cutmix_seg(self, labelled: Labelled, free: Unlabelled) -> None:
        boxes = self._boxes(FRENCH, free.numbers, free.valid)
        target = self._pasted(self._answer(self.method.teacher.network, free.image), boxes)
        image, valid = self._pasted(free.image, boxes), self._pasted(free.valid, boxes)
        logits, student = self._maps(self.method.segmenter, labelled.image, image)
        sure = target.amax(1) > self.method.confidence_threshold
        squares = (student.softmax(1) - target).square().sum(1)
        term = self._mean(squares, valid) * self._mean(sure.to(squares), valid)
        self._descend("segmenter", self._supervised(logits, labelled.mask), term)
        self._follow(self.method.segmenter)

    def _fixmatch(self, labelled: Labelled, free: Unlabelled) -> None:
        said = self._answer(self.method.teacher.network, free.image)
        boxes = self._boxes(UNIMATCH, free.numbers, free.valid)
        view = self._pasted(free.views[0], boxes)
        logits, student = self._maps(self.method.segmenter, labelled.image, view)
        term = self._taught(student, self._pasted(said, boxes), self._pasted(free.valid, boxes))
        self._descend("segmenter", self._supervised(logits, labelled.mask), term)
        self._follow(self.method.segmenter)

    def _unimatch(self, labelled: Labelled, free: Unlabelled) -> None:
        assert free.numbers is not None
        said = self._answer(self.method.teacher.network, free.image)
        views, targets = [], []
        for number, view in enumerate(free.views):
            numbers = free.numbers[:, number * UNIMATCH.numbers :][:, : UNIMATCH.numbers]
            boxes = self._boxes(UNIMATCH, numbers, free.valid)
            views.append(self._pasted(view, boxes))
            targets.append((self._pasted(said, boxes), self._pasted(free.valid, boxes)))
        logits, *strong = self._maps(self.method.segmenter, labelled.image, *views)
        (perturbed,) = self._maps(self.method.segmenter, free.image)
        terms = [self._taught(m, *target) for m, target in zip(strong, targets, strict=True)]
        term = 0.25 * (terms[0] + terms[1]) + 0.5 * self._taught(perturbed, said, free.valid)
        self._descend("segmenter", self._supervised(logits, labelled.mask), term)
        self._follow(self.method.segmenter)

    def _cps(self, labelled: Labelled, free: Unlabelled) -> None:
        networks = (self.method.segmenter, self.method.second_segmenter)
        boxes = self._boxes(CPS, free.numbers, free.valid)
        said = [self._pasted(self._answer(network, free.image), boxes) for network in networks]
        image, valid = self._pasted(free.image, boxes), self._pasted(free.valid, boxes)
        for name, network, target in zip(self.optimisers, networks, reversed(said), strict=True):
            logits, student = self._maps(network, labelled.image, image)
            cross = F.cross_entropy(student, target.argmax(1), reduction="none")
            term = self.method.cross_weight * self._mean(cross, valid)
            self._descend(name, self._supervised(logits, labelled.mask), term)

    def _answer(self, network: Segmenter, image: Tensor) -> Tensor:
        """Probabilities in eval mode."""
        with torch.no_grad(), in_eval_mode(network), self._precision(image):
            said: Tensor = network(image)
        return said.to(image.dtype).softmax(1)

    def _maps(self, network: Segmenter, *batches: Tensor) -> list[Tensor]:
        with self._precision(batches[0]):
            if "separate passes" in self.habits:
                first, *others = batches
                found = [network(first)]
                if others:
                    found += network(torch.cat(others)).split([len(b) for b in others])
            else:
                found = list(network(torch.cat(batches)).split([len(b) for b in batches]))
        return [maps.to(batches[0].dtype) for maps in found]

    def _precision(self, image: Tensor) -> Any:
        return autocast(self.options.precision, image.device)

    def _boxes(self, rule: BoxRule, numbers: Tensor | None, valid: Tensor) -> Tensor:
        assert numbers is not None
        key = (rule, numbers.data_ptr())
        if key not in self.boxes:
            self.boxes[key] = rule.draw(numbers, valid.shape[-2:])
        return self.boxes[key]

    def _pasted(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Each image with its neighbour's pixels in its box."""
        if "boolean masks" not in self.habits:
            other = torch.stack([images[1::2], images[::2]], dim=1).flatten(0, 1)
            return torch.where(boxes if images.ndim == 3 else boxes[:, None], other, images)
        mixed = images.clone()
        for number in range(len(images)):
            mixed[number][..., boxes[number]] = images[number ^ 1][..., boxes[number]]
        return mixed

    def _taught(self, logits: Tensor, probability: Tensor, valid: Tensor) -> Tensor:
        value, label = probability.max(1)
        taught = (value >= self.method.confidence_threshold) & valid
        losses = F.cross_entropy(logits, label, reduction="none") * taught
        return losses.sum() / (valid.sum().item() if "items" in self.habits else valid.sum())

    def _mean(self, values: Tensor, valid: Tensor) -> Tensor:
        return (values * valid).sum() / valid.sum()

    def _supervised(self, logits: Tensor, mask: Tensor) -> Tensor:
        return F.cross_entropy(logits, mask, ignore_index=IGNORE)

    def _descend(self, player: str, *terms: Tensor) -> None:
        if "items" in self.habits:
            self.log += [term.item() for term in terms]
        self.optimisers[player].zero_grad(set_to_none=True)
        torch.stack(terms).sum().backward()
        self.optimisers[player].step()

    @torch.no_grad()
    def _follow(self, student: nn.Module) -> None:
        teacher = self.method.teacher
        if "single averages" not in self.habits:
            teacher.follow(student, LATE)
            return
        decay = min(1 - 1 / (LATE.step + 1), teacher.decay)
        for mean, now in zip(teacher.network.parameters(), student.parameters(), strict=True):
            mean.copy_(decay * mean + (1 - decay) * now)
        copied = dict(teacher.network.named_buffers())
        for name, value in student.named_buffers():
            average = name.endswith(("running_mean", "running_var"))
            copied[name].copy_(decay * copied[name] + (1 - decay) * value if average else value)


def build(options: Namespace) -> Method:
    torch.manual_seed(0)

    def network() -> Any:
        return create_model(options.network, CLASSES)

    task = Task(network, CLASSES, (options.side, options.side))
    method = create_method(options.method, task, **OPTIONS.get(options.method, {})).train()
    for layer in method.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.p = 0.0
    return method.to(options.device, memory_format=torch.channels_last)


def make_batch(options: Namespace, dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(1)
    side, count = options.side, options.batch
    image, *views = (torch.randn(count, 3, side, side, generator=generator) for _ in range(4))
    mask = torch.randint(0, CLASSES, (count, side, side), generator=generator)
    mask[:, :4] = IGNORE
    valid = torch.ones(count, side, side, dtype=torch.bool)
    valid[:, -8:] = False
    free = [view.masked_fill(~valid[:, None], 0.0) for view in views]
    ids = tuple(map(str, range(count)))
    to, last = options.device, torch.channels_last
    image, *free = (shown.to(to, dtype, memory_format=last) for shown in (image, *free))
    numbers = torch.rand(count, 2 * CPS.numbers, generator=generator).to(to)
    return Batch(
        labelled=Labelled(image, mask.to(to), torch.ones_like(mask, dtype=torch.bool).to(to), ids),
        unlabelled=Unlabelled(free[0], valid.to(to), ids, (free[1], free[2]), numbers),
    )


def ways_of(options: Namespace) -> dict[str, Callable[[], Any]]:
    """The ladder of habits."""
    return ladder(
        HABITS,
        lambda habits: Scripted(build(options), habits, options),
        lambda: Library(build(options), options),
    )


def check_equal(options: Namespace) -> float:
    """Largest difference of any weight from the textbook's after two steps in double precision."""
    small = Namespace(**{**vars(options), "side": 64, "batch": 2, "precision": "float32"})
    batch = make_batch(small, torch.float64)
    ends: dict[str, dict[str, Tensor]] = {}
    for name, make in ways_of(small).items():
        way = make()
        way.method.double()
        for layer in way.method.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train = lambda mode=True, layer=layer: layer  # whatever the network is set to
                layer.training = False
        for _ in range(2):
            way(batch)
        ends[name] = weights_of(way.method)
    return largest_difference(ends, weights_of(build(small)))


def compare(options: Namespace) -> None:
    batch, difference = make_batch(options), check_equal(options)
    ways = {name: make() for name, make in ways_of(options).items()}
    runs: dict[str, Contestant] = {n: (lambda way=way: way(batch)) for n, way in ways.items()}
    timings = interleave(runs, options.rounds)
    title = (
        f"{options.method}: one step, {options.batch} + {options.batch} crops of {options.side} "
        f"px, {options.precision} (weights differ by {difference:.0e} of their steps)"
    )
    show(title, timings, base="textbook", work=2 * options.batch, unit="images")
    print(f"semisup is {speed_up(timings, 'semisup', 'textbook'):.2f} x as fast as the textbook\n")
    if options.device.startswith("cuda"):
        check_synchronisations(ways["semisup"], batch)


def compare_costs(options: Namespace) -> None:
    """The library's step of each method beside that of supervised training, on labelled images."""
    batch = make_batch(options)
    methods = ("supervised", *options.methods.split(","))
    each = {method: Namespace(**{**vars(options), "method": method}) for method in methods}
    ways = {method: Library(build(own), own) for method, own in each.items()}
    runs: dict[str, Contestant] = {n: (lambda way=way: way(batch)) for n, way in ways.items()}
    timings = interleave(runs, options.rounds)
    show("a step of each method", timings, base="supervised", unit="steps")
    for method in runs:
        ratio = 1 / speed_up(timings, method, "supervised")
        print(f"{method} takes {ratio:.2f} x the time of supervised")


def main() -> None:
    parser = arguments("A step of each consistency method.", rounds=5)
    parser.add_argument("--methods", default=",".join(OPTIONS), help="of %(default)s")
    parser.add_argument("--network", default="lraspp", help="in the catalogue (%(default)s)")
    parser.add_argument("--device", default="cpu", help="where to compute (%(default)s)")
    parser.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    parser.add_argument("--batch", type=int, default=8, help="images a stream (%(default)s)")
    parser.add_argument("--side", type=int, default=112, help="of a crop, pixels (%(default)s)")
    parser.add_argument("--costs", action="store_true", help="compare the methods' own steps")
    parser.set_defaults(rate=1e-3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    if options.costs:
        compare_costs(options)
        return
    for method in options.methods.split(","):
        options.method = method
        compare(options)


if __name__ == "__main__":
    main()
