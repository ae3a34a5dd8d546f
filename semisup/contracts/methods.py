"""What holds for every training method."""

from __future__ import annotations

import copy
import inspect
import io
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from semisup.contracts.base import Check, NotApplicable, require
from semisup.contracts.toys import (
    CLASSES,
    SEGMENTERS,
    SIDE,
    WITHOUT_DROPOUT,
    Gradients,
    toy_batch,
    toy_updates,
)
from semisup.losses.segmentation import Criterion
from semisup.losses.supervised import SupervisedLoss
from semisup.losses.weak.terms import Regulariser
from semisup.methods.base import Method, Task
from semisup.methods.supervised import Supervised
from semisup.options import check_options, options_schema
from semisup.training.updates import Updates
from semisup.types import IGNORE, Batch, Progress, Reads, Scalars, Unlabelled

LATE = Progress(90, 100)
"""By then every term of a method acts."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True)
class MethodSubject:
    """A method under its contract.

    Attributes:
        name: in the catalogue.
        cls: the class.
        options: of the method, over its defaults.
    """

    name: str
    cls: type[Method]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> Reads:
        """What it declares to read, with its options."""
        if not self.options:
            return self.cls.reads
        with torch.random.fork_rng(devices=()):
            return self.build().reads

    def build(self, kind: str = "plain", seed: int = 0, **options: Any) -> Method:
        """A fresh method in training mode around toy segmenters of a kind."""
        torch.manual_seed(seed)
        task = Task(SEGMENTERS[kind], CLASSES, (SIDE, SIDE))
        cls: Any = self.cls
        method: Method = cls(task, **check_options(cls, self.name, {**self.options, **options}))
        return method.train()

    def having(self, option: str, value: Any) -> MethodSubject:
        """The same method with another value of one option."""
        return replace(self, options={**self.options, option: value})

    def batch(self, seed: int = 0, **changes: Any) -> Batch:
        """A toy batch of what it reads."""
        return toy_batch(self.reads, seed, **changes)

    def gradients(
        self,
        batch: Batch,
        *,
        each_alone: bool = False,
        class_weights: Tensor | None = None,
        criterion: Criterion | None = None,
        regulariser: Regulariser | None = None,
        **options: Any,
    ) -> dict[str, Tensor]:
        """Gradient of each player's losses, late in a run, in double precision.

        Args:
            batch: what the step is given.
            each_alone: with batch normalisations in eval mode: by their statistics, every image of
                a batch counts in the gradient of every other.
            class_weights: K, of the supervised loss.
            criterion: the supervised loss; None: cross entropy.
            regulariser: the term on the images beside it; None: there is none.
            options: of the method.
        """
        method = self.build(**options).double()
        method.class_weights = class_weights
        method.criterion = criterion or SupervisedLoss()
        method.regulariser = regulariser
        for layer in method.modules():
            if each_alone and isinstance(layer, BATCH_NORMS):
                layer.eval()
        torch.manual_seed(1)
        update = Gradients(method)
        method.step(batch, LATE, update)
        return {player: update.vector(player) for player in method.players()}

    def weights(self) -> dict[str, float]:
        """Options that weigh a term, with their defaults (1 where a term is off by default)."""
        fields = options_schema(self.cls).model_fields
        return {
            key: field.default or 1.0
            for key, field in fields.items()
            if "weight" in key.split("_") and isinstance(field.default, float)
        }


def players_share_the_parameters(subject: MethodSubject) -> None:
    """Every parameter belongs to exactly one player."""
    method = subject.build("full")
    names = {id(p): key for key, p in method.named_parameters()}
    owned = [id(p) for params in parameters_of(method).values() for p in params]
    twice = sorted({names.get(key, "?") for key in owned if owned.count(key) > 1})
    require(not twice, f"{listed(twice)}: of two players. Give each parameter to one.")
    free = [k for k, p in method.named_parameters() if p.requires_grad and id(p) not in set(owned)]
    require(
        not free,
        f"{listed(free)}: of no player, so never trained. Name them in `players`, or freeze them "
        "(requires_grad_(False); a Teacher is frozen).",
    )
    foreign = [key for key in owned if key not in names]
    require(not foreign, "a player holds parameters that are not in the method's state.")
    frozen = [k for k, p in method.named_parameters() if not p.requires_grad and id(p) in owned]
    require(not frozen, f"{listed(frozen)}: frozen, but of a player. Leave them out of `players`.")


def updates_move_their_player_alone(subject: MethodSubject) -> None:
    """An update moves all parameters of its player and no others."""
    for kind in ("plain", "auxiliary"):
        method = subject.build(kind)
        names = {id(p): key for key, p in method.named_parameters()}
        own = {player: {names[id(p)] for p in ps} for player, ps in parameters_of(method).items()}
        updates = toy_updates(method)
        watched = Watched(method, updates)
        updates.begin(LATE)
        method.step(subject.batch(), LATE, watched)
        never = sorted(own.keys() - {player for player, _ in watched.moved})
        require(not never, f"{listed(never)}: never updated. Call `update` for each player.")
        idle = cancelled_biases(method)
        for player, moved in watched.moved:
            still, others = sorted(own[player] - idle - moved), sorted(moved - own[player])
            require(
                not still,
                f"the update of '{player}' does not move {listed(still)} (network '{kind}'): the "
                "loss does not depend on them. Train all maps of `training_logits`, by "
                "`supervised_loss`, and look for a `.detach()` too many.",
            )
            require(not others, f"the update of '{player}' moves {listed(others)} too.")


class Watched:
    """`Updates` under observation: which parameters each call moves, and what gradients it leaves.

    Attributes:
        moved: (player, names of the parameters that its update moved), in order.
    """

    def __init__(self, method: Method, updates: Updates) -> None:
        self._method, self._updates = method, updates
        self.moved: list[tuple[str, set[str]]] = []

    def __call__(self, player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        """One update, watched."""
        before = {key: p.detach().clone() for key, p in self._method.named_parameters()}
        left = [key for key, p in self._method.named_parameters() if p.grad is not None]
        self._updates(player, loss, keep_graph=keep_graph)
        after = dict(self._method.named_parameters())
        left += [key for key, p in after.items() if p.grad is not None]
        require(
            not left,
            f"there are gradients in {listed(left)} beside those of the update of '{player}'. "
            "Call no `backward` yourself: `update` does.",
        )
        self.moved.append(
            (player, {key for key, p in after.items() if not torch.equal(p, before[key])})
        )


def only_updates_move_parameters(subject: MethodSubject) -> None:
    """Nothing but `update` moves a parameter of a player."""
    method = subject.build()
    before = {key: p.detach().clone() for key, p in method.named_parameters() if p.requires_grad}
    method.step(subject.batch(), LATE, Gradients(method))
    now = dict(method.named_parameters())
    moved = [key for key, value in before.items() if not torch.equal(value, now[key])]
    require(not moved, f"{listed(moved)}: moved without `update`. Change no weight by hand.")


def reads_what_it_names(subject: MethodSubject) -> None:
    """The streams that `reads` names are those that `step` reads."""
    method, batch = subject.build(), subject.batch()
    method.step(batch, LATE, Gradients(method))  # reads no other, or it fails here
    for left_out in subject.reads.streams:
        rest = {n: getattr(batch, n) for n in subject.reads.streams if n != left_out}
        try:
            method.step(Batch(**rest), LATE, Gradients(method))
        except AssertionError:
            continue
        require(
            False,
            f"`reads` names {left_out} images, and `step` does not read them. Leave them out of "
            "`reads`, or use batch." + left_out + ".",
        )


def unlabelled_images_teach(subject: MethodSubject) -> None:
    """Other unlabelled images give another update of the segmenter; so do other strong views."""
    if not subject.reads.unlabelled:
        raise NotApplicable("it reads no unlabelled images")
    batch, dtype = subject.batch(dtype=torch.float64), torch.float64
    before = subject.gradients(batch)["segmenter"]
    other = subject.batch(1, dtype=dtype).unlabelled
    after = subject.gradients(with_unlabelled(batch, image=other.image, views=other.views))
    require(
        relative_change(before, after["segmenter"]) > 1e-6,
        "other unlabelled images give the same update of the segmenter: the term does not reach "
        "it. Look for a term that is left out of the loss, or a `.detach()` too many.",
    )
    if subject.reads.unlabelled_views:
        after = subject.gradients(with_unlabelled(batch, views=other.views))
        require(
            any(
                relative_change(before_of, after[player]) > 1e-9
                for player, before_of in subject.gradients(batch).items()
            ),
            "other strong views change no update. Use batch.unlabelled.views, or set "
            "unlabelled_views of `reads` to 0.",
        )
    if subject.reads.unlabelled_partner:
        after = subject.gradients(with_unlabelled(batch, partner=other.partner))
        require(
            relative_change(before, after["segmenter"]) > 1e-9,
            "other second crops give the same update of the segmenter. Use "
            "batch.unlabelled.partner, or leave unlabelled_partner out of `reads`.",
        )


def padding_does_not_count(subject: MethodSubject) -> None:
    """An unlabelled image that is all padding changes no gradient."""
    if not subject.reads.unlabelled:
        raise NotApplicable("it reads no unlabelled images")
    batch = subject.batch(dtype=torch.float64)
    before, after = (
        subject.gradients(
            _changed(batch, unlabelled=_padded(batch.unlabelled, filled)), each_alone=True
        )
        for filled in (False, True)
    )
    same_gradients(
        before,
        after,
        "what stands in the padding of an unlabelled image changes the update of '{}'. Take means "
        "by `masked_mean(..., batch.unlabelled.valid)`.",
    )


def _padded(free: Unlabelled, filled: bool) -> Unlabelled:
    """The same with a second image that is all padding, in it another picture where `filled`."""
    valid, image = free.valid.clone(), free.image.clone()
    views = tuple(view.clone() for view in free.views)
    valid[1] = False
    if filled:
        image[1] = 7.0 * image[0]
        for view in views:
            view[1] = 5.0 * view[0]
    partner = None if free.partner is None else _padded(free.partner, filled)
    return replace(free, image=image, valid=valid, views=views, partner=partner)


def void_does_not_count(subject: MethodSubject) -> None:
    """A labelled image whose mask is all void changes no gradient."""
    if not subject.reads.labelled:
        raise NotApplicable("it reads no labelled images")
    batch = subject.batch(dtype=torch.float64)
    mask, image = batch.labelled.mask.clone(), batch.labelled.image.clone()
    mask[1] = IGNORE
    image[1] = 3.0 * image[0]
    before = subject.gradients(with_labelled(batch, mask=mask), each_alone=True)
    after = subject.gradients(with_labelled(batch, mask=mask, image=image), each_alone=True)
    same_gradients(
        before,
        after,
        "a labelled image without a valid pixel changes the update of '{}'. Leave void out by "
        "`supervised_loss`, or `masked_mean(..., mask != IGNORE)`.",
    )


def class_weights_count(subject: MethodSubject) -> None:
    """Weights of the classes change the update of a player."""
    _changes_an_update(
        subject,
        "class weights change no update: train.class_weights would do nothing. Take "
        "`self.supervised_loss`, or pass `self.class_weights` to the loss",
        class_weights=torch.arange(1, CLASSES + 1, dtype=torch.float64),
    )


def the_loss_is_chosen(subject: MethodSubject) -> None:
    """Another supervised loss changes the update of a player."""
    _changes_an_update(
        subject,
        "another supervised loss changes no update: train.loss would do nothing. Take "
        "`self.supervised_loss`, or `self.criterion` for the loss of one map",
        criterion=SupervisedLoss("dice"),
    )


def border_weights_count(subject: MethodSubject) -> None:
    """Weights of the pixels between objects change the update of a player."""
    weights = torch.linspace(0, 1, 2 * SIDE * SIDE, dtype=torch.float64).view(2, SIDE, SIDE)
    _changes_an_update(
        subject,
        "weights of pixels change no update: train.border_weight would do nothing. Take "
        "`self.supervised_loss`, or give `batch.labelled.border_weights` to the loss of one map",
        weights,
    )


def the_regulariser_counts(subject: MethodSubject) -> None:
    """A term on the images themselves changes the update of a player."""
    _changes_an_update(
        subject,
        "a term on the images changes no update: train.regulariser would do nothing. Take "
        "`self.supervised_loss`, or add `self.regularised` to the loss of the main map",
        regulariser=Regulariser("gated_crf", 1.0),
    )


def _changes_an_update(
    subject: MethodSubject, problem: str, border_weights: Tensor | None = None, **changed: Any
) -> None:
    """A change of the supervised loss changes a gradient, where there is such a loss."""
    if not subject.cls.takes_class_weights:
        raise NotApplicable("it has no cross entropy over the classes")
    batch = subject.batch(dtype=torch.float64)
    before = subject.gradients(batch)
    if border_weights is not None:
        batch = with_labelled(batch, border_weights=border_weights)
    after = subject.gradients(batch, **changed)
    require(
        any(relative_change(before[player], after[player]) > 1e-6 for player in before),
        f"{problem}; without a cross entropy over the classes, set `takes_class_weights = False` "
        "in the class.",
    )


def every_term_reaches_an_optimiser(subject: MethodSubject) -> None:
    """Each option that weighs a term changes a gradient."""
    weights = subject.weights()
    if not weights:
        raise NotApplicable("no option weighs a term")
    for key, value in weights.items():
        # Of what it reads with the term: one that is off by default may read no labels for it.
        batch = subject.having(key, value).batch(dtype=torch.float64)
        on, off = (
            subject.gradients(
                batch,
                each_alone=False,
                class_weights=None,
                criterion=None,
                regulariser=None,
                **{key: v},
            )
            for v in (value, 0.0)
        )
        changed = [player for player in on if relative_change(on[player], off[player]) > 1e-7]
        require(
            changed,
            f"{key} changes no gradient: its term reaches no optimiser. Add the term before the "
            "loss is given to `update`, or set --option so that it acts from the start.",
        )


def without_terms_it_is_supervised(subject: MethodSubject) -> None:
    """With all weights at 0 it is supervised training, to the last bit."""
    weights = subject.weights()
    if not weights or not subject.reads.labelled:
        raise NotApplicable("no option weighs a term")
    for kind in WITHOUT_DROPOUT:
        alone = MethodSubject("supervised", Supervised).build(kind)
        method = subject.build(kind, 0, **dict.fromkeys(weights, 0.0))
        alone.segmenter.load_state_dict(of_the_classes(method, alone))
        for trained, reads in ((alone, Reads()), (method, subject.reads)):
            torch.manual_seed(1)
            take_steps(trained, toy_updates(trained, "sgd"), reads, range(7, 10))
        differs = different(alone.segmenter.state_dict(), of_the_classes(method, alone))
        require(
            not differs,
            f"with all weights at 0 it differs from supervised training in {listed(differs)} "
            f"(network '{kind}'). Where a term is off, let no image pass through the segmenter "
            "for it: batch statistics would move.",
        )


def scalars_are_documented(subject: MethodSubject) -> None:
    """The scalars are those under `Logs:` in the docstring, finite, 0-d and detached."""
    stated = documented_scalars(subject.cls)
    method = subject.build("full")
    updates = toy_updates(method)
    for progress in (Progress(0, 100), LATE):
        updates.begin(progress)
        scalars = dict(method.step(subject.batch(), progress, updates))
        measured = _measured(method, subject.batch())
        twice = sorted(scalars.keys() & measured.keys())
        require(not twice, f"{listed(twice)}: from `step` and from `measure`. Report it once.")
        scalars |= measured
        extra, missing = sorted(scalars.keys() - stated), sorted(stated - scalars.keys())
        require(not extra, f"{listed(extra)}: reported, but not under `Logs:`. Describe it there.")
        require(
            not missing,
            f"{listed(missing)}: under `Logs:`, but not reported at step {progress.step}. Report "
            "the same names at each step, 0 where a term is off.",
        )
        untold = sorted(set(method.story) - scalars.keys())
        require(
            not untold,
            f"{listed(untold)}: in `story`, but not reported. Set `story` to the two or three "
            "scalars that tell how a run goes.",
        )
        for key, value in scalars.items():
            require(isinstance(value, Tensor), f"{key}: is no tensor. Report `loss.detach()`.")
            require(value.shape == (), f"{key}: has shape {tuple(value.shape)}. Report its mean.")
            require(not value.requires_grad, f"{key}: keeps its graph. Report `.detach()`.")
            require(torch.isfinite(value), f"{key}: is {float(value)} at step {progress.step}.")


def _measured(method: Method, batch: Batch) -> Scalars:
    method.eval()
    try:
        with torch.no_grad():
            return method.measure(batch)
    finally:
        method.train()


def documented_scalars(cls: type) -> set[str]:
    """Names under `Logs:` in the docstring of a method."""
    text = inspect.getdoc(cls) or ""
    require(
        "\nLogs:\n" in text,
        f"the docstring of {cls.__name__} has no section `Logs:`. Write one, with a line "
        "`name: what it is, and its healthy values` for each scalar of `step`.",
    )
    section = text.split("\nLogs:\n")[1].split("\n\n")[0]
    return set(re.findall(r"^    (\w+):", section, flags=re.MULTILINE))


def saved_it_goes_on_alike(subject: MethodSubject) -> None:
    """A method that is saved and loaded goes on to the same bits."""
    method = subject.build("full")
    updates = toy_updates(method)
    take_steps(method, updates, subject.reads, range(3), 6)
    file = io.BytesIO()
    state = {"method": method.state_dict(), "updates": updates.state_dict()}
    torch.save(state | {"random": torch.get_rng_state()}, file)
    take_steps(method, updates, subject.reads, range(3, 6), 6)

    other = subject.build("full", seed=5)
    other_updates = toy_updates(other)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    other.load_state_dict(loaded["method"])
    other_updates.load_state_dict(loaded["updates"])
    torch.set_rng_state(loaded["random"])
    take_steps(other, other_updates, subject.reads, range(3, 6), 6)
    differs = different(method.state_dict(), other.state_dict())
    require(
        not differs,
        f"after three steps, saved and loaded, three more lead to other {listed(differs)}. "
        "Keep all that a step changes in `state_dict`: counters and memories as buffers "
        "(`register_buffer`), networks as modules.",
    )


def steps_depend_on_the_seed(subject: MethodSubject) -> None:
    """The same seed gives the same steps; all random numbers are torch's."""
    ends = []
    for seed in (3, 3, 4):
        method = subject.build("full")
        torch.manual_seed(seed)
        take_steps(method, toy_updates(method), subject.reads, range(3))
        ends.append({key: value.clone() for key, value in method.state_dict().items()})
    differs = different(ends[0], ends[1])
    require(
        not differs,
        f"two runs of one seed differ in {listed(differs)}. Draw random numbers from torch's "
        "global generator alone.",
    )
    if any(isinstance(m, DROPOUTS) and m.training for m in method.modules()):
        require(different(ends[0], ends[2]), "the seed changes nothing, in spite of dropout.")


