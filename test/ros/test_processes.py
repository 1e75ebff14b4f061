"""Real programs over real DDS: the node, the player and the recorder as separate processes."""

import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from ros_support import (
    HEIGHT,
    WIDTH,
    make_camera_info,
    make_image,
    random_rgb,
    stamp_ns,
    with_header,
)
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.decoding import camera_info_to_intrinsics, image_to_depth, point_cloud_fields
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.predictor import DepthPredictor

pytestmark = pytest.mark.ros

NODE = ("-m", "mono_depth_ros.ros.depth_process", "--ros-args")
INPUTS = ("-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info")
OUTPUTS = {
    "/depth_node/depth/image": Image,
    "/depth_node/depth/camera_info": CameraInfo,
    "/depth_node/points": PointCloud2,
}
STOP_S = 2.0
# PyTorch needs 5 s of CPU time to load, on a busy computer ten times that.
START_S = 120.0

# A predictor that is busy for longer than the node may take to end.
BUSY_NODE = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from ros_support import RampPredictor
from mono_depth_ros.ros.depth_process import main

class Busy(RampPredictor):
    def __call__(self, rgb, camera):
        print("inference begins", flush=True)
        time.sleep(60)

main(load_predictor=Busy)
"""


def stream(graph, count, height, width, rate_hz=10.0):
    """Publish `count` images at `rate_hz` through the running node; return the images and outputs.

    Before them, images are sent until every output has come once, so all endpoints are matched.
    """
    received = {topic: graph.listen(kind, topic) for topic, kind in OUTPUTS.items()}
    images = graph.node.create_publisher(Image, "/camera/image_raw", 5)
    infos = graph.node.create_publisher(CameraInfo, "/camera/camera_info", 5)
    info = make_camera_info(height, width, focal_px=1.1 * width)
    graph.spin_until(images.get_subscription_count, timeout_s=START_S)
    sent = {}

    def send(index):
        stamp = 1_700_000_000_000_000_000 + index * 100_000_001
        infos.publish(with_header(info, stamp))
        sent[stamp] = random_rgb(index, height, width)
        images.publish(make_image(sent[stamp], stamp))

    for index in range(1000, 1300):
        send(index)
        graph.spin_for(0.2)
        if all(received.values()):
            break
    graph.spin_for(0.5)
    first_ns = 1_700_000_000_000_000_000
    start_s = time.monotonic()
    for index in range(count):
        graph.spin_for(max(0.0, start_s + index / rate_hz - time.monotonic()))
        send(index)
    graph.spin_for(2.0)
    last_ns = first_ns + count * 100_000_001
    outputs = {
        topic: [m for m in messages if stamp_ns(m) < last_ns]
        for topic, messages in received.items()
    }
    return sent, outputs


def check_agreement(sent, outputs):
    """Every output belongs to an input, none twice; the outputs of a stamp agree per pixel."""
    by_topic = {topic: {stamp_ns(m): m for m in messages} for topic, messages in outputs.items()}
    for topic, messages in outputs.items():
        assert len(by_topic[topic]) == len(messages), f"{topic}: a stamp came twice"
        assert set(by_topic[topic]) <= set(sent), f"{topic}: invented frame"
        assert {m.header.frame_id for m in messages} == {"camera_optical_frame"}
    depths, infos, clouds = by_topic.values()
    assert set(depths) == set(infos) == set(clouds)
    for stamp, image in depths.items():
        check_frame(image_to_depth(image), infos[stamp], clouds[stamp], sent[stamp])
    return len(depths)


def check_frame(depth_m, info, cloud, rgb):
    camera = camera_info_to_intrinsics(info)
    assert depth_m.shape == (camera.height, camera.width) == (cloud.height, cloud.width)
    fields = point_cloud_fields(cloud)
    assert fields["z"].tobytes() == depth_m.tobytes()
    x, y, z = (fields[name].reshape(depth_m.shape).astype(np.float64) for name in "xyz")
    valid = np.isfinite(z)
    assert valid.any()
    rows, columns = np.indices(depth_m.shape)
    assert np.abs(camera.fx * x / z + camera.cx - columns)[valid].max() < 0.01
    assert np.abs(camera.fy * y / z + camera.cy - rows)[valid].max() < 0.01
    bgr0 = np.ascontiguousarray(fields["rgb"]).view(np.uint8).reshape(*depth_m.shape, 4)
    np.testing.assert_array_equal(bgr0[..., 2::-1], rgb)


def seconds_per_image(checkpoint, height, width):
    """Return the bare predictor's median time per image."""
    predictor = DepthPredictor.load(checkpoint)
    camera = Intrinsics(1.1 * width, 1.1 * width, width / 2, height / 2, width, height)
    times_s = []
    for seed in range(8):
        rgb = random_rgb(seed, height, width)
        start_s = time.perf_counter()
        predictor(rgb, camera)
        times_s.append(time.perf_counter() - start_s)
    return float(np.median(times_s))


