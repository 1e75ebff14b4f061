"""The training set folder: frames as rendered, and an interrupted run continues."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.world import make_scene, training_frame, write_dataset
from mono_depth_ros.world.dataset import encode_depth

ROOM = make_scene("rooms", 0).camera.resized(48, 36)
STREET = make_scene("streets", 0).camera.resized(62, 19)


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("kind", "camera", "scale"), [("rooms", ROOM, 1000), ("streets", STREET, 256)]
)
def test_round_trip(tmp_path: Path, kind: str, camera, scale: int) -> None:
    path = write_dataset(tmp_path, kind, [3, 7], 2, camera, workers=1, image_format="png")
    manifest = json.loads(path.read_text())
    assert manifest["kind"] == kind and manifest["size"] == [camera.height, camera.width]
    assert manifest["depth_scale"] == scale
    assert [(f["seed"], f["index"]) for f in manifest["frames"]] == [(3, 0), (3, 1), (7, 0), (7, 1)]
    frame = training_frame(kind, 7, 1, camera)
    rgb = cv2.imread(str(tmp_path / "rgb/000003.png"))[..., ::-1]
    np.testing.assert_array_equal(rgb, frame.rgb)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "labels/000003.png"), -1), frame.labels)
    depth = cv2.imread(str(tmp_path / "depth/000003.png"), -1)
    assert depth.dtype == np.uint16
    np.testing.assert_array_equal(depth == 0, np.isnan(frame.depth_m))
    np.testing.assert_allclose(
        (depth / scale)[depth > 0], frame.depth_m[depth > 0], atol=0.5 / scale + 1e-6
    )


def test_depth_encoding_by_hand() -> None:
    depth = np.array([[1.2344, np.nan, 0.0], [65.535, 65.6, 70.0]], np.float32)
    assert encode_depth(depth, 1000.0).tolist() == [[1234, 0, 0], [65535, 0, 0]]


def test_interrupted_run_continues_and_more_seeds_extend(tmp_path: Path) -> None:
    write_dataset(tmp_path / "whole", "rooms", [0, 1], 2, ROOM, workers=1)
    whole = files(tmp_path / "whole")
    write_dataset(tmp_path / "part", "rooms", [0], 2, ROOM, workers=1)
    kept = tmp_path / "part/rgb/000000.jpg"
    kept.write_bytes(b"kept")
    (tmp_path / "part/rgb/000001.jpg").unlink()
    write_dataset(tmp_path / "part", "rooms", [0, 1], 2, ROOM, workers=1)
    part = files(tmp_path / "part")
    assert part.pop("rgb/000000.jpg") == b"kept"
    whole.pop("rgb/000000.jpg")
    assert part == whole


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, "rooms", [0], 1, ROOM, workers=1)
    with pytest.raises(DataError, match="size"):
        write_dataset(tmp_path, "rooms", [0], 1, ROOM.resized(40, 30), workers=1)
    with pytest.raises(DataError, match="seeds"):
        write_dataset(tmp_path, "rooms", [5], 1, ROOM, workers=1)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        write_dataset(tmp_path, "rooms", [0], 1, ROOM, workers=1)


def test_two_processes_write_the_same_files(tmp_path: Path) -> None:
    write_dataset(tmp_path / "one", "rooms", [0, 1], 1, ROOM, workers=1)
    write_dataset(tmp_path / "two", "rooms", [0, 1], 1, ROOM, workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_focal_jitter_is_recorded(tmp_path: Path) -> None:
    path = write_dataset(tmp_path, "rooms", [0], 3, ROOM, workers=1, focal_jitter=0.2)
    listed = [frame["intrinsics"] for frame in json.loads(path.read_text())["frames"]]
    drawn = [training_frame("rooms", 0, k, ROOM, focal_jitter=0.2).camera for k in range(3)]
    assert listed == [[c.fx, c.fy, c.cx, c.cy] for c in drawn]
    ratios = np.array([c.fx for c in drawn]) / ROOM.fx
    assert len(set(ratios.round(6))) == 3 and (np.abs(ratios - 1) <= 0.2).all()


def test_training_frames_differ_and_repeat() -> None:
    first, second = training_frame("rooms", 2, 0, ROOM), training_frame("rooms", 2, 1, ROOM)
    assert not np.array_equal(first.depth_m, second.depth_m, equal_nan=True)
    again = training_frame("rooms", 2, 0, ROOM)
    assert first.rgb.tobytes() == again.rgb.tobytes()


def test_impossible_requests(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format"):
        write_dataset(tmp_path, "rooms", [0], 1, ROOM, image_format="gif")
    with pytest.raises(ConfigError):
        write_dataset(tmp_path, "rooms", [], 1, ROOM)
    with pytest.raises(ConfigError, match="caves"):
        write_dataset(tmp_path, "caves", [0], 1, ROOM)
