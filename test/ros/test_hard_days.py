"""What a node meets in the field: bursts, clocks that jump, huge images, an end at any time."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from live_bench import Named, statuses, values
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_support import HEIGHT, WIDTH, make_camera_info, make_image, stamp_ns, with_header
from rosgraph_msgs.msg import Clock
from safetensors import safe_open
from safetensors.torch import save_file
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from test_depth_node import BEST_EFFORT
from test_processes import INPUTS, NODE, START_S, STOP_S

from mono_depth_ros.calibration import load_calibration

pytestmark = pytest.mark.ros

SUCCESS = TransitionCallbackReturn.SUCCESS
SECOND_NS = 10**9
BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
HEIGHT_4K, WIDTH_4K = 2160, 3840

# A node with another predictor.
PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from {module} import {name}
from mono_depth_ros.ros.depth_process import main

main(load_predictor={name})
"""


class Field:
    """A camera and a clock in front of a node's process, what it publishes, and its services."""

    def __init__(self, graph):
        self.graph = graph
        self.image = graph.node.create_publisher(Image, "/camera/image_raw", BEST_EFFORT)
        self.info = graph.node.create_publisher(CameraInfo, "/camera/camera_info", BEST_EFFORT)
        self.clock = graph.node.create_publisher(Clock, "/clock", 1)
        self.depth = graph.listen(Image, "/depth_node/depth/image")
        self.depth_info = graph.listen(CameraInfo, "/depth_node/depth/camera_info")
        self.latency = graph.listen(DiagnosticArray, "/depth_node/latency")
        self.diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
        self.sent = 0

    def send(self, stamp, rgb=BLACK):
        info = make_camera_info(*rgb.shape[:2])
        self.info.publish(with_header(info, stamp))
        self.image.publish(make_image(rgb, stamp))
        self.sent += 1

    def serve(self, stamp, rgb=BLACK):
        """Send an image until its depth comes; return that."""
        end_s = time.monotonic() + START_S
        while not self.depth or stamp_ns(self.depth[-1]) != stamp:
            assert time.monotonic() < end_s, self.graph.counts()
            self.send(stamp, rgb)
            look_s = time.monotonic() + 1.0
            while time.monotonic() < look_s and not (
                self.depth and stamp_ns(self.depth[-1]) == stamp
            ):
                self.graph.executor.spin_once(timeout_sec=0.02)
        return self.depth[-1]

    def set_clock(self, now_ns):
        """Publish a time until the node lives in it."""
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(now_ns, SECOND_NS)
        end_s = time.monotonic() + START_S
        while not self.diagnostics or stamp_ns(self.diagnostics[-1]) != now_ns:
            assert time.monotonic() < end_s, self.graph.counts()
            self.clock.publish(clock)
            self.graph.spin_for(0.1)

    def age_ms(self, stamp):
        """Return the age that the node gave a frame."""
        self.graph.spin_until(lambda: any(stamp_ns(found) == stamp for found in self.latency))
        found = next(found for found in reversed(self.latency) if stamp_ns(found) == stamp)
        return float(values(found.status[0])["age_ms"])

    def frames(self):
        """Return (received, served, dropped) of diagnostics that come from now on."""
        count = len(self.diagnostics)
        self.graph.spin_until(lambda: len(self.diagnostics) > count)
        found = values(statuses(self.diagnostics[-1])["frames"])
        return tuple(int(found[name]) for name in ("received", "served", "dropped"))

    def call(self, kind, name, request):
        client = self.graph.node.create_client(kind, f"/depth_node/{name}")
        self.graph.spin_until(client.service_is_ready, timeout_s=START_S)
        future = client.call_async(request)
        self.graph.spin_until(future.done)
        return future.result()

    def set(self, **changes):
        parameters = [Parameter(name, value=v).to_parameter_msg() for name, v in changes.items()]
        return self.call(
            SetParameters, "set_parameters", SetParameters.Request(parameters=parameters)
        ).results[0]

    def get(self, name):
        reply = self.call(GetParameters, "get_parameters", GetParameters.Request(names=[name]))
        return reply.values[0].string_value

    def change_state(self, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert self.call(ChangeState, "change_state", request).success


def test_clocks_that_jump_bursts_and_4k(network_graph, start_process, light_checkpoint):
    node = start_process(
        *NODE, "-p", f"checkpoint:={light_checkpoint}", "-p", "use_sim_time:=true", *INPUTS
    )
    field = Field(network_graph)
    field.set_clock(100 * SECOND_NS + SECOND_NS // 2)
    field.serve(100 * SECOND_NS)
    assert field.age_ms(100 * SECOND_NS) == 500.0
    # The replay begins again, 90 s earlier; then a second camera driver counts from 1970.
    field.set_clock(10 * SECOND_NS + SECOND_NS // 4)
    field.serve(10 * SECOND_NS)
    assert field.age_ms(10 * SECOND_NS) == 250.0
    field.serve(7)

    period_s, last = 1 / 200, 20 * SECOND_NS + 400
    began_s = time.monotonic()
    for index in range(401):
        field.send(20 * SECOND_NS + index)
        network_graph.spin_for(max(began_s + (index + 1) * period_s - time.monotonic(), 1e-4))
    network_graph.spin_until(lambda: stamp_ns(field.depth[-1]) == last)
    received, served, dropped = field.frames()
    assert received == served + dropped and served <= received <= field.sent
    stamps = [stamp_ns(message) for message in field.depth]
    assert stamps[-1] == last and len(set(stamps)) <= served
    burst = [stamp for stamp in stamps if 20 * SECOND_NS <= stamp <= last]
    assert burst == sorted(burst)

    picture = np.tile(
        np.arange(WIDTH_4K * 3, dtype=np.uint8).reshape(WIDTH_4K, 3), (HEIGHT_4K, 1, 1)
    )
    depth = field.serve(30 * SECOND_NS, picture)
    assert (depth.height, depth.width, len(depth.data)) == (
        HEIGHT_4K, WIDTH_4K, 4 * HEIGHT_4K * WIDTH_4K,
    )  # fmt: skip
    network_graph.spin_until(lambda: stamp_ns(field.depth_info[-1]) == 30 * SECOND_NS)
    info = field.depth_info[-1]
    assert (info.height, info.width, info.k[2]) == (HEIGHT_4K, WIDTH_4K, WIDTH_4K / 2 - 0.5)
    field.serve(31 * SECOND_NS)
    code, _ = node.stop(signal.SIGINT)
    assert code == 0 and "Traceback" not in node.output, node.output


def write_program(folder, module, name):
    """Write the program of a node with the predictor `name`; return its path."""
    path = folder / "node.py"
    path.write_text(PROGRAM.format(folder=str(Path(__file__).parent), module=module, name=name))
    return path


@pytest.mark.long
@pytest.mark.parametrize("policy", ["cpu", "stop"])
def test_a_gpu_that_fails(network_graph, start_process, tmp_path, policy):
    script = write_program(tmp_path, "test_node_health", "OnGpu")
    settings = ("-p", "checkpoint:=one_1", "-p", f"on_device_error:={policy}")
    node = start_process(script, "--ros-args", *settings, *INPUTS)
    field = Field(network_graph)
    network_graph.spin_until(field.image.get_subscription_count, timeout_s=START_S)
    if policy == "cpu":
        field.serve(1)
    else:
        end_s = time.monotonic() + START_S
        while field.image.get_subscription_count():
            assert time.monotonic() < end_s, node.output
            field.send(1)
            network_graph.spin_for(0.2)
    label = field.call(GetState, "get_state", GetState.Request()).current_state.label
    assert label == ("active" if policy == "cpu" else "inactive")
    field.frames()
    network = statuses(field.diagnostics[-1])["network"]
    assert network.level == DiagnosticStatus.ERROR
    expected = "the device failed" + ("; serving on the CPU" if policy == "cpu" else "")
    assert network.message == expected
    assert int(values(statuses(field.diagnostics[-1])["frames"])["dropped: device error"]) >= 1
    code, _ = node.stop(signal.SIGINT)
    assert code == 0 and "Traceback" not in node.output, node.output


def without_a_tensor(checkpoint, path):
    """Write a checkpoint whose card is fine and one of whose tensors is missing."""
    with safe_open(checkpoint, "pt") as file:
        metadata, names = file.metadata(), sorted(file.keys())
        save_file({name: file.get_tensor(name) for name in names[1:]}, path, metadata)


def test_a_checkpoint_is_exchanged_and_a_scale_kept_by_a_users_calls(
    network_graph, start_process, light_checkpoint, tmp_path
):
    other, broken = tmp_path / "other.safetensors", tmp_path / "broken.safetensors"
    other.write_bytes(Path(light_checkpoint).read_bytes())
    without_a_tensor(light_checkpoint, broken)
    node = start_process(*NODE, "-p", f"checkpoint:={light_checkpoint}", *INPUTS)
    field = Field(network_graph)
    field.serve(1)
    refused = field.set(checkpoint="nobody_heard_of_it")
    assert not refused.successful and "nobody_heard_of_it" in refused.reason
    assert field.set(checkpoint=str(other)).successful
    node.wait_for(f"loaded {other}")
    field.serve(2)
    assert field.set(checkpoint=str(broken)).successful
    node.wait_for(f"cannot serve with {broken}, {other} stays")
    network_graph.spin_until(lambda: field.get("checkpoint") == str(other))
    field.serve(3)
    field.frames()
    network = values(statuses(field.diagnostics[-1])["network"])
    assert (network["checkpoint"], network["refused checkpoints"]) == (str(other), "1")

    path = tmp_path / "scale.yaml"
    assert field.set(calibration_file=str(path)).successful
    refused = field.call(Trigger, "load_calibration", Trigger.Request())
    assert not refused.success and "scale.yaml" in refused.message
    assert field.set(depth_scale=1.25).successful
    assert field.call(Trigger, "save_calibration", Trigger.Request()).success
    assert load_calibration(path).depth_scale == 1.25
    assert field.set(depth_scale=1.0).successful
    assert field.call(Trigger, "load_calibration", Trigger.Request()).success
    field.frames()
    network = values(statuses(field.diagnostics[-1])["network"])
    assert network["depth scale"] == "1.25" and network["calibration"].startswith("by-hand")
    code, _ = node.stop(signal.SIGINT)
    assert code == 0 and "Traceback" not in node.output, node.output


@pytest.mark.parametrize(
    "state",
    [
        "loading another checkpoint",
        *(
            pytest.param(s, marks=pytest.mark.long)
            for s in ("unconfigured", "inactive", "finalized")
        ),
    ],
)
def test_a_process_ends_in_every_state(network_graph, start_process, tmp_path, state):
    script = write_program(tmp_path, "live_bench", "Named")
    autostart = str(state in ("loading another checkpoint", "finalized")).lower()
    node = start_process(
        script, "--ros-args", "-p", "checkpoint:=one_1", "-p", f"autostart:={autostart}", *INPUTS
    )
    field = Field(network_graph)
    label = field.call(GetState, "get_state", GetState.Request()).current_state.label
    assert label == ("active" if autostart == "true" else "unconfigured")
    if state == "inactive":
        field.change_state(Transition.TRANSITION_CONFIGURE)
    elif state == "finalized":
        field.serve(1)
        field.change_state(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    elif state == "loading another checkpoint":
        assert field.set(checkpoint="slow_3").successful
        node.wait_for("loading slow_3; one_1 serves until")
    code, seconds = node.stop(signal.SIGINT)
    assert code == 0 and seconds < STOP_S and "Traceback" not in node.output, node.output


def slow_network():
    """Return a predictor, an event that its call sets, and one that the call waits for."""
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Named):
        def __call__(self, rgb, camera):
            entered.set()
            assert go_on.wait(15.0)
            return super().__call__(rgb, camera)

    return Slow, entered, go_on


@pytest.mark.parametrize("state", ["unconfigured", "inactive", "active", "busy"])
def test_a_node_can_be_shut_down_in_every_state(bench, state):
    Slow, entered, go_on = slow_network()
    b = bench(Slow, checkpoint="one_1")
    if state == "inactive":
        assert b.node.trigger_configure() == SUCCESS
    elif state in ("active", "busy"):
        b.start()
        b.listen(Image, "depth/image")
    if state == "busy":
        b.graph.publish_matched(b.image, make_image(BLACK, 1))
        b.graph.spin_until(entered.is_set)
        b.image.publish(make_image(BLACK, 2))
        b.wait_until_waiting(2)
        threading.Timer(0.2, go_on.set).start()
    assert b.node.trigger_shutdown() == SUCCESS
    assert b.state() == State.PRIMARY_STATE_FINALIZED
    tally = b.node.tally
    assert tally.received == tally.served + tally.dropped == (2 if state == "busy" else 0)
    assert tally.drops == ({"deactivated": 1} if state == "busy" else {})
    assert b.node.network.loaded is None


def test_the_image_that_waits_when_the_process_ends_is_counted(bench):
    Slow, entered, go_on = slow_network()
    b = bench(Slow, checkpoint="one_1")
    b.start()
    b.listen(Image, "depth/image")
    b.graph.publish_matched(b.image, make_image(BLACK, 1))
    b.graph.spin_until(entered.is_set)
    for stamp in (2, 3):
        b.image.publish(make_image(BLACK, stamp))
        b.wait_until_waiting(stamp)
    go_on.set()
    assert b.node.stop(15.0)
    assert b.node.tally.received == 3 and b.node.tally.served == 1
    assert b.node.tally.drops == {"replaced by a newer frame": 1, "ended": 1}
