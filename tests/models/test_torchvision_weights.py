"""torchvision's weights without a network: out of torch.hub's cache, and where nothing answers."""

from __future__ import annotations

import functools
import re
import socket
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError

import pytest
import torch
from torch import nn
from torchvision.models import get_model_weights, get_weight, mobilenet_v2

from semisup.catalog import create_model
from semisup.errors import CheckpointError, RecipeError
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from semisup.models.torchvision_weights import VERSION, fetch, torchvision_weights
from semisup.models.weights import load_weights

NAMES = {
    ("fcn8s", ""): "VGG16_Weights",
    ("fcn32s", "alexnet"): "AlexNet_Weights",
    ("deconvnet", ""): "VGG16_BN_Weights",
    ("decouplednet", ""): "VGG16_Weights",
    ("deeplab_v3plus", ""): "MobileNet_V2_Weights",
    ("deeplab_v3plus", "resnet101"): "ResNet101_Weights",
    ("fcn8s_mobilenet_v2", ""): "MobileNet_V2_Weights",
    ("gfrnet", ""): "VGG16_BN_Weights",
    ("linknet", ""): "ResNet18_Weights",
    ("lraspp", ""): "MobileNet_V2_Weights",
    ("pspnet", ""): "ResNet50_Weights",
    ("refinenet", ""): "ResNet101_Weights",
    ("segnet", ""): "VGG16_BN_Weights",
}
"""Model and backbone -> the weights that it starts from."""

LARGE = ("deconvnet", "decouplednet", "refinenet", "gfrnet", "segnet")

WITHOUT = {
    ("unet", ""): "UNet has no backbone that is torchvision's",
    ("enet", ""): "ENet has no backbone that is torchvision's",
    ("fc_densenet56", ""): "FCDenseNet56 has no backbone that is torchvision's",
    ("dpt", ""): "DPT has no backbone that is torchvision's",
    ("fcn32s", "bvlc_alexnet"): "FCN32s here has a backbone that is not torchvision's",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's cache, empty; the folder of its files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@functools.cache
def outline(name: str, backbone: str = "") -> nn.Module:
    with torch.device("meta"):
        return create_model(name, 2, **({"backbone": backbone} if backbone else {}))


@pytest.mark.parametrize(
    ("name", "backbone"),
    [pytest.param(*pair, marks=pytest.mark.slow) if pair[0] in LARGE else pair for pair in NAMES],
)
def test_every_backbone_of_torchvision_has_its_weights(
    name: str, backbone: str, cache: Path
) -> None:
    weights = torchvision_weights(outline(name, backbone))
    assert weights.name == f"{NAMES[name, backbone]}.{VERSION}"
    assert weights.url == get_weight(weights.name).url
    assert weights.path.parent == cache


@pytest.mark.parametrize(("name", "backbone"), WITHOUT)
def test_other_networks_say_so(name: str, backbone: str) -> None:
    with pytest.raises(RecipeError, match=WITHOUT[name, backbone]) as caught:
        fetch(outline(name, backbone))
    assert "Give a file" in str(caught.value)


def test_a_file_in_the_cache_is_taken_without_a_network(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", None)
    model = DeepLabV3Plus(2)
    state = mobilenet_v2().state_dict()
    torch.save(state, cache / "mobilenet_v2-b0353104.pth")
    path = fetch(model)
    assert path == cache / "mobilenet_v2-b0353104.pth"
    assert len(load_weights(model, path).loaded) == 306
    assert torch.equal(
        model.state_dict()["backbone.features.0.0.weight"], state["features.0.0.weight"]
    )


def test_what_is_fetched_is_torchvisions_and_lands_in_the_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a server that has another file under the name: its checksum is not the one in the name."""
    torch.save({"features.0.0.weight": torch.ones(1)}, tmp_path / "served.pth")
    asked = []

    def answer(asking: request.Request, *_: Any, **__: Any) -> Any:
        asked.append((asking.full_url, socket.getdefaulttimeout()))
        return _Answer(tmp_path / "served.pth")

    monkeypatch.setattr("torch.hub.urlopen", answer)
    with pytest.raises(CheckpointError, match=r"cannot be fetched \(invalid hash value"):
        fetch(outline("lraspp"))
    url = get_model_weights("mobilenet_v2")[VERSION].url
    assert asked == [(url, 60.0)]
    assert socket.getdefaulttimeout() is None
    assert not list(cache.iterdir())
    monkeypatch.setattr("torch.hub.HASH_REGEX", re.compile("nothing"))  # no checksum in the name
    assert fetch(outline("lraspp")).read_bytes() == (tmp_path / "served.pth").read_bytes()


class _Answer:
    """What `urlopen` gives of a file."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def info(self) -> _Answer:
        return self

    def get_all(self, _: str) -> list[str]:
        return []

    def read(self, size: int) -> bytes:
        return self.file.read(size)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (
            URLError(socket.gaierror(-3, "Temporary failure in name resolution")),
            "Temporary failure",
        ),
        (TimeoutError("timed out"), "timed out"),
        (HTTPError("https://x", 403, "Forbidden", None, None), "Forbidden"),  # type: ignore[arg-type]
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_without_a_network_one_line_says_which_file_to_put_where(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(CheckpointError) as caught:
        fetch(outline("lraspp"))
    line = str(caught.value)
    assert "\n" not in line
    assert reason in line
    assert f"put it at {cache / 'mobilenet_v2-b0353104.pth'}" in line
    assert "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth" in line


def test_a_connection_that_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # a port at which nobody listens
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(CheckpointError, match="Connection refused"):
        fetch(outline("lraspp"))
