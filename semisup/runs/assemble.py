"""From a recipe to objects: data, split, streams, networks, method."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch import config as gradients_of_compiled

from semisup.catalog import DATASETS, METHODS, MODELS, create_dataset, create_method, create_model
from semisup.data.base import SegmentationData
from semisup.data.formats.class_colours import is_background
from semisup.data.labels.border_weights import BorderWeights
from semisup.data.labels.class_weights import class_weights
from semisup.data.labels.pools import Pool, make_pool, make_weak_pool
from semisup.data.labels.pseudo_masks import Confidences
from semisup.data.labels.splits import Split, hold_out, make_split
from semisup.data.labels.tags import read_tags
from semisup.data.loading.blocks import Blocks
from semisup.data.loading.cache import CachedData
from semisup.data.loading.streams import Stream
from semisup.data.sets.drawn_masks import DrawnMasks, with_masks
from semisup.data.sets.masks_in_folder import MasksInFolder
from semisup.data.views.blocks import BlockView
from semisup.data.views.class_crops import CombinationView
from semisup.data.views.weak import WeakView
from semisup.errors import RecipeError
from semisup.losses.supervised import SupervisedLoss
from semisup.losses.weak.terms import WEIGHTS, Regulariser
from semisup.methods.base import Method, Task
from semisup.models.base import Segmenter
from semisup.models.layers import channels_last_of
from semisup.models.torchvision_weights import TORCHVISION, fetch, torchvision_weights
from semisup.models.weights import load_weights
from semisup.ops.pixels import RGB, ImageFormat, ImageKind
from semisup.options import option_names
from semisup.recipe.recipe import Recipe
from semisup.runs.paths import Paths
from semisup.settings import DataSettings
from semisup.system import distributed as ranks
from semisup.system.cores import usable_cores
from semisup.system.files import name_with_hash
from semisup.training.optimisers import make_optimisers
from semisup.types import StreamName

CLASSES_OF_A_CHECK = (21, 2)
"""K where a method is built to look at its options alone; what either will do with is allowed."""


def open_data(recipe: Recipe, paths: Paths, subset: str = "") -> SegmentationData:
    """The recipe's data set; `subset` "" is what it trains on, with the masks of `data.masks`."""
    name = recipe.data.name
    chosen = subset or train_subset(recipe)
    data = create_dataset(
        name,
        paths.data_of(recipe),
        chosen,
        ignore_classes=recipe.data.ignore_classes,
        **recipe.data_options,
    )
    if subset or not recipe.data.masks:
        return data
    spec, weighted = paths.masks_of(recipe, "data.masks"), recipe.train.confidence_weights
    return with_masks(data, spec, recipe.split_seed, weighted=weighted)


def open_reported(recipe: Recipe, paths: Paths, subset: str = "") -> SegmentationData:
    """The set that the recipe reports on."""
    return open_data(recipe, paths, subset or recipe.eval.subset or eval_subset(recipe))


def train_subset(recipe: Recipe) -> str:
    """The subset that a recipe trains on."""
    return recipe.data.subset or DATASETS[recipe.data.name].train_subset


def eval_subset(recipe: Recipe) -> str:
    """The data set's own subset to report on."""
    return DATASETS[recipe.data.name].eval_subset


def check_background(recipe: Recipe, data: SegmentationData) -> None:
    """Refuse a method to which class 0 is background, where that class is left out.

    Raises:
        RecipeError: names the class.
    """
    first = data.stored_classes[0]
    if METHODS[recipe.method.name].reads.background and first != data.classes[0]:
        raise RecipeError(
            f"method '{recipe.method.name}' takes class 0 for the background, and the recipe "
            f"leaves '{first}' out. Keep it, or take another method, such as supervised."
        )


