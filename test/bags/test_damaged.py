from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mono_depth_ros.bags.messages import depth_message
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.errors import BagError

STORE = get_typestore(Stores.ROS2_JAZZY)
COUNT = 40


def write_bag(path, mode=CompressionMode.NONE):
    """Write COUNT depth images of 60 kB, in several chunks of about 1 MB each."""
    rng = np.random.default_rng(0)
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/d", "sensor_msgs/msg/Image", typestore=STORE)
        for number in range(COUNT):
            message = depth_message(number, "camera", rng.random((100, 150), np.float32))
            cdr = STORE.serialize_cdr(message, "sensor_msgs/msg/Image")
            writer.write(connection, number, cdr)
    return path / f"{path.name}.mcap"


def read_until_error(path):
    """Return the messages' numbers and the error that ended the reading, or None."""
    numbers = []
    try:
        with BagReader(path) as reader:
            for _, log_time_ns, message in reader.messages():
                assert message.header.stamp.nanosec == log_time_ns
                assert len(message.data) == 60_000
                numbers.append(log_time_ns)
    except BagError as error:
        return numbers, str(error)
    return numbers, None


@pytest.fixture(scope="module", params=[CompressionMode.NONE, CompressionMode.STORAGE])
def whole(request, tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    return write_bag(folder / "bag", request.param).read_bytes()


def test_every_cut_gives_a_prefix_and_then_an_error(whole, tmp_path):
    file = tmp_path / "cut.mcap"
    complete = []
    for size in np.linspace(8, len(whole) - 1, 30).astype(int):
        file.write_bytes(whole[:size])
        numbers, error = read_until_error(file)
        assert numbers == list(range(len(numbers)))
        assert error is not None
        assert "cut.mcap" in error
        complete.append(len(numbers))
    assert complete == sorted(complete)
    assert complete[0] == 0
    assert complete[-1] == COUNT


def test_uncompressed_messages_before_the_cut_are_all_read(tmp_path):
    data = write_bag(tmp_path / "bag").read_bytes()
    # The records of one chunk are stored in order, so message n is complete once its last byte is.
    for number in (0, 3, COUNT - 1):
        message = depth_message(number, "camera", np.zeros((1, 1)))
        start = data.index(STORE.serialize_cdr(message, "sensor_msgs/msg/Image")[:16])
        size = len(STORE.serialize_cdr(_nth(number), "sensor_msgs/msg/Image"))
        file = tmp_path / "cut.mcap"
        for end, expected in ((start + size, number + 1), (start + size - 1, number)):
            file.write_bytes(data[:end])
            assert read_until_error(file)[0] == list(range(expected))


def _nth(number):
    return depth_message(number, "camera", np.zeros((100, 150), np.float32))


def test_a_cut_folder_with_and_without_metadata(tmp_path):
    file = write_bag(tmp_path / "bag")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    numbers, error = read_until_error(tmp_path / "bag")
    assert 0 < len(numbers) < COUNT
    assert "damaged" in error
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert read_until_error(tmp_path / "bag")[0] == numbers


def second_chunk(data):
    """Return the position of the second chunk record (code 6) in an mcap file."""
    position, chunks = 8, 0
    while True:
        code, size = struct.unpack_from("<BQ", data, position)
        chunks += code == 6
        if chunks == 2:
            return position
        position += 9 + size


@pytest.mark.parametrize("with_index", [True, False])
def test_a_wrong_chunk_checksum_is_noticed(tmp_path, with_index):
    file = write_bag(tmp_path / "bag")
    data = bytearray(file.read_bytes())
    chunk = second_chunk(data)
    in_first_chunk = read_until_error_of(file, data[:chunk])[0]
    struct.pack_into("<I", data, chunk + 9 + 24, 12345)
    numbers, error = read_until_error_of(file, data if with_index else data[:-1])
    assert 0 < len(numbers) < COUNT
    assert numbers == in_first_chunk
    assert "damaged" in error
    assert "checksum" in error


def read_until_error_of(file, data):
    file.write_bytes(data)
    return read_until_error(file)


@settings(max_examples=40, deadline=None)
@given(position=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
def test_one_wrong_byte_never_crashes_the_reader(small_bag_bytes, position, value, cut):
    data, file = small_bag_bytes
    changed = bytearray(data)
    index = int(position * (len(data) - 1))
    changed[index] = value
    file.write_bytes(changed[: len(data) // 2 + index // 2] if cut else changed)
    try:
        with BagReader(file) as reader:
            for _ in reader.messages():
                pass
    except BagError:
        pass


@pytest.fixture(scope="module")
def small_bag_bytes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    with BagWriter(folder / "bag") as writer:
        for number in range(3):
            writer.write_depth("/d", number, "camera", np.ones((2, 2)))
    return (folder / "bag" / "bag.mcap").read_bytes(), folder / "changed.mcap"


def test_split_recordings_without_metadata_are_read_in_order(tmp_path):
    for number in (0, 2, 10):
        with BagWriter(tmp_path / f"part{number}") as writer:
            writer.write_depth("/d", number, "", np.ones((1, 1)))
        source = tmp_path / f"part{number}" / f"part{number}.mcap"
        (tmp_path / "split").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "split" / f"split_{number}.mcap")
    with BagReader(tmp_path / "split") as reader:
        assert reader.counts == {"/d": 3}
        assert [stamp for _, stamp, _ in reader.messages()] == [0, 2, 10]


def split_bag(path, storage=StoragePlugin.MCAP):
    """Write numbers 0 to 9, 10 to 19 and 20 to 29 to three files, with their metadata.yaml."""
    suffix = {StoragePlugin.MCAP: "mcap", StoragePlugin.SQLITE3: "db3"}[storage]
    path.mkdir()
    names = [f"bag_{part}.{suffix}" for part in range(3)]
    for part, name in enumerate(names):
        source = path.parent / f"part{part}"
        with BagWriter(source, storage.name.lower()) as writer:
            for number in range(10 * part, 10 * part + 10):
                writer.write_depth("/d", number, "", np.ones((40, 50)))
        (source / f"part{part}.{suffix}").rename(path / name)
    text = (path.parent / "part0" / "metadata.yaml").read_text()
    metadata = yaml.safe_load(text)
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = names
    (path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return [path / name for name in names]


def stamps_and_error(path):
    stamps = []
    try:
        with BagReader(path) as reader:
            stamps += (stamp for _, stamp, _ in reader.messages())
    except BagError as error:
        return stamps, str(error)
    return stamps, None


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("metadata", [True, False])
def test_the_files_after_a_damaged_one_are_read(tmp_path, storage, metadata):
    files = split_bag(tmp_path / "bag", storage)
    if not metadata:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    assert stamps_and_error(tmp_path / "bag") == (list(range(30)), None)
    data = files[1].read_bytes()
    files[1].write_bytes(data[: len(data) * 2 // 3])
    stamps, error = stamps_and_error(tmp_path / "bag")
    before = len(stamps) - 20
    assert 0 < before < 10
    assert stamps == [*range(10 + before), *range(20, 30)]
    assert files[1].name in error and "damaged" in error
    # Two damaged files are both named; of one nothing is left.
    files[0].write_bytes(b"")
    stamps, error = stamps_and_error(tmp_path / "bag")
    assert stamps == [*range(10, 10 + before), *range(20, 30)]
    assert files[0].name in error and files[1].name in error


def test_damage_is_found_without_using_the_messages(tmp_path):
    files = split_bag(tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        assert reader.damage() == reader.damage(["/d"]) == ""
    files[1].write_bytes(files[1].read_bytes()[:-100])
    with BagReader(tmp_path / "bag") as reader:
        assert reader.damage(["/d"]).startswith("bag/bag_1.mcap is damaged: ")


def test_the_files_beside_a_missing_one_are_read(tmp_path):
    files = split_bag(tmp_path / "bag")
    files[1].unlink()
    stamps, error = stamps_and_error(tmp_path / "bag")
    assert stamps == [*range(10), *range(20, 30)]
    assert "lacks bag_1.mcap" in error
    for file in (files[0], files[2]):
        file.unlink()
    with pytest.raises(BagError, match=r"lacks bag_0\.mcap"), BagReader(tmp_path / "bag"):
        pass


def test_message_compression_is_undone_without_metadata(tmp_path):
    file = write_bag(tmp_path / "bag", CompressionMode.MESSAGE)
    assert read_until_error(tmp_path / "bag") == (list(range(COUNT)), None)
    assert read_until_error(file) == (list(range(COUNT)), None)


def test_a_listed_file_that_is_missing_is_named(tmp_path):
    write_bag(tmp_path / "bag").unlink()
    with pytest.raises(BagError, match=r"lacks bag\.mcap"), BagReader(tmp_path / "bag"):
        pass


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "a.bag", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"hello, I am not a bag" * 40])
def test_what_is_no_bag(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BagError, match=name), BagReader(tmp_path / name):
        pass


def test_missing_and_empty_paths(tmp_path):
    with pytest.raises(BagError, match="no bag at"), BagReader(tmp_path / "nothing"):
        pass
    with pytest.raises(BagError, match=r"metadata\.yaml"), BagReader(tmp_path):
        pass
    with pytest.raises(BagError, match="`with` statement"):
        next(BagReader(tmp_path).messages())


def test_a_damaged_database_is_a_bag_error(tmp_path):
    with BagWriter(tmp_path / "bag", "sqlite3") as writer:
        for number in range(50):
            writer.write_depth("/d", number, "", np.ones((20, 20)))
    file = tmp_path / "bag" / "bag.db3"
    data = file.read_bytes()
    file.write_bytes(data[:100])
    with pytest.raises(BagError), BagReader(tmp_path / "bag"):
        pass
    complete = []
    for size in (len(data) // 2, len(data) * 3 // 4):
        file.write_bytes(data[:size])
        stamps = []
        with pytest.raises(BagError, match="damaged"), BagReader(tmp_path / "bag") as reader:
            stamps += (stamp for _, stamp, _ in reader.messages())
        assert stamps == list(range(len(stamps)))
        complete.append(len(stamps))
    assert 10 < complete[0] < complete[1] < 50


@pytest.mark.parametrize("name", [b"frame_id", b"height", b"nanosec"])
def test_a_definition_without_a_field_that_is_read_is_named(tmp_path, name):
    file = write_bag(tmp_path / "bag")
    file.write_bytes(file.read_bytes()[:-1].replace(name, name[:-1] + b"x"))
    with (
        pytest.raises(BagError, match=f"has no {name.decode()}"),
        BagReader(file) as reader,
    ):
        next(reader.messages())


def test_real_recordings_open_and_read():
    bags = Path(__file__).parents[3] / "shared" / "data" / "bags"
    if not bags.is_dir():
        pytest.skip("the real recordings of ../shared/data are not here")
    expected = {
        "ubiquity_raspicam_ros1/aruco_images.bag": 16,
        "embag_luminar_ros1/test.bag": 15,
        "amber_soccer_ros2_mcap_zstdmsg/soccer_goal_12.mcap": 2,
        "amber_soccer_ros2_mcap_zstdmsg": 2,
    }
    for name, count in expected.items():
        with BagReader(bags / name) as reader:
            assert sum(1 for _ in reader.messages()) == count == sum(reader.counts.values())
    with BagReader(bags / "ubiquity_raspicam_ros1" / "aruco_images.bag") as reader:
        _, _, info = next(reader.messages(["/raspicam_node/camera_info"]))
    assert info.k[0] == pytest.approx(1014.3431)  # ROS 1 calls it K


@pytest.mark.parametrize("mode", [CompressionMode.STORAGE, CompressionMode.MESSAGE])
def test_a_missing_decompressor_is_named(tmp_path, monkeypatch, mode):
    file = write_bag(tmp_path / "bag", mode)
    cut = tmp_path / "cut.mcap"
    # Without its index the file is read by our own reader.
    cut.write_bytes(file.read_bytes()[:-100])
    monkeypatch.setattr("mono_depth_ros.bags.compression._ZSTD_MODULE", "absent_zstd")
    with pytest.raises(BagError, match=r"absent_zstd.*pip install"), BagReader(cut) as reader:
        list(reader.messages())
