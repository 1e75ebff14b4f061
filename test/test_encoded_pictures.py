from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from mono_depth_ros.decoding import compressed_image_to_rgb
from mono_depth_ros.encoded_pictures import MAX_PIXELS, picture_size
from mono_depth_ros.errors import DecodingError

PIXELS = np.random.default_rng(0).integers(0, 255, (17, 31, 3)).astype(np.uint8)


def encoded(suffix, *options, pixels=PIXELS):
    return bytes(cv2.imencode(suffix, pixels, list(options))[1])


@pytest.mark.parametrize(
    "data",
    [
        encoded(".jpg"),
        encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".jpg", pixels=PIXELS[..., 0]),
        encoded(".png"),
        encoded(".png", pixels=PIXELS.astype(np.uint16)),
    ],
    ids=["jpeg", "progressive", "grey", "png", "png16"],
)
def test_size_of_what_opencv_writes(data):
    assert picture_size(data, "picture", "") == (17, 31)


def test_segments_and_stuffing_before_the_jpeg_frame_are_passed_over():
    data = encoded(".jpg")
    # A comment that looks like a frame of 1 x 1 pixels, then fill bytes.
    inner = b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01"
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(inner)) + inner
    assert picture_size(data[:2] + comment + b"\xff\xff" + data[2:], "picture", "") == (17, 31)


@pytest.mark.parametrize("side", [0, 60_000])
def test_absurd_sizes_are_refused_before_they_are_decoded(message_of, side):
    png = bytearray(encoded(".png"))
    png[16:24] = struct.pack(">II", side, side)
    jpeg = bytearray(encoded(".jpg"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    for data in (png, jpeg):
        with pytest.raises(DecodingError, match=f"{side}x{side} pixels; 1 to {MAX_PIXELS}"):
            compressed_image_to_rgb(message_of(bytes(data)))


@pytest.fixture
def message_of():
    class Message:
        format = "bgr8; jpeg compressed bgr8"

        def __init__(self, data):
            self.data = data

    return Message


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda" + bytes(20), b"GIF89a"])
def test_what_has_no_size(data):
    with pytest.raises(DecodingError, match="its head is missing"):
        picture_size(data, "picture", "check the sender")
