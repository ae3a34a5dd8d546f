"""Lists, classes, splits and folders of data sets."""

from __future__ import annotations

import shutil
from pathlib import Path

from cases import read, refused
from click.testing import Result
from places import Call, Place, cut

from semisup.data.labels.splits import make_split, write_split
from semisup.data.sets.folder import Folder
from semisup.data.sets.voc import Voc


def reads(place: Place, content: bytes, name: str = "train.txt") -> Call:
    """`data verify` of a list with `content`, and that the four ids are what it holds."""
    path = place.data / name
    path.write_bytes(content)

    def then(_: Result) -> None:
        assert Folder(place.data, path.stem).ids == ("t0", "t1", "t2", "t3")

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


@refused("empty list", "train.txt lists no image", "write one id on each line")
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


def classes_are(place: Place, text: str, name: str = "classes.txt") -> Call:
    """`data verify` with a list of classes, and that "ground" and "sky" are what it holds."""
    (place.data / "classes.txt").unlink()
    (place.data / name).write_text(text)

    def then(_: Result) -> None:
        assert Folder(place.data).classes == ("ground", "sky")

    return Call(place.verify(), then)


@read("classes.txt with comments", "read: without them")
def classes_with_comments(place: Place) -> Call:
    return classes_are(place, "# two classes\nground\n# and\nsky\n")


@read("classes.txt of labelme, with __ignore__ on top", "read: __ignore__ takes no number")
def classes_of_labelme(place: Place) -> Call:
    return classes_are(place, "__ignore__\nground\nsky\n")


@read("classes.txt as CSV with a head", "read: the names of the numbers")
def classes_as_csv(place: Place) -> Call:
    return classes_are(place, "Pixel Value, Class\n0, ground\n1, sky\n")


@read("labelmap.txt of CVAT in place of classes.txt", "read: names and colours")
def labelmap(place: Place) -> Call:
    text = "# label:color_rgb:parts:actions\nground:0,0,0::\nsky:48,112,32::\n"
    return classes_are(place, text, "labelmap.txt")


@read("classes.txt with colours in front", "read: names and colours")
def colours_in_front(place: Place) -> Call:
    return classes_are(place, "0 0 0 ground\n64 128 64\tsky\n")


