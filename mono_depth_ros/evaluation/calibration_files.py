"""Camera and extrinsics from files, for recordings without or with wrong ones.

The camera's file is what ROS's camera_info_manager loads and `camera_calibration` writes
(camera_calibration_parsers). The file of the extrinsics is our own: either a translation and a
quaternion or a matrix, p_camera = camera_from_lidar p_lidar, and the two frames if they are to be
compared with those of the recording:

    camera_frame: camera_optical_frame
    lidar_frame: velodyne
    translation_m: [0.05, -0.08, -0.27]
    quaternion_xyzw: [0.5, -0.5, 0.5, -0.5]

    camera_from_lidar: [[0, -1, 0, 0.05], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1]]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.decoding import camera_info_to_intrinsics
from mono_depth_ros.errors import CalibrationError, ConfigError
from mono_depth_ros.geometry import (
    Intrinsics,
    invert_transform,
    quaternion_from_matrix,
    transform_from_quaternion,
)
from mono_depth_ros.rectification import Lens

# Written out with few digits a rotation is not quite one.
_ROTATION_TOLERANCE = 1e-2

Vector = tuple[float, float, float]
Row = tuple[float, float, float, float]


def read_camera(path: str | Path, *, rectified: bool) -> tuple[Intrinsics, Lens]:
    """Read a camera calibration YAML.

    Args:
        path: keys image_width, image_height, camera_matrix, distortion_model,
            distortion_coefficients and projection_matrix; the last three may be missing, and others
            do not count.
        rectified: as in `camera_info_to_intrinsics`: whether the projection or the camera matrix
            describes the images.

    Raises:
        ConfigError: the file cannot be read or is no YAML.
        CalibrationError: an entry is missing, has another size, or is impossible.
    """
    values = load_yaml(Path(path))
    model = values.get("distortion_model", "")
    if not isinstance(model, str):
        raise CalibrationError(f"{path}: distortion_model is {model!r}, not the name of a model")
    info = SimpleNamespace(
        width=_size(path, values, "image_width"),
        height=_size(path, values, "image_height"),
        k=_data(path, values, "camera_matrix", 9),
        p=_data(path, values, "projection_matrix", 12, [0.0] * 12),
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )
    coefficients = _data(path, values, "distortion_coefficients", None, [])
    try:
        return camera_info_to_intrinsics(info, rectified=rectified), (model, tuple(coefficients))
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class ExtrinsicsFile:
    """What the file of the extrinsics may hold.

    Attributes:
        translation_m: of the LiDAR in the camera's optical frame.
        quaternion_xyzw: its rotation there.
        camera_from_lidar: 4x4, in place of both.
        camera_frame: the camera's optical frame; empty is not compared.
        lidar_frame: frame of the clouds, likewise.
    """

    translation_m: Vector | None = None
    quaternion_xyzw: Row | None = None
    camera_from_lidar: tuple[Row, Row, Row, Row] | None = None
    camera_frame: str = ""
    lidar_frame: str = ""

    def __post_init__(self) -> None:
        pose = self.translation_m is not None, self.quaternion_xyzw is not None
        if pose not in ((True, True), (False, False)) or pose[0] == bool(self.camera_from_lidar):
            raise ConfigError(
                "it must hold either translation_m and quaternion_xyzw or camera_from_lidar, 4x4"
            )

    def matrix(self) -> npt.NDArray[np.float64]:
        """Return camera_from_lidar (4, 4).

        Raises:
            CalibrationError: it is no rigid transform.
        """
        if self.translation_m is not None and self.quaternion_xyzw is not None:
            return transform_from_quaternion(self.translation_m, self.quaternion_xyzw)
        given = np.array(self.camera_from_lidar, np.float64)
        product = given @ invert_transform(given)
        rigid = np.allclose(product, np.eye(4), atol=_ROTATION_TOLERANCE)
        if not rigid or np.linalg.det(given[:3, :3]) < 0 or given[3].tolist() != [0, 0, 0, 1]:
            raise CalibrationError(
                "camera_from_lidar is no rotation and translation; its upper left 3x3 must be a "
                "rotation and its last row 0 0 0 1"
            )
        return transform_from_quaternion(given[:3, 3], quaternion_from_matrix(given[:3, :3]))


def read_extrinsics(
    path: str | Path, camera_frame: str, lidar_frame: str
) -> npt.NDArray[np.float64]:
    """Read camera_from_lidar (4, 4) from a file.

    Args:
        path: see above.
        camera_frame: of the recording; empty where it does not say.
        lidar_frame: likewise.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
        CalibrationError: it is for other frames, or holds no rigid transform.
    """
    try:
        file = from_mapping(ExtrinsicsFile, load_yaml(Path(path)), "extrinsics")
        matrix = file.matrix()
    except (ConfigError, CalibrationError) as error:
        raise type(error)(f"{path}: {error}") from error
    for what, named, recorded in (
        ("camera", file.camera_frame, camera_frame),
        ("LiDAR", file.lidar_frame, lidar_frame),
    ):
        if named and recorded and named.lstrip("/") != recorded:
            raise CalibrationError(
                f"{path} is for the {what} frame {named!r}, the recording's is {recorded!r}; take "
                "the file of this sensor, or leave the frame out of it"
            )
    return matrix


def _size(path: str | Path, values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise CalibrationError(f"{path}: {key} is {value!r}, not a number of pixels")
    return value


def _data(
    path: str | Path,
    values: Mapping[str, Any],
    key: str,
    count: int | None,
    missing: list[float] | None = None,
) -> list[float]:
    """Return the numbers of `key: {rows: R, cols: C, data: [...]}`."""
    if key not in values and missing is not None:
        return missing
    matrix = values.get(key)
    data = matrix.get("data") if isinstance(matrix, Mapping) else None
    try:
        # Text counts as well: YAML 1.1 reads 1e-4 as one.
        numbers = [float(value) for value in data] if isinstance(data, list) else []
    except (TypeError, ValueError):
        numbers = []
    wrong = len(numbers) != count if count is not None else not isinstance(data, list)
    if wrong or not all(map(math.isfinite, numbers)) or len(numbers) != len(data or ()):
        raise CalibrationError(
            f"{path}: {key} has no data of {'some' if count is None else count} numbers; "
            "calibrate with camera_calibration, or copy its file whole"
        )
    return numbers
