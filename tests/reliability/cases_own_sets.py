"""Sets of one's own, as labelling tools, paint programs, cameras and network drives leave them."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from cases import read, refused
from cases_images import drawn_upright, turned
from cases_lists import classes_are, reads, renamed
from cases_tools import camvid, voc_classes
from click.testing import Result
from PIL import Image
from places import Call, Place, noise

from semisup.data.formats.pictures import read_labels, read_rgb
from semisup.data.sets.camvid import CLASSES
from semisup.data.sets.folder import Folder
from semisup.data.sets.voc import Voc


def warns(arguments: list[object], *parts: str) -> Call:
    """A command that does what it is asked for, and says all `parts`."""
    # As it is outside of tests; pytest undoes both after each.
    warnings.simplefilter("default")
    warnings.showwarning = _written

    def then(result: Result) -> None:
        for part in parts:
            assert part in result.output, result.output

    return Call(arguments, then)


def _written(
    message: Warning | str, category: type[Warning], name: str, line: int, *_: Any
) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, name, line))


def says_nothing(arguments: list[object], check: Callable[[], None]) -> Call:
    """A command that has nothing to warn of; `check` shows that it has read rightly."""

    def then(result: Result) -> None:
        assert "warning" not in result.output, result.output
        check()

    return Call(arguments, then)


# Masks


@read(
    "some masks as JPEG among PNG files", "warned of: images unlabelled, and the file that is near"
)
def some_masks_as_jpeg(place: Place) -> Call:
    for name in ("t0", "t1"):
        Image.open(place.mask(name)).save(place.mask(name).with_suffix(".jpg"))
        place.mask(name).unlink()
    return warns(
        place.verify(),
        "2 images are unlabelled, though masks may hold what is meant for them",
        "masks/t0.jpg is there: save it as PNG",
    )


@read("some masks with a word behind their name", "warned of: the mask_suffix that finds them")
def some_masks_with_a_suffix(place: Place) -> Call:
    place.mask().rename(place.mask("t0_mask"))
    said = 't0_mask.png is there: set mask_suffix = "_mask"'
    return warns(place.train(), "warning: 1 image is unlabelled", said)


@read("one mask in letters of another case", "warned of: the file to rename")
def mask_in_capitals(place: Place) -> Call:
    place.mask().rename(place.mask("T0"))
    return warns(place.split("masked"), "1 image is unlabelled", "T0.png is there: rename it")


@refused("TIFF mask with the compression of JPEG", "t0.tif is compressed", "with loss", "without")
def mask_as_tiff_with_loss(place: Place) -> list[object]:
    place.mask().unlink()
    Image.new("L", (50, 40), 1).save(place.mask().with_suffix(".tif"), compression="jpeg")
    return place.verify()


@refused("TIFF mask in which 0 is white", "t0.tif stores white as 0", "save it with 0 for black")
def mask_whose_0_is_white(place: Place) -> list[object]:
    place.mask().unlink()
    values = np.ones((40, 50), np.uint8)
    tifffile.imwrite(place.mask().with_suffix(".tif"), values, photometric="miniswhite")
    return place.verify()


@refused("TIFF mask of floats", "masks/t0.tif is of the kind F", "save it with 8 bits")
def mask_of_floats(place: Place) -> list[object]:
    place.mask().unlink()
    Image.fromarray(np.ones((40, 50), np.float32)).save(place.mask().with_suffix(".tif"))
    return place.verify()


@refused(
    "mask with an EXIF orientation of its own", "t0.png has the EXIF orientation 3", "as a viewer"
)
def mask_with_an_orientation(place: Place) -> list[object]:
    with Image.open(place.mask()) as mask:
        mask.save(place.mask(), exif=turned(3))
    return place.verify()


@refused(
    "mask in the colours of classes.txt with clear pixels", "t0.png has transparent pixels", "8-bit"
)
def clear_pixels(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("ground 0 0 0\nsky 255 0 0\n")
    Image.new("RGBA", (50, 40), (0, 0, 0, 0)).save(place.mask())
    return place.verify()


@refused(
    "mask with smooth edges in the colours of classes.txt", "holds the colour", "correct the mask"
)
def smooth_colours(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("ground 0 0 0\nsky 255 0 0\n")
    colours = np.zeros((40, 50, 3), np.uint8)
    colours[:, 25:, 0] = 255
    mask = Image.fromarray(colours)
    mask.resize((25, 20), Image.Resampling.BILINEAR).resize((50, 40)).save(place.mask())
    return place.verify()


@read("palette masks of 1, 2 and 4 bits", "read: the indices")
def palettes_of_few_bits(place: Place) -> Call:
    before = {name: read_labels(place.mask(name)) for name in ("t0", "t1", "t2")}
    for bits, name in zip((1, 2, 4), before, strict=True):
        mask = Image.fromarray(before[name].numpy())
        mask.putpalette([0, 0, 0, 200, 0, 0])
        mask.save(place.mask(name), bits=bits)

    def check() -> None:
        data = Folder(place.data)
        for name, labels in before.items():
            assert data.mask(data.index(name)).equal(labels)

    return says_nothing(place.verify(), check)


@read("masks of nothing but 0", "verified, with a warning that there is nothing to tell apart")
def masks_of_zeros(place: Place) -> Call:
    place.map_masks(np.zeros_like)
    return warns(place.verify(), "of train: all is 'ground', and there is nothing to tell apart")


@read("255 for the last class among labels from 0", "verified, with a warning that names the class")
def last_class_as_255(place: Place) -> Call:
    (place.data / "classes.txt").write_text("ground\nsky\nsea\n")
    half = np.where(np.arange(50) < 9, 255, 0).astype(np.uint8)
    place.map_masks(lambda labels: np.where(half, 255, labels))
    return warns(place.verify(), "255 is void: if it stands for 'sea' in the masks, map it")


@read("colours numbered anew in all masks alike", "verified, with a warning that names two classes")
def colours_numbered_anew(place: Place) -> Call:
    (place.data / "classes.txt").write_text("background\nsky\n")
    place.map_masks(lambda labels: 1 - labels)
    place.colour_masks({0: (0, 90, 200), 1: (0, 0, 0)})
    return warns(place.verify(), "draws 'background' in 0 90 200 and 'sky' in black")


@read("some files of data.masks with a word behind the id", "warned of: an image, and its file")
def other_masks_with_a_suffix(place: Place) -> Call:
    return other_masks(
        place, "t2_mask", "warning: 1 image is unlabelled", "is not t2.png: rename it"
    )


@read("file of data.masks in another Unicode form than the id", "read: the mask of this image")
def other_masks_in_another_form(place: Place) -> Call:
    for path in (place.image("t2"), place.mask("t2")):
        path.rename(path.with_name("b\u00e4r.png"))
    (place.data / "train.txt").write_text("t0\nb\u00e4r\n", encoding="utf-8")
    return other_masks(place, "ba\u0308r", "labelled   2")


def other_masks(place: Place, name: str, *parts: str) -> Call:
    """`data split` with a folder of two masks, of t0 and of another name."""
    for other in ("t0", name):
        path = place.write(f"other/{other}.png", b"")
        Image.new("L", (50, 40), 1).save(path)
    return warns([*place.split("masked"), "--masks", f"folder:{place.root / 'other'}"], *parts)


@refused("folder of masks that is a link to that of the images", "masks and images are one folder")
def masks_that_are_the_images(place: Place) -> list[object]:
    shutil.rmtree(place.data / "masks")
    (place.data / "masks").symlink_to(place.data / "images")
    return place.verify()


# Photographs


@refused("square TIFF on its side by its orientation", "t0.tif has the EXIF orientation 6", "apply")
def square_tiff(place: Place) -> list[object]:
    place.replace_image(Image.fromarray(noise(40, 40)), ".tif", exif=turned(6))
    Image.new("L", (40, 40), 1).save(place.mask())
    return place.verify()


@read("TIFF on its side, its mask drawn upright", "read: as a viewer shows it")
def tiff_drawn_upright(place: Place) -> Call:
    return drawn_upright(place, ".tif", 8)


@read("TIFF upside down, exif = ignore", "read: as it is stored")
def tiff_ignored(place: Place) -> Call:
    pixels = noise(40, 50)
    place.replace_image(Image.fromarray(pixels), ".tif", exif=turned(3))

    def check() -> None:
        image = Folder(place.data, exif="ignore").image(0)
        assert image.permute(1, 2, 0).numpy().tolist() == pixels.tolist()

    return says_nothing([*place.verify(), "--option", "exif=ignore"], check)


@read("grey TIFF on its side to predict, not compressed", "as a viewer shows it; not scrambled")
def grey_tiff_to_predict(place: Place) -> Call:
    pixels = noise(50, 40, channels=1)
    path = place.root / "a.tif"
    Image.fromarray(pixels).save(path, exif=turned(6))

    def then(_: Result) -> None:
        assert read_rgb(path)[0].numpy().tolist() == pixels.tolist()
        with Image.open(place.root / "labels" / "a.png") as labels:
            assert labels.size == (50, 40)

    return Call(place.predict(path), then)


# Lists of classes


def with_classes(place: Place, text: str | bytes) -> list[object]:
    content = text.encode() if isinstance(text, str) else text
    (place.data / "classes.txt").write_bytes(content)
    return place.verify()


@refused("classes.txt with colours of four channels", "line 1: 'ground 0 0 0 255' may hold", "four")
def four_channels(place: Place) -> list[object]:
    return with_classes(place, "ground 0 0 0 255\nsky 0 90 200 255\n")


@refused(
    "classes.txt with the numbers behind the names", "line 1: 'sky 1' ends in a number", "front"
)
def numbers_behind(place: Place) -> list[object]:
    return with_classes(place, "sky 1\nground 0\n")


@refused("classes.txt with colours as 0x", "line 2: 'sky 0x00ffff' is no name", "'cat 64 128 64'")
def colours_in_hexadecimal(place: Place) -> list[object]:
    return with_classes(place, "ground\nsky 0x00ffff\n")


@refused("classes.txt in UTF-16 without a mark", "holds a control character", "save it as UTF-8")
def classes_in_utf_16(place: Place) -> list[object]:
    return with_classes(place, "ground\nsky\n".encode("utf-16-le"))


@refused("classes.txt with a comma in the name of its first class", "line 1: '0,soil, sand' has no")
def comma_in_the_first_name(place: Place) -> list[object]:
    return with_classes(place, "0,soil, sand\n1,ground\n2,sky\n")


@refused("classes.txt with one name in two Unicode forms", "names the class 'h\u00e4user' twice")
def one_name_in_two_forms(place: Place) -> list[object]:
    return with_classes(place, "h\u00e4user\nha\u0308user\n")


@refused("classes.txt that is a palette of GIMP", "line 2: 'Name: sky' is no name of a class")
def palette_of_gimp(place: Place) -> list[object]:
    return with_classes(place, "GIMP Palette\nName: sky\n#\n  0   0   0\tground\n")


@refused(
    "classes.txt that is a colour map of QGIS", "line 3: '0,0,0,0,255,ground' is no class with"
)
def colour_map_of_qgis(place: Place) -> list[object]:
    return with_classes(place, "# QGIS\nINTERPOLATION:EXACT\n0,0,0,0,255,ground\n1,9,9,9,255,sky\n")


@refused("classes.txt that is the head of ENVI", "line 1: 'class names = {' looks like the head")
def head_of_envi(place: Place) -> list[object]:
    return with_classes(place, "class names = {\n ground, sky}\n")


@read("classes.txt with numbers and full stops", "read: the names of the numbers")
def numbers_with_full_stops(place: Place) -> Call:
    return classes_are(place, "1. sky\n0. ground\n")


@read("classes.txt as MATLAB's table of pixel labels", "read: names, numbers and colours")
def table_of_matlab(place: Place) -> Call:
    return classes_are(place, "ID,Name,R,G,B\r\n0,ground,0,0,0\r\n1,sky,9,9,200\r\n")


@read("classes.txt with a number and a name for void", "read: 255 is void, and no class")
def name_for_void(place: Place) -> Call:
    return classes_are(place, "0,ground\n1,sky\n255,don't care\n")


@read("classes.txt beside a labelmap.txt in another order", "warned of: both lists")
def two_lists(place: Place) -> Call:
    (place.data / "labelmap.txt").write_text("sky:9,9,9::\nground:0,0,0::\n")
    return warns(place.train(), "classes.txt is read, and labelmap.txt beside it names other")


@read("classes.txt of numbers that are not the labels", "verified, with a warning")
def numbers_as_names(place: Place) -> Call:
    return warns(with_classes(place, "1\n2\n"), "'1' is that of label 0: position in the list")


@read("classes.txt with names that differ in their case alone", "verified, with a warning")
def names_of_two_cases(place: Place) -> Call:
    return warns(with_classes(place, "Sky\nsky\n"), "'Sky' and 'sky' are two classes")


# Lists of images, and folders


@refused("list named train.csv", "but train.csv is there", "name it train.txt")
def list_with_another_ending(place: Place) -> list[object]:
    (place.data / "train.txt").rename(place.data / "train.csv")
    return place.verify()


@refused(
    "list whose leading zeros a table program has dropped", "train.txt lists '1', but there is no"
)
def leading_zeros(place: Place) -> list[object]:
    renamed(place, "001", "1")
    return place.verify()


@refused(
    "list as JSON", 'train.txt lists \'["t0", "t1"]\', but there is no', "add it or drop the line"
)
def list_as_json(place: Place) -> list[object]:
    (place.data / "train.txt").write_text('["t0", "t1"]\n')
    return place.verify()


@read("list of absolute paths of another machine", "read: the images of these names")
def list_of_absolute_paths(place: Place) -> Call:
    lines = ["C:\\Users\\me\\set\\images\\t0.PNG", "/home/me/set/images/t1.png", "./images/t2.png"]
    return reads(place, "\r\n".join([*lines, "file:///x/images/t3.png"]).encode())


@read("id of signs and of letters from right to left", "read: the image of this name")
def id_of_signs(place: Place) -> Call:
    return renamed(place, "\U0001f431 \u0642\u0637", "\U0001f431 \u0642\u0637.png")


@read("id with a tab and a comma", "read: the image of this name")
def id_with_a_tab(place: Place) -> Call:
    return renamed(place, "a\tb, c", "a\tb, c")


@read("folders that a network drive and a Mac keep among images", "left out")
def folders_of_systems(place: Place) -> Call:
    for name in ("@eaDir", "__MACOSX", ".thumbs"):
        (place.data / "images" / name).mkdir()
        (place.data / "images" / name / "t0.png").write_bytes(b"no picture")

    def check() -> None:
        assert Folder(place.data, "all").ids == ("t0", "t1", "t2", "t3", "v0", "v1")

    return says_nothing([*place.verify(), "--subset", "all"], check)


@read("files of a labelling tool beside the images, under their names", "counted and named")
def files_beside_images(place: Place) -> Call:
    for name in ("t0.json", "t0.xml", "t1.json"):
        (place.data / "images" / name).write_text("{}")
    return warns(place.verify(), "3 files in images are of no format that is read: t0.json, t0.xml")


# Public layouts


@read("VOC tree with a labels.txt", "read: its own classes, not those of VOC")
def voc_with_labels(place: Place) -> Call:
    command = voc_classes(place, "labels.txt", "__ignore__\n_background_\ncat\n")

    def check() -> None:
        assert Voc(place.data).classes == ("_background_", "cat")

    return says_nothing(command, check)


@refused(
    "CamVid's classes in an order of one's own", "or in another order (bicyclist, ", "'folder'"
)
def camvid_in_another_order(place: Place) -> list[object]:
    root = camvid(place, "train", "val", "test")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in reversed(CLASSES)))
    return place.verify("camvid")


@refused("class weights that are all 0", "train.class_weights are all 0", "Give one a weight")
def weights_of_0(place: Place) -> list[object]:
    return place.train("train.class_weights=[0.0, 0.0]")


@refused(
    "SegNet's class weights on other classes than CamVid's",
    'train.class_weights = "segnet_camvid" is for the 11 classes sky, building',
    'Take "median_frequency"',
)
def weights_of_camvid(place: Place) -> list[object]:
    return place.train("train.class_weights=segnet_camvid")
