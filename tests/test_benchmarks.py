"""benchmarks/: they run at a tiny size, and find out what is not the same network."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from semisup.catalog import MODELS, create_dataset
from semisup.data.base import SegmentationData
from semisup.system.memory import keep_freed_memory

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    """A script of `benchmarks`, under a name that no test has."""
    full = f"benchmark_{name}"
    if full in sys.modules:
        return sys.modules[full]
    spec = importlib.util.spec_from_file_location(full, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def run(script: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


REAL = {
    "voc": "voc2012_small",
    "camvid": "camvid_jpg",
    "cityscapes": "cityscapes",
    "coco": "coco",
    "ade20k": "ade20k",
    "nyudv2": "nyudv2_small",
}
"""Data set -> where its files lie among the real ones."""


def real(shared_data: Path, name: str) -> SegmentationData:
    return create_dataset(name, shared_data / REAL[name], "train")


def options(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(**{"device": "cpu", "batch": 2, "size": (32, 40), **changes})


def test_a_markdown_table_has_a_rule_for_each_column() -> None:
    ratios = load("ratios")
    head = ratios.markdown_head(["name", "ms", "MiB"], texts=1).splitlines()
    assert head == ["| name | ms | MiB |", "|---|--:|--:|"]
    assert ratios.markdown_row(["a", 1.5, 2]) == "| a | 1.5 | 2 |"


@pytest.mark.parametrize("text", ["360", "360x", "x480", "0x8", "-1x8", "3.5x8", "8x8x8"])
def test_what_is_no_size_is_refused(text: str) -> None:
    ratios = load("ratios")
    assert ratios.height_and_width("360x480") == (360, 480)
    with pytest.raises(argparse.ArgumentTypeError, match="360x480"):
        ratios.height_and_width(text)


def test_the_clock_of_the_processor_stands_still_while_a_run_sleeps() -> None:
    ratios = load("ratios")
    runs = {"sleeps": lambda: ratios.time.sleep(0.05)}
    wall = ratios.interleave(runs, 2, warm=True)["sleeps"]
    spent = ratios.interleave(runs, 2, ratios.CLOCKS["processor"], warm=True)["sleeps"]
    assert len(wall.seconds) == 2
    assert wall.median >= 0.05 > spent.median


def test_a_peak_of_memory_is_that_since_it_was_forgotten() -> None:
    ratios = load("ratios")
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system keeps a process's peak as long as the process")
    keep_freed_memory()  # as a run does, in whose process this may be
    freed = torch.ones(256 * 2**18)  # 256 MiB
    del freed
    ratios.forget_peak()
    before = ratios.peak_memory()
    held = torch.ones(128 * 2**18)  # so much is given by the system anew
    grown = ratios.peak_memory() - before
    assert 100 < grown < 200
    assert held.sum() > 0


def test_the_peer_of_the_same_architecture_has_the_same_maps() -> None:
    models = load("models")
    pairs = {(pair.name, pair.peer.split()[0]): pair for pair in models.PEERS["same"]}
    for key in [("lraspp", "torchvision"), ("MobileNetV2", "torchvision")]:
        torch.manual_seed(0)
        ours, theirs = pairs[key].ours(), pairs[key].theirs()
        assert models.difference_of(ours, theirs, (64, 64)) < 1e-5


def test_another_network_is_not_taken_for_the_same() -> None:
    models = load("models")
    torch.manual_seed(0)
    ours, theirs = models.Ours("lraspp"), models.Ours("lraspp")
    for layer in theirs.network.backbone.features[16].modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.dilation = layer.padding = (1, 1)
    with pytest.raises(AssertionError, match="not the same network"):
        models.difference_of(ours, theirs, (64, 64))
    with pytest.raises(AssertionError, match="other shapes"):
        models.difference_of(ours, models.Ours("enet"), (64, 64))


@pytest.mark.parametrize("memory", ["NCHW", "channels last"])
def test_a_pass_of_training_moves_weights_and_one_of_inference_does_not(memory: str) -> None:
    models = load("models")
    torch.manual_seed(0)
    passes = models.Passes(models.Ours("enet"), options(), (32, 40), memory)
    assert passes.image.is_contiguous(memory_format=models.FORMATS[memory])
    weight = passes.network.network.classifier.weight
    first = weight.detach().clone()
    (logits,) = passes.prepared("inference")()
    assert logits.shape == (2, models.CLASSES, 32, 40)
    assert torch.equal(weight, first)
    passes.prepared("training")()
    assert not torch.equal(weight, first)


def test_the_tables_have_every_network_for_images_in_both_formats() -> None:
    models = load("models")
    assert set(MODELS) - set(models.COMMON) == {"decouplednet", "mask_rcnn", "unet3d"}
    for name in models.COMMON:
        with torch.device("meta"):
            network = models.Ours(name)
        for memory in models.FORMATS.values():
            network.to(memory_format=memory)


@pytest.mark.slow
def test_the_nearest_networks_take_the_sizes_of_the_table() -> None:
    pytest.importorskip("segmentation_models_pytorch", reason="of the peers")
    models = load("models")
    for pair in models.NEAREST:
        size = models.fitting((96, 128), pair.multiple)
        for build in (pair.ours, pair.theirs):
            with torch.no_grad():
                (maps,) = build().eval()(torch.zeros(1, 3, *size))
            assert maps.shape == (1, 21, *size), pair


def test_sides_are_cut_to_what_a_peer_takes() -> None:
    models = load("models")
    assert models.fitting((192, 250), 32) == (192, 224)
    assert models.fitting((13, 30), 14) == (14, 28)


def test_the_networks_of_the_latency_table_are_in_the_catalogue() -> None:
    pytest.importorskip("onnxruntime", reason="extra export")
    latency = load("latency")
    assert set(latency.NETWORKS) <= set(MODELS)
    logits, other = torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4)
    other[0, 1, 2, 3] = 1.5
    assert latency.compare(logits, other, moved=0.1) == (0.5, 1 / 16)
    with pytest.raises(AssertionError, match=r"6.25% of the pixels differ"):
        latency.compare(logits, other, moved=0.05)
    with pytest.raises(AssertionError, match="differ"):
        latency.compare(logits, logits + 1e-3)
    with pytest.raises(AssertionError, match="nothing is compared"):
        latency.compare(0 * logits, 0 * logits)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [("enet", (32, 48)), ("enet", (35, 45)), ("segnet_basic", (36, 52)), ("linknet", (64, 96))],
)
def test_an_exported_network_has_the_logits_of_torch(
    tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    pytest.importorskip("onnxruntime", reason="extra export")
    latency = load("latency")
    network, image = latency.build(name), torch.randn(1, 3, *size)
    latency.export(network, image, tmp_path / "network.onnx")
    another = torch.randn(1, 3, *size)
    found = latency.Exported(tmp_path / "network.onnx", another, 1).session()()
    with torch.inference_mode():
        assert latency.compare(network(another), found)[0] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("table", ["inference", "training", "same"])
def test_the_tables_of_networks_at_a_tiny_size(tmp_path: Path, table: str) -> None:
    if table == "same":
        pytest.importorskip("segmentation_models_pytorch", reason="of the peers")
    tiny = ["--networks", "lraspp", "--size", "64x64", "--rounds", "1"]
    *_, row = run("models.py", table, *tiny, "--json", str(tmp_path / "rows.json"))
    assert "lraspp" in row
    (found,) = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    if table == "same":
        assert found["difference"] < 1e-5
        assert found["training"]["memory"]["ours"] > found["inference"]["memory"]["ours"] > 0
    else:
        assert found["parameters"] == 1_897_290
        assert found["NCHW"] > 0
        assert found["memory"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("script", ["gan.py --method s4gan", "semi.py --methods fixmatch,cps"])
def test_a_step_without_the_habits_is_the_same_step(script: str) -> None:
    name, *options = script.split()
    printed = run(name, *options, "--rounds", "1", "--batch", "2", "--side", "64")
    assert any("x as fast as the textbook" in line for line in printed)


@pytest.mark.slow
def test_costs_of_consistency_methods_over_supervised_training_without_habits() -> None:
    options = ["--methods", "fixmatch", "--rounds", "1", "--batch", "2", "--side", "64"]
    *_, first, second = run("semi.py", "--costs", *options)
    assert first == "supervised takes 1.00 x the time of supervised"
    assert re.fullmatch(r"fixmatch takes \d+\.\d\d x the time of supervised", second)


@pytest.mark.slow
def test_the_table_of_latencies_at_a_tiny_size() -> None:
    pytest.importorskip("onnxruntime", reason="extra export")
    tiny = ["--networks", "enet", "--size", "32x48", "--rounds", "1", "--threads", "1"]
    *_, head, _, row = run("latency.py", *tiny)
    assert row.startswith("| `enet` | 0.36 |")
    assert row.count("|") == head.count("|")


def test_the_made_annotations_of_coco_have_the_proportions_of_the_real_ones(tmp_path: Path) -> None:
    made = load("made_coco")
    path = tmp_path / "made.json"
    count = made.write_annotations(path, 600)
    content = json.loads(path.read_text(encoding="ascii"))
    assert (len(content["images"]), len(content["annotations"])) == (600, count)
    assert count / 600 == pytest.approx(7.27, abs=0.01)
    assert 400 < path.stat().st_size / count - 40 < 650
    assert {one["iscrowd"] for one in content["annotations"]} == {0, 1}
    again = tmp_path / "again.json"
    made.write_annotations(again, 600)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_annotations_of_coco_are_opened_looked_up_and_drawn() -> None:
    pytest.importorskip("pycocotools", reason="extra coco")
    tiny = ["--coco", "made", "--coco-images", "40", "--masks", "5", "--rounds", "1"]
    printed = "\n".join(run("data.py", *tiny))
    for title in ("opened", "classes of all images", "masks"):
        assert f"made.json: {title}" in printed
    assert "semisup, from the kept index" in printed


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@pytest.mark.parametrize("name", ["voc", "camvid", "cityscapes", "coco", "ade20k", "nyudv2"])
def test_what_a_data_set_is_timed_against_gives_the_same_images_and_masks(
    shared_data: Path, name: str
) -> None:
    if name == "coco":
        pytest.importorskip("pycocotools", reason="extra coco")
    peers, data = load("data_peers"), real(shared_data, name)
    peers.check_same(data, 2)
    own = {"voc": "VOCSegmentation", "cityscapes": "Cityscapes", "coco": "CocoDetection"}
    assert own.get(name, "Pillow") in peers.title_of(peers.peer_of(data))


@pytest.mark.parametrize("broken", ["image", "mask"])
def test_a_peer_that_gives_something_else_is_not_timed(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    peers, data = load("data_peers"), real(shared_data, "camvid")
    image, mask = data.pair(0)
    changed = (image ^ 1, mask) if broken == "image" else (image, mask.clamp(max=9))
    monkeypatch.setattr(data, "pair", lambda index: changed)
    with pytest.raises(AssertionError, match=f"Pillow has another {broken} of 0001TP"):
        peers.check_same(data, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["voc", "coco"])
def test_a_stream_and_its_look_ups_are_timed_against_the_class_of_torchvision(
    shared_data: Path, name: str
) -> None:
    if name == "coco":
        pytest.importorskip("pycocotools", reason="extra coco")
    tiny = ["--set", name, "--data-root", str(shared_data / REAL[name]), "--rounds", "1"]
    less = ["--batches", "1", "--batch", "2", "--crop", "64", "--workers", "0"]
    less += ["--clock", "processor"]
    printed = "\n".join(run("data.py", *tiny, *less))
    assert f"{name}: " in printed
    assert "semisup, cached" in printed
    printed = "\n".join(run("data.py", *tiny, "--lookups", "--masks", "3"))
    assert f"{name}: masks" in printed
    assert f"{name}: classes" in printed
    assert ("semisup, of the" in printed) == (name == "coco")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--set", "camvid"], "give --data-root"),
        (["--lookups"], "give --data-root"),
        (["--clock", "processor", "--workers", "0", "2"], "give --workers 0"),
    ],
)
def test_what_cannot_be_timed_so_is_refused(
    options: list[str],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["data.py", *options])
    with pytest.raises(SystemExit):
        load("data").main()
    assert what in capsys.readouterr().err
