"""Masks that are damaged, of another size or of another kind."""

from __future__ import annotations

import numpy as np
from cases import read, refused
from click.testing import Result
from PIL import Image
from places import Call, Place, cut, noise

from semisup.cli.data.options import parse_options
from semisup.data.formats.pictures import full_palette, voc_palette
from semisup.data.sets.folder import Folder

SAVE = "save label ids as 8-bit grey PNG"


@refused("colour mask", "masks/t0.png is a colour picture (RGB), not a label map", SAVE)
def rgb_mask(place: Place) -> list[object]:
    Image.fromarray(noise(40, 50)).save(place.mask())
    return place.verify()


@refused("grey mask with transparency", "masks/t0.png is a colour picture (LA)", SAVE)
def grey_mask_with_alpha(place: Place) -> list[object]:
    Image.new("LA", (50, 40), (1, 254)).save(place.mask())
    return place.verify()


def stored_as(place: Place, mode: str) -> Call:
    """`verify`, and that every mask has the labels that it had before it was saved in `mode`."""
    before = {path: np.array(Image.open(path)) for path in (place.data / "masks").glob("*.png")}
    for path, labels in before.items():
        Image.fromarray(labels).convert("L").convert(mode).save(path)

    def then(result: Result) -> None:
        data = Folder(place.data, "all")
        for index in range(len(data)):
            assert data.mask(index).tolist() == before[data.mask_path(index)].tolist()

    return Call(place.verify(), then)


@read("grey masks saved as RGB", "0 problems")
def grey_masks_as_rgb(place: Place) -> Call:
    return stored_as(place, "RGB")


@read("grey masks saved as RGBA, opaque", "0 problems")
def grey_masks_as_rgba(place: Place) -> Call:
    return stored_as(place, "RGBA")


@read("grey masks with an opaque alpha channel", "0 problems")
def grey_masks_as_la(place: Place) -> Call:
    return stored_as(place, "LA")


@refused("grey mask saved as RGB, one channel a step off", "masks/t0.png is a colour picture", SAVE)
def nearly_grey_mask(place: Place) -> list[object]:
    values = np.zeros((40, 50, 3), np.uint8)
    values[7, 9, 2] = 1
    Image.fromarray(values).save(place.mask())
    return place.verify()


@refused("grey mask saved as RGB with a label beyond the classes", "t0.png holds label 9, but the")
def grey_rgb_mask_beyond_the_classes(place: Place) -> list[object]:
    Image.new("RGB", (50, 40), (9, 9, 9)).save(place.mask())
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
        Image.fromarray(np.eye(20, dtype=np.uint8)).save(place.mask(f"t{number}"))
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


@refused(
    "no image with a mask, and no file that may be one", "no image of folder train has a mask: "
)
def nothing_like_a_mask(place: Place) -> list[object]:
    for path in (place.data / "masks").glob("t*"):
        path.unlink()
    return place.train()


