"""Whether the contract of networks finds what is broken, and says so in words."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from semisup.contracts.base import Check, run_checks
from semisup.contracts.models import CHECKS, CLASSES, ModelSubject, channels_lie_first
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


class Mixed(Sound):
    def embed(self, features: list[Tensor]) -> Tensor:
        return features[0].contiguous()


class Turned(Sound):
    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        return logits.contiguous()


class Viewed(Sound):
    """Reads its map as it lies in memory."""

    def embed(self, features: list[Tensor]) -> Tensor:
        (maps,) = features
        return maps.permute(0, 2, 3, 1).reshape(maps.shape) if channels_lie_first(maps) else maps


class Forgets(Sound):
    """Scales by a number that no state has."""

    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.scale = float(torch.rand(()))

    def classify(self, embedding: Tensor) -> Tensor:
        return self.scale * super().classify(embedding)


class Asks(Sound):
    def embed(self, features: list[Tensor]) -> Tensor:
        return features[0] if float(features[0].mean()) > 0 else features[0].relu()


class Prints(Sound):
    def embed(self, features: list[Tensor]) -> Tensor:
        torch._dynamo.graph_break()
        return super().embed(features)


class AsksInTraining(Sound):
    def training_logits(self, image: Tensor) -> list[Tensor]:
        logits = self(image)
        return [logits * 2 if self.training and logits.max().item() > 1e9 else logits]


class OtherCompiled(Sound):
    def classify(self, embedding: Tensor) -> Tensor:
        return (2.0 if torch.compiler.is_compiling() else 1.0) * super().classify(embedding)


ONE_GRAPH = "forward compiles to one graph"


@pytest.mark.parametrize(
    ("maps", "first"),
    [
        (torch.zeros(2, 3, 4, 5), True),
        (torch.zeros(1, 3, 4, 5), True),
        (torch.zeros(2, 4, 5, 3).permute(0, 3, 1, 2), False),
        (torch.zeros(2, 4, 5, 8).permute(0, 3, 1, 2)[:, 2:5], False),  # a part of the channels
        (torch.zeros(2, 8, 9, 3).permute(0, 3, 1, 2)[..., 1:4, 2:6], False),  # a crop
        (torch.zeros(2, 1, 4, 5), False),  # of one channel, and of one pixel, there is one order
        (torch.zeros(2, 3, 1, 1), False),
        (torch.zeros(2, 3, 1, 2), True),
    ],
)
def test_which_maps_have_their_channels_first(maps: Tensor, first: bool) -> None:
    assert channels_lie_first(maps) == first


@pytest.mark.parametrize(("cls", "title"), [(Asks, ONE_GRAPH), (Turned, "channels_last is kept")])
def test_a_network_may_say_why_it_is_an_exception(
    cls: type[Segmenter], title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cls, "exceptions", {"compile": "it asks", "channels_last": "it turns"})
    (finding,) = run_checks(titled(title), ModelSubject(partial(cls, CLASSES)))
    assert finding.verdict == "-"
    assert finding.skipped in cls.exceptions.values()


def titled(title: str) -> list[Check[ModelSubject]]:
    return [check for check in CHECKS if check.title == title]


@pytest.mark.parametrize(
    ("cls", "title", "words"),
    [
        (Padded, "logits have the size of the image", "Let `to_image_size` resize them"),
        (Accepts, "no classes and no channels are refused", "num_classes = 0 is accepted"),
        (Idle, "a gradient reaches every parameter", "unused.weight, unused.bias: no gradient"),
        (Noisy, "eval is deterministic and finite", "two passes in eval mode differ"),
        (MoreMaps, "eval is deterministic and finite", "gives 2 maps and auxiliary_weights has 0"),
        (Mixed, "channels_last is kept", "classifier: gets its channels first"),
        (Turned, "channels_last is kept", "logits have their channels first"),
        (Viewed, "channels_last is kept", "Use `reshape`, not `view`"),
        (Forgets, "a saved network is the same", "register_buffer"),
        (Asks, ONE_GRAPH, "cannot take it in one graph"),
        (Prints, ONE_GRAPH, "cannot take it in one graph"),
        (AsksInTraining, ONE_GRAPH, "cannot take it in one graph"),
        (OtherCompiled, ONE_GRAPH, "it gives other logits"),
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
    (finding,) = run_checks(titled(title), ModelSubject(partial(cls, CLASSES)))
    assert words in finding.problem
