"""Images of real lenses through the running node, and camera_info in all the ways it comes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
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
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, RegionOfInterest

from mono_depth_ros.decoding import image_to_depth, point_cloud_fields
from mono_depth_ros.ros.camera_view import CameraView, CameraViews, is_called_rectified
from mono_depth_ros.ros.depth_node import DepthNode

pytestmark = pytest.mark.ros

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
K = np.array([[70.0, 0, 46.0], [0, 71.0, 33.0], [0, 0, 1]])
P = np.array([[60.0, 0, 47.0, -6.0], [0, 60.0, 31.0, 0], [0, 0, 1, 0]])
ROTATION = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
LENSES = {
    "plumb_bob": ("plumb_bob", [-0.3, 0.1, 0.002, -0.001, -0.02]),
    "four terms": ("plumb_bob", [0.2, 0.1, 0.002, -0.001]),
    "rational": ("rational_polynomial", [0.2, -0.05, 0.001, 0.0005, 0.01, 0.45, -0.02, 0.02]),
    "thin prism": ("rational_polynomial", [0.2, -0.05, 0.0, 0.0, 0.0, 0.4, 0.0, 0.0, 0.02, 0.0,
                                           0.01, 0.0]),
    "tilted": ("rational_polynomial", [0.2, -0.05, 0.001, 0.0005, 0.01, 0.45, -0.02, 0.02, 0.002,
                                       -0.001, 0.0015, 0.0005, 0.02, -0.03]),
    "equidistant": ("equidistant", [-0.02, 0.01, -0.003, 0.001]),
}  # fmt: skip


def distorted_info(model="plumb_bob", d=(-0.3, 0.1, 0.0, 0.0, 0.0), stamp=0, **fields):
    info = CameraInfo(
        height=HEIGHT, width=WIDTH, distortion_model=model, d=list(d), k=K.ravel(),
        r=ROTATION.ravel(), p=P.ravel(),
    )  # fmt: skip
    for name, value in fields.items():
        setattr(info, name, value)
    return with_header(info, stamp)


class Rig:
    """A depth node, the topics in front of it and its outputs by name."""

    def __init__(self, graph, arguments=(), info_qos=BEST_EFFORT, **parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.graph = graph
        self.info = graph.node.create_publisher(CameraInfo, "camera_info", info_qos)
        self.node = graph.add(
            DepthNode(
                RampPredictor,
                parameter_overrides=overrides,
                cli_args=["--ros-args", *arguments] if arguments else None,
            )
        )
        assert self.node.start()
        self.image = graph.node.create_publisher(
            Image, self.node.resolve_topic_name("image"), BEST_EFFORT
        )
        self.outputs = {
            topic: graph.listen(message_type, f"/depth_node/{topic}")
            for message_type, topic in (
                (Image, "depth/image"),
                (CameraInfo, "depth/camera_info"),
                (PointCloud2, "points"),
            )
        }
        for publisher in self.node.publishers:
            if publisher.topic_name.removeprefix("/depth_node/") in self.outputs:
                graph.spin_until(publisher.get_subscription_count)

    def know(self, info):
        """Publish a camera_info and wait until the node has it."""
        self.graph.publish_matched(self.info, info)
        self.graph.spin_until(lambda: self.node._camera.info == info)

    def send(self, image):
        """Publish an image; return depth, camera_info and cloud of it."""
        self.graph.publish_matched(self.image, image)
        self.graph.spin_until(
            lambda: all(m and stamp_ns(m[-1]) == stamp_ns(image) for m in self.outputs.values())
        )
        return tuple(messages[-1] for messages in self.outputs.values())


@pytest.fixture
def rig(graph):
    rigs = []

    def make(**options):
        rigs.append(Rig(graph, **options))
        return rigs[-1]

    yield make
    for made in rigs:
        made.node.stop(15.0)


def undistorted(points, model, d):
    """Return OpenCV's rays (N, 2) of the camera's pixels (N, 2)."""
    if model == "equidistant":
        return cv2.fisheye.undistortPoints(points[:, None], K, np.array(d))[:, 0]
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-12)
    return cv2.undistortPointsIter(points[:, None], K, np.array(d), None, None, criteria)[:, 0]


def projected(points_m, model, d):
    """Return OpenCV's pixels (N, 2) of points (N, 3) in the camera's own frame."""
    no_move = np.zeros(3), np.zeros(3)
    if model == "equidistant":
        return cv2.fisheye.projectPoints(points_m[:, None], *no_move, K, np.array(d))[0][:, 0]
    return cv2.projectPoints(points_m, *no_move, K, np.array(d))[0][:, 0]


@pytest.mark.parametrize("name", LENSES)
def test_the_cloud_projects_through_the_lens_onto_the_pixels_whose_colours_it_carries(rig, name):
    """A plane seen through the lens: red is its depth, green and blue are twice column and row."""
    model, d = LENSES[name]
    rows, columns = np.indices((HEIGHT, WIDTH), dtype=np.float64)
    rays = np.column_stack((
        undistorted(np.column_stack((columns.ravel(), rows.ravel())), model, d),
        np.ones(HEIGHT * WIDTH),
    ))  # fmt: skip
    normal, distance_m = np.array([0.2, -0.1, 1.0]), 4.0
    plane_m = rays * (distance_m / (rays @ normal))[:, None]
    depth_m = (plane_m @ ROTATION.T)[:, 2].reshape(HEIGHT, WIDTH)
    picture = np.stack((depth_m * 25.5, 2 * columns, 2 * rows), -1).round().astype(np.uint8)

    camera = rig()
    camera.know(distorted_info(model, d))
    depth, info, cloud = camera.send(make_image(picture, 5))
    fields = point_cloud_fields(cloud)
    points_m = np.column_stack([fields[axis] for axis in "xyz"]).astype(np.float64)
    known = np.isfinite(points_m).all(1)
    assert known.mean() > 0.5
    bgr0 = fields["rgb"].view(np.uint8).reshape(-1, 4)
    points_m = points_m[known] @ ROTATION  # rectified_from_raw, transposed
    pixels = projected(points_m, model, d)
    # Half a step of the colour, and of the map.
    limit_px = 0.25 + 1 / 64 + 0.06
    assert np.abs(pixels[:, 0] - bgr0[known, 1] / 2).max() < limit_px
    assert np.abs(pixels[:, 1] - bgr0[known, 0] / 2).max() < limit_px
    # A step of red is 0.04 m.
    assert np.abs(points_m @ normal - distance_m).max() < 0.05
    # What the camera_info says is what the cloud was made with.
    x, z = fields["x"].reshape(HEIGHT, WIDTH)[20], fields["z"].reshape(HEIGHT, WIDTH)[20]
    np.testing.assert_allclose(
        (x / z)[~np.isnan(z)], ((np.arange(WIDTH) - info.p[2]) / info.p[0])[~np.isnan(z)], rtol=1e-5
    )
    assert np.isnan(image_to_depth(depth)).sum() == (~known).sum()


def test_camera_info_is_that_of_the_rectified_picture(rig):
    camera = rig()
    # The middle of a sensor of 200 x 150, every second pixel.
    window = RegionOfInterest(x_offset=4, y_offset=11, width=2 * WIDTH, height=2 * HEIGHT)
    camera.know(
        distorted_info(stamp=3, width=200, height=150, binning_x=2, binning_y=2, roi=window)
    )
    _, info, _ = camera.send(make_image(random_rgb(1), 7, "left_optical"))
    cx, cy = (47 - 4 + 0.5) / 2 - 0.5, (31 - 11 + 0.5) / 2 - 0.5
    assert info.k.tolist() == [30.0, 0, cx, 0, 30.0, cy, 0, 0, 1]
    # The baseline, 0.1 m, stays.
    assert info.p.tolist() == pytest.approx([30.0, 0, cx, -3.0, 0, 30.0, cy, 0, 0, 0, 1, 0])
    assert info.r.tolist() == np.eye(3).ravel().tolist() and set(info.d) == {0.0}
    assert (info.width, info.height, info.binning_x, info.roi.width) == (WIDTH, HEIGHT, 0, 0)
    assert (stamp_ns(info), info.header.frame_id) == (7, "left_optical")


def test_depth_is_unknown_where_the_camera_saw_nothing(rig):
    camera = rig()
    camera.know(distorted_info(d=[0.3, 0.0, 0.0, 0.0, 0.0]))
    depth, _, _ = camera.send(make_image(np.full((HEIGHT, WIDTH, 3), 102, np.uint8), 1))
    depth_m = image_to_depth(depth)
    rays = np.stack(
        [(i - c) / 60.0 for i, c in zip(np.indices((HEIGHT, WIDTH))[::-1], (47, 31), strict=True)]
        + [np.ones((HEIGHT, WIDTH))],
        -1,
    )
    pixels = projected(rays.reshape(-1, 3) @ ROTATION, *distorted_pair(0.3))
    inside = ((pixels >= 0.05) & (pixels <= (WIDTH - 1.05, HEIGHT - 1.05))).all(1)
    outside = ((pixels <= -0.05) | (pixels >= (WIDTH - 0.95, HEIGHT - 0.95))).any(1)
    assert outside.sum() > 100
    assert np.isnan(depth_m.ravel()[outside]).all()
    assert (depth_m.ravel()[inside] == np.float32(4.0)).all()


def distorted_pair(k1):
    return "plumb_bob", [k1, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "options",
    [{"rectified": True}, {"arguments": ("-r", "image:=/left/image_rect_color")}],
    ids=["parameter", "topic"],
)
def test_rectified_images_are_taken_as_they_are(rig, options):
    camera = rig(**options)
    info = distorted_info()
    camera.know(info)
    rgb = random_rgb(2)
    depth, published, cloud = camera.send(make_image(rgb, 4))
    assert image_to_depth(depth).tobytes() == RampPredictor("", camera.node.network.inference)(
        rgb, None
    ).tobytes()  # fmt: skip
    info.header = published.header
    assert published == info
    fields = point_cloud_fields(cloud)
    assert fields["x"][5] / fields["z"][5] == pytest.approx((5 - 47) / 60, rel=1e-5)


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/image_raw", False),
        ("/camera/image", False),
        ("/camera/direction/image", False),
        ("/camera/image_rect", True),
        ("/zed/left/image_rect_color/compressed", True),
        ("/zed/rgb/color/rect/image", True),
        ("/stereo/rectified_left", True),
    ],
)
def test_names_of_rectified_images(topic, rectified):
    assert is_called_rectified(topic) is rectified


def test_a_camera_info_sent_once_before_the_node_started_is_heard(graph, rig):
    early = graph.node.create_publisher(CameraInfo, "camera_info", LATCHED)
    early.publish(distorted_info(stamp=1))
    camera = rig(info_qos=LATCHED)  # a second publisher, that says nothing
    for stamp in range(2, 4):
        camera.send(make_image(random_rgb(stamp), stamp))
    assert camera.node.tally.counts["published"] == 2


RAMP_NODE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from ros_support import RampPredictor
from mono_depth_ros.ros.depth_process import main
main(load_predictor=RampPredictor)
"""


