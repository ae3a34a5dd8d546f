"""Image tags: their sources, their files, and splits that need them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from cases import read, refused
from click.testing import Result
from places import Call, Place, cut

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
KEYS = ("t0", "t1", "t2", "t3")


def tags(place: Place, source: str) -> list[object]:
    """`data tags` of the pictures as a tree of Pascal VOC."""
    place.voc()
    where = ["--to", place.root / "out.txt", "--data-root", place.data]
    return ["data", "tags", "voc", "--from", source, *where]


def text(place: Place, content: str | bytes) -> list[object]:
    return tags(place, f"file:{place.write('tags.txt', content)}")


def rows(place: Place, content: object) -> Path:
    """As published: a dict of arrays that `numpy.save` has pickled."""
    path = place.root / "cls_labels.npy"
    np.save(path, content)  # type: ignore[arg-type]
    return path


def row(columns: int = 20) -> np.ndarray:
    return np.eye(1, columns, dtype=np.float32)[0]


def annotate(place: Place, name: str) -> list[object]:
    """An object of class `name` in every image."""
    command = tags(place, "xml")
    folder = place.data / "VOCdevkit" / "VOC2012" / "Annotations"
    folder.mkdir()
    for key in KEYS:
        xml = f"<annotation><object><name>{name}</name>{BOX}</object></annotation>"
        (folder / f"{key}.xml").write_text(xml)
    return command


@refused("tags of another source", "tags 'boxes' cannot be understood", '"xml" or "file:PATH"')
def unknown_source(place: Place) -> list[object]:
    return tags(place, "boxes")


@refused("tag file that is not there", "none.txt: cannot read the tags", "file:PATH")
def no_tag_file(place: Place) -> list[object]:
    return tags(place, "file:none.txt")


@refused("tags of a set without background", "class 0 is 'ground', not 'background'", "another")
def no_background(place: Place) -> list[object]:
    return place.train("data.tags=xml")


@refused("tags from boxes of a set without boxes", "folder has masks alone", "--from masks")
def no_boxes(place: Place) -> list[object]:
    (place.data / "classes.txt").write_text("background\nsky\n")
    return [*place.split("1/2"), "--tags", "xml"]


@refused("VOC without Annotations", "cannot read the boxes", "t0.xml", "unpack the Annotations")
def no_annotations(place: Place) -> list[object]:
    return tags(place, "xml")


@refused("box of a class that VOC does not have", "t0.xml names the class 'hores'", "mean 'horse'?")
def box_of_no_class(place: Place) -> list[object]:
    return annotate(place, "hores")


@refused("tag file that lacks images", "no tags for 3 of the 4 images", "such as 't1'", "add them")
def missing_images(place: Place) -> list[object]:
    return text(place, "t0\tcat\n")


@refused("tag file with spaces between", "for 4 of the 4 images", "with tabs between")
def spaces_for_tabs(place: Place) -> list[object]:
    return text(place, "".join(f"{key} cat\n" for key in KEYS))


@refused("tag file with an unknown class", "tags.txt, line 1: 'kat' is no class", "mean 'cat'?")
def unknown_class(place: Place) -> list[object]:
    return text(place, "t0\tkat\n")


@refused("tag file with an image twice", "tags.txt, line 2: 't0' was named before", "remove one")
def image_twice(place: Place) -> list[object]:
    return text(place, "t0\tcat\nt0\tdog\n")


@refused("tag file of fewer classes", "without 'aeroplane'", "write the tags anew")
def fewer_classes(place: Place) -> list[object]:
    return text(place, "# classes: background\tcat\n" + "".join(f"{key}\n" for key in KEYS))


@refused("tag file that is a picture", "t0.png is neither UTF-8 text nor a .npy", "data tags")
def picture_as_tags(place: Place) -> list[object]:
    return tags(place, f"file:{place.image()}")


@refused("tag file of 17 MB", "tags.txt is refused: it has more than 16 MiB", "data tags")
def giant_tags(place: Place) -> list[object]:
    return text(place, b"\n" * (17 << 20))


class Payload:
    """Makes a folder when a careless reader unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("trap",)


@refused("tag file that calls a function", "cls_labels.npy is refused", "mkdir", "data tags")
def tags_that_run(place: Place) -> Call:
    command = tags(place, f"file:{rows(place, dict.fromkeys(KEYS, Payload()))}")

    def then(_: Result) -> None:
        assert not (place.root / "trap").exists()

    return Call(command, then)


@refused("tag file of numpy cut short", "cls_labels.npy is no tag file", "fetch it again")
def cut_rows(place: Place) -> list[object]:
    return tags(place, f"file:{cut(rows(place, dict.fromkeys(KEYS, row())), 0.8)}")


@refused("tag file of numpy for 80 classes", "row of 't0' is not 20 times 0 or 1", "data tags")
def rows_of_another_set(place: Place) -> list[object]:
    return tags(place, f"file:{rows(place, dict.fromkeys(KEYS, row(80)))}")


@refused("tag file of numpy without a dict", "cls_labels.npy holds no dict of images", "data tags")
def plain_array(place: Place) -> list[object]:
    return tags(place, f"file:{rows(place, np.zeros((4, 20)))}")


@read("tag file of numpy with more images", "read: the tags of those that the set has")
def more_images(place: Place) -> Call:
    path = rows(place, {key: row() for key in (*KEYS, "other")})

    def then(result: Result) -> None:
        assert "images 4\n" in result.stdout
        assert "t3\taeroplane\n" in (place.root / "out.txt").read_text()

    return Call(tags(place, f"file:{path}"), then)


@refused("split of no image without tags", "split 'none' labels no image", "name the tags")
def none_without_tags(place: Place) -> list[object]:
    return place.train("data.split=none")


@refused("who has tags, but no tags", "tagged = '1/2' says who has tags", "name the tags")
def tagged_without_tags(place: Place) -> list[object]:
    return place.train("data.tagged=1/2")


@refused("split list with tags, but no tags", "states that 't1' has tags", "name the tags")
def list_without_tags(place: Place) -> list[object]:
    return place.train(
        f"data.split=file:{place.write('list.txt', 't0 mask' + chr(10) + 't1 tags')}"
    )


def annotated_split(place: Place, spec: str, tagged: str) -> list[object]:
    annotate(place, "cat")
    return [*place.split(spec, "voc"), "--tags", "xml", "--tagged", tagged]


@refused("tags that nobody has", "tagged = 'none' leaves all tags out", "leave out the tags")
def nobody_tagged(place: Place) -> list[object]:
    return annotated_split(place, "1/2", "none")


@refused("two lists of who has tags", "states who has tags, and tagged = '1/2'", "leave tagged out")
def tagged_twice(place: Place) -> list[object]:
    path = place.write("list.txt", "t0 mask\nt1 tags\n")
    return annotated_split(place, f"file:{path}", "1/2")


@refused("tags to a folder that is not there", "out.txt: cannot be written", "another folder")
def tags_to_no_folder(place: Place) -> list[object]:
    command = annotate(place, "cat")
    return [*command, "--to", place.root / "none" / "out.txt"]