def check_volumes(recipe: Recipe, data: SegmentationData) -> None:
    """Refuse what a network for volumes cannot be trained by, on or scored by.

    Raises:
        RecipeError: names the key.
    """
    name = recipe.model.name
    if not MODELS[name].reads_volumes:
        return
    if not METHODS[recipe.method.name].reads.volumes:
        raise RecipeError(
            f"method '{recipe.method.name}' trains networks for images, and '{name}' is one for "
            "volumes. Set method.name to supervised."
        )
    if data.block is None:
        raise RecipeError(
            f"model '{name}' reads volumes, and the images of '{recipe.data.name}' are no slices "
            "of one. Set data.name to stack, or take a model for images, such as unet."
        )
    only = {
        "data.strong_labelled": (recipe.data.strong_labelled, False),
        "data.elastic": (recipe.data.elastic, 0.0),
        "data.weak_masks": (recipe.data.weak_masks, ""),
        "train.border_weight": (recipe.train.border_weight, 0.0),
        "train.confidence_weights": (recipe.train.confidence_weights, False),
        "train.regulariser": (recipe.train.regulariser, ""),
        "eval.samples": (recipe.eval.samples, 0),
        "eval.scales": (recipe.eval.scales, (1.0,)),
        "eval.crf": (recipe.eval.crf, False),
        "train.loss": (recipe.train.loss in ("cross_entropy", "focal", "ohem"), True),
    }
    for key, (value, possible) in only.items():
        if value != possible:
            raise RecipeError(f"{key}: is for images, and '{name}' reads volumes. Leave it out.")


@dataclass(frozen=True)
class Labels:
    """Who is labelled in a run.

    Attributes:
        split: the whole split, held-out images included: the label budget.
        training: the split without the held-out images.
        held_out: images that only choose the checkpoint.
        pool: what the unlabelled stream reads.
        masks: where the masks come from, for run and result; empty: from the data set.
        weak: what the weak stream reads of `data.weak_masks`; None: there are none.
        confidences: of the masks of the labelled images, where these are weighted by them.
    """

    split: Split
    training: Split
    held_out: tuple[str, ...]
    pool: Pool
    masks: dict[str, Any] = field(default_factory=dict)
    weak: Pool | None = None
    confidences: Confidences | None = None


def split_labels(recipe: Recipe, data: SegmentationData, weak_masks: str | None = None) -> Labels:
    """Make the recipe's split, keep the held-out images apart and find the unlabelled ones.

    Args:
        recipe: whose.
        data: what it trains on.
        weak_masks: where the weak masks are; None: where the recipe says.
    """
    settings = recipe.data
    masks = data.source if isinstance(data, MasksInFolder | DrawnMasks) else {}
    tags = read_tags(data, settings.tags) if settings.tags else None
    split = make_split(data, settings.split, recipe.split_seed, tags=tags, tagged=settings.tagged)
    if recipe.eval.hold_out and not recipe.eval.every:
        raise RecipeError(
            f"eval.hold_out = {recipe.eval.hold_out} keeps images back to choose a checkpoint, but "
            "eval.every = 0 leaves none to choose from. Set eval.every, such as to a tenth of "
            "train.steps."
        )
    _check_watched(recipe)
    training, held_out = hold_out(split, recipe.eval.hold_out, recipe.split_seed)
    weak, weighted = None, recipe.train.confidence_weights
    spec = settings.weak_masks if weak_masks is None else weak_masks
    if spec:
        weak = make_weak_pool(data, spec, training, recipe.split_seed, weighted)
    confidences = data.confidences if isinstance(data, MasksInFolder) else None
    if confidences is not None:
        confidences.check(split.labelled)
    if weak is not None and weak.confidences is not None:
        weak.confidences.check(weak.ids)
    weakly = () if weak is None else weak.ids
    pool = make_pool(data, settings.unlabelled, training, held_out, weakly)
    return Labels(split, training, held_out, pool, masks, weak, confidences)


def _check_watched(recipe: Recipe) -> None:
    """Refuse a subset to be watched of which nothing says when; "never" (0) may be said."""
    settings = recipe.eval
    if settings.watch and not settings.every and recipe.sources["eval.every"] == "default":
        raise RecipeError(
            f"eval.watch = {settings.watch!r} is to be scored while training, but eval.every = 0 "
            "says never. Set eval.every, such as to a tenth of train.steps."
        )
    if settings.watch and settings.watch == (settings.subset or eval_subset(recipe)):
        raise RecipeError(
            f"eval.watch = {settings.watch!r} is the set that is reported, which is not to be "
            "tuned by. Watch another one; or take the key out, for the curve of the reported set."
        )


