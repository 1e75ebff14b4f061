from __future__ import annotations

import sqlite3

import numpy as np
import pytest
import yaml
from rosbags.interfaces import QosDurability

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.decoding import (
    camera_info_to_intrinsics,
    image_to_depth,
    image_to_rgb,
    point_cloud_fields,
)
from mono_depth_ros.errors import BagError, ShapeError
from mono_depth_ros.geometry import Intrinsics, transform_from_quaternion

STAMP_NS = 1_776_863_762_100_071_637
STORAGES = ["mcap", "sqlite3"]


def header_ns(message):
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def written(path, storage, write):
    """Write with `write(writer)` and return everything read back."""
    with BagWriter(path, storage) as writer:
        write(writer)
    with BagReader(path) as reader:
        return list(reader.messages())


@pytest.mark.parametrize("storage", STORAGES)
def test_image(tmp_path, storage):
    rgb = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    write = lambda writer: writer.write_image("/image", STAMP_NS, "camera", rgb)  # noqa: E731
    [(topic, log_time_ns, message)] = written(tmp_path / "bag", storage, write)
    assert (topic, log_time_ns, header_ns(message)) == ("/image", STAMP_NS, STAMP_NS)
    assert message.header.frame_id == "camera"
    assert (message.encoding, message.step, message.is_bigendian) == ("rgb8", 15, 0)
    np.testing.assert_array_equal(image_to_rgb(message), rgb)


@pytest.mark.parametrize("storage", STORAGES)
def test_depth_keeps_nan_and_every_bit(tmp_path, storage):
    depth_m = np.array([[1.5, np.nan, 0.1], [80.0, 3e-5, 2.0]], np.float32)
    write = lambda writer: writer.write_depth("/depth", 7, "camera", depth_m)  # noqa: E731
    [(_, _, message)] = written(tmp_path / "bag", storage, write)
    assert (message.encoding, message.height, message.width, message.step) == ("32FC1", 2, 3, 12)
    np.testing.assert_array_equal(image_to_depth(message), depth_m)


@pytest.mark.parametrize("storage", STORAGES)
def test_camera_info(tmp_path, storage):
    camera = Intrinsics(fx=100.0, fy=101.0, cx=31.5, cy=23.5, width=64, height=48)
    write = lambda writer: writer.write_camera_info("/info", 7, "camera", camera)  # noqa: E731
    [(_, _, message)] = written(tmp_path / "bag", storage, write)
    assert message.p.tolist() == [100, 0, 31.5, 0, 0, 101, 23.5, 0, 0, 0, 1, 0]
    assert message.d.tolist() == [0.0] * 5
    assert camera_info_to_intrinsics(message) == camera


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("shape", [(4,), (2, 3), (0,)])
def test_cloud_with_padding_and_odd_fields(tmp_path, storage, shape):
    dtype = np.dtype(
        {
            "names": ["x", "y", "z", "ring", "t", "normal"],
            "formats": ["<f4", "<f4", "<f4", "<u2", "<f8", ("<f4", (3,))],
            "offsets": [0, 4, 8, 16, 24, 32],
            "itemsize": 48,
        }
    )
    points = np.zeros(shape, dtype)
    rng = np.random.default_rng(1)
    for name in dtype.names:
        points[name] = rng.integers(0, 9, points[name].shape)
    write = lambda writer: writer.write_points("/points", 7, "lidar", points)  # noqa: E731
    [(_, _, message)] = written(tmp_path / "bag", storage, write)
    assert (message.height, message.width) == (shape if len(shape) == 2 else (1, shape[0]))
    assert (message.point_step, message.row_step) == (48, 48 * message.width)
    assert message.is_dense
    fields = point_cloud_fields(message)
    assert list(fields) == list(dtype.names)
    for name in dtype.names:
        np.testing.assert_array_equal(fields[name], points.ravel()[name])


def test_cloud_with_nan_is_not_dense_and_big_endian_is_turned(tmp_path):
    points = np.zeros(2, [(name, ">f4") for name in "xyz"])
    points["x"], points["z"] = [1.0, np.nan], [2.0, 3.0]
    write = lambda writer: writer.write_points("/points", 7, "lidar", points)  # noqa: E731
    [(_, _, message)] = written(tmp_path / "bag", "mcap", write)
    assert not message.is_dense
    assert not message.is_bigendian
    assert message.data.view("<f4").tolist()[:3] == [1.0, 0.0, 2.0]


@pytest.mark.parametrize("storage", STORAGES)
def test_transforms_are_latched_in_the_metadata(tmp_path, storage):
    # A quarter turn about z: child x becomes parent y.
    matrix = np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], float)

    def write(writer):
        writer.write_transforms("/tf_static", 7, [("base_link", "lidar", matrix)])
        writer.write_transforms("/tf", 8, [("odom", "base_link", np.eye(4))])

    (_, _, message), _ = written(tmp_path / "bag", storage, write)
    [stamped] = message.transforms
    assert (stamped.header.frame_id, stamped.child_frame_id) == ("base_link", "lidar")
    t, q = stamped.transform.translation, stamped.transform.rotation
    assert (t.x, t.y, t.z) == (1.0, 2.0, 3.0)
    half = 0.5**0.5
    np.testing.assert_allclose((q.x, q.y, q.z, q.w), (0, 0, half, half), atol=1e-15)
    read = transform_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
    np.testing.assert_allclose(read, matrix, atol=1e-15)
    with BagReader(tmp_path / "bag") as reader:
        durability = {topic: qos[0].durability for topic, qos in reader.qos.items()}
    assert durability["/tf_static"] is QosDurability.TRANSIENT_LOCAL
    assert durability["/tf"] is QosDurability.VOLATILE
    metadata = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())
    information = metadata["rosbag2_bagfile_information"]
    assert (information["version"], information["message_count"]) == (9, 2)
    offered = {
        entry["topic_metadata"]["name"]: entry["topic_metadata"]["offered_qos_profiles"]
        for entry in information["topics_with_message_count"]
    }
    assert offered["/tf_static"][0]["durability"] == "transient_local"


