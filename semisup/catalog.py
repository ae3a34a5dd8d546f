"""The names that a recipe may use, each with the place of its class, in the open.

A new model, method or data set is one file and one line here; or `register` from outside. A class
is imported when it is first asked for: to tell names and options, no torch is needed.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from semisup.errors import RecipeError, suggest
from semisup.facts import facts_of, schema_from
from semisup.options import check_options, options_schema
from semisup.plugins import Origin, import_plugin, installed, origin_of

if TYPE_CHECKING:
    from semisup.data.base import SegmentationData
    from semisup.methods.base import Method, Task
    from semisup.models.base import Segmenter

T = typing.TypeVar("T")


class Table(MutableMapping[str, type[T]]):
    """The names of one kind, each with its class, which is imported when it is asked for.

    Args:
        kind: what an entry is called in errors.
        base: the place of the class that all entries derive from.
        places: name -> the place of its class, as "module:Class".
    """

    def __init__(self, kind: str, base: str, places: Mapping[str, str]) -> None:
        self.kind = kind
        self._base = base
        self._entries: dict[str, type[T] | str] = dict(places)
        self._written: dict[str, tuple[object, type[BaseModel]]] = {}

    def __getitem__(self, name: str) -> type[T]:
        entry = self._entries[name]
        if isinstance(entry, str):
            entry = self._entries[name] = typing.cast("type[T]", _imported(entry))
        return entry

    def __setitem__(self, name: str, cls: type[T]) -> None:
        self._entries[name] = cls

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def base(self) -> type[T]:
        """The class that all entries derive from."""
        return typing.cast("type[T]", _imported(self._base))

    def schema(self, name: str) -> type[BaseModel]:
        """The options of an entry, see `options_schema`; its class is imported where it must be."""
        facts = facts_of(self.kind, name) if self._is_to_import(name) else None
        if facts is not None and facts.options is not None:
            made_of, made = self._written.get(name, (None, None))
            if made is not None and made_of is facts.options:  # to make it again takes 5 ms
                return made
            known = schema_from(self._class_name(name), facts)
            if known is not None:
                self._written[name] = (facts.options, known)
                return known
        cls: type = self[name]
        return options_schema(cls)

    def about(self, name: str) -> str:
        """The first line of the docstring of an entry."""
        facts = facts_of(self.kind, name) if self._is_to_import(name) else None
        return first_line(self[name]) if facts is None else facts.about

    def value(self, name: str, key: str) -> Any:
        """A class attribute of an entry, such as the `default_split` of a data set."""
        known = self.known(name)
        return known[key] if key in known else getattr(self[name], key)

    def known(self, name: str) -> Mapping[str, Any]:
        """What is known of an entry without its import; empty where it must be asked itself."""
        facts = facts_of(self.kind, name) if self._is_to_import(name) else None
        return {} if facts is None else facts.values

    def _is_to_import(self, name: str) -> bool:
        return isinstance(self._entries.get(name), str)

    def _class_name(self, name: str) -> str:
        return str(self._entries[name]).rpartition(":")[2]


def _imported(place: str) -> type:
    module, _, name = place.partition(":")
    found: type = getattr(import_module(module), name)
    return found


def first_line(cls: type) -> str:
    """The first line of a class's docstring."""
    return next(iter((cls.__doc__ or "").strip().splitlines()), "")


MODELS: Table[Segmenter] = Table(
    "model",
    "semisup.models.base:Segmenter",
    {
        "bayesian_segnet": "semisup.models.segnet:BayesianSegNet",
        "deconvnet": "semisup.models.deconvnet:DeconvNet",
        "decouplednet": "semisup.models.decouplednet:DecoupledNet",
        "deeplab_v2": "semisup.models.deeplab_v2:DeepLabV2",
        "deeplab_v3plus": "semisup.models.deeplab_v3plus:DeepLabV3Plus",
        "dpt": "semisup.models.dpt:DPT",
        "enet": "semisup.models.enet:ENet",
        "fc_densenet103": "semisup.models.fc_densenet:FCDenseNet103",
        "fc_densenet56": "semisup.models.fc_densenet:FCDenseNet56",
        "fc_densenet67": "semisup.models.fc_densenet:FCDenseNet67",
        "fcn16s": "semisup.models.fcn:FCN16s",
        "fcn32s": "semisup.models.fcn:FCN32s",
        "fcn8s": "semisup.models.fcn:FCN8s",
        "fcn8s_at_once": "semisup.models.fcn:FCN8sAtOnce",
        "fcn8s_mobilenet_v2": "semisup.models.fcn:FCN8sMobileNetV2",
        "gfrnet": "semisup.models.gfrnet:GFRNet",
        "linknet": "semisup.models.linknet:LinkNet",
        "lraspp": "semisup.models.lraspp:LRASPP",
        "mask_rcnn": "semisup.models.mask_rcnn:MaskRCNN",
        "pspnet": "semisup.models.pspnet:PSPNet",
        "refinenet": "semisup.models.refinenet:RefineNet",
        "segnet": "semisup.models.segnet:SegNet",
        "segnet_basic": "semisup.models.segnet:SegNetBasic",
        "unet": "semisup.models.unet:UNet",
        "unet3d": "semisup.models.unet3d:UNet3D",
    },
)

