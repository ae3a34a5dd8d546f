"""Files as other programs write them: cameras, labelling tools, exporters."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from cases import read, refused
from click.testing import Result
from PIL import Image, ImageCms
from places import Call, Place

from semisup.data.sets.folder import Folder
from semisup.data.sets.voc import Voc


def as_a_jpeg(place: Place, **options: object) -> Call:
    """`data verify` of an image saved with `options`, and that it is read in its colours."""
    picture = Image.open(place.image()).convert("RGB")
    path = place.replace_image(picture, ".jpg", quality=95, **options)

    def then(_: Result) -> None:
        shown = Folder(place.data).image(0).permute(1, 2, 0).numpy()
        with Image.open(path) as stored:
            assert np.abs(shown.astype(int) - np.asarray(stored)).max() <= 1

    return Call(place.verify(), then)


@read("photograph with a second picture in the file (MPO)", "read: the first picture")
def several_pictures(place: Place) -> Call:
    second = Image.new("RGB", (50, 40), (255, 0, 0))
    return as_a_jpeg(place, format="MPO", save_all=True, append_images=[second])


@read("progressive JPEG with a colour profile", "read: its stored colours")
def profile(place: Place) -> Call:
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return as_a_jpeg(place, progressive=True, icc_profile=content)


@read("images as 1-bit, opaque RGBA and animated PNG", "read: their colours, of the first frame")
def kinds_of_png(place: Place) -> Call:
    first = Image.open(place.image())
    first.convert("1").save(place.image("t0"))
    first.convert("RGBA").save(place.image("t1"))
    first.save(place.image("t2"), save_all=True, append_images=[Image.new("RGB", (50, 40))])

    def then(_: Result) -> None:
        data = Folder(place.data)
        assert data.image(0).unique().tolist() == [0, 255]
        for index in (1, 2):
            assert np.array_equal(data.image(index).permute(1, 2, 0), np.asarray(first))

    return Call(place.verify(), then)


@read("WebP saved as .jpg", "read: its pixels, whatever its name")
def webp_as_jpg(place: Place) -> Call:
    picture = Image.open(place.image()).convert("RGB")
    path = place.replace_image(picture, ".webp", lossless=True)
    path.rename(path.with_suffix(".jpg"))

    def then(_: Result) -> None:
        shown = Folder(place.data).image(0).permute(1, 2, 0)
        assert np.array_equal(shown, np.asarray(picture))

    return Call(place.verify(), then)


@refused("AVIF saved as .jpg", "t0.jpg is no JPEG, PNG, TIFF, BMP or WebP file", "convert it")
def avif_as_jpg(place: Place) -> list[object]:
    place.image().unlink()
    (place.data / "images" / "t0.jpg").write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0" + bytes(99))
    return place.verify()


@refused("mask one column wider than its image", "the mask is 40x51", "is 40x50", "the same size")
def one_column_more(place: Place) -> list[object]:
    Image.new("L", (51, 40)).save(place.mask())
    return place.verify()


@read("data set behind a link, with blanks and quotes in its path", "read")
def odd_path(place: Place) -> Call:
    place.data.symlink_to(place.data.rename(place.root / "--o'dd; 50% a.b.c"))
    return Call(place.verify())


# Names


def renamed_masks(place: Place, front: str, behind: str) -> None:
    for path in (place.data / "masks").iterdir():
        path.rename(path.with_name(f"{front}{path.stem}{behind}.png"))


@read("masks with a suffix, which mask_suffix states", "read")
def masks_with_a_suffix(place: Place) -> Call:
    renamed_masks(place, "", "_gtFine_labelTrainIds")
    return Call([*place.verify(), "--option", "mask_suffix=_gtFine_labelTrainIds"])


@refused("masks with a number and a word in front", "masks/task-3-annotation-t0.png is there: rena")
def words_in_front(place: Place) -> list[object]:
    renamed_masks(place, "task-3-annotation-", "")
    return place.train()


@read("whole folder with pictures of formats that are not read", "those are counted and named")
def whole_folder(place: Place) -> Call:
    said: list[str] = []
    place.patch.setattr(warnings, "warn", lambda text, **_: said.append(text))
    for name in ("a.gif", "b.heic"):
        (place.data / "images" / name).write_bytes(b"")

    def then(_: Result) -> None:
        assert said == [
            f"{place.data}/images: 2 files are of no format that is read: a.gif, b.heic"
        ]

    return Call([*place.verify(), "--subset", "all"], then)


# Layouts


@refused("data folder without images", "images is missing in ", "lay out images/<id>.jpg")
def without_images(place: Place) -> list[object]:
    (place.data / "images").rename(place.root / "elsewhere")
    return place.verify()


@refused(
    "data folder whose images lie in Images", "images is missing in ", "'Images' is: rename it"
)
def images_in_capitals(place: Place) -> list[object]:
    (place.data / "images").rename(place.root / "elsewhere")
    (place.root / "elsewhere").rename(place.data / "Images")
    return place.verify()


def camvid(place: Place, *parts: str) -> Path:
    """Some parts of CamVid in SegNet's layout."""
    root = place.data / "CamVid"
    for part in parts:
        for name, source in ((part, "images"), (f"{part}annot", "masks")):
            (root / name).mkdir(parents=True)
            content = (place.data / source / "t0.png").read_bytes()
            (root / name / "t0.png").write_bytes(content)
        (root / f"{part}.txt").write_text(f"{part}/t0.png {part}annot/t0.png\n")
    return root