# The short stream proves agreement on a computer that may be busy, the long one the rate as well.
@pytest.mark.parametrize(
    ("count", "height", "width", "share"),
    [(20, HEIGHT, WIDTH, 0.2), pytest.param(100, 480, 640, 0.9, marks=pytest.mark.long)],
)
def test_a_stream_through_the_node(
    network_graph, start_process, light_checkpoint, count, height, width, share
):
    bare_s = seconds_per_image(light_checkpoint, height, width)
    node = start_process(*NODE, "-p", f"checkpoint:={light_checkpoint}", *INPUTS)
    sent, outputs = stream(network_graph, count, height, width)
    frames = check_agreement(sent, outputs)
    print(f"{frames} of {count} frames of {width}x{height}, bare predictor {1e3 * bare_s:.1f} ms")
    code, seconds = node.stop(signal.SIGINT)
    assert code == 0 and seconds < STOP_S, node.output
    assert "Traceback" not in node.output
    assert frames >= share * min(count, count / 10.0 / bare_s), node.output


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)],
    ids=["SIGINT twice", "SIGTERM"],
)
def test_an_idle_node_ends_cleanly(start_process, light_checkpoint, signals):
    node = start_process(*NODE, "-p", f"checkpoint:={light_checkpoint}")
    node.wait_for("active")
    maps = Path(f"/proc/{node.process.pid}/maps").read_text()
    segments = set(re.findall(r"/dev/shm/fast\w+_[0-9a-f]{16}\b", maps))
    code, seconds = node.stop(*signals)
    assert code == 0 and seconds < STOP_S, node.output
    assert "Traceback" not in node.output
    assert segments and not any(Path(segment).exists() for segment in segments)


def test_a_node_ends_in_the_middle_of_an_inference(network_graph, start_process):
    node = start_process("-c", BUSY_NODE)
    image = network_graph.node.create_publisher(Image, "/image", 5)
    info = network_graph.node.create_publisher(CameraInfo, "/camera_info", 5)
    network_graph.listen(Image, "/depth_node/depth/image")
    network_graph.spin_until(image.get_subscription_count, timeout_s=START_S)
    network_graph.spin_until(info.get_subscription_count)
    for _ in range(100):
        info.publish(make_camera_info())
        image.publish(make_image(random_rgb(0)))
        network_graph.spin_for(0.2)
        if "inference begins" in node.output:
            break
    code, seconds = node.stop(signal.SIGINT, signal.SIGINT)
    assert code == 0 and seconds < STOP_S, node.output


@pytest.mark.parametrize("delay_s", [0.0, 0.7, 1.5, 2.5])
def test_a_node_that_still_loads_ends_cleanly(start_process, light_checkpoint, delay_s):
    # Ctrl-C before main() begins is Python's own affair.
    program = (
        "from mono_depth_ros.ros.depth_process import main; print('begins', flush=True); main()"
    )
    node = start_process("-c", program, "--ros-args", "-p", f"checkpoint:={light_checkpoint}")
    node.wait_for("begins")
    time.sleep(0.05 + delay_s)
    # How long is not asserted: a shared library of PyTorch that is being loaded runs to its end.
    code, _ = node.stop(signal.SIGINT)
    assert code == 0 and "Traceback" not in node.output, node.output


def test_a_bad_checkpoint_ends_the_node_with_one_line(start_process):
    node = start_process(*NODE, "-p", "checkpoint:=/nowhere/x.safetensors")
    assert node.process.wait(timeout=START_S) == 1
    assert "/nowhere/x.safetensors" in node.output and "Traceback" not in node.output


def test_play_and_record_over_the_network(start_process, tmp_path):
    camera = Intrinsics(20.0, 20.0, 11.5, 7.5, 24, 16)
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(10):
            writer.write_camera_info("/camera/camera_info", 10**9 + index * 10**8, "camera", camera)
            writer.write_image(
                "/camera/image_raw", 10**9 + index * 10**8, "camera", random_rgb(index, 16, 24)
            )
    command = ("-m", "mono_depth_ros.cli.main")
    topics = ("--topics", "/camera/image_raw", "/camera/camera_info")
    record = start_process(*command, "record", tmp_path / "again", *topics)
    play = start_process(*command, "play", tmp_path / "bag", "--wait-for-subscribers", 30)
    assert play.process.wait(timeout=START_S) == 0, play.output
    code, _ = record.stop(signal.SIGINT, signal.SIGINT)
    assert code == 0, record.output
    with BagReader(tmp_path / "again") as bag:
        images = [m for topic, _, m in bag.messages() if topic == "/camera/image_raw"]
        assert len(images) == 10 and bag.counts["/camera/camera_info"] == 10
    for index, image in enumerate(images):
        assert stamp_ns(image) == 10**9 + index * 10**8
        assert image.data.tobytes() == random_rgb(index, 16, 24).tobytes()
