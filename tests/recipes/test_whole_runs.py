"""One recipe of each data set on real images: 50 steps, stopped and gone on with, scored, used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.indoor import make_sun_toolbox
from support.isbi import write_pages
from support.real_data import fill, on_few, shrunk
from support.runs import CPU
from support.stopped import COMPARED, stopped

import semisup
from semisup.catalog import DATASETS
from semisup.recipe.load import load_recipe
from semisup.runs.assemble import open_reported
from semisup.runs.paths import Paths
from semisup.runs.reopen import evaluate_run
from semisup.runs.run import run_recipe

WHOLE = {
    "ade20k": "ade20k/fixmatch_dpt_316",
    "camvid": "camvid/unimatch_lraspp_half_1-8",
    "cityscapes": "cityscapes/fixmatch_deeplab_v3plus_resnet101_186",
    "coco": "coco/mask_rcnn_mobilenet_v2_small",
    "folder": "isbi2012/supervised_unet_small",
    "isbi2012": "isbi2012/unet3d",
    "nyudv2": "nyudv2/supervised_lraspp_small",
    "scenes": "scenes/adversarial_unet_1-8",
    "stack": "isbi2012/unet3d_narrow_3",
    "sunrgbd": "sunrgbd/supervised_lraspp_small",
    "voc": "voc_small/fixmatch_lraspp_1-8",
}
"""Data set -> recipe. Of SUN RGB-D there is no real file: its tree is made."""


def test_each_data_set_has_one() -> None:
    assert WHOLE.keys() == DATASETS.keys()
    assert {load_recipe(recipe).data.name: recipe for recipe in WHOLE.values()} == WHOLE


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_it_trains_goes_on_scores_and_predicts(
    name: str, tmp_path: Path, shared_data: Path
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    fill(root, shared_data)
    make_sun_toolbox(root)
    lay_out_slices(root, shared_data / "isbi2012" / "train")
    recipe = load_recipe(WHOLE[name], changes_of(name, root))
    whole = run_recipe(recipe, Paths(root, tmp_path / "whole"), CPU)
    twice = Paths(root, tmp_path / "twice")
    stopped(recipe, twice)
    again = run_recipe(recipe, twice, CPU)
    for file in COMPARED:
        assert (again.folder / file).read_bytes() == (whole.folder / file).read_bytes(), file
    scored = evaluate_run(again.folder, twice, CPU)
    assert scored.result.scores.selected == whole.result.scores.selected
    assert sum(map(sum, whole.result.confusion)) > 0
    reported = open_reported(recipe, twice)
    if name == "isbi2012":  # predict reads pictures: those of the stack
        name, reported = "stack", open_reported(load_recipe(WHOLE["stack"]), Paths(root))
    count = 1 if name == "stack" else len(reported)
    shown = [reported.image_path(index) for index in range(count)]
    pictures = shown[0].parent if name == "stack" else shown
    written = semisup.predict_files(again.folder, pictures, tmp_path / "predicted")
    assert len(written) >= count
    for path, index in zip(written, range(count), strict=False):
        with Image.open(path) as file:
            labels = np.asarray(file)
        assert labels.shape == tuple(reported.image(index).shape[-2:]), path
        assert labels.max() < reported.num_classes


def lay_out_slices(root: Path, shared: Path) -> None:
    """The EM slices as a stack (image, label), as a folder of pictures, and as the two TIFFs."""
    pictures = root / "isbi2012"
    pictures.mkdir()
    for source, target in (("image", "images"), ("label", "masks")):
        (root / source).symlink_to(shared / source)
        (pictures / target).symlink_to(shared / source)
        pages = [Image.open(shared / source / f"{number}.png") for number in range(30)]
        name = {"image": "train-volume.tif", "label": "train-labels.tif"}[source]
        write_pages(pictures / name, [np.asarray(page.convert("L")) for page in pages])
    texts = {"classes": "membrane\ncell\n", "train": "0\n1\n2\n", "val": "24\n"}
    for file, text in texts.items():
        (pictures / f"{file}.txt").write_text(text)


OWN = {
    "cityscapes": ["model.backbone=mobilenet_v2", "model.deep_stem=false"],
    "isbi2012": ["eval.scales=[1.0]", "model.width=4", "data.depth=8"],
    "scenes": ["data.train=16", "data.val=3", "data.test=1", "data.size=[48, 64]"],
    "stack": ["eval.scales=[1.0]"],
    "voc": ["eval.hold_out=0"],
}
"""Further changes for a data set's recipe."""


def changes_of(name: str, root: Path) -> list[str]:
    """What makes the recipe of a data set 50 steps of small crops."""
    steps = ["train.steps=50", "train.log_every=1", "train.checkpoint_every=20"]
    changes = [*shrunk(WHOLE[name]), *steps, *OWN.get(name, [])]
    return on_few(WHOLE[name], changes, Paths(root), root / "list.txt")
