"""A small Cityscapes in the published layout."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from layouts.stereo2015 import picture_of, street_depth

CITIES = {"train": ("aachen", "bochum"), "val": ("frankfurt",), "test": ("berlin",)}
BASELINE_M = 0.209313
# Sky, building, car, road of helpers/labels.py, and 4, which is not evaluated.
SKY, BUILDING, CAR, ROAD, STATIC = 23, 11, 26, 7, 4


def label_ids(height: int, width: int, seed: int) -> np.ndarray:
    """Return (H, W) uint8 label ids: sky above, buildings, a car, road below, a rim of static."""
    ids = np.full((height, width), BUILDING, np.uint8)
    ids[: height // 4], ids[height // 2 :] = SKY, ROAD
    left = seed * 7 % (width // 2)
    ids[height // 3 : height // 2, left : left + width // 4] = CAR
    ids[-2:] = STATIC
    return ids


def camera_json(height: int, width: int) -> dict[str, dict[str, float]]:
    """Return a camera.json with the keys of the real one."""
    return {
        "extrinsic": {
            "baseline": BASELINE_M,
            "pitch": 0.038,
            "roll": 0.0,
            "x": 1.7,
            "y": 0.1,
            "yaw": -0.0195,
            "z": 1.22,
        },
        "intrinsic": {
            "fx": 1.1 * width,
            "fy": 1.1 * width,
            "u0": width / 2,
            "v0": height / 2,
        },
    }


def write_cityscapes(
    root: Path,
    frames_per_city: int = 3,
    size: tuple[int, int] = (96, 192),
    *,
    archive_folders: bool = False,
    parts: tuple[str, ...] = ("leftImg8bit", "gtFine", "disparity", "camera"),
) -> Path:
    """Write some frames of four cities; return the root.

    Args:
        root: folder to create.
        frames_per_city: of each city.
        size: (height, width); the real one is 1024x2048.
        archive_folders: unpack each archive into a folder of its name, as some programs do.
        parts: which archives the user has.
    """
    height, width = size
    for split, cities in CITIES.items():
        for city in cities:
            for number in range(frames_per_city):
                seed = 10 * len(city) + number
                depth_m = street_depth(height, width, seed)
                code = 1 + np.rint(256.0 * 1.1 * width * BASELINE_M / depth_m).astype(np.uint16)
                code[:, :4] = 0
                name = f"{city}_{number:06d}_000019"
                contents = {
                    "leftImg8bit": (f"{name}_leftImg8bit.png", picture_of(depth_m, seed)),
                    "gtFine": (f"{name}_gtFine_labelIds.png", label_ids(height, width, seed)),
                    "disparity": (f"{name}_disparity.png", code),
                    "camera": (f"{name}_camera.json", json.dumps(camera_json(height, width))),
                }
                for part in parts:
                    above = f"{part}_trainvaltest/{part}" if archive_folders else part
                    folder = root / above / split / city
                    folder.mkdir(parents=True, exist_ok=True)
                    file, content = contents[part]
                    if isinstance(content, str):
                        (folder / file).write_text(content)
                    else:
                        cv2.imwrite(str(folder / file), content)
    return root
