"""What every segmentation network is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.layers import resize


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay.

    Attributes:
        params: the parameters.
        lr_scale: factor on the player's learning rate (a fresh head often learns 10x faster).
        decay_scale: factor on the player's weight decay (0 for the biases of `biases_apart`).
    """

    params: Sequence[nn.Parameter]
    lr_scale: float = 1.0
    decay_scale: float = 1.0
    name: str = field(default="all")


@dataclass(frozen=True, slots=True)
class Found:
    """The objects that were found in an image.

    Attributes:
        boxes: N4, x0, y0, x1, y1 in pixels of the image.
        labels: N int64, 1..K-1.
        scores: N in [0, 1].
        masks: NHW in [0, 1], how sure a pixel is of the object; 0 outside of its box.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor


@runtime_checkable
class FindsObjects(Protocol):
    """A predictor that finds objects, and merges them into its logits."""

    def detect(self, image: Tensor) -> list[Found]:
        """The objects of each image of `image` (BCHW)."""


@runtime_checkable
class SegmentsByClass(Protocol):
    """A predictor that first identifies classes and then segments each of them."""

    def force_classes(self, classes: Sequence[int] | None) -> None:
        """From now on segment just these classes (1..K-1), whatever is identified; None: undo."""

    def explain(self, image: Tensor) -> dict[int, dict[str, Tensor]]:
        """For each class segmented in one image (1CHW), named maps HW in [0, 1]."""


@runtime_checkable
class SeesAround(Protocol):
    """A predictor that labels a window of an image by what lies around it, too."""

    def forward_window(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Logits of the window `rows` x `columns` of `image` (BCHW), at the window's size."""


