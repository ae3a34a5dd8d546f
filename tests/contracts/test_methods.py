"""Whether the contract of methods finds what is broken, and says so in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.plugins import EXAMPLES
from torch import Tensor, nn

from semisup.catalog import METHODS, load_plugins
from semisup.contracts.base import run_checks
from semisup.contracts.methods import CHECKS, MethodSubject, documented_scalars
from semisup.losses.segmentation import cross_entropy, supervised_loss
from semisup.methods.base import Method, Task, require_not_negative
from semisup.models.base import ParameterGroup
from semisup.options import option_names
from semisup.types import Batch, Labelled, Progress, Reads, Scalars, Update

SMALL = {
    "discriminator_width": 8,
    "generator_width": 8,
    "view": "small",
    "downsampling": 1,
    "confidence_threshold": 0.0,
}
"""Options that suit a toy problem. At a threshold of 0 every term of a fresh method acts."""


def failed(name: str, cls: type[Method], *titles: str, **options: Any) -> dict[str, str]:
    """What fails of the checks of these titles, or of all."""
    checks = [check for check in CHECKS if check.title in titles or not titles]
    assert checks, titles
    found = run_checks(checks, MethodSubject(name, cls, options))
    return {finding.title: finding.problem for finding in found if finding.problem}


def small(cls: type[Method]) -> dict[str, Any]:
    return {key: value for key, value in SMALL.items() if key in option_names(cls)}


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("name", ["output_alignment", "pseudo_label"])
def test_a_method_of_the_examples_holds_to_it(name: str) -> None:
    """As tests/plugins checks Mean Teacher, by the command."""
    load_plugins([str(EXAMPLES / f"{name}.py")])
    assert failed(name, METHODS[name], **small(METHODS[name])) == {}


@pytest.mark.usefixtures("outside")
def test_the_tutorial_shows_what_the_check_says_of_its_method() -> None:
    """docs/own-method.md quotes it: a term that does not act on the toy problem."""
    page = (EXAMPLES.parent / "own-method.md").read_text(encoding="utf-8")
    assert f"tries {len(CHECKS)} things" in page
    load_plugins([str(EXAMPLES / "pseudo_label.py")])
    title = "every weighted term reaches an optimiser"
    found = failed("pseudo_label", METHODS["pseudo_label"], title)
    assert f"{title}: {found[title]}" in " ".join(page.split())
    assert '"without its terms it is supervised training" would fail' in page
    assert "without its terms it is supervised training" in [check.title for check in CHECKS]


class Sound(Method):
    """Consistency with a second network: what the broken ones below are made of.

    Logs:
        loss_segmentation: cross entropy.
        loss_consistency: squared difference.
    """

    reads = Reads(unlabelled=True, unlabelled_views=1)

    def __init__(self, task: Task, *, consistency_weight: float = 1.0) -> None:
        super().__init__()
        require_not_negative(consistency_weight=consistency_weight)
        self.consistency_weight = consistency_weight
        self.segmenter = task.build_segmenter()
        self.other = task.build_segmenter()
        self.steps = 0

    def players(self) -> dict[str, list[ParameterGroup]]:
        return {
            "segmenter": self.segmenter.parameter_groups(),
            "other": self.other.parameter_groups(),
        }

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        terms = self.supervised(batch, self.segmenter), self.consistency(batch, self.segmenter)
        update("segmenter", terms[0] + self.consistency_weight * terms[1])
        update("other", self.supervised(batch, self.other))
        return self.report(*terms)

    def supervised(self, batch: Batch, network: Any) -> Tensor:
        labelled = batch.labelled
        maps = network.training_logits(labelled.image)
        loss = self.loss(maps, labelled.mask, network, labelled.border_weights)
        return loss + self.on_images(maps[0], labelled)

    def on_images(self, logits: Tensor, labelled: Labelled) -> Tensor:
        return self.regularised(logits, labelled.image, labelled.mask, labelled.valid)

    def loss(self, maps: Any, mask: Tensor, network: Any, border: Tensor | None) -> Tensor:
        return supervised_loss(
            maps,
            mask,
            network.auxiliary_weights,
            class_weights=self.class_weights,
            border_weights=border,
            criterion=self.criterion,
        )

    def consistency(self, batch: Batch, network: Any) -> Tensor:
        if self.consistency_weight == 0:
            return torch.zeros(())
        free = batch.unlabelled
        change = network(free.image).softmax(1) - network(free.views[0]).softmax(1)
        return self.mean(change.square().sum(1), free.valid)

    def mean(self, values: Tensor, valid: Tensor) -> Tensor:
        return values.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)

    def report(self, segmentation: Tensor, consistency: Tensor) -> Scalars:
        return {
            "loss_segmentation": segmentation.detach(),
            "loss_consistency": consistency.detach(),
        }


def test_the_method_that_the_broken_ones_are_made_of_is_sound() -> None:
    assert failed("sound", Sound) == {}


class NormalisesWithTheBatch(Sound):
    """A network of its own whose batch norm mixes the images of a batch.

    Logs:
        loss_segmentation: cross entropy.
        loss_consistency: squared difference.
    """

    def __init__(self, task: Task, *, consistency_weight: float = 1.0) -> None:
        super().__init__(task, consistency_weight=consistency_weight)
        self.norm = nn.BatchNorm2d(task.num_classes)

    def players(self) -> dict[str, list[ParameterGroup]]:
        groups = super().players()
        norm = ParameterGroup(list(self.norm.parameters()), name="norm")
        return groups | {"segmenter": [*groups["segmenter"], norm]}

    def consistency(self, batch: Batch, network: Any) -> Tensor:
        maps = network.training_logits(batch.labelled.image)
        labelled = supervised_loss([self.norm(maps[0])], batch.labelled.mask)
        return super().consistency(batch, network) + labelled


def test_a_batch_norm_of_the_method_is_no_padding_or_void_that_counts() -> None:
    titles = ("padding does not count", "void pixels do not count")
    assert failed("normalises", NormalisesWithTheBatch, *titles) == {}


class TwoPlayersOneParameter(Sound):
    def players(self) -> dict[str, list[ParameterGroup]]:
        groups = super().players()
        return groups | {"other": groups["other"] + groups["segmenter"]}


class NeverTrained(Sound):
    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task)
        self.projection = nn.Linear(3, 3)


class NeverUpdated(Sound):
    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        return super().step(
            batch, progress, lambda p, loss, **_: update(p, loss) if p != "other" else None
        )


class MainMapAlone(Sound):
    def supervised(self, batch: Batch, network: Any) -> Tensor:
        return cross_entropy(network(batch.labelled.image), batch.labelled.mask)


class BackwardByHand(Sound):
    def supervised(self, batch: Batch, network: Any) -> Tensor:
        loss = super().supervised(batch, network)
        loss.backward(retain_graph=True)
        return loss


class MovesByHand(Sound):
    def consistency(self, batch: Batch, network: Any) -> Tensor:
        with torch.no_grad():
            self.other.head.weight.mul_(0.99)  # type: ignore[operator, union-attr]
        return super().consistency(batch, network)


class ReadsTags(Sound):
    def supervised(self, batch: Batch, network: Any) -> Tensor:
        return super().supervised(batch, network) + 0.0 * batch.weak.tags.sum()


class IgnoresUnlabelled(Sound):
    def consistency(self, batch: Batch, network: Any) -> Tensor:
        return torch.zeros(())


class DetachedTerm(Sound):
    def consistency(self, batch: Batch, network: Any) -> Tensor:
        return super().consistency(batch, network).detach()


class IgnoresViews(Sound):
    def consistency(self, batch: Batch, network: Any) -> Tensor:
        if self.consistency_weight == 0:
            return torch.zeros(())
        free = batch.unlabelled
        return self.mean(network(free.image).softmax(1).square().sum(1), free.valid)


class IgnoresSecondCrops(Sound):
    reads = Reads(unlabelled=True, unlabelled_views=1, unlabelled_partner=True)


class PaddingCounts(Sound):
    def mean(self, values: Tensor, valid: Tensor) -> Tensor:
        return values.mean()


class VoidIsAClass(Sound):
    def supervised(self, batch: Batch, network: Any) -> Tensor:
        maps = network.training_logits(batch.labelled.image)
        mask = batch.labelled.mask.clamp(max=2)
        return supervised_loss(maps, mask, network.auxiliary_weights)


class NotANumberWithoutPixels(Sound):
    def mean(self, values: Tensor, valid: Tensor) -> Tensor:
        return values[valid].mean()


class RunsWhereTheTermIsOff(Sound):
    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        self.segmenter(batch.unlabelled.image)
        return super().step(batch, progress, update)


class NegativeWeight(Sound):
    def __init__(self, task: Task, *, consistency_weight: float = 1.0) -> None:
        super().__init__(task)
        self.consistency_weight = consistency_weight


class Undocumented(Sound):
    """Says nothing."""


class OtherScalars(Sound):
    def report(self, segmentation: Tensor, consistency: Tensor) -> Scalars:
        return {"loss_segmentation": segmentation.detach(), "loss": consistency.detach()}


class KeepsItsGraph(Sound):
    def report(self, segmentation: Tensor, consistency: Tensor) -> Scalars:
        return {"loss_segmentation": segmentation.detach(), "loss_consistency": consistency}


class ForgetsACounter(Sound):
    def supervised(self, batch: Batch, network: Any) -> Tensor:
        self.steps += 1
        return super().supervised(batch, network) * (1 + 0.1 * self.steps)


class RandomOfItsOwn(Sound):
    def supervised(self, batch: Batch, network: Any) -> Tensor:
        return super().supervised(batch, network) * torch.rand((), generator=GENERATOR)


GENERATOR = torch.Generator().manual_seed(0)


class ForgetsTheWeightsOfPixels(Sound):
    def loss(self, maps: Any, mask: Tensor, network: Any, border: Tensor | None) -> Tensor:
        return super().loss(maps, mask, network, None)


class ForgetsTheTermOnTheImages(Sound):
    def on_images(self, logits: Tensor, labelled: Labelled) -> Tensor:
        return torch.zeros(())


class ForgetsTheWeightsOfClasses(Sound):
    def loss(self, maps: Any, mask: Tensor, network: Any, border: Tensor | None) -> Tensor:
        return supervised_loss(maps, mask, network.auxiliary_weights, criterion=self.criterion)


class ForgetsTheChosenLoss(Sound):
    def loss(self, maps: Any, mask: Tensor, network: Any, border: Tensor | None) -> Tensor:
        weights = network.auxiliary_weights
        return supervised_loss(maps, mask, weights, class_weights=self.class_weights)


class ReadsTheWeightsAndDropsThem(ForgetsTheWeightsOfClasses):
    def loss(self, maps: Any, mask: Tensor, network: Any, border: Tensor | None) -> Tensor:
        assert self.class_weights is None or len(self.class_weights) == 3
        return super().loss(maps, mask, network, border)


class SaysThatItTakesNone(ForgetsTheWeightsOfClasses):
    takes_class_weights = False


def test_a_method_may_say_that_it_has_no_loss_over_the_classes() -> None:
    assert failed("broken", SaysThatItTakesNone, "class weights change the update") == {}
    assert failed("broken", SaysThatItTakesNone, "the chosen loss changes the update") == {}
    assert failed("broken", SaysThatItTakesNone, "weights of pixels change the update") == {}
    assert failed("broken", SaysThatItTakesNone, "a term on the images changes the update") == {}


class BadPictures(Sound):
    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        return {"logits": logits[:, :1]}


class OtherPicturesAlone(Sound):
    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        return {} if batch._unlabelled is None else {"certainty": logits.softmax(1)[:, :1]}


class OldLoss(Sound):
    def report(self, segmentation: Tensor, consistency: Tensor) -> Scalars:
        return super().report(torch.ones(()), consistency)


class BadLabels(Sound):
    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        return self.segmenter(image).argmax(1) + 1


class BadLabeller(Sound):
    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        return self.segmenter(image).argmax(1)

    def labeller(self) -> nn.Module:
        return nn.MaxPool2d(2)


class OneNetworkForAll(Sound):
    kept: list[Any] = []  # noqa: RUF012

    def __init__(self, task: Task, *, consistency_weight: float = 1.0) -> None:
        super().__init__(task, consistency_weight=consistency_weight)
        self.kept.append(self.segmenter)
        self.segmenter = self.kept[0]


class UntrainedPredictor(Sound):
    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task)
        self.frozen = task.build_segmenter().requires_grad_(False)

    def predictor(self) -> nn.Module:
        return self.frozen


class TellsAnotherStory(Sound):
    story = ("loss_segmentation", "accuracy")


class Crashes(Sound):
    def consistency(self, batch: Batch, network: Any) -> Tensor:
        return batch.unlabelled.views[0] @ torch.zeros(3)


@pytest.mark.parametrize(
    ("cls", "title", "words"),
    [
        (TwoPlayersOneParameter, "every parameter belongs to one player", "of two players"),
        (NeverTrained, "every parameter belongs to one player", "projection.weight, projection."),
        (NeverUpdated, "an update moves its player and no other", "other: never updated"),
        (MainMapAlone, "an update moves its player and no other", "all maps of `training_logits`"),
        (BackwardByHand, "an update moves its player and no other", "Call no `backward`"),
        (MovesByHand, "only updates move parameters", "other.head.weight: moved without"),
        (ReadsTags, "it reads the streams that it names", "did not ask for the weak stream"),
        (IgnoresUnlabelled, "it reads the streams that it names", "does not read them"),
        (DetachedTerm, "unlabelled images change the update", "does not reach it"),
        (DetachedTerm, "every weighted term reaches an optimiser", "consistency_weight changes no"),
        (IgnoresViews, "unlabelled images change the update", "other strong views change no"),
        (IgnoresSecondCrops, "unlabelled images change the update", "other second crops give"),
        (PaddingCounts, "padding does not count", "batch.unlabelled.valid"),
        (VoidIsAClass, "void pixels do not count", "without a valid pixel changes the update"),
        (
            NotANumberWithoutPixels,
            "a batch without a valid pixel breaks nothing",
            "loss_consistency: not finite",
        ),
        (
            RunsWhereTheTermIsOff,
            "without its terms it is supervised training",
            "batch statistics would move",
        ),
        (ForgetsTheWeightsOfClasses, "class weights change the update", "self.supervised_loss"),
        (ForgetsTheWeightsOfPixels, "weights of pixels change the update", "border_weights"),
        (ForgetsTheTermOnTheImages, "a term on the images changes the update", "self.regularised"),
        (ForgetsTheChosenLoss, "the chosen loss changes the update", "self.supervised_loss"),
        (ReadsTheWeightsAndDropsThem, "class weights change the update", "would do nothing"),
        (NegativeWeight, "negative weights are refused", "require_not_negative(consistency_weig"),
        (Undocumented, "its scalars are documented and plain", "has no section `Logs:`"),
        (OtherScalars, "its scalars are documented and plain", "loss: reported, but not under"),
        (
            TellsAnotherStory,
            "its scalars are documented and plain",
            "accuracy: in `story`, but not",
        ),
        (KeepsItsGraph, "its scalars are documented and plain", "loss_consistency: keeps its gra"),
        (ForgetsACounter, "saved, it goes on to the same bits", "counters and memories as buffers"),
        (RandomOfItsOwn, "its steps depend on the seed alone", "torch's global generator"),
        (BadPictures, "its pictures are maps and change nothing", "'logits' is not in [0, 1]"),
        (OtherPicturesAlone, "its pictures are maps and change nothing", "alone are [], not ['ce"),
        (OldLoss, "its predictor learns a toy problem", "Report the loss of this step"),
        (BadLabels, "its pseudo-labels are labels", "labels beyond 0..K-1 and 255"),
        (BadLabeller, "its pseudo-labels are labels", "`labeller` gives (2, 3,"),
        (OneNetworkForAll, "every network is its own", "shared by two networks"),
        (UntrainedPredictor, "its predictor learns a toy problem", "Is it the network that is tra"),
        (Crashes, "it reads the streams that it names", "RuntimeError: "),
    ],
)
def test_a_broken_method_is_told_what_is_broken(cls: type[Sound], title: str, words: str) -> None:
    cls.__doc__ = cls.__doc__ or Sound.__doc__
    problem = failed("broken", cls, title)[title]
    assert words in problem
    assert "\n" not in problem


def test_an_error_of_the_method_names_its_line() -> None:
    title = "padding does not count"
    problem = failed("broken", Crashes, title)[title]
    assert f"({__file__}, line {Crashes.consistency.__code__.co_firstlineno + 1})" in problem


def test_scalars_are_read_off_the_docstring() -> None:
    assert documented_scalars(Sound) == {"loss_segmentation", "loss_consistency"}
