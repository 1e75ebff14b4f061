"""KITTI stereo 2015: 200 street images with sparse disparity, for Look Deeper's outdoor recipe.

Layout (published convention): training/image_2/%06d_10.png, training/disp_occ_0/%06d_10.png and
training/calib_cam_to_cam/%06d.txt. The frames come from KITTI raw drives, some of which are Eigen
test drives: a network that learned from them has no clean score on Eigen's test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import DataError
from training.manifest import DepthFile, Manifest, Record, hold_out
from training.prepare import not_found

_VALIDATION_SHARE = 0.1
_ABOVE = (".", "training", "data_scene_flow/training", "kitti_stereo_2015/training")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the pictures are; `training` holds image_2 and disp_occ_0."""

    training: Path


def find(root: Path) -> Layout | None:
    """Recognise the data set in a folder, in its training/, or one folder further down."""
    for folder in (root / above for above in _ABOVE):
        if (folder / "image_2").is_dir() and (folder / "disp_occ_0").is_dir():
            return Layout(folder.resolve())
    return None


def prepare(root: Path, out: Path) -> Manifest:
    """List the frames: all but the last tenth are `train`, that tenth is `validation`.

    The published data set has no validation split; neighbouring numbers are often of one drive, so
    the held-out frames are consecutive.

    Raises:
        DataError: the folder holds no KITTI stereo 2015, no frame, or no calibration.
    """
    layout = find(root)
    if layout is None:
        raise not_found(root, "stereo2015")
    names = sorted(path.stem for path in (layout.training / "image_2").glob("*_10.png"))
    if not names:
        raise DataError(f"{layout.training / 'image_2'} holds no *_10.png; unpack it again")
    _require_calibration(layout.training / "calib_cam_to_cam")
    records, problems = [], []
    for name in names:
        try:
            records.append(_record(layout, name))
        except DataError as error:
            problems.append(str(error))
    count = max(1, round(len(names) * _VALIDATION_SHARE)) if len(names) > 1 else 0
    train, validation = hold_out(records, names[len(names) - count :])
    return Manifest(
        dataset="stereo2015",
        layout=f"KITTI stereo 2015 in {layout.training}, {len(names)} frames with occ disparity",
        root=layout.training,
        splits={"train": train, "validation": validation},
        problems=tuple(problems),
    )


def _require_calibration(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is missing, without it disparity is no depth; unpack the calibration "
            "archive of the scene flow benchmark (data_scene_flow_calib.zip) beside the pictures"
        )


def _record(layout: Layout, name: str) -> Record:
    file = layout.training / "calib_cam_to_cam" / f"{name.removesuffix('_10')}.txt"
    left, right = read_projections(file)
    return Record(
        name=name,
        group=name,
        image=f"image_2/{name}.png",
        intrinsics=(float(left[0, 0]), float(left[1, 1]), float(left[0, 2]), float(left[1, 2])),
        depth=DepthFile(f"disp_occ_0/{name}.png", "stereo2015", focal_baseline(left, right)),
    )


def read_projections(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Read P_rect_02 and P_rect_03, (3, 4) each, of a KITTI calib_cam_to_cam file.

    Raises:
        DataError: the file or one of its entries is missing or damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        texts = {key: text.split() for key, _, text in (line.partition(":") for line in lines)}
        left, right = (
            np.array(texts[key], np.float64).reshape(3, 4) for key in ("P_rect_02", "P_rect_03")
        )
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; its frame is left out") from error
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path} has no P_rect_02 and P_rect_03 of 12 numbers ({error}); fetch it again"
        ) from error
    if not (left[0, 0] > 0 and 0 < focal_baseline(left, right) < np.inf):
        raise DataError(f"{path} has an impossible focal length or baseline; fetch it again")
    return left, right


def focal_baseline(left: npt.NDArray[np.floating], right: npt.NDArray[np.floating]) -> float:
    """Return focal length times baseline, px m: metres = this / disparity.

    The fourth column of a rectified projection is -focal · x of that camera in the frame of camera
    0, so the difference of the first rows is focal · (x_right - x_left).
    """
    return float(left[0, 3] - right[0, 3])