def no_valid_pixel_breaks_nothing(subject: MethodSubject) -> None:
    """A batch without a valid pixel gives finite losses and weights."""
    method = subject.build("full")
    updates = toy_updates(method)
    for progress in (Progress(0, 100), LATE):
        updates.begin(progress)
        scalars = method.step(subject.batch(void=True), progress, updates)
        bad = [key for key, value in scalars.items() if not torch.isfinite(value)]
        bad += [key for key, p in method.named_parameters() if not torch.isfinite(p).all()]
        require(
            not bad,
            f"{listed(bad)}: not finite after a batch without a valid pixel. Use the means of "
            "semisup.losses, which are 0 there.",
        )


def pictures_change_nothing(subject: MethodSubject) -> None:
    """`pictures` gives maps B1HW in [0, 1], of labelled images alone too, and changes nothing."""
    method = subject.build("full").eval()
    batch = subject.batch()
    image = batch.labelled.image if subject.reads.labelled else batch.weak.image
    before, random = copy.deepcopy(method.state_dict()), torch.get_rng_state()
    with torch.no_grad():
        logits = method.predictor()(image)
        pictures = method.pictures(batch, logits)
        if subject.reads.labelled:  # what a finished run shows
            alone = method.pictures(Batch(labelled=batch.labelled), logits)
            require(
                alone.keys() == pictures.keys(),
                f"`pictures` of labelled images alone are {sorted(alone)}, not {sorted(pictures)}.",
            )
            pictures = {**pictures, **{f"{name}, alone": p for name, p in alone.items()}}
    for name, picture in pictures.items():
        right = picture.shape == (2, 1, SIDE, SIDE)
        require(right, f"picture '{name}' has shape {tuple(picture.shape)}, not B1HW.")
        low, high = float(picture.min()), float(picture.max())
        inside = 0.0 <= low <= high <= 1.0
        require(inside, f"picture '{name}' is not in [0, 1] ({low}, {high}).")
    changed = different(before, method.state_dict())
    require(not changed, "`pictures` changes the method's state.")
    require(torch.equal(random, torch.get_rng_state()), "`pictures` draws random numbers.")


