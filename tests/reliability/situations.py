"""What users of other projects met, by kind; what happens now, and what shows it.

The numbers are those of the lists in which the situations were gathered: "data" of what data sets
did, "run" of training, evaluation and prediction, "fault" and "message" of what was found on the
way, "newcomer" and "first steps" of people who began with this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

NOT_YET = "not yet: "
"""How `now` begins where nothing is done so far, and nothing shows it."""


@dataclass(frozen=True)
class Situation:
    """What somebody met.

    Attributes:
        numbers: such as "data 6"; several where lists meet.
        words: what it is.
        now: what is said or done.
        shown: titles of cases, or tests as "tests/...py::name".
    """

    numbers: tuple[str, ...]
    words: str
    now: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """Situations of one kind.

    Attributes:
        name: of the kind.
        met: by users of other projects.
        further: titles of cases, or tests, of the same kind that nobody reported.
    """

    name: str
    met: tuple[Situation, ...]
    further: tuple[str, ...]


def met(numbers: str, words: str, now: str, *shown: str) -> Situation:
    return Situation(tuple(numbers.split(", ")), words, now, shown)


def listed() -> Iterator[str]:
    """All numbers that must have a row."""
    for name, last in LISTS.items():
        yield from (f"{name} {number}" for number in range(1, last + 1))
    yield from (f"fault {letter}" for letter in "ABCDEFGHI")


LISTS = {"data": 42, "run": 24, "message": 16, "newcomer": 3, "first steps": 6}
"""Of each list, the number of its last situation; `fault` is counted in letters."""

MASKS = "tests/reliability/test_what_masks_say.py::test_what_is_said"
IN_MEMORY = "tests/evaluation/test_in_memory.py::"
API = "tests/test_api.py::"
RUNS = "tests/runs/test_run.py::"
CHANNELS = "tests/runs/test_images.py::"
SUMMARY = "tests/studies/test_summarise.py::"

KINDS = (
    Kind(
        "a run knows its data",
        (
            met(
                "data 1, run 5, fault D",
                "one recipe, one folder of runs, and the data of another project: the first run is "
                "finished, or stopped half way",
                "refused: names what differs, and where the run's own data lay",
                "finished run met with the data of other classes",
                "classes.txt put into another order while a run is stopped",
                "data moved while a run is stopped",
            ),
            met(
                "data 2, run 1, fault A",
                "a finished run is scored on a set of fewer, more, other or swapped classes",
                "mapped by name, which is said; refused where the names are others",
                "evaluate on a set of fewer classes",
                "evaluate on a set of more classes",
                "evaluate on a set whose classes stand in another order",
                "evaluate on a set of other classes",
            ),
            met(
                "data 3",
                "names swapped in, or added to, the list of classes of a trained run",
                "refused: both lists are named",
                "names swapped in the list of classes of a run, then evaluate",
                "a name added to the list of classes of a run, then evaluate",
                "classes.txt put into another order while a run is stopped",
            ),
            met(
                "data 4, first steps 5",
                "masks mended after a training, then the same command",
                "refused: how many files have changed, and the first",
                "masks mended after a run has finished",
            ),
            met(
                "data 5",
                "a line dropped from a list while a run is stopped",
                "refused: both counts, and the first image that differs",
                "line dropped from train.txt while a run is stopped",
            ),
            met(
                "run 2",
                "scores of several test sets of equal ids overwrite one another",
                "a result file for each set, which names where its data lay",
                "evaluate on two other sets of equal ids",
            ),
            met(
                "message 8",
                "evaluate does not know where the data of the run lay",
                "they are found where the run had them",
                "evaluate without a data root",
            ),
            met(
                "message 9",
                "evaluate shows the pictures of the first scoring",
                "it names no picture that is not of this scoring",
                "evaluate without a data root",
            ),
        ),
        (
            "a list of a run shortened, then evaluate",
            "data of a finished run gone",
            "evaluate without a data root, where the data of the run are gone",
            "evaluate where one class has another name",
            "evaluate on a kind of data set that is none",
        ),
    ),
    Kind(
        "masks are believed on evidence",
        (
            met(
                "data 6",
                "a lossless optimiser makes palettes of grey masks and sorts them",
                "read by the greys; the same in colours is refused where palettes disagree",
                "grey mask that an optimiser has indexed",
                "grey mask of two values that was indexed from white",
                "palettes that disagree",
            ),
            met(
                "data 7",
                "colour masks made indexed one by one, so that numbers swap from file to file",
                "refused: the colours contradict classes.txt or one another",
                "palette that contradicts classes.txt",
                "palettes that disagree",
                MASKS,
            ),
            met(
                "data 8",
                "numbers given anew in each image, in the order of its objects",
                "**not told** as such: one file is as good as another. A class without a pixel is",
                "objects numbered anew in each mask, by the order of their names there",
            ),
            met(
                "data 9, run 3, fault B, newcomer 1",
                "binary masks of 0 and 255, which ended in an mIoU of 1.0000",
                "refused, with the option that maps 255 to a class",
                "masks of 0 and 255",
                "masks of 0 and 255, trained on",
                "masks of 0 and 255 in the reported set alone",
                "evaluate on a set with masks of 0 and 255",
                "masks of 0 and 255 with their values",
            ),
            met(
                "data 10",
                "a list of one class",
                "refused: an mIoU of 1.0000 is no result",
                "one class in the list",
            ),
            met(
                "data 11",
                "0 is 'other', and the names are those of 1, 2, ...",
                "refused where the last number is there; void = 0 reads such masks. **Not told** "
                "where no mask holds the last number, but for the classes without a pixel",
                "0 for other things, and names from 1 on",
                "masks in which 0 is void",
                "0 for other things, names from 1 on, and the last number in no mask",
            ),
            met(
                "data 31",
                "masks resized smoothly: a seam of a class between around each object",
                "warned of from three masks and three classes on, by the seams; of two classes "
                "**not told**",
                MASKS,
            ),
            met(
                "data 32, run 8",
                "masks of nothing but void: one, or all",
                "one adds nothing to the loss; all are refused before training",
                "nothing but void in one training mask",
                "nothing but void in the training masks, before a run",
                "nothing but void in the reported set, met before a training",
            ),
            met(
                "data 37",
                "a mask of zeros that an optimiser has made 1-bit",
                "read",
                "mask of zeros that an optimiser has made 1-bit",
            ),
            met(
                "data 40",
                "one photograph in train and val under two names",
                "refused by verify, where the bytes are equal",
                "one picture in train and val under two names",
            ),
            met(
                "data 41",
                "masks without an image, images in no list",
                "verify counts and names them",
                "files that nothing uses",
            ),
            met(
                "run 9, fault G",
                "held-out images without a valid pixel end a run in its middle, again and again",
                "refused before training, by name",
                "held-out images that are void",
            ),
        ),
        (
            "masks of 0 and 255 with three classes",
            "list one off, with background not first",
            "masks of 0 and 127",
            "indexed grey mask with a grey that is no class",
            "the only good masks held out",
            "one of two held-out images void",
            "palettes that disagree, trained on",
            "nothing but void in the reported set",
            "evaluate on a set whose palettes disagree",
        ),
    ),
    Kind(
        "photographs with an EXIF orientation",
        (
            met(
                "data 15",
                "stored on its side, the mask drawn upright",
                "read upright, as the size of the mask proves",
                "JPEG that lies on its side, its mask drawn upright",
            ),
            met(
                "data 16",
                "square, upside down or mirrored, so that sizes cannot tell; also as PNG",
                "refused by name until an option decides",
                "square PNG on its side by its EXIF",
                "JPEG upside down by its EXIF",
                "JPEG upside down, exif = apply",
            ),
            met(
                "data 17",
                "a photograph of a phone, predicted lying on its side",
                "the label map is as a viewer shows the photograph",
                "photograph of a phone to predict, on its side by its EXIF",
            ),
        ),
        (
            "JPEG mirrored and on its side, its mask drawn upright",
            "mirrored JPEG, met while training",
            "EXIF applied against the size of a mask",
            "JPEG with an EXIF orientation",
        ),
    ),
    Kind(
        "lists of classes",
        (
            met(
                "data 12",
                "labelme's list, which begins with `__ignore__`",
                "read: `__ignore__` takes no number",
                "classes.txt of labelme, with __ignore__ on top",
            ),
            met(
                "data 13",
                "CVAT's labelmap.txt, with a comment on top",
                "read: names and colours",
                "labelmap.txt of CVAT in place of classes.txt",
            ),
            met(
                "data 14",
                "CSV with a head, colours in front, colours behind colons",
                "read: names, numbers and colours",
                "classes.txt as CSV with a head",
                "classes.txt with colours in front",
                "labelmap.txt of CVAT in place of classes.txt",
            ),
        ),
        (
            "classes.txt with a head of one word",
            "classes.txt of YAML",
            "classes.txt with a colour in a name",
            "classes.txt with numbers in most lines",
        ),
    ),
    Kind(
        "one's own classes in the layout of a public set",
        (
            met(
                "data 19",
                "VOC's layout with a list of its own, taken for aeroplanes",
                "read: the classes of its own list",
                "VOC tree with a labelmap.txt",
            ),
            met(
                "data 20",
                "CamVid's layout as an exporter writes it, with one part alone",
                "refused: what is missing of this layout is named",
                "CamVid with its train part alone",
            ),
        ),
        (
            "VOC tree with a class_names.txt",
            "VOC tree whose own list lacks a class of its masks",
            "VOC tree whose own list is no list",
            "CamVid's layout with classes of one's own",
        ),
    ),
    Kind(
        "files as other programs write them",
        (
            met(
                "data 18, first steps 4",
                "colour masks, and a list of classes with the very colours",
                "read: the labels of the colours",
                "colour mask in the colours of classes.txt",
                "masks of 0 and 255 with their values",
            ),
            met(
                "data 28, message 3",
                "TIFF, BMP, WebP and .jfif beside JPEG",
                "read; what is not read is counted and named",
                "TIFF image",
                "BMP image",
                "WebP image",
                "whole folder with pictures of formats that are not read",
                "folder of a Mac, a camera and a scanner to predict",
            ),
            met(
                "data 29, message 2",
                "a folder for each video, with frames of equal names",
                "read: the path is a part of the id",
                "images in sub-folders",
                "sub-folder that is not there",
            ),
            met(
                "data 30",
                "masks named x_mask.png, x.jpg.png, x.PNG, or with the words of a tool",
                "read, some with mask_suffix; else refused, with the file that is near",
                "masks named x.PNG and x.png.png",
                "masks with a suffix, which mask_suffix states",
                "no image with a mask",
                "masks with a number and a word in front",
            ),
            met(
                "data 33",
                "annotations with polygons and no boxes",
                "read: tags need the names alone",
                "tags from annotations with polygons in place of boxes",
            ),
            met(
                "data 34",
                "two pictures in one JPEG (MPO)",
                "read: the first",
                "photograph with a second picture in the file (MPO)",
            ),
            met(
                "data 35",
                "CMYK, colour profiles, progressive, 1-bit, grey, palette, opaque RGBA, animated",
                "read: their colours",
                "CMYK JPEG",
                "grey JPEG",
                "palette PNG as an image",
                "progressive JPEG with a colour profile",
                "images as 1-bit, opaque RGBA and animated PNG",
            ),
            met(
                "data 36, first steps 6",
                "another format under the name of a JPEG; cut, empty, of 16 bits, transparent; a "
                "mask one column too wide",
                "refused: convert, mend or remove; nobody is told to fetch what is their own",
                "AVIF saved as .jpg",
                "web page saved as .jpg",
                "JPEG cut short",
                "image of no bytes",
                "transparent pixels",
                "16-bit mask",
                "JPEG mask named .png",
                "mask one column wider than its image",
            ),
            met(
                "data 38",
                "SBD's masks: packed, as doubles, of instances, of MATLAB 7.3",
                "read where it is packed; the others are refused by name",
                "SBD mask in a packed file",
                "SBD mask of doubles",
                "SBD's file of instances",
                "SBD mask as MATLAB 7.3 saves it",
            ),
            met(
                "data 39",
                "a set behind a link, with blanks, quotes and dots in its path",
                "read",
                "data set behind a link, with blanks and quotes in its path",
            ),
            met(
                "data 42, first steps 3",
                "one of images, masks and classes.txt is missing, Images for images, no val.txt",
                "refused: which one, and what is there instead",
                "data folder without classes.txt",
                "data folder without images",
                "data folder whose images lie in Images",
                "no list of what is reported on",
            ),
        ),
        (
            "WebP saved as .jpg",
            "colour mask with a colour of no class",
            "two masks of one image",
            "TIFF image of two pages",
            "value that is not mapped",
        ),
    ),
    Kind(
        "images that have no mask",
        (
            met(
                "run 10, fault I, first steps 2",
                "most images are unlabelled and have no mask",
                "counted as unlabelled by verify, split, show and run",
                "images without a mask",
                "mask of an unlabelled image that is not there",
            ),
            met(
                "first steps 1",
                "no recipe of one's own at hand",
                "a shipped one trains on the folder",
                "shipped recipe on a folder in which half of the images have a mask",
            ),
        ),
        (
            "reported mask that is not there",
            "no image with a mask, and no file that may be one",
            "split list with an image without a mask",
        ),
    ),
    Kind(
        "lists and ids",
        (
            met(
                "data 21, run 19, message 1",
                "names with blanks, as cameras and people give them",
                "read",
                "id with spaces",
                "id with spaces, as a path",
            ),
            met(
                "data 22",
                "names that begin with #; a written list did not read back",
                "read; every written list reads back to the same split",
                "id that begins with #",
            ),
            met(
                "data 23",
                "a name in one Unicode form on the disk and in another in the list",
                "read",
                "id in another Unicode form than the file",
            ),
            met(
                "data 24",
                "endings, two columns, Windows' paths, comments, quotes, CSV",
                "read",
                "list of paths, image and mask",
                "list with Windows' paths",
                "list as CSV, an image and a mask in each line",
                "list with comments",
                "list with CRLF, a byte order mark and no last newline",
            ),
            met(
                "data 25",
                "a list with paths into another folder, where an image of the same name lies",
                "refused. **Not told** where the folder has a usual name, such as images, nor in "
                "the lists of VOC and SBD, whose paths are those of their makers",
                "list with a path into another folder",
                "split list with a path into another folder",
            ),
        ),
        (
            "id that ends as a kind of label does",
            "list line with two ids",
            "list as CSV with a head",
            "split list with an id twice",
            "list in another encoding",
        ),
    ),
    Kind(
        "predict",
        (
            met(
                "data 26",
                "hidden files of a Mac among the pictures",
                "left out, and counted",
                "folder of a Mac, a camera and a scanner to predict",
            ),
            met(
                "data 27, run 18, fault H",
                "one bad picture among many ends the work; others are skipped without a word",
                "all others are labelled; the bad ones are named at the end, with exit code 1",
                "several bad images among those to predict",
                "folder of a Mac, a camera and a scanner to predict",
            ),
            met(
                "message 15",
                "pictures of one name in two folders",
                "a label map of each, in two folders",
                "images of one name in two folders to predict",
            ),
        ),
        (
            "image named like the overlay of another",
            "broken link to predict",
            "folder to predict that holds GIF files alone",
            "label maps of another run that would stay",
        ),
    ),
    Kind(
        "pictures in memory",
        (
            met(
                "newcomer 3",
                "floats in [0, 1] give wrong labels; a single picture needs a batch around it",
                "floats are refused; single pictures, batches, NumPy and Pillow are taken",
                f"{IN_MEMORY}test_all_else_is_refused_in_one_line",
                f"{IN_MEMORY}test_every_form_gives_the_same_labels",
                f"{API}test_what_is_no_image_is_refused_in_one_line",
            ),
        ),
        (
            f"{IN_MEMORY}test_a_file_of_16_bits_is_not_cut_to_8",
            f"{IN_MEMORY}test_a_picture_is_turned_as_a_viewer_shows_it",
            f"{IN_MEMORY}test_pictures_of_other_colours_are_read_as_files_are",
        ),
    ),
    Kind(
        "channels",
        (
            met(
                "run 4, fault C",
                "grey or multispectral images, and model.in_channels",
                "trained on, resumed and predicted with the channels and bits of the files; "
                "another stated number is refused",
                "TIFF images of four channels and 16 bits",
                "grey images alone",
                "in_channels = 4 for RGB images",
                f"{CHANNELS}test_a_run_from_files_to_predictions",
                f"{CHANNELS}test_channels_that_do_not_fit_are_one_line",
            ),
        ),
        (
            "one image of other channels",
            "one 8-bit image among those of 16 bits",
            "array of floats as an image",
            "run on RGB, scored on four channels",
        ),
    ),
    Kind(
        "threads and processes",
        (
            met(
                "run 6, fault E",
                "a run from a thread, as notebooks and job servers start it",
                "trains, to the same bits",
                f"{API}test_another_thread_trains_to_the_same_bits",
            ),
            met(
                "run 7, fault F",
                "a script without a main guard, where processes start by spawn",
                "refused: the line names the guard, and says that the worker ended by itself",
                "tests/training/test_spawned_workers.py::test_without_a_guard_the_line_names_it",
                "tests/training/test_spawned_workers.py::test_with_a_guard_it_trains",
            ),
            met(
                "run 15",
                "several processes count an image twice",
                "each is scored once",
                "tests/training/test_several_processes.py::"
                "test_every_image_is_scored_once_and_the_scores_are_equal",
            ),
        ),
        (
            f"{API}test_signals_are_left_alone_outside_the_main_thread",
            f"{API}test_a_run_from_a_coroutine_leaves_the_loop_its_signals",
            "worker killed by the system",
            "run that another process works on",
        ),
    ),
    Kind(
        "sizes and batches",
        (
            met(
                "run 11",
                "odd sizes, images smaller than crop or window, thin images",
                "trained on and scored",
                "crops of odd sizes, larger than the images",
                "images that are long and thin",
                "window larger than the image",
            ),
            met(
                "run 12",
                "fewer images than a batch holds; no unlabelled image",
                "trained on: they come again in a batch; refused where a method reads unlabelled "
                "images and there are none",
                "one labelled and one other image in batches of 8",
                "split that leaves no unlabelled image",
            ),
            met(
                "run 24",
                "batch norm and one image a batch",
                "trained on, where a channel has more than one value",
                "batch norm with one image a batch",
                "tests/models/test_deeplab_v3plus.py::test_learns_from_one_image_of_the_smallest_size",
            ),
        ),
        (
            "batch norm with one value a channel",
            "image of 1 x 1 pixel",
            "batch larger than the labelled images",
            "whole images in batches",
        ),
    ),
    Kind(
        "classes that count more, or not at all",
        (
            met(
                "run 14",
                "classes that are absent, and void, in the mIoU",
                "left out or 0, as eval.absent says; the line says over how many classes it is",
                "class that is neither in the masks nor predicted",
                "absent class with eval.absent = zero",
            ),
            met(
                "run 16, message 4",
                "rare classes: weights of the classes in the loss",
                "train.class_weights: median frequency, ENet's, or a list",
                f"{RUNS}test_class_weights_are_counted_on_the_masks_that_are_trained_on",
            ),
            met(
                "run 17, message 5",
                "the background left out of the score; 0 for what is unlabelled",
                "ignore_classes leaves classes out of loss and score by name, void = 0 the value 0",
                "ignored class",
                "masks in which 0 is void",
            ),
            met(
                "message 10",
                "a class that counts 0 in the mean is a dash in the table",
                "the mIoU line says that it counts as 0",
                "absent class with eval.absent = zero",
            ),
        ),
        (
            "class that no mask has",
            f"{RUNS}test_a_run_with_class_weights_of_1_is_a_run_without",
            f"{RUNS}test_weights_for_other_classes_are_refused",
            f"{RUNS}test_a_method_without_a_loss_over_the_classes_refuses_weights",
            "void = 0 beside a background",
        ),
    ),
    Kind(
        "weights to start from",
        (
            met(
                "run 13",
                "fine-tuning with another number of classes",
                "all but the classifier is taken, which is said",
                "weights for another number of classes",
            ),
            met(
                "message 7",
                "a file of another width, of which one bias fits",
                "refused: next to nothing fits",
                "weights of a wider network",
                "weights of which the bias of the classifier alone fits",
            ),
        ),
        (
            "weights of a network with a few layers in common",
            "run folder as weights",
            "weights of other shapes",
        ),
    ),
    Kind(
        "steps of a run",
        (
            met(
                "run 20, message 6",
                "train longer; score, or predict from, a checkpoint of the middle or a stopped run",
                "--step takes any that is kept; more steps are another run, which is said",
                "more train.steps than a finished run had",
                "stopped run scored with a step",
                "stopped run predicted from with a step",
                "checkpoint of ours as weights",
            ),
            met(
                "run 21",
                "the poly schedule is wrong at its end",
                "(1 - t) ** 0.9 at each step, and no step at a rate of 0",
                "tests/training/test_updates.py::test_poly_falls_as_a_power_of_what_is_left",
                "tests/training/test_updates.py::test_no_step_is_lost_to_a_rate_of_zero",
            ),
            met(
                "run 22",
                "event files that grow",
                "less than 1 MB of a short run",
                "event file of a run",
            ),
            met(
                "run 23",
                "NaN between two log points",
                "refused: found at the next checkpoint or the end; no result is written",
                "weights that are NaN between two log points",
                "loss that becomes NaN",
            ),
        ),
        (
            "step that is not kept",
            "kept step cut short",
            "stopped run predicted from without a step",
            "loss that becomes infinite",
        ),
    ),
    Kind(
        "what is printed",
        (
            met(
                "newcomer 2",
                "a table of results averages runs of several label budgets",
                "docs/summarise.py has a row for each digest, named by what differs; a seed twice "
                "is refused",
                f"{SUMMARY}test_runs_of_other_settings_have_a_row_of_their_own",
                f"{SUMMARY}test_one_seed_twice_is_refused_with_both_folders",
            ),
            met(
                "message 11",
                "no blank before the comment of a long value in show",
                "there is one",
                "tests/recipe/test_recipe.py::test_a_comment_stands_apart_from_a_long_value",
            ),
            met(
                "message 12",
                "'1 images'",
                "'1 image'",
                "one image to report on",
            ),
            met(
                "message 13",
                "boundary scores vanish where there is no boundary",
                "a dash",
                "boundary scores where no mask has a boundary",
            ),
            met(
                "message 14",
                "lines of 500 characters at each log point",
                "at most 100 characters: the score and what the method names; the rest is in "
                "scalars.jsonl",
                "tests/monitoring/test_views.py::"
                "test_a_plain_line_is_never_longer_than_100_and_cuts_no_name",
            ),
            met(
                "message 16",
                "windows by the thousand, and no word of it",
                "their number is said",
                "windows by the hundred for one image",
            ),
        ),
        (
            f"{SUMMARY}test_other_training_files_are_a_row_of_their_own",
            f"{SUMMARY}test_what_must_not_stand_in_one_table_is_refused",
            f"{SUMMARY}test_the_score_of_the_last_step_is_asked_for",
        ),
    ),
)
"""In the order of the page."""
