"""What the depth node says of itself, and what it does when its device fails."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from live_bench import Named, serve, statuses, values
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_support import HEIGHT, WIDTH, make_image, stamp_ns
from sensor_msgs.msg import Image

from mono_depth_ros.decoding import image_to_depth
from mono_depth_ros.ros.device_errors import is_device_error

pytestmark = pytest.mark.ros


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

    def test_frames_without_any_depth_are_served_and_counted(self, bench, capfd):
        class Broken(Named):
            def __call__(self, rgb, camera):
                return np.full(rgb.shape[:2], np.nan, np.float32)

        b = bench(Broken, checkpoint="one_1")
        b.start()
        depth = b.listen(Image, "depth/image")
        arrays = b.graph.listen(DiagnosticArray, "/diagnostics")
        for stamp in (1, 2):
            b.send(make_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), stamp))
        b.graph.spin_until(lambda: len(depth) == 2)
        assert np.isnan(image_to_depth(depth[1])).all()
        tally = b.node.tally
        assert (tally.received, tally.served, tally.served_empty, tally.drops) == (2, 2, 2, {})
        b.graph.spin_until(
            lambda: arrays and values(statuses(arrays[-1])["frames"])["served"] == "2"
        )
        frames = statuses(arrays[-1])["frames"]
        assert values(frames)["served without any depth"] == "2"
        assert not [key for key in values(frames) if key.startswith("dropped:")]
        assert capfd.readouterr().err.count("NaN everywhere: the network's answer") == 1

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


class OnGpu(Named):
    """Runs out of memory unless it is on the CPU; `large*` does already while it is loaded."""

    def __init__(self, checkpoint, config):
        super().__init__(checkpoint, config)
        self.device = torch.device("cpu" if config.device == "cpu" else "cuda")
        if checkpoint.startswith("large") and self.device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")

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
        # A checkpoint that cannot be loaded is refused there as anywhere.
        assert b.node.set_parameters([Parameter("checkpoint", value="missing_5")])[0].successful
        b.graph.spin_until(lambda: b.node.get_parameter("checkpoint").value == "one_1")
        assert "serving on the CPU" in b.node.network.trouble and serve(b, depth, 3) == 1.0

    def test_a_gpu_that_fails_while_configuring_fails_it_in_one_line(self, bench, capfd):
        b = bench(OnGpu, checkpoint="large_1")
        assert b.node.trigger_configure() == TransitionCallbackReturn.FAILURE
        log = capfd.readouterr().err
        assert "the device failed while large_1 was loaded: CUDA out of memory" in log
        assert "Traceback" not in log

    def test_or_configures_on_the_cpu_if_it_may(self, bench):
        b = bench(OnGpu, checkpoint="large_1", on_device_error="cpu")
        b.start()
        depth = b.listen(Image, "depth/image")
        assert serve(b, depth, 1) == 1.0
        assert "serving on the CPU" in b.node.network.trouble

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
            (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
            (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling ..."), True),
            (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
            (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
            (ValueError("CUDA error: said by something else"), False),
        ],
    )
    def test_what_an_error_of_the_device_is(self, error, expected):
        assert is_device_error(error) is expected