def pseudo_labels_are_labels(subject: MethodSubject) -> None:
    """`pseudo_labels` gives BHW int64, 0..K-1 or void, `labeller` logits; nothing changes."""
    if subject.cls.pseudo_labels is Method.pseudo_labels:
        raise NotApplicable("it teaches no pseudo-labels")
    method = subject.build("full").eval()
    image = toy_batch(Reads(unlabelled=True)).unlabelled.image
    before = copy.deepcopy(method.state_dict())
    with torch.no_grad():
        labels, logits = method.pseudo_labels(image), method.labeller()(image)
    if labels is None:
        raise NotApplicable("it teaches no pseudo-labels with these options")
    shape, dtype = tuple(labels.shape), labels.dtype
    require(
        shape == (2, SIDE, SIDE) and dtype == torch.int64,
        f"`pseudo_labels` gives {dtype} of shape {shape}, not int64 BHW.",
    )
    known = ((labels >= 0) & (labels < CLASSES)) | (labels == IGNORE)
    require(known.all(), f"`pseudo_labels` gives labels beyond 0..K-1 and {IGNORE}.")
    size, maps = (*logits.shape[:1], *logits.shape[2:]), logits.shape[1]
    require(
        logits.ndim == 4 and size == shape and maps >= CLASSES,
        f"`labeller` gives {tuple(logits.shape)}, not the logits BKHW of its pseudo-labels.",
    )
    require(not different(before, method.state_dict()), "`pseudo_labels` changes the state.")


