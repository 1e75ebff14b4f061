"""`mono_depth doctor`: what may keep depth from coming, in a report to paste into an issue."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from mono_depth_ros import DEFAULT_CHECKPOINT, __version__
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.findings import Finding, finding_lines

HELP = (
    "Look at Python, PyTorch, ROS, DDS, the topics on the graph and a checkpoint, and say what is "
    "wrong and what to do. Takes some 10 seconds; the exit code is 0 whatever it finds."
)

_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "rosbags", "safetensors")
_OPTIONAL = {"open3d": "point clouds of `mono_depth image`", "cv_bridge": "nothing of ours"}
_ROS_VARIABLES = (
    "ROS_DISTRO",
    "RMW_IMPLEMENTATION",
    "ROS_DOMAIN_ID",
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "ROS_LOCALHOST_ONLY",
    "ROS_STATIC_PEERS",
)
# What raw 640x480 images need to get through shared memory, with room for a few at once.
_LEAST_SEGMENT_BYTES = 4 << 20
_LEAST_SHM_BYTES = 128 << 20
_LEAST_BUFFER_BYTES = 2 << 20
_WHY_SEGMENT = (
    "with its 512 KB segment Fast DDS loses most best-effort messages over 0.5 MB, which is every "
    "raw 640x480 image"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare checkpoint, times and form."""
    parser.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, help="name or file (default: %(default)s)"
    )
    parser.add_argument(
        # Fast DDS announces a participant every 3 s.
        "--discover",
        type=float,
        default=4.0,
        help="seconds to find nodes (default: 4)",
    )
    parser.add_argument(
        "--listen",
        type=float,
        default=3.0,
        metavar="S",
        help="time to hear camera_info (default: 3)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Look, and print what was found."""
    parts: list[Callable[[], Iterable[Finding]]] = [
        system_findings,
        ros_findings,
        dds_findings,
        lambda: _graph_findings(min(args.discover, 10.0), min(args.listen, 10.0)),
        lambda: checkpoint_findings(args.checkpoint),
    ]
    found = [finding for part in parts for finding in part()]
    if args.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in found], indent=1) + "\n")
        return 0
    for line in finding_lines(found):
        sys.stdout.write(line + "\n")
    wrong = sum(finding.level != "ok" for finding in found)
    sys.stdout.write(f"{wrong} of {len(found)} findings need a look\n" if wrong else "all well\n")
    return 0


def system_findings() -> Iterator[Finding]:
    """Yield versions, and what PyTorch sees of GPUs."""
    yield Finding("ok", "mono_depth_ros", f"{__version__}, {Path(__file__).resolve().parents[1]}")
    yield Finding("ok", "Python", f"{platform.python_version()} on {platform.platform()}")
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} (no version)")
    yield Finding("ok", "packages", ", ".join(versions))
    for name, use in _OPTIONAL.items():
        there = importlib.util.find_spec(name) is not None
        yield Finding("ok", f"optional {name}", "installed" if there else f"absent; for {use}")
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        yield Finding(
            "ok", "GPU", f"none that PyTorch can use (built for CUDA {built or 'none'}); the CPU "
            f"serves with {os.cpu_count()} cores",
        )  # fmt: skip
        return
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        text = f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        if free < 2**30:
            yield Finding(
                "warning", f"GPU cuda:{number}", text, "a network needs up to 1 GiB",
                "end what else runs there, or choose another device",
            )  # fmt: skip
        else:
            yield Finding("ok", f"GPU cuda:{number}", text)


def ros_findings() -> Iterator[Finding]:
    """Yield what the environment tells ROS."""
    given = [f"{name}={os.environ[name]}" for name in _ROS_VARIABLES if os.environ.get(name)]
    yield Finding("ok", "ROS environment", ", ".join(given) or "no ROS variable is set")
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    if not (domain.isdigit() and int(domain) <= 101):
        yield Finding(
            "warning", "ROS_DOMAIN_ID", domain, "0 to 101 are safe on all systems",
            "choose one of them, the same for all nodes",
        )  # fmt: skip
    if importlib.util.find_spec("rclpy") is None:
        yield Finding(
            "error", "rclpy", "cannot be imported", "the nodes need it",
            "source a ROS 2 installation, or run `pip install -r requirements-ros.txt`",
        )  # fmt: skip


