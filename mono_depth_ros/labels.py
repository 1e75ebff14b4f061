"""Semantic classes: the 40 of NYU in rooms, the 19 Cityscapes train ids in streets."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

NYU_VOID = 0
CITYSCAPES_IGNORE = 255


class Nyu(IntEnum):
    """The 40 classes of NYU Depth V2; 0 is void."""

    WALL = 1
    FLOOR = 2
    CABINET = 3
    BED = 4
    CHAIR = 5
    SOFA = 6
    TABLE = 7
    DOOR = 8
    WINDOW = 9
    BOOKSHELF = 10
    PICTURE = 11
    COUNTER = 12
    BLINDS = 13
    DESK = 14
    SHELVES = 15
    CURTAIN = 16
    DRESSER = 17
    PILLOW = 18
    MIRROR = 19
    FLOOR_MAT = 20
    CLOTHES = 21
    CEILING = 22
    BOOKS = 23
    REFRIGERATOR = 24
    TELEVISION = 25
    PAPER = 26
    TOWEL = 27
    SHOWER_CURTAIN = 28
    BOX = 29
    WHITEBOARD = 30
    PERSON = 31
    NIGHT_STAND = 32
    TOILET = 33
    SINK = 34
    LAMP = 35
    BATHTUB = 36
    BAG = 37
    OTHER_STRUCTURE = 38
    OTHER_FURNITURE = 39
    OTHER_PROP = 40


class City(IntEnum):
    """The 19 Cityscapes train ids; 255 is ignored."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    FENCE = 4
    POLE = 5
    TRAFFIC_LIGHT = 6
    TRAFFIC_SIGN = 7
    VEGETATION = 8
    TERRAIN = 9
    SKY = 10
    PERSON = 11
    RIDER = 12
    CAR = 13
    TRUCK = 14
    BUS = 15
    TRAIN = 16
    MOTORCYCLE = 17
    BICYCLE = 18


# Row 0 is void; classes 1 ground, 2 structure, 3 furniture, 4 props (mapToNYUSuperClass of NYU's
# classMapping40.mat).
_NYU4 = "0 2 1 3 3 3 3 3 2 2 3 4 2 2 3 3 2 3 4 4 4 4 2 4 3 4 4 4 2 4 2 4 3 3 4 4 3 4 2 3 4"
_NYU4_OF_NYU40 = np.array(_NYU4.split(), np.uint8)


def nyu40_to_4(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Map NYU labels to the four super classes.

    Args:
        labels: any shape, 0 (void) or 1..40.

    Returns:
        Same shape: 0 void, 1 ground, 2 structure, 3 furniture, 4 props.
    """
    return _NYU4_OF_NYU40[labels]
