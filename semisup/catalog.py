"""The names that a recipe may use, each with its class, in the open.

A new model, method or data set is one file and one line here.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from semisup.data.base import SegmentationData
from semisup.data.sets.camvid import CamVid
from semisup.data.sets.folder import Folder
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.sets.voc import Voc
from semisup.errors import RecipeError, suggest
from semisup.methods.adversarial import Adversarial
from semisup.methods.adversarial_luc import AdversarialLuc
from semisup.methods.base import Method, Task
from semisup.methods.decouplednet import (
    DecoupledNetClassifier,
    DecoupledNetJoint,
    DecoupledNetSegmentation,
)
from semisup.methods.gan_segmentation import GanSegmentation, GanSegmentationWeak
from semisup.methods.s4gan import S4Gan
from semisup.methods.s4gan_multi_label import S4GanMultiLabel
from semisup.methods.supervised import Supervised
from semisup.models.base import Segmenter
from semisup.models.deconvnet import DeconvNet
from semisup.models.decouplednet import DecoupledNet
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from semisup.models.fcn import FCN8s, FCN8sAtOnce, FCN8sMobileNetV2, FCN16s, FCN32s
from semisup.models.unet import UNet
from semisup.options import check_options

MODELS: dict[str, type[Segmenter]] = {
    "deconvnet": DeconvNet,
    "decouplednet": DecoupledNet,
    "deeplab_v3plus": DeepLabV3Plus,
    "fcn16s": FCN16s,
    "fcn32s": FCN32s,
    "fcn8s": FCN8s,
    "fcn8s_at_once": FCN8sAtOnce,
    "fcn8s_mobilenet_v2": FCN8sMobileNetV2,
    "unet": UNet,
}

METHODS: dict[str, type[Method]] = {
    "adversarial": Adversarial,
    "adversarial_luc": AdversarialLuc,
    "decouplednet": DecoupledNetSegmentation,
    "decouplednet_classifier": DecoupledNetClassifier,
    "decouplednet_joint": DecoupledNetJoint,
    "gan_segmentation": GanSegmentation,
    "gan_segmentation_weak": GanSegmentationWeak,
    "s4gan": S4Gan,
    "s4gan_multi_label": S4GanMultiLabel,
    "supervised": Supervised,
}

DATASETS: dict[str, type[SegmentationData]] = {
    "camvid": CamVid,
    "folder": Folder,
    "scenes": Scenes,
    "voc": Voc,
}

T = typing.TypeVar("T")


def find(table: Mapping[str, type[T]], kind: str, name: str) -> type[T]:
    """The class called `name`.

    Raises:
        RecipeError: no such name; suggests the nearest one.
    """
    if name not in table:
        raise RecipeError(f"no {kind} is called '{name}'.{suggest(name, table)}")
    return table[name]


def create_model(name: str, num_classes: int, **options: Any) -> Segmenter:
    """A fresh network, such as `create_model("fcn8s", num_classes=21)`."""
    cls = find(MODELS, "model", name)
    return _built(f"model {name}", lambda: cls(num_classes, **check_options(cls, name, options)))


def create_method(name: str, task: Task, **options: Any) -> Method:
    """A method around fresh segmenters, such as `create_method("supervised", Task(build, 21))`.

    Args:
        name: one of `METHODS`.
        task: what gives the network, the number of classes, and the size of the crops.
        options: keyword arguments of the method's class; a table such as `game` as an instance of
            its dataclass or as a dictionary.

    Raises:
        RecipeError: no such method or option, or one that is out of its range.
    """
    cls: Any = find(METHODS, "method", name)
    options = check_options(cls, name, options)
    return typing.cast(Method, _built(f"method {name}", lambda: cls(task, **options)))


def create_dataset(
    name: str, root: str | Path = "data", subset: str | None = None, **options: Any
) -> SegmentationData:
    """One subset of a data set, such as `create_dataset("voc", "/data", "val")`.

    Args:
        name: one of `DATASETS`.
        root: the folder that holds it.
        subset: which ids; None: the set's own training list.
        options: keyword arguments of the data set's class.
    """
    cls: Any = find(DATASETS, "data set", name)
    options = check_options(cls, name, options)
    return typing.cast(
        SegmentationData,
        _built(f"data set {name}", lambda: cls(root, subset or cls.train_subset, **options)),
    )


def _built(what: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except ValueError as error:  # an option of the right type with an impossible value
        raise RecipeError(f"{what}: {error}") from error
