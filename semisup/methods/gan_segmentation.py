"""GAN-based segmentation: the segmenter is the discriminator of a game over made images.

Souly, Spampinato and Shah: "Semi and Weakly Supervised Semantic Segmentation Using Generative
Adversarial Network", ICCV 2017, https://arxiv.org/abs/1703.09695

    S:  min  CE(S(x), y) - u log(1 - p_G(v)) - f log p_G(G(z))
    G:  min  -log(1 - p_G(G(z)))

S gives K + 1 logits a pixel, the last for "generated", p_G its probability. x, y are labelled
images and masks, v unlabelled images, z noise. CE is over the first K logits. Made images teach S
which features real images have in common, so it needs fewer masks to tell the classes apart.

    weakly supervised:  - log(1 - p_G(v))  becomes  -log sum_{k in tags(v)} p_k(v),  G(z, tags(v))

One step is one update of G and then one of S on the same made images: S has not moved in between,
so its one look at them gives both gradients, exactly as two looks would.

There is no authors' code, and the details of the paper could not be verified. Where it is silent:
1. u = f = 0.1. With the 1/2 of Salimans et al. 2016 (https://arxiv.org/abs/1606.03498), from whom
   the game is, S learns the game in place of the classes: 0.04 and 0.09 of mIoU less than without
   it, on two data sets (docs/results.md).
2. G is DCGAN's (models/adversarial/generators.py), noise uniform, its loss non-saturating; as many
   images are made as there are unlabelled ones. The weak form tells G the tags of these.
3. Made images pass through S's batch normalisation with the statistics of their own batch, and
   leave the running ones alone: prediction goes by real images.
4. S is any segmenter of the catalogue with one more logit; the paper's is an FCN on VGG16.
5. Padding of crops takes no part in any term.

What steadies the game came later than the paper, and is off by default (losses/gan.py,
ops/image_pool.py).
"""

from __future__ import annotations

import copy
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from semisup.losses.extra_class import realness, tag_set_loss
from semisup.losses.gan import Form, Game, feature_distance, standing
from semisup.losses.segmentation import masked_mean, supervised_loss
from semisup.methods.base import BuildSegmenter, Method, Update, require_not_negative, require_share
from semisup.models.adversarial.generators import ImageGenerator
from semisup.models.base import ParameterGroup, Segmenter
from semisup.models.layers import resize, statistics_kept
from semisup.ops.ema import ema_decay, ema_update
from semisup.ops.image_pool import ImagePool
from semisup.ops.pixels import to_normalised, to_unit
from semisup.types import IGNORE, Batch, Progress, Scalars, Unlabelled, Weak

SAMPLES_TOGETHER = 64
"""Images that are made at once to be looked at, so that memory does not limit their number."""