def test_raw_bytes_are_copied_unchanged_with_their_definition(tmp_path):
    definition = (
        "uint8 number\nmy_msgs/Inner inner\n" + "=" * 80 + "\nMSG: my_msgs/Inner\nuint8 a\n"
    )
    with BagWriter(tmp_path / "one") as writer:
        cdr = b"\0\1\0\0\x05\x06"
        writer.write_raw("/mine", "my_msgs/msg/Outer", 5, cdr, definition=definition)
    with BagReader(tmp_path / "one") as reader, BagWriter(tmp_path / "two", "sqlite3") as writer:
        for topic, msgtype, log_time_ns, data in reader.raw_messages():
            writer.write_raw(
                topic, msgtype, log_time_ns, data, definition=reader.definitions[msgtype]
            )
    with BagReader(tmp_path / "two") as reader:
        assert list(reader.raw_messages()) == [("/mine", "my_msgs/msg/Outer", 5, cdr)]
        [(_, _, message)] = reader.messages(["/mine"])
    assert (message.number, message.inner.a) == (5, 6)


def test_topics_counts_and_filter(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        for stamp_ns in (1, 2, 3):
            writer.write_depth("/a", stamp_ns, "", np.ones((1, 1)))
        writer.write_transforms("/tf", 2, [])
    with BagReader(tmp_path / "bag") as reader:
        assert reader.topics == {"/a": "sensor_msgs/msg/Image", "/tf": "tf2_msgs/msg/TFMessage"}
        assert reader.counts == {"/a": 3, "/tf": 1}
        assert [stamp for _, stamp, _ in reader.messages(["/a"])] == [1, 2, 3]
        with pytest.raises(BagError, match=r"no topic /b; it has /a \(sensor_msgs/msg/Image\)"):
            next(reader.messages(["/b"]))


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), BagWriter(tmp_path / "bag") as writer:
        writer.write_depth("/a", 1, "", np.ones((1, 1)))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_the_bag_appears_when_it_is_complete(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_depth("/a", 1, "", np.ones((1, 1)))
        assert not (tmp_path / "bag").exists()
    assert sorted(p.name for p in (tmp_path / "bag").iterdir()) == ["bag.mcap", "metadata.yaml"]
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]


def test_writer_refuses_what_it_cannot_write(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(BagError, match="exists already"), BagWriter(tmp_path / "there"):
        pass
    with pytest.raises(BagError, match="mcap, sqlite3"):
        BagWriter(tmp_path / "bag", "db4")
    with pytest.raises(BagError, match="`with` statement"):
        BagWriter(tmp_path / "bag").write_depth("/a", 1, "", np.ones((1, 1)))
    with BagWriter(tmp_path / "bag") as writer:
        with pytest.raises(BagError, match="ROS 2 Jazzy lacks"):
            writer.write_raw("/x", "my_msgs/msg/Outer", 1, b"\0\1\0\0")
        with pytest.raises(BagError, match="not readable"):
            writer.write_raw("/x", "my_msgs/msg/Outer", 1, b"\0\1\0\0", definition="what?")
        with pytest.raises(ShapeError, match="uint8"):
            writer.write_image("/x", 1, "", np.ones((2, 2, 3)))
        with pytest.raises(ShapeError, match="float metres"):
            writer.write_depth("/x", 1, "", np.ones((2, 2), int))
        with pytest.raises(ShapeError, match="structured"):
            writer.write_points("/x", 1, "", np.ones((2, 3)))
        with pytest.raises(ShapeError, match="int64"):
            writer.write_points("/x", 1, "", np.ones(2, [("x", np.int64)]))
        with pytest.raises(ShapeError, match="2\\^31 s"):
            writer.write_depth("/x", -1, "", np.ones((2, 2)))
        with pytest.raises(ShapeError, match=r"\(4, 4\)"):
            writer.write_transforms("/tf", 1, [("a", "b", np.eye(3))])


@pytest.mark.parametrize("method", ["write", "close"])
def test_what_sqlite_refuses_is_a_bag_error_and_leaves_nothing(tmp_path, monkeypatch, method):
    def refuse(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(f"rosbags.rosbag2.storage_sqlite3.Sqlite3Writer.{method}", refuse)
    with pytest.raises(BagError, match="disk is full"), BagWriter(tmp_path / "b", "sqlite3") as w:
        w.write_depth("/depth", 7, "camera", np.ones((2, 3), np.float32))
    assert not list(tmp_path.iterdir())


def test_a_database_that_cannot_be_opened_is_a_bag_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(BagError, match="locked"), BagWriter(tmp_path / "b", "sqlite3"):
        pass
    assert not list(tmp_path.iterdir())


def test_an_idl_definition_is_taken_too(tmp_path):
    definition = "module my_msgs { module msg { struct Level { float value; }; }; };"
    cdr = b"\0\1\0\0" + np.float32(2.5).tobytes()
    with BagWriter(tmp_path / "one") as writer:
        writer.write_raw("/level", "my_msgs/msg/Level", 5, cdr, definition=definition)
    with BagReader(tmp_path / "one") as reader:
        [(_, _, message)] = reader.messages()
    assert message.value == 2.5
