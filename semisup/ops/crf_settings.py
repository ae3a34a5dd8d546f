"""The parameters of the dense CRF (`ops.crf`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CrfSettings:
    """Parameters of the dense CRF; the defaults are the common ones of the literature.

    Attributes:
        iterations: updates of the marginals.
        smoothness_weight: of the kernel of positions; 0: none.
        smoothness_sigma: its standard deviation, in pixels.
        appearance_weight: of the kernel of positions and colours; 0: none.
        appearance_sigma: its standard deviation in position, in pixels.
        colour_sigma: its standard deviation in colour, in levels of 0 to 255.
        exact: sum the appearance kernel over all pairs whatever the size of the image.
    """

    iterations: int = 10
    smoothness_weight: float = 3.0
    smoothness_sigma: float = 3.0
    appearance_weight: float = 10.0
    appearance_sigma: float = 80.0
    colour_sigma: float = 13.0
    exact: bool = False
