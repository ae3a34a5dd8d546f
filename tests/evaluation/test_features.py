"""Features of whole images: what they are, and which weights a backbone gets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from semisup.errors import CheckpointError, RecipeError
from semisup.evaluation import features as module
from semisup.evaluation.features import open_features
from semisup.models.backbones.base import Backbone, PooledStage
from semisup.ops.pixels import normalise

CPU = torch.device("cpu")


class Tiny(Backbone):
    """One convolution of stride 2, and a batch normalisation."""

    channels = (4, 5)

    def __init__(self, *, in_channels: int, width: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 4, 3, stride=2)
        self.last = nn.Sequential(nn.Conv2d(4, width, 1), nn.BatchNorm2d(width))

    def stages(self, image: Tensor) -> list[PooledStage]:
        first = self.first(image)
        size = image.shape[-2:]
        return [PooledStage(maps, None, size) for maps in (first, self.last(first))]


def wide(*, in_channels: int) -> Tiny:
    return Tiny(in_channels=in_channels, width=7)


@pytest.fixture(autouse=True)
def tiny_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKBONES", {"another": wide, "tiny": Tiny})
    monkeypatch.setattr(module, "DEFAULT_BACKBONE", "tiny")


def images(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 12, 15), generator=generator, dtype=torch.uint8)


def weights_of(network: Backbone, path: Path) -> Path:
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.1, 1)
    save_file(network.state_dict(), path)
    return path


def test_they_are_the_deepest_map_averaged_over_places(tmp_path: Path) -> None:
    path = weights_of(Tiny(in_channels=3), tmp_path / "tiny.safetensors")
    opened = open_features(CPU, weights=path)
    batch = images(6)
    expected = opened.network.stages(normalise(batch))[-1].pooled.mean(dim=(2, 3))
    assert opened([batch[:4], batch[4:]]).equal(opened([batch]))
    torch.testing.assert_close(opened([batch]), expected)
    assert not opened([batch]).requires_grad
    assert not opened.network.training


def test_they_do_not_depend_on_how_many_images_pass_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, batch = open_features(CPU), images(6)
    whole = opened([batch])
    monkeypatch.setattr(module, "_BATCH_PIXELS", 1)
    torch.testing.assert_close(opened([batch]), whole)


def test_random_weights_are_named_and_always_the_same() -> None:
    before = torch.get_rng_state()
    once = open_features(CPU)
    assert torch.get_rng_state().equal(before)
    torch.rand(5)
    again = open_features(CPU)
    assert once.describe() == {
        "backbone": "tiny",
        "dimensions": 5,
        "weights": "random weights, seed 0",
    }
    assert once([images(3)]).equal(again([images(3)]))
    noise = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
    assert 0.1 < once([noise]).square().mean().sqrt() < 10


def test_a_file_says_which_backbone_it_is_of(tmp_path: Path) -> None:
    path = weights_of(wide(in_channels=3), tmp_path / "wide.safetensors")
    told = f"wide.safetensors ({hashlib.sha256(path.read_bytes()).hexdigest()[:8]})"
    for opened in (open_features(CPU, weights=path), open_features(CPU, otherwise=path)):
        assert (opened.backbone, opened.weights) == ("another", told)
        stored = opened.network.state_dict()["last.0.weight"]
        assert stored.shape == (7, 4, 1, 1)
        assert stored.min() >= 0.1


def test_weights_that_are_given_must_fit(tmp_path: Path) -> None:
    path = weights_of(wide(in_channels=3), tmp_path / "wide.safetensors")
    with pytest.raises(CheckpointError, match=r"wide.safetensors: holds no whole tiny\. Give"):
        open_features(CPU, "tiny", weights=path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(3)}, foreign)
    with pytest.raises(CheckpointError, match=r"holds no whole tiny or another\. Give"):
        open_features(CPU, weights=foreign)
    with pytest.raises(CheckpointError, match="no such file of weights"):
        open_features(CPU, weights=tmp_path / "none.pth")


def test_weights_of_the_recipe_are_taken_where_they_fit(tmp_path: Path) -> None:
    path = weights_of(wide(in_channels=3), tmp_path / "wide.safetensors")
    for backbone, otherwise in (("tiny", str(path)), ("", str(tmp_path / "gone.pth")), ("", "")):
        assert open_features(CPU, backbone, otherwise=otherwise).weights.startswith("random")
    own = weights_of(Tiny(in_channels=3), tmp_path / "own.safetensors")
    assert open_features(CPU, weights=own, otherwise=path).backbone == "tiny"


def test_a_backbone_that_is_none() -> None:
    with pytest.raises(RecipeError, match=r"no backbone is called 'tinny'\. Did you mean 'tiny'"):
        open_features(CPU, "tinny")
