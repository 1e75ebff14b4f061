"""Letterbox: where pixels go, and that depth comes back to where it came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.preprocessing import Letterbox, image_to_tensor

sides = st.integers(8, 400)


def test_vga_into_a_wide_network_by_hand():
    letterbox = Letterbox.fit(ImageSize(480, 640), ImageSize(128, 416))
    # Scale 128 / 480: 640 becomes 170.67, rounded 171; (416 - 171) // 2 = 122 columns on the left.
    assert letterbox.resized == ImageSize(128, 171)
    assert (letterbox.top, letterbox.left) == (0, 122)
    camera = letterbox.camera(Intrinsics(500, 510, 319.5, 239.5, 640, 480))
    assert camera.fx == pytest.approx(500 * 171 / 640)
    assert camera.fy == pytest.approx(510 * 128 / 480)
    # The image centre stays the centre of the inner window.
    assert camera.cx == pytest.approx(122 + 171 / 2 - 0.5)
    assert camera.cy == pytest.approx(63.5)
    assert (camera.width, camera.height) == (416, 128)


def test_same_size_is_left_alone():
    rgb = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    letterbox = Letterbox.fit(ImageSize(64, 96), ImageSize(64, 96))
    np.testing.assert_array_equal(letterbox.image_to_target(rgb), rgb)
    depth_m = np.random.default_rng(0).random((64, 96), np.float32)
    np.testing.assert_array_equal(letterbox.to_source(depth_m), depth_m)


def test_padding_is_the_mirror_image():
    letterbox = Letterbox.fit(ImageSize(64, 64), ImageSize(64, 96))
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    padded = letterbox.image_to_target(rgb)
    np.testing.assert_array_equal(padded[:, 16:80], rgb)
    np.testing.assert_array_equal(padded[:, :16], rgb[:, 16:0:-1])
    np.testing.assert_array_equal(padded[:, 80:], rgb[:, 62:46:-1])


@pytest.mark.parametrize("source", [ImageSize(1, 90), ImageSize(90, 1), ImageSize(2, 300)])
def test_padding_may_be_larger_than_the_image(source):
    letterbox = Letterbox.fit(source, ImageSize(64, 96))
    rgb = np.full((source.height, source.width, 3), 7, np.uint8)
    assert (letterbox.image_to_target(rgb) == 7).all()


@given(sides, sides, sides, sides)
def test_the_inverse_returns_a_plane_exactly(height, width, target_height, target_width):
    """Linear resizing reproduces a linear function of the pixel except within half a cell of the
    border, so a depth ramp painted in target coordinates must come back as the same ramp."""
    letterbox = Letterbox.fit(ImageSize(height, width), ImageSize(target_height, target_width))
    v, u = np.indices((target_height, target_width), dtype=np.float32)
    depth_m = letterbox.to_source(10 + 0.5 * u + 0.25 * v)
    rows, cols = np.indices((height, width))
    u_target = letterbox.resized.width / width * (cols + 0.5) - 0.5 + letterbox.left
    v_target = letterbox.resized.height / height * (rows + 0.5) - 0.5 + letterbox.top
    inside_u = np.clip(u_target, letterbox.left, letterbox.left + letterbox.resized.width - 1)
    inside_v = np.clip(v_target, letterbox.top, letterbox.top + letterbox.resized.height - 1)
    np.testing.assert_allclose(depth_m, 10 + 0.5 * inside_u + 0.25 * inside_v, rtol=2e-3)


@given(sides, sides, sides, sides)
def test_the_whole_image_fits_centred(height, width, target_height, target_width):
    target = ImageSize(target_height, target_width)
    letterbox = Letterbox.fit(ImageSize(height, width), target)
    assert letterbox.image_to_target(np.zeros((height, width, 3), np.uint8)).shape == (
        target_height,
        target_width,
        3,
    )
    assert target.height == letterbox.resized.height or target.width == letterbox.resized.width
    right = target.width - letterbox.left - letterbox.resized.width
    assert 0 <= right - letterbox.left <= 1


def test_nearest_keeps_foreground_and_background_apart():
    letterbox = Letterbox.fit(ImageSize(128, 128), ImageSize(64, 64))
    depth_m = np.full((64, 64), 5.0, np.float32)
    depth_m[:, 32:] = 60.0
    assert set(np.unique(letterbox.to_source(depth_m, "nearest"))) == {5.0, 60.0}
    assert len(np.unique(letterbox.to_source(depth_m, "linear"))) > 2


@pytest.mark.parametrize(
    "rgb", [np.zeros((64, 64), np.uint8), np.zeros((32, 64, 3), np.uint8), np.zeros((64, 64, 3))]
)
def test_wrong_images_are_refused(rgb):
    with pytest.raises(ShapeError, match="uint8 RGB"):
        Letterbox.fit(ImageSize(64, 64), ImageSize(64, 96)).image_to_target(rgb)


def test_camera_of_another_size_is_refused():
    letterbox = Letterbox.fit(ImageSize(64, 64), ImageSize(64, 96))
    with pytest.raises(ShapeError, match="32x64"):
        letterbox.camera(Intrinsics(1, 1, 1, 1, 32, 64))


def test_tensor_values_and_order():
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[1, 2] = (255, 51, 0)
    tensor = image_to_tensor(rgb)
    assert tensor.shape == (1, 3, 2, 3)
    torch.testing.assert_close(tensor[0, :, 1, 2], torch.tensor([1.0, 0.2, 0.0]))