def build_method(
    recipe: Recipe, num_classes: int, start: Path | None = None, kind: ImageKind = RGB
) -> tuple[Method, list[str]]:
    """The method with its networks; and what was said of the weights they started from.

    Args:
        recipe: of the run.
        num_classes: K.
        start: weights that an earlier stage ended with; None: `model.weights`, where it is set.
        kind: of the images.

    Raises:
        RecipeError: the method cannot train the model, or one of them not on such images.
    """
    notes: list[str] = []
    trained_by = MODELS[recipe.model.name].trained_by
    if trained_by and recipe.method.name not in trained_by:
        raise RecipeError(
            f"method '{recipe.method.name}' cannot train '{recipe.model.name}'; set method.name to "
            f"one of {', '.join(trained_by)}."
        )

    options = recipe.model_options | _channels(recipe, kind)
    weights = start or weights_file(recipe)
    if not start and recipe.model.weights == TORCHVISION:
        ranks.first_before_others(lambda: fetch(_outline(recipe)))

    def build_segmenter(extra: int = 0) -> Segmenter:
        model = create_model(recipe.model.name, num_classes + extra, **options)
        if weights:
            notes.append(str(load_weights(model, weights)))
        return model

    crop = None if recipe.data.crop == "whole" else recipe.data.crop
    task = Task(build_segmenter, num_classes, crop)
    return create_method(recipe.method.name, task, **recipe.method_options), notes


def check_method(recipe: Recipe) -> None:
    """Refuse options of the method and tables of its players that do not fit, without data.

    All is built without memory and without the weights that it would start from. A network that
    cannot be built without memory passes: its own run will build it.

    Raises:
        RecipeError: an option is wrong, or [optim.*] are not the method's players.
    """
    stated = recipe.model.in_channels
    kind = RGB if stated == "auto" else ImageKind(stated)
    refused: RecipeError | None = None
    for classes in CLASSES_OF_A_CHECK:
        try:
            with contextlib.suppress(RuntimeError, TypeError), torch.device("meta"):
                method, _ = build_method(without_weights(recipe), classes, kind=kind)
                make_optimisers(method.players(), recipe.optim)
            return
        except RecipeError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def without_weights(recipe: Recipe) -> Recipe:
    """The recipe with fresh networks."""
    return replace(recipe, model=recipe.model.model_copy(update={"weights": ""}))


def weights_file(recipe: Recipe) -> Path | None:
    """The file in `model.weights`, or the one that torchvision's weights are kept in; None: none.

    It need not be there yet.

    Raises:
        RecipeError: torchvision has no weights of the network.
    """
    if recipe.model.weights == TORCHVISION:
        return torchvision_weights(_outline(recipe)).path
    return Path(recipe.model.weights) if recipe.model.weights else None


def weights_name(recipe: Recipe) -> str:
    """What the weights are called that a network starts from: "none", or file and start of hash.

    Of torchvision's, the name that they have there too.
    """
    path = weights_file(recipe)
    if path is None:
        return "none"
    if recipe.model.weights == TORCHVISION:
        return f"torchvision {torchvision_weights(_outline(recipe)).name}, {name_with_hash(path)}"
    return name_with_hash(path)


def _outline(recipe: Recipe) -> Segmenter:
    """The network of a recipe without memory."""
    with torch.device("meta"):
        return create_model(recipe.model.name, 2, **recipe.model_options)


def _channels(recipe: Recipe, kind: ImageKind) -> dict[str, int]:
    """The option of the network that tells it how many channels the images have.

    Raises:
        RecipeError: the recipe states another number, or network or method read RGB alone.
    """
    stated, grey = recipe.model.in_channels, kind.channels == 1 and kind.bits == 8
    if stated not in ("auto", kind.channels):
        rgb = ", or set data.channels = 3 for three equal ones" if grey and stated == 3 else ""
        raise RecipeError(
            f"model.in_channels = {stated}, but the images of '{recipe.data.name}' are {kind}. "
            f"Leave it out: it follows the data{rgb}."
        )
    remedy = "set data.channels = 3, for three equal ones" if grey else "choose another"
    if kind != RGB and recipe.data.colours == "augseg":
        raise RecipeError(
            f"data.colours = 'augseg' changes 8-bit RGB images, and these are {kind}. Leave it out."
        )
    if kind != RGB and METHODS[recipe.method.name].reads.rgb:
        raise RecipeError(
            f"method '{recipe.method.name}' reads 8-bit RGB images, and those of "
            f"'{recipe.data.name}' are {kind}: {remedy}."
        )
    if recipe.model_options.get("raw_values") and kind != RGB:
        raise RecipeError(
            "model.raw_values: the values of 8-bit RGB alone are known, and the images of "
            f"'{recipe.data.name}' are {kind}. Set it to false."
        )
    if "in_channels" in option_names(MODELS[recipe.model.name]):
        return {"in_channels": kind.channels}
    if kind.channels != 3:
        raise RecipeError(
            f"model '{recipe.model.name}' reads three channels, and the images of "
            f"'{recipe.data.name}' are {kind}: {remedy}."
        )
    return {}


