from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import mobilenet_v2

from semisup.errors import CheckpointError
from semisup.models.backbones.vgg import VGG16Features
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from semisup.models.fcn import FCN8s
from semisup.models.weights import load_weights, read_weights, rename_prefix, weights_sha256

STATE = {"0.weight": torch.tensor([[1.5, -2.0]]), "0.bias": torch.tensor([0.25])}


def save(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        assert isinstance(content, dict)
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt"])
def test_reads_every_kind(tmp_path: Path, name: str) -> None:
    state = read_weights(save(tmp_path / name, STATE))
    assert set(state) == set(STATE)
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_unwraps_a_state_dict(tmp_path: Path, wrapper: str) -> None:
    content = {"epoch": 3, wrapper: STATE, "optimizer": {"lr": 0.1}}
    assert set(read_weights(save(tmp_path / "w.pth", content))) == set(STATE)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "w.pth")
    (tmp_path / "folder.pth").mkdir()
    assert "is a folder; give a file of weights" in refusal(tmp_path / "folder.pth")


def test_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"x")
    line = refusal(tmp_path / "w.h5")
    assert "'.h5'" in line
    assert ".safetensors, .pth, .pt" in line


class Malicious:
    """Makes the file `target` when it is unpickled by a careless reader."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path, zipped: bool) -> None:
    target, path = tmp_path / "touched", tmp_path / "w.pth"
    torch.save(
        {"state_dict": STATE, "extra": Malicious(target)},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    assert "refused" in refusal(path)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the test's file must be able to do harm"


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = save(tmp_path / name, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refusal(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_damaged_file_is_read_or_refused_but_never_fails_otherwise(
    tmp_path: Path, name: str
) -> None:
    path = save(tmp_path / name, STATE)
    whole = path.read_bytes()
    chance = random.Random(0)
    refusals: list[str] = []
    for _ in range(100):
        content = bytearray(whole)
        for _ in range(8):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            read_weights(path)
        except CheckpointError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert not any("\n" in line for line in refusals)


@pytest.mark.parametrize("content", [{"epoch": 3}, [1.0], torch.zeros(2), {"net": STATE}])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    assert "holds no state dict" in refusal(save(tmp_path / "w.pth", content))


def test_loads_what_fits_and_says_what_does_not(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 3), nn.Linear(3, 1))
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state = STATE | {"1.weight": torch.ones(4, 1), "1.bias": torch.full((3,), 7.0)}
    state["head.bias"] = torch.ones(1)
    report = load_weights(network, save(tmp_path / "w.pth", state))
    assert report.loaded == ("0.weight", "0.bias", "1.bias")
    assert report.missing == ("2.weight", "2.bias")
    assert report.misfits == {"1.weight": (torch.Size([4, 1]), torch.Size([3, 1]))}
    assert report.unused == ("head.bias",)
    assert not report.complete
    after = network.state_dict()
    assert all(torch.equal(after[key], state[key]) for key in report.loaded)
    assert all(torch.equal(after[key], before[key]) for key in (*report.missing, "1.weight"))
    assert str(report) == (
        f"{tmp_path / 'w.pth'}: 3 of the network's 6 tensors loaded;"
        " 2 missing in the file (2.weight, 2.bias);"
        " 1 of another shape (1.weight: 4x1 in the file, 3x1 here);"
        " 1 in the file not used (head.bias)"
    )


def test_a_long_list_is_cut_in_the_summary(tmp_path: Path) -> None:
    network = nn.Sequential(*(nn.Linear(2, 1) for _ in range(4)))
    report = load_weights(network, save(tmp_path / "w.pth", STATE))
    assert "6 missing in the file (1.weight, 1.bias, 2.weight, ...)" in str(report)


def test_a_whole_fit_is_complete(tmp_path: Path) -> None:
    report = load_weights(nn.Sequential(nn.Linear(2, 1)), save(tmp_path / "w.pth", STATE))
    assert report.complete
    assert str(report) == f"{tmp_path / 'w.pth'}: 2 of the network's 2 tensors loaded"


def test_half_precision_becomes_the_type_of_the_parameter(tmp_path: Path) -> None:
    half = {key: tensor.half() for key, tensor in STATE.items()}
    network = nn.Sequential(nn.Linear(2, 1))
    load_weights(network, save(tmp_path / "w.safetensors", half))
    assert network[0].weight.dtype == torch.float32
    assert torch.equal(network[0].weight, STATE["0.weight"])
    assert network[0].weight.requires_grad


def test_nothing_that_fits_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(5, 5))
    before = network[0].weight.detach().clone()
    path = save(tmp_path / "w.pth", {"encoder.weight": torch.ones(2, 3)})
    with pytest.raises(CheckpointError, match="nothing in it fits") as caught:
        load_weights(network, path)
    assert "'encoder.weight', 2x3; the network has '0.weight', 5x5" in str(caught.value)
    assert torch.equal(network[0].weight, before)


def test_counters_of_batch_norm_may_lack_and_are_no_fit_by_themselves(tmp_path: Path) -> None:
    network = nn.Sequential(nn.BatchNorm2d(3))
    state = network.state_dict()
    counter = {"0.num_batches_tracked": state.pop("0.num_batches_tracked")}
    assert load_weights(network, save(tmp_path / "w.pth", dict(state))).complete
    with pytest.raises(CheckpointError, match="nothing in it fits"):
        load_weights(network, save(tmp_path / "c.pth", counter))


def test_rename_prefix_touches_only_the_head_of_a_key() -> None:
    state = {"features.0": torch.ones(1), "x.features.0": torch.zeros(1)}
    renamed = rename_prefix(state, "features.", "backbone.features.")
    assert list(renamed) == ["backbone.features.0", "x.features.0"]


def test_a_state_dict_of_torchvision_fills_the_backbone(tmp_path: Path) -> None:
    theirs = mobilenet_v2().state_dict()
    model = DeepLabV3Plus(2)
    report = load_weights(model, save(tmp_path / "mobilenet_v2.pth", theirs))
    assert len(report.loaded) == 306
    assert len(report.unused) == 6 + 2  # the convolution behind the last block, the classifier
    assert torch.equal(
        model.backbone.features[17].conv[2].weight, theirs["features.17.conv.2.weight"]
    )


def test_vgg16_fits_completely(shared_weights: Path) -> None:
    path = shared_weights / "vgg16_features.safetensors"
    backbone = VGG16Features()
    report = load_weights(backbone, path)
    assert report.complete
    assert (len(report.loaded), report.unused) == (26, ())
    stored = read_weights(path)
    assert stored["features.0.weight"].dtype == torch.float16
    assert torch.equal(backbone.features[0].weight, stored["features.0.weight"].float())


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", STATE)
    content = bytearray(path.read_bytes())
    content[content.index(STATE["0.weight"].numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert "checksum of " in refusal(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    network = nn.Sequential(nn.Linear(2, 1))
    before = network[0].weight.clone()
    path = save(tmp_path / "w.safetensors", STATE | {"0.bias": torch.tensor([value])})
    with pytest.raises(CheckpointError, match=r"'0\.bias' holds values that are not finite"):
        load_weights(network, path)
    assert torch.equal(network[0].weight, before)


def test_vgg16_fills_the_convolutions_of_fcn(shared_weights: Path) -> None:
    report = load_weights(FCN8s(21, width=8), shared_weights / "vgg16_features.safetensors")
    assert len(report.loaded) == 26
    assert not report.unused
    layers = ("fc6", "fc7", "score.fc7", "score.pool4", "score.pool3")
    assert set(report.missing) == {f"{x}.{what}" for x in layers for what in ("weight", "bias")}


def test_mobilenet_v2_fills_the_backbone_of_deeplab(shared_weights: Path) -> None:
    model = DeepLabV3Plus(21)
    report = load_weights(model, shared_weights / "mobilenet_v2_features.safetensors")
    assert len(report.loaded) == 306
    assert set(report.loaded) == {k for k in model.state_dict() if k.startswith("backbone.")}
    assert len(report.unused) == 6
    assert all(key.startswith("backbone.features.18.") for key in report.unused)


@pytest.mark.parametrize("channels", [1, 4])
def test_colour_weights_in_a_network_of_other_channels(shared_weights: Path, channels: int) -> None:
    vgg = load_weights(
        FCN8s(2, in_channels=channels, width=8), shared_weights / "vgg16_features.safetensors"
    )
    assert vgg.fitted == ("backbone.features.0.weight",)
    assert not vgg.misfits
    assert len(vgg.loaded) == 26
    mobilenet = load_weights(
        DeepLabV3Plus(2, in_channels=channels),
        shared_weights / "mobilenet_v2_features.safetensors",
    )
    assert mobilenet.fitted == ("backbone.features.0.0.weight",)
    assert len(mobilenet.loaded) == 306


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6])
def test_weights_over_rgb_are_averaged_for_other_channels(tmp_path: Path, channels: int) -> None:
    """Equal channels are answered as three equal channels are, and all channels alike."""
    rgb = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 3, 1))
    path = tmp_path / "rgb.safetensors"
    save_file(rgb.state_dict(), path)
    other = nn.Sequential(nn.Conv2d(channels, 5, 3), nn.Conv2d(5, 3, 1))
    report = load_weights(other, path)
    assert report.fitted == ("0.weight",)
    assert report.complete
    assert "1 fitted to other than three channels (0.weight)" in str(report)
    grey = torch.rand(2, 1, 6, 7)
    with torch.no_grad():
        found, expected = (n(grey.expand(-1, c, -1, -1)) for n, c in ((other, channels), (rgb, 3)))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    mean = rgb[0].weight.mean(1)
    for channel in range(channels):
        torch.testing.assert_close(other[0].weight[:, channel], mean * 3 / channels)


def test_weights_over_rgb_stay_as_they_are_for_three_channels(tmp_path: Path) -> None:
    rgb, same = (nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 3, 1)) for _ in range(2))
    save_file(rgb.state_dict(), tmp_path / "rgb.safetensors")
    assert load_weights(same, tmp_path / "rgb.safetensors").fitted == ()
    assert torch.equal(same[0].weight, rgb[0].weight)


def test_what_cannot_be_copied_into_a_parameter_is_left(tmp_path: Path) -> None:
    unusual = {
        "0.weight": torch.ones(1, 2),
        "0.bias": torch.ones(1).to_sparse(),
        "1.weight": torch.ones(3, 1, dtype=torch.complex64),
        "1.bias": torch.empty(3, device="meta"),
    }
    network = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 3))
    path = tmp_path / "w.pth"
    torch.save(unusual, path, pickle_protocol=3)
    report = load_weights(network, path)  # and no warning, which would be an error
    assert report.loaded == ("0.weight",)
    assert report.missing == ("0.bias", "1.weight", "1.bias")


def test_a_key_of_two_lines_makes_no_line_of_two(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", STATE | {"a\nb": torch.ones(1)})
    assert "(a\\nb)" in str(load_weights(nn.Sequential(nn.Linear(2, 1)), path))
    path = save(tmp_path / "w.pth", {"a\nb": torch.ones(1)})
    with pytest.raises(CheckpointError, match="nothing in it fits") as caught:
        load_weights(nn.Sequential(nn.Linear(2, 1)), path)
    assert "\n" not in str(caught.value)


def test_next_to_nothing_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    network = nn.Sequential(*(nn.Linear(3, 3) for _ in range(10)))
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    fits = {f"{n}.{part}": tensor for n in range(4) for part, tensor in _linear().items()}
    others = {f"trunk.{n}": torch.ones(1) for n in range(20)}
    with pytest.raises(
        CheckpointError, match=r"8 of the network's 20 tensors and of the file's 28"
    ):
        load_weights(network, save(tmp_path / "w.pth", fits | others))
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())
    half = fits | {"4.weight": torch.ones(3, 3), "4.bias": torch.ones(3)}
    assert len(load_weights(network, save(tmp_path / "w.pth", half | others)).loaded) == 10
    small = dict(list(fits.items())[:2])  # all of the file
    assert len(load_weights(network, save(tmp_path / "w.pth", small)).loaded) == 2


def test_a_file_of_one_bias_is_next_to_nothing(tmp_path: Path) -> None:
    network = nn.Sequential(*(nn.Linear(3, 3) for _ in range(11)))
    with pytest.raises(CheckpointError, match=r"1 of the network's 22 tensors"):
        load_weights(network, save(tmp_path / "w.pth", {"10.bias": torch.ones(3)}))


def test_the_predictor_in_a_checkpoint_is_taken(tmp_path: Path) -> None:
    state = {"method": {"segmenter.0.weight": torch.zeros(1, 2)}, "predictor": STATE, "step": 3}
    assert set(read_weights(save(tmp_path / "step-00000003.pt", state))) == set(STATE)


def test_the_network_in_a_predictor_that_holds_more_is_taken(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 1))
    inner = {f"segmenter.{key}": tensor for key, tensor in STATE.items()}
    report = load_weights(network, save(tmp_path / "w.pth", inner | {"teacher.x": torch.ones(9)}))
    assert report.complete
    assert torch.equal(network[0].weight, STATE["0.weight"])


def _linear() -> dict[str, torch.Tensor]:
    return {"weight": torch.full((3, 3), 2.0), "bias": torch.full((3,), 2.0)}


def test_the_hash_is_of_the_tensors_and_not_of_how_they_are_kept(tmp_path: Path) -> None:
    state = {"a": torch.arange(24.0).reshape(1, 2, 3, 4), "b": torch.tensor(3), "c": torch.zeros(0)}
    own = weights_sha256(state)
    turned = state["a"].to(memory_format=torch.channels_last)
    assert weights_sha256({"c": state["c"], "b": state["b"], "a": turned}) == own
    save_file(state, tmp_path / "state.safetensors")
    assert weights_sha256(load_file(tmp_path / "state.safetensors")) == own
    others = [
        state | {"a": state["a"] + 1e-6},
        state | {"a": state["a"].reshape(1, 2, 4, 3)},
        state | {"a": state["a"].double()},
        {key: state[key] for key in "ab"},
        {"d" if key == "a" else key: tensor for key, tensor in state.items()},
    ]
    assert len({own, *map(weights_sha256, others)}) == 1 + len(others)