def networks_are_its_own(subject: MethodSubject) -> None:
    """No two networks of one method, and no two methods, share a weight."""
    one, other = subject.build(), subject.build()
    names = [key for method in (one, other) for key, _ in method.named_parameters()]
    pointers = [p.data_ptr() for method in (one, other) for p in method.parameters()]
    shared = sorted({n for n, key in zip(names, pointers, strict=True) if pointers.count(key) > 1})
    require(
        not shared,
        f"{listed(shared)}: shared by two networks. Call `task.build_segmenter()` once for each, "
        "in __init__.",
    )


def options_have_ranges(subject: MethodSubject) -> None:
    """A negative weight of a term is refused by name."""
    if not subject.weights():
        raise NotApplicable("no option weighs a term")
    for key in subject.weights():
        try:
            subject.build("plain", 0, **{key: -1.0})
        except Exception as error:
            require(key in str(error), f"{key} = -1 is refused without its name: {error}")
            continue
        require(False, f"{key} = -1 is accepted. Call require_not_negative({key}={key}).")


def the_predictor_learns(subject: MethodSubject) -> None:
    """The predictor learns the toy problem, in which the colour tells the class.

    In the network with the most state: what the others add is none of a method's. A method that
    reads no mask is not asked: tags alone do not say where a class is.
    """
    if not subject.reads.labelled:
        return
    method = subject.build("full")
    shown = toy_batch(Reads(), 1000).labelled
    known = shown.mask < CLASSES
    scores, losses = [], []
    for trained in (False, True):
        if trained:
            told = take_steps(method.train(), toy_updates(method), subject.reads, range(40), 40)
            losses = [float(s["loss_segmentation"]) for s in told if "loss_segmentation" in s]
        with torch.no_grad():
            predicted = method.eval().predictor()(shown.image).argmax(1)
        scores.append(float((predicted == shown.mask)[known].float().mean()))
    require(
        scores[1] > max(0.85, scores[0]),
        f"after 40 steps the predictor is right at {scores[1]:.0%} of the pixels of a problem "
        f"that supervised training solves ({scores[0]:.0%} at the start). Is it the network that "
        "is trained? A teacher must follow at each step.",
    )
    require(
        not losses or losses[-1] < 0.5 * losses[0],
        f"loss_segmentation is {losses[:1]} at the first of 40 steps and {losses[-1:]} at the "
        "last, though the predictor learns. Report the loss of this step.",
    )


