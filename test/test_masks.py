"""The robot in its own picture, from a polygon or from a PNG; masks at another size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.masks import EgoMask, resize_mask


def test_a_polygon_covers_its_corners_and_what_lies_between():
    mask = EgoMask("1,1 3,1 3,2 1,2").of_image(4, 5)
    expected = np.zeros((4, 5), bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(mask, expected)
    # A triangle that reaches out of the image: the part inside counts.
    below = EgoMask("-2,3 7,3 2,8").of_image(4, 5)
    np.testing.assert_array_equal(below.all(axis=1), [False, False, False, True])
    assert below.sum() == 5
    # Longer than any file name.
    zigzag = " ".join(f"{column},{column % 2}" for column in range(100))
    assert EgoMask(zigzag).of_image(2, 100)[1, 1::2].all()


def test_a_png_is_the_robot_where_it_is_not_black(tmp_path):
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[3, 1:] = (0, 0, 200)
    cv2.imwrite(str(tmp_path / "ego, mine.png"), picture)
    mask = EgoMask(str(tmp_path / "ego, mine.png"))
    np.testing.assert_array_equal(mask.of_image(4, 5), picture[..., 2] > 0)
    with pytest.raises(ShapeError, match="has 4x5 pixels, the image 8x10"):
        mask.of_image(8, 10)


def test_a_smaller_mask_is_true_wherever_some_of_a_pixel_is():
    mask = np.zeros((4, 6), bool)
    mask[0, 0] = mask[3, 4:] = True
    np.testing.assert_array_equal(resize_mask(mask, 2, 3), [[1, 0, 0], [0, 0, 1]])
    assert resize_mask(mask, 4, 6) is mask


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nowhere.png", "there is no ego mask nowhere.png"),
        ("x" * 300 + ".png", "there is no ego mask xxx"),
        ("1,1 2,2", "three or more corners"),
        ("1,1 2,2 3,x", "three or more corners"),
        ("1,1 2,2 3,3,3", "three or more corners"),
        ("1,1 2,2 3,99999", "beyond 16384"),
    ],
)
def test_what_is_no_mask_is_refused(text, reason):
    with pytest.raises(ConfigError, match=reason):
        EgoMask(text)


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    for content in (b"", b"not a picture"):
        (tmp_path / "mask.png").write_bytes(content)
        with pytest.raises(ConfigError, match="is no picture"):
            EgoMask(str(tmp_path / "mask.png"))
