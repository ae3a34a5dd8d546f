"""Weights of the pixels between objects, so that a network learns to keep touching ones apart.

    w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))

of U-Net (Ronneberger, Fischer and Brox, MICCAI 2015, https://arxiv.org/abs/1505.04597), where d1
and d2 are the distances from x to the nearest and to the second nearest cell, and w_c balances the
classes: here `train.class_weights`. This is the second term.

- It is added at background pixels alone, as in the authors' published code (`createGapWeights`);
  the paper's formula has no such limit. That code divides by sigma^2; here it is 2 sigma^2, as in
  the paper.
- Objects are the connected components (by edges) of class 1, of two classes. Void belongs to none.
- The distances are measured on the whole mask, before it is scaled, cut and bent; the map is then
  warped as the image is (the authors computed theirs beforehand too). So a crop that cuts a cell
  in two, or leaves its neighbour out, changes no weight. Distances are in pixels of the mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

OBJECT = 1
"""Label of the pixels of objects; 0 lies between them."""

NEGLIGIBLE = 2.0**-26
"""A weight that changes none of about 1 in float32."""


@dataclass(frozen=True, slots=True)
class BorderWeights:
    """The map that is added to the weights of the classes.

    Args:
        weight: w0, the largest weight, > 0.
        sigma: in pixels, > 0.
    """

    weight: float = 10.0
    sigma: float = 5.0

    def __call__(self, mask: Tensor) -> Tensor:
        """The second term at every pixel, in objects too, where d1 is 0: HW float32.

        Args:
            mask: uint8 HW; `OBJECT` in objects.
        """
        nearest, second = _two_distances(mask.numpy() == OBJECT, self._reach())
        term = self.weight * np.exp(-((nearest + second) ** 2) / (2 * self.sigma**2))
        return torch.from_numpy(term.astype(np.float32))

    def _reach(self) -> int:
        """d1 + d2 from which on the term is negligible, rounded up."""
        ratio = max(1.0, self.weight / NEGLIGIBLE)
        return math.ceil(self.sigma * math.sqrt(2 * math.log(ratio)))


def _two_distances(objects: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances HW to the nearest and to the second nearest object.

    Those up to `reach` are exact. Beyond it, one may be that of a farther object, or infinite.
    """
    labels, _ = ndimage.label(objects)
    nearest = np.full(objects.shape, np.inf)
    second = np.full(objects.shape, np.inf)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        around = tuple(slice(max(0, part.start - reach), part.stop + reach) for part in box)
        distance = ndimage.distance_transform_edt(labels[around] != number)
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    return nearest, second
