"""Sampling maps against the formulas written out and OpenCV; both roads that apply them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.errors import CalibrationError, ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.preprocessing import Letterbox
from mono_depth_ros.rectification import (
    ImageRectifier,
    Rectification,
    lens_of,
    read_rectification,
    sampling_map,
)

CAMERA = Intrinsics(fx=50.0, fy=52.0, cx=31.0, cy=23.5, width=64, height=48)
V, U = np.indices((48, 64), dtype=np.float64)
X, Y = (U - 31.0) / 50.0, (V - 23.5) / 52.0
R2 = X**2 + Y**2
REAL = Path(__file__).parents[2] / "shared/data/rectify/pjlab_lidar_camera_1"
PLUMB_BOB = ("plumb_bob", (-0.3, 0.1, 0.002, -0.001, -0.02))
# Of a real wide camera: rational, thin prism and tilted sensor.
TILTED = ("rational_polynomial", (
    0.2, -0.05, 0.001, 0.0005, 0.01, 0.45, -0.02, 0.02, 0.002, -0.001, 0.0015, 0.0005, 0.02, -0.03,
))  # fmt: skip
FISHEYE = ("equidistant", (-0.02, 0.01, -0.003, 0.001))


def maps(lens, camera=CAMERA, rectified=None, rotation=None):
    extra = {} if rotation is None else {"rotation": tuple(rotation.ravel().tolist())}
    return sampling_map(Rectification(lens, camera, rectified or camera, **extra))


def test_plumb_bob():
    k1, k2, p1, p2, k3 = PLUMB_BOB[1]
    radial = 1 + k1 * R2 + k2 * R2**2 + k3 * R2**3
    u, v = maps(PLUMB_BOB)
    expected_x = X * radial + 2 * p1 * X * Y + p2 * (R2 + 2 * X**2)
    expected_y = Y * radial + p1 * (R2 + 2 * Y**2) + 2 * p2 * X * Y
    np.testing.assert_allclose(u, 50.0 * expected_x + 31.0, atol=1e-9)
    np.testing.assert_allclose(v, 52.0 * expected_y + 23.5, atol=1e-9)


def test_rational_polynomial():
    k = (0.2, -0.1, 0.0, 0.0, 0.01, 0.5, -0.05, 0.02)
    radial = (1 + k[0] * R2 + k[1] * R2**2 + k[4] * R2**3) / (
        1 + k[5] * R2 + k[6] * R2**2 + k[7] * R2**3
    )
    u, v = maps(("rational_polynomial", k))
    np.testing.assert_allclose(u, 50.0 * X * radial + 31.0, atol=1e-9)
    np.testing.assert_allclose(v, 52.0 * Y * radial + 23.5, atol=1e-9)


def test_equidistant():
    k1, k2, k3, k4 = FISHEYE[1]
    angle = np.arctan(np.sqrt(R2))
    bent = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8)
    u, v = maps(FISHEYE)
    np.testing.assert_allclose(u, 50.0 * X * bent / np.sqrt(R2) + 31.0, atol=1e-9)
    np.testing.assert_allclose(v, 52.0 * Y * bent / np.sqrt(R2) + 23.5, atol=1e-9)
    # 45 degrees from the axis: the picture's radius is the angle, pi / 4, not its tangent.
    u, _ = maps(("equidistant", (0.0,) * 4), Intrinsics(10, 10, 0, 0, 11, 1))
    assert u[0, 10] == pytest.approx(10 * np.pi / 4) and u[0, 0] == 0


@pytest.mark.parametrize("lens", [("plumb_bob", (0.0,) * 5), ("", ()), ("ideal", (0.0, 0.0))])
def test_no_distortion_moves_nothing(lens):
    assert Rectification(lens, CAMERA, CAMERA).moves_nothing
    np.testing.assert_allclose(maps(lens), (U, V), atol=1e-9)


def small_rotations():
    return st.tuples(*[st.floats(-0.15, 0.15)] * 3).map(lambda r: cv2.Rodrigues(np.array(r))[0])


def cameras(width=96, height=64):
    focal = st.floats(0.5 * width, 2 * width)
    return st.builds(
        Intrinsics, focal, focal, st.floats(0.4 * width, 0.6 * width),
        st.floats(0.4 * height, 0.6 * height), st.just(width), st.just(height),
    )  # fmt: skip


def coefficients(*sizes):
    return st.tuples(*[st.floats(-size, size) for size in sizes])


PINHOLE_LENSES = st.one_of(
    coefficients(0.3, 0.1, 0.01, 0.01),
    coefficients(0.3, 0.1, 0.01, 0.01, 0.05),
    coefficients(0.3, 0.1, 0.01, 0.01, 0.05, 0.3, 0.1, 0.05),
    coefficients(0.3, 0.1, 0.01, 0.01, 0.05, 0.3, 0.1, 0.05, *[0.01] * 4),
    coefficients(0.3, 0.1, 0.01, 0.01, 0.05, 0.3, 0.1, 0.05, *[0.01] * 4, 0.1, 0.1),
)


@given(PINHOLE_LENSES, cameras(), cameras(80, 48), small_rotations())
@settings(max_examples=200, deadline=None)
def test_maps_are_opencvs(distortion, camera, rectified, rotation):
    u, v = maps(("rational_polynomial", distortion), camera, rectified, rotation)
    expected = cv2.initUndistortRectifyMap(
        camera.matrix, np.array(distortion), rotation, rectified.matrix, (80, 48), cv2.CV_32FC1
    )
    assert_maps_agree((u, v), expected, camera)


@given(coefficients(0.1, 0.05, 0.02, 0.01), cameras(), cameras(80, 48), small_rotations())
@settings(max_examples=200, deadline=None)
def test_fisheye_maps_are_opencvs(distortion, camera, rectified, rotation):
    u, v = maps(("equidistant", distortion), camera, rectified, rotation)
    expected = cv2.fisheye.initUndistortRectifyMap(
        camera.matrix, np.array(distortion), rotation, rectified.matrix, (80, 48), cv2.CV_32FC1
    )
    assert_maps_agree((u, v), expected, camera)


def assert_maps_agree(ours, opencv, camera):
    valid = np.isfinite(ours[0])
    assert valid[24, 40]
    for mine, theirs in zip(ours, opencv, strict=True):
        # OpenCV's maps are float32: far outside the image they have no 0.01 px.
        near = valid & (np.abs(theirs) < 10 * camera.width)
        assert np.abs(mine - theirs)[near].max() < 0.01


def test_where_the_lens_folds_there_is_no_picture():
    """r (1 - r^2 / 3) grows up to r = 1, and shows again beyond it what it showed before."""
    wide = Intrinsics(fx=10.0, fy=10.0, cx=20.5, cy=0.0, width=41, height=1)
    u, _ = maps(("plumb_bob", (-1 / 3, 0.0, 0.0, 0.0)), wide)
    np.testing.assert_array_equal(np.isfinite(u[0]), np.abs(np.arange(41) - 20.5) < 10)


def test_rays_from_behind_show_nothing():
    turned = cv2.Rodrigues(np.array([0.0, np.pi * 0.75, 0.0]))[0]
    u, _ = maps(("plumb_bob", (0.1, 0.0, 0.0, 0.0)), rotation=turned)
    assert np.isnan(u).all()


def test_rectified_and_letterboxed_in_one_map():
    """Pixel for pixel the map of the whole rectified image, looked up at the letterbox's pixels."""
    letterbox = Letterbox.fit(ImageSize(48, 64), ImageSize(16, 32))
    target = letterbox.camera(CAMERA)
    u, v = maps(PLUMB_BOB, CAMERA, target)
    assert u.shape == (16, 32)
    # 48 rows to 16: row 5 is centred on row 3 * 5 + 1; columns start 5 to the right.
    full_u, full_v = maps(PLUMB_BOB)
    scale = 64 / letterbox.resized.width
    column = scale * (12 - letterbox.left + 0.5) - 0.5
    left, part = int(column), column % 1
    for small, full in ((u, full_u), (v, full_v)):
        between = (1 - part) * full[16, left] + part * full[16, left + 1]
        assert small[5, 12] == pytest.approx(between, abs=1e-3)


