"""Semantic segmentation using adversarial networks: all images have masks.

Luc, Couprie, Chintala and Verbeek: "Semantic Segmentation using Adversarial Networks", NIPS
Workshop on Adversarial Training 2016, https://arxiv.org/abs/1611.08408

    S:  min  CE(s(x), y) + w BCE(a(x, s(x)), 1)
    A:  min  BCE(a(x, s(x)), 0) + BCE(a(x, y'), 1)

x, y are images and masks, s(x) class probabilities. The adversary a sees class maps and image at a
lower resolution and scores each place. Three ways to show them, with y' the one-hot y at first:

    basic     class maps, and the image in a branch of its own
    product   each class's map times each colour
    scaling   as basic, but y' is softened, so that 0s and 1s do not give the truth away:
              y'_l = max(0.9, s_l) for the true class l, the others share the rest as in s

S takes its step first, with BCE(., 1) in place of the minimax game's -BCE(., 0), as the paper
recommends. The adversary then learns from the same forward pass on s(x): its weights have not
changed yet and it has neither dropout nor batch normalisation, so a second pass would give the
same. With `spectral_norm` not to the bit: each pass moves the estimate of the singular values, and
this way there are two of them a step, not three. With n updates of the adversary those after the
first are on new passes on the same maps. The stabilisers of `game`: losses/gan.py.

There is no authors' code, and the details of the paper could not be verified. Where they are open:
1. The weight w is tuned in the paper; 0.1 is ours, relative to a cross entropy that is a mean over
   pixels. The one public port sums it over the pixels of an image, with a weight of 1: divide the
   weight of a sum by H W. Players alternate at every step.
2. The paper's adversary works at the reduced size of its segmenter's output. Here the maps come at
   the image's size, whatever the network, and are averaged over cells of `downsampling` pixels, the
   truth just as the prediction: resolution gives nothing away. 4 lets crops of 133 pixels through.
3. Layers of the adversary, and one output per place: see models/adversarial/luc_discriminator.py.
Differs from the paper:
4. The halves of the adversary's loss are averaged, as in the other methods here.
5. Void pixels of the ground truth take S's own answer before they go into the adversary: holes that
   only real maps have would give the truth away. An output counts by the share of its view that
   is valid; void, padding and what lies outside of the crop are not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.discriminator_step import Scores, update_discriminator
from semisup.losses.gan import DiscriminatorGame
from semisup.losses.segmentation import masked_mean
from semisup.methods.base import Method, Task, require_not_negative, require_positive
from semisup.models.adversarial.luc_discriminator import Adversary, Inputs, View
from semisup.models.base import ParameterGroup
from semisup.models.layers import resize
from semisup.ops.masks import one_hot, without_holes
from semisup.ops.pixels import to_unit
from semisup.types import IGNORE, Batch, Progress, Reads, Scalars, Update

TRUE_SHARE = 0.9
"""What the true class keeps at least of a softened pixel: the paper's tau."""


