"""Encoders of timm as backbones (https://github.com/huggingface/pytorch-image-models).

Through timm's own feature interface, so that all it knows by name will do, as far as it has the
maps that a network reads and takes images of any size. Keys are timm's, and so its state dicts load
by key. Nothing is downloaded: an encoder starts from timm's initial weights, or from a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError, suggest
from semisup.models.backbones.base import Backbone, PooledStage
from semisup.models.layers import next_multiple

PREFIX = "timm:"
"""What the name of a backbone begins with that is timm's."""

MULTIPLE = 32
"""Images are padded to sides that this divides, so that no map of an encoder is cut short."""

LEVELS = 4
"""Maps that `TimmViT` takes out of a transformer."""

PROBED = (2, 3)
"""H and W of an image that a fresh encoder is tried on, in multiples of what it takes."""


class TimmFeatures(Backbone):
    """The maps of an encoder of timm, each of half the size of the one before it.

    Images are padded with zeros at their right and bottom (see `padded_size`).

    Args:
        name: "timm:" and a name of `timm.list_models()`.
        network: what asks for it, for errors.
        in_channels: C of the input image.
        reductions: pixels of the image to one of a map that the network reads; a finer map than
            the first is left out.
        output_stride: pixels of the image to one of the deepest map, where timm can dilate.

    Raises:
        RecipeError: timm is not installed, has no such encoder or not with such maps, or the
            encoder takes images of one size alone.
    """

    model: nn.Module
    examples = "'timm:resnet18' or 'timm:convnext_tiny'"

    def __init__(
        self,
        name: str,
        network: str,
        *,
        in_channels: int = 3,
        reductions: tuple[int, ...] = (),
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        encoder = _features(name, network, in_channels, output_stride)
        found: list[int] = encoder.feature_info.reduction()
        wanted = sorted({*reductions, output_stride})
        lacking = [reduction for reduction in wanted if reduction not in found]
        if lacking or max(found) > output_stride:
            raise RecipeError(
                f"{network} reads maps of stride {_listed(wanted)} and none coarser, and '{name}' "
                f"has {_listed(sorted(set(found)))}. Choose another encoder, such as "
                f"{self.examples}; a vision transformer goes with model.name = 'dpt'."
            )
        first = found.index(reductions[0]) if reductions else 0
        self.deepest_stride = output_stride
        self.model, self.indices = _with_its_maps(encoder, first)
        self.channels = tuple(encoder.feature_info.channels()[first:])
        _try(self, name, network, in_channels, MULTIPLE, found[first:])

    def stages(self, image: Tensor) -> list[PooledStage]:
        """The maps of `image` (BCHW), finest first; the image is padded where 32 divides no side.

        The size that a decoder goes back to is that of the map before, or of the image.
        """
        height, width = image.shape[-2:]
        size = self.padded_size(image.shape[-2:])
        if size != image.shape[-2:]:
            image = F.pad(image, (0, size[1] - width, 0, size[0] - height))
        stages: list[PooledStage] = []
        for maps in _maps(self.model, image, self.indices, norm=False):
            stages.append(PooledStage(maps, None, size))
            size = maps.shape[-2:]
        return stages

    def padded_size(self, size: torch.Size) -> torch.Size:
        """H and W as the next multiples of 32."""
        return torch.Size(next_multiple(side, MULTIPLE) for side in size)


class TimmViT(nn.Module):
    """A vision transformer of timm, of which four levels all pass the last norm.

    They are those behind each quarter of the blocks, as in DPT's paper.

    Args:
        name: "timm:" and a name of `timm.list_models()`.
        network: what asks for it, for errors.
        in_channels: C of the input image.

    Raises:
        RecipeError: timm is not installed or has no such encoder, it is no transformer of one
            stride, or it takes images of one size alone.
    """

    model: nn.Module
    examples = "'timm:vit_small_patch16_224' or 'timm:deit3_small_patch16_224'"

    def __init__(self, name: str, network: str, *, in_channels: int = 3) -> None:
        super().__init__()
        model = _created(name, network, in_chans=in_channels)
        found = {info["reduction"] for info in model.feature_info}
        if len(found) != 1 or not hasattr(model, "blocks"):
            raise RecipeError(
                f"{network} reads a plain vision transformer, and '{name}' is none. Choose one, "
                f"such as {self.examples}, or another network, such as 'deeplab_v3plus'."
            )
        (self.patch,) = found
        self.depth = len(model.feature_info)
        self.taps = [self.depth * (level + 1) // LEVELS - 1 for level in range(LEVELS)]
        last = model.feature_info[-1]
        self.width: int = last.get("num_chs_norm", last["num_chs"])
        model.prune_intermediate_layers(self.taps, prune_norm=False)
        self.model = model
        _try(self, name, network, in_channels, self.patch, [self.patch] * LEVELS)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The levels BChw of `image` (BCHW), shallowest first; `patch` divides H and W."""
        return _maps(self.model, image, self.taps, norm=True)


def is_timm(name: str) -> bool:
    """Whether a backbone of that name is timm's."""
    return name.startswith(PREFIX)


def unknown_backbone(network: str, name: str, own: Iterable[str]) -> RecipeError:
    """The error for a name that is neither the network's own nor timm's.

    Args:
        network: for people.
        name: that was given.
        own: names of backbones that the network has without timm.
    """
    return RecipeError(
        f"{network} has no backbone '{name}'.{suggest(name, own)} An encoder of timm is named "
        "'timm:convnext_tiny'."
    )


def adapt_timm(
    state: dict[str, Tensor], backbone: TimmFeatures | TimmViT, *, prefix: str = "backbone."
) -> dict[str, Tensor]:
    """timm's state dict of the encoder with the keys of a network built on it.

    All keys go under the encoder, its classifier's too, of which nothing is left there. A state
    dict without a key of the encoder, or of the network itself, passes unchanged.

    Args:
        state: key -> tensor.
        backbone: of the network.
        prefix: of the backbone in the network.
    """
    own = any(key.startswith(f"{prefix}model.") for key in state)
    if own or not state.keys() & backbone.model.state_dict().keys():
        return state
    return {f"{prefix}model.{key}": tensor for key, tensor in state.items()}


def _features(name: str, network: str, in_channels: int, output_stride: int) -> Any:
    """timm's own wrapper around an encoder, whose keys are timm's whatever class it has."""
    options = {"in_chans": in_channels, "features_only": True}
    if output_stride == MULTIPLE:
        return _created(name, network, feature_cls="getter", **options)
    options["output_stride"] = output_stride
    for form in ({"feature_cls": "getter"}, {}):  # MobileNetV3 is dilated in the second alone
        with contextlib.suppress(RecipeError):
            encoder = _created(name, network, **options, **form)
            if form or not hasattr(encoder, "return_layers"):  # which other keys go with
                return encoder
    _created(name, network, feature_cls="getter", in_chans=in_channels, features_only=True)
    raise RecipeError(
        f"{network} needs maps of stride {output_stride} and none coarser, and timm cannot dilate "
        f"'{name}'. Choose another encoder, such as {TimmFeatures.examples}."
    )


def _with_its_maps(encoder: Any, first: int) -> tuple[nn.Module, list[int]]:
    """What has the weights, and the maps to take of it, from the `first` on."""
    if hasattr(encoder, "out_indices"):
        return encoder.model, list(encoder.out_indices)[first:]
    return encoder, list(range(first, len(encoder.feature_info)))


def _created(name: str, network: str, **options: Any) -> Any:
    """timm's model, for images of any size where timm has a way to say so."""
    try:
        import timm
    except ImportError:
        raise RecipeError(
            f"{network}: backbone = '{name}' needs timm, which is not installed. Install it: pip "
            "install 'semisup[timm]'"
        ) from None
    short = name.removeprefix(PREFIX)
    known = timm.list_models()
    if short not in known:
        raise _unknown(name, network, known)
    try:
        return timm.create_model(short, dynamic_img_size=True, **options)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise _unfit(name, network, error) from None
    except Exception as error:
        raise _unfit(name, network, error) from None
    try:
        return timm.create_model(short, **options)
    except Exception as error:  # each family of timm refuses in its own way
        raise _unfit(name, network, error) from None


def _unknown(name: str, network: str, known: list[str]) -> RecipeError:
    architecture, dot, _ = name.removeprefix(PREFIX).partition(".")
    if dot and architecture in known:
        return RecipeError(
            f"{network} has no backbone '{name}': what follows the dot names weights, which are "
            f"read from a file (model.weights). Write '{PREFIX}{architecture}'."
        )
    hint = suggest(name, [PREFIX + other for other in known])
    if not hint.startswith(" Did you mean"):  # 1,300 names make no line
        hint = " timm.list_models() has all names."
    return RecipeError(f"{network} has no backbone '{name}'.{hint}")


def _unfit(name: str, network: str, error: Exception) -> RecipeError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return RecipeError(
        f"{network} cannot be built on '{name}': timm refuses it ({reason}). Choose another "
        "encoder, such as 'timm:resnet18'."
    )


def _maps(model: Any, image: Tensor, indices: list[int], *, norm: bool) -> list[Tensor]:
    if not hasattr(model, "forward_intermediates"):
        features: list[Tensor] = model(image)
        return [features[index] for index in indices]
    maps: list[Tensor] = model.forward_intermediates(
        image, indices=indices, norm=norm, output_fmt="NCHW", intermediates_only=True
    )
    return maps


@torch.no_grad()
def _try(
    backbone: TimmFeatures | TimmViT,
    name: str,
    network: str,
    in_channels: int,
    multiple: int,
    reductions: list[int],
) -> None:
    """Refuse an encoder that does not give its maps of an image of another size than timm's own."""
    sides = [multiple * count for count in PROBED]
    model: Any = backbone.model
    training = model.training
    model.eval()
    indices = backbone.indices if isinstance(backbone, TimmFeatures) else backbone.taps
    try:
        maps = _maps(model, torch.zeros(1, in_channels, *sides), indices, norm=False)
    except Exception:  # by an assertion, or by a shape somewhere inside
        maps = []
    model.train(training)
    sizes = [[side // reduction for side in sides] for reduction in reductions]
    if [list(found.shape[-2:]) for found in maps] != sizes:
        raise RecipeError(
            f"{network} reads images of any size, and '{name}' does not. Choose another encoder, "
            f"such as {backbone.examples}."
        )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
