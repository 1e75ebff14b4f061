"""A small KITTI stereo 2015 in the published layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

LEFT_M, RIGHT_M = -0.06, 0.4772
"""Where cameras 2 and 3 are, to the right of camera 0, metres."""

CALIBRATION = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_rect_02: {width}.0 {height}.0
R_rect_02: 1 0 0 0 1 0 0 0 1
P_rect_00: {f} 0 {cx} 0 0 {f} {cy} 0 0 0 1 0
P_rect_02: {f} 0 {cx} {left} 0 {f} {cy} 0.2 0 0 1 0.003
P_rect_03: {f} 0 {cx} {right} 0 {f} {cy} 2.2 0 0 1 0.002
"""


def street_depth(height: int, width: int, seed: int) -> np.ndarray:
    """Return (H, W) float32 metres: road that comes nearer, and a box of its own in each frame."""
    depth_m = np.tile(np.linspace(60.0, 5.0, height, dtype=np.float32)[:, None], (1, width))
    left = seed * 7 % (width // 2)
    depth_m[height // 3 : height // 2, left : left + width // 4] = 8.0 + seed % 5
    return depth_m


def picture_of(depth_m: np.ndarray, seed: int) -> np.ndarray:
    """Return (H, W, 3) uint8, darker the farther, with noise that makes each frame its own."""
    noise = np.random.default_rng(seed).normal(0.0, 6.0, (*depth_m.shape, 3))
    shade = 255.0 * np.exp(-depth_m / 30.0)[..., None]
    return np.clip(shade * [1.0, 0.8, 0.6] + noise, 0, 255).astype(np.uint8)


def write_stereo2015(root: Path, frames: int = 10, size: tuple[int, int] = (96, 160)) -> Path:
    """Write `frames` frames below root/training; return the root.

    Every third pixel of every third row has a disparity, as the LiDAR left them.
    """
    height, width = size
    focal_px = 0.6 * width
    folder = root / "training"
    for name in ("image_2", "disp_occ_0", "calib_cam_to_cam"):
        (folder / name).mkdir(parents=True)
    for number in range(frames):
        depth_m = street_depth(height, width, number)
        cv2.imwrite(str(folder / f"image_2/{number:06d}_10.png"), picture_of(depth_m, number))
        # The frame after it, which the benchmark has for scene flow, has no disparity of its own.
        cv2.imwrite(str(folder / f"image_2/{number:06d}_11.png"), picture_of(depth_m, 500 + number))
        code = np.rint(256.0 * focal_px * (RIGHT_M - LEFT_M) / depth_m).astype(np.uint16)
        sparse = np.zeros_like(code)
        sparse[::3, ::3] = code[::3, ::3]
        cv2.imwrite(str(folder / f"disp_occ_0/{number:06d}_10.png"), sparse)
        text = CALIBRATION.format(
            width=width,
            height=height,
            f=focal_px,
            cx=width / 2,
            cy=height / 2,
            left=-focal_px * LEFT_M,
            right=-focal_px * RIGHT_M,
        )
        (folder / f"calib_cam_to_cam/{number:06d}.txt").write_text(text)
    return root
