"""Classes, colours and frame lists of CamVid."""

from __future__ import annotations

from semisup.data.base import Colour

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car"),
    *("pedestrian", "bicyclist"),
)

PALETTE: tuple[Colour, ...] = (
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0)),
    *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)

COLOURS: dict[str, Colour] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
"""The 32 classes of the original release."""

GROUPS: tuple[tuple[str, ...], ...] = (
    ("Sky",),
    ("Building", "Bridge", "Wall", "Tunnel", "Archway"),
    ("Column_Pole", "TrafficCone"),
    ("Road", "LaneMkgsDriv", "LaneMkgsNonDriv"),
    ("Sidewalk", "ParkingBlock", "RoadShoulder"),
    ("Tree", "VegetationMisc"),
    ("SignSymbol", "Misc_Text", "TrafficLight"),
    ("Fence",),
    ("Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving"),
    ("Pedestrian", "Child", "CartLuggagePram", "Animal"),
    ("Bicyclist", "MotorcycleScooter"),
)
"""Which of the 32 make up each of the 11 (the grouping of MathWorks' CamVid example)."""

FRAMES: dict[str, tuple[tuple[str, range], ...]] = {
    "train": (
        ("0001TP_{:06d}", range(6690, 8521, 30)),
        ("0006R0_f{:05d}", range(930, 3931, 30)),
        ("0016E5_{:05d}", range(390, 871, 30)),
        ("0016E5_{:05d}", range(901, 902)),  # the one frame that is out of step
        ("0016E5_{:05d}", range(930, 2401, 30)),
        ("0016E5_{:05d}", range(4350, 7921, 30)),
        ("0016E5_{:05d}", range(8190, 8641, 30)),
    ),
    "val": (("0016E5_{:05d}", range(7959, 8160, 2)),),
    "test": (
        ("0001TP_{:06d}", range(8550, 10381, 30)),
        ("Seq05VD_f{:05d}", range(0, 5101, 30)),
    ),
}
"""The published 367 / 101 / 233 frames by sequence."""


def frames(subset: str) -> tuple[str, ...]:
    """Ids of the published subset "train", "val" or "test", in the order of its list."""
    return tuple(form.format(number) for form, numbers in FRAMES[subset] for number in numbers)
