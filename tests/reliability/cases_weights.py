"""Files of weights to start from."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from cases import read, refused
from click.testing import Result
from places import Call, Place, cut, run_command
from safetensors.torch import load_file, save_file
from torchvision.models import mobilenet_v2

from semisup.catalog import create_model


def start(place: Place, path: Path) -> list[object]:
    return place.train(extra=["--weights", path])


def network(place: Place) -> Path:
    """A whole file of weights of the recipe's network."""
    path = place.root / "weights.safetensors"
    path.write_bytes((place.finished.run / "predictor.safetensors").read_bytes())
    return path


class Payload:
    """Makes a folder when it is unpickled by whoever trusts it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def not_run(place: Place, arguments: list[object]) -> Call:
    """The command, and that no code of a `Payload` ran."""

    def then(_: Result) -> None:
        assert not (place.root / "trace").exists()

    return Call(arguments, then)


@refused("weights that are not there", "none.pth: no such file of weights", "a local file")
def no_weights(place: Place) -> list[object]:
    return start(place, place.root / "none.pth")


@refused("weights of an empty file", "empty.pth: cannot be read", "get the file again")
def empty_weights(place: Place) -> list[object]:
    return start(place, place.write("empty.pth", b""))


@refused("weights in another format", "not '.onnx'", "convert the file")
def weights_of_another_kind(place: Place) -> list[object]:
    return start(place, place.write("net.onnx", b"onnx"))


@refused("web page saved as .pth", "page.pth: refused", "get it again")
def page_as_weights(place: Place) -> list[object]:
    return start(place, place.write("page.pth", "<!DOCTYPE html><title>404</title>"))


@refused("pickle that runs a command", "evil.pth: refused", "could run code when loaded")
def malicious_weights(place: Place) -> Call:
    torch.save({"state_dict": Payload(place.root / "trace")}, place.root / "evil.pth")
    return not_run(place, start(place, place.root / "evil.pth"))


@refused("whole module pickled", "module.pth: refused", "save the state dict alone")
def pickled_module(place: Place) -> list[object]:
    torch.save(torch.nn.Conv2d(3, 2, 1), place.root / "module.pth")
    return start(place, place.root / "module.pth")


@refused(".pth cut short", "net.pth: ", "get the file again")
def truncated_pth(place: Place) -> list[object]:
    torch.save({"a": torch.zeros(5000)}, place.root / "net.pth")
    return start(place, cut(place.root / "net.pth"))


@refused(".pth with a flipped bit", "net.pth: ", "get the file again")
def flipped_pth(place: Place) -> list[object]:
    path = place.root / "net.pth"
    weight = torch.full((2, 2, 1, 1), 1.5)
    torch.save({"classifier.weight": weight}, path)
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes())] ^= 1
    path.write_bytes(content)
    return start(place, path)


@refused("safetensors cut short", "weights.safetensors: cannot be read", "get the file again")
def truncated_safetensors(place: Place) -> list[object]:
    return start(place, cut(network(place)))


@refused("safetensors with a header of 4 EB", "giant.safetensors: cannot be read", "again")
def giant_header(place: Place) -> list[object]:
    return start(place, place.write("giant.safetensors", struct.pack("<Q", 1 << 62) + b"{}"))


@refused("safetensors that announces 4 TB", "giant.safetensors: cannot be read", "again")
def giant_tensor(place: Place) -> list[object]:
    entry = {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    header = json.dumps(entry).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(16)
    return start(place, place.write("giant.safetensors", content))


@refused("weights of another network", "other.safetensors: nothing in it fits", "same architecture")
def weights_of_another_network(place: Place) -> list[object]:
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, place.root / "other.safetensors")
    return start(place, place.root / "other.safetensors")


@refused("weights of other shapes", "wide.safetensors: nothing in it fits", "same architecture")
def weights_of_other_shapes(place: Place) -> list[object]:
    save_file({"classifier.weight": torch.zeros(2, 64, 1, 1)}, place.root / "wide.safetensors")
    return start(place, place.root / "wide.safetensors")


@refused("weights without a tensor", "numbers.pth: holds no state dict", "torch.save(module")
def weights_without_tensors(place: Place) -> list[object]:
    torch.save({"epoch": 3, "loss": [0.1, 0.2]}, place.root / "numbers.pth")
    return start(place, place.root / "numbers.pth")


@refused("weights that are not finite", "nan.safetensors: ", "not finite")
def weights_that_are_not_finite(place: Place) -> list[object]:
    weight = torch.full((2, 2, 1, 1), float("nan"))
    save_file({"classifier.weight": weight}, place.root / "nan.safetensors")
    return start(place, place.root / "nan.safetensors")


@refused("run folder as weights", "-s0: is a folder", "of a run its predictor.safetensors")
def run_as_weights(place: Place) -> list[object]:
    return start(place, place.finished_run())


@refused("folder as weights", "none: is a folder", "predictor.safetensors")
def folder_as_weights(place: Place) -> list[object]:
    (place.root / "none").mkdir()
    return start(place, place.root / "none")


@refused(
    "weights of a wider network",
    "wide.safetensors: 1 of the network's",
    "next to nothing",
    "same architecture",
)
def weights_of_a_wider_network(place: Place) -> list[object]:
    model = create_model("unet", 2, width=6)
    save_file(model.state_dict(), place.root / "wide.safetensors")
    return start(place, place.root / "wide.safetensors")


@refused("weights of which the bias of the classifier alone fits", "bias.pth: 1 of the", "half of")
def weights_of_a_bias(place: Place) -> list[object]:
    torch.save({"classifier.bias": torch.zeros(2)}, place.root / "bias.pth")
    return start(place, place.root / "bias.pth")


@refused("weights of a network with a few layers in common", "few.pth: 4 of the", "next to nothing")
def weights_with_a_few_layers(place: Place) -> list[object]:
    state = load_file(place.finished.run / "predictor.safetensors")
    common = dict(list(state.items())[:4])
    others = {f"trunk.{n}.weight": torch.zeros(3) for n in range(30)}
    torch.save({"model": common | others}, place.root / "few.pth")
    return start(place, place.root / "few.pth")


@read("checkpoint of ours as weights", "its predictor is taken, all of it")
def checkpoint_as_weights(place: Place) -> Call:
    def then(result: Result) -> None:
        own = load_file(place.finished.run / "predictor.safetensors")
        assert f"{len(own)} of the network's {len(own)} tensors loaded" in result.stderr

    return Call(start(place, place.finished.run / "checkpoints" / "step-00000001.pt"), then)


@read("weights for another number of classes", "all but the classifier is taken, which it says")
def weights_of_another_number_of_classes(place: Place) -> Call:
    model = create_model("unet", 5, width=2)
    save_file(model.state_dict(), place.root / "five.safetensors")

    def then(result: Result) -> None:
        assert "2 of another shape (classifier.weight" in result.stderr

    return Call(start(place, place.root / "five.safetensors"), then)


ON_MOBILENET = ("model.name=fcn8s_mobilenet_v2", "data.crop=[64,64]")


def nothing_answers(*_: object, **__: object) -> None:
    raise URLError(ConnectionRefusedError(111, "Connection refused"))


@refused("torchvision's weights without a network", "Connection refused", "put it at ")
def torchvision_without_a_network(place: Place) -> list[object]:
    place.patch.setenv("TORCH_HOME", str(place.root / "torch"))
    place.patch.setattr("torch.hub.urlopen", nothing_answers)
    return place.train(*ON_MOBILENET, extra=["--weights", "torchvision"])


@refused("torchvision's weights for a network of none", "UNet has no backbone", "Give a file")
def torchvision_without_a_backbone(place: Place) -> list[object]:
    return place.train(extra=["--weights", "torchvision"])


@refused("torchvision's weights cut short in its cache", "cannot be read", "get the file again")
def torchvision_cut_short(place: Place) -> list[object]:
    place.patch.setenv("TORCH_HOME", str(place.root / "torch"))
    place.write("torch/hub/checkpoints/mobilenet_v2-b0353104.pth", b"PK\x03\x04")
    return place.train(*ON_MOBILENET, extra=["--weights", "torchvision"])


@refused("cache of torch that is no folder", "torch/hub: cannot be read or wr", "Set TORCH_HOME")
def torchvision_without_a_cache(place: Place) -> list[object]:
    place.patch.setenv("TORCH_HOME", str(place.write("torch", "no folder")))
    return place.train(*ON_MOBILENET, extra=["--weights", "torchvision"])


@refused(
    "torchvision's weights exchanged in its cache", "was begun from torchvision", "Put that fi"
)
def torchvision_exchanged(place: Place) -> list[object]:
    place.patch.setenv("TORCH_HOME", str(place.root / "torch"))
    path = place.write("torch/hub/checkpoints/mobilenet_v2-b0353104.pth", b"")
    command = place.train(*ON_MOBILENET, extra=["--weights", "torchvision"])
    for seed in range(2):
        torch.manual_seed(seed)
        torch.save(mobilenet_v2().state_dict(), path)
        if not seed:
            assert run_command(command).exit_code == 0
    for result in place.runs.rglob("result.json"):
        result.unlink()
    return command
