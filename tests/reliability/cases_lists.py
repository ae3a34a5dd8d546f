"""Lists, classes, splits and folders of data sets."""

from __future__ import annotations

import shutil
from pathlib import Path

from cases import read, refused
from click.testing import Result
from places import Call, Place, cut

from semisup.data.formats.id_lists import read_ids


def reads(place: Place, content: bytes, name: str = "train.txt") -> Call:
    """`data verify` of a list with `content`, and that the four ids are what it holds."""
    path = place.data / name
    path.write_bytes(content)

    def then(_: Result) -> None:
        assert read_ids(path) == ("t0", "t1", "t2", "t3")

    return Call(place.verify(), then)


@read("list with CRLF, a byte order mark and no last newline", "read: the same ids")
def crlf_and_mark(place: Place) -> Call:
    return reads(place, b"\xef\xbb\xbft0\r\nt1\r\n\r\n  t2 \r\nt3")


@read("list of paths, image and mask", "read: the ids that the paths share")
def list_of_paths(place: Place) -> Call:
    return reads(place, b"".join(b"images/t%d.png masks/t%d.png\n" % (n, n) for n in range(4)))


@refused(
    "list line with two ids", "train.txt has the line 'images/t0.png masks/t1.png'", "two images"
)
def two_ids_on_a_line(place: Place) -> list[object]:
    (place.data / "train.txt").write_text("images/t0.png masks/t1.png\n")
    return place.verify()


@refused("list with an id twice", "train.txt lists 't1' 2 times", "remove the repeats")
def duplicate_id(place: Place) -> list[object]:
    (place.data / "train.txt").write_text("t0\nt1\nt1\n")
    return place.verify()


@refused("empty list", "train.txt lists no image", "add the ids")
def empty_list(place: Place) -> list[object]:
    (place.data / "train.txt").write_text("\n\n")
    return place.train()


@refused("list in another encoding", "train.txt is no UTF-8 text", "save it as UTF-8")
def list_in_latin_1(place: Place) -> list[object]:
    (place.data / "train.txt").write_bytes("t0\nstra\u00dfe\n".encode("latin-1"))
    return place.verify()


@refused(
    "folder where a list is expected",
    "cannot read the list",
    "train.txt (Is a directory)",
    "text file",
)
def folder_as_list(place: Place) -> list[object]:
    (place.data / "train.txt").unlink()
    (place.data / "train.txt").mkdir()
    return place.verify()


@refused("list with an image that is not there", "train.txt lists 't9'", "add it or drop the line")
def unknown_id(place: Place) -> list[object]:
    (place.data / "train.txt").write_text("t0\nt9\n")
    return place.verify()


@refused("list with a zero byte", "train.txt has the line 't\\x001'", "correct it")
def zero_byte_in_a_list(place: Place) -> list[object]:
    (place.data / "train.txt").write_bytes(b"t0\nt\x001\n")
    return place.verify()


@refused("id in both train and val", "'t1' is in both train and val", "drop it from one")
def id_in_both(place: Place) -> list[object]:
    (place.data / "val.txt").write_text("v0\nt1\n")
    return place.verify()


@refused("id in both train and val, met by run", "'t1' is in both train and val", "eval.subset")
def id_in_both_met_by_run(place: Place) -> list[object]:
    (place.data / "val.txt").write_text("v0\nt1\n")
    return place.train()


@refused("subset that is not there", "no subset 'vall'", "Did you mean 'val'?")
def unknown_subset(place: Place) -> list[object]:
    return ["evaluate", place.finished_run(), "--subset", "vall", *place.where()]


@refused("data folder that is not there", "the data folder is not there", "--data-root")
def no_data(place: Place) -> list[object]:
    return ["run", place.recipe, "--data-root", place.root / "none", "--out", place.runs]


@refused("data root with a name of 300 letters", "the data folder is not there", "--data-root")
def root_with_a_long_name(place: Place) -> list[object]:
    return ["run", place.recipe, "--data-root", "a" * 300, "--out", place.runs]


@refused("file where the folder of images should be", "images cannot be listed", "readable folder")
def file_as_folder_of_images(place: Place) -> list[object]:
    shutil.rmtree(place.data / "images")
    (place.data / "images").write_text("")
    return place.verify()


@refused("data root that is a file", "tiny.toml' is a file", code=2)
def root_is_a_file(place: Place) -> list[object]:
    return ["run", place.recipe, "--data-root", place.recipe]


