"""A small KITTI in the layouts that users have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from layouts.stereo2015 import picture_of, street_depth

TRAINING, VALIDATION, TEST = (f"2011_09_26_drive_{n}_sync" for n in ("0001", "0005", "0002"))
FRAMES: Mapping[str, Sequence[int]] = {TRAINING: (5, 6, 7, 8), VALIDATION: (5, 6), TEST: (0, 6, 9)}
IN_VAL = (VALIDATION, TEST)

FULL_SIZE = (375, 1242)
FOCAL_PX, CX, CY = 721.5377, 609.5593, 172.854
RIGHT_OF_CAMERA_0_M = {"02": 0.06, "03": -0.47}
RECTIFICATION = """9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03
 7.402527e-03 4.351614e-03 9.999631e-01""".replace("\n", "")
ROTATION = """7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 -9.998902e-01
 9.998621e-01 7.523790e-03 1.480755e-02""".replace("\n", "")
TRANSLATION = "-4.069766e-03 -7.631618e-02 -2.717806e-01"


def camera_of(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return fx, fy, cx, cy of the first day's camera in images of another size."""
    sy, sx = size[0] / FULL_SIZE[0], size[1] / FULL_SIZE[1]
    return FOCAL_PX * sx, FOCAL_PX * sy, CX * sx, CY * sy


def write_kitti(
    root: Path,
    frames: Mapping[str, Sequence[int]] = FRAMES,
    *,
    raw: str = "raw",
    annotated: str | None = "data_depth_annotated",
    parted: bool = True,
    suffix: str = ".png",
    size: tuple[int, int] = FULL_SIZE,
    cameras: Sequence[str] = ("02", "03"),
    calibration: bool = True,
) -> Path:
    """Write drives of one day with pictures, sweeps and annotated maps; return the root.

    As in KITTI the first five frames of a drive have no map.

    Args:
        root: folder to write.
        frames: drive to frame numbers.
        raw: folder of the days.
        annotated: folder of the maps; None puts them into the raw drives.
        parted: maps lie in train/ and val/.
        suffix: of the pictures.
        size: (height, width).
        cameras: whose pictures and maps are written.
        calibration: write the files of the day.
    """
    for drive, numbers in frames.items():
        day = root / raw / drive[:10]
        maps = day / drive
        if annotated is not None:
            maps = root / annotated / (_part(drive) if parted else "") / drive
        for number in numbers:
            depth_m = street_depth(*size, seed=number)
            points = _lift(depth_m[::2, ::2], size)
            _write_sweep(day / drive / f"velodyne_points/data/{number:010d}.bin", points)
            for camera in cameras:
                picture = day / drive / f"image_{camera}/data/{number:010d}{suffix}"
                _write(picture, picture_of(depth_m, number))
                if number >= 5:
                    truth = maps / f"proj_depth/groundtruth/image_{camera}/{number:010d}.png"
                    _write(truth, sparse_code(depth_m))
        if calibration:
            write_calibration(day, size)
    return root


def write_calibration(day: Path, size: tuple[int, int]) -> None:
    """Write the two files of a day that a projection needs."""
    fx, fy, cx, cy = camera_of(size)
    lines = ["calib_time: 09-Jan-2012 13:57:47", f"R_rect_00: {RECTIFICATION}"]
    for camera, offset_m in RIGHT_OF_CAMERA_0_M.items():
        lines.append(f"S_rect_{camera}: {size[1]:e} {size[0]:e}")
        lines.append(f"P_rect_{camera}: {fx} 0 {cx} {fx * offset_m} 0 {fy} {cy} 0 0 0 1 0")
    (day / "calib_cam_to_cam.txt").write_text("\n".join(lines) + "\n")
    (day / "calib_velo_to_cam.txt").write_text(f"R: {ROTATION}\nT: {TRANSLATION}\n")


def write_selection(
    root: Path,
    count: int = 2,
    folder: str = "depth_selection",
    size: tuple[int, int] = (352, 1216),
) -> Path:
    """Write `count` crops of val_selection_cropped with maps and intrinsics; return the root."""
    selection = root / folder / "val_selection_cropped"
    for number in range(8, 8 + count):
        depth_m = street_depth(*size, seed=number)
        image = f"2011_09_26_drive_0002_sync_image_{number:010d}_image_02"
        truth = f"2011_09_26_drive_0002_sync_groundtruth_depth_{number:010d}_image_02"
        _write(selection / "image" / f"{image}.png", picture_of(depth_m, number))
        _write(selection / "groundtruth_depth" / f"{truth}.png", sparse_code(depth_m))
        _write_matrix(selection / "intrinsics" / f"{image}.txt")
    return root


def write_anonymous(
    root: Path,
    count: int = 2,
    folder: str = "depth_selection",
    size: tuple[int, int] = (352, 1216),
) -> Path:
    """Write `count` test images with intrinsics; return the root."""
    anonymous = root / folder / "test_depth_prediction_anonymous"
    for number in range(count):
        depth_m = street_depth(*size, seed=number)
        _write(anonymous / "image" / f"{number:010d}.png", picture_of(depth_m, number))
        _write_matrix(anonymous / "intrinsics" / f"{number:010d}.txt")
    return root


def sparse_code(depth_m: np.ndarray) -> np.ndarray:
    """Return a map of metres x 256 on every second pixel below the top third, as LiDAR sees."""
    code = np.zeros(depth_m.shape, np.uint16)
    top = depth_m.shape[0] // 6 * 2
    code[top::2, ::2] = np.rint(256.0 * depth_m[top::2, ::2])
    return code


def _lift(depth_m: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return every second pixel's point in the Velodyne's frame, (N, 4) with reflectance."""
    fx, fy, cx, cy = camera_of(size)
    rows, columns = (2.0 * index for index in np.indices(depth_m.shape))
    z = depth_m.astype(np.float64)
    rectified = np.stack(((columns - cx) / fx * z, (rows - cy) / fy * z, z), -1).reshape(-1, 3)
    rectified[:, 0] -= RIGHT_OF_CAMERA_0_M["02"]
    camera_0 = rectified @ _matrix(RECTIFICATION)
    lidar = (camera_0 - np.array(TRANSLATION.split(), float)) @ _matrix(ROTATION)
    return np.column_stack((lidar, np.full(len(lidar), 0.5))).astype(np.float32)


def _matrix(text: str) -> np.ndarray:
    return np.array(text.split(), float).reshape(3, 3)


def _part(drive: str) -> str:
    return "val" if drive in IN_VAL else "train"


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _write_sweep(path: Path, points: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    points.tofile(path)


def _write_matrix(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("721.5377 0.0 596.5593 0.0 721.5377 149.854 0.0 0.0 1.0\n")
