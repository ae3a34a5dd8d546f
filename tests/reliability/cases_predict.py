"""What `semisup predict` is given, and where it is to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from cases import read, refused
from click.testing import Result
from PIL import Image
from places import Call, Place, cut, noise, run_command

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


@refused(
    "empty folder to predict",
    "empty: holds no image (.jpg, .jpeg, .jfif, .png, .tif, .tiff, .bmp, .webp, .npy)",
)
def predict_an_empty_folder(place: Place) -> list[object]:
    (place.root / "empty").mkdir()
    return place.predict(place.root / "empty")


@refused("two images to predict of one name", "would be written over", "two folders")
def predict_two_of_one_name(place: Place) -> list[object]:
    photos(place, "photo.png", "photo.jpg")
    return place.predict(place.root / "photos")


def photos(place: Place, *names: str) -> Path:
    """A folder of pictures: noise, whatever its names say."""
    for name in names:
        path = place.root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(40, 50)).save(path)
    return place.root / "photos"


def maps(place: Place) -> list[str]:
    """The label maps that were written."""
    labels = place.root / "labels"
    return sorted(path.relative_to(labels).as_posix() for path in labels.rglob("*.png"))


@read("images of one name in two folders to predict", "a label map of each, in two folders")
def predict_two_folders(place: Place) -> Call:
    photos(place, "a/photo.png", "b/photo.png")

    def then(_: Result) -> None:
        assert maps(place) == ["a/photo.png", "b/photo.png"]

    return Call(place.predict(place.root / "photos" / "a", place.root / "photos" / "b"), then)


@refused("several bad images among those to predict", "2 of 4 images have no label map", "b.png")
def predict_past_bad_images(place: Place) -> Call:
    folder = photos(place, "a.png", "b.png", "sub/c.jpg", "z.png")
    (folder / "b.png").write_bytes(b"")
    cut(folder / "sub" / "c.jpg")

    def then(result: Result) -> None:
        assert maps(place) == ["a.png", "z.png"]
        bad = [line for line in result.stderr.splitlines() if line.startswith("bad: ")]
        assert len(bad) == 2
        assert str(folder / "sub" / "c.jpg") in bad[1]

    return Call(place.predict(folder), then)


@read("folder of a Mac, a camera and a scanner to predict", "what is no image is counted and named")
def predict_beside_other_files(place: Place) -> Call:
    folder = photos(place, "a.PNG", "deep/b.JPG", "c.gif")
    (folder / "._a.PNG").write_bytes(b"\0\5\26\7")
    (folder / "raw.nef").write_bytes(b"")

    def then(result: Result) -> None:
        assert maps(place) == ["a.png", "deep/b.png"]
        assert "3 others left out: 1 .gif, 1 .nef, 1 hidden." in result.stdout

    return Call(place.predict(folder), then)


@read("photograph of a phone to predict, on its side by its EXIF", "a label map as viewers show it")
def predict_on_its_side(place: Place) -> Call:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(40, 50)).save(place.root / "phone.png", exif=exif)
    Image.fromarray(np.rot90(noise(40, 50), -1)).save(place.root / "viewed.png")

    def then(_: Result) -> None:
        labels = place.root / "labels"
        phone, viewed = (np.array(Image.open(labels / f"{n}.png")) for n in ("phone", "viewed"))
        assert phone.shape == (50, 40)
        assert np.array_equal(phone, viewed)

    return Call(place.predict(place.root / "phone.png", place.root / "viewed.png"), then)


@refused("label maps of another run that would stay", "x.png: is a prediction of another", "Remove")
def predict_over_some_of_another_run(place: Place) -> list[object]:
    place.write("labels/predictions.json", '{"recipe": "other"}\n')
    place.write("labels/x.png", place.mask().read_bytes())
    return [*place.predict(place.image()), "--overwrite"]


@refused("picture that is no prediction, with --overwrite", "t0.png: is there already", "--to")
def predict_overwriting_a_picture(place: Place) -> list[object]:
    place.write("labels/t0.png", place.image().read_bytes())
    return [*place.predict(place.image()), "--overwrite"]


@refused("folder to predict that holds GIF files alone", "holds no image", "but 2 .gif")
def predict_a_folder_of_gifs(place: Place) -> list[object]:
    photos(place, "a.gif", "b.gif")
    return place.predict(place.root / "photos")


@refused("image named like the overlay of another", "a_overlay.png", "two folders")
def predict_what_an_overlay_is_called(place: Place) -> list[object]:
    (place.root / "photos").mkdir()
    for name in ("a", "a_overlay"):
        Image.fromarray(noise(40, 50)).save(place.root / "photos" / f"{name}.png")
    return [*place.predict(place.root / "photos"), "--overlay"]


@refused("image to predict cut short", "v1.png cannot be decoded", "mend or remove the file")
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


@refused("submission of a data set that no server takes", "no server of folder is known", "voc")
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


def labelled_before(place: Place) -> Path:
    """An image that has a label map, and has changed since."""
    picture = photos(place, "a.png") / "a.png"
    assert run_command(place.predict(picture)).exit_code == 0
    Image.fromarray(noise(30, 30)).save(picture)
    return picture


@refused(
    "image changed since it was labelled",
    "labels/a.png: is the label map of another image than",
    "replace it with --overwrite",
)
def predict_a_changed_image(place: Place) -> list[object]:
    return place.predict(labelled_before(place))


@refused(
    "image of the same name in another folder, with --overlay",
    "labels/a.png: is the label map of another image than",
    "another --to",
)
def predict_an_image_of_another_folder(place: Place) -> list[object]:
    picture = labelled_before(place).rename(place.root / "a.png")
    return [*place.predict(picture), "--overlay"]


@read("image changed since it was labelled, with --overwrite", "its label map is made again")
def predict_a_changed_image_again(place: Place) -> Call:
    def then(_: Result) -> None:
        assert place.open(place.root / "labels" / "a.png").size == (30, 30)

    return Call([*place.predict(labelled_before(place)), "--overwrite"], then)


@read("label map cut short by its user", "it is made again")
def predict_over_a_spoiled_label_map(place: Place) -> Call:
    command = place.predict(place.image())
    assert run_command(command).exit_code == 0
    path = place.root / "labels" / "t0.png"
    whole = path.read_bytes()
    path.write_bytes(b"")

    def then(_: Result) -> None:
        assert path.read_bytes() == whole

    return Call(command, then)


@refused("label maps of the same recipe trained on other data", "holds predictions of another run")
def predict_into_the_folder_of_other_data(place: Place) -> list[object]:
    assert run_command(place.predict(place.image())).exit_code == 0
    place.map_masks(lambda labels: 1 - labels)
    others = place.root / "others"
    assert run_command([*place.train()[:-1], others]).exit_code == 0
    return ["predict", "tiny", place.image(), "--to", place.root / "labels", "--out", others]


@refused("--to that is the folder of the images", "photos: is the folder of the images", "--to")
def predict_among_the_images(place: Place) -> list[object]:
    folder = photos(place, "a.jpg")
    return ["predict", place.finished_run(), folder, "--to", folder]


@refused("folder of label maps to predict", "labels: holds predictions", "Name the images")
def predict_label_maps(place: Place) -> list[object]:
    assert run_command(place.predict(place.image())).exit_code == 0
    return ["predict", place.finished_run(), place.root / "labels", "--to", place.root / "more"]


@refused("file in --to named like an overlay", "t0_overlay.png: is there already and no prediction")
def predict_over_an_overlay(place: Place) -> list[object]:
    place.write("labels/t0_overlay.png", b"mine")
    return [*place.predict(place.image()), "--overlay"]


@refused("file in --to named like probabilities, with --overwrite", "t0.npz: is there already")
def predict_over_an_archive(place: Place) -> list[object]:
    place.write("labels/t0.npz", b"mine")
    return [*place.predict(place.image()), "--overwrite"]


@refused("sub-folder named like the label map of an image", "x.png/y.png: would be written over")
def predict_a_folder_named_like_a_label_map(place: Place) -> list[object]:
    return place.predict(photos(place, "x.jpg", "x.png/y.png"))


@read("names with blanks, dots, quotes, line breaks and accents to predict", "a label map of each")
def predict_odd_names(place: Place) -> Call:
    names = ["-v.png", "100%.png", "a b.png", "e\u0301.png", "n\nl.png", "x.y.z.png", "\u00e9.png"]
    folder = photos(place, *names)

    def then(_: Result) -> None:
        assert maps(place) == sorted(names)

    return Call(place.predict(folder), then)


@read("predictions in a sub-folder of the images, twice", "they are left out the second time")
def predict_below_the_images(place: Place) -> Call:
    folder = photos(place, "a.png", "deep/b.png")
    command = ["predict", place.finished_run(), folder, "--to", folder / "out"]
    assert run_command(command).exit_code == 0

    def then(result: Result) -> None:
        assert "0 label maps in" in result.stdout
        assert "2 were there already" in result.stdout
        assert "1 folder left out" in result.stdout

    return Call(command, then)


def voc_run(place: Place) -> list[object]:
    """`predict --submission test` of a finished run on the pictures as a tree of Pascal VOC."""
    (place.voc() / "test.txt").write_text("v0\nv1\n")
    recipe = place.write("voc.toml", place.recipe.read_text().replace('"folder"', '"voc"'))
    assert run_command(["run", recipe, *place.where()]).exit_code == 0
    return [
        "predict",
        "voc",
        "--submission",
        "test",
        "--to",
        place.root / "sent",
        "--out",
        place.runs,
    ]


@refused("submission beside a label map of another list", "v7.png: is a label map of none", "--to")
def submission_beside_others(place: Place) -> list[object]:
    command = voc_run(place)
    name = "sent/results/VOC2012/Segmentation/comp6_test_cls/v7.png"
    place.write(name, place.mask().read_bytes())
    return command


@refused("submission of a list with an image that is not there", "gone.jpg is missing")
def submission_with_a_missing_image(place: Place) -> Call:
    command = voc_run(place)
    lists = place.data / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "test.txt").write_text("v0\ngone\n")

    def then(_: Result) -> None:
        assert not (place.root / "sent").exists()

    return Call(command, then)


@refused("submission with --overlay", "--overlay is for IMAGES, and not for --submission", code=2)
def submission_with_an_overlay(place: Place) -> list[object]:
    return ["predict", place.finished_run(), "--submission", "test", "--overlay"]


@refused("one sample to predict", "eval.samples", "one sample has no variance", "2 or more")
def predict_one_sample(place: Place) -> list[object]:
    return [*place.predict(place.image()), "--samples", 1]


@refused("negative number of samples to predict", "eval.samples", "greater than or equal to 0")
def predict_fewer_than_no_samples(place: Place) -> list[object]:
    return [*place.predict(place.image()), "--samples", -2]


@refused("number of samples that is no number", "'many' is not a valid integer", code=2)
def predict_many_samples(place: Place) -> list[object]:
    return [*place.predict(place.image()), "--samples", "many"]


@refused("samples of a network without dropout", "UNet has no dropout", "'bayesian_segnet'")
def predict_samples_without_dropout(place: Place) -> Call:
    def then(_: Result) -> None:
        assert not (place.root / "labels").exists()

    return Call([*place.predict(place.image()), "--samples", 5], then)


@refused("samples in a recipe whose network has no dropout", "UNet has no dropout", "Set it to 0")
def train_for_samples_without_dropout(place: Place) -> Call:
    def then(result: Result) -> None:
        assert "step 1" not in result.output

    return Call(place.train("eval.samples=5"), then)


@refused("file in --to named like a map of uncertainty", "t0_uncertainty.png: is there already")
def predict_over_a_map(place: Place) -> list[object]:
    place.write("labels/t0_uncertainty.png", b"mine")
    return place.predict(place.image())
