"""Runs that cannot go on: losses, memory, workers."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import read, refused
from click.testing import Result
from PIL import Image
from places import Call, Place

import semisup.data.sets.folder
from semisup.data.labels.splits import hold_out, make_split
from semisup.data.sets.folder import Folder
from semisup.losses.segmentation import cross_entropy
from semisup.methods.supervised import Supervised
from semisup.ops.pixels import ImageKind
from semisup.training.checkpoint import Checkpoints
from semisup.types import Labelled


def before_the_bad_step(place: Place, *changes: str) -> Call:
    """`run`, and that its last checkpoint is whole, finite and from before what is named."""

    def then(result: Result) -> None:
        (run,) = (place.runs / "tiny").iterdir()
        kept = Checkpoints(run / "checkpoints").latest()
        bad = re.search(r"(since|after) step (\d+)", result.stderr)
        assert bad is not None
        assert kept is not None
        assert kept["step"] <= int(bad[2])
        assert all(torch.isfinite(value).all() for value in kept["method"].values())

    return Call(place.train("train.checkpoint_every=2", "train.steps=20", *changes), then)


def spoiled_after_step_5(place: Place, factor: float) -> Call:
    """A run whose loss is multiplied by `factor` from then on."""
    losses = place.root / "count"
    from semisup.methods import base

    wanted = base.supervised_loss

    def spoiled(*arguments: Any, **options: Any) -> torch.Tensor:
        losses.write_text((losses.read_text() if losses.exists() else "") + ".")
        loss = wanted(*arguments, **options)
        return loss * factor if losses.stat().st_size > 5 else loss

    place.patch.setattr(base, "supervised_loss", spoiled)
    call = before_the_bad_step(place)

    def then(result: Result) -> None:
        assert "since step 5;" in result.stderr
        call.then(result)
        (run,) = (place.runs / "tiny").iterdir()
        kept = Checkpoints(run / "checkpoints").latest()
        assert kept is not None
        assert kept["step"] == 4

    return Call([*call.arguments, "--set", "train.log_every=20"], then)


@refused("loss that becomes NaN", "loss of 'segmenter' is not finite since step", "optim.segmen")
def loss_is_nan(place: Place) -> Call:
    return spoiled_after_step_5(place, math.nan)


@refused("loss that becomes infinite", "loss of 'segmenter' is not finite since step", "Lower opt")
def loss_is_infinite(place: Place) -> Call:
    return spoiled_after_step_5(place, math.inf)


@refused("weights that are NaN between two log points", "not finite after step 1", "Lower optim")
def loss_is_nan_between_log_points(place: Place) -> list[object]:
    return place.train("optim.segmenter.lr=1e20", "train.steps=6", "train.log_every=100")


@read("crops of odd sizes, larger than the images", "trained on, padded with void")
def odd_crops(place: Place) -> Call:
    return Call(place.train("data.crop=[61, 83]"))


@read("images that are long and thin", "trained on and scored")
def thin_images(place: Place) -> Call:
    for name, size in (("t0", (300, 3)), ("t1", (1, 200)), ("v0", (300, 3))):
        for path in (place.image(name), place.mask(name)):
            Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    return Call(place.train("data.split=all"))


@read("one labelled and one other image in batches of 8", "trained on: they come again in a batch")
def two_images_in_batches(place: Place) -> Call:
    (place.data / "train.txt").write_text("t0\nt1\n")
    sizes = ("data.labelled_batch=8", "data.unlabelled_batch=8")
    game = ("method.name=adversarial", "optim.discriminator.lr=0.001")
    return Call(place.train(*sizes, *game))


@read("batch norm with one image a batch", "trained on")
def one_image_a_batch(place: Place) -> Call:
    return Call(place.train("model.batch_norm=true", "data.labelled_batch=1"))


@read("shipped recipe on a folder in which half of the images have a mask", "trained on")
def quickstart_on_a_folder(place: Place) -> Call:
    for name in ("t0", "t1"):
        place.mask(name).unlink()

    def then(result: Result) -> None:
        assert "1 labelled" in result.stdout

    changes = ["data.name=folder", "data.split=1/2", "data.crop=[32, 32]", "train.steps=2"]
    changes += ["model.width=2"]
    settings = [word for change in changes for word in ("--set", change)]
    return Call(["run", "quickstart", *settings, *place.where()], then)


@refused("batch norm with one value a channel", "data.labelled_batch", "data.crop")
def one_sample(place: Place) -> list[object]:
    return place.train("model.batch_norm=true", "data.crop=[16, 16]", "data.labelled_batch=1")


@refused("crop that the method cannot halve five times", "at least 32 x 32", "larger crops")
def crop_too_small(place: Place) -> list[object]:
    return place.train(
        "method.name=adversarial", "optim.discriminator.lr=0.001", "data.crop=[16, 16]"
    )


FIXMATCH = "method.name=fixmatch"


@refused("boxes of the same image, from whole images", "second crop", "Set it to [height, width]")
def second_crops_of_whole_images(place: Place) -> list[object]:
    ones = ("data.labelled_batch=1", "data.unlabelled_batch=1")
    return place.train(FIXMATCH, "method.partner=self", "data.crop=whole", *ones)


@refused("boxes of nobody", "method.partner", "other", "self")
def partner_that_there_is_not(place: Place) -> list[object]:
    return place.train(FIXMATCH, "method.partner=both")


@read("boxes of the same image, from batches of one", "trained on")
def second_crops_of_one_image(place: Place) -> Call:
    return Call(place.train(FIXMATCH, "method.partner=self", "data.unlabelled_batch=1"))


@refused("losses at another size than the code's", "not in the authors' code", 'at "image"')
def own_logits_of_the_code(place: Place) -> list[object]:
    return place.train(FIXMATCH, "method.follows=code", "method.resolution=logits")


@refused("losses of one map of a network of several", "PSPNet has auxiliary ones", "leave the key")
def own_logits_of_several_maps(place: Place) -> list[object]:
    return place.train(FIXMATCH, "method.resolution=logits", "model.name=pspnet")


@read("batch larger than the labelled images", "trained on: images come again in a batch")
def batch_larger_than_the_images(place: Place) -> Call:
    def then(result: Result) -> None:
        assert "2 labelled" in result.stdout

    return Call(place.train("data.labelled_batch=5"), then)


@refused("whole images in batches", 'data.crop = "whole" goes with data.labelled_batch = 1')
def whole_images_in_batches(place: Place) -> list[object]:
    return place.train('data.crop="whole"')


@refused("worker killed by the system", "worker process", "was killed", "fewer ", "workers")
def worker_killed(place: Place) -> list[object]:
    if multiprocessing.get_start_method() != "fork":
        pytest.skip("a worker that is not forked does not see the patch")
    wanted = semisup.data.sets.folder.read_image

    def die(path: Path, kind: ImageKind) -> torch.Tensor:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return wanted(path, kind)

    place.patch.setattr(semisup.data.sets.folder, "read_image", die)
    return place.train("data.workers=1")


@refused("weights of classes that the method forgets", "train.class_weights: the step of the m")
def class_weights_forgotten(place: Place) -> list[object]:
    def plain(method: Supervised, maps: list[torch.Tensor], labelled: Labelled) -> torch.Tensor:
        return cross_entropy(maps[0], labelled.mask)

    place.patch.setattr(Supervised, "supervised_loss", plain)
    return place.train("train.class_weights=enet")


@refused("a loss that the method forgets", "train.loss: the step of the m", "Leave the key out")
def loss_forgotten(place: Place) -> list[object]:
    def plain(method: Supervised, maps: list[torch.Tensor], labelled: Labelled) -> torch.Tensor:
        return cross_entropy(maps[0], labelled.mask)

    place.patch.setattr(Supervised, "supervised_loss", plain)
    return place.train("train.loss=dice")


@refused("weights of pixels that the method forgets", "train.border_weight: the step of the meth")
def border_weights_forgotten(place: Place) -> list[object]:
    def plain(method: Supervised, maps: list[torch.Tensor], labelled: Labelled) -> torch.Tensor:
        return cross_entropy(maps[0], labelled.mask)

    place.patch.setattr(Supervised, "supervised_loss", plain)
    return place.train("train.border_weight=10.0")


@refused("weights by confidence without pseudo-masks", "weights pseudo-masks, and neither", "label")
def no_confidences(place: Place) -> list[object]:
    return place.train("train.confidence_weights=true")


@refused("weights by confidence for a loss of no pixel", "train.confid", "'cross_entropy+dice'")
def confidences_of_dice(place: Place) -> list[object]:
    return place.train("train.confidence_weights=true", "train.loss=dice")


@refused("a term on the images that the method forgets", "train.regulariser: the step of the met")
def regulariser_forgotten(place: Place) -> list[object]:
    def plain(method: Supervised, maps: list[torch.Tensor], labelled: Labelled) -> torch.Tensor:
        return cross_entropy(maps[0], labelled.mask)

    place.patch.setattr(Supervised, "supervised_loss", plain)
    return place.train("train.regulariser=gated_crf")


@refused("border weights for three classes", "train.border_weight", "class 1 of two", "3 classes")
def border_weights_of_three_classes(place: Place) -> list[object]:
    listed = place.data / "classes.txt"
    listed.write_text(listed.read_text() + "third\n")
    return place.train("train.border_weight=10.0")


@refused("border weights for a loss of no pixel", "train.border_weight", "'cross_entropy+dice'")
def border_weights_of_dice(place: Place) -> list[object]:
    return place.train("train.border_weight=10.0", "train.loss=dice")


@read("border weights where no mask has two objects", "trained on, as without them")
def border_weights_of_one_object(place: Place) -> Call:
    place.map_masks(
        lambda labels: np.where(np.arange(labels.size).reshape(labels.shape) < 400, 1, 0)
    )
    return Call(place.train("train.border_weight=10.0", "train.border_sigma=0.1"))


@read("deformation that is wider than the picture", "trained on: it is mirrored at its borders")
def elastic_wider_than_the_picture(place: Place) -> Call:
    return Call(place.train("data.elastic=1000.0", "train.border_weight=10.0"))


@refused("no memory for a step", "out of memory", "data.labelled_batch", "train.accumulate")
def out_of_memory(place: Place) -> list[object]:
    from semisup.methods import base

    def greedy(*arguments: Any, **options: Any) -> torch.Tensor:
        return torch.empty(1 << 50)

    place.patch.setattr(base, "supervised_loss", greedy)
    return place.train()


@refused("network too wide for the memory", "out of memory", "model")
def network_too_wide(place: Place) -> list[object]:
    return place.train("model.width=1000000000000")


@refused(
    "held-out images that are void",
    "the 2 held-out images of folder train ('t",
    "no valid pixel",
    "eval.hold_out",
)
def held_out_void(place: Place) -> list[object]:
    for number in range(4):
        if number != 1:
            Image.new("L", (50, 40), 255).save(place.mask(f"t{number}"))
    settings = ["data.split=all", "eval.hold_out=2", "eval.every=1"]
    for seed in range(20):  # of a choice that leaves the one good mask in the training
        change = f"data.split_seed={seed}"
        data = Folder(place.data)
        _, held_out = hold_out(make_split(data, "all", seed), 2, seed)
        if "t1" not in held_out:
            return place.train(*settings, change)
    raise AssertionError


@refused("the only good masks held out", "2 masks that are trained on", "is void (255)")
def good_masks_held_out(place: Place) -> list[object]:
    _, held_out = hold_out(make_split(Folder(place.data), "all", 0), 2, 0)
    for number in range(4):
        if f"t{number}" not in held_out:
            Image.new("L", (50, 40), 255).save(place.mask(f"t{number}"))
    return place.train("data.split=all", "eval.hold_out=2", "eval.every=1")


@read("one of two held-out images void", "trained on, with a warning that names it")
def one_held_out_void(place: Place) -> Call:
    _, held_out = hold_out(make_split(Folder(place.data), "all", 0), 2, 0)
    Image.new("L", (50, 40), 255).save(place.mask(held_out[0]))

    def then(result: Result) -> None:
        assert f"warning: 1 of the 2 held-out images of folder train ('{held_out[0]}') has no " in (
            result.stderr
        )

    return Call(place.train("data.split=all", "eval.hold_out=2", "eval.every=1"), then)