@refused("classes.txt with a head of one word", "classes.txt, line 1: 'name' looks like the head")
def head_of_one_word(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("name\nground\nsky\n")
    return place.verify()


@refused("classes.txt of YAML", "classes.txt, line 1: 'names: [ground, sky]'", "one name a line")
def classes_as_yaml(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("names: [ground, sky]\n")
    return place.verify()


@refused("classes.txt with a colour in a name", "line 2: 'sky #00ffff' is no name", "'cat 64 128")
def colour_in_a_name(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("ground\nsky #00ffff\n")
    return place.verify()


@refused("classes.txt with numbers in most lines", "line 2: 'sky' has no number", "other lines")
def numbers_in_some_lines(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("0 ground\nsky\n2 sea\n")
    return place.verify()


@refused("data folder without classes.txt", "classes.txt is missing in ", "--data-root")
def without_classes(place: Place) -> list[object]:
    (place.data / "classes.txt").unlink()
    return place.verify()


@read("VOC tree with a labelmap.txt", "read: its own classes, not those of VOC")
def voc_with_own_classes(place: Place) -> Call:
    tree = place.voc().parents[1]
    (tree / "labelmap.txt").write_text("ground:0,0,0::\nsky:48,112,32::\n")

    def then(result: Result) -> None:
        assert Voc(place.data).classes == ("ground", "sky")
        assert "aeroplane" not in result.stdout

    return Call(place.verify("voc"), then)


def renamed(place: Place, name: str, line: str) -> Call:
    """`data verify` of image t0 under another name, and that `line` names it."""
    for path in (place.image(), place.mask()):
        path.rename(path.with_name(f"{name}.png"))
    (place.data / "train.txt").write_text(f"{line}\nt1\n", encoding="utf-8")

    def then(_: Result) -> None:
        data = Folder(place.data)
        assert data.ids == (name, "t1")
        assert data.has_mask(0)
        split = make_split(data, "all", 0)
        write_split(place.root / "split.txt", split)
        again = make_split(data, f"file:{place.root / 'split.txt'}", 0)
        assert again.sha256 == split.sha256

    return Call(place.verify(), then)


@read("id with spaces", "read: the image of this name")
def id_with_spaces(place: Place) -> Call:
    return renamed(place, "IMG 001 (1)", "IMG 001 (1)")


@read("id with spaces, as a path", "read: the image of this name")
def path_with_spaces(place: Place) -> Call:
    name = "IMG 001 mask"
    return renamed(place, name, f"images/{name}.png masks/{name}.png")


@read("id that begins with #", "read: the image of this name, no comment")
def id_like_a_comment(place: Place) -> Call:
    return renamed(place, "#5", "#5.png")


@read("id in another Unicode form than the file", "read: the file")
def id_of_another_form(place: Place) -> Call:
    return renamed(place, "cafe\u0301", "caf\u00e9")


@read("id that ends as a kind of label does", "read: the image of this name")
def id_like_a_kind(place: Place) -> Call:
    return renamed(place, "t1 mask", "t1 mask")


@read("list with Windows' paths", "read: the ids of the paths")
def windows_paths(place: Place) -> Call:
    return reads(place, b"images\\t0.png\r\nC:\\x\\images\\t1.png\r\nt2.PNG\r\nt3\r\n")


@read("list as CSV, an image and a mask in each line", "read: the ids of the files")
def list_as_csv(place: Place) -> Call:
    return reads(place, b't0.png,t0.png\n"t1.png","t1.png"\nt2.jpg;t2.png\nt3.png, t3.png\n')


@refused("list as CSV with a head", "train.txt lists 'image,mask'", "add it or drop the line")
def list_with_a_head(place: Place) -> list[object]:
    (place.data / "train.txt").write_text("image,mask\nt0.png,t0.png\n")
    return place.verify()


@read("list with comments", "read: without them")
def list_with_comments(place: Place) -> Call:
    return reads(place, b"# four\nt0\nt1\n#t9\nt2\nt3\n")


@refused(
    "list with a path into another folder", "'/else/video7/t0.bmp', which is in the folder 'video7'"
)
def path_into_another_folder(place: Place) -> list[object]:
    (place.data / "train.txt").write_text("/else/video7/t0.bmp\n")
    return place.verify()


@refused("split list with a path into another folder", "is in the folder 'video7'", "write its id")
def split_into_another_folder(place: Place) -> list[object]:
    return listed(place, "video7/t0\n")


@read("images in sub-folders", "read: the path is a part of the id")
def images_in_folders(place: Place) -> Call:
    for number in range(2):
        for path in (place.image(f"t{number}"), place.mask(f"t{number}")):
            target = path.parent / f"video{number}" / "frame.png"
            target.parent.mkdir()
            path.rename(target)
    (place.data / "train.txt").write_text("video0/frame\nimages/video1/frame.png\n")

    def then(_: Result) -> None:
        assert Folder(place.data).ids == Folder(place.data).masked_ids
        assert Folder(place.data, "all").ids[-2:] == ("video0/frame", "video1/frame")

    return Call(place.verify(), then)


@refused("sub-folder that is not there", "train.txt lists 'video2/t0'", "add it or drop the line")
def folder_of_no_image(place: Place) -> list[object]:
    for path in (place.image(), place.mask()):
        (path.parent / "video0").mkdir()
        path.rename(path.parent / "video0" / "t0.png")
    (place.data / "train.txt").write_text("video2/t0\n")
    return place.verify()


@refused("no list of what is reported on", "no subset 'val'", "write val.txt")
def no_list_of_val(place: Place) -> list[object]:
    (place.data / "val.txt").unlink()
    return place.verify()
