"""What can change while the node serves: checkpoint, calibration, rate."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from live_bench import WAIT_S, Named, serve, statuses, values
from rclpy.parameter import Parameter
from ros_support import HEIGHT, WIDTH, make_camera_info, make_image, stamp_ns
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from test_depth_node import BEST_EFFORT

from mono_depth_ros.calibration import (
    CalibratedCamera,
    calibration_by_hand,
    load_calibration,
    save_calibration,
)
from mono_depth_ros.errors import CheckpointError, ConfigError
from mono_depth_ros.predictor import InferenceConfig
from mono_depth_ros.ros.background_loader import BackgroundLoader
from mono_depth_ros.ros.loading import Loaded

pytestmark = pytest.mark.ros


class TestCheckpoint:
    def test_the_old_one_serves_until_the_new_one_is_ready(self, serving):
        b, depth, set_parameters = serving
        assert serve(b, depth, 1) == 1.0
        assert set_parameters(checkpoint="slow_3").successful
        b.graph.spin_for(0.1)
        assert serve(b, depth, 2) == 1.0
        Named.go_on.set()
        b.graph.spin_until(lambda: b.node.network.loaded.checkpoint == "slow_3")
        assert serve(b, depth, 3) == 3.0
        assert b.node.get_parameter("checkpoint").value == "slow_3"

    def test_settings_made_meanwhile_hold_for_the_new_one(self, serving):
        b, depth, set_parameters = serving
        assert set_parameters(checkpoint="slow_3").successful
        b.graph.spin_for(0.1)
        assert set_parameters(depth_scale=2.0).successful
        Named.go_on.set()
        b.graph.spin_until(lambda: b.node.network.loaded.checkpoint == "slow_3")
        assert serve(b, depth, 1) == 6.0

    def test_of_several_the_last_one_stays(self, serving):
        b, depth, set_parameters = serving
        for name in ("slow_3", "slow_4", "two_2"):
            assert set_parameters(checkpoint=name).successful
        Named.go_on.set()
        b.graph.spin_until(lambda: b.node.network.loaded.checkpoint == "two_2")
        b.graph.spin_for(0.1)
        assert serve(b, depth, 1) == 2.0

    def test_one_that_cannot_be_loaded_leaves_the_old_one(self, serving, capfd):
        b, depth, set_parameters = serving
        assert set_parameters(checkpoint="missing_5").successful
        b.graph.spin_until(lambda: b.node.get_parameter("checkpoint").value == "one_1")
        assert "one_1 stays: no checkpoint missing_5; choose from" in capfd.readouterr().err
        assert serve(b, depth, 1) == 1.0
        arrays = b.graph.listen(DiagnosticArray, "/diagnostics")
        b.graph.spin_until(lambda: arrays)
        network = values(statuses(arrays[-1])["network"])
        assert network["refused checkpoints"] == "1" and "missing_5" in network["last refusal"]
        assert network["checkpoint"] == "one_1"

    def test_the_serving_one_may_be_named_again_though_its_file_is_gone(self, serving):
        b, depth, set_parameters = serving
        assert set_parameters(checkpoint="slow_3").successful

        def gone(checkpoint):
            raise CheckpointError(f"no file {checkpoint}")

        b.node.network._check = gone
        assert not set_parameters(checkpoint="two_2").successful
        assert set_parameters(checkpoint="one_1").successful
        Named.go_on.set()
        b.graph.spin_until(lambda: not b.node.network._loader.busy)
        assert serve(b, depth, 1) == 1.0

    def test_a_real_name_is_checked_at_once(self, bench, light_checkpoint):
        b = bench(None, checkpoint=str(light_checkpoint))
        reply = b.node.set_parameters([Parameter("checkpoint", value="pwa_heavy_moons")])[0]
        assert not reply.successful and "pwa_heavy_moons" in reply.reason
        assert b.node.get_parameter("checkpoint").value == str(light_checkpoint)

    def test_before_configuring_it_is_only_remembered(self, bench):
        b = bench(Named, checkpoint="one_1", autostart=False)
        assert b.node.set_parameters([Parameter("checkpoint", value="two_2")])[0].successful
        assert b.node.network.loaded is None
        b.start()
        assert b.node.network.loaded.checkpoint == "two_2"

    def test_every_depth_has_the_camera_info_of_its_image(self, serving):
        """The camera changes together with the checkpoint: no pair is mixed."""
        b, depth, set_parameters = serving
        infos = b.listen(CameraInfo, "depth/camera_info")
        Named.go_on.set()
        focal_px = {}
        for stamp in range(1, 13):
            focal_px[stamp] = 80.0 + stamp
            info = make_camera_info(focal_px=focal_px[stamp])
            info.header.stamp.nanosec = stamp
            b.info.publish(info)
            b.graph.spin_until(
                lambda stamp=stamp: b.node._camera.info.header.stamp.nanosec == stamp
            )
            if stamp % 3 == 0:
                set_parameters(checkpoint=f"slow_{stamp}")
            serve(b, depth, stamp)
        b.graph.spin_until(lambda: len(infos) == len(depth))
        assert {stamp_ns(info): info.k[0] for info in infos} == focal_px
        assert [stamp_ns(info) for info in infos] == [stamp_ns(d) for d in depth]


def test_the_loader_takes_the_last_wish_and_hands_over_in_the_executors_thread(graph):
    gate, arrivals, threads = threading.Event(), [], set()

    def load(name):
        threads.add(threading.current_thread().name)
        assert gate.wait(WAIT_S)
        if name == "broken":
            raise ValueError("no tensors")
        return name.upper()

    def arrived(arrival):
        arrivals.append((arrival.wanted, arrival.loaded, threading.current_thread().name))

    loader = BackgroundLoader(graph.node, load, arrived)
    loader.want("a")
    loader.want("broken")
    loader.want("c")
    gate.set()
    graph.spin_until(lambda: len(arrivals) == 2)
    assert [found[:2] for found in arrivals] == [("a", "A"), ("c", "C")]
    loader.want("broken")
    graph.spin_until(lambda: len(arrivals) == 3)
    assert arrivals[2][:2] == ("broken", None)
    assert threads == {"loader"} and {found[2] for found in arrivals} == {"MainThread"}
    assert not loader.busy


class TestCalibrationServices:
    def call(self, b, name):
        client = b.graph.node.create_client(Trigger, f"/depth_node/{name}")
        b.graph.spin_until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        b.graph.spin_until(future.done)
        return future.result()

    def test_a_scale_found_by_hand_is_saved_and_loaded_again(self, serving, tmp_path):
        b, depth, set_parameters = serving
        path = tmp_path / "robot" / "scale.yaml"
        reply = self.call(b, "save_calibration")
        assert not reply.success and "set the parameter calibration_file" in reply.message
        assert set_parameters(calibration_file=str(path), depth_scale=1.7).successful
        reply = self.call(b, "save_calibration")
        assert not reply.success and "no frame was served yet" in reply.message
        assert serve(b, depth, 1) == pytest.approx(1.7)
        reply = self.call(b, "save_calibration")
        assert reply.success and str(path) in reply.message
        saved = load_calibration(path)
        assert (saved.method, saved.depth_scale, saved.checkpoint) == ("by-hand", 1.7, "one_1")
        assert (saved.camera.fx_px, saved.camera.width_px) == (80.0, WIDTH)
        reply = self.call(b, "load_calibration")
        assert not reply.success and "set besides a calibration file" in reply.message
        assert serve(b, depth, 2) == pytest.approx(1.7)
        assert set_parameters(depth_scale=1.0).successful
        assert serve(b, depth, 3) == 1.0
        reply = self.call(b, "load_calibration")
        assert reply.success and "scale 1.7" in reply.message
        assert serve(b, depth, 4) == pytest.approx(1.7)

    def test_what_cannot_be_read_or_written_changes_nothing(self, serving, tmp_path):
        b, depth, set_parameters = serving
        assert serve(b, depth, 1) == 1.0
        missing = tmp_path / "none.yaml"
        assert set_parameters(calibration_file=str(missing)).successful
        reply = self.call(b, "load_calibration")
        assert not reply.success and "none.yaml" in reply.message
        (tmp_path / "file").write_text("no folder")
        assert set_parameters(calibration_file=str(tmp_path / "file" / "x.yaml")).successful
        reply = self.call(b, "save_calibration")
        assert not reply.success and "cannot write" in reply.message
        assert serve(b, depth, 2) == 1.0


def test_no_frame_sees_a_calibration_half_applied(tmp_path):
    """The worker may read the settings at any time, so they are exchanged once."""
    seen = []

    class Watched(Named):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "config":
                seen.append(value.depth_scale)

    predictor = Watched("one_1", InferenceConfig(depth_scale=1.0))
    camera = CalibratedCamera(80.0, WIDTH, HEIGHT, 80.0)
    loaded, path = Loaded("one_1", predictor), tmp_path / "scale.yaml"
    for scale in (2.0, 3.0):
        save_calibration(path, calibration_by_hand(predictor.info, camera, scale, 0.0))
        loaded.set_calibration(str(path), InferenceConfig())
    assert seen == [1.0, 2.0, 3.0]
    with pytest.raises(ConfigError, match="set besides a calibration file"):
        loaded.set_calibration(str(path), InferenceConfig(depth_scale=5.0))
    assert seen == [1.0, 2.0, 3.0] and loaded.calibration.depth_scale == 3.0


class TestRate:
    def test_images_above_the_limit_are_dropped_and_counted(self, serving):
        b, depth, set_parameters = serving
        assert set_parameters(max_rate_hz=0.01).successful
        assert serve(b, depth, 1) == 1.0
        for stamp in (2, 3, 4):
            b.send(make_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), stamp))
        assert b.count("above max_rate_hz") == 3 and len(depth) == 1
        assert set_parameters(max_rate_hz=0.0).successful
        assert serve(b, depth, 5) == 1.0
        assert not set_parameters(max_rate_hz=-1.0).successful


def test_every_frame_is_counted_once_under_overload(bench):
    """60 images while the network needs longer than their period: received = served + dropped."""

    class Slow(Named):
        def __call__(self, rgb, camera):
            threading.Event().wait(0.02)
            return super().__call__(rgb, camera)

    b = bench(Slow, checkpoint="one_1")
    b.start()
    depth = b.listen(Image, "depth/image")
    publisher = b.graph.node.create_publisher(Image, "image", BEST_EFFORT)
    b.graph.spin_until(publisher.get_subscription_count)
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for stamp in range(1, 61):
        publisher.publish(make_image(rgb, stamp))
        b.graph.spin_for(0.005)
    tally = b.node.tally
    b.graph.spin_until(lambda: depth and stamp_ns(depth[-1]) == 60)
    assert b.node.trigger_deactivate().value == 97
    assert tally.received == tally.served + tally.dropped
    assert tally.dropped == sum(n for why, n in tally.counts.items() if why != "published")
    assert tally.served >= len(depth) > 1 and b.count("replaced by a newer frame") > 10
    stamps = [stamp_ns(message) for message in depth]
    assert stamps == sorted(set(stamps))
