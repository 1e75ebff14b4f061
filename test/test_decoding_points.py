"""PointCloud2 messages: field order, padding, byte order, missing fields, nonsense."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.decoding import point_cloud_fields, point_cloud_to_xyz
from mono_depth_ros.errors import DecodingError, MonoDepthError

TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def field(name, offset, datatype=7, count=1):
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=count)


def cloud(fields, data, point_step, width, height=1, row_step=None, big_endian=False):
    return SimpleNamespace(
        fields=fields,
        data=bytes(data),
        point_step=point_step,
        width=width,
        height=height,
        row_step=width * point_step if row_step is None else row_step,
        is_bigendian=big_endian,
        is_dense=True,
    )


XYZ = [field("x", 0), field("y", 4), field("z", 8)]


class TestLayouts:
    def test_plain_xyz(self):
        stored = np.array([[1, 2, 3], [4, 5, np.nan]], "<f4")
        xyz = point_cloud_to_xyz(cloud(XYZ, stored.tobytes(), 12, 2))
        assert xyz.dtype == np.float32
        assert xyz.flags.c_contiguous
        np.testing.assert_array_equal(xyz, stored)

    def test_fields_in_another_order_with_gaps(self):
        # 20 bytes per point: z at 2, intensity at 7, x at 8, y at 15, the rest unused.
        data = bytearray(40)
        for point, (x, y, z, intensity) in enumerate([(1, 2, 3, 9), (4, 5, 6, 8)]):
            start = 20 * point
            for offset, value in ((2, z), (8, x), (15, y)):
                data[start + offset : start + offset + 4] = np.float32(value).tobytes()
            data[start + 7] = intensity
        fields = [field("z", 2), field("intensity", 7, 2), field("x", 8), field("y", 15)]
        source = cloud(fields, data, 20, 2)
        np.testing.assert_array_equal(point_cloud_to_xyz(source), [[1, 2, 3], [4, 5, 6]])
        np.testing.assert_array_equal(point_cloud_fields(source)["intensity"], [9, 8])

    def test_organised_cloud_with_row_padding_is_read_row_by_row(self):
        stored = np.arange(18, dtype="<f4").reshape(2, 3, 3)
        rows = [row.tobytes() + b"\xee" * 7 for row in stored]
        source = cloud(XYZ, b"".join(rows), 12, 3, height=2, row_step=43)
        np.testing.assert_array_equal(point_cloud_to_xyz(source), stored.reshape(6, 3))

    def test_big_endian_double(self):
        stored = np.array([[1.5, -2.25, 1e300]], ">f8")
        fields = [field("x", 0, 8), field("y", 8, 8), field("z", 16, 8)]
        source = cloud(fields, stored.tobytes(), 24, 1, big_endian=True)
        np.testing.assert_array_equal(point_cloud_to_xyz(source), [[1.5, -2.25, np.inf]])
        z = point_cloud_fields(source)["z"]
        assert z.dtype == np.dtype("=f8")
        assert z[0] == 1e300

    def test_every_type_and_several_values(self):
        dtype = np.dtype(
            [(f"f{code}", "<" + kind, (2,) if code % 2 else ()) for code, kind in TYPES.items()]
        )
        stored = np.zeros(3, dtype)
        for name in dtype.names:
            stored[name][1] = 100
        fields = [
            field(f"f{code}", dtype.fields[f"f{code}"][1], code, 2 if code % 2 else 1)
            for code in TYPES
        ]
        read = point_cloud_fields(cloud(fields, stored.tobytes(), dtype.itemsize, 3))
        for code, kind in TYPES.items():
            values = read[f"f{code}"]
            assert values.dtype == np.dtype(kind)
            expected = [[0, 0], [100, 100], [0, 0]] if code % 2 else [0, 100, 0]
            np.testing.assert_array_equal(values, expected)

    def test_count_zero_means_one_value(self):
        fields = [field(name, 4 * place, count=0) for place, name in enumerate("xyz")]
        xyz = point_cloud_to_xyz(cloud(fields, np.float32([1, 2, 3]).tobytes(), 12, 1))
        np.testing.assert_array_equal(xyz, [[1, 2, 3]])

    def test_row_step_of_a_single_row_does_not_matter(self):
        xyz = point_cloud_to_xyz(cloud(XYZ, bytes(24), 12, 2, row_step=0))
        assert xyz.shape == (2, 3)

    def test_no_points(self):
        assert point_cloud_to_xyz(cloud(XYZ, b"", 12, 0)).shape == (0, 3)
        assert point_cloud_fields(cloud(XYZ, b"", 12, 0, height=0))["x"].shape == (0,)

    def test_the_arrays_are_the_callers_own(self):
        source = cloud(XYZ, b"", 12, 1)
        source.data = np.zeros(12, np.uint8)
        point_cloud_to_xyz(source)[:] = 1
        point_cloud_fields(source)["x"][:] = 1
        assert not source.data.any()


class TestWrongClouds:
    def test_missing_field_lists_those_there_are(self):
        with pytest.raises(DecodingError, match=r"no field z with one value.*fields are x, y$"):
            point_cloud_to_xyz(cloud(XYZ[:2], bytes(12), 12, 1))

    def test_several_values_per_coordinate(self):
        with pytest.raises(DecodingError, match="no field z with one value"):
            point_cloud_to_xyz(cloud([*XYZ[:2], field("z", 8, count=2)], bytes(16), 16, 1))

    def test_short_data_names_expected_and_received_bytes(self):
        with pytest.raises(DecodingError, match="24 bytes, received 23"):
            point_cloud_to_xyz(cloud(XYZ, bytes(23), 12, 2))

    def test_rows_that_overlap(self):
        with pytest.raises(DecodingError, match="row_step 12 needs rows of 24"):
            point_cloud_to_xyz(cloud(XYZ, bytes(48), 12, 2, height=2, row_step=12))

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ([field("x", 0, 9)], "'x' has datatype 9"),
            ([field("x", 9)], "'x' of 1 values of float32 at offset 9 leaves its point of 12"),
            ([field("x", 0, count=4)], "leaves its point"),
            ([field("x", 0), field("x", 4)], "name of its own"),
            ([field("", 0)], "name of its own"),
            ([], "name of its own"),
        ],
    )
    def test_impossible_fields(self, fields, reason):
        with pytest.raises(DecodingError, match=reason):
            point_cloud_fields(cloud(fields, bytes(12), 12, 1))


@st.composite
def layouts(draw):
    """Return a structured dtype of x, y, z and up to 3 more fields, in any order, with gaps."""
    names = draw(st.permutations(["x", "y", "z", *draw(st.sampled_from([[], ["i"], ["i", "t"]]))]))
    order = draw(st.sampled_from("<>"))
    formats, offsets, end = [], [], 0
    for name in names:
        code = draw(st.sampled_from([7, 8] if name in "xyz" else sorted(TYPES)))
        offsets.append(end + draw(st.integers(0, 3)))
        formats.append(order + TYPES[code])
        end = offsets[-1] + np.dtype(formats[-1]).itemsize
    itemsize = end + draw(st.integers(0, 5))
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})


class TestAnyCloud:
    @given(
        dtype=layouts(),
        size=st.tuples(st.integers(1, 3), st.integers(1, 4)),
        padding=st.integers(0, 5),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_what_was_written_is_read(self, dtype, size, padding, seed):
        height, width = size
        values = np.random.default_rng(seed).integers(0, 100, (height, width, len(dtype.names)))
        stored = np.zeros(size, dtype)
        for place, name in enumerate(dtype.names):
            stored[name] = values[..., place]
        fields = []
        for name in dtype.names:
            kind, offset = dtype.fields[name][:2]
            code = next(code for code, known in TYPES.items() if known == kind.str[1:])
            fields.append(field(name, offset, code))
        data = b"".join(row.tobytes() + bytes(padding) for row in stored)
        source = cloud(
            fields,
            data,
            dtype.itemsize,
            width,
            height,
            row_step=width * dtype.itemsize + padding,
            big_endian=dtype.fields["x"][0].str[0] == ">",
        )
        read = point_cloud_fields(source)
        for place, name in enumerate(dtype.names):
            np.testing.assert_array_equal(read[name], values[..., place].reshape(-1))
        expected = np.stack([stored[name].reshape(-1) for name in "xyz"], axis=1)
        np.testing.assert_array_equal(point_cloud_to_xyz(source), expected)

    @settings(max_examples=400)
    @given(
        fields=st.lists(
            st.builds(
                field,
                st.sampled_from(["x", "y", "z", "rgb", ""]),
                st.one_of(st.integers(0, 30), st.integers(0, 2**32 - 1)),
                st.integers(0, 255),
                st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)),
            )
            | st.sampled_from(XYZ),
            max_size=5,
        ),
        data=st.binary(max_size=200),
        steps=st.tuples(st.integers(0, 40), st.integers(0, 80))
        | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        size=st.tuples(st.integers(0, 5), st.integers(0, 5))
        | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        big_endian=st.booleans(),
    )
    def test_nonsense_gives_an_array_or_our_error(self, fields, data, steps, size, big_endian):
        source = cloud(fields, data, steps[0], size[0], size[1], steps[1], big_endian)
        for decode in (point_cloud_to_xyz, point_cloud_fields):
            try:
                decode(source)
            except MonoDepthError:
                continue
