"""Fixtures of the ROS tests; every test here needs rclpy and a DDS middleware."""

from __future__ import annotations

import importlib.util
import random

import pytest

HAS_ROS = importlib.util.find_spec("rclpy") is not None
collect_ignore_glob = [] if HAS_ROS else ["test_*.py"]

if HAS_ROS:
    from mono_depth_ros.ros.middleware import use_large_message_profile

    # Fast DDS reads its profile once per process, before the first participant.
    use_large_message_profile()


@pytest.fixture
def graph(monkeypatch):
    """Return a Graph that no other process can see."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    yield from _graph(None)


@pytest.fixture
def domain_id(monkeypatch):
    """Return the private domain that a `network_graph` and the processes of a test share."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return random.randrange(1, 102)


@pytest.fixture
def network_graph(domain_id):
    """Return a Graph that processes on this computer with the same domain id can see."""
    yield from _graph(domain_id)


@pytest.fixture
def bench(graph):
    """Return a function that makes a `Bench`; the nodes are stopped at the end."""
    from test_depth_node import Bench

    benches = []

    def make(*args, **parameters):
        benches.append(Bench(graph, *args, **parameters))
        return benches[-1]

    yield make
    for made in benches:
        made.node.stop(15.0)


@pytest.fixture
def serving(bench):
    """Return a bench that serves 1 m, its depth images and a function that sets parameters."""
    from live_bench import Named
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import Image

    Named.go_on.clear()
    b = bench(Named, checkpoint="one_1")
    b.start()
    depth = b.listen(Image, "depth/image")

    def set_parameters(**values):
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        return b.node.set_parameters_atomically(parameters)

    return b, depth, set_parameters


def _graph(domain_id):
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from ros_support import Graph

    rclpy.init(args=[], domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
    graph = Graph()
    yield graph
    for node in graph.executor.get_nodes():
        node.destroy_node()
    graph.executor.shutdown()
    rclpy.try_shutdown()


@pytest.fixture
def start_process(tmp_path, domain_id):
    """Return a function that starts `python ARGUMENTS`; what runs at the end is killed."""
    from ros_support import Process

    processes = []

    def start(*arguments):
        log = tmp_path / f"process_{len(processes)}.log"
        processes.append(Process([str(argument) for argument in arguments], log, domain_id))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
