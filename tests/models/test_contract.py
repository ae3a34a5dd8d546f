"""What holds for every segmentation network, over a table of them."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from semisup.catalog import MODELS as CATALOGUE
from semisup.contracts import models as contract
from semisup.contracts.base import ContractError, NotApplicable
from semisup.errors import RecipeError
from semisup.models.base import Segmenter
from semisup.models.deconvnet import DeconvNet
from semisup.models.decouplednet import DecoupledNet
from semisup.models.deeplab_v2 import DeepLabV2
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from semisup.models.dpt import DPT
from semisup.models.enet import ENet
from semisup.models.fc_densenet import FCDenseNet56, FCDenseNet67, FCDenseNet103
from semisup.models.fcn import FCN8s, FCN8sAtOnce, FCN8sMobileNetV2, FCN16s, FCN32s
from semisup.models.gfrnet import GFRNet
from semisup.models.linknet import LinkNet
from semisup.models.lraspp import LRASPP
from semisup.models.mask_rcnn import MaskRCNN
from semisup.models.pspnet import PSPNet
from semisup.models.refinenet import RefineNet
from semisup.models.segnet import BayesianSegNet, SegNet, SegNetBasic
from semisup.models.unet import UNet, mirror_pad
from semisup.models.unet3d import UNet3D

CLASSES = 5

MODELS: dict[str, partial[Segmenter]] = {
    "fcn32s": partial(FCN32s, CLASSES, width=8),
    "fcn32s_alexnet": partial(FCN32s, CLASSES, width=8, backbone="alexnet"),
    "fcn32s_bvlc_alexnet": partial(FCN32s, CLASSES, width=8, backbone="bvlc_alexnet"),
    "fcn16s": partial(FCN16s, CLASSES, width=8),
    "fcn8s": partial(FCN8s, CLASSES, width=8),
    "fcn8s_at_once": partial(FCN8sAtOnce, CLASSES, width=8),
    "fcn8s_mobilenet_v2": partial(FCN8sMobileNetV2, CLASSES),
    "fc_densenet56": partial(FCDenseNet56, CLASSES),
    "fc_densenet56_recompute": partial(FCDenseNet56, CLASSES, recompute=True),
    "fc_densenet67": partial(FCDenseNet67, CLASSES),
    "fc_densenet103": partial(FCDenseNet103, CLASSES),
    "deconvnet": partial(DeconvNet, CLASSES, width=8, kernel=1),
    "decouplednet": partial(
        DecoupledNet,
        CLASSES,
        classifier="mobilenet_v2",
        size=64,
        kernel=2,
        width=8,
        decoder_width=16,
    ),
    "unet": partial(UNet, CLASSES, width=4),
    "unet_valid": partial(UNet, CLASSES, width=4, padding="valid"),
    "unet_batch_norm": partial(UNet, CLASSES, width=4, batch_norm=True),
    "unet3d": partial(UNet3D, CLASSES, width=4),
    "gfrnet": partial(GFRNet, CLASSES, width=8),
    "gfrnet_rectified": partial(GFRNet, CLASSES, width=8, gate="rectified"),
    "lraspp": partial(LRASPP, CLASSES),
    "mask_rcnn": partial(
        MaskRCNN,
        CLASSES,
        backbone="mobilenet_v2",
        min_size=64,
        max_size=128,
        width=8,
        box_width=16,
    ),
    "refinenet_resnet50": partial(RefineNet, CLASSES, backbone="resnet50", width=8),
    "deeplab_v3plus": partial(DeepLabV3Plus, CLASSES),
    "deeplab_v3plus_stride_8": partial(DeepLabV3Plus, CLASSES, output_stride=8),
    "deeplab_v3plus_resnet50": partial(DeepLabV3Plus, CLASSES, backbone="resnet50"),
    "deeplab_v3plus_deep_stem": partial(
        DeepLabV3Plus, CLASSES, backbone="resnet50", deep_stem=True
    ),
    "pspnet": partial(PSPNet, CLASSES),
    "deeplab_v2_resnet50": partial(DeepLabV2, CLASSES, backbone="resnet50"),
    "dpt": partial(DPT, CLASSES),
    "enet": partial(ENet, CLASSES),
    "enet_encoder": partial(ENet, CLASSES, decoder=False),
    "linknet": partial(LinkNet, CLASSES),
    "segnet": partial(SegNet, CLASSES),
    "bayesian_segnet": partial(BayesianSegNet, CLASSES),
    "segnet_basic": partial(SegNetBasic, CLASSES),
    "segnet_basic_bayesian": partial(SegNetBasic, CLASSES, dropout=0.5),
}

WITHOUT_EMBEDDING = {
    "fcn16s": "scores of two maps are added",
    "fcn8s": "scores of three maps are added",
    "fcn8s_at_once": "scores of three maps are added",
    "fcn8s_mobilenet_v2": "scores of three maps are added",
    "decouplednet": "a map for each identified class",
    "mask_rcnn": "objects are found, and then merged",
}
"""Network -> why no single map comes before its classifier."""

DEEPER = {"fc_densenet67", "fc_densenet103"}
"""The code of fc_densenet56 with longer blocks: slow, but for what is stored of them."""


HEAVY = {
    "bayesian_segnet",
    "deconvnet",
    "deeplab_v2_resnet50",
    "deeplab_v3plus_deep_stem",
    "deeplab_v3plus_resnet50",
    "fcn8s",
    "pspnet",
    "refinenet_resnet50",
    "segnet",
}
"""So many weights that to save, to load or to move them takes longest: these tests are slow."""


def cases(names: Iterable[str], slow: Collection[str] = DEEPER) -> list[Any]:
    """Cases of a test, some of them marked slow."""
    return [pytest.param(n, marks=pytest.mark.slow if n in slow else ()) for n in names]


VARIANTS = {
    "deeplab_v3plus_stride_8",
    "fc_densenet56_recompute",
    "gfrnet_rectified",
    "segnet_basic_bayesian",
}
"""Whose maps are those of another here, but for their values."""

SELDOM = DEEPER | HEAVY | VARIANTS

embedding = [name for name in MODELS if name not in WITHOUT_EMBEDDING]
every_embedding_model = pytest.mark.parametrize("name", cases(embedding, SELDOM))

KEYS = Path(__file__).parent / "keys"
SAME_KEYS = {
    "fcn8s_at_once": "fcn8s",
    "fc_densenet56_recompute": "fc_densenet56",
    "unet_valid": "unet",
    "deeplab_v3plus_stride_8": "deeplab_v3plus",
    "bayesian_segnet": "segnet",
    "segnet_basic_bayesian": "segnet_basic",
}

every_model = pytest.mark.parametrize("name", cases(MODELS))
every_model_of_a_kind = pytest.mark.parametrize("name", cases(MODELS, SELDOM))
SAME_ARITHMETIC = {"fcn32s", "fcn16s", "fcn8s_at_once"}
"""The code of fcn8s with fewer skips, or with a fixed factor on each: test_fcn.py has the values.
The 7 x 7 convolution of their VGG takes longer than all the rest, so it computes for fcn8s alone.
"""

computing = [name for name in MODELS if name not in SAME_ARITHMETIC]
every_computing_model = pytest.mark.parametrize("name", cases(computing, DEEPER | HEAVY))
every_model_in_one_piece = pytest.mark.parametrize(
    "name",
    # With a threshold between two networks, or boxes between two parts: their methods' tests look
    # at their gradients.
    cases(
        (name for name in computing if name not in ("decouplednet", "mask_rcnn")), DEEPER | HEAVY
    ),
)

DECLARED = {
    "compile": contract.forward_is_one_graph,
    "channels_last": contract.channels_last_is_kept,
}
"""What `Segmenter.exceptions` may name -> the check that it stands for."""

EXCEPTIONS = [
    pytest.param(name, check, marks=pytest.mark.slow if check == "compile" else ())
    for name, make in MODELS.items()
    for check in make.func.exceptions
]


class Copied(contract.ModelSubject):
    """A network that is built once: to fill millions of weights takes longer than to copy them."""

    def build(self) -> Segmenter:
        if self.make not in _BUILT:
            _BUILT[self.make] = super().build()
        return copy.deepcopy(_BUILT[self.make])

    def restore(self, state: dict[str, Tensor]) -> Segmenter:
        """Without first filling millions of weights, where the state holds all that there is."""
        with torch.device("meta"):
            model = self.make()
        if not {name for name, _ in model.named_buffers()} <= set(state):
            return super().restore(state)  # it computes constants as it is built
        # Copied: where a tensor begins in a file, sums may be added up in another order.
        model.load_state_dict({key: value.clone() for key, value in state.items()}, assign=True)
        return model


_BUILT: dict[Callable[..., Segmenter], Segmenter] = {}


def subject(name: str) -> contract.ModelSubject:
    return Copied(MODELS[name])


@functools.cache
def outline(name: str) -> Segmenter:
    """The network on the meta device, built once for all that look at it and change nothing."""
    with torch.device("meta"):
        return MODELS[name]()


def outlined(name: str) -> contract.ModelSubject:
    """For checks that look at names, kinds and shapes alone."""
    return contract.ModelSubject(lambda: outline(name))


def build(name: str) -> Segmenter:
    """The network with score layers that are not zero, as after a first training step."""
    return subject(name).build()


image = contract.picture


@every_model_of_a_kind
def test_output_has_the_size_of_the_input(name: str) -> None:
    contract.logits_have_the_size_of_the_image(subject(name))


@every_model_of_a_kind
def test_other_numbers_of_channels(name: str) -> None:
    contract.takes_other_channels(subject(name))


@every_model_in_one_piece
def test_gradient_reaches_every_parameter(name: str) -> None:
    contract.gradient_reaches_every_parameter(subject(name))


@every_computing_model
def test_eval_is_deterministic_and_finite(name: str) -> None:
    contract.eval_is_deterministic(subject(name))


def hold(check: Callable[[contract.ModelSubject], None], name: str) -> None:
    """Run a check that a network may be an exception to."""
    with contextlib.suppress(NotApplicable):
        check(subject(name))


@every_computing_model
def test_channels_last_is_kept(name: str) -> None:
    hold(contract.channels_last_is_kept, name)


@pytest.mark.parametrize("name", cases(computing, HEAVY))
def test_a_saved_network_is_the_same(name: str) -> None:
    contract.a_saved_network_is_the_same(subject(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_forward_compiles_to_one_graph(name: str) -> None:
    """That no branch in Python depends on a computed value is found by test_meta_device.py."""
    hold(contract.forward_is_one_graph, name)


@pytest.mark.parametrize(("name", "check"), EXCEPTIONS)
def test_an_exception_is_still_one(name: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS[name].func, "exceptions", {})
    with pytest.raises(ContractError):
        DECLARED[check](subject(name))


def test_every_network_of_the_catalogue_is_here() -> None:
    classes = {make.func for make in MODELS.values()}
    assert {name for name, cls in CATALOGUE.items() if cls not in classes} == set()


def features_of(model: Segmenter, picture: Tensor) -> list[Tensor]:
    """Those of `forward`, whose image is mirrored where convolutions are valid."""
    if isinstance(model, UNet) and model.padding == "valid":
        picture = mirror_pad(picture)
    return model.encode(picture)


@every_embedding_model
def test_decoding_classifies_the_embedding(name: str) -> None:
    model = build(name).eval()
    with torch.no_grad():
        features = features_of(model, image())
        embedding = model.embed(features)
        logits = model.classify(embedding)
        assert torch.equal(model.decode(features), logits)
        assert torch.equal(model(image()), model.to_image_size(logits, image().shape[-2:]))
        assert embedding.shape[:2] == (1, model.embedding_channels)
        changed = model.classify(embedding + torch.randn_like(embedding))
    assert logits.shape[1] == CLASSES
    assert changed.shape == logits.shape
    assert not torch.equal(changed, logits)


def reached(model: Segmenter) -> set[str]:
    return {key for key, p in model.named_parameters() if p.grad is not None}


@every_embedding_model
def test_gradients_reach_the_encoder_through_the_embedding(name: str) -> None:
    with torch.device("meta"):  # to be reached by a gradient is no question of its value
        model = MODELS[name]()
        embedding = model.embed(features_of(model, torch.empty(2, 3, 35, 45)))
    embedding.square().sum().backward()
    encoder = reached(model)
    again = embedding.detach().requires_grad_()
    model.zero_grad()
    model.classify(again).square().sum().backward()
    assert encoder
    assert reached(model)
    assert not encoder & reached(model), "a parameter is of the embedding or of the classifier"
    assert again.grad is not None  # so the gradient of `classify` goes on to the encoder


@every_model
def test_a_network_has_an_embedding_or_names_some_that_have(name: str) -> None:
    model = outline(name)
    if name not in WITHOUT_EMBEDDING:
        assert model.embedding_channels > 0
        return
    for ask in (
        lambda: model.embedding_channels,
        lambda: model.embed([]),
        lambda: model.classify(torch.empty(1)),
    ):
        with pytest.raises(RecipeError, match=type(model).__name__) as caught:
            ask()
        named = re.findall("'([a-z0-9_]+)'", str(caught.value))
        assert set(named) <= set(embedding) & set(CATALOGUE)
        assert named


@every_model
def test_every_parameter_is_in_exactly_one_group(name: str) -> None:
    contract.groups_hold_each_parameter_once(outlined(name))


@every_model
def test_state_dict_keys_are_the_stored_ones(name: str) -> None:
    keys = list(outline(name).state_dict())
    stored = (KEYS / f"{SAME_KEYS.get(name, name)}.txt").read_text().split()
    assert keys == stored, "a renamed key breaks old checkpoints; if meant, edit the stored list"


SHAPES = Path(__file__).parent / "shapes.txt"
"""Name in the catalogue and SHA-256 of its state's keys and shapes, at 21 classes."""


@pytest.mark.parametrize("name", CATALOGUE)
def test_keys_and_shapes_of_the_catalogue_are_the_stored_ones(name: str) -> None:
    with torch.device("meta"):
        state = CATALOGUE[name](21).state_dict()
    lines = "".join(f"{key} {tuple(value.shape)}\n" for key, value in state.items())
    digest = hashlib.sha256(lines.encode()).hexdigest()
    stored = dict(line.split() for line in SHAPES.read_text().splitlines())
    assert stored.get(name) == digest, (
        f"other keys or shapes break old checkpoints; if meant, say so in CHANGELOG.md and store\n"
        f"{name} {digest}"
    )


@every_model
def test_its_own_state_dict_passes_adapt_weights_unchanged(name: str) -> None:
    contract.keys_are_stable(subject(name))


@every_model
def test_refuses_no_classes_and_no_channels(name: str) -> None:
    contract.refuses_no_classes_and_no_channels(outlined(name))