def textured(height, width, seed=0):
    """Return a picture with edges, of the sharpness that a lens leaves."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    sharp = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)
    return cv2.GaussianBlur(sharp, (0, 0), 1.2)


def samplers(rectification, monkeypatch):
    """Return the rectifiers of both roads, the GPU's on a CPU."""
    from mono_depth_ros import rectification as module

    cpu = ImageRectifier(rectification)
    monkeypatch.setattr(module, "_CpuSampler", module._TorchSampler)
    return cpu, ImageRectifier(rectification)


def assert_grey_levels_agree(ours, opencv):
    difference = np.abs(ours.astype(np.int16) - opencv)
    assert difference.mean() <= 0.1
    assert (difference > 2).mean() < 1e-4


@pytest.mark.parametrize("lens", [PLUMB_BOB, TILTED, FISHEYE], ids=["plumb", "tilted", "fisheye"])
def test_pictures_are_those_of_opencv_on_both_roads(lens, monkeypatch):
    camera = Intrinsics(300.0, 305.0, 322.0, 236.0, 640, 480)
    rotation = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
    rectified = Intrinsics(280.0, 280.0, 310.0, 240.0, 600, 440)
    rgb = textured(480, 640)
    init = cv2.fisheye.initUndistortRectifyMap if lens is FISHEYE else cv2.initUndistortRectifyMap
    exact = init(camera.matrix, np.array(lens[1]), rotation, rectified.matrix, (600, 440),
                 cv2.CV_32FC1)  # fmt: skip
    expected = cv2.remap(rgb, *exact, cv2.INTER_LINEAR)
    what = Rectification(lens, camera, rectified, tuple(rotation.ravel().tolist()))
    for rectifier in samplers(what, monkeypatch):
        picture = rectifier.image(rgb)
        assert_grey_levels_agree(picture, expected)
        assert picture.dtype == np.uint8 and picture.shape == (440, 600, 3)