def check_objects(recipe: Recipe, data: SegmentationData) -> None:
    """Refuse a method that learns from objects where there are masks of classes alone.

    And where class 0 is one of things that are seen, and not of all that is no object.

    Raises:
        RecipeError: names method and data set.
    """
    if METHODS[recipe.method.name].reads.instances and not data.has_objects:
        classes = recipe.data_options.get("classes")
        alone = f", with classes = '{classes}'," if isinstance(classes, str) else ""
        alone = ", with other masks than its own," if recipe.data.masks else alone
        raise RecipeError(
            f"method '{recipe.method.name}' learns from objects, and '{data.name}'{alone} does not "
            "tell any apart. Take a data set that has objects, such as coco, or another method and "
            "model."
        )
    if METHODS[recipe.method.name].reads.instances and not is_background(data.classes[0]):
        raise RecipeError(
            f"method '{recipe.method.name}' takes class 0 for all that is no object, and in "
            f"'{data.name}' it is '{data.classes[0]}'. Take classes of objects and a background, "
            'such as data.classes = "objects" of cityscapes, or another method and model.'
        )


def weights_of_classes(
    recipe: Recipe, data: SegmentationData, labels: Labels, method: Method
) -> Tensor | None:
    """`train.class_weights`, counted on the masks that are trained on; None: all alike.

    Raises:
        RecipeError: the method has no cross entropy over the classes; or there are not as many
            weights as classes.
    """
    rule = recipe.train.class_weights
    if rule != "none" and not method.takes_class_weights:
        raise RecipeError(
            f"train.class_weights: method '{recipe.method.name}' has no cross entropy over the "
            'classes. Set it to "none".'
        )
    return class_weights(rule, data, labels.training.labelled)


def border_weights_of(
    recipe: Recipe, data: SegmentationData, method: Method
) -> BorderWeights | None:
    """`train.border_weight`, where it is above 0.

    Raises:
        RecipeError: there are not two classes, or the supervised loss weights no pixels.
    """
    train = recipe.train
    if not train.border_weight:
        return None
    if data.num_classes != 2:
        raise RecipeError(
            "train.border_weight weights what lies between objects, which are class 1 of two; "
            f"'{recipe.data.name}' has {data.num_classes} classes. Set it to 0."
        )
    if not (method.takes_class_weights and method.reads.labelled):
        raise RecipeError(
            f"train.border_weight: method '{recipe.method.name}' has no cross entropy over the "
            "classes. Set it to 0."
        )
    if train.loss in ("dice", "lovasz"):
        raise RecipeError(
            f"train.border_weight weights pixels, and train.loss = '{train.loss}' has no loss of a "
            f"pixel. Set the weight to 0, or the loss to 'cross_entropy+{train.loss}'."
        )
    return BorderWeights(train.border_weight, train.border_sigma)


def criterion_of(recipe: Recipe, method: Method) -> SupervisedLoss:
    """The supervised loss that `[train]` asks for.

    Raises:
        RecipeError: the method has no cross entropy over the classes that it could replace.
    """
    train = recipe.train
    key = train.loss_key()
    if key and not method.takes_class_weights:
        raise RecipeError(
            f"{key}: method '{recipe.method.name}' has no cross entropy over the classes. Leave "
            "the key out."
        )
    share = train.bootstrap_label_share
    return SupervisedLoss(
        kind=train.loss,
        divisor=train.loss_divisor,
        ohem_threshold=train.ohem_threshold,
        ohem_min_kept=train.ohem_min_kept,
        focal_gamma=train.focal_gamma,
        bootstrap_label_share=None if share == "default" else share,
        symmetric_alpha=train.symmetric_alpha,
        symmetric_beta=train.symmetric_beta,
    )


