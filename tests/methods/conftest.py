"""A toy problem and tiny segmenters that every method is tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from support.methods import whole
from torch import Tensor, nn

from semisup.catalog import METHODS
from semisup.contracts import toys
from semisup.contracts.toys import CLASSES, SIDE, ToySegmenter, toy_updates
from semisup.methods.base import Method
from semisup.models import classifiers
from semisup.models.backbones.base import Backbone, PooledStage
from semisup.models.base import Segmenter
from semisup.models.decouplednet import DecoupledNet
from semisup.models.mask_rcnn import MaskRCNN
from semisup.options import options_schema
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Unlabelled, Weak


class Mirror(Segmenter):
    """Logits = gain * image: what a step makes of them can be counted on paper."""

    stride = 1

    def __init__(self) -> None:
        super().__init__(3)
        self.gain = nn.Parameter(torch.ones(()))

    def encode(self, image: Tensor) -> list[Tensor]:
        return [image]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.gain * features[0]


SEGMENTERS = {**toys.SEGMENTERS, "pixelwise": partial(ToySegmenter, kernel=1)}


class ToyBackbone(Backbone):
    """Three stages of strides 2, 4 and 8."""

    channels = (8, 8, 8)
    deepest_stride = 8

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(c, 8, 3, stride=2, padding=1) for c in (in_channels, 8, 8))
        )

    def stages(self, image: Tensor) -> list[PooledStage]:
        found = []
        for layer in self.body:
            size, image = image.shape[-2:], nn.functional.leaky_relu(layer(image), 0.1)
            found.append(PooledStage(image, None, size))
        return found


def toy_decouplednet() -> DecoupledNet:
    """Its classification network sees the whole of a toy picture at once."""
    return DecoupledNet(
        CLASSES, classifier="toy", size=SIDE, kernel=SIDE // 8, width=16, decoder_width=8
    )


def toy_mask_rcnn() -> MaskRCNN:
    """Of a toy picture at twice its size, so that no level of the pyramid is all padding."""
    return MaskRCNN(
        CLASSES,
        backbone="mobilenet_v2",
        frozen_norms=True,
        min_size=2 * SIDE,
        max_size=2 * SIDE,
        width=8,
        box_width=16,
        sampled_boxes=32,
    )


@pytest.fixture(autouse=True, scope="module")
def _small_networks() -> Iterator[None]:
    """Defaults that suit a toy problem, in what reads them off a signature too."""
    options_schema.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "BACKBONES", {**classifiers.BACKBONES, "toy": ToyBackbone})
        for method in METHODS.values():
            # 2.8 million weights teach nothing about a contract that 40,000 do not. A toy picture
            # has 32 x 32 pixels: fewer than an adversary's large view. Nor does MobileNetV2 fit:
            # of 1 x 1 place a batch norm leaves two signs and no gradient.
            small = {"discriminator_width": 8, "generator_width": 8, "view": "small"}
            small |= {"downsampling": 1, "classifier": "toy"}
            defaults = method.__init__.__kwdefaults__ or {}
            for key in small.keys() & defaults.keys():
                patch.setitem(defaults, key, small[key])
        yield
    options_schema.cache_clear()


@pytest.fixture
def segmenters() -> dict[str, Callable[[], Segmenter]]:
    """Name -> what builds a fresh toy segmenter of three classes."""
    return SEGMENTERS


@pytest.fixture
def mirror() -> Callable[[], Segmenter]:
    """What builds a segmenter whose logits are its image."""
    return Mirror


@pytest.fixture
def own_networks() -> dict[str, Callable[[], Segmenter]]:
    """Method that trains one network alone -> what builds a toy one."""
    return {
        **dict.fromkeys(DecoupledNet.trained_by, toy_decouplednet),
        **dict.fromkeys(MaskRCNN.trained_by, toy_mask_rcnn),
    }


MOST_NUMBERS = max(method.reads.unlabelled_numbers for method in METHODS.values())


def toy_picture(count: int, seed: int, device: str) -> tuple[Tensor, Tensor]:
    """Images whose colour tells the class, B3HW, and their masks BHW."""
    image, mask = toys.toy_picture(count, seed)
    return image.to(device), mask.to(device)


def toy_batch(
    seed: int = 0, *, dtype: torch.dtype = torch.float32, device: str = "cpu", void: bool = False
) -> Batch:
    """Two labelled images with a void band, two unlabelled ones of which a part is padding.

    Args:
        void: no valid pixel at all.
    """
    image, mask = toy_picture(2, 2 * seed, device)
    mask[:, :3] = IGNORE
    free, hidden = toy_picture(2, 2 * seed + 1, device)
    valid = torch.ones(2, SIDE, SIDE, dtype=torch.bool, device=device)
    valid[1, :, -5:] = False
    free = free.masked_fill(~valid[:, None], 0.0)
    if void:
        mask, valid = torch.full_like(mask, IGNORE), torch.zeros_like(valid)
    selection = torch.tensor([[False, True, False], [False, True, True]], device=device)
    tags = torch.stack([(hidden == k).flatten(1).any(1) | (k == 0) for k in range(CLASSES)], 1)
    return Batch(
        labelled=whole(image=image.to(dtype), mask=mask, ids=("a", "b"), selection=selection),
        weak=Weak(
            image=free.to(dtype),
            valid=valid,
            tags=tags,
            ids=("c", "d"),
            partial=toys.toy_partial(hidden, valid),
        ),
        unlabelled=Unlabelled(
            image=free.to(dtype),
            valid=valid,
            ids=("c", "d"),
            views=(0.8 * free.to(dtype), 0.7 * free.to(dtype)),
            numbers=toys.toy_numbers(MOST_NUMBERS, seed),
        ),
    )


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Seed -> a toy batch."""
    return toy_batch


@pytest.fixture
def make_updates() -> Callable[..., Updates]:
    """Method -> its updates."""
    return toy_updates


class Gradients(toys.Gradients):
    """The gradient of every player's loss, and the last loss of each."""

    def __init__(self, method: Method) -> None:
        super().__init__(method)
        self.losses: dict[str, Tensor] = {}

    def __call__(self, player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        super().__call__(player, loss, keep_graph=keep_graph)
        self.losses[player] = loss


@pytest.fixture
def gradients() -> Callable[[Method], Gradients]:
    """Method -> an update that records gradients."""
    return Gradients
