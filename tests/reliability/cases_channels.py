"""Images of other channels or bits than 8-bit RGB, and networks and methods that read others."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import tifffile
from cases import read, refused
from click.testing import Result
from PIL import Image
from places import Call, Place

CONVERT = "convert it"


def with_images(
    place: Place, make: Callable[[np.ndarray], np.ndarray], suffix: str, which: str = "*.png"
) -> Place:
    """Gives images other values (HW or HWC, made of their own) in files of another ending."""
    for path in sorted((place.data / "images").glob(which)):
        values = make(np.array(Image.open(path)))
        path.unlink()
        target = path.with_suffix(suffix)
        if suffix == ".npy":
            np.save(target, values)
        elif suffix == ".tif":
            options = {"planarconfig": "contig"} if values.ndim == 3 else {}
            tifffile.imwrite(target, values, photometric="minisblack", **options)
        else:
            Image.fromarray(values).save(target)
    return place


def four(values: np.ndarray) -> np.ndarray:
    """16 bits: the three colours, and one more."""
    return np.dstack([values, 255 - values[..., :1]]).astype(np.uint16) * 9


def grey(values: np.ndarray) -> np.ndarray:
    return values[..., 0]


def trained(place: Place, channels: int, bits: int) -> Call:
    """`run`, and what it has recorded of its images."""

    def then(result: Result) -> None:
        (record,) = place.runs.rglob("result.json")
        images = json.loads(record.read_text())["data"]["images"]
        assert (len(images["mean"]), images["bits"]) == (channels, bits)

    return Call(place.train(), then)


@read("TIFF images of four channels and 16 bits", "trained on, normalised by their own mean")
def tiffs_of_four_channels(place: Place) -> Call:
    return trained(with_images(place, four, ".tif"), 4, 16)


@read("arrays of four channels, the channels first", "trained on: the shortest axis has channels")
def arrays_of_four_channels(place: Place) -> Call:
    return trained(with_images(place, lambda v: np.moveaxis(four(v), 2, 0), ".npy"), 4, 16)


@read("grey images alone", "trained on with one channel")
def grey_images(place: Place) -> Call:
    return trained(with_images(place, grey, ".png"), 1, 8)


@read("grey images among coloured ones", "trained on as RGB of three equal channels")
def some_grey_images(place: Place) -> Call:
    return trained(with_images(place, grey, ".png", "t[0-2].png"), 3, 8)


@read("grey images of 16 bits", "trained on with one channel")
def deep_grey_images(place: Place) -> Call:
    return trained(with_images(place, lambda v: grey(v).astype(np.uint16) * 99, ".png"), 1, 16)


@refused("one image of other channels", "t1.tif is 2 channels of 16 bits", CONVERT)
def one_of_two_channels(place: Place) -> list[object]:
    with_images(place, lambda v: four(v)[..., :2], ".tif", "t1.png")
    return with_images(place, four, ".tif").verify()


@refused("one 8-bit image among those of 16 bits", "t1.png is 8-bit RGB", CONVERT)
def one_of_8_bits(place: Place) -> list[object]:
    return with_images(place, four, ".tif", "[tv][02-9].png").verify()


@refused("array of floats as an image", "values of the type float64", "as uint8 or uint16")
def floats(place: Place) -> list[object]:
    return with_images(place, lambda v: v / 255, ".npy", "t0.png").verify()


@refused("array of objects as an image", "t0.npy holds values of the type object", "save them as")
def objects(place: Place) -> list[object]:
    return with_images(place, lambda v: np.array([{}], dtype=object), ".npy", "t0.png").verify()


@refused("in_channels = 4 for RGB images", "model.in_channels = 4", "Leave it out")
def four_of_rgb(place: Place) -> list[object]:
    return place.train("model.in_channels=4")


@refused("in_channels = 3 for four channels", "'folder' are 4 channels", "Leave it out")
def three_of_four(place: Place) -> list[object]:
    return with_images(place, four, ".tif").train("model.in_channels=3")


@refused("in_channels = 3 for grey images", "in_channels = 3", "set data.channels = 3")
def three_of_grey(place: Place) -> list[object]:
    return with_images(place, grey, ".png").train("model.in_channels=3")


@refused("in_channels of no number", "'model.in_channels", "valid integer")
def in_channels_of_no_number(place: Place) -> list[object]:
    return place.train("model.in_channels=rgb")


@refused("data.channels that the files do not have", "data.channels = 5", "set it to 3")
def other_channels_stated(place: Place) -> list[object]:
    return place.train("data.channels=5")


@refused("method that sees RGB, and images of four channels", "'s4gan' reads 8-bit RGB", "choose")
def method_of_rgb(place: Place) -> list[object]:
    extra = ("method.name=s4gan", "optim.discriminator.lr=0.01")
    return with_images(place, four, ".tif").train(*extra)


@refused("dense CRF on images of four channels", "eval.crf compares the colours", "Set it to false")
def crf_of_four(place: Place) -> list[object]:
    return with_images(place, four, ".tif").train("eval.crf=true")


@refused("image of four channels, predicted by a run on RGB", "four.tif has 16 bits", "8 bits")
def predicted_by_rgb(place: Place) -> list[object]:
    path = place.root / "four.tif"
    tifffile.imwrite(path, np.zeros((40, 50, 4), np.uint16), photometric="rgb")
    return place.predict(path)


@refused("run on RGB, scored on four channels", "images of another kind: 4 channels of 16 bits")
def scored_by_rgb(place: Place) -> list[object]:
    with_images(place, four, ".tif")
    return ["evaluate", place.finished_run(), "--data-root", place.data]
