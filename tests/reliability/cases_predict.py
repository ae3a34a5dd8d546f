"""What `semisup predict` is given, and where it is to write."""

from __future__ import annotations

import numpy as np
import torch
from cases import read, refused
from click.testing import Result
from PIL import Image
from places import Call, Place, cut, noise

from semisup.evaluation.inference import Inference


def without_memory(place: Place) -> None:
    """From now on a prediction takes more memory than there is."""
    place.patch.setattr(Inference, "_forward", lambda self, image: torch.empty(1 << 50))


@refused("image too large for the memory", "out of memory", 'eval.mode = "slide"')
def predict_without_memory(place: Place) -> list[object]:
    without_memory(place)
    return place.predict(place.image())


@refused("reported image too large for the memory", "out of memory", 'eval.mode = "slide"')
def evaluate_without_memory(place: Place) -> list[object]:
    without_memory(place)
    return ["evaluate", place.finished_run(), *place.where()]


@refused("text file to predict", "notes.txt is no JPEG, PNG, TIFF, BMP or WebP file", "convert it")
def predict_a_text(place: Place) -> list[object]:
    return place.predict(place.write("notes.txt", "buy milk\n"))


@refused("image name of 300 letters", "aaa: there is no such file or folder", "Check the path")
def predict_a_long_name(place: Place) -> list[object]:
    return place.predict("a" * 300)


@refused("image to predict that is not there", "none.png: there is no such file", "Check the path")
def predict_nothing(place: Place) -> list[object]:
    return place.predict(place.root / "none.png")


@refused("empty folder to predict", "empty: holds no image (.jpg, .jpeg, .png)")
def predict_an_empty_folder(place: Place) -> list[object]:
    (place.root / "empty").mkdir()
    return place.predict(place.root / "empty")


@refused("two images to predict of one name", "would be written over", "two folders")
def predict_two_of_one_name(place: Place) -> list[object]:
    for folder in ("a", "b"):
        (place.root / folder).mkdir()
        Image.fromarray(noise(40, 50)).save(place.root / folder / "photo.png")
    return place.predict(place.root / "a", place.root / "b")


@refused("image named like the overlay of another", "a_overlay.png", "two folders")
def predict_what_an_overlay_is_called(place: Place) -> list[object]:
    (place.root / "photos").mkdir()
    for name in ("a", "a_overlay"):
        Image.fromarray(noise(40, 50)).save(place.root / "photos" / f"{name}.png")
    return [*place.predict(place.root / "photos"), "--overlay"]


@refused("image to predict cut short", "v1.png cannot be decoded", "fetch it again")
def predict_a_truncated_image(place: Place) -> Call:
    cut(place.image("v1"))

    def then(_: Result) -> None:
        assert (place.root / "labels" / "v0.png").is_file()

    return Call(place.predict(place.image("v0"), place.image("v1")), then)


@refused("broken link to predict", "gone.png is missing")
def predict_a_broken_link(place: Place) -> list[object]:
    (place.root / "photos").mkdir()
    (place.root / "photos" / "gone.png").symlink_to(place.root / "nowhere.png")
    return place.predict(place.root / "photos")


@read("image of 1 x 1 pixel to predict", "a label map of 1 x 1")
def predict_one_pixel(place: Place) -> Call:
    Image.fromarray(noise(1, 1)).save(place.root / "dot.png")

    def then(_: Result) -> None:
        labels = np.array(Image.open(place.root / "labels" / "dot.png"))
        assert labels.shape == (1, 1)
        assert labels.max() <= 1

    return Call(place.predict(place.root / "dot.png"), then)


@refused("label maps of another run in --to", "labels: holds predictions of another run", "--to")
def predict_into_another_runs_folder(place: Place) -> list[object]:
    place.write("labels/predictions.json", '{"recipe": "other"}\n')
    return place.predict(place.image())


@refused("predictions.json that is no text", "labels: holds predictions of another run", "--to")
def predict_beside_a_spoiled_note(place: Place) -> list[object]:
    place.write("labels/predictions.json", b"\xff\xfe\x00")
    return place.predict(place.image())


@refused("folder named predictions.json", "predictions.json: cannot be written", "another")
def predict_beside_a_folder(place: Place) -> list[object]:
    (place.root / "labels" / "predictions.json").mkdir(parents=True)
    return place.predict(place.image())


@refused("picture in --to that is no prediction", "t0.png: is there already", "another --to")
def predict_over_a_picture(place: Place) -> list[object]:
    place.write("labels/t0.png", place.image().read_bytes())
    return place.predict(place.image())


@refused("images over their own folder", "t0.png: is there already and no prediction", "--to")
def predict_over_the_images(place: Place) -> list[object]:
    return ["predict", place.finished_run(), place.image(), "--to", place.image().parent]


@refused("submission of a data set that is not VOC", "all 21 classes of voc", "Train without")
def submission_of_a_folder(place: Place) -> list[object]:
    return [
        "predict", place.finished_run(), "--submission", "val", "--to", place.root / "labels",
        "--data-root", place.data,
    ]  # fmt: skip


@refused("file for --to", "is a file", code=2)
def predict_to_a_file(place: Place) -> list[object]:
    return ["predict", place.finished_run(), place.image(), "--to", place.recipe]


@refused("window of the protocol of no size", "'eval.window.", "= 0 (int)", "greater than 0")
def predict_with_no_window(place: Place) -> list[object]:
    return [*place.predict(place.image()), "--set", "eval.window=[0, 0]"]
