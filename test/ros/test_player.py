"""Replay and recording: the recorded bytes, in order and at the recorded pace."""

import logging
import threading
import time

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_support import random_rgb, stamp_ns
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.ros.interruption import StopRequest
from mono_depth_ros.ros.player import BagPlayer, PlayOptions, find_message_class, publisher_qos
from mono_depth_ros.ros.recorder import record_bag

pytestmark = pytest.mark.ros

CAMERA = Intrinsics(20.0, 20.0, 11.5, 7.5, 24, 16)
START_NS = 1_600_000_000_000_000_000
PERIOD_NS = 50_000_000
COUNT = 6
IMAGE, INFO = "/camera/image_raw", "/camera/camera_info"
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture
def bag_path(tmp_path):
    """Return a bag of six frames at 20 Hz with /tf_static, whose message package has no wheel."""
    path = tmp_path / "bag"
    with BagWriter(path) as writer:
        writer.write_transforms("/tf_static", START_NS, [("base_link", "camera", np.eye(4))])
        for index in range(COUNT):
            stamp = START_NS + index * PERIOD_NS
            writer.write_camera_info(INFO, stamp, "camera", CAMERA)
            writer.write_image(IMAGE, stamp, "camera", random_rgb(index, 16, 24))
    return path


@pytest.fixture
def listener(graph):
    """Return (topic to [(arrival time, message)]) filled by a thread that spins the graph."""
    arrivals = {IMAGE: [], INFO: [], "/clock": []}
    for topic, message_type in ((IMAGE, Image), (INFO, CameraInfo), ("/clock", Clock)):
        graph.node.create_subscription(
            message_type,
            topic,
            lambda m, t=topic: arrivals[t].append((time.monotonic(), m)),
            RELIABLE,
        )
    ended = threading.Event()

    def spin():
        while not ended.is_set():
            graph.executor.spin_once(timeout_sec=0.02)

    thread = threading.Thread(target=spin)
    thread.start()
    yield arrivals
    ended.set()
    thread.join()


def play(path, stop=None, **options):
    node = Node("player", start_parameter_services=False)
    with BagReader(path) as bag:
        player = BagPlayer(
            bag, node, PlayOptions(wait_for_subscribers_s=15.0, **options), stop or StopRequest()
        )
        finished = player.play()
    node.destroy_node()
    return player, finished


def eventually(condition):
    end_s = time.monotonic() + 15.0
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_every_message_arrives_in_order_and_at_the_recorded_pace(bag_path, listener):
    player, finished = play(bag_path)
    eventually(lambda: len(listener[IMAGE]) == COUNT and len(listener[INFO]) == COUNT)
    assert finished and player.published == {IMAGE: COUNT, INFO: COUNT}
    for index, (_, image) in enumerate(listener[IMAGE]):
        assert stamp_ns(image) == START_NS + index * PERIOD_NS
        assert bytes(image.data) == random_rgb(index, 16, 24).tobytes()
        assert image.header.frame_id == "camera"
    times = [arrived for arrived, _ in listener[IMAGE]]
    assert times[-1] - times[0] == pytest.approx(0.25, abs=0.15)


def test_rate_stretches_time(bag_path, listener):
    start_s = time.monotonic()
    play(bag_path, rate=0.5)
    assert 0.5 <= time.monotonic() - start_s < 3.0
    eventually(lambda: len(listener[IMAGE]) == COUNT)
    assert listener[IMAGE][-1][0] - listener[IMAGE][0][0] == pytest.approx(0.5, abs=0.2)


def test_topics_without_a_message_package_are_skipped_and_named_once(bag_path, listener, caplog):
    if find_message_class("tf2_msgs/msg/TFMessage") is not None:
        pytest.skip("tf2_msgs is installed here, so /tf_static is played")
    with caplog.at_level(logging.WARNING):
        play(bag_path)
    lines = [record.getMessage() for record in caplog.records if "tf_static" in record.getMessage()]
    assert len(lines) == 1 and "tf2_msgs/msg/TFMessage" in lines[0]


def test_offset_topics_and_remap(bag_path, listener, graph):
    moved = []
    graph.node.create_subscription(Image, "/moved", moved.append, RELIABLE)
    play(bag_path, topics=(IMAGE,), remaps={IMAGE: "/moved"}, start_offset_s=0.1)
    eventually(lambda: len(moved) == COUNT - 2)
    assert stamp_ns(moved[0]) == START_NS + 2 * PERIOD_NS
    assert not listener[IMAGE] and not listener[INFO]