CHECKS: tuple[Check[MethodSubject], ...] = (
    Check("every parameter belongs to one player", players_share_the_parameters),
    Check("an update moves its player and no other", updates_move_their_player_alone),
    Check("only updates move parameters", only_updates_move_parameters),
    Check("it reads the streams that it names", reads_what_it_names),
    Check("unlabelled images change the update", unlabelled_images_teach),
    Check("padding does not count", padding_does_not_count),
    Check("void pixels do not count", void_does_not_count),
    Check("class weights change the update", class_weights_count),
    Check("the chosen loss changes the update", the_loss_is_chosen),
    Check("weights of pixels change the update", border_weights_count),
    Check("a term on the images changes the update", the_regulariser_counts),
    Check("every weighted term reaches an optimiser", every_term_reaches_an_optimiser),
    Check("without its terms it is supervised training", without_terms_it_is_supervised),
    Check("negative weights are refused", options_have_ranges),
    Check("its scalars are documented and plain", scalars_are_documented),
    Check("saved, it goes on to the same bits", saved_it_goes_on_alike),
    Check("its steps depend on the seed alone", steps_depend_on_the_seed),
    Check("a batch without a valid pixel breaks nothing", no_valid_pixel_breaks_nothing),
    Check("its pictures are maps and change nothing", pictures_change_nothing),
    Check("its pseudo-labels are labels", pseudo_labels_are_labels),
    Check("every network is its own", networks_are_its_own),
    Check("its predictor learns a toy problem", the_predictor_learns),
)


