"""Unlabelled photographs, and masks from another folder."""

from __future__ import annotations

import shutil

from cases import refused
from PIL import Image
from places import Place, cut


def photographs(place: Place, *changes: str) -> list[object]:
    """`run` of a method that reads unlabelled images, here those of the folder `photos`."""
    return place.train(
        "method.name=adversarial",
        "optim.discriminator.lr=0.001",
        f"data.unlabelled=folder:{place.root / 'photos'}",
        *changes,
    )


def copied(place: Place, *names: str) -> None:
    (place.root / "photos").mkdir()
    for name in names:
        shutil.copy(place.image(name), place.root / "photos")


def masks(place: Place, *changes: str) -> list[object]:
    """`run` on the masks of the folder `made`."""
    return place.train(f"data.masks=folder:{place.root / 'made'}", "data.split=all", *changes)


def made(place: Place) -> None:
    (place.root / "made").mkdir()
    for name in ("t0", "t1"):
        shutil.copy(place.mask(name), place.root / "made")


@refused("unlabelled images of another form", "data.unlabelled = 'some' cannot be", '"folder:PATH"')
def another_form(place: Place) -> list[object]:
    return place.train("data.unlabelled=some")


@refused("folder of photographs that is not there", "photos is not there", "folder of photographs")
def no_photographs(place: Place) -> list[object]:
    return photographs(place)


@refused("folder of photographs without one", "photos holds no file with .jpg", "photographs")
def empty_folder(place: Place) -> list[object]:
    copied(place)
    (place.root / "photos" / "notes.txt").write_text("nothing")
    return photographs(place)


@refused("photograph cut short", "t0.png cannot be decoded", "mend or remove the file")
def damaged_photograph(place: Place) -> list[object]:
    copied(place, "t0")
    cut(place.root / "photos" / "t0.png")
    return photographs(place)


@refused(
    "photographs that are reported on", "v0.png is image 'v0' of subset 'val'", "take a folder"
)
def reported_photographs(place: Place) -> list[object]:
    copied(place, "t0")
    (place.root / "photos" / "v0.png").symlink_to(place.image("v0"))
    return photographs(place)


@refused("photographs of several sizes uncropped", 'data.crop = "whole" goes with', "= 1")
def uncropped(place: Place) -> list[object]:
    copied(place, "t0")
    return photographs(place, "data.crop=whole", "data.labelled_batch=1")


@refused("folder of masks that is not there", "made is not there", "data.masks")
def no_masks(place: Place) -> list[object]:
    return masks(place)


@refused("masks of another form", "data.masks = 'made': no such kind of label", '"folder:PATH"')
def masks_of_another_form(place: Place) -> list[object]:
    return place.train("data.masks=made")


@refused("masks of other images", "no mask of an image of subset 'train'", "such as t0.png")
def masks_of_other_images(place: Place) -> list[object]:
    made(place)
    for path in (place.root / "made").iterdir():
        path.rename(path.with_stem(f"{path.stem}_mask"))
    return masks(place)


@refused("split list with an image without a mask", "t2.png is missing", "labels 't2'", "add the")
def list_without_a_mask(place: Place) -> list[object]:
    made(place)
    return masks(place, f"data.split=file:{place.write('list.txt', 't0' + chr(10) + 't2')}")


@refused("mask of a folder with a colour picture", "made/t0.png is a colour picture", "8-bit grey")
def colour_mask(place: Place) -> list[object]:
    made(place)
    shutil.copy(place.image("t0"), place.root / "made")
    return masks(place)


def weak_masks(place: Place, *changes: str) -> list[object]:
    """`run` on the masks of some images and the weak masks of the folder `made`."""
    return place.train(
        "method.name=partial_cross_entropy",
        f"data.weak_masks=folder:{place.root / 'made'}",
        f"data.split=file:{place.write('list.txt', 't1')}",
        *changes,
    )


@refused(
    "weak masks of another form", "data.weak_masks = 'made': no such kind of label", '"folder:PATH"'
)
def weak_masks_of_another_form(place: Place) -> list[object]:
    return place.train("method.name=partial_cross_entropy", "data.weak_masks=made")


@refused("folder of weak masks that is not there", "made is not there", "give data.weak_masks")
def no_weak_masks(place: Place) -> list[object]:
    return weak_masks(place)


@refused(
    "weak masks for a method that reads none", "'supervised' reads no weak", "take the key out"
)
def weak_masks_unread(place: Place) -> list[object]:
    made(place)
    return weak_masks(place, "method.name=supervised")


@refused("method of weak masks without any", "data.weak_masks is not set", "semisup data weaken")
def weak_masks_unset(place: Place) -> list[object]:
    return place.train("method.name=partial_cross_entropy")


@refused("weak mask with a label that is no class", "made/t0.png holds label 200")
def weak_mask_of_no_class(place: Place) -> list[object]:
    made(place)
    path = place.root / "made" / "t0.png"
    with Image.open(path) as mask:
        Image.new("L", mask.size, 200).save(path)
    return weak_masks(place)


@refused("weak masks of images that all have masks", "no image with a weak mask alone", "1/8")
def weak_masks_beside_masks(place: Place) -> list[object]:
    made(place)
    (place.root / "made" / "t0.png").unlink()
    return weak_masks(place)
