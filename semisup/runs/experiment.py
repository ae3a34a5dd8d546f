"""What a recipe becomes on this machine, each part made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from semisup.catalog import METHODS, MODELS
from semisup.data.base import SegmentationData
from semisup.data.before_training import (
    check_held_out,
    check_labelled,
    check_palettes,
    check_reported,
    check_weak_masks,
)
from semisup.data.by_name import listed
from semisup.data.image_formats import constant_channels, fitted, format_of
from semisup.data.verify import check_apart, check_pool_apart, check_same_classes, check_watched
from semisup.errors import DataError, RecipeError
from semisup.evaluation.inference import Inference
from semisup.evaluation.volumes import VolumeInference
from semisup.methods.base import Method
from semisup.models.weights import read_weights, weights_sha256
from semisup.ops.pixels import ImageFormat, ImageKind
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import (
    Labels,
    build_method,
    check_background,
    check_objects,
    check_volumes,
    open_data,
    open_reported,
    split_labels,
    without_weights,
)
from semisup.runs.data.identity import DataIdentity, identify, identify_reported
from semisup.runs.data.parts import check_predictor
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.result import FinishedRun
from semisup.system.device import Precision, resolve_precision


@dataclass(frozen=True, eq=False)
class Experiment:
    """A recipe with its data, labels, networks and folder on this machine.

    Nothing is opened or built before it is asked for: showing the method needs no data, and
    scoring a predictor no split.

    Attributes:
        recipe: what is run.
        paths: where data and runs lie.
        device: where it computes.
        first: the finished run that it starts from; None where there is none.
        read_weights: False builds the networks without reading the files that they start from,
            because others, or none, are loaded into them.
        found_in: where its run was found; None: where the paths and the recipe place it.
        stated_classes: K, where a record of the run states it; None: as the data say.
        stated_images: what a record of the run states of the images; None: as the data say.
    """

    recipe: Recipe
    paths: Paths
    device: torch.device
    first: FinishedRun | None = None
    read_weights: bool = True
    found_in: Path | None = None
    stated_classes: int | None = None
    stated_images: ImageFormat | None = None

    @cached_property
    def folder(self) -> RunFolder:
        """The folder of its run."""
        return RunFolder(self.found_in or self.paths.run_folder(self.recipe))

    @cached_property
    def data(self) -> SegmentationData:
        """The set that is trained on."""
        return open_data(self.recipe, self.paths)

    @cached_property
    def reported(self) -> SegmentationData:
        """The set that is reported on."""
        return fitted(open_reported(self.recipe, self.paths), self.image_kind)

    @cached_property
    def watched(self) -> SegmentationData:
        """The set that is scored while training, where no images are held out."""
        subset = self.recipe.eval.watch
        if not subset:
            return self.reported
        try:
            return fitted(open_reported(self.recipe, self.paths, subset), self.image_kind)
        except DataError as error:
            raise DataError(f"eval.watch: {error}") from None

    @property
    def image_kind(self) -> ImageKind:
        """Channels and bits of the images."""
        stated = self.stated_images
        return self.data.image_kind if stated is None else stated.kind

    @cached_property
    def images(self) -> ImageFormat:
        """What the values of the images are, and how they are normalised: measured once."""
        return self.stated_images or format_of(self.data)

    @cached_property
    def labels(self) -> Labels:
        """Which images are labelled, and which of them are held out."""
        return split_labels(
            self.recipe, self.data, self.paths.masks_of(self.recipe, "data.weak_masks")
        )

    def outline(self) -> DataIdentity:
        """Classes and ids of its data, for which no mask is opened."""
        root = self.paths.data_of(self.recipe)
        return DataIdentity(identify(self.data, root), identify(self.reported, root))

    @cached_property
    def identity(self) -> DataIdentity:
        """What its data are known again by, as they were when this was first asked for."""
        root, data = self.paths.data_of(self.recipe), self.data
        labelled = [data.index(name) for name in self.labels.split.labelled]
        return DataIdentity(
            identify(data, root, labelled),
            identify_reported(self.reported, root),
            self.images,
        )

    @cached_property
    def precision(self) -> Precision:
        """Of the forward passes on this device."""
        return resolve_precision(self.recipe.train.precision, self.device)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.stated_classes or self.data.num_classes

    def open_for_training(self) -> None:
        """Open all that training reads, so that what is missing is said before it starts.

        Raises:
            DataError: an image is in the training set and in the reported one, or they have other
                classes, or nothing can be learnt from the masks or scored on them.
            RecipeError: the method needs a class that is left out, or goes on from a network of
                other classes.
        """
        check_background(self.recipe, self.data)
        check_objects(self.recipe, self.data)
        if METHODS[self.recipe.method.name].reads.instances:
            _ = self.reported.has_objects  # an image without any is named before the training
        check_volumes(self.recipe, self.data)
        self._check_first_stage()
        check_same_classes(self.data, self.reported)
        check_apart(self.data, self.reported)
        check_pool_apart(self.labels.pool.data, self.reported)
        if self.recipe.eval.watch and self.recipe.eval.every and not self.labels.held_out:
            check_same_classes(self.data, self.watched)
            check_watched(self.data, self.watched)
            check_pool_apart(self.labels.pool.data, self.watched)
        _ = self.doubts
        _ = self.precision
        _ = self.images
        self.inference(nn.Dropout())  # stands for any network: none is built yet

    def _check_first_stage(self) -> None:
        """Refuse a network of other classes where the method goes on with what it has learnt."""
        first, recipe = self.first, self.recipe
        if first is None or not METHODS[recipe.method.name].reads.trained_weights:
            return
        if first.result.classes != self.data.classes:
            raise RecipeError(
                f"{first.folder}: was trained on the classes {listed(first.result.classes)}, and "
                f"'{recipe.method.name}' is to go on from it on {listed(self.data.classes)}. Give "
                "both recipes the same, with init.set."
            )

    @cached_property
    def doubts(self) -> list[str]:
        """What is in doubt about the masks, a sentence each.

        Raises:
            DataError: nothing can be learnt from them, or scored on them.
        """
        data, labels, reported, doubts = self.data, self.labels, self.reported, list[str]()
        trained_on: tuple[str, ...] = ()
        if METHODS[self.recipe.method.name].reads.labelled:
            trained_on = labels.training.labelled
            doubts += check_labelled(data, labels.training)
        if labels.weak is not None:
            doubts += check_weak_masks(labels.weak.data, labels.weak.ids)
        doubts += check_held_out(data, labels.split, labels.held_out)
        doubts += check_reported(reported)
        doubts += check_palettes(data, trained_on, reported)
        doubts += [
            f"channel {channel} of the images has one value in all that were measured: nothing is "
            "learnt from it"
            for channel in constant_channels(self.images)
        ]
        return [*dict.fromkeys(doubts)]

    @property
    def method(self) -> Method:
        """The method with its networks, whose fresh weights come from torch's generator.

        Raises:
            RecipeError: the method cannot train the model, or not from fresh weights.
        """
        return self._built[0]

    @property
    def weight_notes(self) -> list[str]:
        """What was read of the weights that the networks start from."""
        return self._built[1]

    @cached_property
    def _built(self) -> tuple[Method, list[str]]:
        recipe = self.recipe
        if not self.read_weights:
            return build_method(without_weights(recipe), self.num_classes, kind=self.image_kind)
        first = self.first if recipe.init.weights else None
        start = None if first is None else _predictor_of(first)
        method, notes = build_method(recipe, self.num_classes, start, self.image_kind)
        if method.reads.trained_weights and not (start or recipe.model.weights):
            raise RecipeError(
                f"'{recipe.method.name}' goes on from a trained network: name the recipe of its "
                "first stage in init.from, or a file in model.weights."
            )
        return method, notes

    @property
    def applied(self) -> Callable[..., Inference]:
        """What applies a predictor to images, or to slices of a volume."""
        if not MODELS[self.recipe.model.name].reads_volumes:
            return Inference
        return partial(VolumeInference, depth=self.recipe.data_options.get("depth", 16))

    def inference(self, predictor: nn.Module) -> Inference:
        """`predictor` under the recipe's protocol."""
        return self.applied(predictor, self.recipe.eval, self.device, self.precision, self.images)


def _predictor_of(first: FinishedRun) -> Path:
    """The file of a first stage's predictor, which must be the one of its result."""
    files = RunFolder(first.folder)
    if first.result.weights_sha256:
        check_predictor(files, first.result, weights_sha256(read_weights(files.predictor)))
    return files.predictor
