"""The labels of Cityscapes: what they are called, which are scored, and which have objects.

Cordts et al. 2016, as the benchmark's tools list them (`helpers/labels.py` of cityscapesScripts).
"""

from __future__ import annotations

# Label id in the files, name, colour: the classes that are scored, in the order of their train ids.
TRAINED = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)

FIRST_OBJECT = 24
"""The labels from here on have objects; caravan and trailer have, and are not scored."""

LAST_ID = 33
"""Of the label ids; a licence plate is -1 in their list and is not drawn into a file."""

NOT_DRAWN = -1

NUMBERS = {name: label for label, name, _ in TRAINED} | {
    "unlabeled": 0,
    "ego vehicle": 1,
    "rectification border": 2,
    "out of roi": 3,
    "static": 4,
    "dynamic": 5,
    "ground": 6,
    "parking": 9,
    "rail track": 10,
    "guard rail": 14,
    "bridge": 15,
    "tunnel": 16,
    "polegroup": 18,
    "caravan": 29,
    "trailer": 30,
    "license plate": NOT_DRAWN,
}
"""Every name -> its label id."""
