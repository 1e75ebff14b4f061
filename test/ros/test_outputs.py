"""All topics of the depth node, and the settings of its cloud, on a picture that tells all."""

from functools import partial

import cv2
import numpy as np
import pytest
from known_network import load_depth_only, load_known
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_support import HEIGHT, WIDTH, make_camera_info, make_image, random_rgb, stamp_ns
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from test_depth_node import Bench

from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.decoding import (
    camera_info_to_intrinsics,
    image_to_depth,
    image_to_rgb,
    point_cloud_fields,
)
from mono_depth_ros.ros import outputs

pytestmark = pytest.mark.ros

RGB = np.maximum(random_rgb(3), 1)  # at a depth of 0 m there is nothing
RED, GREEN, BLUE = (RGB[..., channel].astype(np.float32) / np.float32(255) for channel in range(3))


@pytest.fixture
def bench(graph):
    benches = []

    def make(load=load_known, **parameters):
        benches.append(Bench(graph, load, **parameters))
        return benches[-1]

    yield make
    for made in benches:
        made.node.stop(15.0)


def next_of(b, messages, rgb, stamp):
    """Send a picture and return the message with its stamp."""
    b.send(make_image(rgb, stamp))
    b.graph.spin_until(lambda: messages and stamp_ns(messages[-1]) == stamp)
    return messages[-1]


def change(b, **values):
    """Set parameters of the running node; return what it answers."""
    parameters = [Parameter(name, value=value) for name, value in values.items()]
    return b.node.set_parameters_atomically(parameters)


def values_of(image):
    kinds = {"32FC1": np.float32, "16UC1": np.uint16, "mono8": np.uint8}
    return np.frombuffer(image.data, kinds[image.encoding]).reshape(image.height, image.width)


def z_of(cloud):
    return point_cloud_fields(cloud)["z"]


def test_every_topic_shows_what_the_picture_says(bench):
    b = bench(attention_map="second")
    b.start()
    topics = {
        "depth/image": 10 * RED, "depth/image_mm": np.rint(10000 * RED), "confidence": GREEN,
        "semantics": RED > 0.9, "attention": 2 - BLUE,
    }  # fmt: skip
    received = {topic: b.listen(Image, topic) for topic in topics}
    b.send(make_image(RGB, 5, "left_optical"))
    b.graph.spin_until(lambda: all(received.values()))
    for topic, expected in topics.items():
        (message,) = received[topic]
        np.testing.assert_allclose(values_of(message), expected, atol=1e-5, err_msg=topic)
        assert stamp_ns(message) == 5 and message.header.frame_id == "left_optical"
    assert change(b, attention_map="first").successful
    attention = next_of(b, received["attention"], RGB, 6)
    np.testing.assert_allclose(values_of(attention), BLUE, atol=1e-6)
    refused = change(b, attention_map="third")
    assert not refused.successful and "this network has first, second" in refused.reason


def test_nobody_is_sure_of_depth_that_is_not_there(bench):
    b = bench(max_depth_m=5.0)
    b.start()
    confidence = next_of(b, b.listen(Image, "confidence"), RGB, 1)
    np.testing.assert_allclose(values_of(confidence), np.where(RED > 0.5, 0, GREEN), atol=1e-6)


def recorded(function, calls):
    """Return a function that does the same and leaves its name in `calls`."""

    def call(*arguments):
        calls.append(function.__name__)
        return function(*arguments)

    return call


@pytest.mark.parametrize(
    ("topic", "calls"),
    [("depth/image_mm", ["depth"]), ("confidence", ["products"]), ("attention", ["products"]),
     ("semantics", ["products"])],
)  # fmt: skip
def test_only_what_is_subscribed_is_computed(bench, monkeypatch, topic, calls):
    built = []
    for name in (
        "depth_to_image", "depth_to_millimetre_image", "depth_to_color_image", "map_to_image",
        "labels_to_image", "CloudEncoder",
    ):  # fmt: skip
        monkeypatch.setattr(outputs, name, recorded(getattr(outputs, name), built))
    b = bench()
    b.start()
    network = b.node.network.loaded.predictor._network
    network.calls.clear()
    b.send(make_image(RGB, 1))
    assert not network.calls and not built
    next_of(b, b.listen(Image, topic), RGB, 2)
    assert network.calls == calls and len(built) == 1


def test_a_cloud_without_a_gate_needs_no_product(bench):
    b = bench()
    b.start()
    points = b.listen(PointCloud2, "points")
    network = b.node.network.loaded.predictor._network
    network.calls.clear()
    next_of(b, points, RGB, 1)
    assert network.calls == ["depth"]
    for stamp, values in ((2, {"cloud_min_confidence": 0.5}), (3, {"cloud_drop_sky": True})):
        assert change(b, **values).successful
        next_of(b, points, RGB, stamp)
        assert network.calls[-1] == "products"


