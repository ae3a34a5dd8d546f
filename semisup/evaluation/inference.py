"""From an image of any size to scores of its pixels: scales, mirror, windows, samples, CRF."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.data.base import SegmentationData
from semisup.errors import DataError, RecipeError
from semisup.evaluation.uncertainty import mean_and_uncertainty, sampling
from semisup.models.base import FindsObjects, Found, SeesAround
from semisup.models.layers import dropout_layers
from semisup.ops.crf import dense_crf
from semisup.ops.pixels import RGB, RGB_FORMAT, ImageFormat, normalise
from semisup.settings import EvalSettings
from semisup.system.device import Precision, autocast

MANY_WINDOWS = 500
"""Of one image, from which on their number is said."""


class Inference:
    """Applies a predictor to whole images by a stated protocol.

    Args:
        predictor: image BCHW -> logits BKHW; put into eval mode.
        settings: mode, window, overlap, scales, flip, samples, CRF.
        device: where to compute.
        precision: of the forward passes.
        images: what the values of the images are, and how they are normalised.

    Raises:
        RecipeError: a CRF is wanted, which compares colours, and the images are not 8-bit RGB; or
            samples are, and the predictor has no dropout.
    """

    def __init__(
        self,
        predictor: nn.Module,
        settings: EvalSettings,
        device: torch.device,
        precision: Precision = "float32",
        images: ImageFormat = RGB_FORMAT,
    ) -> None:
        if settings.crf and images.kind != RGB:
            raise RecipeError(
                "eval.crf compares the colours of neighbours in 8-bit RGB, and the images are "
                f"{images.kind}. Set it to false."
            )
        if settings.samples:
            dropout_layers(predictor)
        self.predictor = predictor.eval()
        self.settings = settings
        self.device = device
        self.precision = precision
        self.images = images
        self._has_warned = False

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Scores of `images`, whole numbers BCHW of one size, such as uint8 B3HW, 0..255.

        Returns:
            BKHW float32 at the size of the images: logits where there is one pass, or a CRF; with
            several scales, a mirror or samples the mean of the probabilities. KHW of a single CHW.

        Raises:
            DataError: the images are of another type or shape.
        """
        if images.ndim == 3:
            return self(images[None])[0]
        return self._predict(images)[0]

    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores BKHW and, of samples, the uncertainty BHW, which knows of no CRF."""
        self._check(images)
        pixels = images.to(self.device, non_blocking=True)
        normalised, uncertainty = normalise(pixels, self.images), None
        if self.settings.samples:
            scores, uncertainty = self._sample(images, normalised)
        else:
            scores = self._scores(normalised)
        crf = self.settings.dense_crf()
        if crf is not None:
            scores = dense_crf(self._as_logits(scores), pixels, crf)
        return scores, uncertainty

    def _sample(self, images: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """Mean probabilities and uncertainty, of each image by itself."""
        drawn = []
        for image, own in zip(images, normalised, strict=True):
            with sampling(self.predictor, image, self.settings.samples_seed, self.device):
                draw = partial(self._probabilities, own[None])
                drawn.append(mean_and_uncertainty(draw, self.settings.samples))
        means, uncertainties = zip(*drawn, strict=True)
        return torch.cat(means), torch.cat(uncertainties)

    def _probabilities(self, image: Tensor) -> Tensor:
        scores = self._scores(image)
        return scores if self._has_views else scores.softmax(dim=1)

    def logits_of(self, data: SegmentationData, index: int, image: Tensor) -> Tensor:
        """Logits KHW of image `index` of a data set, which has been read as `image`."""
        return self.logits(image[None])[0]

    def _check(self, images: Tensor) -> None:
        kind, shape = self.images.kind, tuple(images.shape)
        fits = images.ndim == 4 and 0 not in shape and shape[1] == kind.channels
        if not fits or images.dtype != kind.dtype:
            raise DataError(
                f"images: cannot predict {images.dtype} of shape {shape}. Give {kind}, whole "
                f"numbers of 0..{2**kind.bits - 1}, as a tensor {kind.channels}HW or "
                f"B{kind.channels}HW of {kind.dtype}."
            )

    @torch.inference_mode()
    def detect(self, images: Tensor) -> list[Found]:
        """The objects of each of `images` (BCHW as in calling it), whole, at one scale.

        Raises:
            DataError: the images are of another type or shape.
        """
        assert isinstance(self.predictor, FindsObjects), "this predictor finds no objects"
        self._check(images)
        pixels = normalise(images.to(self.device, non_blocking=True), self.images)
        with autocast(self.precision, self.device):
            return self.predictor.detect(pixels.contiguous(memory_format=torch.channels_last))

    def logits(self, images: Tensor) -> Tensor:
        """As calling it, but with logits in any case: their softmax is the prediction."""
        scores: Tensor = self(images)
        return scores if self.settings.crf else self._as_logits(scores)

    @torch.inference_mode()
    def logits_and_uncertainty(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits BKHW of images BCHW, and the uncertainty BHW, or None without samples."""
        scores, uncertainty = self._predict(images)
        return scores if self.settings.crf else self._as_logits(scores), uncertainty

    @property
    def _has_views(self) -> bool:
        """Whether an image is seen at several scales or mirrored."""
        return len(self.settings.scales) > 1 or self.settings.flip

    def _as_logits(self, scores: Tensor) -> Tensor:
        averaged = self._has_views or self.settings.samples
        return scores.clamp(min=1e-8).log() if averaged else scores

    def _scores(self, image: Tensor) -> Tensor:
        """Logits of the only view, or the mean of the probabilities of several."""
        size = image.shape[-2:]
        views = [(scale, False) for scale in self.settings.scales]
        if self.settings.flip:
            views += [(scale, True) for scale in self.settings.scales]
        if len(views) == 1:
            return self._view(image, *views[0], size=size)
        total: Tensor | None = None
        for scale, mirror in views:
            probability = self._view(image, scale, mirror, size=size).softmax(dim=1)
            total = probability if total is None else total.add_(probability)
        assert total is not None
        return total / len(views)

    def _view(self, image: Tensor, scale: float, mirror: bool, size: torch.Size) -> Tensor:
        """Logits of one scale and mirror, resized (as scores) to `size`."""
        if scale != 1.0:
            shape = [max(1, round(side * scale)) for side in size]
            image = F.interpolate(
                image, size=shape, mode="bilinear", align_corners=False, antialias=scale < 1
            )
        if mirror:
            image = image.flip(-1)
        volumes = image.ndim == 5
        layout = torch.channels_last_3d if volumes else torch.channels_last
        image = image.contiguous(memory_format=layout)
        logits = self._slide(image) if self.settings.mode == "slide" else self._forward(image)
        if mirror:
            logits = logits.flip(-1)
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits

    def _forward(self, image: Tensor) -> Tensor:
        with autocast(self.precision, self.device):
            logits: Tensor = self.predictor(image)
        return logits.float()

    def _forward_window(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Logits of a window: of it alone, unless the network labels it by what is around it."""
        if not isinstance(self.predictor, SeesAround):
            return self._forward(image[..., rows, columns])
        with autocast(self.precision, self.device):
            logits = self.predictor.forward_window(image, rows, columns)
        return logits.float()

    def _slide(self, image: Tensor) -> Tensor:
        """Mean of the logits of all windows that see a pixel."""
        self._warn_of_windows(image.shape[-2], image.shape[-1])
        return slide(image, self._forward_window, self.settings.window, self.settings.overlap)

    def _warn_of_windows(self, height: int, width: int) -> None:
        """Say once how many windows an image takes, where they are many."""
        (high, wide), overlap = self.settings.window, self.settings.overlap
        rows = len(window_starts(height, high, overlap))
        count = rows * len(window_starts(width, wide, overlap))
        if count > MANY_WINDOWS and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"an image of {height}x{width} takes {count:,} windows of {high}x{wide}, as "
                f"eval.overlap = {overlap:g}; a smaller overlap or larger windows are quicker",
                stacklevel=2,
            )


def slide(
    image: Tensor,
    forward: Callable[[Tensor, slice, slice], Tensor],
    window: tuple[int, int],
    overlap: float,
) -> Tensor:
    """Logits of a large image from windows, averaged where they overlap.

    The windows are spread evenly; the last one ends at the border. An image smaller than the
    window is seen as it is.

    Args:
        image: BCHW, or BCDHW.
        forward: image BCHW, rows and columns of a window -> BKhw; of BCDHW, BKDhw.
        window: (H, W) in pixels.
        overlap: smallest share that neighbours have in common, in [0, 1).
    """
    height, width = image.shape[-2:]
    high, wide = min(window[0], height), min(window[1], width)
    total: Tensor | None = None
    seen = image.new_zeros((1, 1, height, width), dtype=torch.float32)
    for top in window_starts(height, high, overlap):
        for left in window_starts(width, wide, overlap):
            rows, columns = slice(top, top + high), slice(left, left + wide)
            logits = forward(image, rows, columns)
            if total is None:
                total = logits.new_zeros((*logits.shape[:-2], height, width))
            total[..., rows, columns] += logits
            seen[..., rows, columns] += 1
    assert total is not None
    return total / seen


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along one axis: evenly spread, first at 0, last at the end."""
    if length <= window:
        return [0]
    step = max(1, math.floor(window * (1 - overlap)))
    count = math.ceil((length - window) / step) + 1
    return [round(i * (length - window) / (count - 1)) for i in range(count)]
