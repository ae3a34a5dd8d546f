"""What a run starts from: `model.weights`, in its digest and in its record."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import mobilenet_v2

from semisup.errors import CheckpointError
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import build_method, weights_file, weights_name

FILE = "mobilenet_v2-b0353104.pth"


def recipe_of(weights: str, name: str = "fcn8s_mobilenet_v2", **options: Any) -> Recipe:
    tables: dict[str, Any] = {
        "data": {"name": "folder", "split": "1/2"},
        "model": {"name": name, "weights": weights, **options},
        "method": {"name": "supervised"},
        "optim": {"segmenter": {"lr": 0.01}},
        "train": {"steps": 2},
    }
    return build_recipe("tiny", tables)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's cache with a file of MobileNetV2."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(7)
    torch.save(mobilenet_v2().state_dict(), folder / FILE)
    return folder


def test_a_run_starts_from_torchvisions_weights_and_names_them(cache: Path) -> None:
    recipe = recipe_of("torchvision")
    method, notes = build_method(recipe, 3)
    stored = torch.load(cache / FILE, weights_only=True)
    own = method.segmenter.state_dict()
    assert torch.equal(own["backbone.features.0.0.weight"], stored["features.0.0.weight"])
    assert notes[0].startswith(f"{cache / FILE}: 306 of the network's 312 tensors loaded")
    digits = hashlib.sha256((cache / FILE).read_bytes()).hexdigest()[:8]
    entry = "torchvision MobileNet_V2_Weights.IMAGENET1K_V1"
    assert weights_name(recipe) == f"{entry}, {FILE} ({digits})"


def test_a_damaged_file_in_the_cache_is_refused(cache: Path) -> None:
    (cache / FILE).write_bytes((cache / FILE).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        build_method(recipe_of("torchvision"), 3)


def test_the_word_is_the_digest_whatever_lies_there(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = recipe_of("torchvision").digest()
    (tmp_path / "torchvision").write_bytes(b"a file of that name")
    (cache / FILE).unlink()
    assert recipe_of("torchvision").digest() == before
    assert weights_file(recipe_of("torchvision")) == cache / FILE
    assert recipe_of("").digest() != before


def test_of_a_file_the_content_is_the_digest(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pth", tmp_path / "other.pth"
    one.write_bytes(b"1")
    other.write_bytes(b"1")
    assert recipe_of(str(one)).digest() == recipe_of(str(other)).digest()
    assert weights_file(recipe_of(str(one))) == one
    assert weights_name(recipe_of(str(one))) == "one.pth (6b86b273)"
    assert weights_file(recipe_of("")) is None
    assert weights_name(recipe_of("")) == "none"