def test_settings_of_the_cloud_hold_from_the_next_frame_on(bench, tmp_path):
    ego = np.zeros((HEIGHT, WIDTH), np.uint8)
    ego[-8:] = 255
    cv2.imwrite(str(tmp_path / "ego.png"), ego)
    b = bench()
    b.start()
    points = b.listen(PointCloud2, "points")
    depth_m = 10 * RED
    cloud = next_of(b, points, RGB, 1)
    assert (cloud.height, cloud.width) == (HEIGHT, WIDTH)

    def expect(stamp, keep, **values):
        """The cloud has exactly the depths that `keep` says; then everything is as before."""
        before = {name: b.node.get_parameter(name).value for name in values}
        assert change(b, **values).successful
        z = z_of(next_of(b, points, RGB, stamp)).reshape(HEIGHT, WIDTH)
        expected = np.where(keep, depth_m, np.nan)
        np.testing.assert_allclose(z, expected, rtol=1e-6, err_msg=str(values))
        assert change(b, **before).successful

    rows, columns = np.indices(RED.shape)
    ray = np.sqrt(1 + ((columns - 47.5) / 80) ** 2 + ((rows - 31.5) / 80) ** 2)
    expect(2, depth_m * ray <= 6.0, cloud_max_range_m=6.0)
    height_m = 1.0 - depth_m * (rows - 31.5) / 80
    expect(3, height_m <= 1.51, cloud_max_height_m=1.51, cloud_camera_height_m=1.0)
    expect(4, GREEN >= 0.5, cloud_min_confidence=0.5)
    expect(5, RED <= 0.9, cloud_drop_sky=True)
    expect(6, ego == 0, cloud_ego_mask=str(tmp_path / "ego.png"))
    expect(7, columns > 10, cloud_ego_mask="0,0 10,0 10,63 0,63")
    padded = np.pad(depth_m, 1, constant_values=np.inf)
    nearest = np.min([padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]], 0)
    expect(8, depth_m <= 3.001 * nearest, cloud_max_depth_jump=2.001)


def test_strides_and_dense_clouds_and_voxels(bench):
    b = bench()
    b.start()
    points = b.listen(PointCloud2, "points")
    assert change(b, cloud_stride=5).successful
    cloud = next_of(b, points, RGB, 1)
    assert (cloud.height, cloud.width) == (13, 20)
    refused = change(b, cloud_voxel_size_m=0.5)
    assert not refused.successful and "set cloud_layout to dense first" in refused.reason
    assert change(b, cloud_layout="dense", cloud_stride=1, cloud_max_range_m=4.0).successful
    cloud = next_of(b, points, RGB, 2)
    assert cloud.height == 1 and cloud.is_dense
    many = point_cloud_fields(cloud)
    assert change(b, cloud_voxel_size_m=0.5, cloud_voxel_point="nearest").successful
    few = point_cloud_fields(next_of(b, points, RGB, 3))
    cells = {
        tuple(np.floor(2 * np.array(point)))
        for point in zip(*(many[a] for a in "xyz"), strict=True)
    }
    assert len(few["z"]) == len(cells) < len(many["z"])


def test_a_network_without_products_has_no_such_topics_and_refuses_the_gate(bench):
    b = bench(load_depth_only)
    b.start()
    topics = {publisher.topic_name for publisher in b.node.publishers}
    assert "/depth_node/depth/image_mm" in topics
    assert topics.isdisjoint(f"/depth_node/{name}" for name in ("confidence", "attention"))
    refused = change(b, cloud_min_confidence=0.5)
    assert not refused.successful and "this one has depth only" in refused.reason
    assert b.node.get_parameter("cloud_min_confidence").value == 0.0
    # Without labels the sky is what is at the largest depth: 9.5 m of 10 and more.
    assert change(b, cloud_drop_sky=True).successful
    z = z_of(next_of(b, b.listen(PointCloud2, "points"), RGB, 1)).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(np.isnan(z), RED >= 0.95)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"cloud_min_confidence": 0.5}, "needs a network with confidence"),
        ({"cloud_ego_mask": "nowhere.png"}, "there is no ego mask nowhere.png"),
        ({"attention_map": "first"}, "this network has none"),
    ],
)
def test_settings_that_the_network_cannot_serve_fail_configuring(bench, capfd, values, reason):
    b = bench(load_depth_only, **values)
    assert b.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert reason in capfd.readouterr().err