@pytest.mark.skipif(not REAL.exists(), reason="the real picture of ../shared/data is not here")
def test_a_real_distorted_picture_on_both_roads(monkeypatch):
    record = json.loads((REAL / "center_camera-intrinsic.json").read_text())
    values = record["center_camera-intrinsic"]["param"]
    k, d = np.array(values["cam_K"]["data"]), np.ravel(values["cam_dist"]["data"])
    camera = Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], 1920, 1200)
    rgb = cv2.cvtColor(cv2.imread(str(REAL / "calib.png")), cv2.COLOR_BGR2RGB)
    exact = cv2.initUndistortRectifyMap(k, d, None, k, (1920, 1200), cv2.CV_32FC1)
    expected = cv2.remap(rgb, *exact, cv2.INTER_LINEAR)
    for rectifier in samplers(Rectification(("plumb_bob", tuple(d)), camera, camera), monkeypatch):
        assert_grey_levels_agree(rectifier.image(rgb), expected)


def test_black_where_nothing_was_seen_and_a_read_only_image_is_taken(monkeypatch):
    # Pincushion: the corners of the pinhole image lie outside what the camera saw.
    what = Rectification(("plumb_bob", (0.3, 0.0, 0.0, 0.0, 0.0)), CAMERA, CAMERA)
    white = np.frombuffer(b"\xff" * (48 * 64 * 3), np.uint8).reshape(48, 64, 3)
    source_u, source_v = 50.0 * X * (1 + 0.3 * R2) + 31.0, 52.0 * Y * (1 + 0.3 * R2) + 23.5
    inside = (source_u >= 0) & (source_u <= 63) & (source_v >= 0) & (source_v <= 47)
    for rectifier in samplers(what, monkeypatch):
        # The map is rounded to 1/32 px.
        assert (rectifier.seen != inside).sum() <= 2 and not rectifier.seen[0, 0]
        picture = rectifier.image(white)
        assert (picture[rectifier.seen] == 255).all() and (picture[0, 0] == 0).all()
        with pytest.raises(ShapeError, match=r"\(48, 64, 3\)"):
            rectifier.image(white[:, :-1])


def info(**changes):
    fields = {
        "width": 64, "height": 48, "binning_x": 0, "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
        "distortion_model": "plumb_bob", "d": PLUMB_BOB[1],
        "k": CAMERA.matrix.ravel(), "r": np.eye(3).ravel(),
        "p": [40.0, 0, 30.0, -4.0, 0, 41.0, 22.0, 0, 0, 0, 1, 0],
    }  # fmt: skip
    return SimpleNamespace(**fields | changes)