class Segmenter(nn.Module, ABC):
    """A network from an image to a score per class and pixel.

    `forward` returns logits BKHW at the size of its input, for any H, W of at least `stride`.
    Logits, never probabilities. It is computed in steps that a method may enter between:

        features = encode(image)          maps of several resolutions
        embedding = embed(features)       one map, a vector for each place
        logits = classify(embedding)      decode(features) is both
        to_image_size(logits, size)       as `forward` returns them

    A subclass writes `encode`, `embed`, `classify` and `embedding_channels`, the C of that map. One
    that scores several maps, and so has no single one before its classifier, writes `decode` in
    place of the last three, which then refuse. Auxiliary heads come out of `training_logits`, with
    their weights beside it, so that a supervised term is one loop in every method.

    Args:
        num_classes: K, the number of classes.
        in_channels: C of the input image.
    """

    stride: ClassVar[int] = 32
    """Smallest input side, in pixels."""

    auxiliary_weights: tuple[float, ...] = ()
    """One weight for each map after the first of `training_logits`."""

    trained_by: ClassVar[tuple[str, ...]] = ()
    """Names of the methods that can train it; empty: all that train any segmenter."""

    reads_volumes: ClassVar[bool] = False
    """Whether it maps volumes BCDHW to logits BKDHW; an image BCHW is then one slice."""

    exceptions: ClassVar[Mapping[str, str]] = {}
    """What `semisup check` would find but cannot be otherwise, each with its reason.

    "compile": `torch.compile` cannot take `forward` in one graph; "channels_last": a convolution
    gets a map whose channels do not lie last in memory, though those of the image do.
    """

    paper: ClassVar[str] = ""
    """Where to read about it, such as https://arxiv.org/abs/1411.4038; empty: in no paper."""

    year: ClassVar[int | None] = None
    """When the paper was published; None: it was not."""

    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {num_classes}")
        if in_channels < 1:
            raise ValueError(f"in_channels must be at least 1, not {in_channels}")
        self.num_classes = num_classes
        self.in_channels = in_channels

    @abstractmethod
    def encode(self, image: Tensor) -> list[Tensor]:
        """Feature maps of `image` (BCHW), finest first."""

    @property
    def embedding_channels(self) -> int:
        """C of the map of `embed`.

        Raises:
            RecipeError: the network has no single map before its classifier.
        """
        raise _no_embedding(self)

    def embed(self, features: list[Tensor]) -> Tensor:
        """The map BChw that `classify` reads, from what `encode` returned.

        Raises:
            RecipeError: the network has no single map before its classifier.
        """
        raise _no_embedding(self)

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of a map of `embed`, or of one that a method has changed.

        Raises:
            RecipeError: the network has no single map before its classifier.
        """
        raise _no_embedding(self)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits BKhw from what `encode` returned."""
        return self.classify(self.embed(features))

    def covered_size(self, size: torch.Size) -> torch.Size:
        """H and W that coarse logits of `decode` cover: an image's, or more where it is padded."""
        return size

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Logits BKHW at the `size` of the image, from those of `decode` or `classify`."""
        return resize(logits, size)

    def padded(self, image: Tensor) -> Tensor:
        """What `encode` is given of `image` (BCHW): mirrored where convolutions are valid."""
        return image

    def forward(self, image: Tensor) -> Tensor:
        """Logits BKHW of `image` (BCHW)."""
        features = self.encode(self.padded(image))
        return self.to_image_size(self.decode(features), image.shape[-2:])

    @property
    def static_part(self) -> nn.Module:
        """The part in which all sizes follow from that of the image: all of it, or its backbone.

        Where boxes are found, what lies behind depends on values: it cannot be computed on the meta
        device, and torch.compile makes no one graph of it.
        """
        return self

    def training_logits(self, image: Tensor) -> list[Tensor]:
        """All maps that are trained, the main one first; each BKHW at the size of `image`."""
        return [self(image)]

    def parameter_groups(self) -> list[ParameterGroup]:
        """How the parameters are to be optimised; every parameter is in exactly one group."""
        return [ParameterGroup([p for p in self.parameters() if p.requires_grad])]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """`state` of a foreign file with the keys and shapes of this network, where it knows them.

        Such as torchvision's `features.*` under the prefix of the backbone. Keys that it does not
        know pass unchanged, so a state dict of this very network comes out as it went in.

        Args:
            state: key -> tensor, as read from the file; not to be changed in place.
        """
        return state


def joint_training_logits(network: Segmenter, *batches: Tensor) -> list[list[Tensor]]:
    """The trained maps of several batches of images from one forward pass over all of them.

    Batch norms see them as one batch, too. Images of different sizes get a pass for each batch.

    Args:
        network: in training mode.
        batches: BCHW each.

    Returns:
        For each batch what `training_logits` returns.
    """
    if len({images.shape[1:] for images in batches}) > 1:
        return separate_training_logits(network, *batches)
    maps = network.training_logits(torch.cat(batches))
    parts = [torch.split(m, [len(images) for images in batches]) for m in maps]
    return [list(part) for part in zip(*parts, strict=True)]


def separate_training_logits(network: Segmenter, *batches: Tensor) -> list[list[Tensor]]:
    """As `joint_training_logits`, but by a pass for each batch, in their order."""
    return [network.training_logits(images) for images in batches]


def _no_embedding(network: Segmenter) -> RecipeError:
    return RecipeError(
        f"model.name: {type(network).__name__} has no single map before its classifier, and the "
        "method needs one; choose a network that has it, such as 'unet' or 'deeplab_v3plus'"
    )


def head_apart(
    network: nn.Module, backbone: nn.Module, *, name: str = "head"
) -> list[ParameterGroup]:
    """The backbone, and all else at ten times its learning rate: it starts from nothing.

    Args:
        network: with the backbone in it.
        backbone: which starts from ImageNet.
        name: of the second group.
    """
    own = {id(p) for p in backbone.parameters()}
    others = [p for p in network.parameters() if id(p) not in own]
    return [
        ParameterGroup(list(backbone.parameters()), name="backbone"),
        ParameterGroup(others, lr_scale=10.0, name=name),
    ]


def biases_apart(module: nn.Module, name: str = "") -> list[ParameterGroup]:
    """Parameters, and the biases of convolutions at twice the learning rate without weight decay.

    So have the released networks of FCN, DeconvNet and DecoupledNet.

    Args:
        module: whose parameters.
        name: of the module, before the names of the groups.
    """
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    layers = [layer for layer in module.modules() if isinstance(layer, convolutions)]
    biases = [p for layer in layers for name, p in layer.named_parameters() if name == "bias"]
    apart = {id(bias) for bias in biases}
    others = [p for p in module.parameters() if id(p) not in apart]
    return [
        ParameterGroup(others, name=f"{name}weights"),
        ParameterGroup(biases, lr_scale=2.0, decay_scale=0.0, name=f"{name}biases"),
    ]
