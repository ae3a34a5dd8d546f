"""Logits at their own resolution: which networks have one, and that enlarging them is the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from semisup.catalog import create_model
from semisup.contracts.toys import ToySegmenter
from semisup.errors import RecipeError
from semisup.models.base import Segmenter, joint_training_logits
from semisup.models.enet import ENet
from semisup.models.resolution import joint_own_logits, own_logits, require_one_map
from semisup.models.segnet import SegNetBasic
from semisup.models.unet import UNet


def _unet_on_timm() -> Segmenter:
    pytest.importorskip("timm")
    return create_model("unet", 3, backbone="timm:test_resnet")


CASES: list[tuple[Callable[[], Segmenter], tuple[int, int], tuple[int, int]]] = [
    (lambda: create_model("lraspp", 3), (64, 96), (8, 12)),
    (lambda: create_model("lraspp", 3), (61, 90), (8, 12)),
    (lambda: create_model("deeplab_v3plus", 3, backbone="mobilenet_v2"), (32, 64), (8, 16)),
    (_unet_on_timm, (64, 96), (32, 48)),
    (_unet_on_timm, (61, 90), (61, 90)),
    (lambda: create_model("unet", 3, width=4), (48, 32), (48, 32)),
    (lambda: UNet(3, width=4, padding="valid"), (40, 56), (40, 56)),
    (lambda: SegNetBasic(3), (61, 90), (61, 90)),
    (lambda: ENet(3, decoder=False), (64, 96), (8, 12)),
    (lambda: ENet(3, decoder=False), (61, 90), (61, 90)),
]
"""Network, size of the image, size of its own logits: the image's, where it has to pad."""


@pytest.mark.parametrize(("build", "size", "own"), CASES)
def test_own_logits_are_those_that_are_enlarged(
    build: Callable[[], Segmenter], size: tuple[int, int], own: tuple[int, int]
) -> None:
    network = build().eval()
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = own_logits(network, image)
        assert logits.shape == (2, 3, *own)
        enlarged = logits if own == size else network.to_image_size(logits, image.shape[-2:])
        torch.testing.assert_close(enlarged, network(image))


def seeded(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_of_one_pass_the_first_batch_alone_is_enlarged() -> None:
    network = create_model("lraspp", 3).train()
    batches = (seeded(2, 3, 64, 64), seeded(3, 3, 64, 64), seeded(2, 3, 64, 64))
    maps, *others = joint_own_logits(network, *batches)
    expected, *enlarged = joint_training_logits(network, *batches)
    assert len(maps) == 1
    torch.testing.assert_close(maps[0], expected[0])
    for (own,), (other,) in zip(others, enlarged, strict=True):
        assert own.shape[-2:] == (8, 8)
        torch.testing.assert_close(network.to_image_size(own, other.shape[-2:]), other)


def test_images_of_different_sizes_get_a_pass_each() -> None:
    network = create_model("lraspp", 3).eval()
    first, second = seeded(2, 3, 64, 64), seeded(2, 3, 96, 64)
    with torch.no_grad():
        (maps,), (own,) = joint_own_logits(network, first, second)
        torch.testing.assert_close(maps, network(first))
        torch.testing.assert_close(own, own_logits(network, second))


def test_auxiliary_maps_are_refused() -> None:
    require_one_map(ToySegmenter(), "key")
    with pytest.raises(RecipeError, match=r"method\.key takes .* ToySegmenter has auxiliary ones"):
        require_one_map(ToySegmenter(auxiliary=True), "key")
