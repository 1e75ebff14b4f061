from __future__ import annotations

import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.occlusion import drop_occluded
from mono_depth_ros.geometry import Intrinsics, lidar_to_depth

NAN = np.nan


def test_a_far_point_between_near_ones_is_dropped():
    depth_m = np.full((7, 7), NAN)
    depth_m[1, 3], depth_m[3, 3], depth_m[5, 3] = 2.0, 9.0, 2.0
    kept = drop_occluded(depth_m, window_px=(2, 2))
    assert np.isnan(kept[3, 3])
    assert (kept[1, 3], kept[5, 3]) == (2.0, 2.0)
    # The same turned by a quarter: left and right instead of above and below.
    assert np.isnan(drop_occluded(depth_m.T, window_px=(2, 2))[3, 3])


def test_near_points_on_one_side_or_out_of_reach_or_hardly_nearer_change_nothing():
    one_side = np.full((7, 7), NAN)
    one_side[1, 3], one_side[3, 3] = 2.0, 9.0
    far_away = np.full((7, 7), NAN)
    far_away[0, 3], far_away[3, 3], far_away[6, 3] = 2.0, 9.0, 2.0
    hardly = np.full((7, 7), NAN)
    hardly[1, 3], hardly[3, 3], hardly[5, 3] = 8.0, 9.0, 8.0
    for depth_m in (one_side, far_away, hardly):
        kept = drop_occluded(depth_m, relative_gap=0.15, window_px=(2, 2))
        np.testing.assert_array_equal(kept, depth_m.astype(np.float32))
    assert np.isnan(drop_occluded(hardly, relative_gap=0.1, window_px=(2, 2))[3, 3])


@pytest.mark.parametrize("normal", [(0, 1, 0.02), (0.3, 1, 0.05), (1, 0, 0.1), (0, 0, 1)])
def test_planes_stay_complete(normal):
    # depth of the plane n . p = 1.6 along each pixel's ray, as a floor or a wall.
    camera = Intrinsics(fx=100.0, fy=100.0, cx=79.5, cy=59.5, width=160, height=120)
    v, u = np.mgrid[: camera.height, : camera.width]
    along = normal[0] * (u - camera.cx) / camera.fx + normal[1] * (v - camera.cy) / camera.fy
    inverse = (along + normal[2]) / 1.6
    # Where the next pixel is more than 15 % nearer, the plane is too steep for the rule.
    steepest = max(abs(normal[0]), abs(normal[1])) / camera.fx / 1.6
    visible = inverse > max(6 * steepest, 0.01)
    depth_m = np.where(visible, 1 / np.where(visible, inverse, 1.0), NAN).astype(np.float32)
    depth_m[np.random.default_rng(0).random(depth_m.shape) < 0.6] = NAN
    np.testing.assert_array_equal(drop_occluded(depth_m), depth_m)
    for lidar_m in ((0.0, -0.5, 0.0), (0.3, 0.1, -0.2), (-0.2, 0.3, 0.1)):
        kept = drop_occluded(depth_m, camera=camera, lidar_in_camera_m=lidar_m)
        lost = np.isfinite(depth_m) & np.isnan(kept)
        assert lost.sum() <= 0.002 * np.isfinite(depth_m).sum()


def test_points_seen_past_a_box_are_mostly_dropped_and_visible_ones_kept():
    """A LiDAR 0.5 m above the camera looks over a box at 2 m onto a wall at 6 m."""
    camera = Intrinsics(fx=200.0, fy=200.0, cx=159.5, cy=119.5, width=320, height=240)
    lidar = np.array([0.0, -0.5, 0.0])
    azimuth, elevation = np.meshgrid(
        np.radians(np.arange(-30, 30, 0.3)), np.radians(np.arange(-15, 25, 0.6))
    )
    rays = np.stack(
        [np.tan(azimuth), np.tan(elevation) / np.cos(azimuth), np.ones_like(azimuth)], -1
    )
    rays = rays.reshape(-1, 3)
    on_box_plane = lidar + 2.0 * rays
    box = (np.abs(on_box_plane[:, 0]) < 0.5) & (np.abs(on_box_plane[:, 1]) < 0.4)
    points = np.where(box[:, None], on_box_plane, lidar + 6.0 * rays)
    wall = points[~box]
    # Hidden from the camera: the line from the camera to the wall point passes through the box.
    at_box = wall * (2.0 / 6.0)
    hidden = (np.abs(at_box[:, 0]) < 0.5) & (np.abs(at_box[:, 1]) < 0.4)
    assert hidden.sum() > 200

    all_m = lidar_to_depth(points, np.eye(4), camera)
    hidden_m = lidar_to_depth(wall[hidden], np.eye(4), camera)
    visible_m = lidar_to_depth(np.vstack([points[box], wall[~hidden]]), np.eye(4), camera)
    wrong = np.isfinite(hidden_m) & (all_m == hidden_m) & ~(visible_m == all_m)
    right = np.isfinite(visible_m) & (all_m == visible_m)
    kept = np.isfinite(drop_occluded(all_m))
    assert wrong.sum() > 200
    assert (kept & wrong).sum() < 0.15 * wrong.sum()
    assert (kept & right).sum() > 0.99 * right.sum()
    # Along the parallax hardly one is left.
    kept = np.isfinite(drop_occluded(all_m, camera=camera, lidar_in_camera_m=lidar))
    assert (kept & wrong).sum() < 0.02 * wrong.sum()
    assert (kept & right).sum() > 0.97 * right.sum()


def test_a_point_beside_a_silhouette_is_dropped_by_its_parallax():
    """LiDAR 0.5 m to the right of the camera, f = 100 px: parallax 25 px at 2 m, 5 px at 10 m."""
    camera = Intrinsics(fx=100.0, fy=100.0, cx=79.5, cy=59.5, width=160, height=120)
    depth_m = np.full((120, 160), NAN)
    # A near surface in three rows whose right end, column 80, is the silhouette.
    depth_m[[58, 60, 62], 40:81:4] = 2.0
    # The LiDAR sees a point at 10 m to the right of x' = 80 - 25 as visible past the silhouette:
    # from the camera's x = 78, x' = 73, so it lies behind column 80 and hides.
    depth_m[61, 78] = 10.0
    # Farther left than 20 px from any near point with its parallax left, and right of it all.
    depth_m[61, 100] = 10.0
    kept = drop_occluded(depth_m, camera=camera, lidar_in_camera_m=(0.5, 0.0, 0.0))
    assert np.isnan(kept[61, 78]) and kept[61, 100] == 10.0
    assert np.isfinite(kept[[58, 60, 62], 40:81:4]).all()
    # Three columns from the nearest near point: without parallax it is not known to be behind.
    assert drop_occluded(depth_m, window_px=(5, 1))[61, 78] == 10.0


def test_empty_maps_and_bad_settings():
    assert np.isnan(drop_occluded(np.full((5, 5), NAN))).all()
    with pytest.raises(ConfigError, match="between 0 and 1"):
        drop_occluded(np.ones((5, 5)), relative_gap=1.0)
    with pytest.raises(ConfigError, match="at least one pixel"):
        drop_occluded(np.ones((5, 5)), window_px=(0, 1))