def parameters_of(method: Method) -> dict[str, list[nn.Parameter]]:
    """Player -> its parameters."""
    return {
        player: [p for group in groups for p in group.params]
        for player, groups in method.players().items()
    }


def take_steps(
    method: Method, updates: Updates, reads: Reads, steps: range, total: int = 10
) -> list[Scalars]:
    """Steps of a toy run, and the scalars of each."""
    scalars = []
    for step in steps:
        progress = Progress(step, total)
        updates.begin(progress)
        scalars.append(method.step(toy_batch(reads, step), progress, updates))
    return scalars


def cancelled_biases(method: Method) -> set[str]:
    """Biases right before a batch normalisation, which takes them out again: they stand still."""
    return {
        f"{name}.{place}.bias"
        for name, block in method.named_modules()
        if isinstance(block, nn.Sequential)
        for place, (layer, following) in enumerate(itertools.pairwise(block))
        if isinstance(following, nn.BatchNorm2d) and layer.bias is not None
    }


def with_unlabelled(batch: Batch, **changes: Any) -> Batch:
    """The same batch with other unlabelled images."""
    return _changed(batch, unlabelled=replace(batch.unlabelled, **changes))


def with_labelled(batch: Batch, **changes: Any) -> Batch:
    """The same batch with other labelled images."""
    return _changed(batch, labelled=replace(batch.labelled, **changes))


