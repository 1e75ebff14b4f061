"""World test set v1 is what it was when it was frozen."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mono_depth_ros.errors import DataError
from mono_depth_ros.world import training_frame
from mono_depth_ros.world.variety import PARTS
from training.evaluation import world_test
from training.evaluation.world_test import (
    FIRST_TEST_SEED,
    TestFrame,
    look_of,
    read_record,
    test_frames,
)

# Never to be changed: scores of different versions of this package compare by it.
SHA256 = "fe2d355083673b5956d131762145f170daa3723accb39e7f0ca2a5c236dd7156"
# They are no tests themselves.
test_frames.__test__ = TestFrame.__test__ = False


def test_the_record_is_the_frozen_one():
    record = read_record()
    assert record["sha256"] == SHA256
    for kind in ("rooms", "streets"):
        assert (record[kind]["first_seed"], record[kind]["scenes"]) == (FIRST_TEST_SEED, 200)
        assert tuple(record[kind]["variety"]) == PARTS


@pytest.mark.parametrize("kind", ["rooms", "streets"])
def test_a_sample_still_looks_like_that(kind):
    frames = list(test_frames(kind, 4))
    assert len(frames) == 4
    assert frames[0].rgb.shape == (*frames[0].depth_m.shape, 3)
    # The focal lengths are 0.7 to 1.3 times that of the kind's camera, all different.
    focals = {frame.camera.fx for frame in frames}
    nominal = {"rooms": 518.8579, "streets": 721.5377}[kind]
    assert len(focals) == 4 and all(0.7 <= f / nominal <= 1.3 for f in focals)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["rooms", "streets"])
def test_all_frames_still_look_like_that(kind):
    assert sum(1 for _ in test_frames(kind)) == 200


def test_another_world_is_noticed(tmp_path):
    """Each of: the depths of a whole frame, its colours, another scene."""
    (frame,) = test_frames("rooms", 1, tmp_path)
    root = tmp_path / "test_v1_rooms"
    rgb, depth = root / "rgb/000000.png", root / "depth/000000.png"
    good = {path: path.read_bytes() for path in (rgb, depth)}
    codes = cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)
    other = training_frame("rooms", 7, 0, frame.camera)
    for path, picture in (
        (depth, (codes * 1.03).astype(np.uint16)),
        (rgb, (frame.rgb[..., ::-1] * 0.9).astype(np.uint8)),
        (rgb, other.rgb),
    ):
        cv2.imwrite(str(path), picture)
        with pytest.raises(DataError, match="frame 0 of rooms is not that of test set v1"):
            list(test_frames("rooms", 1, tmp_path))
        path.write_bytes(good[path])
    list(test_frames("rooms", 1, tmp_path))
    depth.write_bytes(b"")
    with pytest.raises(DataError, match="is damaged"):
        list(test_frames("rooms", 1, tmp_path))
    with pytest.raises(DataError, match="1 to 200"):
        list(test_frames("rooms", 201, tmp_path))


def test_a_changed_record_is_noticed(tmp_path, monkeypatch):
    looks = dict(np.load(world_test._LOOKS))
    looks["rooms_depth_m"][3, 2, 2] += 1e-3
    np.savez_compressed(tmp_path / "looks.npz", **looks)
    monkeypatch.setattr(world_test, "_LOOKS", tmp_path / "looks.npz")
    with pytest.raises(DataError, match="frozen"):
        read_record()


def test_the_look_by_hand():
    """12x16 pixels: cells of 2x2, whose lower right pixel gives the depth."""
    depth_m = np.arange(12 * 16, dtype=np.float32).reshape(12, 16)
    rgb = np.zeros((12, 16, 3), np.uint8)
    rgb[::2] = 100
    depths_m, colours = look_of(TestFrame(rgb, depth_m, None))
    assert depths_m[0, 0] == 17 and depths_m[1, 2] == 3 * 16 + 5
    assert np.all(colours == 50)
