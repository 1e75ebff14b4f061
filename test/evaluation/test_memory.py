"""Memory does not grow with the recording: 10,000 small frames beside 2,000 of the same kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from wall_scene import BODY_FROM_OPTICAL, PERIOD_NS, START_NS, base_from_lidar

from mono_depth_ros.bags import messages
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.geometry import Intrinsics, depth_to_points, invert_transform

CAMERA = Intrinsics(fx=120.0, fy=120.0, cx=79.5, cy=59.5, width=160, height=120)
POINTS = 2000
# VmHWM is of this program alone, unlike ru_maxrss, which keeps that of the one that started it.
MEASURED = (
    "import sys; from mono_depth_ros.cli.main import main; code = main(sys.argv[1:]);"
    "print('peak kB', next(line.split()[1] for line in open('/proc/self/status')"
    " if line.startswith('VmHWM'))); sys.exit(code)"
)


def write_bag(path: Path, frames: int) -> Path:
    """Write JPEG images, exact depth as 16UC1 and sweeps of `POINTS` points without noise."""
    types = messages.TYPESTORE.types
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (CAMERA.height, CAMERA.width, 3), np.uint8)
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    base_from_camera = BODY_FROM_OPTICAL.copy()
    base_from_camera[:3, 3] = [0.3, 0.0, 0.8]
    base_from_lidar_m = base_from_lidar()
    lidar_from_camera = invert_transform(base_from_lidar_m) @ base_from_camera
    with BagWriter(path) as writer:
        links = [
            ("base_link", "lidar", base_from_lidar_m),
            ("base_link", "camera", base_from_camera),
        ]
        writer.write_transforms("/tf_static", START_NS, links)
        for index in range(frames):
            stamp_ns = START_NS + index * PERIOD_NS
            code = np.round(4000 + 10.0 * u + 5.0 * v + index % 100).astype(np.uint16)
            header = messages.depth_message(stamp_ns, "camera", code / 1000.0).header
            jpeg = cv2.imencode(".jpg", np.roll(texture, index, 1))[1].ravel()
            writer.write_message(
                "/camera/image/compressed",
                stamp_ns,
                types["sensor_msgs/msg/CompressedImage"](header, "rgb8; jpeg compressed", jpeg),
            )
            writer.write_camera_info("/camera/camera_info", stamp_ns, "camera", CAMERA)
            size = (CAMERA.height, CAMERA.width)
            depth = types["sensor_msgs/msg/Image"](
                header, *size, "16UC1", 0, 2 * CAMERA.width, code.view(np.uint8).ravel()
            )
            writer.write_message("/ground_truth/depth", stamp_ns, depth)
            points_m = depth_to_points((code / 1000.0).astype(np.float32), CAMERA).reshape(-1, 3)
            chosen_m = points_m[rng.integers(0, len(points_m), POINTS)].astype(np.float64)
            moved_m = chosen_m @ lidar_from_camera[:3, :3].T + lidar_from_camera[:3, 3]
            cloud = np.zeros(POINTS, [(name, np.float32) for name in "xyz"])
            for column, name in enumerate("xyz"):
                cloud[name] = moved_m[:, column]
            writer.write_points("/lidar/points", stamp_ns, "lidar", cloud)
    return path


def peak_mb(bag: Path, out: Path) -> float:
    arguments = ["evaluate", str(bag), "--depth-topic", "/ground_truth/depth", "--out", str(out)]
    arguments += ["--lidar-topic", "/lidar/points", "--image-topic", "/camera/image/compressed"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], check=True, capture_output=True, text=True
    )
    *_, last = done.stdout.splitlines()
    return int(last.removeprefix("peak kB")) / 1024


@pytest.mark.long
def test_10000_frames_take_the_memory_of_2000(tmp_path, capsys):
    peaks_mb = {
        frames: peak_mb(write_bag(tmp_path / f"bag{frames}", frames), tmp_path / f"out{frames}")
        for frames in (2000, 10_000)
    }
    with capsys.disabled():
        print(f"\npeak memory of evaluate: {peaks_mb[2000]:.1f} MB of 2,000 frames, ", end="")
        print(f"{peaks_mb[10_000]:.1f} MB of 10,000")
    # What is kept per frame is its row of scores and its stamps, a few kB; its image alone has 58.
    assert peaks_mb[10_000] - peaks_mb[2000] < 8000 * 0.004
