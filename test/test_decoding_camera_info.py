"""CameraInfo messages: K and P, binning, region of interest, missing calibration."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from mono_depth_ros.decoding import camera_info_to_intrinsics
from mono_depth_ros.errors import CalibrationError
from mono_depth_ros.geometry import Intrinsics

K = (500.0, 0, 319.5, 0, 510.0, 239.5, 0, 0, 1)
P = (400.0, 0, 300.5, -8.0, 0, 410.0, 220.5, 0, 0, 0, 1, 0)


def camera_info(k=K, p=P, width=640, height=480, binning=(0, 0), roi=(0, 0, 0, 0), names="kp"):
    left, top, roi_width, roi_height = roi
    return SimpleNamespace(
        width=width,
        height=height,
        binning_x=binning[0],
        binning_y=binning[1],
        roi=SimpleNamespace(x_offset=left, y_offset=top, width=roi_width, height=roi_height),
        **{names[0]: k, names[1]: p},
    )


@pytest.mark.parametrize("names", ["kp", "KP"])
def test_p_counts_for_rectified_images_and_k_for_raw_ones(names):
    message = camera_info(names=names)
    assert camera_info_to_intrinsics(message) == Intrinsics(400, 410, 300.5, 220.5, 640, 480)
    raw = camera_info_to_intrinsics(message, rectified=False)
    assert raw == Intrinsics(500, 510, 319.5, 239.5, 640, 480)


@pytest.mark.parametrize("p", [(0.0,) * 12, (math.nan,) * 12])
def test_k_counts_where_p_is_empty(p):
    camera = camera_info_to_intrinsics(camera_info(p=p))
    assert camera == Intrinsics(500, 510, 319.5, 239.5, 640, 480)


def test_binning_keeps_the_centre_of_the_image_its_centre():
    camera = camera_info_to_intrinsics(camera_info(p=(0.0,) * 12, binning=(2, 4)))
    # (319.5 + 0.5) / 2 - 0.5 = 159.5, the centre of 320 columns; (239.5 + 0.5) / 4 - 0.5 = 59.5.
    assert camera == Intrinsics(250, 127.5, 159.5, 59.5, 320, 120)


def test_window_of_the_sensor_then_binning():
    camera = camera_info_to_intrinsics(camera_info(binning=(2, 2), roi=(100, 40, 200, 101)))
    # cx: (300.5 - 100 + 0.5) / 2 - 0.5 = 100; cy: (220.5 - 40 + 0.5) / 2 - 0.5 = 90.
    assert camera == Intrinsics(200, 205, 100, 90, 100, 50)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (camera_info(k=(0.0,) * 9, p=(0.0,) * 12), r"not calibrated \(fx=0, fy=0\); calibrate"),
        (camera_info(k=(math.nan,) * 9, p=(0.0,) * 12), "not calibrated"),
        (camera_info(p=(400.0, *(0.0,) * 11)), "fx=400, fy=0"),
        (camera_info(p=(400.0, 0, math.inf, 0, 0, 410, 1, 0, 0, 0, 1, 0)), "impossible"),
        (camera_info(p=(math.inf, 0, 1, 0, 0, 410, 1, 0, 0, 0, 1, 0)), "impossible"),
        (camera_info(width=0), "0x480 image; set its width"),
        (camera_info(height=0), "640x0 image; set its width"),
        (camera_info(roi=(600, 0, 41, 10)), r"41x10 at \(600, 0\) leaves the image of 640x480"),
        (camera_info(binning=(1000, 1)), "empty image"),
        (camera_info(k=(1.0,) * 4), "camera_info.k has 4 values, it must have 9"),
        (SimpleNamespace(k=K), "camera_info.p has 0 values"),
    ],
)
def test_missing_or_impossible_calibration(message, reason):
    with pytest.raises(CalibrationError, match=reason):
        camera_info_to_intrinsics(message)


def test_raw_image_without_k():
    with pytest.raises(CalibrationError, match="not calibrated"):
        camera_info_to_intrinsics(camera_info(k=(0.0,) * 9), rectified=False)
