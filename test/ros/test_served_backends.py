"""The node with another backend than PyTorch: checked at once, prepared while PyTorch serves."""

from __future__ import annotations

import threading

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from live_bench import answer, statuses, values
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from mono_depth_ros import backends
from mono_depth_ros.backends import base
from mono_depth_ros.decoding import image_to_depth
from mono_depth_ros.errors import BackendError

pytestmark = pytest.mark.ros

AT_FIRST, THEN = "torch, float32", "onnxruntime, float32"


@pytest.fixture
def gate(monkeypatch):
    """Return an event that other backends wait for before they are compared with PyTorch."""
    gate, compare = threading.Event(), backends.require_same_answers

    def wait_and_compare(*arguments):
        assert gate.wait(30.0)
        compare(*arguments)

    monkeypatch.setattr(backends, "require_same_answers", wait_and_compare)
    return gate


def test_pytorch_serves_until_the_backend_is_ready(bench, light_checkpoint, gate):
    b = bench(None, checkpoint=str(light_checkpoint), backend="onnxruntime")
    b.start()
    depth = b.listen(Image, "depth/image")
    network = b.node.network
    assert network.loaded.execution == AT_FIRST
    first_m = image_to_depth(answer(b, depth, 1))
    arrays = b.graph.listen(DiagnosticArray, "/diagnostics")
    b.graph.spin_until(lambda: arrays)
    found = values(statuses(arrays[-1])["network"])
    assert found["backend"] == AT_FIRST
    assert found["loading"] == f"{light_checkpoint} ({THEN})"
    gate.set()
    b.graph.spin_until(lambda: network.loaded.execution == THEN)
    assert image_to_depth(answer(b, depth, 2)) == pytest.approx(first_m, rel=1e-4)
    assert network.facts()[0] == "" and "loading" not in network.facts()[1]


def test_one_that_deviates_is_refused_and_named(bench, light_checkpoint, monkeypatch, capfd):
    def deviates(*_):
        raise BackendError("deviates by 40 %")

    monkeypatch.setattr(backends, "require_same_answers", deviates)
    b = bench(None, checkpoint=str(light_checkpoint), backend="onnxruntime")
    b.start()
    depth = b.listen(Image, "depth/image")
    network = b.node.network
    b.graph.spin_until(lambda: network.trouble)
    refusal = f"cannot serve with {THEN}, PyTorch stays: deviates by 40 %"
    assert network.trouble == refusal and refusal in capfd.readouterr().err
    b.graph.spin_for(0.2)
    assert network.refused == 1 and not network._loader.busy
    answer(b, depth, 1)
    assert network.loaded.execution == AT_FIRST


def test_a_checkpoint_that_is_refused_meanwhile_does_not_cost_the_backend(
    bench, light_checkpoint, tmp_path, gate
):
    """The backend arrives while another checkpoint is wanted, and is asked for once more."""
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(light_checkpoint.read_bytes()[:-100])
    b = bench(None, checkpoint=str(light_checkpoint), backend="onnxruntime")
    b.start()
    b.node.network._check = str
    parameter = Parameter("checkpoint", value=str(broken))
    assert b.node.set_parameters([parameter])[0].successful
    gate.set()
    b.graph.spin_until(lambda: b.node.network.loaded.execution == THEN)
    assert b.node.get_parameter("checkpoint").value == str(light_checkpoint)
    assert b.node.network.refused == 1


@pytest.mark.parametrize(
    ("backend", "precision", "reason"),
    [
        ("torch_compiled", "float16", "runs on cuda, not on cpu"),
        ("openvino", "float16", "offers float32, bfloat16, int8, not float16"),
        ("onnxruntime", "float32", "run `pip install onnxruntime`"),
    ],
)
def test_what_cannot_be_had_fails_to_configure(
    bench, light_checkpoint, backend, precision, reason, monkeypatch, capfd
):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(base.importlib, "import_module", missing)
    b = bench(
        None, checkpoint=str(light_checkpoint), backend=backend, precision=precision, device="cpu",
        autostart=False,
    )  # fmt: skip
    b.node.trigger_configure()
    assert b.node.network.loaded is None
    assert reason in capfd.readouterr().err


def test_on_the_cpu_a_backend_of_gpus_gives_way_to_pytorch(bench, light_checkpoint):
    b = bench(
        None, checkpoint=str(light_checkpoint), backend="torch_compiled", precision="float16",
        device="cuda:7", on_device_error="cpu", autostart=False,
    )  # fmt: skip
    b.start()
    assert b.node.network.moving_to_cpu
    assert b.node.network.loaded.execution == AT_FIRST