class GanSegmentation(Method):
    """Souly et al. 2017, semi-supervised: segmenter with K + 1 logits against a generator.

    Args:
        build_segmenter: gives the network.
        num_classes: K.
        crop: height and width of the images, in pixels.
        unlabelled_weight: u, of the term on real images without masks; >= 0.
        generated_weight: f, of S's term on made images; >= 0. With 0 no image is made.
        feature_matching_weight: of the distance between S's mean deepest features of made and of
            real images, added to G's loss (Salimans et al. 2016); >= 0.
        form: of the game: "cross_entropy" (the paper's), "hinge" or "least_squares".
        saturating: whether G minimises log(1 - D), the minimax game, and not -log D; not with
            least squares.
        label_smoothing: s in [0, 1): S is asked for 1 - s on real images, not for 1.
        generator_updates: updates of G for each of S; all but the last on images of their own.
        generator_width: channels of G at half its resolution.
        upsampling: of G: "transposed" or "resize" convolutions.
        instance_noise: deviation of noise on real images without masks and on made ones whenever S
            judges them, in deviations of ImageNet's colours; >= 0. It falls to 0 over the run
            (Sonderby et al. 2017, https://arxiv.org/abs/1610.04490).
        gradient_penalty_weight: gamma, of R1 in S's loss: half the squared slope of the mean
            realness of a real image without mask in its pixels (Mescheder et al. 2018,
            https://arxiv.org/abs/1801.04406); >= 0. With batch norm images have a say in one
            another's realness, and the penalty goes with the size of the batch.
        generator_average: decay in [0, 1] of a moving average of G's weights, from which samples
            are made (Yazici et al. 2018, https://arxiv.org/abs/1806.04498); 0: from G itself.
        image_pool: made images of earlier steps to remember; S is shown one of them in place of a
            fresh one with probability 1/2 (Shrivastava et al. 2017,
            https://arxiv.org/abs/1612.07828). Costs one more forward pass of S: the one used to
            update G cannot be shared. 0: fresh ones only.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_unlabelled: of S on real images without masks; small where S knows them for real.
        loss_generated: of S on made images; near 0 S has won.
        loss_gradient_penalty: R1 times gamma; below loss_unlabelled. 0 where it is off.
        loss_generator: of G; about as large as loss_unlabelled while neither wins, and rises when
            S does.
        d_real: mean probability of "not generated" on real images; above 0.5.
        d_fake: the same on made images; below 0.5, and not 0.
        d_accuracy: share of pixels, real and made, that S judges rightly; 0.5 blind, 1 it has won.
        sample_diversity: deviation between made images over that between real ones; about 1.
            Near 0 all made images are the same.
    """

    streams = frozenset({"labelled", "unlabelled"})
    wants_crop = True
    tells_tags: ClassVar[bool] = False
    """Whether G is told the tags of the picture that it is to make."""

    def __init__(
        self,
        build_segmenter: BuildSegmenter,
        num_classes: int,
        crop: tuple[int, int],
        *,
        unlabelled_weight: float = 0.1,
        generated_weight: float = 0.1,
        feature_matching_weight: float = 0.0,
        form: Form = "cross_entropy",
        saturating: bool = False,
        label_smoothing: float = 0.0,
        generator_updates: int = 1,
        generator_width: int = 64,
        upsampling: Literal["transposed", "resize"] = "transposed",
        instance_noise: float = 0.0,
        gradient_penalty_weight: float = 0.0,
        generator_average: float = 0.0,
        image_pool: int = 0,
    ) -> None:
        super().__init__()
        require_not_negative(
            unlabelled_weight=unlabelled_weight,
            generated_weight=generated_weight,
            feature_matching_weight=feature_matching_weight,
            image_pool=image_pool,
        )
        require_share(generator_average=generator_average)
        if generator_updates < 1:
            raise ValueError(f"generator_updates must be at least 1, but is {generator_updates}")
        self.num_classes = num_classes
        self.unlabelled_weight = unlabelled_weight
        self.generated_weight = generated_weight
        self.feature_matching_weight = feature_matching_weight
        self.generator_updates = generator_updates
        self.game = Game(
            form=form,
            label_smoothing=label_smoothing,
            gradient_penalty_weight=gradient_penalty_weight,
            instance_noise=instance_noise,
            saturating=saturating,
        )
        self.generator_average = generator_average
        self.segmenter = build_segmenter(extra=1)
        self.generator = ImageGenerator(
            crop,
            tags=num_classes - 1 if self.tells_tags else 0,
            width=generator_width,
            upsampling=upsampling,
        )
        self.average: ImageGenerator | None = None
        if generator_average:
            self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.pool = ImagePool(image_pool, crop) if image_pool else None

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that alternate; the segmenter is the discriminator."""
        return {
            "generator": [ParameterGroup(list(self.generator.parameters()))],
            "segmenter": self.segmenter.parameter_groups(),
        }

    def predictor(self) -> nn.Module:
        """The segmenter without the logit of "generated"."""
        return ClassLogits(self.segmenter)

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the generator, then one of the segmenter."""
        labelled, real = batch.labelled, self._real(batch)
        zero = labelled.image.new_zeros(())
        told = dict.fromkeys(("loss_generator", "d_real", "d_fake", "d_accuracy"), zero)
        told["sample_diversity"] = zero
        made = None
        if self.generated_weight:
            made, loss_generator, diversity = self._step_generator(real, progress, update)
            told |= {"loss_generator": loss_generator, "sample_diversity": diversity}

        maps = self.segmenter.training_logits(labelled.image)
        terms = {
            "loss_segmentation": supervised_loss(
                [logits[:, :-1] for logits in maps], labelled.mask, self.segmenter.auxiliary_weights
            ),
            "loss_unlabelled": zero,
            "loss_generated": zero,
            "loss_gradient_penalty": zero,
        }
        judged, valid = realness(maps[0]), labelled.mask != IGNORE
        if self.unlabelled_weight or self.game.gradient_penalty_weight:
            logits, terms["loss_gradient_penalty"] = self._look_at_real(real, progress)
            terms["loss_unlabelled"] = self._loss_of_real(logits, real)
            judged, valid = realness(logits), real.valid
        if made is not None:
            terms["loss_generated"] = self.game.fake(made).mean()
            told |= standing(judged, made, valid, form=self.game.form)
        update(
            "segmenter",
            terms["loss_segmentation"]
            + self.unlabelled_weight * terms["loss_unlabelled"]
            + self.generated_weight * terms["loss_generated"]
            + terms["loss_gradient_penalty"],
        )
        return {name: value.detach() for name, value in (terms | told).items()}

    def _step_generator(
        self, real: Unlabelled | Weak, progress: Progress, update: Update
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Teach G to make images that S holds for real.

        Returns:
            Realness BHW of the made images that S is to learn from, with the graph of its look at
            them; the loss of G; how different the last images are from one another.
        """
        for number in range(1, self.generator_updates + 1):
            images = self._make(real)
            shown = self.game.shown(images, progress.fraction)
            judged = realness(self._look(shown))
            loss = self.game.fool(judged).mean()
            if self.feature_matching_weight:
                features = self._features(shown)
                wanted = self._features_of_real(real, progress)
                loss = loss + self.feature_matching_weight * feature_distance(features, wanted)
            shared = number == self.generator_updates and self.pool is None
            update("generator", loss, keep_graph=shared)
        if self.average is not None and progress.ends_step:
            decay = ema_decay(progress.step, self.generator_average)
            # Running statistics of the last weights would not suit the mean of many.
            ema_update(self.average, self.generator, decay, buffers="average")
        images = images.detach()
        if self.pool is not None:  # other images than those that G was judged by
            shown = self.game.shown(self.pool.exchange(images), progress.fraction)
            judged = realness(self._look(shown))
        return judged, loss, diversity(images, real)

    def _make(self, real: Unlabelled | Weak) -> Tensor:
        """As many images B3HW as there are in the batch, normalised as those are."""
        noise = self.generator.draw(len(real.image), real.image)
        return to_normalised(self.generator(noise, self._told(real)))

    def _told(self, real: Unlabelled | Weak) -> Tensor | None:
        """What G is told of the pictures that it is to make."""
        return real.tags[:, 1:] if isinstance(real, Weak) else None

    def _look(self, images: Tensor) -> Tensor:
        """Logits of made images, which S's running statistics must not learn."""
        with statistics_kept(self.segmenter):
            logits: Tensor = self.segmenter(images)
        return logits

    def _features(self, images: Tensor, valid: Tensor | None = None) -> Tensor:
        """S's deepest features of made images, averaged over places: BC."""
        with statistics_kept(self.segmenter):
            maps = self.segmenter.encode(images)
        features = [m for m in maps if m.is_floating_point()][-1]  # indices of poolings are none
        if valid is None:
            return features.mean(dim=(2, 3))
        shares = resize(valid[:, None].to(features), features.shape[-2:])
        return (features * shares).sum(dim=(2, 3)) / shares.sum(dim=(2, 3)).clamp(min=1e-6)

    @torch.no_grad()
    def _features_of_real(self, real: Unlabelled | Weak, progress: Progress) -> Tensor:
        return self._features(self.game.shown(real.image, progress.fraction), real.valid)

    def _look_at_real(self, real: Unlabelled | Weak, progress: Progress) -> tuple[Tensor, Tensor]:
        """Logits of the real images, and what S pays for its slope there."""
        with self.game.real_shown(real.image, progress.fraction) as image:
            logits = self.segmenter(image)
        penalty = self.game.penalty(realness(logits), image, real.valid, real.valid[:, None])
        return logits, penalty

    def _real(self, batch: Batch) -> Unlabelled | Weak:
        """The real images without masks."""
        return batch.unlabelled

    def _loss_of_real(self, logits: Tensor, real: Unlabelled | Weak) -> Tensor:
        """What S pays where it takes a real image for a made one."""
        judged = realness(logits)
        return masked_mean(self.game.real(judged), real.valid)

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Where S holds the labelled images for real."""
        held = realness(self.segmenter(batch.labelled.image))
        return {"real": self.game.belief(held)[:, None]}

    def make_samples(self, count: int, seed: int) -> Tensor | None:
        """Images of G, averaged if it is; told one foreground class each, in turn, if any."""
        if not self.generated_weight:
            return None  # nothing has taught G
        generator = self.generator if self.average is None else self.average
        like = next(generator.parameters())
        source = torch.Generator().manual_seed(seed)  # on the CPU: the same on every device
        noise = generator.draw(count, torch.empty(0), source).to(like)
        tags = torch.zeros(count, generator.tags).to(like)
        for label in range(generator.tags):
            tags[label :: generator.tags, label] = 1.0
        parts = (torch.split(numbers, SAMPLES_TOGETHER) for numbers in (noise, tags))
        return torch.cat([generator(*part) for part in zip(*parts, strict=True)])


class GanSegmentationWeak(GanSegmentation):
    """Souly et al. 2017, weakly supervised: tags of the images without masks are known.

    Every pixel of a tagged image is pushed onto the set of its tags, and the generator is told the
    tags of the picture that it is to make. The options are those of `GanSegmentation`; of the real
    images' term `form` and `label_smoothing` know nothing.

    Args:
        build_segmenter: gives the network.
        num_classes: K; class 0 is background and in every image.
        crop: height and width of the images, in pixels.
        unlabelled_weight: u, of the term on tagged images; >= 0.
        generated_weight: f, of S's term on made images; >= 0. With 0 no image is made.
        feature_matching_weight: of the distance of mean deepest features, added to G's loss; >= 0.
        form: of the game: "cross_entropy" (the paper's), "hinge" or "least_squares".
        saturating: whether G minimises log(1 - D), the minimax game, and not -log D.
        label_smoothing: unused here: the tagged images' term has no answer to smooth.
        generator_updates: updates of G for each of S.
        generator_width: channels of G at half its resolution.
        upsampling: of G: "transposed" or "resize" convolutions.
        instance_noise: deviation, at the start, of noise on tagged and on made images; >= 0.
        gradient_penalty_weight: gamma, of R1 on tagged images, in S's loss; >= 0.
        generator_average: decay in [0, 1] of the average of G that samples are made from; 0: none.
        image_pool: made images of earlier steps that S is shown again; 0: fresh ones only.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_unlabelled: -log of the probability of the tags on tagged images; falls.
        loss_generated: of S on made images; near 0 S has won.
        loss_gradient_penalty: R1 times gamma; below loss_unlabelled. 0 where it is off.
        loss_generator: of G; rises when S wins.
        d_real: mean probability of "not generated" on tagged images; above 0.5.
        d_fake: the same on made images; below 0.5, and not 0.
        d_accuracy: share of pixels, real and made, that S judges rightly.
        sample_diversity: deviation between made images over that between real ones; about 1.
    """

    streams = frozenset({"labelled", "weak"})
    tells_tags = True

    def _real(self, batch: Batch) -> Weak:
        return batch.weak

    def _loss_of_real(self, logits: Tensor, real: Unlabelled | Weak) -> Tensor:
        assert isinstance(real, Weak)
        return tag_set_loss(logits, real.tags, real.valid)


class ClassLogits(nn.Module):
    """A segmenter without the logit of "generated".

    Args:
        segmenter: gives B(K+1)HW.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> Tensor:
        """Logits BKHW of `image` (BCHW)."""
        logits: Tensor = self.segmenter(image)
        return logits[:, :-1]


def diversity(made: Tensor, real: Unlabelled | Weak) -> Tensor:
    """How much made images differ from one another, as a share of how much real ones do.

    Args:
        made: B3HW.
        real: B images of the same size; their padding counts as equal.

    Returns:
        0-d: the ratio of the mean absolute differences between neighbours in the batch, 1 where
        there is one image alone.
    """
    if len(made) == 1:
        return made.new_ones(())
    made, shown = to_unit(made), to_unit(real.image)
    differences = [(images - images.roll(1, dims=0)).abs().mean() for images in (made, shown)]
    return differences[0] / differences[1].clamp(min=1e-6)
