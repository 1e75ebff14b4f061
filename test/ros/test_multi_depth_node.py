"""Several cameras, one network: headers, batches, turns, counts, in this process."""

import threading

import numpy as np
import pytest
import torch
from known_network import KnownNetwork, load_known
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support import make_camera_info, make_image, random_rgb, stamp_ns
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from mono_depth_ros.decoding import image_to_depth
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.ros.multi_depth_node import MultiDepthNode

pytestmark = pytest.mark.ros

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
NAMES = ["front", "left", "rear"]
SIZES = {"front": (64, 96), "left": (48, 64), "rear": (120, 160)}


class GatedNetwork(KnownNetwork):
    """Answers as it is let; remembers the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.batches, self.entered = [], threading.Semaphore(0)
        self.gate, self.gated = threading.Semaphore(0), False

    def _wait(self, image):
        self.batches.append(len(image))
        self.entered.release()
        if self.gated:
            assert self.gate.acquire(timeout=15.0)

    def training_outputs(self, image):
        self._wait(image)
        return super().training_outputs(image)


class Rig:
    """A node with cameras in front of it and listeners behind it."""

    def __init__(self, graph, names=NAMES, **parameters):
        self.graph, self.names = graph, names
        overrides = [Parameter("cameras", value=names)]
        overrides += [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = graph.add(
            MultiDepthNode(
                lambda checkpoint, config: load_known(checkpoint, config, GatedNetwork),
                parameter_overrides=overrides,
            )
        )
        make = graph.node.create_publisher
        self.image = {name: make(Image, f"{name}/image", BEST_EFFORT) for name in names}
        self.info = {name: make(CameraInfo, f"{name}/camera_info", BEST_EFFORT) for name in names}

    def start(self, informed=NAMES):
        assert self.node.start()
        self.network = self.node.network.loaded.predictor._network
        self.warm_up = list(self.network.batches)
        self.network.batches.clear()
        for name in informed:
            height, width = SIZES[name]
            self.graph.publish_matched(self.info[name], make_camera_info(height, width))
        cameras = {camera.name: camera for camera in self.node._cameras}
        self.graph.spin_until(lambda: all(cameras[name].info for name in informed))
        self.cameras = cameras

    def listen(self, kind=Image, topic="depth/image"):
        heard = {}
        for name in self.names:
            full = f"/multi_depth_node/{name}/{topic}"
            heard[name] = self.graph.listen(kind, full)
            publisher = next(p for p in self.node.publishers if p.topic_name == full)
            self.graph.spin_until(publisher.get_subscription_count)
        return heard

    def send(self, name, stamp, rgb=None):
        """Publish an image and wait until the node has received it."""
        tally = self.cameras[name].tally
        before = tally.received
        rgb = random_rgb(stamp, *SIZES[name]) if rgb is None else rgb
        self.graph.publish_matched(self.image[name], make_image(rgb, stamp, f"{name}_optical"))
        self.graph.spin_until(lambda: tally.received > before)

    def occupy(self, name):
        """Let the network hang on an image of a camera; the next gate.release() lets it go."""
        self.network.gated = True
        while self.network.entered.acquire(blocking=False):
            pass
        self.send(name, 1)
        self.graph.spin_until(lambda: self.network.entered.acquire(blocking=False))


@pytest.fixture
def rig(graph):
    rigs = []

    def make(*args, **parameters):
        rigs.append(Rig(graph, *args, **parameters))
        return rigs[-1]

    yield make
    for made in rigs:
        if hasattr(made, "network"):
            made.network.gate.release(1000)
        made.node.stop(15.0)


def test_every_output_is_that_of_its_own_camera(rig):
    r = rig()
    r.start()
    depth, info = r.listen(), r.listen(CameraInfo, "depth/camera_info")
    points = r.listen(PointCloud2, "points")
    pictures = {name: np.maximum(random_rgb(i, *SIZES[name]), 1) for i, name in enumerate(NAMES)}
    for i, name in enumerate(NAMES):
        r.send(name, 10**18 + i, pictures[name])
    r.graph.spin_until(lambda: all(depth.values()) and all(info.values()) and all(points.values()))
    for i, name in enumerate(NAMES):
        for message in (depth[name][0], info[name][0], points[name][0]):
            assert stamp_ns(message) == 10**18 + i
            assert message.header.frame_id == f"{name}_optical"
            assert (message.height, message.width) == SIZES[name]
        predictor = r.node.network.loaded.predictor
        camera = r.cameras[name].views.of(depth[name][0].header, "image").camera
        r.network.gated = False
        expected_m = predictor(pictures[name], camera)
        np.testing.assert_allclose(image_to_depth(depth[name][0]), expected_m, rtol=1e-5)


def test_all_cameras_that_wait_are_answered_in_one_run_with_their_newest_image(rig):
    r = rig()
    r.start()
    depth = r.listen()
    r.occupy("front")
    for stamp in (2, 3, 4):
        for name in NAMES:
            r.send(name, stamp)
    r.network.gate.release(2)
    r.graph.spin_until(lambda: all(depth.values()) and len(depth["front"]) == 2)
    assert r.network.batches == [1, 3]
    assert [[stamp_ns(m) for m in depth[name]] for name in NAMES] == [[1, 4], [4], [4]]
    for name in NAMES:
        assert r.cameras[name].tally.counts["replaced by a newer frame"] == 2


@pytest.mark.parametrize(("max_batch", "images"), [(0, 3), (2, 2)])
def test_the_network_is_warmed_up_with_the_largest_round(rig, max_batch, images):
    """A backend that compiles for a number of images must not do so while the node serves."""
    r = rig(max_batch=max_batch)
    r.start()
    assert r.warm_up == [images]


def test_under_overload_cameras_take_turns_whatever_their_rates(rig):
    r = rig(max_batch=1)
    r.start()
    depth = r.listen()
    r.occupy("front")
    stamp = 1
    for _ in range(9):
        for name, times in (("front", 5), ("left", 1), ("rear", 2)):
            for _ in range(times):
                stamp += 1
                r.send(name, stamp)
        r.network.gate.release()
        r.graph.spin_until(lambda: r.network.entered.acquire(blocking=False))
    r.network.gate.release(1000)
    served = r.node.tally
    r.graph.spin_until(lambda: served.received == served.served + served.dropped)
    assert set(r.network.batches) == {1}
    tallies = r.node.camera_tallies()
    counts = [tallies[name].served for name in NAMES]
    # 1 + 9 images were served in turns, then what still waited of the three.
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == served.served
    for name in NAMES:
        assert tallies[name].received == tallies[name].served + tallies[name].dropped
        stamps = [stamp_ns(m) for m in depth[name]]
        assert stamps == sorted(stamps)


def test_a_bad_frame_of_one_camera_costs_the_others_nothing(rig):
    r = rig()
    r.start()
    depth = r.listen()
    r.occupy("front")
    r.send("left", 2, random_rgb(0, 10, 10))
    r.send("front", 2)
    r.send("rear", 2)
    r.network.gate.release(2)
    r.graph.spin_until(lambda: len(depth["front"]) == 2 and depth["rear"])
    assert r.network.batches == [1, 2]
    assert r.cameras["left"].tally.counts == {"CalibrationError": 1}
    r.network.gate.release(1)
    r.send("left", 3)
    r.graph.spin_until(lambda: depth["left"])


def test_an_exception_of_the_network_drops_the_round_and_the_next_is_served(rig):
    r = rig()
    r.start()
    depth = r.listen()
    r.occupy("front")
    for name in NAMES:
        r.send(name, 2)
    r.network.training_outputs, real = None, r.network.training_outputs
    r.network.gate.release(1)
    r.graph.spin_until(lambda: r.node.tally.counts.get("unexpected error") == 3)
    r.network.training_outputs = real
    r.network.gate.release(10)
    r.send("rear", 3)
    r.graph.spin_until(lambda: depth["rear"])


class TestOutOfMemory:
    """Two images at once are one too many."""

    def overfill(self, r):
        real = r.network.training_outputs

        def outputs(image):
            if len(image) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(image)

        r.occupy("front")
        for name in NAMES:
            r.send(name, 2)
        r.network.training_outputs = outputs
        r.network.gate.release(100)

    def test_asks_about_fewer_at_once_if_it_may(self, rig, capfd):
        r = rig(on_device_error="smaller_batch")
        r.start()
        depth = r.listen()
        self.overfill(r)
        r.graph.spin_until(lambda: all(m and stamp_ns(m[-1]) == 2 for m in depth.values()))
        assert r.node._worker.most == 1
        told = "out of memory with 3 images in one run; from now on at most 2"
        assert told in capfd.readouterr().err
        assert r.node.network.facts()[0].startswith("out of memory with 2 images")
        assert "device error" not in r.node.tally.counts

    def test_stops_by_default(self, rig):
        r = rig()
        r.start()
        r.listen()
        self.overfill(r)
        r.graph.spin_until(lambda: r.node._worker is None)
        assert r.node.tally.counts["device error"] == 3


def test_a_camera_without_camera_info_holds_up_nobody(rig):
    r = rig()
    r.start(informed=["front"])
    depth = r.listen()
    for name in NAMES:
        r.send(name, 5)
    r.graph.spin_until(lambda: depth["front"])
    assert not depth["left"]
    r.graph.publish_matched(r.info["left"], make_camera_info(*SIZES["left"]))
    r.graph.spin_until(lambda: depth["left"])
    assert stamp_ns(depth["left"][0]) == 5
    assert r.node.trigger_deactivate()
    assert r.cameras["rear"].tally.counts == {"no camera_info": 1}


def test_nothing_is_computed_for_a_camera_that_nobody_listens_to(rig):
    r = rig()
    r.start()
    heard = r.graph.listen(Image, "/multi_depth_node/left/depth/image")
    publisher = next(
        p for p in r.node.publishers if p.topic_name == "/multi_depth_node/left/depth/image"
    )
    r.graph.spin_until(publisher.get_subscription_count)
    for name in NAMES:
        r.send(name, 1)
    r.graph.spin_until(lambda: heard)
    assert r.network.batches == [1]
    assert r.cameras["front"].tally.counts == {"nobody subscribed": 1}


def test_settings_hold_for_all_cameras(rig):
    r = rig()
    r.start()
    depth = r.listen()
    results = r.node.set_parameters([Parameter("output_size", value="network")])
    assert results[0].successful
    for name in NAMES:
        r.send(name, 1)
    r.graph.spin_until(lambda: all(depth.values()))
    sizes = [(m[0].height, m[0].width) for m in depth.values()]
    # All are letterboxed into 64x96: 48x64 and 120x160 both become 64x85.
    assert sizes == [(64, 96), (64, 85), (64, 85)]


def test_the_life_cycle_frees_everything_and_starts_again(rig):
    r = rig()
    for _ in range(2):
        r.start()
        r.node.trigger_deactivate()
        assert r.node.trigger_cleanup().name == "SUCCESS"
        assert r.node.network.loaded is None
        assert not [p for p in r.node.publishers if "depth/image" in p.topic_name]


@pytest.mark.parametrize("names", [["a", "a"], ["a/b"], [""], ["1st"]])
def test_impossible_names_are_refused(rig, names):
    with pytest.raises(ConfigError, match="cameras"):
        rig(names)
