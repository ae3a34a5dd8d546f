"""The contract of methods, over the catalogue: a new method needs no new test here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from support.methods import create
from torch import Tensor
from torch.nn.functional import avg_pool2d

from semisup.catalog import METHODS
from semisup.contracts.base import Check, NotApplicable
from semisup.contracts.methods import CHECKS, LATE, MethodSubject
from semisup.contracts.toys import CLASSES, SIDE, ToySegmenter
from semisup.methods.base import Method
from semisup.models.base import Segmenter
from semisup.models.decouplednet import DecoupledNet
from semisup.training.updates import Updates
from semisup.types import Batch

Build = Callable[..., Segmenter]

every_method = pytest.mark.parametrize("name", METHODS)

LEARNS, TERMS = "its predictor learns a toy problem", "every weighted term reaches an optimiser"
IN_STAGES = "teaches a part of its network: test_decouplednet.py has what the parts come to"
ALONE = "without its terms it is supervised training"
VOID = "void pixels do not count"
EXCEPTIONS = {
    **{(name, LEARNS): IN_STAGES for name in DecoupledNet.trained_by},
    ("mask_rcnn", LEARNS): "objects take hundreds of steps: test_mask_rcnn.py sees losses fall",
    ("mask_rcnn", VOID): "it reads objects, no mask: an image without any teaches background",
}
"""(Method, check) -> why it is not held to it."""

UNLABELLED, PADDING = "unlabelled images change the update", "padding does not count"
SURE_OF_ALL = {"confidence_threshold": 0.0}
CERTAIN: dict[tuple[str, str], dict[str, Any]] = {
    ("s4gan", TERMS): SURE_OF_ALL,
    ("s4gan_multi_label", TERMS): SURE_OF_ALL,
    **{
        (name, check): SURE_OF_ALL
        for name in ("cutmix_seg", "fixmatch", "unimatch")
        for check in (TERMS, UNLABELLED, PADDING)
    },
}
"""What makes every term act in a fresh method, which is sure of no image and no pixel."""


@dataclass(frozen=True)
class Here(MethodSubject):
    """A method around the network of its own, where it trains no other."""

    network: Build | None = None

    def build(self, kind: str = "plain", seed: int = 0, **options: Any) -> Method:
        if self.network is None:
            return super().build(kind, seed, **options)
        torch.manual_seed(seed)
        method: Method = create(
            self.name, self.network, CLASSES, (SIDE, SIDE), **{**self.options, **options}
        )
        return method.train()


@pytest.fixture
def subject(own_networks: Mapping[str, Build]) -> Callable[[str], Here]:
    return lambda name: Here(name, METHODS[name], network=own_networks.get(name))


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name}-{check.title.replace(' ', '_')}")
        for name in METHODS
        for check in CHECKS
        if (name, check.title) not in EXCEPTIONS
    ],
)
def test_it_holds(name: str, check: Check[MethodSubject], subject: Callable[[str], Here]) -> None:
    held_to = replace(subject(name), options=CERTAIN.get((name, check.title), {}))
    with contextlib.suppress(NotApplicable):
        check.run(held_to)


class OneMap(ToySegmenter):
    """Without auxiliary maps, and of pictures at half of their size."""

    def encode(self, image: Tensor) -> list[Tensor]:
        return super().encode(avg_pool2d(image, 2))

    def training_logits(self, image: Tensor) -> list[Tensor]:
        return [self(image)]


IN_PAIRS, OF_THE_CODE = {"partner": "self"}, {"follows": "code"}
OF_LOGITS = {"resolution": "logits"}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("cps", IN_PAIRS),
    ("cutmix_seg", IN_PAIRS),
    ("fixmatch", IN_PAIRS),
    ("unimatch", IN_PAIRS),
    ("cps", OF_THE_CODE),
    ("cutmix_seg", OF_THE_CODE),
    ("fixmatch", OF_THE_CODE),
    ("mean_teacher", OF_THE_CODE),
    ("unimatch", OF_THE_CODE),
    ("cps", OF_LOGITS),
    ("cutmix_seg", OF_LOGITS),
    ("fixmatch", OF_LOGITS),
    ("mean_teacher", OF_LOGITS),
    ("unimatch", OF_LOGITS),
]
"""Methods whose options change what they read and how they are trained."""
AUTHORS_PADDING = "the authors count it"
SAME_VIEW = "a fresh teacher says of the same view what its student says"
NOT_OF_THE_CODE = {
    ("cps", PADDING): AUTHORS_PADDING,
    ("mean_teacher", PADDING): AUTHORS_PADDING,
    ("mean_teacher", UNLABELLED): SAME_VIEW,
    ("mean_teacher", TERMS): SAME_VIEW,
    ("mean_teacher", LEARNS): "with w = 100 from the start, no faster than its teacher follows",
}
"""(Method, check) -> why it is not held to it with `follows = "code"`."""
QUICK_HERE = {UNLABELLED, PADDING, ALONE, "it reads the streams that it names"}
"""What these options may break; a slow run holds them to all the rest."""


@pytest.mark.parametrize(
    ("name", "options", "check"),
    [
        pytest.param(
            name,
            options,
            check,
            id=f"{name}-{'-'.join(options.values())}-{check.title.replace(' ', '_')}",
            marks=[]
            if check.title in QUICK_HERE and options is not OF_LOGITS
            else [pytest.mark.slow],
        )
        for name, options in VARIANTS
        for check in CHECKS
        if not (options is OF_THE_CODE and (name, check.title) in NOT_OF_THE_CODE)
        and not (options is OF_LOGITS and check.title == ALONE)
    ],
)
def test_it_holds_with_these_options(
    name: str,
    options: dict[str, Any],
    check: Check[MethodSubject],
    subject: Callable[[str], Here],
) -> None:
    held_to = replace(subject(name), options=CERTAIN.get((name, check.title), {}) | options)
    one_map = options is OF_LOGITS or (name, options) == ("unimatch", OF_THE_CODE)
    if one_map and check.title != ALONE:  # which compares it with the network of `supervised`
        network = partial(OneMap, normalise=check.title != VOID)
        held_to = replace(held_to, network=network)
    with contextlib.suppress(NotApplicable):
        check.run(held_to)


def test_exceptions_are_of_methods_and_checks_that_there_are() -> None:
    known = {(name, check.title) for name in METHODS for check in CHECKS}
    assert EXCEPTIONS.keys() | CERTAIN.keys() | NOT_OF_THE_CODE.keys() <= known


@pytest.mark.gpu
@every_method
def test_scalars_stay_on_the_device(
    name: str,
    subject: Callable[[str], Here],
    make_batch: Callable[..., Batch],
    make_updates: Callable[..., Updates],
) -> None:
    method = subject(name).build("full").to("cuda")
    updates = make_updates(method)
    updates.begin(LATE)
    scalars = method.step(make_batch(device="cuda"), LATE, updates)
    assert {value.device.type for value in scalars.values()} == {"cuda"}
