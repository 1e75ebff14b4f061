from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.transforms import Transforms
from mono_depth_ros.geometry import transform_from_quaternion

numbers = st.floats(-10, 10, width=32)
quaternions = st.tuples(*[st.floats(-1, 1, width=32)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)
rigid = st.builds(transform_from_quaternion, st.tuples(numbers, numbers, numbers), quaternions)


def translation(x, y, z):
    matrix = np.eye(4)
    matrix[:3, 3] = [x, y, z]
    return matrix


def test_a_chain_worked_out_by_hand():
    tree = Transforms()
    quarter_turn = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    tree.add_static("base", "mast", translation(1, 0, 0) @ quarter_turn)
    tree.add_static("mast", "lidar", translation(0, 0, 2))
    tree.add_static("base", "camera", translation(0, 5, 0))
    # A point one metre along lidar x: two up, turned onto base y, one forward, five less in y.
    point = tree.lookup("camera", "lidar", 0) @ [1, 0, 0, 1]
    np.testing.assert_allclose(point, [1, -4, 2, 1], atol=1e-15)


@given(st.lists(st.tuples(st.integers(0, 100), rigid), min_size=1, max_size=8), st.data())
def test_lookup_composes_and_inverts_in_any_tree(links, data):
    tree = Transforms()
    world_from = [np.eye(4)]
    for parent, parent_from_child in links:
        parent %= len(world_from)
        tree.add_static(f"f{parent}", f"f{len(world_from)}", parent_from_child)
        world_from.append(world_from[parent] @ parent_from_child)
    frames = st.integers(0, len(links))
    a, b, c = (data.draw(frames) for _ in range(3))
    a_from_b = tree.lookup(f"f{a}", f"f{b}", 0)
    np.testing.assert_allclose(a_from_b, np.linalg.inv(world_from[a]) @ world_from[b], atol=1e-6)
    b_from_c = tree.lookup(f"f{b}", f"f{c}", 0)
    np.testing.assert_allclose(a_from_b @ b_from_c, tree.lookup(f"f{a}", f"f{c}", 0), atol=1e-6)
    np.testing.assert_allclose(a_from_b @ tree.lookup(f"f{b}", f"f{a}", 0), np.eye(4), atol=1e-6)


def test_same_frame_needs_no_transform_and_slashes_do_not_count():
    tree = Transforms()
    np.testing.assert_array_equal(tree.lookup("camera", "camera", 0), np.eye(4))
    tree.add_static("/base", "/lidar", translation(1, 2, 3))
    np.testing.assert_array_equal(tree.lookup("base", "/lidar", 0), translation(1, 2, 3))


def test_a_later_transform_replaces_an_earlier_one():
    tree = Transforms()
    tree.add_static("old", "lidar", translation(1, 0, 0))
    tree.add_static("base", "lidar", translation(2, 0, 0))
    np.testing.assert_array_equal(tree.lookup("base", "lidar", 0), translation(2, 0, 0))
    assert tree.frames == ["base", "lidar"]


def test_a_missing_link_names_both_frames_and_what_there_is():
    tree = Transforms()
    with pytest.raises(BagError, match="holds nothing"):
        tree.lookup("camera", "lidar", 0)
    tree.add_static("base", "lidar", np.eye(4))
    with pytest.raises(BagError, match=r"'camera' and 'lidar'.*base -> lidar"):
        tree.lookup("camera", "lidar", 0)
