"""Per-point time of PointCloud2 messages, as the drivers write it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.bags.messages import cloud_message
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.decoding import point_cloud_to_xyz
from mono_depth_ros.decoding_times import point_cloud_times_ns, point_cloud_to_xyz_and_time
from mono_depth_ros.errors import DecodingError

ROOT = Path(__file__).resolve().parents[1]
STAMP_NS = 1_776_863_762_100_071_637
SECOND_NS = 1_000_000_000


def points(**fields):
    """Return a structured array of points at (1, 2, 3) with more fields."""
    arrays = {name: np.asarray(values) for name, values in fields.items()}
    dtype = [*((name, np.float32) for name in "xyz")]
    dtype += [(name, values.dtype, values.shape[1:]) for name, values in arrays.items()]
    stored = np.zeros(len(next(iter(arrays.values()))), dtype)
    stored["x"], stored["y"], stored["z"] = 1, 2, 3
    for name, values in arrays.items():
        stored[name] = values
    return stored


def offsets(stamp_ns=STAMP_NS, **fields):
    """Return the times that are read, relative to the header stamp."""
    return (
        point_cloud_times_ns(cloud_message(stamp_ns, "lidar", points(**fields))) - stamp_ns
    ).tolist()


class TestLayouts:
    def test_velodyne_float_seconds_since_the_stamp_also_before_it(self):
        read = offsets(time=np.float32([-0.0625, 0, 0.03125]))
        assert read == [-62_500_000, 0, 31_250_000]

    @pytest.mark.parametrize("name", ["t", "offset_time", "timestamp", "time_stamp", "time_offset"])
    def test_integer_nanoseconds_since_the_stamp(self, name):
        assert offsets(**{name: np.uint32([0, 7, 99_999_999])}) == [0, 7, 99_999_999]
        assert offsets(**{name: np.int32([-7, 7])}) == [-7, 7]

    @pytest.mark.parametrize("name", ["timestamp", "timestamps", "stamps", "time_stamp", "time"])
    def test_absolute_float_seconds_to_the_resolution_of_a_double(self, name):
        seconds = STAMP_NS / SECOND_NS + np.array([-0.1, 0, 0.1])
        read = offsets(**{name: seconds})
        np.testing.assert_allclose(read, [-100_000_000, 0, 100_000_000], atol=240)

    def test_livox_absolute_float_nanoseconds(self):
        read = offsets(timestamp=np.float64(STAMP_NS) + np.array([0.0, 512, 90_000_128]))
        np.testing.assert_allclose(read, [0, 512, 90_000_128], atol=256)

    def test_luminar_absolute_seconds_and_nanoseconds(self):
        seconds, nanoseconds = divmod(STAMP_NS, SECOND_NS)
        read = offsets(
            time_sec=np.uint32([seconds, seconds - 1]),
            time_nsec=np.uint32([nanoseconds - 3, 999_999_999]),
        )
        assert read == [-3, -nanoseconds - 1]

    def test_big_endian_with_padding(self):
        dtype = np.dtype(
            {
                "names": ["t", "x", "y", "z"],
                "formats": [">u4", ">f4", ">f4", ">f4"],
                "offsets": [1, 8, 12, 16],
                "itemsize": 23,
            }
        )
        stored = np.zeros(2, dtype)
        stored["x"], stored["t"] = [1, 2], [5, 70_000]
        codes = {">u4": 6, ">f4": 7}
        message = SimpleNamespace(
            header=cloud_message(STAMP_NS, "lidar", points(t=np.uint32([0]))).header,
            height=1,
            width=2,
            fields=[
                SimpleNamespace(
                    name=name, offset=dtype.fields[name][1], datatype=codes[kind], count=1
                )
                for name, kind in ((name, dtype.fields[name][0].str) for name in dtype.names)
            ],
            is_bigendian=True,
            point_step=23,
            row_step=46,
            data=stored.tobytes(),
        )
        xyz_m, times_ns = point_cloud_to_xyz_and_time(message)
        np.testing.assert_array_equal(xyz_m[:, 0], [1, 2])
        np.testing.assert_array_equal(times_ns, [STAMP_NS + 5, STAMP_NS + 70_000])

    def test_no_time(self):
        message = cloud_message(STAMP_NS, "lidar", points(intensity=np.float32([1, 2])))
        assert point_cloud_times_ns(message) is None
        assert point_cloud_to_xyz_and_time(message)[0].shape == (2, 3)

    def test_no_points(self):
        times_ns = point_cloud_times_ns(cloud_message(STAMP_NS, "lidar", points(t=np.uint32([]))))
        assert times_ns.shape == (0,)
        assert times_ns.dtype == np.int64


class TestSimulatedClock:
    """A clock that starts at zero: absolute and relative times look alike."""

    @pytest.mark.parametrize("name", ["time", "timestamp"])
    def test_after_some_seconds_the_values_decide(self, name):
        stamp_ns = 12_300_000_000
        assert offsets(stamp_ns, **{name: np.float64([12.25, 12.5])}) == [-50_000_000, 200_000_000]
        assert offsets(stamp_ns, **{name: np.float64([0.25, 0.5])}) == [250_000_000, 500_000_000]

    def test_in_its_first_second_the_name_decides(self):
        assert offsets(SECOND_NS // 2, timestamp=np.float64([0.5, 0.75])) == [0, 250_000_000]
        assert offsets(SECOND_NS // 2, time=np.float64([0, 0.25])) == [0, 250_000_000]


class TestAlignment:
    def test_rows_are_those_of_the_coordinates_and_points_without_return_stay(self):
        stored = points(timestamp=STAMP_NS / SECOND_NS + np.arange(6) / 64).reshape(2, 3)
        stored["x"] = np.arange(6).reshape(2, 3) + 1
        stored["x"][0, 1] = np.nan
        stored["timestamp"][0, 1] = 0.0
        for name in "xyz":
            stored[name][1, 0] = 0
        stored["timestamp"][1, 0] = np.nan
        message = cloud_message(STAMP_NS, "lidar", stored)
        xyz_m, times_ns = point_cloud_to_xyz_and_time(message)
        np.testing.assert_array_equal(xyz_m, point_cloud_to_xyz(message))
        np.testing.assert_array_equal(xyz_m[:, 0], [1, np.nan, 3, 0, 5, 6])
        expected = np.array([0, 0, 2, 0, 4, 5]) * SECOND_NS / 64
        np.testing.assert_allclose(times_ns - STAMP_NS, expected, atol=240)

    def test_a_point_without_return_keeps_a_plausible_time(self):
        stored = points(t=np.uint32([1000, 2000]))
        stored["x"][1] = np.nan
        times_ns = point_cloud_times_ns(cloud_message(STAMP_NS, "lidar", stored))
        np.testing.assert_array_equal(times_ns - STAMP_NS, [1000, 2000])

    @given(
        st.lists(st.integers(-999_000_000, 999_000_000), min_size=1, max_size=20),
        st.integers(2 * SECOND_NS, 2**31 * SECOND_NS - 1),
        st.sampled_from(["pair", "integer", "relative", "absolute"]),
    )
    def test_any_plausible_time_is_read(self, wanted_ns, stamp_ns, layout):
        times_ns = stamp_ns + np.array(wanted_ns)
        fields = {
            "pair": {
                "time_sec": np.uint32(times_ns // SECOND_NS),
                "time_nsec": np.uint32(times_ns % SECOND_NS),
            },
            "integer": {"t": np.int32(wanted_ns)},
            "relative": {"time": np.array(wanted_ns) / SECOND_NS},
            # Of Python's whole numbers, whose quotient is rounded once; NumPy's are rounded twice.
            "absolute": {"timestamp": np.array([int(t) / SECOND_NS for t in times_ns])},
        }[layout]
        resolution_ns = 300 if layout == "absolute" else 0
        np.testing.assert_allclose(
            offsets(stamp_ns, **fields), wanted_ns, rtol=0, atol=resolution_ns
        )


class TestWrongTimes:
    @pytest.mark.parametrize(
        "values",
        [
            np.uint32([0, 1_000_000_001]),
            np.float32([0, 1.5]),
            np.float64([0, 90_000_000]),
            np.float64([0, np.nan]),
            np.float64([0, np.inf]),
            np.float64([STAMP_NS / SECOND_NS, 0]),
            np.float64([STAMP_NS / SECOND_NS + 2] * 2),
            np.float64([-1e300, 1e300]),
        ],
        ids=["integer", "float", "float ns", "nan", "infinite", "mixed", "clock", "huge"],
    )
    def test_a_measured_point_too_far_from_the_stamp(self, values):
        with pytest.raises(DecodingError, match=f"field time .* farther than 1 s .*{STAMP_NS} ns"):
            offsets(time=values)

    def test_exactly_a_second_is_accepted(self):
        assert offsets(t=np.uint32([SECOND_NS])) == [SECOND_NS]

    def test_single_precision_cannot_hold_absolute_seconds(self):
        # A float32 of these seconds happens to be exact, and yet says nothing about the others.
        stamp_ns = 1_700_000_000 // 128 * 128 * SECOND_NS
        with pytest.raises(DecodingError, match="float32"):
            offsets(stamp_ns, timestamp=np.float32([stamp_ns / SECOND_NS] * 3))

    def test_a_luminar_clock_of_another_year(self):
        with pytest.raises(DecodingError, match="field time_sec"):
            offsets(time_sec=np.uint32([5]), time_nsec=np.uint32([0]))

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            (np.zeros((2, 2), np.uint32), "2 values of uint32"),
            (np.zeros(2, np.uint16), "1 values of uint16"),
        ],
    )
    def test_fields_that_cannot_be_a_time(self, values, reason):
        with pytest.raises(DecodingError, match=reason):
            offsets(t=values)


def test_a_real_sweep_ends_at_its_stamp():
    bag = ROOT.parent / "shared/data/bags/embag_luminar_ros1/test.bag"
    if not bag.is_file():
        pytest.skip("the real recording of ../shared/data is not here")
    with BagReader(bag) as reader:
        for _, _, message in reader.messages(["/luminar_pointcloud"]):
            xyz_m, times_ns = point_cloud_to_xyz_and_time(message)
            stamp = message.header.stamp
            assert len(xyz_m) == len(times_ns) == message.width
            assert times_ns[-1] == times_ns.max() == stamp.sec * SECOND_NS + stamp.nanosec
            # One sweep of 10 Hz.
            assert 80_000_000 < np.ptp(times_ns) < 100_000_000