def regulariser_of(recipe: Recipe, method: Method, images: ImageFormat) -> Regulariser | None:
    """The term on the images themselves that `[train]` asks for; None: it asks for none.

    Raises:
        RecipeError: the method has no cross entropy over the classes beside which it could stand,
            or the images are no pictures whose colours could be compared.
    """
    train = recipe.train
    if not train.regulariser:
        return None
    if not method.takes_class_weights:
        raise RecipeError(
            f"train.regulariser: method '{recipe.method.name}' has no cross entropy over the "
            "classes. Leave the key out."
        )
    if images.kind.channels > 3:
        raise RecipeError(
            f"train.regulariser compares the colours of neighbours, and the images of "
            f"'{recipe.data.name}' are {images.kind}. Leave the key out."
        )
    weight = train.regulariser_weight
    chosen = WEIGHTS[train.regulariser] if weight == "default" else weight
    return Regulariser(train.regulariser, chosen, images)


def stream_builder(
    recipe: Recipe, data: SegmentationData, labels: Labels, method: Method, device: torch.device
) -> Callable[[int], dict[str, Stream]]:
    """Step -> the streams that the method reads, from that step on.

    Raises:
        RecipeError: the method wants unlabelled images and there are none.
    """
    settings, split = recipe.data, labels.training
    pool = labels.pool if method.reads.unlabelled else None
    _check_labels(recipe, labels, method)
    _check_confidences(recipe, labels, method)
    for name in method.reads.streams:
        _check_batch(f"data.{name}_batch", getattr(settings, f"{name}_batch"), settings.crop)
    if method.reads.unlabelled_partner:
        _check_one_size(recipe)
    elif method.reads.unlabelled_numbers:
        _check_pairs(recipe)
    view = WeakView(
        crop=None if settings.crop == "whole" else settings.crop,
        scale=settings.scale,
        flip=settings.flip,
        elastic=settings.elastic,
    )
    own_data, pool_data, weak_data = _cached(settings.cache, data, pool, labels.weak)
    common: dict[str, Any] = {
        "data": own_data,
        "seed": recipe.train.seed,
        "view": view,
        "workers": worker_count(settings.workers),
        "colours": settings.colours,
        "pin": device.type == "cuda",
        "rank": ranks.rank(),
        "world": ranks.world(),
    }
    own: dict[StreamName, dict[str, Any]] = {
        "labelled": {
            "ids": split.labelled,
            "strong_image": settings.strong_labelled,
            "border": border_weights_of(recipe, data, method),
            "confidences": labels.confidences,
        },
        "unlabelled": {
            "data": pool_data,
            "ids": pool.ids if pool is not None else (),
            "numbers": method.reads.unlabelled_numbers,
            "partner": method.reads.unlabelled_partner,
        },
        "weak": {"data": weak_data, **_weak_labels(labels, method)},
    }
    if method.reads.instances:
        own["labelled"]["instances"] = True
    if MODELS[recipe.model.name].reads_volumes:
        assert data.block is not None
        own["labelled"] |= {
            "data": Blocks(own_data, split.labelled),
            "view": BlockView(data.block, view),
        }
    if method.reads.class_crops:
        own["labelled"]["view"] = combinations_of(settings)
    accumulate = recipe.train.accumulate

    def streams(step: int) -> dict[str, Stream]:
        return {
            name: Stream(
                name=name,
                batch_size=getattr(settings, f"{name}_batch"),
                start=step * accumulate,
                strong=method.reads.views(name),
                **common | own[name],
            )
            for name in method.reads.streams
        }

    return streams


def _weak_labels(labels: Labels, method: Method) -> dict[str, Any]:
    """Which images the weak stream reads, and what of their labels: those that have any of it."""
    ids, reads = labels.training.weak, method.reads.weak
    if labels.weak is None or "partial" not in reads:
        return {"ids": ids, "tags": labels.training.tags}
    partial = {"partial": True, "confidences": labels.weak.confidences}
    if "tags" not in reads:
        return {"ids": labels.weak.ids, **partial}
    tags, kinds = labels.training.tags, labels.training.labels
    assert tags is not None, "checked before"
    tagged = [name for name, kind in kinds.items() if kind == "tags"]  # who has a mask is not read
    tags = replace(tags, of={name: tags.of[name] for name in tagged})
    return {"ids": sorted({*tagged, *labels.weak.ids}), "tags": tags, **partial}