@refused("classes.txt that is empty", "classes.txt names 0 classes", "1 to 255")
def no_classes(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("\n")
    return place.verify()


@refused("classes.txt with a name twice", "classes.txt names the class 'sky' twice", "position")
def class_twice(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("sky\nsky\n")
    return place.verify()


@refused("classes.txt with a colour above 255", "classes.txt has the colour 0 0 300", "0..255")
def impossible_colour(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("ground\nsky 0 0 300\n")
    return place.verify()


@refused("VOC that is not there", "Pascal VOC 2012 is not there", "VOCtrainval_11-May-2012.tar")
def no_voc(place: Place) -> list[object]:
    return place.verify("voc")


@refused("VOC list with an image that is not there", "JPEGImages/t9.jpg is missing", "the list")
def voc_without_an_image(place: Place) -> list[object]:
    (place.voc() / "train.txt").write_text("t9\n")
    return place.verify("voc")


@refused(
    "VOC list with an id of 300 letters", "train.txt has the line", "names no file; correct it"
)
def voc_with_a_long_id(place: Place) -> list[object]:
    (place.voc() / "train.txt").write_text("a" * 300 + "\n")
    return place.verify("voc")


@refused("VOC list with a zero byte", "train.txt has the line 't\\x001'", "correct it")
def voc_with_a_zero_byte(place: Place) -> list[object]:
    (place.voc() / "train.txt").write_bytes(b"t\x001\n")
    return place.verify("voc")


@refused("SBD mask cut short", "cls/t0.mat is no readable .mat file", "fetch SBD again")
def truncated_sbd_mask(place: Place) -> list[object]:
    from scipy.io import savemat

    tree = place.voc().parents[1]
    (tree / "SegmentationClass" / "t0.png").unlink()
    (tree / "cls").mkdir()
    savemat(tree / "cls" / "t0.mat", {"GTcls": {"Segmentation": [[0, 1]]}})
    cut(tree / "cls" / "t0.mat", 0.7)
    return place.verify("voc")


def camvid(place: Place, line: str) -> list[object]:
    """CamVid in SegNet's layout whose train.txt is one line."""
    folder = place.data / "CamVid"
    for part in ("train", "val", "test"):
        for name, source in ((part, "images"), (f"{part}annot", "masks")):
            (folder / name).mkdir(parents=True)
            shutil.copy(place.data / source / "t0.png", folder / name / "t0.png")
        (folder / f"{part}.txt").write_text(f"{part}/t0.png {part}annot/t0.png\n")
    (folder / "train.txt").write_text(line)
    return place.verify("camvid")


@refused("CamVid line without its label", "train.txt has the line 'train/t0.png'", "folder/label")
def camvid_line(place: Place) -> list[object]:
    return camvid(place, "train/t0.png\n")


@refused("share above 1", "split '9/8' is no share above 0 and up to 1", 'such as "1/8"')
def share_above_one(place: Place) -> list[object]:
    return place.train("data.split=9/8")


@refused("share of nothing", "split '1/0' cannot be understood", 'such as "1/8"')
def share_over_zero(place: Place) -> list[object]:
    return place.split("1/0")


@refused("share with an exponent of a billion", "split '1e-999999999' cannot", 'such as "1/8"')
def endless_share(place: Place) -> list[object]:
    return place.split("1e-999999999")


@refused("no image of a class", "split '0-per-class-s0' labels no image", "5/class")
def none_a_class(place: Place) -> list[object]:
    return place.split("0/class")


@read("more images of a class than there are", "all that there are")
def many_a_class(place: Place) -> Call:
    def then(result: Result) -> None:
        assert "labelled   4\n" in result.stdout

    return Call(place.split("999999999999/class"), then)


@refused("split list that is not there", "none.txt: cannot read the split list", "file:PATH")
def no_split_list(place: Place) -> list[object]:
    return place.train("data.split=file:none.txt")


def listed(place: Place, content: str | bytes) -> list[object]:
    path: Path = place.write("list.txt", content)
    return place.train(f"data.split=file:{path}")


@refused("empty split list", "list.txt: labels no image", "one image id a line")
def empty_split_list(place: Place) -> list[object]:
    return listed(place, "# nobody\n")


@refused("split list with an unknown id", "list.txt, line 2: 't11'", "did you mean 't1'?")
def unknown_id_in_a_split(place: Place) -> list[object]:
    return listed(place, "t0\nt11\n")


@refused("split list with an id twice", "list.txt, line 3: 't0' was named on line 1", "remove one")
def id_twice_in_a_split(place: Place) -> list[object]:
    return listed(place, "t0\nt1\nimages/t0.png\n")


@refused("split list that is a picture", "list.txt is no UTF-8 text", "save it as UTF-8")
def picture_as_split(place: Place) -> list[object]:
    return listed(place, place.image().read_bytes())


@refused("split that leaves no unlabelled image", "data.split = 'all' leaves no", "smaller share")
def nothing_unlabelled(place: Place) -> list[object]:
    return place.train("data.split=all", "method.name=adversarial", "optim.discriminator.lr=0.001")


@refused("more images held out than are labelled", "cannot hold out 2 of the 2", "from 0 to 1")
def too_many_held_out(place: Place) -> list[object]:
    return place.train("eval.hold_out=2", "eval.every=1")


@refused("held-out images that choose nothing", "eval.hold_out = 1", "Set eval.every")
def held_out_for_nothing(place: Place) -> list[object]:
    return place.train("eval.hold_out=1")