def _changed(batch: Batch, **streams: Any) -> Batch:
    for name in ("labelled", "unlabelled", "weak"):
        if name not in streams and getattr(batch, f"_{name}") is not None:
            streams[name] = getattr(batch, name)
    return Batch(**streams)


def relative_change(one: Tensor, other: Tensor) -> float:
    """Norm of the difference over that of `one`; 0 where both are 0."""
    return float((one - other).norm() / one.norm().clamp(min=1e-30))


def same_gradients(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], sentence: str
) -> None:
    """Require equal gradients of each player, to rounding."""
    for player, gradient in before.items():
        same = torch.allclose(gradient, after[player], rtol=1e-12, atol=1e-15)
        require(same, sentence.format(player))


def of_the_classes(method: Method, alone: Method) -> dict[str, Tensor]:
    """State of the method's segmenter without the rows of logits that are of no class."""
    wanted = alone.segmenter.state_dict()
    state = method.segmenter.state_dict()
    return {
        key: value[: len(wanted[key])] if value.dim() else value for key, value in state.items()
    }


def different(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Keys whose tensors are not equal to the last bit, or that one of two states lacks."""
    missing = one.keys() ^ other.keys()
    return sorted(missing) + [
        key for key in one if key not in missing and not torch.equal(one[key], other[key])
    ]


def listed(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
