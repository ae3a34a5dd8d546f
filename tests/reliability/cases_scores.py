"""Scores that leave something out, or take long."""

from __future__ import annotations

import json
import warnings

from cases import read
from click.testing import Result
from places import Call, Place


def three_classes(place: Place, rule: str, says: str) -> Call:
    """A run whose third class no mask holds."""
    (place.data / "classes.txt").write_text("ground\nsky\nsea\n")

    def then(result: Result) -> None:
        assert says in result.stdout

    return Call(place.train(f"eval.absent={rule}"), then)


@read("class that is neither in the masks nor predicted", "left out: the mIoU line says so")
def absent_left_out(place: Place) -> Call:
    return three_classes(place, "excluded", " over 2 of 3 classes; 'sea' is absent (")


@read("absent class with eval.absent = zero", "counted as 0: the mIoU line says so")
def absent_as_zero(place: Place) -> Call:
    return three_classes(place, "zero", " over 3 of 3 classes; 'sea' is absent and counts as 0 (")


@read("boundary scores where no mask has a boundary", "a dash, in the table and below it")
def no_boundary(place: Place) -> Call:
    place.map_masks(lambda labels: labels * 0)

    def then(result: Result) -> None:
        assert "boundary F1" in result.stdout.splitlines()[2]
        assert "boundary F1 -, boundary IoU " in result.stdout

    return Call(place.train("eval.boundary=true"), then)


@read("one image to report on", "scored: '1 image' in the protocol line")
def one_image(place: Place) -> Call:
    (place.data / "val.txt").write_text("v0\n")

    def then(result: Result) -> None:
        assert "Protocol: folder val, 1 image (" in result.stdout

    return Call(place.train(), then)


def in_windows(place: Place, *settings: str) -> list[object]:
    changes = [word for text in ("eval.mode=slide", *settings) for word in ("--set", text)]
    return ["evaluate", place.finished_run(), *changes, *place.where()]


@read("windows by the hundred for one image", "scored, with a warning that counts them")
def many_windows(place: Place) -> Call:
    said: list[str] = []
    place.patch.setattr(warnings, "warn", lambda text, **_: said.append(text))

    def then(_: Result) -> None:
        assert len(said) == 1
        assert said[0].startswith("an image of 40x50 takes 551 windows of 22x22")

    return Call(in_windows(place, "eval.window=[22, 22]", "eval.overlap=0.99"), then)


@read("window larger than the image", "the scores of the whole image")
def large_window(place: Place) -> Call:
    def then(_: Result) -> None:
        (path,) = place.finished_run().glob("result-val-*.json")
        own = json.loads((place.finished.run / "result.json").read_text())
        assert json.loads(path.read_text())["confusion"] == own["confusion"]

    return Call(in_windows(place, "eval.window=[400, 300]"), then)
