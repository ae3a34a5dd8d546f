from __future__ import annotations

import torch

from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD, standardise_, to_normalised, to_unit


def test_there_and_back() -> None:
    image = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    normalised = to_normalised(image)
    assert torch.allclose(normalised, standardise_(image.clone()))
    assert torch.allclose(to_unit(normalised), image)
    assert normalised[0, 1, 0, 0] == (image[0, 1, 0, 0] - IMAGENET_MEAN[1]) / IMAGENET_STD[1]