def test_clock_follows_bag_time(bag_path, listener):
    play(bag_path, clock_hz=100.0, rate=0.5)
    eventually(lambda: len(listener["/clock"]) >= 40)
    times_ns = [m.clock.sec * 10**9 + m.clock.nanosec for _, m in listener["/clock"]]
    assert times_ns == sorted(times_ns)
    assert START_NS <= times_ns[0] < START_NS + PERIOD_NS
    assert times_ns[-1] <= START_NS + (COUNT - 1) * PERIOD_NS
    assert np.median(np.diff(times_ns)) == pytest.approx(5e6, abs=10)


def test_loop_ends_when_stopped(bag_path, listener):
    stop = StopRequest()
    timer = threading.Timer(0.8, lambda: setattr(stop, "requested", True))
    timer.start()
    player, finished = play(bag_path, stop, loop=True, rate=2.0)
    assert not finished and player.published[IMAGE] > COUNT


def test_unknown_topics_and_impossible_options_are_refused(bag_path, graph):
    with pytest.raises(BagError, match="no topic /nothing; it has /camera/camera_info"):
        play(bag_path, topics=("/nothing",))
    with pytest.raises(BagError, match="no topic /nothing"):
        play(bag_path, remaps={"/nothing": "/a"})
    for options in ({"rate": 0.0}, {"clock_hz": -1.0}, {"start_offset_s": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            PlayOptions(**options)


def test_a_bag_with_nothing_playable_is_refused(tmp_path, graph):
    if find_message_class("tf2_msgs/msg/TFMessage") is not None:
        pytest.skip("tf2_msgs is installed here, so /tf_static is played")
    with BagWriter(tmp_path / "tf") as writer:
        writer.write_transforms("/tf_static", START_NS, [("a", "b", np.eye(4))])
    with pytest.raises(BagError, match="no topic that can be played"):
        play(tmp_path / "tf")


def test_qos_follows_the_recording(bag_path):
    with BagReader(bag_path) as bag:
        latched = publisher_qos("/tf_static", bag.qos["/tf_static"], 3)
        image = publisher_qos(IMAGE, bag.qos[IMAGE], 100)
    assert latched.durability == DurabilityPolicy.TRANSIENT_LOCAL and latched.depth == 3
    assert image.durability == DurabilityPolicy.VOLATILE and image.depth == 5
    assert image.reliability == ReliabilityPolicy.RELIABLE
    assert publisher_qos("/tf_static", (), 2).durability == DurabilityPolicy.TRANSIENT_LOCAL


def test_what_is_played_and_recorded_again_is_the_same(bag_path, graph, tmp_path):
    node = Node("recorder", start_parameter_services=False)
    stop, outcome = StopRequest(), {}

    def record():
        outcome["counts"] = record_bag(node, tmp_path / "again", [IMAGE, INFO], stop)

    thread = threading.Thread(target=record)
    thread.start()
    play(bag_path)
    time.sleep(0.1)
    stop.requested = True
    thread.join(timeout=15.0)
    assert outcome["counts"] == {IMAGE: COUNT, INFO: COUNT}
    with BagReader(bag_path) as before, BagReader(tmp_path / "again") as after:
        for topic in (IMAGE, INFO):
            pairs = zip(before.messages([topic]), after.messages([topic]), strict=True)
            for (_, _, old), (_, log_time_ns, new) in pairs:
                assert (old.header.stamp, old.header.frame_id) == (
                    new.header.stamp,
                    new.header.frame_id,
                )
                payload = "data" if topic == IMAGE else "k"
                np.testing.assert_array_equal(getattr(old, payload), getattr(new, payload))
                assert abs(log_time_ns - time.time_ns()) < 60e9


def test_recording_nothing_is_an_error_and_leaves_no_bag(graph, tmp_path):
    node = Node("recorder", start_parameter_services=False)
    with pytest.raises(BagError, match="nothing came on /silent"):
        record_bag(node, tmp_path / "bag", ["/silent"], StopRequest(), duration_s=0.3)
    assert not (tmp_path / "bag").exists()
