"""Image messages: every encoding against hand-made pixels, padding, byte order, nonsense."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.decoding import image_to_depth, image_to_rgb
from mono_depth_ros.errors import DecodingError, MonoDepthError
from mono_depth_ros.image_encodings import LAYOUTS

ORANGE = (200, 100, 50)


def message(encoding, height, width, data, step, big_endian=False):
    return SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=step,
        is_bigendian=int(big_endian),
        data=bytes(data),
    )


def packed(encoding, pixels, big_endian=False, padding=0):
    """Return the message of pixels (H, W) or (H, W, C), padding bytes of 0xEE behind each row."""
    stored = np.asarray(pixels)
    stored = stored.astype(stored.dtype.newbyteorder(">" if big_endian else "<"))
    height, width = stored.shape[:2]
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xEE)
    return message(encoding, height, width, rows.tobytes(), rows.shape[1], big_endian)


def yuv_to_rgb(y, u, v):
    """BT.601, limited range, one pixel."""
    luma = 255 / 219 * (y - 16)
    red = luma + 1.596 * (v - 128)
    green = luma - 0.813 * (v - 128) - 0.391 * (u - 128)
    blue = luma + 2.018 * (u - 128)
    return np.clip([red, green, blue], 0, 255)


class TestInterleavedColours:
    @pytest.mark.parametrize(
        ("encoding", "stored"),
        [
            ("rgb8", (200, 100, 50)),
            ("bgr8", (50, 100, 200)),
            ("rgba8", (200, 100, 50, 7)),
            ("bgra8", (50, 100, 200, 7)),
            ("8UC3", (50, 100, 200)),
            ("8UC4", (50, 100, 200, 7)),
        ],
    )
    def test_channel_order(self, encoding, stored):
        pixels = np.zeros((2, 3, len(stored)), np.uint8)
        pixels[1, 2] = stored
        rgb = image_to_rgb(packed(encoding, pixels))
        expected = np.zeros((2, 3, 3), np.uint8)
        expected[1, 2] = ORANGE
        np.testing.assert_array_equal(rgb, expected)
        assert rgb.dtype == np.uint8
        assert rgb.flags.c_contiguous

    @pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
    def test_grey_fills_all_three_channels(self, encoding):
        rgb = image_to_rgb(packed(encoding, np.array([[0, 128, 255]], np.uint8)))
        np.testing.assert_array_equal(rgb, [[[0] * 3, [128] * 3, [255] * 3]])

    @pytest.mark.parametrize("big_endian", [False, True])
    @pytest.mark.parametrize(
        ("encoding", "stored"),
        [
            ("mono16", 0xC8FF),
            ("rgb16", (0xC8FF, 0x6400, 0x3280)),
            ("bgr16", (0x3280, 0x6400, 0xC8FF)),
            ("rgba16", (0xC8FF, 0x6400, 0x3280, 9)),
            ("bgra16", (0x3280, 0x6400, 0xC8FF, 9)),
        ],
    )
    def test_sixteen_bits_keep_the_high_byte(self, encoding, stored, big_endian):
        pixels = np.full((2, 2, *np.shape(stored)), stored, np.uint16)
        rgb = image_to_rgb(packed(encoding, pixels, big_endian))
        expected = (200, 200, 200) if encoding == "mono16" else ORANGE
        np.testing.assert_array_equal(rgb, np.broadcast_to(expected, (2, 2, 3)))

    def test_unpadded_rgb8_is_a_read_only_view_and_the_rest_are_copies(self):
        pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        source = packed("rgb8", pixels)
        view = image_to_rgb(source)
        assert np.shares_memory(view, np.frombuffer(source.data, np.uint8))
        assert not view.flags.writeable
        for copied in (packed("rgb8", pixels, padding=1), packed("bgr8", pixels)):
            rgb = image_to_rgb(copied)
            assert not np.shares_memory(rgb, np.frombuffer(copied.data, np.uint8))
            assert rgb.flags.writeable


class TestBayer:
    # The colour at (row 0, column 0), (0, 1), (1, 0), (1, 1), as the ROS name spells it.
    PATTERNS = ("rggb", "bggr", "gbrg", "grbg")

    @staticmethod
    def sites(pattern):
        """Return (4, 4) letters of a mosaic."""
        return np.tile(np.array(list(pattern)).reshape(2, 2), (2, 2))

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_one_colour_everywhere(self, pattern, bits):
        levels = dict(zip("rgb", ORANGE, strict=True))
        mosaic = np.vectorize(levels.get)(self.sites(pattern)).astype(np.uint8)
        if bits == 16:
            mosaic = mosaic.astype(np.uint16) * 256 + 255
        rgb = image_to_rgb(packed(f"bayer_{pattern}{bits}", mosaic))
        np.testing.assert_array_equal(rgb, np.broadcast_to(ORANGE, (4, 4, 3)))

    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_inner_pixels_of_a_gradient_are_bilinear(self, pattern):
        # value = 40 + 10 column + 4 row, the same plane in all colours: bilinear interpolation of
        # a plane gives the plane back, so each inner pixel is grey with its own value.
        rows, columns = np.indices((4, 4))
        mosaic = (40 + 10 * columns + 4 * rows).astype(np.uint8)
        rgb = image_to_rgb(packed(f"bayer_{pattern}8", mosaic))
        inner = mosaic[1:3, 1:3]
        np.testing.assert_array_equal(rgb[1:3, 1:3], np.stack([inner] * 3, axis=-1))

    def test_a_single_red_site(self):
        # Site (2, 2) of rggb is red; its 8 neighbours get 1/2 (beside) or 1/4 (diagonal) of it.
        mosaic = np.zeros((5, 5), np.uint8)
        mosaic[2, 2] = 200
        rgb = image_to_rgb(packed("bayer_rggb8", mosaic))
        red = [[50, 100, 50], [100, 200, 100], [50, 100, 50]]
        np.testing.assert_array_equal(rgb[1:4, 1:4, 0], red)
        assert not rgb[..., 1:].any()

    def test_a_mosaic_too_small_to_interpolate_is_refused(self):
        with pytest.raises(DecodingError, match=r"4x2.*3x3"):
            image_to_rgb(packed("bayer_rggb8", np.zeros((2, 4), np.uint8)))


class TestYuv:
    # (Y, U, V) of two neighbours that share their colour.
    FIRST, SECOND, U, V = 81, 145, 90, 240
    EXPECTED = np.array([yuv_to_rgb(81, 90, 240), yuv_to_rgb(145, 90, 240)])

    @pytest.mark.parametrize(
        ("encoding", "stored"),
        [
            ("uyvy", (90, 81, 240, 145)),
            ("yuv422", (90, 81, 240, 145)),
            ("yuyv", (81, 90, 145, 240)),
            ("yuv422_yuy2", (81, 90, 145, 240)),
        ],
    )
    def test_packed_422(self, encoding, stored):
        rgb = image_to_rgb(message(encoding, 2, 4, stored * 4, step=8))
        np.testing.assert_allclose(rgb, np.tile(self.EXPECTED, (2, 2, 1)), atol=1)

    @pytest.mark.parametrize("padding", [0, 3])
    @pytest.mark.parametrize(("encoding", "pair"), [("nv12", (90, 240)), ("nv21", (240, 90))])
    def test_semi_planar_420(self, encoding, pair, padding):
        rest = [0xEE] * padding
        luma = [81, 145, 81, 145, *rest] * 4
        chroma = [*pair, *pair, *rest] * 2
        rgb = image_to_rgb(message(encoding, 4, 4, luma + chroma, step=4 + padding))
        np.testing.assert_allclose(rgb, np.tile(self.EXPECTED, (4, 2, 1)), atol=1)

    @pytest.mark.parametrize("padding", [0, 3])
    def test_semi_planar_444_has_a_colour_for_every_pixel(self, padding):
        colours = [(81, 90, 240), (145, 54, 34), (41, 240, 110)]
        luma = [y for y, _, _ in colours] + [0xEE] * padding
        chroma = [value for _, u, v in colours for value in (u, v)] + [0xEE] * 2 * padding
        rgb = image_to_rgb(message("nv24", 2, 3, luma * 2 + chroma * 2, step=3 + padding))
        expected = [yuv_to_rgb(*colour) for colour in colours]
        np.testing.assert_allclose(rgb, [expected] * 2, atol=1)

    @pytest.mark.parametrize(
        ("encoding", "height", "width"),
        [("uyvy", 2, 3), ("yuyv", 1, 1), ("nv12", 3, 4), ("nv12", 4, 3), ("nv21", 1, 2)],
    )
    def test_odd_sizes_are_refused(self, encoding, height, width):
        with pytest.raises(DecodingError, match=rf"{width}x{height}.*multiple of 2x"):
            image_to_rgb(message(encoding, height, width, bytes(100), step=20))


class TestWrongImages:
    def test_short_data_names_expected_and_received_bytes(self):
        with pytest.raises(DecodingError, match="must hold 36 bytes, received 35"):
            image_to_rgb(message("rgb8", 3, 4, bytes(35), step=12))

    def test_surplus_data_is_refused(self):
        with pytest.raises(DecodingError, match="must hold 36 bytes, received 48"):
            image_to_rgb(message("rgb8", 3, 4, bytes(48), step=12))

    def test_truncated_semi_planar(self):
        with pytest.raises(DecodingError, match="must hold 24 bytes, received 16"):
            image_to_rgb(message("nv12", 4, 4, bytes(16), step=4))

    @pytest.mark.parametrize("size", [(0, 4), (4, 0), (0, 0)])
    def test_empty_image(self, size):
        with pytest.raises(DecodingError, match="image is empty"):
            image_to_rgb(message("rgb8", *size, b"", step=0))

    def test_missing_data(self):
        with pytest.raises(DecodingError, match="must hold 36 bytes, received 0"):
            image_to_rgb(message("rgb8", 3, 4, b"", step=12))

    def test_step_shorter_than_a_row(self):
        with pytest.raises(DecodingError, match="step 11, a row needs 12 bytes"):
            image_to_rgb(message("rgb8", 3, 4, bytes(33), step=11))

    def test_unknown_encoding_lists_the_known_ones(self):
        with pytest.raises(DecodingError, match=r"'rgb9' is unknown; choose from rgb8, .*nv24"):
            image_to_rgb(message("rgb9", 1, 1, b"abc", step=3))

    @pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
    def test_depth_is_no_picture(self, encoding):
        with pytest.raises(DecodingError, match=r"is depth; .*mono16"):
            image_to_rgb(message(encoding, 1, 1, bytes(4), step=4))

    def test_data_that_is_no_buffer(self):
        source = packed("mono8", np.zeros((1, 1), np.uint8))
        source.data = ["a"]
        with pytest.raises(DecodingError, match="data is list"):
            image_to_rgb(source)


class TestDepth:
    @pytest.mark.parametrize("big_endian", [False, True])
    def test_metres_and_holes(self, big_endian):
        stored = np.array([[1.5, 0.0, -2.0], [np.inf, np.nan, 80.25]], np.float32)
        depth_m = image_to_depth(packed("32FC1", stored, big_endian, padding=5))
        assert depth_m.dtype == np.float32
        nan = np.nan
        np.testing.assert_array_equal(depth_m, [[1.5, nan, nan], [nan, nan, 80.25]])

    @pytest.mark.parametrize("big_endian", [False, True])
    def test_millimetres_and_holes(self, big_endian):
        stored = np.array([[0, 1, 1234, 65535]], np.uint16)
        depth_m = image_to_depth(packed("16UC1", stored, big_endian, padding=1))
        np.testing.assert_array_equal(depth_m, np.float32([[np.nan, 0.001, 1.234, 65.535]]))

    def test_the_message_is_left_alone(self):
        source = packed("32FC1", np.zeros((1, 2), np.float32))
        source.data = np.frombuffer(source.data, np.uint8).copy()
        image_to_depth(source)[:] = 7
        assert not source.data.any()

    def test_a_picture_is_no_depth(self):
        with pytest.raises(DecodingError, match="'mono16' is no depth image; publish 32FC1"):
            image_to_depth(packed("mono16", np.zeros((1, 1), np.uint16)))

    def test_truncated(self):
        with pytest.raises(DecodingError, match="must hold 16 bytes, received 15"):
            image_to_depth(message("32FC1", 2, 2, bytes(15), step=8))


class TestAnyImage:
    @given(
        encoding=st.sampled_from(sorted(LAYOUTS)),
        blocks=st.tuples(st.integers(2, 4), st.integers(2, 4)),
        padding=st.integers(0, 9),
        big_endian=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_row_padding_and_byte_order_change_nothing(
        self, encoding, blocks, padding, big_endian, seed
    ):
        layout = LAYOUTS[encoding]
        height, width = 2 * blocks[0], 2 * blocks[1]
        row_bytes = width * layout.channels * layout.bytes_each
        rows = int(height * layout.buffer_rows)
        data = np.random.default_rng(seed).integers(0, 256, (rows, row_bytes), np.uint8)
        plain = message(encoding, height, width, data.tobytes(), row_bytes)
        if big_endian and layout.bytes_each == 2:
            data = data.reshape(rows, -1, 2)[..., ::-1].reshape(rows, row_bytes)
        if encoding == "nv24":
            luma = np.pad(data[:height], ((0, 0), (0, padding)))
            chroma = data[height:].reshape(height, 2 * row_bytes)
            padded = luma.tobytes() + np.pad(chroma, ((0, 0), (0, 2 * padding))).tobytes()
        else:
            padded = np.pad(data, ((0, 0), (0, padding))).tobytes()
        other = message(encoding, height, width, padded, row_bytes + padding, big_endian)
        np.testing.assert_array_equal(image_to_rgb(other), image_to_rgb(plain))

    @settings(max_examples=400)
    @given(
        encoding=st.sampled_from([*sorted(LAYOUTS), "16UC1", "32FC1", "", "jpeg"]),
        height=st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1)),
        width=st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1)),
        step=st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)),
        big_endian=st.booleans(),
        data=st.binary(max_size=400),
        fit=st.booleans(),
    )
    def test_nonsense_gives_an_array_or_our_error(
        self, encoding, height, width, step, big_endian, data, fit
    ):
        if fit:
            data = data[: step * height].ljust(min(step * height, 400), b"\x55")
        source = message(encoding, height, width, data, step, big_endian)
        for decode, shape in (
            (image_to_rgb, (height, width, 3)),
            (image_to_depth, (height, width)),
        ):
            try:
                decoded = decode(source)
            except MonoDepthError:
                continue
            assert decoded.shape == shape
            assert decoded.flags.c_contiguous
