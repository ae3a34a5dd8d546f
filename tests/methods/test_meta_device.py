"""A whole training step of every network and method on torch's meta device.

Its tensors have shapes and no values, so that whatever asks for a value, a copy to the host or a
branch on what was computed, is an error there: what a GPU would have to wait for is found without
one. `OneDevice` adds what the meta device lets pass: operations on tensors of two devices.

Exceptions, all of them torch's own, and what stands in for them:
- `torch.autocast` knows no meta device: around a backward pass in float32 it does nothing.
- SGD, Adam and AdamW are fused, which the meta device has no form of: RMSprop is not.
- DecoupledNet takes crops of 320 pixels: here it is built for those of the toy problem.
- Mask R-CNN goes on with as many boxes as it finds, which is a value: its backbone and pyramid
  alone are computed here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from semisup.catalog import METHODS, MODELS, create_method, create_model
from semisup.contracts.methods import LATE
from semisup.contracts.toys import CLASSES, SIDE, ToySegmenter, toy_batch
from semisup.methods.base import Method, Task
from semisup.methods.supervised import Supervised
from semisup.models.base import Segmenter
from semisup.ops.teacher import Teacher
from semisup.settings import OptimSettings
from semisup.training.updates import Updates
from semisup.types import Batch, Reads, Scalars, Update

MODEL_OPTIONS: dict[str, dict[str, Any]] = {"decouplednet": {"kernel": 1, "size": SIDE}}

COPIES = ("aten._to_copy.default", "aten.copy_.default")
"""A tensor that is sent to the device is one operation on two."""


OWN = {method: model for model, cls in MODELS.items() for method in cls.trained_by}
"""Method of one special network -> that network."""

FINDS_BOXES = {"mask_rcnn"}
"""Networks, and the methods that train them alone, whose sizes depend on values."""

PAIRS = [
    (method, model)
    for method in METHODS
    for model, cls in MODELS.items()
    if OWN.get(method, model) == model
    and method in (cls.trained_by or METHODS)
    and model not in FINDS_BOXES
    and (METHODS[method].reads.volumes or not cls.reads_volumes)
]
"""What a recipe may name together."""

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("deeplab_v2", {"backbone": "resnet50"}),
    ("deeplab_v3plus", {"backbone": "resnet50", "deep_stem": True}),
    ("enet", {"decoder": False}),
    ("fc_densenet56", {"recompute": True}),
    ("fcn32s", {"backbone": "alexnet"}),
    ("unet", {"padding": "valid"}),
]
"""A network -> options that make other layers, or other steps, of it."""

DEEP = {
    "deeplab_v2",
    "deeplab_v3plus",
    "dpt",
    "enet",
    "fc_densenet103",
    "fc_densenet56",
    "fc_densenet67",
    "fcn8s_mobilenet_v2",
    "pspnet",
    "refinenet",
}
"""So many layers that a step takes more than a second: CI takes one of each, by its slow tests."""

OFTEN = {("supervised", model) for model in MODELS if model not in DEEP}
"""Every other network once, also where slow tests are left out."""


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices; a number (0-d) may be on the host."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        leaves = tree_leaves((args, kwargs))
        devices = {leaf.device for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim()}
        if len(devices) > 1 and str(func) not in COPIES:
            raise RuntimeError(f"{func} on tensors of {sorted(map(str, devices))}")
        return func(*args, **(kwargs or {}))


def on_meta(value: Any) -> Any:
    """The same, its tensors on the meta device."""
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, tuple):
        return tuple(map(on_meta, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: on_meta(getattr(value, f.name)) for f in fields(value)})
    return value


def meta_batch(reads: Reads) -> Batch:
    """A toy batch of what a method reads."""
    batch = toy_batch(reads)
    return Batch(**{name: on_meta(getattr(batch, name)) for name in reads.streams})


def build(method: str, network: Callable[..., Segmenter]) -> Method:
    """A method in training mode, without memory for any weight."""
    with torch.device("meta"):
        return create_method(method, Task(network, CLASSES, (SIDE, SIDE))).train()


def of_catalogue(name: str, extra: int = 0) -> Segmenter:
    return create_model(name, CLASSES + extra, **MODEL_OPTIONS.get(name, {}))


def take_step(method: Method, *, measure: bool = False, clip: float = 0.0) -> Scalars:
    """One step of training, nothing left out: losses, backward passes, optimisers, an average."""
    optim = {player: OptimSettings(kind="rmsprop", lr=1e-2) for player in method.players()}
    updates, batch = Updates(method.players(), optim, clip=clip), meta_batch(method.reads)
    average = Teacher(method.predictor(), 0.9)
    with OneDevice():
        updates.begin(LATE, measure=measure)
        scalars = method.step(batch, LATE, updates)
        average.follow(method.predictor(), LATE)
    return scalars


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: contextlib.nullcontext())


@pytest.mark.parametrize(
    ("method", "model"),
    [pytest.param(*p, marks=() if p in OFTEN else pytest.mark.slow) for p in PAIRS],
)
def test_a_step_asks_for_no_value(method: str, model: str) -> None:
    scalars = take_step(build(method, partial(of_catalogue, model)))
    assert scalars
    assert all(value.is_meta and value.dim() == 0 for value in scalars.values())


@pytest.mark.parametrize(
    ("model", "options"),
    [
        pytest.param(*form, marks=() if form[0] in {"fcn32s", "unet"} else pytest.mark.slow)
        for form in OPTIONS
    ],
)
def test_a_step_of_another_form_asks_for_no_value(model: str, options: dict[str, Any]) -> None:
    def network(extra: int = 0) -> Segmenter:
        return create_model(model, CLASSES + extra, **options)

    assert take_step(build("supervised", network))


def test_every_network_and_method_is_in_a_pair() -> None:
    assert {method for method, _ in PAIRS} == set(METHODS) - FINDS_BOXES
    assert {model for _, model in PAIRS} == set(MODELS) - FINDS_BOXES


@pytest.mark.parametrize("name", sorted(FINDS_BOXES))
def test_what_comes_before_the_boxes_asks_for_no_value(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, CLASSES).train()
        assert model.static_part is not model
        image = torch.empty(2, 3, 2 * SIDE, 2 * SIDE)
        with OneDevice():
            maps = model.static_part(image)
    assert all(level.is_meta for level in maps.values())


@pytest.mark.parametrize("name", sorted(set(METHODS) - FINDS_BOXES))
def test_a_measured_and_clipped_step_with_class_weights_asks_for_no_value(name: str) -> None:
    method = build(name, partial(of_catalogue, OWN.get(name, "unet")))
    if method.takes_class_weights:
        method.class_weights = torch.ones(CLASSES, device="meta")
    assert take_step(method, measure=True, clip=1.0)


# ---- What is found so ----


class Careless(Supervised):
    """Supervised training that does one thing that a GPU stumbles over.

    Args:
        task: what for.
        wrong: from the loss's maps to something.
    """

    def __init__(self, task: Task, wrong: Callable[[Tensor], object]) -> None:
        super().__init__(task)
        self.wrong = wrong

    def step(self, batch: Batch, progress: Any, update: Update) -> Scalars:
        self.wrong(self.segmenter(batch.labelled.image))
        return super().step(batch, progress, update)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda maps: maps.mean().item(),
        lambda maps: maps.argmax(1).tolist(),
        lambda maps: maps.cpu(),
        lambda maps: bool((maps > 0).any()),
        lambda maps: maps[maps > 0],
        lambda maps: (maps > 0).nonzero(),
        lambda maps: maps.argmax(1).unique(),
        lambda maps: maps + torch.ones(SIDE),
        lambda maps: torch.nn.functional.conv2d(maps, torch.ones(1, CLASSES, 1, 1)),
        lambda maps: maps[torch.tensor([0])],
        lambda maps: torch.cat([maps, torch.zeros(1, CLASSES, SIDE, SIDE)]),
    ],
)
def test_what_a_gpu_stumbles_over_is_an_error(wrong: Callable[[Tensor], object]) -> None:
    with torch.device("meta"):
        method = Careless(Task(ToySegmenter, CLASSES, (SIDE, SIDE)), wrong).train()
    with pytest.raises((RuntimeError, NotImplementedError)):
        take_step(method)


@pytest.mark.parametrize(
    "right", [lambda maps: maps + torch.tensor(1.0), lambda maps: torch.ones(SIDE).to(maps.device)]
)
def test_numbers_and_what_is_sent_to_the_device_are_none(
    right: Callable[[Tensor], object],
) -> None:
    with torch.device("meta"):
        method = Careless(Task(ToySegmenter, CLASSES, (SIDE, SIDE)), right).train()
    assert take_step(method)