def dds_findings() -> Iterator[Finding]:
    """Yield what large messages need."""
    from mono_depth_ros.ros.middleware import PROFILE_VARIABLES

    middleware = os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if "fastrtps" in middleware:
        profile = next((v for n in PROFILE_VARIABLES if (v := os.environ.get(n))), "")
        yield segment_finding(profile)
    shm = Path("/dev/shm")
    if shm.is_dir():
        usage = shutil.disk_usage(shm)
        text = f"{usage.free / 2**20:.0f} of {usage.total / 2**20:.0f} MB free"
        if usage.free < _LEAST_SHM_BYTES:
            yield Finding(
                "warning", "/dev/shm", text, "shared memory of DDS lies there, 64 MB per process",
                "docker run --shm-size=1g, or delete what crashed processes left: fastrtps_*",
            )  # fmt: skip
        else:
            yield Finding("ok", "/dev/shm", text)
    buffer = Path("/proc/sys/net/core/rmem_max")
    if buffer.is_file():
        size = int(buffer.read_text())
        text = f"{size} bytes"
        if size < _LEAST_BUFFER_BYTES:
            yield Finding(
                "warning", "net.core.rmem_max", text,
                "images from other computers come over UDP and overrun small buffers",
                "sudo sysctl -w net.core.rmem_max=8388608, if cameras are on other computers",
            )  # fmt: skip
        else:
            yield Finding("ok", "net.core.rmem_max", text)


def segment_finding(profile: str) -> Finding:
    """Return what a Fast DDS profile does for large messages; empty for none."""
    remedy = (
        "export FASTRTPS_DEFAULT_PROFILES_FILE=.../share/mono_depth_ros/config/fastdds.xml, for "
        "the camera's driver too; the launch files of this package do it for their own nodes"
    )
    if not profile:
        return Finding("warning", "Fast DDS profile", "none is set", _WHY_SEGMENT, remedy)
    try:
        sizes = [
            int(element.text or 0)
            for element in ElementTree.parse(profile).iter()
            if element.tag.rpartition("}")[2] == "segment_size"
        ]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        return Finding("error", "Fast DDS profile", f"{profile}: {error}", _WHY_SEGMENT, remedy)
    largest = max(sizes, default=0)
    text = f"{profile}, shared-memory segment of {largest / 2**20:.1f} MB"
    if largest < _LEAST_SEGMENT_BYTES:
        return Finding("warning", "Fast DDS profile", text, _WHY_SEGMENT, remedy)
    return Finding("ok", "Fast DDS profile", text)


def checkpoint_findings(checkpoint: str) -> Iterator[Finding]:
    """Yield whether a checkpoint loads and runs."""
    from mono_depth_ros.predictor import DepthPredictor

    subject = f"checkpoint {checkpoint}"
    try:
        predictor = DepthPredictor.load(checkpoint)
        predictor.warm_up(480, 640)
        began_s = time.perf_counter()
        predictor.warm_up(480, 640)
    except MonoDepthError as error:
        yield Finding("error", subject, str(error), "the node cannot serve without", "name another")
        return
    info = predictor.info
    yield Finding(
        "ok", subject, f"{info.network}, runs on {predictor.device} in "
        f"{1e3 * (time.perf_counter() - began_s):.0f} ms for 640x480; sha256 {info.sha256[:12]}",
    )  # fmt: skip


def _graph_findings(discover_s: float, listen_s: float) -> Iterator[Finding]:
    if importlib.util.find_spec("rclpy") is None:
        return
    import rclpy
    from rclpy.context import Context
    from rclpy.utilities import get_rmw_implementation_identifier, try_shutdown

    from mono_depth_ros.ros.graph_check import look_at_graph

    context = Context()
    rclpy.init(args=[], context=context)
    try:
        yield Finding("ok", "middleware", get_rmw_implementation_identifier())
        node = rclpy.create_node("mono_depth_doctor", context=context)
        yield from look_at_graph(node, discover_s, listen_s)
    finally:
        try_shutdown(context=context)