def test_an_ego_mask_of_another_size_costs_the_cloud_and_nothing_else(bench, tmp_path):
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((8, 8), np.uint8))
    b = bench(cloud_ego_mask=str(tmp_path / "small.png"))
    b.start()
    points, info = b.listen(PointCloud2, "points"), b.listen(CameraInfo, "depth/camera_info")
    warned = []
    b.node.tally._log = warned.append
    next_of(b, b.listen(Image, "depth/image"), RGB, 1)
    b.graph.spin_until(lambda: info)
    assert not points and b.count("ShapeError") == 1
    assert "has 8x8 pixels, the image 64x96" in warned[0]


def test_at_network_size_all_outputs_and_camera_info_shrink_together(bench):
    """The camera has twice the network's pixels, and the robot's hood in its lowest 16 rows."""
    b = bench(output_size="network", cloud_ego_mask="0,112 191,112 191,127 0,127")
    b.start(make_camera_info(2 * HEIGHT, 2 * WIDTH, 160.0))
    depth, info = b.listen(Image, "depth/image"), b.listen(CameraInfo, "depth/camera_info")
    confidence, points = b.listen(Image, "confidence"), b.listen(PointCloud2, "points")
    b.send(make_image(RGB.repeat(2, axis=0).repeat(2, axis=1), 1))
    b.graph.spin_until(lambda: depth and info and points and confidence)
    np.testing.assert_allclose(image_to_depth(depth[0]), 10 * RED, rtol=1e-6)
    np.testing.assert_allclose(values_of(confidence[0]), GREEN, rtol=1e-6)
    # fx 160 / 2; the centre (2 W - 1) / 2 becomes (W - 1) / 2.
    assert list(info[0].k) == [80.0, 0.0, 47.5, 0.0, 80.0, 31.5, 0.0, 0.0, 1.0]
    camera = camera_info_to_intrinsics(info[0])
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    assert (points[0].height, points[0].width) == (HEIGHT, WIDTH)
    fields = {name: values.reshape(HEIGHT, WIDTH) for name, values in
              point_cloud_fields(points[0]).items()}  # fmt: skip
    assert np.isnan(fields["z"][56:]).all()
    assert np.isfinite(fields["z"][:56]).all()
    rows, columns = np.indices((56, WIDTH))
    for name, focal_px, centre_px, pixels in (("x", 80, 47.5, columns), ("y", 80, 31.5, rows)):
        projected = focal_px * fields[name][:56] / fields["z"][:56] + centre_px
        np.testing.assert_allclose(projected, pixels, atol=1e-3)
    packed = np.ascontiguousarray(fields["rgb"]).view(np.uint8).reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(packed[..., 2::-1], RGB)
    assert change(b, output_size="camera").successful
    b.send(make_image(RGB.repeat(2, axis=0).repeat(2, axis=1), 2))
    b.graph.spin_until(lambda: len(depth) == len(info) == 2)
    assert (depth[1].height, info[1].height, info[1].k[0]) == (2 * HEIGHT, 2 * HEIGHT, 160.0)


def test_topics_that_another_network_adds_are_published_at_once(bench):
    def load(checkpoint, config):
        return (load_known if checkpoint == "known" else load_depth_only)(checkpoint, config)

    b = bench(load, checkpoint="depth_only")
    b.start()
    assert not [p for p in b.node.publishers if p.topic_name == "/depth_node/confidence"]
    assert change(b, checkpoint="known").successful
    b.graph.spin_until(lambda: b.node.network.loaded.checkpoint == "known")
    confidence = b.listen(Image, "confidence")
    np.testing.assert_allclose(values_of(next_of(b, confidence, RGB, 1)), GREEN, atol=1e-6)


def test_the_colours_can_be_changed(bench):
    b = bench()
    b.start()
    color = b.listen(Image, "depth/image_color")
    rgb_of = partial(next_of, b, color, RGB)
    np.testing.assert_array_equal(image_to_rgb(rgb_of(1)), DepthColorizer(10.0)(10 * RED))
    assert change(b, color_map="grey").successful
    grey = image_to_rgb(rgb_of(2))
    # 254 steps over 10 m from white, index 1, to black, 255.
    np.testing.assert_allclose(grey[..., 0], 254 - 254 * RED, atol=0.51)
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    assert change(b, color_max_depth_m=20.0).successful
    np.testing.assert_allclose(image_to_rgb(rgb_of(3))[..., 0], 254 - 127 * RED, atol=0.51)
    assert not change(b, color_max_depth_m=-1.0).successful
    refused = change(b, color_map="rainbow")
    assert not refused.successful and "choose from turbo" in refused.reason
