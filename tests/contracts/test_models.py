"""Whether the contract of networks finds what is broken, and says so in words."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from semisup.contracts.base import run_checks
from semisup.contracts.models import CHECKS, CLASSES, ModelSubject
from semisup.contracts.toys import ToySegmenter
from semisup.models.base import ParameterGroup, Segmenter


class Sound(Segmenter):
    """One convolution and a classifier."""

    stride = 1

    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.body = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.classifier = nn.Conv2d(4, num_classes, 1)

    embedding_channels = 4  # type: ignore[assignment]

    def encode(self, image: Tensor) -> list[Tensor]:
        return [self.body(image)]

    def embed(self, features: list[Tensor]) -> Tensor:
        return features[0].relu()

    def classify(self, embedding: Tensor) -> Tensor:
        logits: Tensor = self.classifier(embedding)
        return logits


def failed(cls: type[Segmenter]) -> dict[str, str]:
    found = run_checks(CHECKS, ModelSubject(partial(cls, CLASSES)))
    return {finding.title: finding.problem for finding in found if finding.problem}


def test_the_network_that_the_broken_ones_are_made_of_is_sound() -> None:
    assert failed(Sound) == {}


def test_a_network_that_hides_its_channels_is_found() -> None:
    assert "images of other channels are taken" in failed(ToySegmenter)


class Padded(Sound):
    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        return logits[..., :-1, :]


class Accepts(Sound):
    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__(max(1, num_classes), in_channels=max(1, in_channels))


class Idle(Sound):
    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.unused = nn.Conv2d(1, 1, 1)


class Noisy(Sound):
    def embed(self, features: list[Tensor]) -> Tensor:
        return features[0] + torch.randn_like(features[0])


class MoreMaps(Sound):
    def training_logits(self, image: Tensor) -> list[Tensor]:
        return [self(image), self(image)]


class OtherDecode(Sound):
    def decode(self, features: list[Tensor]) -> Tensor:
        return 2.0 * super().decode(features)


class OtherForward(Sound):
    def forward(self, image: Tensor) -> Tensor:
        return 2.0 * super().forward(image)


class OtherEmbedding(Sound):
    embedding_channels = 5  # type: ignore[assignment]


class HalfGrouped(Sound):
    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.body.parameters()))]


class TwiceGrouped(Sound):
    def parameter_groups(self) -> list[ParameterGroup]:
        return [*super().parameter_groups(), *super().parameter_groups()]


class OtherKeys(Sound):
    built = 0

    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        OtherKeys.built += 1
        self.register_buffer(f"number{OtherKeys.built}", torch.zeros(1))


class Renames(Sound):
    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f"backbone.{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    ("cls", "title", "words"),
    [
        (Padded, "logits have the size of the image", "Let `to_image_size` resize them"),
        (Accepts, "no classes and no channels are refused", "num_classes = 0 is accepted"),
        (Idle, "a gradient reaches every parameter", "unused.weight, unused.bias: no gradient"),
        (Noisy, "eval is deterministic and finite", "two passes in eval mode differ"),
        (MoreMaps, "eval is deterministic and finite", "gives 2 maps and auxiliary_weights has 0"),
        (OtherDecode, "forward encodes and decodes", "Write no `decode`"),
        (OtherForward, "forward encodes and decodes", "Leave `forward` as it is"),
        (OtherEmbedding, "forward encodes and decodes", "embedding_channels says 5"),
        (HalfGrouped, "groups hold each parameter once", "classifier.weight, classifier.bias: in"),
        (TwiceGrouped, "groups hold each parameter once", "in two groups"),
        (OtherKeys, "its state has stable keys", "two builds have other state keys"),
        (Renames, "its state has stable keys", "adapt_weights changes"),
    ],
)
def test_a_broken_network_is_told_what_is_broken(
    cls: type[Segmenter], title: str, words: str
) -> None:
    assert words in failed(cls)[title]
