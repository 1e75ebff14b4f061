from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from wall_scene import CAMERA, PERIOD_NS, START_NS, wall_depth

from mono_depth_ros.bags.messages import camera_info_message
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.topics import find_topics
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.errors import BagError, CalibrationError, ConfigError
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Recording
from mono_depth_ros.geometry import Intrinsics, lidar_to_depth


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_frames_carry_image_camera_and_lidar_in_place(make_bag, storage):
    recording = Recording(make_bag(storage=storage), FrameConfig())
    assert (recording.images, recording.truths) == (4, 4)
    frames = list(recording.frames())
    assert [frame.stamp_ns for frame in frames] == [START_NS + i * PERIOD_NS for i in range(4)]
    for index, frame in enumerate(frames):
        assert frame.truth_stamp_ns - frame.stamp_ns == 10_000_000
        assert frame.camera == CAMERA
        assert (frame.rgb == index).all()
        depth_m = lidar_to_depth(frame.lidar_points_m, frame.camera_from_lidar, frame.camera)
        np.testing.assert_allclose(depth_m, wall_depth(index), rtol=1e-5)


def test_depth_images_as_truth(make_bag):
    recording = Recording(make_bag(lidar=False, transforms=False), FrameConfig(truth="depth"))
    assert recording.topics.truth == "/ground_truth/depth"
    for index, frame in enumerate(recording.frames()):
        assert frame.lidar_points_m is None
        np.testing.assert_array_equal(frame.depth_m, wall_depth(index))


def test_truth_alone_leaves_images_unread(make_bag):
    frames = list(Recording(make_bag(), FrameConfig()).frames(with_images=False))
    assert [frame.rgb for frame in frames] == [None] * 4
    assert all(frame.lidar_points_m is not None for frame in frames)


def test_recordings_ordered_by_topic_need_no_buffer(make_bag, tmp_path):
    with BagReader(make_bag()) as reader:
        messages = sorted(reader.raw_messages(), key=lambda record: (record[0], record[2]))
    with BagWriter(tmp_path / "sorted", "sqlite3") as writer:
        for log_time_ns, (topic, msgtype, _, cdr) in enumerate(messages):
            writer.write_raw(topic, msgtype, log_time_ns, cdr)
    frames = list(Recording(tmp_path / "sorted", FrameConfig()).frames())
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [0, 1, 2, 3]


def test_tolerance_decides_and_its_message_shows_the_clocks(make_bag):
    bag = make_bag(lidar_delay_ns=30_000_000)
    assert len(Recording(bag, FrameConfig(tolerance_ms=30.0)).pairs) == 4
    with pytest.raises(BagError, match=r"within 29\.9 ms .*1700000000\.000"):
        Recording(bag, FrameConfig(tolerance_ms=29.9))


def test_max_frames_are_spread_evenly(make_bag):
    recording = Recording(make_bag(frames=5), FrameConfig(max_frames=3))
    assert recording.pairs.tolist() == [[0, 0], [2, 2], [4, 4]]


def test_extrinsics_from_the_configuration_replace_missing_transforms(make_bag):
    bag = make_bag(transforms=False)
    with pytest.raises(BagError, match="'camera' and 'lidar'; the recording holds nothing"):
        Recording(bag, FrameConfig())
    given = (1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0)
    recording = Recording(bag, FrameConfig(camera_from_lidar=given))
    np.testing.assert_array_equal(recording.camera_from_lidar[:3, 3], [1, 2, 3])


def test_a_bag_without_lidar_says_what_it_has(make_bag):
    with pytest.raises(BagError, match=r"no LiDAR cloud; it has .*/camera/image_raw"):
        Recording(make_bag(lidar=False), FrameConfig())


def test_several_lidars_or_cameras_must_be_named(make_bag):
    cloud = np.zeros(1, [(name, np.float32) for name in "xyz"])
    rgb = np.zeros((12, 16, 3), np.uint8)

    def extra(writer, stamp_ns):
        writer.write_points("/rear/points", stamp_ns, "lidar", cloud)
        writer.write_image("/rear/image_raw", stamp_ns, "camera", rgb)
        writer.write_camera_info("/rear/camera_info", stamp_ns, "camera", CAMERA)

    bag = make_bag(extra=extra)
    with pytest.raises(BagError, match="camera image: /camera/image_raw, /rear/image_raw; name"):
        Recording(bag, FrameConfig())
    one_camera = FrameConfig(image_topic="/rear/image_raw")
    with pytest.raises(BagError, match="LiDAR cloud: /lidar/points, /rear/points; name one"):
        Recording(bag, one_camera)
    with pytest.raises(BagError, match="no topic /nowhere of type"):
        Recording(bag, FrameConfig(image_topic="/nowhere"))
    with BagReader(bag) as reader:
        topics = find_topics(reader, "/rear/image_raw", truth="/rear/points")
    assert topics.camera_info == "/rear/camera_info"