def test_a_process_hears_a_fisheye_that_was_described_once_before_it_started(
    network_graph, start_process
):
    graph, remaps = network_graph, ("-r", "image:=/cam/image_raw", "-r", "camera_info:=/cam/info")
    described = graph.node.create_publisher(CameraInfo, "/cam/info", LATCHED)
    described.publish(distorted_info(*LENSES["equidistant"]))
    image = graph.node.create_publisher(Image, "/cam/image_raw", BEST_EFFORT)
    infos = graph.listen(CameraInfo, "/depth_node/depth/camera_info")
    depths = graph.listen(Image, "/depth_node/depth/image")
    node = start_process("-c", RAMP_NODE, "--ros-args", *remaps)
    graph.spin_until(image.get_subscription_count, timeout_s=120.0)
    for stamp in range(1, 100):
        image.publish(make_image(np.full((HEIGHT, WIDTH, 3), 102, np.uint8), stamp))
        graph.spin_for(0.1)
        if infos and depths:
            break
    assert infos[0].k.tolist() == P[:, :3].ravel().tolist(), node.output
    depth_m = image_to_depth(depths[0])
    assert np.nanmin(depth_m) == 4.0 and depth_m[HEIGHT // 2, WIDTH // 2] == 4.0
    assert "images of /cam/image_raw: taking out equidistant" in node.output


def test_nobody_is_asked_for_what_only_latched_publishers_keep(graph, rig):
    camera = rig()
    graph.publish_matched(camera.image, make_image(random_rgb(0), 1))
    waiting = camera.node._worker._waiting
    graph.spin_until(lambda: waiting)
    assert "latched_camera_info" not in camera.node._camera.inputs._subscriptions
    camera.know(distorted_info())
    graph.spin_until(lambda: camera.outputs["points"])


@pytest.mark.parametrize(
    "bad",
    [
        distorted_info(d=[np.nan] * 5),
        distorted_info(r=[np.nan] * 9),
        distorted_info(k=[0.0] * 9),
        distorted_info("double_sphere"),
        distorted_info(width=2 * WIDTH, height=2 * HEIGHT),
        distorted_info(width=2**32 - 1, height=2**32 - 1),
    ],
    ids=["D NaN", "R NaN", "K zero", "unknown model", "other size", "absurd size"],
)
def test_an_impossible_lens_drops_frames_until_a_good_one_comes(rig, bad):
    camera = rig()
    camera.info.publish(bad)  # NaN is not equal to itself
    camera.graph.spin_until(lambda: camera.node._camera.info is not None)
    camera.graph.publish_matched(camera.image, make_image(random_rgb(0), 1))
    camera.graph.spin_until(lambda: camera.node.tally.counts.get("CalibrationError"))
    camera.know(distorted_info())
    camera.send(make_image(random_rgb(0), 2))
    assert [stamp_ns(message) for message in camera.outputs["depth/image"]] == [2]


def header(stamp):
    return make_image(random_rgb(0), stamp).header


def test_each_image_is_seen_with_the_camera_info_of_its_own_stamp():
    told = []
    views = CameraViews(False, "cpu", told.append)
    # The camera zooms between stamps 1 and 2, and turns into a pinhole at 3.
    views.add(distorted_info(stamp=1))
    views.add(distorted_info(stamp=2, p=(P * [[2], [2], [1]]).ravel()))
    first, second = views.of(header(1), "/image"), views.of(header(2), "/image")
    assert (first.camera.fx, second.camera.fx) == (60.0, 120.0)
    assert views.of(header(9), "/image") is second  # the newest
    views.add(with_header(make_camera_info(focal_px=90.0), 3))
    assert views.of(header(3), "/image").camera.fx == 90.0
    views.add(with_header(make_camera_info(focal_px=90.0), 4))
    assert views.of(header(4), "/image") is views.of(header(3), "/image")
    assert ["plumb_bob" in line for line in told] == [True, False] and "no distortion" in told[1]


def test_an_ideal_camera_is_not_resampled():
    info = make_camera_info(focal_px=80.0)
    info.p = make_camera_info(focal_px=40.0).p
    view = CameraView(info, rectified=False)
    rgb = random_rgb(3)
    assert view.picture(rgb) is rgb and view.camera.fx == 40.0
    published = view.camera_info(header(1))
    assert (published.k[0], published.p[0]) == (40.0, 40.0)
