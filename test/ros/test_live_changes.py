"""What can change while the node serves: checkpoint, calibration, rate; and a device that fails."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from ros_support import HEIGHT, WIDTH, RampPredictor, make_camera_info, make_image, stamp_ns
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from test_depth_node import BEST_EFFORT, Bench

from mono_depth_ros.calibration import load_calibration
from mono_depth_ros.decoding import image_to_depth
from mono_depth_ros.errors import CheckpointError
from mono_depth_ros.ros.background_loader import BackgroundLoader

pytestmark = pytest.mark.ros

WAIT_S = 15.0


class Named(RampPredictor):
    """Depth is 1 m times the number at the end of the checkpoint's name; `slow*` waits to load."""

    go_on = threading.Event()

    def __init__(self, checkpoint, config):
        super().__init__(checkpoint, config)
        if checkpoint.startswith("missing"):
            raise CheckpointError(f"no checkpoint {checkpoint}; choose from one_1, two_2")
        if checkpoint.startswith("slow"):
            assert Named.go_on.wait(WAIT_S)
        self.info = SimpleNamespace(**vars(RampPredictor.info), sha256="ab" * 32)
        self.info.name = checkpoint
        self.metres = float(checkpoint.rpartition("_")[2])

    def __call__(self, rgb, camera):
        self.calls += 1
        return np.full(rgb.shape[:2], self.metres * self.config.depth_scale, np.float32)

    def network_focal_px(self, camera):
        return camera.fx

    def calibrate(self, calibration):
        self.config = calibration.applied_to(self.config, self.info)


@pytest.fixture
def bench(graph):
    benches = []

    def make(*args, **parameters):
        benches.append(Bench(graph, *args, **parameters))
        return benches[-1]

    yield make
    for made in benches:
        made.node.stop(WAIT_S)


@pytest.fixture
def serving(bench):
    """Return a bench that serves 1 m, its depth images and its answer to setting a parameter."""
    Named.go_on.clear()
    b = bench(Named, checkpoint="one_1")
    b.start()
    depth = b.listen(Image, "depth/image")

    def set_parameters(**values):
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        return b.node.set_parameters_atomically(parameters)

    return b, depth, set_parameters


def shown_m(message):
    depth_m = image_to_depth(message)
    assert depth_m.min() == depth_m.max()
    return float(depth_m[0, 0])


def serve(b, depth, stamp):
    count = len(depth)
    b.send(make_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), stamp))
    b.graph.spin_until(lambda: len(depth) > count)
    assert stamp_ns(depth[-1]) == stamp
    return shown_m(depth[-1])


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
                lambda stamp=stamp: b.node._camera_info.header.stamp.nanosec == stamp
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


def statuses(array):
    return {status.name.rpartition(": ")[2]: status for status in array.status}


def values(status):
    return {pair.key: pair.value for pair in status.values}


class TestDiagnostics:
    def test_they_tell_what_happens(self, serving):
        b, depth, _ = serving
        arrays = b.graph.listen(DiagnosticArray, "/diagnostics")
        serve(b, depth, 1)
        bad = make_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 2)
        bad.encoding = "h264"
        b.send(bad)
        count = len(arrays)
        b.graph.spin_until(lambda: len(arrays) > count + 1)
        found = statuses(arrays[-1])
        frames, network = values(found["frames"]), values(found["network"])
        assert (frames["received"], frames["served"], frames["dropped"]) == ("2", "1", "1")
        assert frames["dropped: DecodingError"] == "1"
        assert float(frames["network, median, ms"]) >= 0.0
        assert network["checkpoint"] == "one_1" and network["device"] == "cpu"
        assert network["calibration"] == "none" and network["depth scale"] == "1"
        assert found["network"].level == DiagnosticStatus.OK
        assert found["frames"].name.startswith("/depth_node: ")

    def test_latency_of_every_frame_for_whoever_listens(self, serving):
        b, depth, _ = serving
        latency = b.graph.listen(DiagnosticArray, "/depth_node/latency")
        b.graph.spin_until(lambda: b.node._diagnostics._latency.get_subscription_count())
        serve(b, depth, 7)
        b.graph.spin_until(lambda: latency)
        (status,) = latency[0].status
        assert stamp_ns(latency[0]) == 7
        parts = {key: float(value) for key, value in values(status).items()}
        assert set(parts) == {"wait_ms", "decode_ms", "predict_ms", "publish_ms", "age_ms"}
        assert all(parts[name] >= 0.0 for name in parts)
        # Its stamp is 7 ns after 1970.
        assert parts["age_ms"] > 1e9


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


class OnGpu(Named):
    """Runs out of memory unless it is on the CPU."""

    def __init__(self, checkpoint, config):
        super().__init__(checkpoint, config)
        self.device = torch.device("cpu" if config.device == "cpu" else "cuda")

    def __call__(self, rgb, camera):
        if self.device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().__call__(rgb, camera)


class TestDeviceErrors:
    @pytest.fixture(autouse=True)
    def no_gpu_is_asked(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2**21)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def test_the_node_stops_and_says_so(self, bench, capfd):
        b = bench(OnGpu, checkpoint="one_1")
        b.start()
        b.listen(Image, "depth/image")
        arrays = b.graph.listen(DiagnosticArray, "/diagnostics")
        b.send(make_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 1))
        b.graph.spin_until(lambda: b.image.get_subscription_count() == 0)
        assert b.count("device error") == 1
        assert "the node deactivates" in capfd.readouterr().err
        count = len(arrays)
        b.graph.spin_until(lambda: len(arrays) > count)
        network = statuses(arrays[-1])["network"]
        assert network.level == DiagnosticStatus.ERROR and "device failed" in network.message
        assert values(network)["GPU memory, MB"] == "2"

    def test_the_cpu_takes_over_if_it_may(self, bench):
        b = bench(OnGpu, checkpoint="one_1", on_device_error="cpu")
        b.start()
        depth = b.listen(Image, "depth/image")
        arrays = b.graph.listen(DiagnosticArray, "/diagnostics")
        b.send(make_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 1))
        b.graph.spin_until(lambda: b.node.network.loaded.predictor.device.type == "cpu")
        assert serve(b, depth, 2) == 1.0
        b.graph.spin_until(
            lambda: arrays and values(statuses(arrays[-1])["network"])["device"] == "cpu"
        )
        assert "serving on the CPU" in statuses(arrays[-1])["network"].message


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
    b.graph.spin_until(lambda: tally.received == tally.served + tally.dropped)
    assert b.node.trigger_deactivate().value == 97
    assert tally.received == tally.served + tally.dropped
    assert tally.dropped == sum(n for why, n in tally.counts.items() if why != "published")
    assert tally.served >= len(depth) > 1 and b.count("replaced by a newer frame") > 10
