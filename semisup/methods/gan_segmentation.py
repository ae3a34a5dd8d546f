"""GAN-based segmentation: the segmenter is the discriminator of generated images.

Souly, Spampinato and Shah: "Semi and Weakly Supervised Semantic Segmentation Using Generative
Adversarial Network", ICCV 2017, https://arxiv.org/abs/1703.09695

    S:  min  CE(S(x), y) - u log(1 - p_G(v)) - f log p_G(G(z))
    G:  min  -log(1 - p_G(G(z)))

S gives K + 1 logits a pixel, the last for "generated", p_G its probability. x, y are labelled
images and masks, v unlabelled images, z noise. CE is over the first K logits. Generated images
teach S which features real images have in common, so it needs fewer masks to tell the classes
apart.

    weakly supervised:  - log(1 - p_G(v))  becomes  -log sum_{k in tags(v)} p_k(v),  G(z, tags(v))

One step is one update of G and then one of S on the same generated images: S's weights have not
changed in between, so one forward pass on them gives both gradients, exactly as two would.

There is no authors' code, and the details of the paper could not be verified. Where it is silent:
1. u = f = 0.1. With the 1/2 of Salimans et al. 2016 (https://arxiv.org/abs/1606.03498), from whom
   the game is, S learns the game in place of the classes: 0.04 and 0.09 of mIoU less than without
   it, on two data sets (docs/results.md).
2. G is DCGAN's (models/adversarial/generators.py), noise uniform, its loss non-saturating; as many
   images are generated as there are unlabelled ones. The weak form gives G the tags of these.
3. Generated images pass through S's batch normalisation with the statistics of their own batch, and
   leave the running ones alone: prediction goes by real images.
4. S is any segmenter of the catalogue with one more logit; the paper's is an FCN on VGG16.
5. Padding of crops takes no part in any term.

The stabilisers came later than the paper and are off by default (`game`: losses/gan.py;
`generator_average`; `image_pool`: ops/image_pool.py).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from semisup.losses.extra_class import realness, tag_set_loss
from semisup.losses.gan import GeneratorGame, feature_distance
from semisup.losses.segmentation import masked_mean
from semisup.methods.base import Method, Task, require_not_negative, require_share
from semisup.models.adversarial.generators import ImageGenerator
from semisup.models.base import ParameterGroup, SeesAround, Segmenter
from semisup.models.layers import resize, statistics_kept
from semisup.ops.image_pool import ImagePool
from semisup.ops.pixels import to_normalised, to_unit
from semisup.ops.teacher import Teacher
from semisup.types import IGNORE, Batch, Progress, Reads, Scalars, Unlabelled, Update, Weak

SAMPLES_TOGETHER = 64
"""Images of `make_samples` that are generated at once, so that memory does not limit them."""


class GanSegmentation(Method):
    """Souly et al. 2017, semi-supervised: segmenter with K + 1 logits against a generator.

    Args:
        task: network, classes and size of the images.
        unlabelled_weight: u, of the term on real images without masks; >= 0.
        generated_weight: f, of S's term on generated images; >= 0. With 0 no image is generated.
        feature_matching_weight: of the distance between S's mean deepest features of generated and
            of real images, added to G's loss (Salimans et al. 2016); >= 0.
        generator_width: channels of G at half its resolution.
        upsampling: of G: "transposed" or "resize" convolutions.
        generator_average: decay in [0, 1] of a moving average of G's weights, from which samples
            are generated (Yazici et al. 2018, https://arxiv.org/abs/1806.04498); 0: from G itself.
        image_pool: generated images of earlier steps to remember; S is shown one of them in place
            of a fresh one with probability 1/2 (Shrivastava et al. 2017,
            https://arxiv.org/abs/1612.07828). Costs one more forward pass of S: the one used to
            update G cannot be shared. 0: fresh ones only.
        game: loss of the game ("cross_entropy" in the paper), its stabilisers and G's updates.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_unlabelled: of S on real images without masks; small where S knows them for real.
        loss_generated: of S on generated images; near 0 S has won.
        loss_gradient_penalty: R1 times gamma; below loss_unlabelled. 0 where it is off.
        loss_generator: of G; about as large as loss_unlabelled while neither wins, and rises when
            S does.
        d_real: mean probability of "not generated" on real images; above 0.5.
        d_fake: the same on generated images; below 0.5, and not 0.
        d_accuracy: share of pixels, real and generated, that S classifies rightly; 0.5 blind, 1
            it has won.
        sample_diversity: deviation between generated images over that between real ones; about 1.
            Near 0 all generated images are the same.
    """

    reads = Reads(unlabelled=True, rgb=True)
    story = ("loss_segmentation", "d_accuracy", "sample_diversity")
    conditional: ClassVar[bool] = False
    """Whether G is given the tags of the picture that it is to generate."""

    def __init__(
        self,
        task: Task,
        *,
        unlabelled_weight: float = 0.1,
        generated_weight: float = 0.1,
        feature_matching_weight: float = 0.0,
        generator_width: int = 64,
        upsampling: Literal["transposed", "resize"] = "transposed",
        generator_average: float = 0.0,
        image_pool: int = 0,
        game: GeneratorGame = GeneratorGame(),
    ) -> None:
        super().__init__()
        require_not_negative(
            unlabelled_weight=unlabelled_weight,
            generated_weight=generated_weight,
            feature_matching_weight=feature_matching_weight,
            image_pool=image_pool,
        )
        require_share(generator_average=generator_average)
        if self.conditional and game.label_smoothing:
            raise ValueError(
                "game.label_smoothing has nothing to smooth here: the target of a tagged image is "
                "the set of its tags. Leave it at 0"
            )
        crop = task.image_size()
        self.unlabelled_weight = unlabelled_weight
        self.generated_weight = generated_weight
        self.feature_matching_weight = feature_matching_weight
        self.game = game
        self.segmenter = task.build_segmenter(extra=1)
        self.generator = ImageGenerator(
            crop,
            tags=task.num_classes - 1 if self.conditional else 0,
            width=generator_width,
            upsampling=upsampling,
        )
        self.average: Teacher[ImageGenerator] | None = None
        if generator_average:
            self.average = Teacher(self.generator, generator_average)
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
        terms = dict.fromkeys(REPORTED, labelled.image.new_zeros(()))
        generated = None
        if self.generated_weight:
            generated, loss, variety = self._step_generator(real, progress, update)
            terms |= {"loss_generator": loss, "sample_diversity": variety}

        maps = self.segmenter.training_logits(labelled.image)
        of_classes = [logits[:, :-1] for logits in maps]
        terms["loss_segmentation"] = self.supervised_loss(of_classes, labelled)
        real_logits, valid = realness(maps[0]), labelled.mask != IGNORE
        if self.unlabelled_weight or self.game.r1:
            logits, terms["loss_gradient_penalty"] = self._logits_of_real(real, progress)
            terms["loss_unlabelled"] = self._loss_of_real(logits, real)
            real_logits, valid = realness(logits), real.valid
        if generated is not None:
            terms["loss_generated"] = self.game.fake(generated).mean()
            terms |= self.game.statistics(real_logits, generated, valid)
        update(
            "segmenter",
            terms["loss_segmentation"]
            + self.unlabelled_weight * terms["loss_unlabelled"]
            + self.generated_weight * terms["loss_generated"]
            + terms["loss_gradient_penalty"],
        )
        return {name: value.detach() for name, value in terms.items()}

    def _step_generator(
        self, real: Unlabelled | Weak, progress: Progress, update: Update
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Teach G to generate images that S holds for real.

        Returns:
            Realness BHW of the generated images that S is to learn from, with the graph of its
            forward pass; the loss of G; how different the last images are from one another.
        """
        for number in range(1, self.game.generator_updates + 1):
            images = self._generate(real)
            shown = self.game.noisy(images, progress.fraction)
            logits = realness(self._logits_of_generated(shown))
            loss = self.game.fool(logits).mean()
            if self.feature_matching_weight:
                features = self._features(shown)
                wanted = self._features_of_real(real, progress)
                loss = loss + self.feature_matching_weight * feature_distance(features, wanted)
            shared = number == self.game.generator_updates and self.pool is None
            update("generator", loss, keep_graph=shared)
        if self.average is not None:
            self.average.follow(self.generator, progress)
        images = images.detach()
        if self.pool is not None:  # not the images that G was updated on
            shown = self.game.noisy(self.pool.exchange(images), progress.fraction)
            logits = realness(self._logits_of_generated(shown))
        return logits, loss, diversity(images, real)

    def _generate(self, real: Unlabelled | Weak) -> Tensor:
        """As many images B3HW as there are in the batch, normalised as those are."""
        noise = self.generator.draw(len(real.image), real.image)
        return to_normalised(self.generator(noise, self._condition(real)))

    def _condition(self, real: Unlabelled | Weak) -> Tensor | None:
        """What G is given beside noise: the foreground tags BL of real images, or nothing."""
        return _tags_of(real)[:, 1:] if isinstance(real, Weak) else None

    def _logits_of_generated(self, images: Tensor) -> Tensor:
        """Logits of generated images, which S's running statistics must not learn."""
        with statistics_kept(self.segmenter):
            logits: Tensor = self.segmenter(images)
        return logits

    def _features(self, images: Tensor, valid: Tensor | None = None) -> Tensor:
        """S's deepest features of generated images, averaged over places: BC."""
        with statistics_kept(self.segmenter):
            maps = self.segmenter.encode(images)
        features = [m for m in maps if m.is_floating_point()][-1]  # indices of poolings are none
        if valid is None:
            return features.mean(dim=(2, 3))
        shares = resize(valid[:, None].to(features), features.shape[-2:])
        return (features * shares).sum(dim=(2, 3)) / shares.sum(dim=(2, 3)).clamp(min=1e-6)

    @torch.no_grad()
    def _features_of_real(self, real: Unlabelled | Weak, progress: Progress) -> Tensor:
        return self._features(self.game.noisy(real.image, progress.fraction), real.valid)

    def _logits_of_real(self, real: Unlabelled | Weak, progress: Progress) -> tuple[Tensor, Tensor]:
        """Logits of the real images, and R1 there."""
        with self.game.real_input(real.image, progress.fraction) as image:
            logits = self.segmenter(image)
        penalty = self.game.penalty(realness(logits), image, real.valid, real.valid[:, None])
        return logits, penalty

    def _real(self, batch: Batch) -> Unlabelled | Weak:
        """The real images without masks."""
        return batch.unlabelled

    def _loss_of_real(self, logits: Tensor, real: Unlabelled | Weak) -> Tensor:
        """S's loss where it takes a real image for a generated one."""
        return masked_mean(self.game.real(realness(logits)), real.valid)

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Where S holds the labelled images for real."""
        held = realness(self.segmenter(batch.labelled.image))
        return {"real": self.game.probability(held)[:, None]}

    def make_samples(self, count: int, seed: int) -> Tensor | None:
        """Images of G, or of its average; conditioned on one foreground class each, in turn."""
        if not self.generated_weight:
            return None  # nothing has taught G
        generator = self.generator if self.average is None else self.average.network
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

    Every pixel of a tagged image is pushed onto the set of its tags, and the generator is given the
    tags of the picture that it is to generate. On tagged images the loss is that of the tags,
    whatever `game.loss` is.

    Args:
        task: network, classes and size of the images; class 0 is background and in every image.
        unlabelled_weight: u, of the term on tagged images; >= 0.
        generated_weight: f, of S's term on generated images; >= 0. With 0 no image is generated.
        feature_matching_weight: of the distance of mean deepest features, added to G's loss; >= 0.
        generator_width: channels of G at half its resolution.
        upsampling: of G: "transposed" or "resize" convolutions.
        generator_average: decay in [0, 1] of the average of G that samples are generated from; 0:
            none.
        image_pool: generated images of earlier steps that S is shown again; 0: fresh ones only.
        game: loss of the game ("cross_entropy" in the paper), its stabilisers and G's updates. The
            term on tagged images has no target that `label_smoothing` could move.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_unlabelled: -log of the probability of the tags on tagged images; falls.
        loss_generated: of S on generated images; near 0 S has won.
        loss_gradient_penalty: R1 times gamma; below loss_unlabelled. 0 where it is off.
        loss_generator: of G; rises when S wins.
        d_real: mean probability of "not generated" on tagged images; above 0.5.
        d_fake: the same on generated images; below 0.5, and not 0.
        d_accuracy: share of pixels, real and generated, that S classifies rightly.
        sample_diversity: deviation between generated images over that between real ones; about 1.
    """

    reads = Reads(weak=frozenset({"tags"}), rgb=True, background=True)
    conditional = True

    def _real(self, batch: Batch) -> Weak:
        return batch.weak

    def _loss_of_real(self, logits: Tensor, real: Unlabelled | Weak) -> Tensor:
        assert isinstance(real, Weak)
        return tag_set_loss(logits, _tags_of(real), real.valid)


REPORTED = (
    "loss_unlabelled",
    "loss_generated",
    "loss_gradient_penalty",
    "loss_generator",
    "d_real",
    "d_fake",
    "d_accuracy",
    "sample_diversity",
)
"""Scalars that are 0 where a term is off."""


def _tags_of(weak: Weak) -> Tensor:
    assert weak.tags is not None, "this method reads tags"
    return weak.tags


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

    def forward_window(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Logits of a window, as `SeesAround` says."""
        if not isinstance(self.segmenter, SeesAround):
            logits: Tensor = self(image[..., rows, columns])
            return logits
        return self.segmenter.forward_window(image, rows, columns)[:, :-1]


def diversity(generated: Tensor, real: Unlabelled | Weak) -> Tensor:
    """How much generated images differ from one another, as a share of how much real ones do.

    Args:
        generated: B3HW.
        real: B images of the same size; their padding counts as equal.

    Returns:
        0-d: the ratio of the mean absolute differences between neighbours in the batch, 1 where
        there is one image alone.
    """
    if len(generated) == 1:
        return generated.new_ones(())
    sides = (to_unit(generated), to_unit(real.image))
    differences = [(images - images.roll(1, dims=0)).abs().mean() for images in sides]
    return differences[0] / differences[1].clamp(min=1e-6)
