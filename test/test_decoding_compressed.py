"""CompressedImage messages: JPEG and PNG, format text, truncation, nonsense."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.decoding import compressed_image_to_rgb
from mono_depth_ros.errors import DecodingError, MonoDepthError

ORANGE = (200, 100, 50)


def message(data, text="jpeg"):
    return SimpleNamespace(format=text, data=bytes(data))


def encoded(extension, pixels):
    ok, data = cv2.imencode(extension, pixels)
    assert ok
    return data.tobytes()


def smooth(height=24, width=32):
    """Return (H, W, 3) uint8 with a gradient that JPEG keeps almost exactly."""
    rows, columns = np.indices((height, width))
    return np.stack((40 + 3 * columns, 200 - 4 * rows, 90 + rows + columns), -1).astype(np.uint8)


def with_header_segment(jpeg, payload):
    """Insert an APP1 segment behind the start marker."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def rotated_by_exif(jpeg):
    # Little-endian TIFF with one entry: orientation (0x0112), short, 1 value, 6 = turn by 90°.
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    return with_header_segment(jpeg, b"Exif\0\0" + tiff)


JPEG = encoded(".jpg", smooth()[..., ::-1])
PNG = encoded(".png", smooth()[..., ::-1])


class TestPictures:
    @pytest.mark.parametrize(
        "text", ["png", "", "rgb8; png compressed bgr8", "bgr8; jpeg compressed"]
    )
    def test_png_is_exact_whatever_the_format_says(self, text):
        rgb = compressed_image_to_rgb(message(PNG, text))
        np.testing.assert_array_equal(rgb, smooth())
        assert rgb.flags.c_contiguous

    @pytest.mark.parametrize("text", ["jpeg", "rgb8; jpeg compressed bgr8"])
    def test_jpeg(self, text):
        rgb = compressed_image_to_rgb(message(JPEG, text))
        assert np.abs(rgb.astype(int) - smooth()).max() <= 8
        assert np.abs(rgb.astype(int) - smooth()).mean() < 2

    @pytest.mark.parametrize("codec", ["jpeg", "png"])
    def test_red_and_blue_swapped_before_compression(self, codec):
        # The sender handed RGB pixels to an encoder that takes BGR.
        pixels = np.full((16, 16, 3), ORANGE, np.uint8)
        data = encoded({"jpeg": ".jpg", "png": ".png"}[codec], pixels)
        rgb = compressed_image_to_rgb(message(data, f"rgb8; {codec} compressed rgb8"))
        np.testing.assert_allclose(rgb, np.broadcast_to(ORANGE, (16, 16, 3)), atol=2)
        assert rgb.flags.c_contiguous

    @pytest.mark.parametrize("extension", [".png", ".jpg"])
    def test_grey(self, extension):
        rgb = compressed_image_to_rgb(message(encoded(extension, np.full((8, 8), 90, np.uint8))))
        np.testing.assert_array_equal(rgb, np.full((8, 8, 3), 90))

    def test_alpha_is_dropped(self):
        pixels = np.full((2, 2, 4), (50, 100, 200, 0), np.uint8)
        rgb = compressed_image_to_rgb(message(encoded(".png", pixels)))
        np.testing.assert_array_equal(rgb, np.broadcast_to(ORANGE, (2, 2, 3)))

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_sixteen_bits_keep_the_high_byte(self, channels):
        stored = (0x32FF, 0x6400, 0xC880, 0)[:channels]
        pixels = np.full((2, 2, channels), stored, np.uint16)
        rgb = compressed_image_to_rgb(message(encoded(".png", pixels)))
        expected = (50, 50, 50) if channels == 1 else ORANGE
        np.testing.assert_array_equal(rgb, np.broadcast_to(expected, (2, 2, 3)))

    @pytest.mark.parametrize("bits", [8, 16])
    def test_mosaic(self, bits):
        mosaic = np.tile(np.array([[200, 100], [100, 50]]), (2, 2))
        mosaic = mosaic.astype(np.uint8) if bits == 8 else mosaic.astype(np.uint16) * 256
        text = f"bayer_rggb{bits}; png compressed "
        rgb = compressed_image_to_rgb(message(encoded(".png", mosaic), text))
        np.testing.assert_array_equal(rgb, np.broadcast_to(ORANGE, (4, 4, 3)))

    def test_exif_rotation_is_ignored(self):
        rgb = compressed_image_to_rgb(message(rotated_by_exif(JPEG)))
        np.testing.assert_array_equal(rgb, compressed_image_to_rgb(message(JPEG)))

    def test_bytes_behind_the_end_are_ignored(self):
        rgb = compressed_image_to_rgb(message(JPEG + bytes(64)))
        np.testing.assert_array_equal(rgb, compressed_image_to_rgb(message(JPEG)))


class TestWrongData:
    @pytest.mark.parametrize("whole", [JPEG, PNG], ids=["jpeg", "png"])
    def test_every_truncation_is_an_error(self, whole):
        for size in {*range(0, len(whole), 5), 1, 2, 3, len(whole) - 2, len(whole) - 1}:
            # A PNG without its last checksum (4 bytes) is still complete in every pixel.
            if whole is PNG and size > len(whole) - 4:
                continue
            with pytest.raises(DecodingError, match=r"truncated|neither|damaged"):
                compressed_image_to_rgb(message(whole[:size]))

    def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture(self):
        thumbnail = encoded(".jpg", np.zeros((8, 8, 3), np.uint8))
        whole = with_header_segment(JPEG, b"Exif\0\0" + thumbnail)
        assert compressed_image_to_rgb(message(whole)).shape == (24, 32, 3)
        with pytest.raises(DecodingError, match="truncated"):
            compressed_image_to_rgb(message(whole[:-20]))

    def test_empty_data(self):
        with pytest.raises(DecodingError, match=r"'jpeg' \(0 bytes\) is neither JPEG nor PNG"):
            compressed_image_to_rgb(message(b""))

    def test_another_codec_is_named(self):
        with pytest.raises(DecodingError, match=r"'h264'.*neither JPEG nor PNG"):
            compressed_image_to_rgb(message(b"\0\0\0\1\x67", "h264"))

    def test_compressed_depth_is_no_picture(self):
        with pytest.raises(DecodingError, match="holds depth"):
            compressed_image_to_rgb(message(PNG, "16UC1; compressedDepth png"))

    @pytest.mark.parametrize("start", [JPEG[:2], PNG[:8]], ids=["jpeg", "png"])
    def test_right_first_bytes_and_nothing_else(self, start):
        tail = b"\xff\xd9" if start == JPEG[:2] else b"\0\0\0\0IEND\xae\x42\x60\x82"
        with pytest.raises(DecodingError, match="damaged"):
            compressed_image_to_rgb(message(start + tail))

    @settings(max_examples=200, deadline=None)
    @given(
        whole=st.sampled_from([JPEG, PNG]),
        edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
        text=st.sampled_from(
            ["", "jpeg", "rgb8; png compressed rgb8", "bayer_gbrg8; png compressed"]
        ),
    )
    def test_damaged_bytes_give_a_picture_or_our_error(self, whole, edits, text):
        data = bytearray(whole)
        for place, value in edits:
            data[place % len(data)] = value
        try:
            rgb = compressed_image_to_rgb(message(data, text))
        except MonoDepthError:
            return
        assert rgb.ndim == 3
        assert rgb.shape[2] == 3
        assert rgb.dtype == np.uint8