def test_p_is_the_rectified_camera_and_k_where_it_is_empty():
    what = read_rectification(info())
    assert what == Rectification(PLUMB_BOB, CAMERA, Intrinsics(40, 41, 30, 22, 64, 48))
    assert read_rectification(info(p=[0.0] * 12)).rectified == CAMERA
    assert read_rectification(info(r=[0.0] * 9)) == what


@pytest.mark.parametrize("r", [np.eye(3), cv2.Rodrigues(np.array([0.1, 0.0, 0.0]))[0]])
def test_images_without_distortion_are_those_of_p_already(r):
    what = read_rectification(info(d=[], k=[0.0] * 9, r=r.ravel()))
    assert what.moves_nothing and what.rectified == Intrinsics(40, 41, 30, 22, 64, 48)


def test_binning_and_window_hold_for_both_cameras():
    window = SimpleNamespace(x_offset=8, y_offset=4, width=40, height=32)
    what = read_rectification(info(roi=window, binning_x=2, binning_y=2))
    assert what.raw == Intrinsics(25, 26, (31 - 8 + 0.5) / 2 - 0.5, 9.5, 20, 16)
    assert what.rectified == Intrinsics(20, 20.5, (30 - 8 + 0.5) / 2 - 0.5, 8.75, 20, 16)
    # The same scene point: pixel (u, v) of the window is 2 (u + 0.5) - 0.5 + 8 of the whole.
    u, _ = sampling_map(what)
    whole_u, _ = sampling_map(read_rectification(info()))
    whole = (whole_u[16, 20] + whole_u[17, 20] + whole_u[16, 21] + whole_u[17, 21]) / 4
    assert 2 * (u[6, 6] + 0.5) - 0.5 + 8 == pytest.approx(whole, abs=5e-3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"d": [np.nan] * 5}, "must be finite"),
        ({"d": [0.1, np.inf, 0.0, 0.0]}, "must be finite"),
        ({"distortion_model": "thin_prism"}, "known are plumb_bob"),
        ({"distortion_model": "equidistant"}, "with 5 coefficients; known are"),
        ({"k": [0.0] * 9}, "not calibrated"),
        ({"r": [np.nan] * 9}, "no rotation matrix"),
        ({"r": [2.0, 0, 0, 0, 2.0, 0, 0, 0, 2.0]}, "no rotation matrix"),
        ({"r": [1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0]}, "no rotation matrix"),
        ({"r": []}, "no rotation matrix"),
        ({"width": 0}, "set its width"),
    ],
)
def test_impossible_camera_infos(changes, reason):
    with pytest.raises(CalibrationError, match=reason):
        read_rectification(info(**changes))


def any_numbers(count):
    usual = st.sampled_from([0.0, 1.0, -1.0, 4.0, 30.0, 1e-300, 1e300])
    return st.lists(st.one_of(usual, st.floats()), min_size=count, max_size=count)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "k": any_numbers(9),
            "p": any_numbers(12),
            "r": any_numbers(9),
            "d": st.sampled_from([0, 4, 5, 8, 12, 14, 3]).flatmap(any_numbers),
            "distortion_model": st.sampled_from(["equidistant", "rational_polynomial", "", "x"]),
            "binning_x": st.integers(0, 2**32 - 1),
        },
    )
)
@settings(max_examples=500, deadline=None)
@pytest.mark.filterwarnings("error")
def test_whatever_a_camera_info_holds_it_is_refused_or_serves_images(changes):
    try:
        rectifier = ImageRectifier(what := read_rectification(info(**changes)))
    except CalibrationError:
        return
    shape = (what.raw.height, what.raw.width, 3)
    assert rectifier.image(np.zeros(shape, np.uint8)).shape == shape
    assert rectifier.seen.shape == shape[:2]


def test_ros_1_names():
    named = SimpleNamespace(**{
        (name.upper() if name in "kdrp" else name): value for name, value in vars(info()).items()
    })  # fmt: skip
    assert lens_of(named) == PLUMB_BOB
    assert read_rectification(named) == read_rectification(info())