@refused("CamVid with its train part alone", "valannot and testannot and val.txt and test.txt are")
def train_part_alone(place: Place) -> list[object]:
    root = camvid(place, "train")
    place.data.rename(place.root / "elsewhere")
    (place.root / "elsewhere" / root.name).rename(place.data)
    return place.verify("camvid")


@refused(
    "CamVid's layout with classes of one's own",
    "label_colors.txt names other classes than CamVid's, or in another order (background, cat)",
    "use the data set 'folder'",
)
def camvid_of_other_classes(place: Place) -> list[object]:
    root = camvid(place, "train", "val", "test")
    (root / "label_colors.txt").write_text("0 0 0 background\n64 128 64 cat\n")
    return place.verify("camvid")


def voc_classes(place: Place, name: str, text: str) -> list[object]:
    (place.voc().parents[1] / name).write_text(text)
    return place.verify("voc")


@read("VOC tree with a class_names.txt", "read: its own classes, not those of VOC")
def voc_of_labelme(place: Place) -> Call:
    command = voc_classes(place, "class_names.txt", "_background_\ncat\n")

    def then(result: Result) -> None:
        assert Voc(place.data).classes == ("_background_", "cat")
        assert "aeroplane" not in result.stdout

    return Call(command, then)


@refused("VOC tree whose own list lacks a class of its masks", "holds label 1, but the classes are")
def voc_of_too_few_classes(place: Place) -> list[object]:
    return voc_classes(place, "labelmap.txt", "background:0,0,0::\n")


@refused("VOC tree whose own list is no list", "labelmap.txt, line 1: '{\"names\": 2}' is no name")
def voc_of_no_list(place: Place) -> list[object]:
    return voc_classes(place, "labelmap.txt", '{"names": 2}\n')


# SBD and annotations


def sbd(place: Place, struct: str, labels: np.ndarray, **options: bool) -> list[object]:
    """SBD's file of an image whose mask VOC does not have."""
    from scipy.io import savemat

    tree = place.voc().parents[1]
    (tree / "SegmentationClass" / "t0.png").unlink()
    (tree / "cls").mkdir()
    savemat(tree / "cls" / "t0.mat", {struct: {"Segmentation": labels}}, **options)
    return place.verify("voc")


@read("SBD mask in a packed file", "read")
def packed(place: Place) -> Call:
    return Call(sbd(place, "GTcls", np.ones((40, 50), np.uint8), do_compression=True))


@refused("SBD mask of doubles", "t0.mat: GTcls.Segmentation is no uint8 map")
def doubles(place: Place) -> list[object]:
    return sbd(place, "GTcls", np.ones((40, 50)))


@refused("SBD's file of instances", "t0.mat holds no GTcls.Segmentation; use SBD's cls folder")
def instances(place: Place) -> list[object]:
    return sbd(place, "GTinst", np.ones((40, 50), np.uint8))


@refused("SBD mask as MATLAB 7.3 saves it", "t0.mat is no readable .mat file")
def hierarchical(place: Place) -> list[object]:
    command = sbd(place, "GTcls", np.ones((40, 50), np.uint8))
    path = place.data / "VOCdevkit" / "VOC2012" / "cls" / "t0.mat"
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\x02IM"
    path.write_bytes(head.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(99))
    return command


@read("tags from annotations with polygons in place of boxes", "read: the names of the objects")
def polygons(place: Place) -> Call:
    folder = place.voc().parents[1] / "Annotations"
    folder.mkdir()
    shape = "<name>cat</name><polygon><x1>1</x1><y1>2</y1></polygon>"
    for number in range(4):
        text = f"<annotation><object>{shape}</object></annotation>"
        (folder / f"t{number}.xml").write_text(text)
    target = place.root / "tags.txt"

    def then(_: Result) -> None:
        assert "t0\tcat\n" in target.read_text()

    words = ["data", "tags", "voc", "--from", "xml", "--to", target, "--data-root", place.data]
    return Call(words, then)
