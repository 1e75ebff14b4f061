"""Moving transforms: interpolation, spans, the tree, messages."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mono_depth_ros.bags.messages import transforms_message
from mono_depth_ros.errors import BagError, CalibrationError, ShapeError
from mono_depth_ros.evaluation.transforms import Transforms, odometry_pose, transform_pose
from mono_depth_ros.geometry import (
    invert_transform,
    quaternion_from_matrix,
    transform_from_quaternion,
)

START_NS = 1_776_863_762_100_071_637
numbers = st.floats(-10, 10, width=32)
quaternions = st.tuples(*[st.floats(-1, 1, width=32)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)
rigid = st.builds(transform_from_quaternion, st.tuples(numbers, numbers, numbers), quaternions)
offsets_ns = st.integers(-(10**9), 10**9)


def translation(x, y, z):
    matrix = np.eye(4)
    matrix[:3, 3] = [x, y, z]
    return matrix


def turned(yaw_deg, x=0.0, y=0.0, z=0.0):
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    return translation(x, y, z) @ [[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def moving(*poses, parent="odom", child="base"):
    tree = Transforms()
    for stamp_ns, matrix in poses:
        tree.add(stamp_ns, parent, child, matrix)
    return tree


class TestInterpolation:
    def test_constant_velocity_and_yaw_rate_worked_out_by_hand(self):
        tree = moving((0, turned(0)), (100, turned(60, x=2, z=-4)))
        np.testing.assert_allclose(
            tree.lookup("odom", "base", 25), turned(15, x=0.5, z=-1), atol=1e-15
        )
        tree.add(300, "odom", "base", turned(160, x=2))
        np.testing.assert_allclose(
            tree.lookup("odom", "base", 200), turned(110, x=2, z=-2), atol=1e-15
        )

    def test_the_shorter_way_round(self):
        tree = moving((0, turned(170)), (10, turned(-170)))
        np.testing.assert_allclose(tree.lookup("odom", "base", 5), turned(180), atol=1e-15)

    def test_half_a_turn_is_split_evenly_to_either_side(self):
        tree = moving((0, turned(0)), (2, turned(180)))
        half = tree.lookup("odom", "base", 1)
        np.testing.assert_allclose(half[:2, 0], [0, half[1, 0]], atol=1e-15)
        assert abs(half[1, 0]) == pytest.approx(1)

    @given(quaternions, quaternions, st.floats(0, 1))
    def test_rotation_is_the_slerp_of_quaternions(self, first, second, share):
        a, b = (np.array(q) / np.linalg.norm(q) for q in (first, second))
        assume(abs(a @ b) > 1e-6)  # half a turn may go either way
        b = b if a @ b > 0 else -b
        angle = np.arccos(min(a @ b, 1))
        if angle < 1e-3:
            expected = a + share * (b - a)
        else:
            expected = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
        tree = moving(
            (0, transform_from_quaternion((0, 0, 0), a)),
            (10**9, transform_from_quaternion((0, 0, 0), b)),
        )
        stamp_ns = round(share * 1e9)
        np.testing.assert_allclose(
            tree.lookup("odom", "base", stamp_ns),
            transform_from_quaternion((0, 0, 0), expected),
            atol=1e-6,
        )

    @given(st.dictionaries(offsets_ns, rigid, min_size=1, max_size=6), st.randoms())
    def test_at_a_stamp_the_pose_is_the_message_itself_in_any_order(self, poses, random):
        shuffled = list(poses.items())
        random.shuffle(shuffled)
        tree = moving(*((START_NS + offset_ns, matrix) for offset_ns, matrix in shuffled))
        stamps_ns = START_NS + np.array(list(poses), np.int64)
        found = tree.lookup_many("odom", "base", stamps_ns)
        np.testing.assert_array_equal(found, list(poses.values()))

    @given(st.dictionaries(offsets_ns, rigid, min_size=2, max_size=4), st.floats(0, 1))
    def test_between_stamps_it_stays_rigid(self, poses, share):
        tree = moving(*poses.items())
        first, last = min(poses), max(poses)
        matrix = tree.lookup("odom", "base", first + round(share * (last - first)))
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)
        np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])

    def test_of_equal_stamps_the_later_message_counts_also_after_a_lookup(self):
        tree = moving((0, translation(1, 0, 0)), (10, turned(0)), (0, translation(2, 0, 0)))
        assert tree.lookup("odom", "base", 0)[0, 3] == 2
        tree.add(0, "odom", "base", translation(3, 0, 0))
        assert tree.lookup("odom", "base", 0)[0, 3] == 3
        assert tree.lookup("odom", "base", 5)[0, 3] == 1.5

    def test_nanoseconds_of_today_are_told_apart(self):
        tree = moving((START_NS, translation(0, 0, 0)), (START_NS + 2, translation(2, 0, 0)))
        assert tree.lookup("odom", "base", START_NS + 1)[0, 3] == 1

    def test_many_stamps_equal_one_by_one(self):
        tree = moving(*((10 * i, turned(7 * i * i, x=i)) for i in range(30)))
        tree.add_static("base", "lidar", turned(90, y=1))
        stamps_ns = np.random.default_rng(0).integers(0, 291, 500)
        many = tree.lookup_many("lidar", "odom", stamps_ns)
        assert many.shape == (500, 4, 4)
        for stamp_ns, matrix in zip(stamps_ns, many, strict=True):
            np.testing.assert_array_equal(tree.lookup("lidar", "odom", int(stamp_ns)), matrix)

    def test_no_stamps(self):
        assert moving((0, np.eye(4))).lookup_many("odom", "base", []).shape == (0, 4, 4)

    def test_stamps_must_be_integers(self):
        with pytest.raises(ShapeError, match="float64"):
            moving((0, np.eye(4))).lookup_many("odom", "base", [0.5])


class TestSpan:
    TREE = moving((100, translation(1, 0, 0)), (200, translation(2, 0, 0)))

    @pytest.mark.parametrize("stamp_ns", [99, 201])
    def test_outside_is_an_error_that_says_what_where_and_when(self, stamp_ns):
        reason = f"odom -> base is not known at {stamp_ns} ns: its 2 poses reach from 100 to 200 ns"
        with pytest.raises(BagError, match=f"{reason}, 1 ns away"):
            self.TREE.lookup("odom", "base", stamp_ns)

    def test_the_first_of_several_is_named_and_the_others_counted(self):
        with pytest.raises(BagError, match="at 50 ns and 2 more stamps"):
            self.TREE.lookup_many("odom", "base", [150, 50, 20, 300])

    def test_within_the_tolerance_the_nearest_pose_counts(self):
        lookup = self.TREE.lookup_many("odom", "base", [90, 210], tolerance_ns=10)
        np.testing.assert_array_equal(lookup[:, 0, 3], [1, 2])
        with pytest.raises(BagError, match="11 ns away, tolerance 10 ns"):
            self.TREE.lookup("odom", "base", 211, tolerance_ns=10)

    def test_a_single_pose_is_known_at_its_stamp(self):
        tree = moving((100, turned(30)))
        np.testing.assert_array_equal(tree.lookup("odom", "base", 100), turned(30))
        with pytest.raises(BagError, match="its 1 poses"):
            tree.lookup("odom", "base", 101)

    def test_links_off_the_way_need_not_be_known(self):
        tree = moving((0, np.eye(4)))
        tree.add_static("base", "camera", translation(0, 0, 1))
        tree.add_static("base", "lidar", translation(0, 0, 3))
        np.testing.assert_array_equal(tree.lookup("camera", "lidar", 10**18), translation(0, 0, 2))


class TestTree:
    def test_a_chain_worked_out_by_hand(self):
        tree = moving((0, translation(0, 0, 0)), (10, translation(10, 0, 0)))
        tree.add_static("/base", "/lidar", turned(90, z=2))
        tree.add_static("base", "camera", translation(0, 5, 0))
        # One metre along lidar x is base y; the base is at x = 4.
        point = tree.lookup("odom", "lidar", 4) @ [1, 0, 0, 1]
        np.testing.assert_allclose(point, [4, 1, 2, 1], atol=1e-15)
        point = tree.lookup("/camera", "lidar", 4) @ [1, 0, 0, 1]
        np.testing.assert_allclose(point, [0, -4, 2, 1], atol=1e-15)
        assert tree.frames == ["base", "camera", "lidar", "odom"]

    def test_same_frame_needs_no_transform(self):
        found = Transforms().lookup_many("camera", "/camera", [1, 2])
        np.testing.assert_array_equal(found, [np.eye(4)] * 2)

    @given(
        st.lists(st.tuples(st.integers(0, 100), rigid, rigid | st.none()), min_size=1, max_size=7),
        st.integers(0, 100),
        st.data(),
    )
    def test_lookups_compose_and_invert_in_any_tree(self, links, stamp_ns, data):
        tree = Transforms()
        for index, (parent, matrix, later) in enumerate(links, start=1):
            parent %= index
            if later is None:
                tree.add_static(f"f{parent}", f"f{index}", matrix)
            else:
                tree.add(0, f"f{parent}", f"f{index}", matrix)
                tree.add(100, f"f{parent}", f"f{index}", later)
        frames = st.integers(0, len(links)).map("f{}".format)
        a, b, c = (data.draw(frames) for _ in range(3))
        a_from_b = tree.lookup(a, b, stamp_ns)
        np.testing.assert_allclose(a_from_b @ tree.lookup(b, a, stamp_ns), np.eye(4), atol=1e-6)
        b_from_c = tree.lookup(b, c, stamp_ns)
        np.testing.assert_allclose(a_from_b @ b_from_c, tree.lookup(a, c, stamp_ns), atol=1e-6)

    def test_two_stamps_meet_in_the_frame_that_does_not_move(self):
        # At 3 m/s the sweep was taken 0.1 s, hence 0.3 m, before the image.
        tree = moving((0, translation(0, 0, 0)), (10**9, translation(3, 0, 0)))
        tree.add_static("base", "camera", translation(0, 1, 0))
        tree.add_static("base", "lidar", translation(0, 0, 2))
        camera_from_lidar = tree.lookup_between("camera", 600_000_000, "lidar", 500_000_000, "odom")
        np.testing.assert_allclose(camera_from_lidar, translation(-0.3, -1, 2), atol=1e-12)
        same = tree.lookup_between("camera", 7, "lidar", 7, "odom")
        np.testing.assert_allclose(same, tree.lookup("camera", "lidar", 7), atol=1e-12)

    def test_frames_that_are_not_connected_list_what_there_is(self):
        with pytest.raises(BagError, match="holds nothing"):
            Transforms().lookup("camera", "lidar", 0)
        with pytest.raises(BagError, match=r"'camera' and 'base'.*odom -> base"):
            moving((0, np.eye(4))).lookup("camera", "base", 0)

    def test_a_loop_ends(self):
        tree = Transforms()
        tree.add_static("a", "b", translation(1, 0, 0))
        tree.add_static("b", "a", translation(-1, 0, 0))
        np.testing.assert_array_equal(tree.lookup("a", "b", 0), translation(1, 0, 0))
        with pytest.raises(BagError, match="no transform between"):
            tree.lookup("a", "c", 0)

    def test_a_later_static_transform_replaces_an_earlier_one(self):
        tree = Transforms()
        tree.add_static("old", "lidar", translation(1, 0, 0))
        tree.add_static("base", "lidar", translation(2, 0, 0))
        np.testing.assert_array_equal(tree.lookup("base", "lidar", 0), translation(2, 0, 0))

    def test_a_frame_that_changes_its_parent_is_refused_where_it_matters(self):
        tree = moving((0, np.eye(4)))
        tree.add(5, "map", "base", np.eye(4))
        tree.add_static("base", "lidar", translation(1, 0, 0))
        tree.lookup("base", "lidar", 0)
        with pytest.raises(BagError, match="frame base hangs on odom and, at 5 ns, on map"):
            tree.lookup("odom", "lidar", 0)

    def test_a_frame_that_is_static_and_moving_is_refused(self):
        tree = moving((0, np.eye(4)))
        tree.add_static("odom", "base", np.eye(4))
        with pytest.raises(BagError, match="base is both moving"):
            tree.lookup("odom", "base", 0)
        tree = Transforms()
        tree.add_static("odom", "base", np.eye(4))
        tree.add(0, "odom", "base", np.eye(4))
        with pytest.raises(BagError, match="base is both static"):
            tree.lookup("odom", "base", 0)

    @pytest.mark.parametrize(("parent", "child"), [("", "a"), ("a", "/"), ("a", "/a")])
    def test_links_need_two_names(self, parent, child):
        with pytest.raises(BagError, match="needs two frames"):
            Transforms().add_static(parent, child, np.eye(4))
        with pytest.raises(BagError, match="needs two frames"):
            Transforms().add(0, parent, child, np.eye(4))

    @pytest.mark.parametrize(
        "matrix",
        [
            np.eye(3),
            2 * np.eye(4),
            np.diag([1.0, 1, -1, 1]),
            np.diag([1.0, 1, 1, 2]),
            np.full((4, 4), np.nan),
            translation(np.inf, 0, 0),
        ],
        ids=["shape", "scale", "mirror", "last row", "nan", "infinite"],
    )
    def test_what_is_not_rigid_is_refused_and_leaves_no_trace(self, matrix):
        tree = Transforms()
        with pytest.raises(CalibrationError, match="odom -> base"):
            tree.add_static("odom", "base", matrix)
        with pytest.raises(CalibrationError, match="odom -> base"):
            tree.add(0, "odom", "base", matrix)
        assert tree.frames == []
        tree.add(0, "odom", "base", np.eye(4))
        with pytest.raises(CalibrationError, match="odom -> base"):
            tree.add(1, "odom", "base", matrix)
        np.testing.assert_array_equal(tree.lookup("odom", "base", 0), np.eye(4))


def vector(**values):
    return SimpleNamespace(**values)


def header(seconds, nanoseconds, frame_id):
    stamp = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
    return SimpleNamespace(stamp=stamp, frame_id=frame_id)


def odometry(quaternion, child="base_link"):
    x, y, z, w = quaternion
    pose = SimpleNamespace(
        position=vector(x=1.0, y=2.0, z=3.0), orientation=vector(x=x, y=y, z=z, w=w)
    )
    return SimpleNamespace(
        header=header(1_700_000_000, 5, "/odom"),
        child_frame_id=child,
        pose=SimpleNamespace(pose=pose, covariance=np.zeros(36)),
    )


class TestMessages:
    def test_odometry_as_a_pose(self):
        # Half a turn about z, twice too long.
        stamp_ns, odom, base, odom_from_base = odometry_pose(odometry((0, 0, 2, 0)))
        assert (stamp_ns, odom, base) == (1_700_000_000_000_000_005, "odom", "base_link")
        expected = [[-1, 0, 0, 1], [0, -1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
        np.testing.assert_allclose(odom_from_base, expected, atol=1e-15)

    @pytest.mark.parametrize(
        "quaternion", [(0, 0, 0, 0), (np.nan, 0, 0, 1), (np.inf, 0, 0, 1)], ids=str
    )
    def test_impossible_quaternions(self, quaternion):
        with pytest.raises(CalibrationError):
            odometry_pose(odometry(quaternion))

    def test_odometry_without_a_base_frame_has_to_be_named(self):
        stamp_ns, odom, base, pose = odometry_pose(odometry((0, 0, 0, 1), child=""))
        assert base == ""
        with pytest.raises(BagError, match="child_frame_id"):
            Transforms().add(stamp_ns, odom, base, pose)

    @given(rigid)
    def test_a_transform_message_reads_as_it_was_written(self, matrix):
        message = transforms_message(START_NS, [("odom", "base", matrix)])
        tree = Transforms()
        for stamped in message.transforms:
            tree.add(*transform_pose(stamped))
        np.testing.assert_allclose(tree.lookup("odom", "base", START_NS), matrix, atol=1e-12)
        found = tree.lookup("base", "odom", START_NS)
        np.testing.assert_allclose(found, invert_transform(matrix), atol=1e-11)


@given(rigid, rigid, st.floats(0, 1))
def test_inverse_and_direct_lookup_agree_between_stamps(first, second, share):
    tree = moving((0, first), (10**6, second))
    stamp_ns = round(share * 10**6)
    odom_from_base = tree.lookup("odom", "base", stamp_ns)
    base_from_odom = tree.lookup("base", "odom", stamp_ns)
    np.testing.assert_allclose(odom_from_base @ base_from_odom, np.eye(4), atol=1e-12)
    quaternion = quaternion_from_matrix(odom_from_base[:3, :3])
    assert np.linalg.norm(quaternion) == pytest.approx(1)
