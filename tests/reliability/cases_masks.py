"""Masks that are damaged, of another size or of another kind."""

from __future__ import annotations

import numpy as np
from cases import read, refused
from click.testing import Result
from PIL import Image
from places import Call, Place, cut, noise

from semisup.data.formats.pictures import full_palette, voc_palette

SAVE = "save label ids as 8-bit grey PNG"


@refused("colour mask", "masks/t0.png is a colour picture (RGB), not a label map", SAVE)
def rgb_mask(place: Place) -> list[object]:
    Image.fromarray(noise(40, 50)).save(place.mask())
    return place.verify()


@refused("grey mask with transparency", "masks/t0.png is a colour picture (LA)", SAVE)
def grey_mask_with_alpha(place: Place) -> list[object]:
    Image.new("LA", (50, 40), (1, 255)).save(place.mask())
    return place.verify()


@refused("1-bit mask", "masks/t0.png is 1-bit", SAVE)
def one_bit_mask(place: Place) -> list[object]:
    Image.new("1", (50, 40), 1).save(place.mask())
    return place.verify()


@refused("16-bit mask", "masks/t0.png has 16 bits a channel", "8 bits")
def sixteen_bit_mask(place: Place) -> list[object]:
    Image.fromarray(np.ones((40, 50), np.uint16)).save(place.mask())
    return place.verify()


@refused("JPEG mask named .png", "masks/t0.png is no PNG, TIFF or BMP file", "convert it")
def jpeg_mask(place: Place) -> list[object]:
    Image.new("L", (50, 40), 1).save(place.mask(), format="JPEG")
    return place.verify()


@refused("mask of another size", "masks/t0.png: the mask is 20x50", "is 40x50", "the same size")
def mask_of_another_size(place: Place) -> list[object]:
    Image.new("L", (50, 20)).save(place.mask())
    return place.verify()


@refused("mask of another size, met while training", "masks/t", "make them the same size")
def mask_of_another_size_while_training(place: Place) -> list[object]:
    for number in range(4):
        Image.new("L", (20, 20)).save(place.mask(f"t{number}"))
    return place.train()


@refused("mask of another size, met while scoring", "masks/v1.png", "make them the same size")
def mask_of_another_size_while_scoring(place: Place) -> list[object]:
    Image.new("L", (20, 20)).save(place.mask("v1"))
    return ["evaluate", place.finished_run(), *place.where()]


@refused("label outside the classes", "masks/t1.png holds label 7", "0..1", "correct the mask")
def label_outside(place: Place) -> list[object]:
    Image.new("L", (50, 40), 7).save(place.mask("t1"))
    return place.verify()


@refused("palette mask of another palette", "masks/t0.png holds label 12", "list of classes")
def palette_of_other_ids(place: Place) -> list[object]:
    mask = Image.fromarray(np.full((40, 50), 12, np.uint8))
    mask.putpalette(full_palette(voc_palette()))
    mask.save(place.mask())
    return place.verify()


@refused("label outside the classes, met while training", "holds label 7", "correct the mask")
def label_outside_while_training(place: Place) -> list[object]:
    for number in range(4):
        Image.new("L", (50, 40), 7).save(place.mask(f"t{number}"))
    return place.train()


@refused("reported mask that is not there", "masks/v0.png is missing", "add it")
def missing_mask(place: Place) -> list[object]:
    place.mask("v0").unlink()
    return place.verify()


@read("images without a mask", "counted as unlabelled")
def images_without_a_mask(place: Place) -> Call:
    for name in ("t0", "t1", "t3"):
        place.mask(name).unlink()

    def then(result: Result) -> None:
        assert "unlabelled" in result.stdout
        (row,) = [line for line in result.stdout.splitlines() if " train " in line][:1]
        assert row.split()[-2] == "3"

    return Call(place.verify(), then)


@refused("no image with a mask", "masks/t0.png is missing, but ", "t0_mask.png is there", "_mask")
def masks_of_another_suffix(place: Place) -> list[object]:
    for path in list((place.data / "masks").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_mask"))
    return place.split("masked")


@refused("mask cut short", "masks/t0.png cannot be decoded", "fetch it again")
def truncated_mask(place: Place) -> list[object]:
    cut(place.mask(), 0.7)
    return place.verify()


@refused(
    "nothing but void in the reported set", "folder val: every pixel is void", "Correct the masks"
)
def only_void(place: Place) -> list[object]:
    for name in ("v0", "v1"):
        Image.new("L", (50, 40), 255).save(place.mask(name))
    return ["evaluate", place.finished_run(), *place.where()]


@read("nothing but void in a training mask", "trained on: it adds nothing to the loss")
def void_in_training(place: Place) -> Call:
    for number in range(4):
        Image.new("L", (50, 40), 255).save(place.mask(f"t{number}"))

    def then(result: Result) -> None:
        assert "loss_segmentation 0" in result.stderr

    return Call(place.train(), then)


@read("mask of an unlabelled image that is not there", "never opened")
def missing_mask_of_an_unlabelled_image(place: Place) -> Call:
    (place.root / "list.txt").write_text("t1\nt2\n")
    for name in ("t0", "t3"):
        place.mask(name).unlink()

    def then(result: Result) -> None:
        assert "2 labelled, 0 of them held out, 2 unlabelled" in result.stdout

    return Call(place.train(f"data.split=file:{place.root / 'list.txt'}"), then)