def _cached(
    mebibytes: int, data: SegmentationData, *pools: Pool | None
) -> Sequence[SegmentationData]:
    """The data set and the data of each pool in memory, which they share by their numbers.

    A pool of the data set itself, and one that there is not, gets the data set.
    """
    others = [data if pool is None else pool.data for pool in pools]
    images = len(data) + sum(len(other) for other in others if other is not data)
    own = _in_memory(data, mebibytes * len(data) // images)
    return own, *(
        own if other is data else _in_memory(other, mebibytes * len(other) // images)
        for other in others
    )


def _in_memory(data: SegmentationData, mebibytes: int) -> SegmentationData:
    return CachedData(data, mebibytes) if mebibytes else data


def _check_labels(recipe: Recipe, labels: Labels, method: Method) -> None:
    """Refuse labels that leave a stream of the method without images, or that it does not read.

    Raises:
        RecipeError: names the key and the remedy.
    """
    name, split, weak = f"'{recipe.method.name}'", labels.training, labels.weak
    if method.reads.unlabelled and not labels.pool.ids:
        raise RecipeError(
            f"data.split = {recipe.data.split!r} leaves no unlabelled image, which {name} reads. "
            'Take a smaller share, such as 1/8, or supervised; or set data.unlabelled to "all" or '
            '"folder:PATH".'
        )
    if "tags" in method.reads.weak and split.tags is None:
        raise RecipeError(
            f"{name} reads image tags, and data.tags is not set. Set it to 'xml' (VOC, scenes) or "
            "'file:PATH'; 'semisup data tags' makes such a file from masks."
        )
    if "partial" in method.reads.weak and weak is None:
        raise RecipeError(
            f"{name} reads weak masks, and data.weak_masks is not set. Set it to "
            "'folder:PATH', as 'semisup data weaken' makes it, or to a kind of weak label, such as "
            "'points'."
        )
    if weak is not None and "partial" not in method.reads.weak:
        raise RecipeError(
            f"data.weak_masks is set, and {name} reads no weak masks. Set method.name to "
            "partial_cross_entropy, or take the key out; data.masks trains on such masks too."
        )
    if weak is not None and not weak.ids:
        raise RecipeError(
            f"data.split = {recipe.data.split!r} leaves no image with a weak mask alone: all of "
            f"{recipe.data.weak_masks!r} have masks. Take a smaller share, such as 1/8."
        )
    if method.reads.labelled and not split.labelled:
        raise RecipeError(
            f"data.split = {recipe.data.split!r} leaves no image with a mask, which {name} reads. "
            "Take a share, such as 1/8, or a count, such as 5/class."
        )


def _check_confidences(recipe: Recipe, labels: Labels, method: Method) -> None:
    """Refuse weights by confidence that weight nothing.

    Raises:
        RecipeError: the method or its loss weights no pixels, or no masks are pseudo-masks.
    """
    train, weak = recipe.train, labels.weak
    if not train.confidence_weights:
        return
    if not method.takes_class_weights:
        raise RecipeError(
            f"train.confidence_weights: method '{recipe.method.name}' has no cross entropy over "
            "the classes. Set it to false."
        )
    if train.loss in ("dice", "lovasz"):
        raise RecipeError(
            f"train.confidence_weights weights pixels, and train.loss = '{train.loss}' has no loss "
            f"of a pixel. Set it to false, or the loss to 'cross_entropy+{train.loss}'."
        )
    own = labels.confidences if method.reads.labelled else None
    beside = weak.confidences if weak is not None and "partial" in method.reads.weak else None
    if own is None and beside is None:
        raise RecipeError(
            "train.confidence_weights weights pseudo-masks, and neither data.masks nor "
            "data.weak_masks are some that this method reads. Set it to false, or write some with "
            "'semisup label'."
        )


def combinations_of(settings: DataSettings) -> CombinationView:
    """The crops that are cut for subsets of an image's classes.

    Raises:
        RecipeError: there is no crop, or an elastic deformation is wanted.
    """
    if settings.elastic:
        raise RecipeError(
            "data.elastic: this method cuts its labelled crops for subsets of the classes and "
            "does not bend them. Set it to 0."
        )
    if settings.crop == "whole":
        raise RecipeError('data.crop = "whole": this method cuts crops; set [height, width].')
    return CombinationView(crop=settings.crop, flip=settings.flip)


def _check_batch(key: str, size: int, crop: tuple[int, int] | str) -> None:
    """Refuse a batch that its images or the processes of the run do not fit into."""
    processes = ranks.world()
    if size % processes:
        raise RecipeError(
            f"{key} = {size} cannot be shared by {processes} processes. Set it to a multiple of "
            f"{processes}."
        )
    if crop == "whole" and size > processes:
        raise RecipeError(
            f'data.crop = "whole" goes with {key} = {processes}: images differ in size, and each '
            "process takes one. Use train.accumulate for larger steps."
        )


def _check_pairs(recipe: Recipe) -> None:
    """Refuse a batch in which an image has no partner, or another one than in a single process."""
    share, processes = recipe.data.unlabelled_batch // ranks.world(), ranks.world()
    if share < 2 or (processes > 1 and share % 2):
        what = f"gives each of {processes} processes {share}" if processes > 1 else "has 1"
        raise RecipeError(
            f"method '{recipe.method.name}' pastes parts of one unlabelled image into another, and "
            f"data.unlabelled_batch = {recipe.data.unlabelled_batch} {what}. Set it to "
            f"{2 * processes} or a multiple, with crops of one size."
        )


def _check_one_size(recipe: Recipe) -> None:
    """Refuse whole images where a second crop is pasted into the first: scaled, they differ."""
    if recipe.data.crop == "whole":
        raise RecipeError(
            f"data.crop = 'whole': method '{recipe.method.name}' pastes parts of an image's second "
            "crop into the first, and whole images that are scaled differ in size. Set it to "
            "[height, width]."
        )


def worker_count(workers: int | str) -> int:
    """Processes that decode, for each stream: a quarter of the cores, 1 to 8, unless stated."""
    if isinstance(workers, int):
        return workers
    return max(1, min(8, usable_cores() // 4))


def prepare_networks(method: Method, recipe: Recipe, device: torch.device) -> None:
    """Move the networks to the device, in the recipe's memory format, compiled if it says so.

    Raises:
        RecipeError: batch norm over several processes, or a replay of kernels, is wanted where
            torch has none.
    """
    train = recipe.train
    if train.sync_batch_norm and ranks.world() > 1:
        if device.type != "cuda":
            raise RecipeError(
                "train.sync_batch_norm needs a GPU: torch's SyncBatchNorm has no form for the CPU. "
                "Set it to false, or train in one process."
            )
        nn.SyncBatchNorm.convert_sync_batchnorm(method)  # type: ignore[no-untyped-call]
    if train.cuda_graphs:
        if not train.compile:
            raise RecipeError(
                "train.cuda_graphs replays compiled networks. Set train.compile to true, or "
                "train.cuda_graphs to false."
            )
        if device.type != "cuda":
            raise RecipeError(
                f"train.cuda_graphs needs a GPU, and this run is on '{device.type}'. Set it to "
                "false, or choose --device cuda."
            )
    method.to(device)
    if train.channels_last:
        method.to(memory_format=channels_last_of(method))
    if train.compile:
        # Players share forward passes (`keep_graph`): gradients are taken twice of one, so torch
        # must not reuse what the first backward pass has read, as it would by default.
        gradients_of_compiled.donated_buffer = False
        for network in map(_compilable, method.children()):
            network.compile(mode="reduce-overhead" if train.cuda_graphs else None)
            if train.cuda_graphs:
                only_while_training(network)


def _compilable(network: nn.Module) -> nn.Module:
    """What of a network is one graph."""
    return network.static_part if isinstance(network, Segmenter) else network


def only_while_training(network: nn.Module) -> None:
    """Let a compiled network compute as it is written in eval mode.

    Each size of image and each further call between two training steps would record a graph of its
    own. A copy of the network is not compiled at all.
    """
    replayed = network._compiled_call_impl
    assert replayed is not None

    def call(*arguments: Any, **keywords: Any) -> Any:
        chosen = replayed if network.training else network._call_impl
        return chosen(*arguments, **keywords)

    network._compiled_call_impl = call