def test_camera_info_of_another_size_is_an_error(make_bag):
    other = Intrinsics(fx=20.0, fy=20.0, cx=7.5, cy=5.5, width=32, height=24)
    with pytest.raises(BagError, match=r"none of 4 frames is left.*12x16.*24x32"):
        list(Recording(make_bag(camera=other), FrameConfig()).frames())


def test_a_bag_without_camera_info_is_an_error(make_bag):
    with pytest.raises(BagError, match="no camera_info of /camera/image_raw"):
        Recording(make_bag(camera=None), FrameConfig())


def test_a_damaged_bag_gives_what_lies_before_the_damage_unless_refused(make_bag):
    bag = make_bag(frames=30)
    file = bag / "bag.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(BagError, match=r"damaged.*accept_damaged"):
        Recording(bag, FrameConfig(accept_damaged=False))
    recording = Recording(bag, FrameConfig())
    assert recording.damage.startswith("bag/bag.mcap is damaged: the record at its end lacks")
    frames = list(recording.frames())
    assert 0 < len(frames) < 30
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == list(range(len(frames)))


def test_impossible_settings():
    with pytest.raises(ConfigError, match="tolerance_ms"):
        FrameConfig(tolerance_ms=-1.0)
    with pytest.raises(ConfigError, match="max_frames"):
        FrameConfig(max_frames=0)


def infos(broken):
    """Return a callback that writes one camera_info per frame, K = 0 for the frames in `broken`."""

    def extra(writer, stamp_ns):
        info = camera_info_message(stamp_ns, "camera", CAMERA)
        if (stamp_ns - START_NS) // PERIOD_NS in broken:
            info.k[:], info.p[:] = 0.0, 0.0
        writer.write_message("/camera/camera_info", stamp_ns, info)

    return extra


def test_one_unusable_camera_info_costs_one_frame(make_bag, caplog):
    recording = Recording(make_bag(camera=None, extra=infos({1})), FrameConfig())
    for _ in range(2):
        assert [int(frame.rgb[0, 0, 0]) for frame in recording.frames()] == [0, 2, 3]
    assert list(recording.unreadable) == [START_NS + PERIOD_NS]
    assert caplog.text.count("is left out") == 1


def test_camera_infos_that_are_all_unusable_are_an_error(make_bag):
    with pytest.raises(CalibrationError, match="no camera_info on /camera/camera_info"):
        Recording(make_bag(camera=None, extra=infos({0, 1, 2, 3})), FrameConfig())


@pytest.mark.parametrize("topic", ["/camera/image_raw", "/camera/camera_info", "/lidar/points"])
def test_a_message_that_is_cut_off_costs_one_frame(make_bag, tmp_path, topic):
    with BagReader(make_bag()) as reader, BagWriter(tmp_path / "cut") as writer:
        counts = Counter()
        for name, msgtype, log_time_ns, cdr in reader.raw_messages():
            counts[name] += 1
            cut = name == topic and counts[name] == 3
            writer.write_raw(name, msgtype, log_time_ns, cdr[:50] if cut else cdr)
    recording = Recording(tmp_path / "cut", FrameConfig())
    assert [int(frame.rgb[0, 0, 0]) for frame in recording.frames()] == [0, 1, 3]
    assert len(recording.unreadable) == 1


def test_a_depth_image_of_another_size_costs_one_frame(make_bag):
    def extra(writer, stamp_ns):
        rows = 6 if stamp_ns == START_NS else 12
        writer.write_depth("/other/depth", stamp_ns, "camera", np.ones((rows, 16), np.float32))

    config = FrameConfig(truth="depth", truth_topic="/other/depth")
    recording = Recording(make_bag(extra=extra), config)
    assert len(list(recording.frames())) == 3
    assert "6x16" in recording.unreadable[START_NS]
