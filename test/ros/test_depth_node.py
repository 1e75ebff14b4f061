"""The depth node in this process: real messages, a predictor whose depth is known."""

import gc
import threading
import weakref

import cv2
import numpy as np
import pytest
from lifecycle_msgs.msg import State
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support import (
    HEIGHT,
    WIDTH,
    RampPredictor,
    make_camera_info,
    make_image,
    random_rgb,
    stamp_ns,
    with_header,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from mono_depth_ros.decoding import image_to_depth, image_to_rgb, point_cloud_fields
from mono_depth_ros.errors import CheckpointError, ConfigError
from mono_depth_ros.ros.depth_node import DepthNode

pytestmark = pytest.mark.ros

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Bench:
    """A depth node with a camera in front of it and a listener behind it."""

    def __init__(self, graph, load_predictor=RampPredictor, **parameters):
        self.graph = graph
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = graph.add(DepthNode(load_predictor, parameter_overrides=overrides))
        self.image = graph.node.create_publisher(Image, "image", BEST_EFFORT)
        self.compressed = graph.node.create_publisher(
            CompressedImage, "image/compressed", BEST_EFFORT
        )
        self.info = graph.node.create_publisher(CameraInfo, "camera_info", BEST_EFFORT)

    def listen(self, message_type, topic):
        messages = self.graph.listen(message_type, f"/depth_node/{topic}")
        publisher = next(p for p in self.node.publishers if p.topic_name == f"/depth_node/{topic}")
        self.graph.spin_until(publisher.get_subscription_count)
        return messages

    def start(self, info=None):
        assert self.node.start()
        self.graph.publish_matched(self.info, info or make_camera_info())
        self.graph.spin_until(lambda: self.node._camera.info is not None)

    def count(self, outcome):
        return self.node.tally.counts.get(outcome, 0)

    def send(self, message):
        """Publish an image and wait until the node has done with it."""
        done = sum(self.node.tally.counts.values())
        publisher = self.image if isinstance(message, Image) else self.compressed
        self.graph.publish_matched(publisher, message)
        self.graph.spin_until(lambda: sum(self.node.tally.counts.values()) > done)

    def wait_until_waiting(self, stamp):
        """Wait until the image of that stamp is the one that the worker will take next."""
        waiting = self.node._worker._waiting
        self.graph.spin_until(lambda: waiting and stamp_ns(waiting[0][0]) == stamp)

    def state(self):
        return self.node._state_machine.current_state[0]


def test_all_outputs_agree_and_carry_the_images_header(bench):
    b = bench()
    b.start()
    depth, info = b.listen(Image, "depth/image"), b.listen(CameraInfo, "depth/camera_info")
    points, color = b.listen(PointCloud2, "points"), b.listen(Image, "depth/image_color")
    rgb = random_rgb(1)
    rgb[:4] = 0
    b.send(make_image(rgb, 1_700_000_000_999_999_999, "left_optical"))
    b.graph.spin_until(lambda: depth and info and points and color)
    expected_m = RampPredictor("", b.node.network.inference)(rgb, None)
    assert image_to_depth(depth[0]).tobytes() == expected_m.tobytes()
    fields = point_cloud_fields(points[0])
    assert fields["z"].tobytes() == expected_m.tobytes()
    assert np.isnan(fields["x"].reshape(HEIGHT, WIDTH)[:4]).all()
    assert image_to_rgb(color[0]).shape == rgb.shape
    for message in (depth[0], info[0], points[0], color[0]):
        assert stamp_ns(message) == 1_700_000_000_999_999_999
        assert message.header.frame_id == "left_optical"
    assert list(info[0].k) == list(make_camera_info().k)
    assert (info[0].height, info[0].width) == (depth[0].height, depth[0].width)


def test_the_cloud_uses_p_and_k_where_p_is_empty(bench):
    for p, focal_px in ((make_camera_info(focal_px=40.0).p, 40.0), ([0.0] * 12, 80.0)):
        b = bench()
        info = make_camera_info(focal_px=80.0)
        info.p = p
        b.start(info)
        points = b.listen(PointCloud2, "points")
        b.send(make_image(random_rgb(0)))
        b.graph.spin_until(lambda messages=points: messages)
        fields = point_cloud_fields(points[-1])
        x = fields["x"].reshape(HEIGHT, WIDTH)[0, -1]
        z = fields["z"].reshape(HEIGHT, WIDTH)[0, -1]
        assert x / z == pytest.approx((WIDTH / 2 - 0.5) / focal_px, rel=1e-6)
        b.node.trigger_deactivate()
        b.graph.executor.remove_node(b.node)
        b.node.destroy_node()
        points.clear()


def test_nothing_is_computed_that_nobody_subscribes_to(bench):
    b = bench()
    b.start()
    predictor = b.node.network.loaded.predictor
    b.send(make_image(random_rgb(0), 1))
    assert predictor.calls == 0 and b.count("nobody subscribed") == 1
    info = b.listen(CameraInfo, "depth/camera_info")
    b.send(make_image(random_rgb(0), 2))
    b.graph.spin_until(lambda: info)
    assert predictor.calls == 0
    b.listen(Image, "depth/image")
    b.send(make_image(random_rgb(0), 3))
    assert predictor.calls == 1
    assert b.node.network.outputs._cloud_encoder is None


def test_compressed_images_are_decoded(bench):
    b = bench()
    b.start()
    depth = b.listen(Image, "depth/image")
    rgb = random_rgb(5)
    png = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    b.send(with_header(CompressedImage(format="rgb8; png compressed bgr8", data=png), 7))
    b.graph.spin_until(lambda: depth)
    expected_m = RampPredictor("", b.node.network.inference)(rgb, None)
    assert image_to_depth(depth[0]).tobytes() == expected_m.tobytes()
    assert stamp_ns(depth[0]) == 7


def test_a_camera_that_sends_both_is_heard_once_and_raw_wins(bench):
    b = bench()
    b.start()
    depth = b.listen(Image, "depth/image")
    png = cv2.imencode(".png", random_rgb(5))[1].tobytes()
    b.send(with_header(CompressedImage(format="png", data=png), 7))
    b.graph.publish_matched(b.image, make_image(random_rgb(5), 7))
    b.graph.spin_until(lambda: b.compressed.get_subscription_count() == 0)
    b.send(make_image(random_rgb(6), 8))
    b.graph.spin_until(lambda: len(depth) == 2)
    assert [stamp_ns(message) for message in depth] == [7, 8]


@pytest.mark.parametrize(("transport", "heard"), [("raw", (1, 0)), ("compressed", (0, 1))])
def test_one_transport_can_be_chosen(bench, transport, heard):
    b = bench(image_transport=transport)
    b.start()
    b.graph.spin_for(0.1)
    counts = (b.image.get_subscription_count(), b.compressed.get_subscription_count())
    assert counts == heard


def test_images_wait_for_camera_info_and_the_newest_is_served(bench):
    b = bench()
    assert b.node.start()
    depth = b.listen(Image, "depth/image")
    warned = []
    b.node.tally._log = warned.append
    for stamp in (1, 2, 3):
        b.graph.publish_matched(b.image, make_image(random_rgb(stamp), stamp))
        b.wait_until_waiting(stamp)
    b.graph.spin_for(0.1)
    assert not depth and "no camera_info on /camera_info" in warned[0] and len(warned) == 1
    b.graph.publish_matched(b.info, make_camera_info())
    b.graph.spin_until(lambda: depth)
    assert stamp_ns(depth[0]) == 3
    assert b.count("no camera_info") == 2


def test_newest_frame_wins_while_the_network_is_busy(bench):
    entered, go_on = threading.Event(), threading.Event()

    class Slow(RampPredictor):
        def __call__(self, rgb, camera):
            entered.set()
            assert go_on.wait(15.0)
            return super().__call__(rgb, camera)

    b = bench(Slow)
    b.start()
    depth = b.listen(Image, "depth/image")
    b.graph.publish_matched(b.image, make_image(random_rgb(0), 1))
    b.graph.spin_until(entered.is_set)
    for stamp in (2, 3, 4):
        b.graph.publish_matched(b.image, make_image(random_rgb(0), stamp))
        b.wait_until_waiting(stamp)
    go_on.set()
    b.graph.spin_until(lambda: len(depth) == 2)
    assert [stamp_ns(message) for message in depth] == [1, 4]
    assert b.count("replaced by a newer frame") == 2


def truncated():
    image = make_image(random_rgb(0))
    image.data = image.data[:-1]
    return image


def of_encoding(encoding):
    image = make_image(random_rgb(0))
    image.encoding = encoding
    return image


BAD_FRAMES = {
    "truncated": (truncated, "DecodingError"),
    "zero size": (lambda: Image(encoding="rgb8"), "DecodingError"),
    "unknown encoding": (lambda: of_encoding("h264"), "DecodingError"),
    "depth as image": (lambda: of_encoding("32FC1"), "DecodingError"),
    "broken jpeg": (lambda: CompressedImage(format="jpeg", data=b"\xff\xd8\xff"), "DecodingError"),
    "other size": (lambda: make_image(random_rgb(0, 32, 32)), "CalibrationError"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frames_are_dropped_counted_and_survived(bench, name):
    make, reason = BAD_FRAMES[name]
    b = bench()
    b.start()
    depth = b.listen(Image, "depth/image")
    warned = []
    b.node.tally._log = warned.append
    b.send(make())
    assert b.count(reason) == 1 and not depth
    assert len(warned) == 1 and "frame dropped" in warned[0] and "Traceback" not in warned[0]
    b.send(make_image(random_rgb(0), 9))
    b.graph.spin_until(lambda: depth)
    assert stamp_ns(depth[0]) == 9


def uncalibrated(value):
    info = make_camera_info()
    info.k, info.p = [value] * 9, [value] * 12
    return info


@pytest.mark.parametrize(
    "info",
    [uncalibrated(0.0), uncalibrated(float("nan")), make_camera_info(HEIGHT, 2 * WIDTH)],
    ids=["no K and P", "NaN", "other size"],
)
def test_impossible_camera_info_drops_frames_until_a_good_one_comes(bench, info):
    b = bench()
    b.start(info)
    depth = b.listen(Image, "depth/image")
    b.send(make_image(random_rgb(0), 1))
    assert b.count("CalibrationError") == 1
    good = make_camera_info()
    b.graph.publish_matched(b.info, good)
    b.graph.spin_until(
        lambda: b.node._camera.info.k[0] == 80.0 and b.node._camera.info.width == WIDTH
    )
    b.send(make_image(random_rgb(0), 2))
    b.graph.spin_until(lambda: depth)
    assert [stamp_ns(message) for message in depth] == [2]


def test_an_unexpected_exception_is_logged_with_its_traceback_and_survived(bench):
    class Faulty(RampPredictor):
        def __call__(self, rgb, camera):
            if self.calls == 0:
                self.calls += 1
                raise RuntimeError("out of memory")
            return super().__call__(rgb, camera)

    b = bench(Faulty)
    b.start()
    depth = b.listen(Image, "depth/image")
    warned = []
    b.node.tally._log = warned.append
    b.send(make_image(random_rgb(0), 1))
    assert b.count("unexpected error") == 1
    assert "Traceback" in warned[0] and "out of memory" in warned[0]
    b.send(make_image(random_rgb(0), 2))
    b.graph.spin_until(lambda: depth)


def test_lifecycle_by_hand_frees_the_network(bench):
    b = bench(autostart=False)
    assert not b.node.config.autostart
    assert b.state() == State.PRIMARY_STATE_UNCONFIGURED
    for _ in range(2):
        assert b.node.trigger_configure() == SUCCESS
        assert b.state() == State.PRIMARY_STATE_INACTIVE
        assert b.image.get_subscription_count() == 0
        predictor = weakref.ref(b.node.network.loaded.predictor)
        assert b.node.trigger_activate() == SUCCESS
        b.graph.spin_until(b.image.get_subscription_count)
        assert b.node.trigger_deactivate() == SUCCESS
        b.graph.spin_until(lambda: b.image.get_subscription_count() == 0)
        assert predictor() is not None
        assert b.node.trigger_cleanup() == SUCCESS
        gc.collect()
        assert predictor() is None and b.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert b.node.trigger_shutdown() == SUCCESS
    assert b.state() == State.PRIMARY_STATE_FINALIZED


def test_frames_of_before_a_pause_are_not_served_after_it(bench):
    b = bench()
    b.start()
    b.node.trigger_deactivate()
    depth = b.listen(Image, "depth/image")
    b.image.publish(make_image(random_rgb(0), 1))
    b.node.trigger_activate()
    b.graph.publish_matched(b.info, make_camera_info())
    b.graph.spin_until(lambda: b.node._camera.info is not None)
    b.send(make_image(random_rgb(0), 2))
    b.graph.spin_until(lambda: depth)
    assert [stamp_ns(message) for message in depth] == [2]


def test_a_bad_checkpoint_fails_configuring_with_one_line(bench, capfd):
    def refuse(checkpoint, config):
        raise CheckpointError(f"no checkpoint {checkpoint}")

    b = bench(refuse, checkpoint="nowhere")
    assert b.node.trigger_configure() == FAILURE
    assert b.state() == State.PRIMARY_STATE_UNCONFIGURED
    log = capfd.readouterr().err
    assert "cannot configure: no checkpoint nowhere" in log and "Traceback" not in log
    assert not b.node.start()


def test_an_unexpected_error_while_configuring_is_shown(bench, capfd):
    def fail(checkpoint, config):
        raise KeyError("weights")

    b = bench(fail)
    assert b.node.trigger_configure() == TransitionCallbackReturn.ERROR
    assert b.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert "KeyError: 'weights'" in capfd.readouterr().err


def test_depth_scale_can_be_set_while_running(bench):
    b = bench()
    b.start()
    depth = b.listen(Image, "depth/image")
    rgb = np.full((HEIGHT, WIDTH, 3), 51, np.uint8)
    b.send(make_image(rgb, 1))
    assert b.node.set_parameters([Parameter("depth_scale", value=2.0)])[0].successful
    b.send(make_image(rgb, 2))
    b.graph.spin_until(lambda: len(depth) == 2)
    assert [image_to_depth(message)[0, 0] for message in depth] == [2.0, 4.0]


def test_bad_parameters_are_refused_at_start(graph):
    with pytest.raises(ConfigError, match="num_threads"):
        DepthNode(RampPredictor, parameter_overrides=[Parameter("num_threads", value=-1)])
    with pytest.raises(ConfigError, match="did you mean checkpoint"):
        DepthNode(RampPredictor, parameter_overrides=[Parameter("chekpoint", value="x")])
