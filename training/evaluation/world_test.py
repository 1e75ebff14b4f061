"""World test set v1: 200 rooms and 200 streets that are the same for every score ever given.

`world_test_v1.json` holds seeds and settings, `world_test_v1.npz` what the frames look like: the
depth of 48 pixels and the mean colours around them. A frame that no longer looks like that is an
error, because its scores could not be compared with earlier ones. Processors round differently, so
the frames are compared with a tolerance, the record itself by its hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import DataError
from mono_depth_ros.files import read_rgb
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world import make_scene, write_dataset
from mono_depth_ros.world.dataset import DEPTH_SCALE
from training.config import CHECKOUT
from training.datasets.reader import decode_depth
from training.manifest import DepthFile

# No recipe trains or validates on scenes from here on.
FIRST_TEST_SEED = 3_000_000
SCENES = 200

_RECORD = Path(__file__).parent / "world_test_v1.json"
_LOOKS = Path(__file__).parent / "world_test_v1.npz"
_FOLDER = CHECKOUT / "out" / "world"
# Rows and columns of the pixels that are compared.
_GRID = (6, 8)
# Of those 48 depths, so many must agree to 1 %; an edge may move by a pixel.
_DEPTHS_TO_AGREE, _DEPTH_TOLERANCE = 44, 0.01
_MEAN_COLOUR_TOLERANCE = 3.0


@dataclass(frozen=True, slots=True)
class TestFrame:
    """One frame of the test set.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, NaN where there is none.
        camera: intrinsics of both.
    """

    rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    camera: Intrinsics


def test_frames(kind: str, scenes: int = SCENES, folder: Path = _FOLDER) -> Iterator[TestFrame]:
    """Yield the first frames of a test set, rendered once and kept on disk.

    Args:
        kind: rooms or streets.
        scenes: how many, one frame each; the whole set by default.
        folder: to keep them in.

    Raises:
        DataError: a frame is not what it was when the set was frozen, or `scenes` is not in 1 to
            200.
    """
    settings = read_record()[kind]
    if not 1 <= scenes <= settings["scenes"]:
        raise DataError(f"{scenes} scenes of test set v1; it has 1 to {settings['scenes']}")
    root = _rendered(kind, settings, scenes, folder)
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    looks = np.load(_LOOKS, allow_pickle=False)
    for index, entry in enumerate(manifest["frames"][:scenes]):
        frame = _read(root, index, entry["intrinsics"], DEPTH_SCALE[kind])
        depths_m, colours = look_of(frame)
        before = looks[f"{kind}_depth_m"][index], looks[f"{kind}_colour"][index]
        if not _alike(depths_m, colours, *before):
            raise DataError(
                f"frame {index} of {kind} is not that of test set v1; remove {root} and try again. "
                "If it stays so, this version renders another world, whose scores compare with none"
            )
        yield frame


def read_record() -> dict[str, Any]:
    """Return seeds and settings of both kinds, once their hash is checked.

    Raises:
        DataError: the files are not those that were frozen.
    """
    record: dict[str, Any] = json.loads(_RECORD.read_text(encoding="utf-8"))
    if _digest() != record["sha256"]:
        raise DataError(f"{_LOOKS.name} is not the file that {_RECORD.name} was frozen with")
    return record


def look_of(frame: TestFrame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return the depth (6, 8) at the middles of 48 cells and the cells' mean colours (6, 8, 3)."""
    height, width = frame.depth_m.shape
    rows = ((np.arange(_GRID[0]) + 0.5) * height / _GRID[0]).astype(int)
    columns = ((np.arange(_GRID[1]) + 0.5) * width / _GRID[1]).astype(int)
    colours = cv2.resize(frame.rgb, _GRID[::-1], interpolation=cv2.INTER_AREA)
    return frame.depth_m[np.ix_(rows, columns)], np.asarray(colours, np.uint8)


def _alike(
    depths_m: npt.NDArray[np.float32],
    colours: npt.NDArray[np.uint8],
    depths_before_m: npt.NDArray[np.float32],
    colours_before: npt.NDArray[np.uint8],
) -> bool:
    close = np.isclose(depths_m, depths_before_m, rtol=_DEPTH_TOLERANCE, atol=0.005, equal_nan=True)
    away = np.abs(colours.astype(np.float64) - colours_before).mean()
    return bool(close.sum() >= _DEPTHS_TO_AGREE and away <= _MEAN_COLOUR_TOLERANCE)


def _rendered(kind: str, settings: dict[str, Any], scenes: int, folder: Path) -> Path:
    root, first = folder / f"test_v1_{kind}", settings["first_seed"]
    if all((root / "rgb" / f"{index:06d}.png").exists() for index in range(scenes)):
        return root
    write_dataset(
        root,
        kind,
        range(first, first + scenes),
        frames_per_scene=1,
        camera=make_scene(kind, first).camera,
        focal_jitter=settings["focal_jitter"],
        image_format="png",
        variety=settings["variety"],
    )
    return root


def _read(root: Path, index: int, intrinsics: list[float], scale: float) -> TestFrame:
    rgb = read_rgb(root / "rgb" / f"{index:06d}.png")
    path = root / "depth" / f"{index:06d}.png"
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if codes is None:
        raise DataError(f"{path} is damaged; remove {root} and try again")
    depth_m = decode_depth(np.asarray(codes, np.uint16), DepthFile(str(path), scale=scale))
    fx, fy, cx, cy = intrinsics
    camera = Intrinsics(fx, fy, cx, cy, rgb.shape[1], rgb.shape[0])
    return TestFrame(rgb, depth_m, camera)


def _digest() -> str:
    digest, looks = hashlib.sha256(), np.load(_LOOKS, allow_pickle=False)
    for name in sorted(looks.files):
        digest.update(name.encode() + np.ascontiguousarray(looks[name]).tobytes())
    return digest.hexdigest()
