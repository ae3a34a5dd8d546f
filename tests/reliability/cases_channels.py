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
    place: Place,
    make: Callable[[np.ndarray], np.ndarray],
    suffix: str,
    which: str = "*.png",
    **form: object,
) -> Place:
    """Gives images other values (HW or HWC, made of their own) in files of another ending.

    `form` is how a TIFF is written, if not as grey samples side by side.
    """
    for path in sorted((place.data / "images").glob(which)):
        values = make(np.array(Image.open(path)))
        path.unlink()
        target = path.with_suffix(suffix)
        if suffix == ".npy":
            np.save(target, values)
        elif suffix == ".tif":
            options = {"planarconfig": "contig"} if values.ndim == 3 else {}
            tifffile.imwrite(target, values, **(form or {"photometric": "minisblack", **options}))
        else:
            Image.fromarray(values).save(target)
    return place


def four(values: np.ndarray) -> np.ndarray:
    """16 bits: the three colours, and one more."""
    return np.dstack([values, 255 - values[..., :1]]).astype(np.uint16) * 9


def grey(values: np.ndarray) -> np.ndarray:
    return values[..., 0]


def flat(values: np.ndarray) -> np.ndarray:
    """8 bits: the three colours, and one more."""
    return np.dstack([values, 255 - values[..., :1]])


def sixty(values: np.ndarray) -> np.ndarray:
    """More channels than the 40 rows or the 50 columns, the channels first."""
    return np.stack([values[..., 0]] * 60).astype(np.uint16)


def with_overviews(place: Place, *, of_a_mask: bool = False) -> Place:
    """8-bit RGB TIFF with a second page: half the size, or a mask of the valid pixels."""
    for path in sorted((place.data / "images").glob("*.png")):
        values = np.array(Image.open(path).convert("RGB"))
        path.unlink()
        with tifffile.TiffWriter(path.with_suffix(".tif")) as file:
            file.write(values, photometric="rgb", metadata=None)
            if of_a_mask:
                file.write(values[..., 0] > 9, photometric="mask", subfiletype=4, metadata=None)
            else:
                file.write(values[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    return place


def trained(place: Place, channels: int, bits: int, *changes: str) -> Call:
    """`run`, and what it has recorded of its images."""

    def then(result: Result) -> None:
        (record,) = place.runs.rglob("result.json")
        images = json.loads(record.read_text())["data"]["images"]
        assert (len(images["mean"]), images["bits"]) == (channels, bits)

    return Call(place.train(*changes), then)


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


@read("TIFF images of two samples with 8 bits", "trained on with both, of which Pillow reads one")
def two_flat_channels(place: Place) -> Call:
    return trained(with_images(place, lambda v: flat(v)[..., :2], ".tif"), 2, 8)


@read("TIFF images of RGB and a fourth band that is not named", "trained on with four channels")
def unnamed_fourth_band(place: Place) -> Call:
    form = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    return trained(with_images(place, flat, ".tif", **form), 4, 8)


@read("TIFF images whose fourth band is called transparency, channels = 4", "with four channels")
def fourth_band_as_transparency(place: Place) -> Call:
    four_bands = with_images(place, flat, ".tif", photometric="rgb")
    return trained(four_bands, 4, 8, "data.channels=4")


@read("TIFF images of 8 bits with a page for each channel", "trained on with as many channels")
def flat_pages(place: Place) -> Call:
    pages = with_images(
        place, lambda v: np.moveaxis(flat(v), 2, 0), ".tif", photometric="minisblack"
    )
    return trained(pages, 4, 8)


@read("TIFF images in RGB with overviews, as a cloud-optimised GeoTIFF", "the full picture")
def overviews(place: Place) -> Call:
    return trained(with_overviews(place), 3, 8)


@read("TIFF images in big-endian order, compressed", "trained on with four channels")
def big_endian(place: Place) -> Call:
    form = {"photometric": "rgb", "byteorder": ">", "compression": "lzw", "bigtiff": True}
    return trained(with_images(place, four, ".tif", **form), 4, 16)


@read("arrays of more channels than rows, channels = 60", "trained on with 60 channels")
def more_channels_than_rows(place: Place) -> Call:
    return trained(with_images(place, sixty, ".npy"), 60, 16, "data.channels=60")


@read("network on MobileNetV2, and images of two channels", "trained on with two channels")
def mobilenet_of_two(place: Place) -> Call:
    changes = ("model.name=fcn8s_mobilenet_v2", "data.crop=[64,64]")
    return trained(with_images(place, lambda v: four(v)[..., :2], ".npy"), 2, 16, *changes)


@refused("raw values of 16 bits", "model.raw_values", "are 3 channels of 16", "Set it to false")
def raw_values_of_16_bits(place: Place) -> list[object]:
    with_images(place, lambda values: values.astype(np.uint16) * 9, ".tif", photometric="rgb")
    return place.train("model.name=segnet_basic", "model.raw_values=true")


@refused("arrays of more channels than rows", "no axis is surely", "set data.channels")
def unstated_channels(place: Place) -> list[object]:
    return with_images(place, sixty, ".npy").verify()


@refused("TIFF images whose fourth band is called transparency", "transparent", "data.channels = 4")
def transparency(place: Place) -> list[object]:
    return with_images(place, flat, ".tif", photometric="rgb").verify()


@refused("TIFF image with a mask of its valid pixels", "t0.tif holds 2 pictures", "save each in")
def page_of_a_mask(place: Place) -> list[object]:
    return with_overviews(place, of_a_mask=True).verify()


@refused("TIFF image of signed bytes", "t0.tif holds values of the type int8", "save them as uint8")
def signed_bytes(place: Place) -> list[object]:
    form = {"photometric": "minisblack"}
    make = with_images(place, lambda v: grey(v).view(np.int8), ".tif", "t0.png", **form)
    return make.verify()


@refused("archive of arrays under the name of one", "t0.npy is no array of NumPy", "mend or remove")
def archive_as_array(place: Place) -> list[object]:
    path = place.image().with_suffix(".npy")
    with path.open("wb") as file:
        np.savez(file, np.array(Image.open(place.image())))
    place.image().unlink()
    return place.verify()


@refused("images to report on of other bits than those that are trained on", "v0.tif is 4", CONVERT)
def reported_of_other_bits(place: Place) -> list[object]:
    with_images(place, flat, ".tif", "t*.png", photometric="rgb", extrasamples=["unspecified"])
    return with_images(place, four, ".tif", "v*.png").train()


@refused("unlabelled photographs of other channels than the set", "p.png is 8-bit RGB", CONVERT)
def photographs_of_other_channels(place: Place) -> list[object]:
    photographs = place.root / "photographs"
    photographs.mkdir()
    Image.open(place.image()).save(photographs / "p.png")
    with_images(place, four, ".tif")
    return place.train(
        "method.name=adversarial",
        "optim.discriminator.lr=0.01",
        f'data.unlabelled="folder:{photographs}"',
    )


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


@refused("image of four channels, predicted by a run on RGB", "four.tif is 4 channels", CONVERT)
def predicted_by_rgb(place: Place) -> list[object]:
    path = place.root / "four.tif"
    tifffile.imwrite(path, np.zeros((40, 50, 4), np.uint16), photometric="rgb")
    return place.predict(path)


@refused("run on RGB, scored on four channels", "images of another kind: 4 channels of 16 bits")
def scored_by_rgb(place: Place) -> list[object]:
    with_images(place, four, ".tif")
    return ["evaluate", place.finished_run(), "--data-root", place.data]
