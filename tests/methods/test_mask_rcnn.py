"""Mask R-CNN's training, beside its contract: it learns, from objects alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.coco import make_coco
from support.methods import create

from semisup.catalog import create_dataset
from semisup.contracts.toys import CLASSES, Gradients, toy_batch
from semisup.data.loading.prefetch import Prefetch
from semisup.data.loading.streams import Stream
from semisup.data.views.weak import WeakView
from semisup.errors import RecipeError
from semisup.methods.base import Method
from semisup.methods.mask_rcnn import MaskRCNNTraining
from semisup.models.base import Segmenter
from semisup.models.mask_rcnn import MaskRCNN
from semisup.settings import OptimSettings
from semisup.training.updates import Updates
from semisup.types import Batch, Progress

LOSSES = ["objectness", "rpn_box_reg", "classifier", "box_reg", "mask"]


def build(own_networks: dict[str, Callable[[], Segmenter]], seed: int = 0) -> Method:
    torch.manual_seed(seed)
    method: Method = create("mask_rcnn", own_networks["mask_rcnn"], CLASSES)
    return method.train()


def test_what_is_minimised_is_the_sum_of_the_five(
    own_networks: dict[str, Callable[[], Segmenter]],
) -> None:
    method, losses = build(own_networks), []
    batch = toy_batch(method.reads)
    scalars = method.step(
        batch, Progress(0, 10), lambda player, loss, keep_graph=False: losses.append(loss)
    )
    assert set(scalars) == {"loss_detection", *(f"loss_{name}" for name in LOSSES)}
    total = sum(float(scalars[f"loss_{name}"]) for name in LOSSES)
    assert float(scalars["loss_detection"]) == pytest.approx(total)
    assert float(losses[0].detach()) == pytest.approx(total)


def test_the_mask_of_classes_is_not_read(own_networks: dict[str, Callable[[], Segmenter]]) -> None:
    vectors = []
    for fill in (None, 0, 255):
        method = build(own_networks)
        labelled = toy_batch(method.reads).labelled
        if fill is not None:
            labelled = replace(labelled, mask=torch.full_like(labelled.mask, fill))
        update = Gradients(method)
        torch.manual_seed(1)
        method.step(Batch(labelled=labelled), Progress(0, 10), update)
        vectors.append(update.vector("segmenter"))
    assert torch.equal(vectors[0], vectors[1])
    assert torch.equal(vectors[0], vectors[2])


def test_other_networks_are_refused_in_one_line(
    segmenters: dict[str, Callable[[], Segmenter]],
) -> None:
    with pytest.raises(RecipeError, match=r"trains model\.name = 'mask_rcnn', not a ToySegmenter"):
        create("mask_rcnn", segmenters["plain"], CLASSES)
    assert MaskRCNN.trained_by == ("mask_rcnn",)
    assert MaskRCNNTraining.reads.instances


@pytest.mark.slow
def test_a_few_hundred_steps_lower_all_five_losses(tmp_path: Path) -> None:
    data = create_dataset("coco", make_coco(tmp_path))
    torch.manual_seed(0)
    method = create(
        "mask_rcnn",
        lambda: MaskRCNN(
            4, backbone="mobilenet_v2", min_size=96, max_size=128, width=16, box_width=32,
            sampled_boxes=64,
        ),
        4,
    ).train()  # fmt: skip
    stream = Stream(
        data, data.ids, name="labelled", seed=0, batch_size=4, view=WeakView(flip=True),
        instances=True,
    )  # fmt: skip
    optim = OptimSettings(kind="adam", lr=1e-3, schedule="constant")
    updates = Updates(method.players(), {"segmenter": optim}, clip=5.0)
    steps, told = 200, []
    with stream:
        batches = Prefetch(stream, torch.device("cpu"))
        for step in range(steps):
            updates.begin(Progress(step, steps))
            told.append(method.step(Batch(labelled=next(batches)), Progress(step, steps), updates))
    for name in LOSSES:
        values = [float(scalars[f"loss_{name}"]) for scalars in told]
        early, late = (sum(part) / 20 for part in (values[:20], values[-20:]))
        assert late < early, name