class AdversarialLuc(Method):
    """Luc et al. 2016: segmenter against an adversary that also sees the image.

    Args:
        task: network and classes.
        adversarial_weight: w, of the adversarial term; >= 0. With 0 the adversary trains, but does
            not teach.
        inputs: what the adversary sees: "basic", "product" or "scaling".
        view: side of the receptive field of one output: "large", 34 x 34 cells, or "small",
            18 x 18.
        light: whether the adversary has half as many channels behind its first pooling.
        downsampling: side in pixels of the cells that class maps and image are averaged over.
        discriminator_width: a third of the channels of the adversary's first layer, on which all
            others depend; less for small pictures and small machines.
        game: loss of the game ("cross_entropy" in the paper) and its stabilisers.

    Logs:
        loss_segmentation: cross entropy; falls from about ln K.
        loss_adversarial: of S; hovers around 0.7 (ln 2) while neither wins.
        loss_adversary: of the adversary; near 0.7 it is blind, near 0 it has won. Of several
            updates, this and what follows are of the first.
        loss_gradient_penalty: R1 times gamma; well below loss_adversary, 0 where it is off.
        d_real: mean probability of "ground truth" on ground truth; above 0.5.
        d_fake: the same on predictions; below 0.5, and not 0.
        d_hard: at log points, the same on the one-hot argmax of the predictions, errors and all,
            softened as ground truth is; near d_real, the adversary tells soft maps from hard ones
            and not wrong from right.
        d_accuracy: share of its outputs that are right; 0.5 blind, 1 it has won.
    """

    reads = Reads(rgb=True)
    story = ("loss_segmentation", "d_accuracy", "loss_adversarial")

    def __init__(
        self,
        task: Task,
        *,
        adversarial_weight: float = 0.1,
        inputs: Inputs = "basic",
        view: View = "large",
        light: bool = False,
        downsampling: int = 4,
        discriminator_width: int = 32,
        game: DiscriminatorGame = DiscriminatorGame(),
    ) -> None:
        super().__init__()
        require_not_negative(adversarial_weight=adversarial_weight)
        require_positive(downsampling=downsampling, discriminator_width=discriminator_width)
        self.num_classes = task.num_classes
        self.adversarial_weight = adversarial_weight
        self.inputs = inputs
        self.downsampling = downsampling
        self.game = game
        self.segmenter = task.build_segmenter()
        self.adversary = Adversary(
            task.num_classes,
            view=view,
            light=light,
            inputs=inputs,
            width=discriminator_width,
            spectral_norm=game.spectral_norm,
        )

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that alternate."""
        return {
            "segmenter": self.segmenter.parameter_groups(),
            "adversary": [ParameterGroup(list(self.adversary.parameters()))],
        }

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of the adversary."""
        labelled = batch.labelled
        image = self._reduced(to_unit(labelled.image))
        logits = self.segmenter.training_logits(labelled.image)
        predicted = logits[0].softmax(dim=1)
        valid = self._valid(labelled.mask, image)
        shares = self.adversary.shares(valid.squeeze(1))

        def scores(maps: Tensor) -> Scores:
            shown = self.game.noisy(maps, progress.fraction)
            return Scores(self.adversary(shown, image), shares, shown)

        def scores_of_truth() -> Scores:
            truth = self._reduced(self._truth(labelled.mask, predicted))
            with self.game.real_input(truth, progress.fraction) as shown:
                return Scores(self.adversary(shown, image), shares, shown, valid > 0)

        maps = self._reduced(predicted if self.adversarial_weight else predicted.detach())
        fake = scores(maps)
        loss = self.supervised_loss(logits, labelled)
        adversarial = fake.mean(self.game.fool(fake.logits))
        update("segmenter", loss + self.adversarial_weight * adversarial, keep_graph=True)
        reported = update_discriminator(
            self.game,
            update,
            fake,
            scores_of_truth(),
            again=lambda: (scores(maps.detach()), scores_of_truth()),
            player="adversary",
        )
        reported |= {"loss_segmentation": loss, "loss_adversarial": adversarial}
        return {name: value.detach() for name, value in reported.items()}

    def _reduced(self, maps: Tensor) -> Tensor:
        """BCHW, averaged over cells of `downsampling` pixels; those of the last row and column may
        have fewer.
        """
        return F.avg_pool2d(maps, self.downsampling, ceil_mode=True)

    def _valid(self, mask: Tensor, like: Tensor) -> Tensor:
        """Share of the pixels of each cell that count: B1hw of the type of `like`."""
        return self._reduced((mask != IGNORE)[:, None].to(like))

    @torch.no_grad()
    def _truth(self, mask: Tensor, predicted: Tensor) -> Tensor:
        """Ground truth BKHW as the adversary is shown it, without holes."""
        truth = one_hot(without_holes(mask, predicted), self.num_classes).to(predicted.dtype)
        return softened(truth, predicted) if self.inputs == "scaling" else truth

    def measure(self, batch: Batch) -> Scalars:
        """The adversary's probability of "ground truth" for the prediction without its softness."""
        labelled = batch.labelled
        predicted = self.segmenter(labelled.image).softmax(dim=1)
        hard = self._reduced(self._truth(predicted.argmax(dim=1), predicted))
        logits = self.adversary(hard, self._reduced(to_unit(labelled.image)))
        shares = self.adversary.shares(self._valid(labelled.mask, predicted).squeeze(1))
        return {"d_hard": masked_mean(self.game.probability(logits.float()), shares > 0)}

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Where the adversary holds the prediction for ground truth."""
        image = batch.labelled.image
        scores = self.adversary(self._reduced(logits.softmax(dim=1)), self._reduced(to_unit(image)))
        return {"adversary": self.game.probability(resize(scores[:, None], image.shape[-2:]))}


@torch.no_grad()
def softened(truth: Tensor, predicted: Tensor, true_share: float = TRUE_SHARE) -> Tensor:
    """Ground truth that is as soft as the prediction where that is right and sure.

    Args:
        truth: BKHW, one-hot.
        predicted: BKHW, class probabilities s; no gradient passes.
        true_share: tau in (0, 1).

    Returns:
        BKHW, each pixel summing to 1: max(tau, s_l) for the true class l, the rest shared by the
        others in proportion to s.
    """
    own = (truth * predicted).sum(dim=1, keepdim=True)
    kept = torch.where(own < true_share, (1 - true_share) / (1 - own), 1.0)
    return torch.where(truth > 0, own.clamp(min=true_share), kept * predicted)
