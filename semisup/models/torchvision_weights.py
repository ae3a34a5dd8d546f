"""ImageNet weights of torchvision for the backbones that are torchvision's.

`model.weights = "torchvision"` has them fetched by torchvision itself: into torch.hub's cache
(`$TORCH_HOME`, else `~/.cache/torch`), against the checksum in the name of the file, and not again
where the file is there already.

Of several sets the one called IMAGENET1K_V1 is taken, whatever torchvision's own default is: all of
these backbones have it, and it is from the short training that the published tables of segmentation
networks started from. Later ones (V2: longer training, stronger augmentation) are read from a file.
"""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

from semisup.errors import CheckpointError, RecipeError
from semisup.system.files import is_file

if TYPE_CHECKING:  # a recipe that names no weights is read without it
    from torch import nn

TORCHVISION = "torchvision"
"""The value of `model.weights` that asks for them."""

VERSION = "IMAGENET1K_V1"
"""Of the sets of weights that torchvision has of a network."""

PATIENCE = 60.0
"""Seconds without an answer after which a server counts as not reachable."""


@dataclass(frozen=True, slots=True)
class TorchvisionWeights:
    """A set of weights of torchvision, fetched or not.

    Attributes:
        name: of its entry, such as "ResNet50_Weights.IMAGENET1K_V1".
        url: where it is fetched from.
        path: where torch.hub keeps it.
    """

    name: str
    url: str
    path: Path


def torchvision_weights(network: nn.Module) -> TorchvisionWeights:
    """The weights of torchvision that a network starts from.

    Args:
        network: on any device, the meta device too.

    Raises:
        RecipeError: no backbone in it is torchvision's.
    """
    import torch

    entry = _entry(_backbone_of(network))
    path = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rpartition("/")[2]
    return TorchvisionWeights(str(entry), entry.url, path)


def fetch(network: nn.Module) -> Path:
    """The file of `torchvision_weights`, through torchvision's own API where it is not there yet.

    Raises:
        RecipeError: no backbone in it is torchvision's.
        CheckpointError: the file is not there and cannot be fetched.
    """
    weights = torchvision_weights(network)
    if is_file(weights.path):
        return weights.path
    shown = sys.stderr.isatty()
    try:
        with _patience(), contextlib.redirect_stdout(sys.stderr if shown else io.StringIO()):
            _entry(_backbone_of(network)).get_state_dict(
                progress=shown, check_hash=True, map_location="cpu", weights_only=True
            )
    except (OSError, RuntimeError, HTTPException) as error:
        if isinstance(error, OSError) and not isinstance(error, URLError) and error.filename:
            raise CheckpointError(
                f'model.weights = "{TORCHVISION}": {error.filename}: cannot be read or written '
                f"({error.strerror}). Set TORCH_HOME to a folder that can."
            ) from None
        said = str(getattr(error, "reason", error))  # of what urllib wraps, the inner one
        reason = next(iter(said.splitlines()), "") or type(error).__name__
        raise CheckpointError(
            f'model.weights = "{TORCHVISION}": {weights.url} cannot be fetched ({reason}). Get it '
            f"on a machine with a network and put it at {weights.path}, or name the file in "
            "model.weights."
        ) from None
    return weights.path


def _backbone_of(network: nn.Module) -> str:
    from semisup.models.backbones.base import Backbone

    backbones = [layer for layer in network.modules() if isinstance(layer, Backbone)]
    for backbone in backbones:
        if backbone.torchvision_name:
            return backbone.torchvision_name
    raise RecipeError(
        f'model.weights = "{TORCHVISION}": {type(network).__name__} '
        f"{'here has a backbone that is not' if backbones else 'has no backbone that is'} "
        "torchvision's. Give a file of its weights, or choose a network on a ResNet, a VGG or "
        "MobileNetV2, such as 'deeplab_v3plus'."
    )


def _entry(name: str) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(name)[VERSION]


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """torch.hub sets no limit, and behind some firewalls a request is never answered."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
