"""Every network of the catalogue, exported: equal at three sizes, none of them the traced one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from support.networks import shuffled
from torch import Tensor, nn
from torch.export import Dim

from semisup.catalog import MODELS
from semisup.errors import RunError
from semisup.exporting.check import batches
from semisup.exporting.export import export_network
from semisup.exporting.network import exportable
from semisup.models.backbones.vit import _resized, _resized_in_export
from semisup.models.base import Segmenter
from semisup.models.layers import BinMeans, mirrored, resize
from semisup.ops.pixels import RGB, RGB_FORMAT

CLASSES = 5

SMALL = {
    "decouplednet": {"classifier": "mobilenet_v2", "size": 64, "kernel": 2, "width": 8}
    | {"decoder_width": 16},
    "deconvnet": {"width": 8, "kernel": 1},
    "deeplab_v2": {"backbone": "resnet50"},
    **{key: {"width": 8} for key in ("fcn16s", "fcn32s", "fcn8s", "fcn8s_at_once", "gfrnet")},
    "mask_rcnn": {"backbone": "mobilenet_v2", "min_size": 64, "max_size": 128, "width": 8}
    | {"box_width": 16},
    "refinenet": {"backbone": "resnet50", "width": 8},
    "unet": {"width": 4},
    "unet3d": {"width": 4},
}
"""Options that make a network small, where it has such."""

REFUSED = {"decouplednet": "identifies", "mask_rcnn": "objects"}
"""What cannot be exported -> a word of the reason."""


def build(name: str) -> Segmenter:
    return shuffled(partial(MODELS[name], CLASSES)(**SMALL.get(name, {})))


CASES = [
    pytest.param(name, kind, marks=pytest.mark.slow)
    for name in MODELS
    for kind in ("torch", "onnx")
    if name not in REFUSED
]
"""Slow: test_export.py exports U-Net in both formats, and CI one of each kind of operation."""


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_an_exported_network_has_the_logits_of_the_run_at_sizes_that_were_not_traced(
    tmp_path: Path, name: str, kind: str
) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="extra export")
    network = build(name)
    images = batches([], RGB, None, volumes=network.reads_volumes)
    path = tmp_path / f"{name}.{kind}"
    done = export_network(network, RGB_FORMAT, path, kind, {"model": name}, images)
    assert len({one.shape for one in done}) == 3
    assert max(one.difference for one in done) <= 1e-4
    assert min(one.same_labels for one in done) > 0.999


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_branches_by_what_it_finds_says_so_in_one_line(name: str) -> None:
    with pytest.raises(RunError, match=REFUSED[name]) as caught:
        exportable(build(name), RGB_FORMAT, volumes=False)
    assert "\n" not in str(caught.value)


def program_of(module: nn.Module, maps: Tensor) -> nn.Module:
    free = {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    exported = torch.export.export(module.eval(), (maps,), dynamic_shapes=(free,), strict=False)
    program: nn.Module = exported.module()
    return program


def test_means_over_bins_in_an_export_are_those_of_torch_at_any_size() -> None:
    program = program_of(BinMeans(6), torch.randn(2, 3, 11, 17))
    for size in ((9, 13), (6, 7), (12, 60), (31, 23)):
        maps = torch.randn(2, 3, *size)
        expected = torch.nn.functional.adaptive_avg_pool2d(maps, 6)
        torch.testing.assert_close(program(maps), expected, rtol=0, atol=1e-6)
        assert torch.equal(BinMeans(6)(maps), expected)


@pytest.mark.parametrize("size", [(4, 7), (37, 37), (37, 36), (1, 50), (61, 9)])
def test_positions_in_an_export_are_those_of_the_release(size: tuple[int, int]) -> None:
    table = torch.randn(1, 37, 37, 8)
    found = _resized_in_export(table, *size)
    expected = table if size == (37, 37) else _resized(table, *size)
    torch.testing.assert_close(found, expected.flatten(1, 2), rtol=0, atol=1e-4)
    assert (found - expected.flatten(1, 2)).abs().mean() < 2e-6


class ToASize(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        cut = mirrored(maps, 2, -3, maps.shape[2] + 7)
        return resize(cut[..., ::2, :], maps.shape[-2:])


def test_maps_are_mirrored_and_resized_alike_in_an_export() -> None:
    program = program_of(ToASize(), torch.randn(2, 3, 21, 17))
    for size in ((9, 13), (7, 7), (30, 12)):
        maps = torch.randn(2, 3, *size)
        torch.testing.assert_close(program(maps), ToASize()(maps), rtol=0, atol=1e-6)
