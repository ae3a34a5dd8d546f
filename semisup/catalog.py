"""The names that a recipe may use, each with its class, in the open.

A new model, method or data set is one file and one line here; or `register` from outside.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from semisup.data.base import SegmentationData
from semisup.data.sets.ade20k import Ade20k
from semisup.data.sets.camvid import CamVid
from semisup.data.sets.cityscapes import Cityscapes
from semisup.data.sets.coco import Coco
from semisup.data.sets.folder import Folder
from semisup.data.sets.indoor.nyudv2 import Nyudv2
from semisup.data.sets.indoor.sunrgbd import SunRgbd
from semisup.data.sets.isbi2012 import Isbi2012
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.sets.stack import Stack
from semisup.data.sets.voc import Voc
from semisup.data.without_classes import without_classes
from semisup.errors import RecipeError, suggest
from semisup.methods.adversarial import Adversarial
from semisup.methods.adversarial_luc import AdversarialLuc
from semisup.methods.base import Method, Task
from semisup.methods.cps import CrossPseudoSupervision
from semisup.methods.cutmix_seg import CutMixSeg
from semisup.methods.decouplednet import (
    DecoupledNetClassifier,
    DecoupledNetJoint,
    DecoupledNetSegmentation,
)
from semisup.methods.fixmatch import FixMatch
from semisup.methods.gan_segmentation import GanSegmentation, GanSegmentationWeak
from semisup.methods.mask_rcnn import MaskRCNNTraining
from semisup.methods.mean_teacher import MeanTeacher
from semisup.methods.partial_cross_entropy import PartialCrossEntropy
from semisup.methods.s4gan import S4Gan
from semisup.methods.s4gan_multi_label import S4GanMultiLabel
from semisup.methods.supervised import Supervised
from semisup.methods.unimatch import UniMatch
from semisup.models.base import Segmenter
from semisup.models.deconvnet import DeconvNet
from semisup.models.decouplednet import DecoupledNet
from semisup.models.deeplab_v2 import DeepLabV2
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from semisup.models.dpt import DPT
from semisup.models.enet import ENet
from semisup.models.fc_densenet import FCDenseNet56, FCDenseNet67, FCDenseNet103
from semisup.models.fcn import FCN8s, FCN8sAtOnce, FCN8sMobileNetV2, FCN16s, FCN32s
from semisup.models.gfrnet import GFRNet
from semisup.models.linknet import LinkNet
from semisup.models.lraspp import LRASPP
from semisup.models.mask_rcnn import MaskRCNN
from semisup.models.pspnet import PSPNet
from semisup.models.refinenet import RefineNet
from semisup.models.segnet import BayesianSegNet, SegNet, SegNetBasic
from semisup.models.unet import UNet
from semisup.models.unet3d import UNet3D
from semisup.options import check_options, options_schema
from semisup.plugins import Origin, import_plugin, installed, origin_of

MODELS: dict[str, type[Segmenter]] = {
    "bayesian_segnet": BayesianSegNet,
    "deconvnet": DeconvNet,
    "decouplednet": DecoupledNet,
    "deeplab_v2": DeepLabV2,
    "deeplab_v3plus": DeepLabV3Plus,
    "dpt": DPT,
    "enet": ENet,
    "fc_densenet103": FCDenseNet103,
    "fc_densenet56": FCDenseNet56,
    "fc_densenet67": FCDenseNet67,
    "fcn16s": FCN16s,
    "fcn32s": FCN32s,
    "fcn8s": FCN8s,
    "fcn8s_at_once": FCN8sAtOnce,
    "fcn8s_mobilenet_v2": FCN8sMobileNetV2,
    "gfrnet": GFRNet,
    "linknet": LinkNet,
    "lraspp": LRASPP,
    "mask_rcnn": MaskRCNN,
    "pspnet": PSPNet,
    "refinenet": RefineNet,
    "segnet": SegNet,
    "segnet_basic": SegNetBasic,
    "unet": UNet,
    "unet3d": UNet3D,
}

METHODS: dict[str, type[Method]] = {
    "adversarial": Adversarial,
    "adversarial_luc": AdversarialLuc,
    "cps": CrossPseudoSupervision,
    "cutmix_seg": CutMixSeg,
    "decouplednet": DecoupledNetSegmentation,
    "decouplednet_classifier": DecoupledNetClassifier,
    "decouplednet_joint": DecoupledNetJoint,
    "fixmatch": FixMatch,
    "gan_segmentation": GanSegmentation,
    "gan_segmentation_weak": GanSegmentationWeak,
    "mask_rcnn": MaskRCNNTraining,
    "mean_teacher": MeanTeacher,
    "partial_cross_entropy": PartialCrossEntropy,
    "s4gan": S4Gan,
    "s4gan_multi_label": S4GanMultiLabel,
    "supervised": Supervised,
    "unimatch": UniMatch,
}

DATASETS: dict[str, type[SegmentationData]] = {
    "ade20k": Ade20k,
    "camvid": CamVid,
    "cityscapes": Cityscapes,
    "coco": Coco,
    "folder": Folder,
    "isbi2012": Isbi2012,
    "nyudv2": Nyudv2,
    "scenes": Scenes,
    "stack": Stack,
    "sunrgbd": SunRgbd,
    "voc": Voc,
}

KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "method": (Method, METHODS),
    "model": (Segmenter, MODELS),
    "data set": (SegmentationData, DATASETS),
}
"""What an entry is called in errors -> the base class of all entries, and their table."""

OUTSIDE: dict[tuple[str, str], Origin] = {}
"""Kind and name of what was registered from outside the package -> where it comes from."""

T = typing.TypeVar("T")


def register(name: str, cls: type) -> None:
    """Add a method, a network or a data set of one's own, such as `register("mine", Mine)`.

    Recipes, `semisup list` and `semisup schema` then know it by `name`, like any other.

    Args:
        name: letters, digits and _.
        cls: a class derived from `Method`, `Segmenter` or `SegmentationData`, which says what it
            is. To register the same class again changes nothing.

    Raises:
        RecipeError: the name is taken or not of that form; the class is of no kind, lacks a method
            that it must have, or its options cannot be read.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise RecipeError(f"register: {name!r} is no name; use letters, digits and _.")
    kind = kind_of(cls)
    table = KINDS[kind][1]
    if table.get(name) is cls:
        return
    if name in table:
        raise RecipeError(
            f"register: a {kind} is called '{name}' already ({_qualified(table[name])}). Choose "
            f"another name for {_qualified(cls)}."
        )
    _check_class(name, cls)
    table[name] = cls
    OUTSIDE[kind, name] = origin_of(cls)


