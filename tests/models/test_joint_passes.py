"""One forward pass over several batches: the maps of each, and what batch norms see."""

from __future__ import annotations

import pytest
import torch

from semisup.contracts.toys import SEGMENTERS
from semisup.models.base import joint_training_logits


@pytest.mark.parametrize("kind", ["plain", "auxiliary"])
def test_each_batch_gets_its_own_maps(kind: str) -> None:
    network = SEGMENTERS[kind]()
    batches = [torch.randn(count, 3, 8, 8) for count in (2, 1, 3)]
    found = joint_training_logits(network, *batches)
    for images, maps in zip(batches, found, strict=True):
        alone = network.training_logits(images)
        assert len(maps) == len(alone)
        for one, other in zip(maps, alone, strict=True):
            torch.testing.assert_close(one, other)


def test_a_batch_norm_sees_them_as_one() -> None:
    network = SEGMENTERS["batch_norm"]().train()
    batches = [torch.randn(2, 3, 8, 8), 5 + torch.randn(2, 3, 8, 8)]
    joint_training_logits(network, *batches)
    assert int(network.body[1].num_batches_tracked) == 1


def test_images_of_other_sizes_get_a_pass_of_their_own() -> None:
    network = SEGMENTERS["batch_norm"]().train()
    found = joint_training_logits(network, torch.randn(2, 3, 8, 8), torch.randn(1, 3, 6, 10))
    assert [maps[0].shape for maps in found] == [(2, 3, 8, 8), (1, 3, 6, 10)]
    assert int(network.body[1].num_batches_tracked) == 2