METHODS: Table[Method] = Table(
    "method",
    "semisup.methods.base:Method",
    {
        "adversarial": "semisup.methods.adversarial:Adversarial",
        "adversarial_luc": "semisup.methods.adversarial_luc:AdversarialLuc",
        "cam": "semisup.methods.cam:Cam",
        "cps": "semisup.methods.cps:CrossPseudoSupervision",
        "cutmix_seg": "semisup.methods.cutmix_seg:CutMixSeg",
        "decouplednet": "semisup.methods.decouplednet:DecoupledNetSegmentation",
        "decouplednet_classifier": "semisup.methods.decouplednet:DecoupledNetClassifier",
        "decouplednet_joint": "semisup.methods.decouplednet:DecoupledNetJoint",
        "fixmatch": "semisup.methods.fixmatch:FixMatch",
        "gan_segmentation": "semisup.methods.gan_segmentation:GanSegmentation",
        "gan_segmentation_weak": "semisup.methods.gan_segmentation:GanSegmentationWeak",
        "mask_rcnn": "semisup.methods.mask_rcnn:MaskRCNNTraining",
        "mean_teacher": "semisup.methods.mean_teacher:MeanTeacher",
        "partial_cross_entropy": "semisup.methods.partial_cross_entropy:PartialCrossEntropy",
        "s4gan": "semisup.methods.s4gan:S4Gan",
        "s4gan_multi_label": "semisup.methods.s4gan_multi_label:S4GanMultiLabel",
        "supervised": "semisup.methods.supervised:Supervised",
        "unimatch": "semisup.methods.unimatch:UniMatch",
        "wssl": "semisup.methods.wssl:Wssl",
        "wssl_tags": "semisup.methods.wssl:WsslTags",
    },
)

DATASETS: Table[SegmentationData] = Table(
    "data set",
    "semisup.data.base:SegmentationData",
    {
        "ade20k": "semisup.data.sets.ade20k:Ade20k",
        "camvid": "semisup.data.sets.camvid:CamVid",
        "cityscapes": "semisup.data.sets.cityscapes:Cityscapes",
        "coco": "semisup.data.sets.coco:Coco",
        "folder": "semisup.data.sets.folder:Folder",
        "isbi2012": "semisup.data.sets.isbi2012:Isbi2012",
        "nyudv2": "semisup.data.sets.indoor.nyudv2:Nyudv2",
        "scenes": "semisup.data.sets.scenes.dataset:Scenes",
        "stack": "semisup.data.sets.stack:Stack",
        "sunrgbd": "semisup.data.sets.indoor.sunrgbd:SunRgbd",
        "voc": "semisup.data.sets.voc:Voc",
    },
)

KINDS: dict[str, Table[Any]] = {table.kind: table for table in (METHODS, MODELS, DATASETS)}
"""What an entry is called in errors -> the table of all entries."""

OUTSIDE: dict[tuple[str, str], Origin] = {}
"""Kind and name of what was registered from outside the package -> where it comes from."""


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
    table = KINDS[kind]
    if name in table and table[name] is cls:
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
    for kind, table in KINDS.items():
        if isinstance(cls, type) and issubclass(cls, table.base):
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


def check_name(table: Mapping[str, Any], kind: str, name: str) -> None:
    """Refuse a name that is neither of ours nor of an installed plug-in; imports no class of ours.

    Raises:
        RecipeError: no such name; suggests the nearest one.
    """
    if name not in table:
        broken = load_installed()
        if name in broken and name not in table:
            raise RecipeError(broken[name])
    if name not in table:
        raise RecipeError(f"no {kind} is called '{name}'.{suggest(name, table)}")


def find(table: Mapping[str, type[T]], kind: str, name: str) -> type[T]:
    """The class called `name`, of ours or of an installed plug-in.

    Raises:
        RecipeError: no such name; suggests the nearest one.
    """
    check_name(table, kind, name)
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
    return typing.cast("Method", _built(f"method {name}", lambda: cls(task, **options)))


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
    from semisup.data.without_classes import without_classes

    data = typing.cast(
        "SegmentationData",
        _built(f"data set {name}", lambda: cls(root, subset or cls.train_subset, **options)),
    )
    return without_classes(data, ignore_classes)


def _built(what: str, build: Callable[[], T]) -> T:
    try:
        return build()
    except ValueError as error:  # an option of the right type with an impossible value
        raise RecipeError(f"{what}: {error}") from error
