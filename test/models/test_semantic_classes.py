"""Class sets: the tables by name, the order of channels, what has no class."""

from __future__ import annotations

import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.labels import City, Nyu
from mono_depth_ros.models.semantic_classes import class_names, label_map, nyu40_to_13

# Room class → class of 13, written out; every other room class is "objects".
NYU13 = {
    "bed": ["BED"],
    "books": ["BOOKS"],
    "ceiling": ["CEILING"],
    "chair": ["CHAIR"],
    "floor": ["FLOOR", "FLOOR_MAT"],
    "furniture": [
        "CABINET",
        "BOOKSHELF",
        "COUNTER",
        "SHELVES",
        "DRESSER",
        "REFRIGERATOR",
        "NIGHT_STAND",
        "OTHER_FURNITURE",
    ],
    "picture": ["PICTURE"],
    "sofa": ["SOFA"],
    "table": ["TABLE", "DESK"],
    "tv": ["TELEVISION"],
    "wall": ["WALL", "DOOR"],
    "window": ["WINDOW", "BLINDS", "CURTAIN"],
}


def test_names_and_counts():
    assert [len(class_names(s)) for s in ("none", "nyu4", "nyu13", "nyu40")] == [0, 4, 13, 40]
    assert class_names("nyu4") == ("ground", "structure", "furniture", "props")
    assert class_names("nyu40")[0] == "wall" and class_names("nyu40")[39] == "other prop"
    assert class_names("nyu40")[31] == "night stand"
    assert len(class_names("cityscapes")) == 19
    assert class_names("cityscapes", 2)[17:] == ("motorcycle", "bicycle", "void", "license plate")


def test_thirteen_classes_by_name():
    names = class_names("nyu13")
    named = {member: name for name, members in NYU13.items() for member in members}
    classes = label_map("nyu13")
    for member in Nyu:
        assert names[classes[member]] == named.get(member.name, "objects"), member.name


@pytest.mark.parametrize(
    ("label", "name"),
    # A few of each; the table itself is tested with the world's labels.
    [
        (Nyu.FLOOR, "ground"),
        (Nyu.WALL, "structure"),
        (Nyu.COUNTER, "structure"),
        (Nyu.BED, "furniture"),
        (Nyu.FLOOR_MAT, "props"),
        (Nyu.OTHER_PROP, "props"),
    ],
)
def test_four_classes_by_name(label, name):
    assert class_names("nyu4")[label_map("nyu4")[label]] == name


def test_forty_classes_keep_their_order():
    assert label_map("nyu40")[1:41].tolist() == list(range(40))


@pytest.mark.parametrize("semantics", ["nyu4", "nyu13", "nyu40"])
def test_void_and_unknown_labels_have_no_class(semantics):
    classes = label_map(semantics)
    assert classes.shape == (256,) and classes.dtype == np.int16
    assert classes[0] == -1 and (classes[41:] == -1).all()
    # Every class is some label's.
    assert set(classes[1:41].tolist()) == set(range(len(class_names(semantics))))


def test_street_labels():
    classes = label_map("cityscapes")
    assert classes[:19].tolist() == [int(member) for member in City]
    assert (classes[19:] == -1).all()
    with_void = label_map("cityscapes", 1)
    assert with_void[255] == 19 and (with_void[19:255] == -1).all()
    assert (label_map("cityscapes", 2) == with_void).all()  # no 8-bit value for licence plates


def test_without_semantics_nothing_has_a_class():
    assert (label_map("none") == -1).all()


def test_nyu13_keeps_shape_and_void():
    labels = np.array([[0, Nyu.BED], [Nyu.WINDOW, Nyu.BAG]], np.uint8)
    assert nyu40_to_13(labels).tolist() == [[0, 1], [13, 7]]


@pytest.mark.parametrize(
    ("semantics", "extra", "allowed"),
    [("nyu40", 1, "0 to 0"), ("cityscapes", 3, "0 to 2"), ("cityscapes", -1, "0 to 2")],
)
def test_extra_classes_are_for_cityscapes(semantics, extra, allowed):
    with pytest.raises(ConfigError, match=f"extra_classes is {extra}.*{allowed}"):
        class_names(semantics, extra)