@refused("no image with a mask", "masks/t0.png is missing, but ", "t0_mask.png is there", "_mask")
def masks_of_another_suffix(place: Place) -> list[object]:
    for path in list((place.data / "masks").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_mask"))
    return place.split("masked")


@refused("mask cut short", "masks/t0.png cannot be decoded", "mend or remove the file")
def truncated_mask(place: Place) -> list[object]:
    cut(place.mask(), 0.7)
    return place.verify()


@refused("nothing but void in the reported set", "in the 2 masks of val is void", "correct the")
def only_void(place: Place) -> list[object]:
    for name in ("v0", "v1"):
        Image.new("L", (50, 40), 255).save(place.mask(name))
    return ["evaluate", place.finished_run(), *place.where()]


@refused(
    "nothing but void in all training masks",
    "2 masks that are trained on",
    "is void (255)",
    "correct the mas",
)
def void_in_training(place: Place) -> list[object]:
    for number in range(4):
        Image.new("L", (50, 40), 255).save(place.mask(f"t{number}"))
    return place.train()


@read("nothing but void in one training mask", "trained on: it adds nothing to the loss")
def void_in_one_training_mask(place: Place) -> Call:
    (place.root / "list.txt").write_text("t1\nt2\n")
    Image.new("L", (50, 40), 255).save(place.mask("t1"))

    def then(result: Result) -> None:
        assert "warning" not in result.stderr
        assert "2 labelled" in result.stdout

    return Call(place.train(f"data.split=file:{place.root / 'list.txt'}"), then)


@refused("nothing but void in the training masks, before a run", "1 problem", "is void (255)")
def void_in_training_verified(place: Place) -> list[object]:
    for number in range(4):
        Image.new("L", (50, 40), 255).save(place.mask(f"t{number}"))
    return place.verify()


@refused(
    "nothing but void in the reported set, met before a training",
    "2 masks of val",
    "nothing to learn or to score",
)
def only_void_reported(place: Place) -> list[object]:
    for name in ("v0", "v1"):
        Image.new("L", (50, 40), 255).save(place.mask(name))
    return place.train()


@refused("masks of 0 and 255", "hold only 0 and 255", "'sky' is left", 'values = {0 = "ground"')
def binary_masks(place: Place) -> list[object]:
    place.map_masks(lambda labels: labels * 255)
    return place.verify()


@refused(
    "masks of 0 and 255, trained on", "hold only 0 and 255", "255 is void", 'values = {0 = "gr'
)
def binary_masks_trained_on(place: Place) -> list[object]:
    place.map_masks(lambda labels: labels * 255)
    return place.train()


@refused("masks of 0 and 255 with three classes", "hold only 0 and 255", "'sky' and 'sea' is left")
def binary_masks_of_three_classes(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("ground\nsky\nsea\n")
    place.map_masks(lambda labels: labels * 255)
    return place.train()


@refused("masks of 0 and 255 in the reported set alone", "2 masks of val hold only 0 and 255")
def binary_masks_reported(place: Place) -> list[object]:
    place.map_masks(lambda labels: labels * 255, "v*.png")
    return place.train()


@refused("one class in the list", "'ground' is the only class", "mIoU of 1.0000 is no result")
def one_class(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("ground\n")
    place.map_masks(lambda labels: labels * 0)
    return place.train()


@refused("labels that start at 1", "holds label 2, but the classes", "start at 1?")
def labels_from_one(place: Place) -> list[object]:
    place.map_masks(lambda labels: labels + 1)
    return place.train()


@read("class that no mask has", "trained on, with a warning that names the class")
def class_without_a_pixel(place: Place) -> Call:
    (place.data / "classes.txt").write_text("ground\nsky\nsea\n")

    def then(result: Result) -> None:
        assert (
            "warning: 'sea' has no labelled pixel in the 2 masks that are trained on"
            in result.stderr
        )
        assert "warning: 'sea' has no labelled pixel in the 2 masks of val" in result.stderr

    return Call(place.train(), then)


@refused("palettes that disagree", "masks/t0.png and ", "masks/t1.png give label", "same palette")
def palettes_that_disagree(place: Place) -> list[object]:
    place.colour_masks({0: (0, 0, 0), 1: (0, 0, 255)})
    swapped = 1 - np.array(Image.open(place.mask("t1")))
    mask = Image.fromarray(swapped)
    mask.putpalette([0, 0, 255, 0, 0, 0])
    mask.save(place.mask("t1"))
    return place.verify()


@read("palettes that disagree, trained on", "trained on, with a warning that names both files")
def palettes_that_disagree_trained_on(place: Place) -> Call:
    palettes_that_disagree.prepare(place)

    def then(result: Result) -> None:
        assert "warning: " in result.stderr
        assert "two colours, " in result.stderr

    return Call(place.train("data.split=all"), then)


@refused("palette that contradicts classes.txt", "draws label ", "but classes.txt gives")
def palette_against_the_list(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("ground 0 90 0\nsky 0 0 255\n")
    place.colour_masks({0: (0, 0, 255), 1: (0, 90, 0)})
    return place.verify()


@refused("one picture in train and val under two names", "1 picture is in both", "v0.png")
def picture_in_two_subsets(place: Place) -> list[object]:
    place.image("v0").write_bytes(place.image("t1").read_bytes())
    return place.verify()


@read("files that nothing uses", "verified, with a note that counts and names them")
def leftovers(place: Place) -> Call:
    (place.data / "train.txt").write_text("t0\nt1\n")
    place.mask("gone").write_bytes(place.mask("t0").read_bytes())

    def then(result: Result) -> None:
        assert "note: 1 mask has no image: gone.png\n" in result.stdout
        assert "note: 2 images are in no list: t2.png, t3.png\n" in result.stdout

    return Call(place.verify(), then)


@read("mask of an unlabelled image that is not there", "never opened")
def missing_mask_of_an_unlabelled_image(place: Place) -> Call:
    (place.root / "list.txt").write_text("t1\nt2\n")
    for name in ("t0", "t3"):
        place.mask(name).unlink()

    def then(result: Result) -> None:
        assert "2 labelled, 0 of them held out, 2 unlabelled" in result.stdout

    return Call(place.train(f"data.split=file:{place.root / 'list.txt'}"), then)


def labels_are(place: Place, expected: np.ndarray, **options: object) -> Call:
    """`data verify`, and that the mask of t0 is read as `expected`."""
    words = [f"--option={key}={value}" for key, value in options.items()]

    def then(_: Result) -> None:
        (place.data / "one.txt").write_text("t0\n")
        parsed = parse_options(Folder, tuple(word.partition("=")[2] for word in words))
        assert (Folder(place.data, "one", **parsed).mask(0).numpy() == expected).all()

    return Call([*place.verify(), *words], then)


def stripes(*values: int) -> np.ndarray:
    """A mask of 40 x 50 pixels with a stripe of each value."""
    return np.array(values, np.uint8)[np.arange(50) * len(values) // 50][None].repeat(40, 0)


def grey_indices(place: Place, labels: np.ndarray, order: list[int]) -> None:
    """Save the mask of t0 as an optimiser does: a palette of its greys, in any order."""
    mask = Image.fromarray(np.vectorize(order.index)(labels).astype(np.uint8))
    mask.putpalette([grey for grey in order for _ in range(3)])
    mask.save(place.mask())


@read("grey mask that an optimiser has indexed", "read: its grey values, not the indices")
def indexed_grey(place: Place) -> Call:
    grey_indices(place, stripes(0, 1, 255), [0, 255, 1])
    return labels_are(place, stripes(0, 1, 255))


@read("grey mask of two values that was indexed from white", "read: its grey values")
def indexed_grey_from_white(place: Place) -> Call:
    grey_indices(place, stripes(0, 1), [1, 0])
    return labels_are(place, stripes(0, 1))


@refused("indexed grey mask with a grey that is no class", "masks/t0.png holds label 127", "0..1")
def indexed_grey_of_no_class(place: Place) -> list[object]:
    grey_indices(place, stripes(0, 127), [127, 0])
    return place.verify()


@read("mask of zeros that an optimiser has made 1-bit", "read: label 0")
def one_bit_zeros(place: Place) -> Call:
    Image.new("1", (50, 40), 0).save(place.mask())
    return labels_are(place, stripes(0))


def coloured(place: Place, text: str = "ground 0 0 0\nsky 48 112 32\n") -> None:
    (place.data / "classes.txt").write_text(text)


@read("colour mask in the colours of classes.txt", "read: the labels of the colours")
def mask_in_colours(place: Place) -> Call:
    coloured(place)
    key = np.array([[0, 0, 0], [48, 112, 32], [224, 224, 192]], np.uint8)
    Image.fromarray(key[stripes(0, 1, 2)]).save(place.mask())
    return labels_are(place, stripes(0, 1, 255))


@refused(
    "colour mask with a colour of no class",
    "masks/t0.png holds the colour 48 112 33 (row 0, column 25)",
    "add it there",
)
def colour_of_no_class(place: Place) -> list[object]:
    coloured(place)
    key = np.array([[0, 0, 0], [48, 112, 33]], np.uint8)
    Image.fromarray(key[stripes(0, 1)]).save(place.mask())
    return place.verify()


@refused("two classes of one colour", "gives the colour 0 0 0 twice", "a colour of its own")
def two_of_one_colour(place: Place) -> list[object]:
    coloured(place, "ground 0 0 0\nsky 0 0 0\n")
    Image.new("RGB", (50, 40)).save(place.mask())
    return place.verify()


@refused(
    "palette mask whose colours contradict classes.txt",
    "masks/t0.png draws label 0 in 48 112 32, but classes.txt gives 'ground' the colour 0 0 0",
    "save the mask as RGB",
)
def contradicting_palette(place: Place) -> list[object]:
    coloured(place)
    mask = Image.fromarray(stripes(0, 1))
    mask.putpalette([48, 112, 32, 0, 0, 0])
    mask.save(place.mask())
    return place.verify()


@read("masks of 0 and 255 with their values", "read: 255 as the class that it is mapped to")
def mapped_values(place: Place) -> Call:
    for path in (place.data / "masks").iterdir():
        Image.fromarray(np.array(Image.open(path)) * 255).save(path)
    Image.fromarray(stripes(0, 255)).save(place.mask())
    return labels_are(place, stripes(0, 1), values='{0 = "ground", 255 = "sky"}')


@read("masks in which 0 is void", "read: the names are those of 1, 2, ...")
def zero_is_void(place: Place) -> Call:
    (place.data / "classes.txt").write_text("wall\nsky\n")
    for path in (place.data / "masks").iterdir():
        Image.fromarray(np.array(Image.open(path)) + 1).save(path)
    Image.fromarray(stripes(0, 1, 2)).save(place.mask())
    return labels_are(place, stripes(255, 0, 1), void=0)


@refused(
    "value that is not mapped", "masks/t0.png holds the value 7 (row 0, column 25)", "in values"
)
def value_of_no_class(place: Place) -> list[object]:
    for path in (place.data / "masks").iterdir():
        Image.fromarray(np.array(Image.open(path)) * 255).save(path)
    Image.fromarray(stripes(0, 7)).save(place.mask())
    return [*place.verify(), "--option", 'values={0 = "ground", 255 = "sky"}']


@refused("value mapped to a name that is no class", "values.1 = 'skye'", "Did you mean 'sky'?")
def value_of_another_name(place: Place) -> list[object]:
    return [*place.verify(), "--option", 'values={0 = "ground", 1 = "skye"}']


@refused("void = 0 beside a background", "void = 0 leaves no value", "drop that line")
def void_beside_background(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("background\nsky\n")
    return [*place.verify(), "--option", "void=0"]


@read("masks named x.PNG and x.png.png", "read")
def masks_of_other_names(place: Place) -> Call:
    place.mask("t0").rename(place.data / "masks" / "t0.PNG")
    place.mask("t1").rename(place.data / "masks" / "t1.png.png")

    def then(_: Result) -> None:
        assert Folder(place.data).masked_ids == ("t0", "t1", "t2", "t3")

    return Call(place.verify(), then)


@refused("two masks of one image", "t0.png and ", "t0.png.png are both masks of image 't0'")
def two_masks_of_one_image(place: Place) -> list[object]:
    Image.fromarray(stripes(0)).save(place.data / "masks" / "t0.png.png")
    return place.verify()


# Numbers that mean something else


def of_classes(place: Place, *names: str) -> None:
    (place.data / "classes.txt").write_text("".join(f"{name}\n" for name in names))


@read(
    "objects numbered anew in each mask, by the order of their names there",
    "verified; told only by the class that has no pixel in val",
)
def numbered_anew(place: Place) -> Call:
    of_classes(place, "ground", "cat", "dog")
    place.map_masks(lambda labels: labels * 2, "t0.png")  # a second one; in all others one alone

    def then(result: Result) -> None:
        assert "warning: 'dog' has no labelled pixel in the 2 masks of val" in result.stdout

    return Call(place.verify(), then)


@refused("masks of 0 and 127", "holds label 127", 'such as values = {0 = "ground", 127 = "sky"}')
def half_grey(place: Place) -> list[object]:
    place.map_masks(lambda labels: labels * 127)
    return place.verify()


@refused(
    "0 for other things, and names from 1 on", "holds label 3, but", "or is 0 void in the masks?"
)
def other_things(place: Place) -> list[object]:
    of_classes(place, "wall", "building", "sky")
    place.map_masks(lambda labels: labels * 3)
    return place.verify()


@read(
    "0 for other things, names from 1 on, and the last number in no mask",
    "verified; told only by the classes that have no pixel",
)
def other_things_without_the_last(place: Place) -> Call:
    of_classes(place, "wall", "building", "sky", "floor")

    def then(result: Result) -> None:
        assert "warning: 'sky' and 'floor' have no labelled pixel in the 4 masks" in result.stdout

    return Call(place.verify(), then)


@read(
    "list one off, with background not first", "verified, with a warning that names may be one off"
)
def one_off(place: Place) -> Call:
    of_classes(place, "junk", "background", "sky")

    def then(result: Result) -> None:
        assert "'background' is class 1, and the last class is nowhere: the names may " in (
            result.stdout
        )

    return Call(place.verify(), then)
