"""What a backbone sees in whole images: its deepest features, averaged over places.

The network is one that lies on this machine; nothing is downloaded. So numbers that are made of
these features compare only with others of the same backbone and the same weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semisup.errors import CheckpointError, RecipeError, suggest
from semisup.models.backbones.base import Backbone
from semisup.models.classifiers import BACKBONES
from semisup.models.weights import load_weights, read_weights
from semisup.ops.pixels import normalise
from semisup.system.files import name_with_hash

DEFAULT_BACKBONE = "mobilenet_v2"
RANDOM_SEED = 0
"""Of a backbone without weights."""

_BATCH_PIXELS = 1 << 18
"""Images pass through the backbone together up to this many pixels."""


@dataclass(frozen=True)
class Features:
    """A backbone applied to whole images.

    Attributes:
        backbone: its name.
        weights: what it knows, for people: a file with the start of its SHA-256, or random weights
            with their seed.
        network: on the device, in eval mode.
        device: where it lies.
        unit: what its features are divided by; 1 for a network that has learnt.
    """

    backbone: str
    weights: str
    network: Backbone
    device: torch.device
    unit: float = 1.0

    @property
    def dimensions(self) -> int:
        """D, features of an image."""
        return self.network.channels[-1]

    def describe(self) -> dict[str, Any]:
        """For a record: backbone, number of features, weights."""
        return {
            "backbone": self.backbone,
            "dimensions": self.dimensions,
            "weights": self.weights,
        }

    @torch.no_grad()
    def __call__(self, images: Iterable[Tensor]) -> Tensor:
        """Features ND, float32 on the CPU, of all images in all batches.

        Args:
            images: batches B3HW uint8.
        """
        found = []
        for batch in images:
            together = max(1, _BATCH_PIXELS // (batch.shape[-2] * batch.shape[-1]))
            for part in torch.split(batch, together):
                maps = self.network.stages(normalise(part.to(self.device)))[-1].pooled
                found.append(maps.mean(dim=(2, 3)).cpu() / self.unit)
        return torch.cat(found)


def open_features(
    device: torch.device,
    backbone: str = "",
    weights: Path | None = None,
    otherwise: Path | None = None,
) -> Features:
    """A backbone of the catalogue with weights of a local file, or with random ones.

    Args:
        device: where to put it.
        backbone: its name; empty: the one that the file is of, else `DEFAULT_BACKBONE`.
        weights: torchvision's for a backbone, and for all of it.
        otherwise: a file to take where `weights` is None, if it holds a whole backbone; None:
            none.

    Raises:
        RecipeError: no backbone has that name.
        CheckpointError: `weights` is missing, damaged or not of the backbone.
    """
    if backbone and backbone not in BACKBONES:
        raise RecipeError(f"no backbone is called '{backbone}'.{suggest(backbone, BACKBONES)}")
    names = [backbone] if backbone else sorted(BACKBONES, key=lambda n: n != DEFAULT_BACKBONE)
    if weights is not None:
        read_weights(weights)  # a file that cannot be read fits nothing, and should say why
    file = weights or otherwise
    found = None if file is None else _first_that_fits(names, file)
    if found is not None and file is not None:
        name, network = found
        return Features(name, name_with_hash(file), network.to(device).eval(), device)
    if weights is not None:
        raise CheckpointError(
            f"{weights}: holds no whole {' or '.join(names)}. Give torchvision's weights of one of "
            f"{', '.join(BACKBONES)}, and no other --backbone."
        )
    return _with_random_weights(names[0], device)


def _first_that_fits(names: Sequence[str], path: Path) -> tuple[str, Backbone] | None:
    """The first of the backbones that the file holds all of, with these weights."""
    for name in names:
        network = BACKBONES[name](in_channels=3)
        with contextlib.suppress(CheckpointError):  # not a tensor fits, or the file is gone
            if load_weights(network, path).complete:
                return name, network
    return None


def _with_random_weights(name: str, device: torch.device) -> Features:
    """A backbone that has learnt nothing, always the same.

    A deep random network shrinks its input, so features are divided by their root mean square on
    noise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        network = BACKBONES[name](in_channels=3).eval()
        noise = torch.randn(16, 3, 64, 64)
    with torch.no_grad():
        unit = network.stages(noise)[-1].pooled.mean(dim=(2, 3)).square().mean().sqrt().item()
    described = f"random weights, seed {RANDOM_SEED}"
    return Features(name, described, network.to(device), device, unit)
