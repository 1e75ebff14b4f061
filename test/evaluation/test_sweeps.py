"""Motion compensation and accumulation of sweeps, against worlds that are known exactly."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.errors import BagError, ConfigError, ShapeError
from mono_depth_ros.evaluation.sweeps import Sweep, accumulate, compensate_motion, nearest_sweeps
from mono_depth_ros.evaluation.transforms import Transforms

START_NS = 1_776_863_762_100_071_637
SWEEP_NS = 100_000_000


def driving(speed_m_s, yaw_rate_rad_s, acceleration_m_s2=0.0, start_m=(0.0, 0.0, 0.0)):
    """Return the exact pose of a LiDAR on a car: along a circle, or a line where it does not turn.

    Heading and speed change evenly with time; the path is that of the car's own x axis, integrated
    in closed form for constant speed, along x of the fixed frame for an accelerating one.
    """

    def fixed_from_lidar(stamps_ns):
        t = (stamps_ns - START_NS) / 1e9
        yaw = yaw_rate_rad_s * t
        poses = np.tile(np.eye(4), (len(t), 1, 1))
        poses[:, 0, 0] = poses[:, 1, 1] = np.cos(yaw)
        poses[:, 1, 0], poses[:, 0, 1] = np.sin(yaw), -np.sin(yaw)
        if yaw_rate_rad_s:
            radius_m = speed_m_s / yaw_rate_rad_s
            poses[:, 0, 3] = radius_m * np.sin(yaw)
            poses[:, 1, 3] = radius_m * (1 - np.cos(yaw))
        else:
            poses[:, 0, 3] = speed_m_s * t
        poses[:, 0, 3] += acceleration_m_s2 * t**2 / 2
        poses[:, :3, 3] += start_m
        return poses

    return fixed_from_lidar


def measured(world_m, times_ns, fixed_from_lidar):
    """Return world points (N, 3) in the LiDAR frame of the time each was hit at."""
    return np.array(
        [
            (np.linalg.inv(pose) @ [*point, 1])[:3]
            for point, pose in zip(world_m, fixed_from_lidar(times_ns), strict=True)
        ]
    )


def scan(seed=0, count=300, range_m=80.0):
    """Return world points around the start and the times at which one sweep hits them."""
    rng = np.random.default_rng(seed)
    world_m = rng.uniform(-range_m, range_m, (count, 3)) / np.sqrt(3)
    times_ns = START_NS + rng.integers(0, SWEEP_NS + 1, count)
    return world_m, times_ns


class TestByHand:
    def test_straight_ahead_at_ten_metres_a_second(self):
        # Half a second before the reference the wall at 20 m was 25 m away.
        times_ns = START_NS + np.array([0, 500_000_000, 600_000_000])
        points_m = np.array([[25.0, 1, 2], [20, 1, 2], [19, 1, 2]])
        moved = compensate_motion(points_m, times_ns, driving(10, 0), START_NS + 500_000_000)
        np.testing.assert_allclose(moved, [[20, 1, 2]] * 3, atol=1e-9)

    def test_a_quarter_turn_on_the_spot(self):
        # What was ahead a second ago lies to the right after turning left.
        moved = compensate_motion(
            np.array([[3.0, 0, 1]]), [START_NS], driving(0, np.pi / 2), START_NS + 10**9
        )
        np.testing.assert_allclose(moved, [[0, -3, 1]], atol=1e-12)

    def test_a_sensor_at_rest_changes_nothing(self):
        world_m, times_ns = scan()
        still = driving(0, 0, start_m=(5e6, 4e5, 100))
        moved = compensate_motion(world_m, times_ns, still, START_NS)
        np.testing.assert_allclose(moved, world_m, atol=1e-8)

    def test_poses_are_asked_for_only_where_points_are(self):
        asked = []

        def lookup(stamps_ns):
            asked.extend(stamps_ns.tolist())
            return driving(10, 0)(stamps_ns)

        times_ns = START_NS + np.array([5, 30 * 10**9, 30 * 10**9 + 7])
        compensate_motion(np.ones((3, 3)), times_ns, lookup, START_NS + 50)
        points_only = [stamp_ns for stamp_ns in asked if stamp_ns != START_NS + 50]
        assert min(points_only) == times_ns[0]
        assert max(points_only) == times_ns[-1]
        assert len(points_only) <= 6


class TestStaticWorld:
    @given(
        seed=st.integers(0, 2**32 - 1),
        speed_m_s=st.floats(-40, 40),
        yaw_rate_rad_s=st.floats(-1, 1),
        acceleration_m_s2=st.floats(-10, 10),
        reference_ns=st.integers(-2 * SWEEP_NS, 2 * SWEEP_NS),
    )
    def test_it_becomes_consistent(
        self, seed, speed_m_s, yaw_rate_rad_s, acceleration_m_s2, reference_ns
    ):
        world_m, times_ns = scan(seed, count=40)
        # Closed forms divide by the yaw rate.
        yaw_rate_rad_s = 0.0 if abs(yaw_rate_rad_s) < 1e-6 else yaw_rate_rad_s
        path = driving(speed_m_s, yaw_rate_rad_s, acceleration_m_s2, start_m=(5e5, -4e6, 30))
        world_m = world_m + np.array([5e5, -4e6, 30])
        reference_ns += START_NS
        moved = compensate_motion(measured(world_m, times_ns, path), times_ns, path, reference_ns)
        expected = measured(world_m, np.full(len(world_m), reference_ns), path)
        np.testing.assert_allclose(moved, expected, rtol=0, atol=2e-5)

    def test_the_distortion_was_there(self):
        world_m, times_ns = scan()
        path = driving(30, 0)
        distorted = measured(world_m, times_ns, path)
        expected = measured(world_m, np.full(len(world_m), START_NS), path)
        assert np.abs(distorted - expected).max() > 2.9

    def test_interpolated_poses_of_a_recording(self):
        # Poses at 50 Hz; between them the path is a polygon, off by v w dt^2 / 8 < 1 mm.
        path = driving(15, 0.5)
        tree = Transforms()
        stamps_ns = START_NS + np.arange(-1, 7) * 20_000_000
        for stamp_ns, pose in zip(stamps_ns.tolist(), path(stamps_ns), strict=True):
            tree.add(stamp_ns, "odom", "base", pose)
        tree.add_static("base", "lidar", np.eye(4))
        lookup = partial(tree.lookup_many, "odom", "lidar")
        world_m, times_ns = scan()
        reference_ns = START_NS + 40_000_000
        moved = compensate_motion(measured(world_m, times_ns, path), times_ns, lookup, reference_ns)
        expected = measured(world_m, np.full(len(world_m), reference_ns), path)
        np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-3)
        # Against that polygon itself the slots of 1 ms are the only error left.
        moved = compensate_motion(
            measured(world_m, times_ns, lookup), times_ns, lookup, reference_ns
        )
        np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-4)

    def test_three_sweeps_become_one_cloud(self):
        path = driving(20, 0.3)
        world_m, times_ns = scan()
        sweeps = [
            Sweep(
                START_NS + k * SWEEP_NS,
                measured(world_m, times_ns + k * SWEEP_NS, path),
                times_ns + k * SWEEP_NS,
            )
            for k in (-1, 0, 1)
        ]
        reference_ns = START_NS + 30_000_000
        merged = accumulate(sweeps, path, reference_ns)
        expected = measured(world_m, np.full(len(world_m), reference_ns), path)
        np.testing.assert_allclose(merged, np.tile(expected, (3, 1)), rtol=0, atol=2e-5)

    def test_a_sweep_without_point_times_is_moved_as_a_whole(self):
        sweeps = [Sweep(START_NS, np.array([[10.0, 0, 0], [np.nan, 0, 0], [0, 4, 1]]))]
        merged = accumulate(sweeps, driving(10, 0), START_NS + 100_000_000)
        np.testing.assert_allclose(merged, [[9, 0, 0], [-1, 4, 1]], atol=1e-9)


class TestRows:
    def test_points_without_return_keep_their_rows_and_need_no_pose(self):
        tree = Transforms()
        tree.add(0, "odom", "lidar", np.eye(4))
        points_m = np.float32([[1, 2, 3], [np.nan, 2, 3], [np.inf, 0, 0]])
        lookup = partial(tree.lookup_many, "odom", "lidar")
        moved = compensate_motion(points_m, [0, 10**9, 10**9], lookup, 0)
        assert moved.dtype == np.float32
        np.testing.assert_array_equal(moved, [[1, 2, 3], [np.nan] * 3, [np.nan] * 3])
        np.testing.assert_array_equal(points_m[2], [np.inf, 0, 0])

    def test_no_points(self):
        assert compensate_motion(np.zeros((0, 3)), [], driving(1, 0), 0).shape == (0, 3)

    def test_single_precision_is_good_enough_for_a_lidar(self):
        world_m, times_ns = scan()
        path = driving(30, 0.5, start_m=(5e6, 4e5, 0))
        world_m = world_m + np.array([5e6, 4e5, 0])
        points_m = measured(world_m, times_ns, path).astype(np.float32)
        moved = compensate_motion(points_m, times_ns, path, START_NS)
        expected = measured(world_m, np.full(len(world_m), START_NS), path)
        np.testing.assert_allclose(moved, expected, rtol=0, atol=5e-5)


class TestErrors:
    @pytest.mark.parametrize(
        ("points_m", "times_ns"),
        [
            (np.zeros((2, 4)), [0, 0]),
            (np.zeros((2, 3)), [0]),
            (np.zeros((2, 3)), [0.5, 0.5]),
            (np.zeros((2, 3), np.int32), [0, 0]),
        ],
    )
    def test_shapes_and_types(self, points_m, times_ns):
        with pytest.raises(ShapeError):
            compensate_motion(points_m, times_ns, driving(1, 0), START_NS)

    def test_a_lookup_of_the_wrong_shape(self):
        with pytest.raises(ShapeError, match=r"return \(M, 4, 4\)"):
            compensate_motion(np.ones((1, 3)), [0], lambda stamps_ns: np.eye(4), 0)

    def test_poses_that_do_not_cover_the_sweep(self):
        tree = Transforms()
        tree.add(0, "odom", "lidar", np.eye(4))
        tree.add(90, "odom", "lidar", np.eye(4))
        lookup = partial(tree.lookup_many, "odom", "lidar")
        compensate_motion(np.ones((2, 3)), [0, 90], lookup, 50)
        with pytest.raises(BagError, match="odom -> lidar is not known at 100 ns"):
            compensate_motion(np.ones((2, 3)), [0, 100], lookup, 50)
        with pytest.raises(BagError, match="odom -> lidar is not known at 91 ns"):
            compensate_motion(np.ones((2, 3)), [0, 90], lookup, 91)

    def test_nothing_to_accumulate(self):
        with pytest.raises(BagError, match="no sweep"):
            accumulate([], driving(1, 0), START_NS)


class TestChoice:
    def test_nearest_stamps_in_order_of_time_and_the_earlier_of_two(self):
        stamps_ns = [300, 100, 200, 0, 400]
        assert nearest_sweeps(stamps_ns, 210, 1).tolist() == [2]
        assert nearest_sweeps(stamps_ns, 250, 1).tolist() == [2]
        assert nearest_sweeps(stamps_ns, 210, 3).tolist() == [1, 2, 0]
        assert nearest_sweeps(stamps_ns, 210, 9).tolist() == [3, 1, 2, 0, 4]
        assert nearest_sweeps([], 210, 1).tolist() == []

    def test_the_number_must_be_positive(self):
        with pytest.raises(ConfigError, match="1 or more"):
            nearest_sweeps([1], 0, 0)
