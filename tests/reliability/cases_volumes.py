"""Stacks of slices, and networks that read volumes."""

from __future__ import annotations

import numpy as np
from cases import read, refused
from cases_own_sets import warns
from click.testing import Result
from PIL import Image
from places import Call, Place

NETWORK = ("model.name=unet3d", "model.width=1")
STACK = ("data.name=stack", "data.held_out=2", "data.depth=4", "data.split=masked")


def stack(place: Place, *changes: str) -> list[object]:
    """`run` with 3D U-Net on the pictures as slices: t0 to t3 to train on, v0 and v1 held out."""
    text = place.recipe.read_text().replace('name = "unet"', 'name = "unet3d"')
    place.recipe.write_text(text)
    return place.train(*NETWORK, *STACK, *changes)


@refused(
    "a network for volumes on images that are no slices",
    "model 'unet3d' reads volumes",
    "Set data.name to stack",
)
def no_slices(place: Place) -> list[object]:
    return place.train(*NETWORK)


@refused("a stack of no slices that could be held out", "held_out = 6 leaves none", "fewer")
def all_held_out(place: Place) -> list[object]:
    return stack(place, "data.held_out=6")


@refused("more annotated slices than there are", "annotated = 5, but 4 of the 4", "fewer")
def too_many_annotated(place: Place) -> list[object]:
    return stack(place, "data.annotated=5")


@refused("a slice of another size", "t2.png: is 7x9, and t0.png is 40x50", "must have one size")
def odd_slice(place: Place) -> list[object]:
    for path in (place.image("t2"), place.mask("t2")):
        Image.fromarray(np.array(Image.open(path))[:7, :9]).save(path)
    return stack(place)


@refused("slices of another name than their folder's", "slices is missing", "lay out slices/")
def no_folder_of_slices(place: Place) -> list[object]:
    return stack(place, 'data.image_folder="slices"')


@refused("scales of images for a network for volumes", "eval.scales: is for images", "Leave it out")
def scales_of_volumes(place: Place) -> list[object]:
    return stack(place, "eval.scales=[0.5, 1.0]")


@refused("a loss of images for a network for volumes", "train.loss: is for images", "Leave it out")
def lovasz_of_volumes(place: Place) -> list[object]:
    return stack(place, "train.loss=lovasz")


@refused("a held-out mask of another size", "v1.png: the mask is 7x9 but image 'v1' is 40x50")
def odd_held_out_mask(place: Place) -> list[object]:
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(place.mask("v1"))
    return stack(place)


@refused("a held-out slice without a mask", "v1.png is missing", "is not annotated; add it")
def no_held_out_mask(place: Place) -> Call:
    place.mask("v1").unlink()

    def then(result: Result) -> None:
        assert "training" not in result.output

    return Call(stack(place), then)


@refused("slices that are their own masks", "holds the slices", "their own folder")
def slices_as_masks(place: Place) -> list[object]:
    return stack(place, 'data.mask_folder="images"')


@refused("a block of more slices than memory holds", "depth = 1000000000", "at most 4,096")
def endless_depth(place: Place) -> list[object]:
    return stack(place, "data.depth=1000000000")


@read(
    "a number that is missing among slices", "warned of: the slices that are taken for neighbours"
)
def missing_number(place: Place) -> Call:
    for path in (place.image("t1"), place.mask("t1")):
        path.rename(path.with_name("t9.png"))
    for name in ("v0", "v1"):
        for path in (place.image(name), place.mask(name)):
            path.rename(path.with_name(f"t{int(name[1]) + 10}.png"))
    return warns(stack(place), "slices may be missing between 't3' and 't9'")


@read("masks of slices under other names", "warned of: slices unlabelled, and the option to set")
def masks_of_slices_by_other_names(place: Place) -> Call:
    place.mask("t2").rename(place.mask("t2_seg"))
    return warns(stack(place), "1 image is unlabelled", 'set mask_suffix = "_seg"')


@read("digits of another script in names of slices", "taken for letters")
def raised_digits(place: Place) -> list[object]:
    for path in (place.image("t1"), place.mask("t1")):
        path.rename(path.with_name("t²1.png"))
    return stack(place)


@refused("a block of no slices", "depth = 0", "at least one slice")
def no_depth(place: Place) -> list[object]:
    return stack(place, "data.depth=0")
