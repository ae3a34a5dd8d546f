"""GAN losses, given the discriminator's logits.

A logit is high where the discriminator holds its input for real. Three losses of the game, each as
a map of the shape of the logits, so that void and padding can be left out before the mean:

    cross_entropy   Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, non-saturating
    hinge           Lim and Ye 2017, https://arxiv.org/abs/1705.02894
    least_squares   Mao et al. 2017, https://arxiv.org/abs/1611.04076

Stabilisers, all of them off by default:

    label_smoothing        Salimans et al. 2016, https://arxiv.org/abs/1606.03498
    r1                     Mescheder et al. 2018, https://arxiv.org/abs/1801.04406: a gradient
                           penalty at real input
    instance_noise         Sønderby et al. 2017, https://arxiv.org/abs/1610.04490; Arjovsky and
                           Bottou 2017, https://arxiv.org/abs/1701.04862: two distributions of
                           images or class maps hardly overlap, so that a discriminator parts them
                           without fail and teaches nothing; noise on both makes them overlap
    spectral_norm          Miyato et al. 2018, https://arxiv.org/abs/1802.05957
    discriminator_updates  Goodfellow et al. 2014: several steps of D for each of the segmenter
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.segmentation import count, masked_mean
from semisup.system.distributed import mean_over_ranks, sum_over_ranks

Loss = Literal["cross_entropy", "hinge", "least_squares"]


@dataclass(frozen=True, kw_only=True)
class Game:
    """Options of an adversarial game: its loss and its stabilisers.

    Attributes:
        loss: "cross_entropy", "hinge" or "least_squares".
        label_smoothing: s in [0, 1): the discriminator's target for real input is 1 - s, not 1
            (with a hinge, which has no target, the margin is). 0.1 is usual.
        r1: gamma >= 0, weight of the penalty R1 in the discriminator's loss: half the squared
            gradient of its mean output with respect to real input.
        instance_noise: standard deviation, at the start of the run, of Gaussian noise on everything
            that the discriminator is shown in training; it falls linearly to 0 over the run; >= 0.

    Raises:
        ValueError: an attribute is out of its range; names it and its value.
    """

    loss: Loss = "cross_entropy"
    label_smoothing: float = 0.0
    r1: float = 0.0
    instance_noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), but is {self.label_smoothing}")
        for name in ("r1", "instance_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")

    def real(self, logits: Tensor) -> Tensor:
        """The discriminator's loss on real input, of the shape of `logits`."""
        target = 1.0 - self.label_smoothing
        if self.loss == "cross_entropy":
            return F.binary_cross_entropy_with_logits(
                logits, torch.full_like(logits, target), reduction="none"
            )
        return F.relu(target - logits) if self.loss == "hinge" else (logits - target).square()

    def fake(self, logits: Tensor) -> Tensor:
        """The discriminator's loss on generated input, of the shape of `logits`."""
        if self.loss == "cross_entropy":
            return F.softplus(logits)
        return F.relu(1.0 + logits) if self.loss == "hinge" else logits.square()

    def fool(self, logits: Tensor) -> Tensor:
        """The generator's loss on its own output, of the shape of `logits`."""
        if self.loss == "cross_entropy":
            return F.softplus(-logits)
        return -logits if self.loss == "hinge" else (logits - 1.0).square()

    def probability(self, logits: Tensor) -> Tensor:
        """The discriminator's probability of "real", in [0, 1].

        Least squares ask for 1 and 0 themselves: there it is the output, clamped.
        """
        return logits.clamp(0, 1) if self.loss == "least_squares" else logits.sigmoid()

    def statistics(
        self,
        real: Tensor,
        fake: Tensor,
        valid_real: Tensor | None = None,
        valid_fake: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """What to report of the discriminator; the names are those that the monitoring reads.

        Args:
            real: logits on real input, any shape.
            fake: logits on generated input, any shape.
            valid_real: bool of the shape of `real`, False where a logit does not count.
            valid_fake: likewise.

        Returns:
            `d_real` and `d_fake`, the mean probability of "real" of each, and `d_accuracy`, the
            mean of the shares of both that are classified rightly: 0.5 where the discriminator is
            blind, 1 where it has won. 0-d and detached.
        """
        real, fake = (self.probability(logits.detach().float()) for logits in (real, fake))
        valid_real = torch.ones_like(real, dtype=torch.bool) if valid_real is None else valid_real
        valid_fake = torch.ones_like(fake, dtype=torch.bool) if valid_fake is None else valid_fake
        right = masked_mean((real > 0.5).float(), valid_real)
        right = right + masked_mean((fake <= 0.5).float(), valid_fake)
        return {
            "d_real": masked_mean(real, valid_real),
            "d_fake": masked_mean(fake, valid_fake),
            "d_accuracy": 0.5 * right,
        }

    def noisy(self, maps: Tensor, fraction: float) -> Tensor:
        """Class maps or images as the discriminator sees them at this share of the run."""
        return with_noise(maps, self.instance_noise, fraction)

    @contextmanager
    def real_input(self, maps: Tensor, fraction: float) -> Iterator[Tensor]:
        """Real maps or images as the discriminator sees them, for a forward pass in the block.

        A forward pass whose gradient is penalised runs in single precision at least, for squared
        gradients in half precision are mostly 0, and without torch.compile, which knows no gradient
        of a gradient.

        Args:
            maps: BChw; no gradient passes.
            fraction: share of the run that is behind.
        """
        maps = self.noisy(maps.detach(), fraction)
        if self.r1 == 0:
            yield maps
            return
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        with (
            torch.autocast(maps.device.type, enabled=False),
            torch.compiler.set_stance("force_eager"),
        ):
            yield maps.detach().requires_grad_()

    def penalty(
        self, logits: Tensor, maps: Tensor, weights: Tensor, places: Tensor | None = None
    ) -> Tensor:
        """R1 times gamma, of the discriminator's loss; 0 where it is off.

        Args:
            logits: of the forward pass on real input, B first.
            maps: what `real_input` gave for it.
            weights: what each logit counts, of their shape but for sides of 1.
            places: bool, of the shape of `maps` but for sides of 1: where gradients count; None:
                everywhere.

        Returns:
            0-d.
        """
        if self.r1 == 0:
            return logits.new_zeros(())
        return self.r1 * gradient_penalty(logits, maps, weights, places)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorGame(Game):
    """Options of the game of a segmenter with a discriminator of class maps.

    Its real input is the class maps of ground truth.

    Attributes:
        spectral_norm: whether the discriminator's weights are divided by their largest singular
            value.
        discriminator_updates: updates of the discriminator for each of the segmenter, at least 1.

    Raises:
        ValueError: an attribute is out of its range; names it and its value.
    """

    spectral_norm: bool = False
    discriminator_updates: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_updates("discriminator_updates", self.discriminator_updates)


@dataclass(frozen=True, kw_only=True)
class GeneratorGame(Game):
    """Options of the game of an image generator with a segmenter that is its discriminator.

    Its real input is the images without masks, its output the mean realness of their pixels; noise
    is in deviations of ImageNet's colours. Where the segmenter has batch norm, images influence one
    another's realness, and `r1` grows with the batch.

    Attributes:
        saturating: whether the generator minimises log(1 - D), the minimax game of the 2014 paper,
            and not -log D. Least squares have no such game.
        generator_updates: updates of the generator for each of the segmenter; all but the last on
            images of their own; at least 1.

    Raises:
        ValueError: an attribute is out of its range; names it and its value.
    """

    saturating: bool = False
    generator_updates: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_updates("generator_updates", self.generator_updates)
        if self.saturating and self.loss == "least_squares":
            raise ValueError(
                'saturating goes with loss "cross_entropy" or "hinge": with least squares the '
                "discriminator's loss on generated input is least at 0, and below it the generator "
                "would be rewarded for looking still more generated"
            )

    def fool(self, logits: Tensor) -> Tensor:
        """The generator's loss on its own output, of the shape of `logits`.

        The minimax game's is minus the discriminator's, whose gradient fades as that one wins.
        """
        return -self.fake(logits) if self.saturating else super().fool(logits)


def _require_updates(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, but is {value}")


def feature_distance(
    generated: Tensor,
    real: Tensor,
    valid_generated: Tensor | None = None,
    valid_real: Tensor | None = None,
) -> Tensor:
    """Feature matching (Salimans et al. 2016): L1 distance of the batches' mean features.

    Where several processes share a batch, the means are those of the whole batch: a mean of
    distances is not the distance of the means.

    Args:
        generated: B x anything, features of the discriminator; averaged over places if they have
            any.
        real: B' x the same; no gradient passes.
        valid_generated: B bool, which of them count; None: all.
        valid_real: B' bool, likewise.

    Returns:
        0-d: the mean over features. Zero for equal batches, and where one of the sides has no
        input that counts.
    """
    sides = ((generated, valid_generated), (real.detach(), valid_real))
    means = [_mean_of_batch(rows, valid) for rows, valid in sides]
    distance = (means[0] - means[1]).abs().mean()
    counts = [valid.sum() for _, valid in sides if valid is not None]
    if not counts:
        return distance
    known = sum_over_ranks(torch.stack(counts)) > 0
    return torch.where(known.all(), distance, torch.zeros_like(distance))


def _mean_of_batch(rows: Tensor, valid: Tensor | None) -> Tensor:
    """The mean over all processes' rows, whose gradients stay with the own ones."""
    if valid is None:
        own = rows.mean(dim=0)
    else:
        dropped = ~valid.reshape(-1, *[1] * (rows.dim() - 1))
        own = rows.masked_fill(dropped, 0.0).sum(dim=0) / count(valid)
    return mean_over_ranks(own.detach()) + (own - own.detach())


def gradient_penalty(
    logits: Tensor,
    real: Tensor,
    weights: Tensor | None = None,
    places: Tensor | None = None,
) -> Tensor:
    """R1 (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406): E |d D / d real|^2 / 2.

    Where inputs have a say in one another's logits, as in a discriminator with batch norm in train
    mode, it is the gradient of the batch's sum in each input, and so grows with the batch.

    Args:
        logits: the discriminator's, any shape with B first; averaged over all but B.
        real: B x anything, what they were computed from; must require a gradient.
        weights: of the shape of `logits` but for sides of 1, bool or >= 0: what each logit counts
            in that average; None counts all alike. An input without any weight is left out.
        places: bool, of the shape of `real` but for sides of 1: where gradients count, so that
            padding has no say, near which a logit may lie that has a weight; None counts all.

    Returns:
        0-d, with a graph: it is to be minimised in the discriminator. Multiply by gamma.
    """
    weights = torch.ones_like(logits) if weights is None else weights.to(logits)
    weights = weights.reshape(len(logits), -1)
    total = weights.sum(dim=1)
    # Under autocast a backward pass would multiply weights of the discriminator in half precision.
    with torch.autocast(logits.device.type, enabled=False):
        per_input = (logits.reshape(weights.shape) * weights).sum(dim=1) / total.clamp(min=1e-12)
        (gradient,) = torch.autograd.grad(per_input.sum(), real, create_graph=True)
    if places is not None:
        gradient = gradient.masked_fill(~places, 0.0)
    return 0.5 * masked_mean(gradient.square().flatten(1).sum(dim=1), total > 0)


def with_noise(tensor: Tensor, sigma: float, fraction: float) -> Tensor:
    """`tensor` and Gaussian noise that fades in a straight line over the run; gradients pass.

    Args:
        tensor: any shape, floating point.
        sigma: deviation of the noise at the start of the run; with 0 the tensor itself is given
            back and no random number drawn.
        fraction: share of the run that is behind, in [0, 1].
    """
    if sigma == 0:
        return tensor
    return tensor + sigma * (1.0 - fraction) * torch.randn_like(tensor)
