"""DecoupledNet: one network says which classes are there, another segments one class at a time.

Hong, Noh and Han, "Decoupled Deep Neural Network for Semi-supervised Semantic Segmentation", NIPS
2015, https://arxiv.org/abs/1506.04924, and the authors' released networks and inference script.

    presence_c = sigmoid(mean of the score map of c)               c is identified above a threshold
    saliency   = transpose of the classifier's head, from the best place of each chosen class
    bridge     = fc7(fc6([norm(pool5), norm(saliency)]))
    map        = softmax over two channels of the deconvolution network, on the encoder's switches
    prediction = argmax of [channel 0 for all identified classes together,
                            channel 1 for each of them alone], each pixel divided by its sum

Where the paper's text and the release differ, this follows the release: two batch-normalised fully
connected layers are the bridge, the score map is mean-pooled for the presence and in testing for
the value that is carried back, max-pooled for its place and in training for the value.

Differs from the release:
1. A deconvolution of stride 1 is a convolution with its kernel turned round, and is written as one.
2. The image is encoded once, and the class maps of all images of a batch are computed together.
   (The release runs the whole network once for each class.)
3. Classes that are forced (`force_classes`) are carried back with at least the threshold.
4. Other backbones, sizes, widths and numbers of classes, by option. Where the encoder has no
   switches, maps are interpolated, with the encoder's own maps appended or without.
5. Images are padded to a square with the mean colour, as crops are in training. (The release pads
   with black and subtracts the mean after it.)
6. Bicubic enlargement is torch's, of a = -0.75; MATLAB's, of the release, is of -0.5.
7. Shifts of batch normalisation start at 0, not at 0.001.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.backbones.base import PooledStage
from semisup.models.base import ParameterGroup, Segmenter, biases_apart
from semisup.models.classifiers import ClassificationNetwork, Encoded
from semisup.models.deconvnet import DeconvDecoder, Upsampling, fill_with_gaussian
from semisup.models.layers import conv_norm_relu, of_rows, resize

FAINT = 1e-8
"""Probability of a class that was not identified, where its logarithm is taken."""

SWITCHES_WIDTH = 512
"""Channels of the deepest deconvolutions that fit the switches of VGG16."""

MEBIBYTE = 2**20


class SegmentationNetwork(nn.Module):
    """Bridge layers and deconvolution network: pixels of the chosen classes, and all others.

    Args:
        channels: C of the encoder's stages, finest first.
        width: channels of the bridge layers; 2,048 in the paper.
        kernel: side of fc6, the classifier's own.
        decoder_width: channels of the deepest deconvolutions; 512 in the paper.
        upsampling: see `DeconvDecoder`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        width: int = 2048,
        kernel: int = 7,
        decoder_width: int = 512,
        upsampling: Upsampling = "switches",
    ) -> None:
        super().__init__()
        deepest = channels[-1]
        self.norm_features = nn.BatchNorm2d(deepest)
        self.norm_saliency = nn.BatchNorm2d(deepest)
        self.fc6 = conv_norm_relu(2 * deepest, width, kernel, padding=0, bias=True)
        self.fc7 = conv_norm_relu(width, width, 1, bias=True)
        self.decoder = DeconvDecoder(
            width, channels, kernel, width=decoder_width, upsampling=upsampling
        )
        self.score = nn.Conv2d(self.decoder.out_channels, 2, 1)
        fill_with_gaussian(self)

    def forward(
        self, stages: Sequence[PooledStage], saliency: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        """N2hw logits at the size of the first stage before its pooling: others, chosen.

        Args:
            stages: of the encoder, for B images, finest first.
            saliency: NChw, of the chosen classes.
            rows: N, which of the B images each saliency belongs to; None for all B in order.
        """
        features = of_rows(self.norm_features(stages[-1].pooled), rows)
        bridge = self.fc7(self.fc6(torch.cat([features, self.norm_saliency(saliency)], dim=1)))
        logits: Tensor = self.score(self.decoder(bridge, stages, rows))
        return logits


@dataclass(frozen=True, slots=True)
class Identified:
    """The classes that were identified in B images, N in all.

    Attributes:
        rows: N, the image of each.
        labels: N, its label, from 0 (class 1).
        saliency: NChw, of each alone.
        maps: N1hw, the share of "chosen" of each alone.
        shown: M, the images in which any class was identified.
        background: M1hw, the share of "others" of all identified classes of such an image together.
    """

    rows: Tensor
    labels: Tensor
    saliency: Tensor
    maps: Tensor
    shown: Tensor
    background: Tensor


class DecoupledNet(Segmenter):
    """DecoupledNet (Hong et al. 2015): classification network, bridge, deconvolution network.

    At 21 classes 134,342,484 and 173,107,906 parameters. Class 0 is background; it is no label of
    the classification network. Trained by the methods `decouplednet_classifier` and then
    `decouplednet`, or by `decouplednet_joint`. There is one map for each identified class, and so
    neither `decode` nor `embed`.

    Args:
        num_classes: K, background included; at least 2.
        in_channels: C of the input image.
        classifier: the classification network's backbone: vgg16 (the paper's), vgg16_bn, resnet50
            or mobilenet_v2.
        size: side in pixels of the square that a whole image is resized to for prediction.
        threshold: presence in (0, 1) above which a class is identified.
        kernel: side of fc6; crops and `size` must be 32 times that at least.
        width: channels of the classification network's fc6 and fc7; half as many in the bridge.
        decoder_width: channels of the deepest deconvolutions; 512 with switches.
        upsampling: "switches" of the encoder's poolings, "bilinear", or "skip" (bilinear with the
            encoder's own maps appended); "auto": switches where the encoder has them, else skip.
        memory: MiB that the class maps computed at once may take; the more, the fewer passes.

    Raises:
        RecipeError: an unknown classifier.
        ValueError: an option out of its range.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1506.04924"
    year: ClassVar[int | None] = 2015
    stride: ClassVar[int] = 1
    exceptions: ClassVar[Mapping[str, str]] = {
        "compile": "how many maps it computes depends on the classes that it identifies",
        "channels_last": "the saliency is a matrix product over the places of a map, and logits "
        "are filled class by class",
    }
    trained_by: ClassVar[tuple[str, ...]] = (
        "decouplednet_classifier",
        "decouplednet",
        "decouplednet_joint",
    )

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        classifier: str = "vgg16",
        size: int = 320,
        threshold: float = 0.5,
        kernel: int = 7,
        width: int = 4096,
        decoder_width: int = 512,
        upsampling: Literal["auto", "switches", "bilinear", "skip"] = "auto",
        memory: int = 1024,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2 (background too), not {num_classes}")
        for name, value in (
            ("kernel", kernel),
            ("width", width),
            ("decoder_width", decoder_width),
            ("memory", memory),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, not {threshold}")
        self.classifier = ClassificationNetwork(
            num_classes - 1, classifier, in_channels=in_channels, width=width, kernel=kernel
        )
        if size < self.classifier.smallest:
            raise ValueError(
                f"size must be at least {self.classifier.smallest} with kernel {kernel}, not {size}"
            )
        self.segmentation = SegmentationNetwork(
            self.classifier.channels,
            width=max(1, width // 2),
            kernel=kernel,
            decoder_width=decoder_width,
            upsampling=_settle(
                upsampling, classifier, self.classifier.backbone.has_switches, decoder_width
            ),
        )
        self.size, self.threshold, self.memory = size, threshold, memory
        self._forced: tuple[int, ...] | None = None

    # ---- Training: the classes of a selection together ----

    def saliency_of(self, encoded: Encoded, selection: Tensor) -> Tensor:
        """BChw, what the chosen classes of each image come from.

        The value carried back is a class's presence at its best place, as in the release.

        Args:
            encoded: of B images.
            selection: BK bool, the chosen classes; the column of background does not count.
        """
        values = encoded.best().sigmoid() * selection[:, 1:]
        return self.classifier.saliency(encoded, encoded.at_best_place(values))

    def segment(self, encoded: Encoded, saliency: Tensor, size: torch.Size) -> Tensor:
        """B2HW logits at `size`: all other pixels, pixels of the chosen classes."""
        return resize(self.segmentation(encoded.stages, saliency), size)

    # ---- Prediction: one map for each identified class ----

    def force_classes(self, classes: Sequence[int] | None) -> None:
        """From now on segment just these classes (1..K-1), whatever is identified; None: undo."""
        for label in classes or ():
            if not 0 < label < self.num_classes:
                raise ValueError(f"class {label} is not in 1..{self.num_classes - 1}")
        self._forced = None if classes is None else tuple(sorted(set(classes)))

    def forward(self, image: Tensor) -> Tensor:
        """Logarithms of the merged maps, BKHW, of `image` (BCHW).

        A class that was not identified has log(1e-8), and what has none is background.
        """
        batch, _, height, width = image.shape
        found = self.identify(image)
        logits = image.new_full((batch, self.num_classes, height, width), math.log(FAINT))
        logits[:, 0] = 0.0
        if len(found.rows):
            background, maps = merge_maps(found, batch)
            logits[found.shown, 0] = _logarithm(background, height, width)
            logits[found.rows, found.labels + 1] = _logarithm(maps, height, width)
        return logits

    def identify(self, image: Tensor) -> Identified:
        """The classes in `image` (BCHW), each with its saliency and its map.

        One pass of the encoder, one transposed pass of its head for all classes of all images, and
        the class maps together, as many at once as `memory` allows.
        """
        encoded = self.classifier.encode(to_square(image, self.size))
        presence = encoded.presence().sigmoid()
        rows, labels = self._choose(presence)
        if self._forced is not None:
            presence = presence.clamp(min=self.threshold)
        alone = F.one_hot(labels, self.num_classes - 1)[..., None, None]
        injected = encoded.at_best_place(presence)[rows] * alone
        saliency = self.classifier.saliency(encoded, injected, rows)
        # The transpose is linear: what all classes together come from is the sum.
        together = torch.zeros_like(encoded.deepest).index_add(0, rows, saliency)
        shown = torch.unique_consecutive(rows) if not rows.is_meta else rows
        joined = torch.cat([together[shown], saliency])
        margins = self._margins(encoded, joined, torch.cat([shown, rows]))
        # A softmax of two channels. Not 1 - the other: of a share near 0 that leaves no digit, and
        # the sum that it is divided by may be as small.
        background, maps = (-margins[: len(shown)]).sigmoid(), margins[len(shown) :].sigmoid()
        return Identified(rows, labels, saliency, maps, shown, background)

    def _choose(self, presence: Tensor) -> tuple[Tensor, Tensor]:
        """Image and label of each class to segment, in the order of the images."""
        if self._forced is not None:
            chosen = torch.zeros_like(presence, dtype=torch.bool)
            chosen[:, [label - 1 for label in self._forced]] = True
        elif presence.is_meta:  # nothing to compare: as if all were there
            every = torch.arange(presence.numel(), device=presence.device)
            return every // presence.shape[1], every % presence.shape[1]
        else:
            chosen = presence > self.threshold
        rows, labels = chosen.nonzero(as_tuple=True)
        return rows, labels

    def _margins(self, encoded: Encoded, saliency: Tensor, rows: Tensor) -> Tensor:
        """N1hw, by how much the logit of "chosen" is above that of "others", for each saliency."""
        need = self.segmentation.decoder.bytes_of_a_row(encoded.stages)
        together = max(1, self.memory * MEBIBYTE // need)
        pairs = zip(torch.split(saliency, together), torch.split(rows, together), strict=True)
        parts = [self.segmentation(encoded.stages, part, which) for part, which in pairs]
        logits = torch.cat(parts).float()
        return logits[:, 1:] - logits[:, :1]

    def explain(self, image: Tensor) -> dict[int, dict[str, Tensor]]:
        """For each identified class of one image, what it comes from and where it is.

        Args:
            image: 1CHW.

        Returns:
            Class -> "saliency" and "map", HW in [0, 1]; class 0 has what the identified classes
            come from together, and the background.
        """
        height, width = image.shape[-2:]
        found = self.identify(image)
        if not len(found.rows):
            return {}
        pictures = torch.cat([found.saliency.sum(0, keepdim=True), found.saliency])
        strength = pictures.abs().sum(dim=1, keepdim=True)
        strength = strength / strength.amax(dim=(1, 2, 3), keepdim=True).clamp(min=FAINT)
        saliency = _enlarge(strength, height, width, "bilinear").clamp(0, 1)
        maps = torch.cat(merge_maps(found, 1))
        shares = _enlarge(maps, height, width, "bicubic").clamp(0, 1)
        classes = [0, *(found.labels + 1).tolist()]
        return {
            label: {"saliency": saliency[i, 0], "map": shares[i, 0]}
            for i, label in enumerate(classes)
        }

    def encode(self, image: Tensor) -> list[Tensor]:
        """The encoder's maps of the image as a square, finest first."""
        encoded = self.classifier.encode(to_square(image, self.size))
        return [stage.pooled for stage in encoded.stages]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Not to be had: maps are decoded once for each class, on the encoder's switches."""
        raise NotImplementedError("DecoupledNet decodes once for each class; call the network")

    # ---- Parameters ----

    def parameter_groups(self) -> list[ParameterGroup]:
        """Both networks' groups."""
        return [*self.classifier_groups(), *self.segmentation_groups()]

    def classifier_groups(self) -> list[ParameterGroup]:
        """The backbone, and the head at ten times its learning rate: its scores start fresh."""
        return [
            ParameterGroup(list(self.classifier.backbone.parameters()), name="classifier backbone"),
            ParameterGroup(
                list(self.classifier.head.parameters()), lr_scale=10.0, name="classifier head"
            ),
        ]

    def segmentation_groups(self) -> list[ParameterGroup]:
        """Weights, and biases as in the release: at twice the rate, without weight decay."""
        return biases_apart(self.segmentation, "segmentation ")

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's state dict of the backbone, for the classification network."""
        return self.classifier.adapt_weights(state, "classifier.")


class ScoreMaps(Segmenter):
    """The classification network alone as a coarse segmenter: its score maps, enlarged.

    Background wins where no label's score is above 0, a presence of one half. What a finished
    first stage is scored and stored as.

    Args:
        network: whose classification network it is.
    """

    stride: ClassVar[int] = 1

    def __init__(self, network: DecoupledNet) -> None:
        super().__init__(network.num_classes, in_channels=network.in_channels)
        self.classifier = network.classifier
        self.size = network.size
        self._groups = network.classifier_groups()

    def encode(self, image: Tensor) -> list[Tensor]:
        """The score maps BLhw of the image as a square."""
        return [self.classifier.encode(to_square(image, self.size)).scores]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits BKhw: 0 for background, and the scores."""
        return F.pad(features[0], (0, 0, 0, 0, 1, 0))

    def forward(self, image: Tensor) -> Tensor:
        """Logits BKHW of `image` (BCHW)."""
        height, width = image.shape[-2:]
        return _enlarge(self.decode(self.encode(image)), height, width, "bilinear")

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone and the head, apart."""
        return self._groups


def merge_maps(found: Identified, batch: int) -> tuple[Tensor, Tensor]:
    """Background and class maps, each pixel divided by the sum over its image's maps.

    Where that sum is 0, 1 is added to each of the image's maps first, as in the release.

    Args:
        found: of `batch` images.

    Returns:
        M1hw and N1hw shares in [0, 1].
    """
    total = found.maps.new_zeros(batch, *found.maps.shape[1:])
    count = found.maps.new_zeros(batch, 1, 1, 1)
    for rows, maps in ((found.shown, found.background), (found.rows, found.maps)):
        total = total.index_add(0, rows, maps)
        count = count.index_add(0, rows, torch.ones_like(maps[:, :, :1, :1]))
    empty = (total <= 0).to(total)
    total = total + empty * count
    background = (found.background + empty[found.shown]) / total[found.shown]
    return background, (found.maps + empty[found.rows]) / total[found.rows]


def to_square(image: Tensor, size: int) -> Tensor:
    """`image` (BCHW) padded with 0 at its right and bottom to a square, and resized to `size`."""
    height, width = image.shape[-2:]
    long = max(height, width)
    square = F.pad(image, (0, long - width, 0, long - height))
    return resize(square, torch.Size([size, size]))


def _enlarge(maps: Tensor, height: int, width: int, mode: str) -> Tensor:
    """Maps of a square image at the size of the image that was padded to it."""
    long = max(height, width)
    return resize(maps, torch.Size([long, long]), mode)[..., :height, :width]


def _logarithm(maps: Tensor, height: int, width: int) -> Tensor:
    """Logarithms NHW of maps N1hw of the square image."""
    return _enlarge(maps, height, width, "bicubic")[:, 0].clamp(min=FAINT).log()


def _settle(
    upsampling: Literal["auto"] | Upsampling,
    classifier: str,
    has_switches: bool,
    decoder_width: int,
) -> Upsampling:
    """What "auto" means for a classification network of that name.

    Raises:
        RecipeError: switches are wanted of one that has none, or at another width than theirs.
    """
    if upsampling == "switches" and not has_switches:
        raise RecipeError(
            f"model.upsampling = 'switches': '{classifier}' has no poolings to undo; take 'skip', "
            "'bilinear' or a VGG16"
        )
    if upsampling == "auto":
        upsampling = "switches" if has_switches else "skip"
    if upsampling == "switches" and decoder_width != SWITCHES_WIDTH:
        raise RecipeError(
            f"model.decoder_width = {decoder_width}: the switches of VGG16 go with "
            f"{SWITCHES_WIDTH}; take that, or upsampling = 'skip' or 'bilinear'"
        )
    return upsampling