def kind_of(cls: type) -> str:
    """Which of `KINDS` a class is of.

    Raises:
        RecipeError: none.
    """
    for kind, (base, _) in KINDS.items():
        if isinstance(cls, type) and issubclass(cls, base):
            return kind
    raise RecipeError(
        f"register: {cls!r} is neither a Method, a Segmenter nor a SegmentationData. Derive the "
        "class from one of them, and give the class, not an instance."
    )


def _check_class(name: str, cls: type) -> None:
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(vars(cls)["__abstractmethods__"]))
        raise RecipeError(f"register: {_qualified(cls)} ('{name}') lacks {missing}. Write it.")
    try:
        options_schema(cls)
    except Exception as error:  # whatever an annotation can do
        raise RecipeError(
            f"register: the options of {_qualified(cls)} ('{name}') cannot be read "
            f"({type(error).__name__}: {' '.join(str(error).split())}). Give each keyword-only "
            "parameter of __init__ a type, such as float, and a default."
        ) from None


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def load_plugins(names: Iterable[str]) -> None:
    """Import plug-ins, modules or files, each of which calls `semisup.register`.

    Raises:
        RecipeError: one cannot be imported, or registers nothing.
    """
    for name in names:
        before = len(OUTSIDE)
        if import_plugin(name) and len(OUTSIDE) == before:
            raise RecipeError(
                f"plug-in {name}: registers nothing. Call semisup.register(name, cls) in it."
            )


@functools.cache
def load_installed() -> Mapping[str, str]:
    """Register the entry points of installed distributions, once in a process.

    Returns:
        Name -> what is wrong with it, in one line, of those that cannot be used.
    """
    broken = {}
    for plugin in installed():
        try:
            register(plugin.name, plugin.load())
        except RecipeError as error:
            text = str(error)
            broken[plugin.name] = text if plugin.where in text else f"{plugin.where}: {text}"
    return broken


def find(table: Mapping[str, type[T]], kind: str, name: str) -> type[T]:
    """The class called `name`, of ours or of an installed plug-in.

    Raises:
        RecipeError: no such name; suggests the nearest one.
    """
    if name not in table:
        broken = load_installed()
        if name in broken and name not in table:
            raise RecipeError(broken[name])
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
    name: str,
    root: str | Path = "data",
    subset: str | None = None,
    *,
    ignore_classes: Sequence[str] = (),
    **options: Any,
) -> SegmentationData:
    """One subset of a data set, such as `create_dataset("voc", "/data", "val")`.

    Args:
        name: one of `DATASETS`.
        root: the folder that holds it.
        subset: which ids; None: the set's own training list.
        ignore_classes: names of classes whose pixels are void; the others are numbered anew.
        options: keyword arguments of the data set's class.
    """
    cls: Any = find(DATASETS, "data set", name)
    options = check_options(cls, name, options)
    data = typing.cast(
        SegmentationData,
        _built(f"data set {name}", lambda: cls(root, subset or cls.train_subset, **options)),
    )
    return without_classes(data, ignore_classes)


def _built(what: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except ValueError as error:  # an option of the right type with an impossible value
        raise RecipeError(f"{what}: {error}") from error
