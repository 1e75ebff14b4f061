"""Python, packages, computer and clock."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from mono_depth_ros.doctor.findings import Section

_NEEDED = ("numpy", "torch", "torchvision", "PyYAML", "safetensors", "rosbags", "tqdm")
_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python")
# Import name -> what it is for; none is needed by the node.
_OPTIONAL = {
    "cv_bridge": "interoperation tests",
    "sensor_msgs_py": "interoperation tests",
    "tf2_msgs": "/tf in evaluator_node and play",
    "launch_ros": "ros2 launch",
    "open3d": "viewer",
    "tensorboard": "training",
    "onnxruntime": "backend",
    "openvino": "backend",
}
_COMMAND_TIMEOUT_S = 3.0


def check_computer() -> Section:
    """Look at Python, the system and its clock."""
    section = Section("Computer")
    section.facts["Python"] = f"{platform.python_version()}, {sys.executable}"
    section.facts["system"] = f"{platform.platform()}, {os.cpu_count()} cores{_memory_text()}"
    load = os.getloadavg()[0]
    section.facts["load"] = f"{load:.1f}"
    if load > (os.cpu_count() or 1) + 1:
        section.add(
            "note", f"{load:.1f} programs want {os.cpu_count()} cores",
            "Everything here takes longer than it could, depth too.",
            "see `top`; num_threads of depth_node leaves cores to others",
        )  # fmt: skip
    if os.path.exists("/.dockerenv"):
        section.facts["container"] = "Docker"
    _check_clock(section)
    return section


def check_packages() -> Section:
    """Look at what is installed, without importing it."""
    section = Section("Packages")
    for name in _NEEDED:
        section.facts[name] = found = _version_of(name)
        if found == "missing":
            section.add(
                "error", f"{name} is not installed for {sys.executable}",
                "Node and commands need it.", f"{sys.executable} -m pip install {name}",
            )  # fmt: skip
    opencv = [name for name in _OPENCV if _version_of(name) != "missing"]
    section.facts["OpenCV"] = ", ".join(f"{name} {_version_of(name)}" for name in opencv) or (
        "of the system" if importlib.util.find_spec("cv2") else "missing"
    )
    if len(opencv) > 1:
        section.add(
            "warning", f"{' and '.join(opencv)} are installed together",
            "They overwrite each other's files; which one runs is chance.",
            f"{sys.executable} -m pip uninstall {' '.join(opencv)}, then install "
            "'opencv-python-headless>=4.8,<5'",
        )  # fmt: skip
    for name, purpose in _OPTIONAL.items():
        there = importlib.util.find_spec(name) is not None
        section.facts[name] = "installed" if there else f"not installed (optional: {purpose})"
    _check_cv_bridge(section)
    return section


def _check_cv_bridge(section: Section) -> None:
    if importlib.util.find_spec("cv_bridge") is None:
        return
    # In a process of its own: built for another numpy it may crash.
    result = _run([sys.executable, "-c", "import cv_bridge.boost.cv_bridge_boost"])
    if result is None or result.returncode == 0:
        return
    reason = (result.stderr.strip().splitlines() or [f"status {result.returncode}"])[-1]
    section.add(
        "warning", f"cv_bridge cannot be imported: {reason}",
        "This package does not use it, other nodes of yours may. Binaries for numpy 1 break with "
        "numpy 2, and those for OpenCV 4 with 5.",
        "in environments that share cv_bridge: pip install 'numpy<2' 'opencv-python-headless<5'",
    )  # fmt: skip


def _check_clock(section: Section) -> None:
    now_s = time.time()
    section.facts["clock"] = datetime.fromtimestamp(now_s, timezone.utc).isoformat(" ", "seconds")
    if now_s < os.stat(__file__).st_mtime - 86400.0:
        section.add(
            "warning",
            f"the clock says {section.facts['clock']}, before this package was installed",
            "A computer without battery clock and network starts in the past; stamps jump once "
            "the time is found.",
            "set the time, or wait for it, before nodes start",
        )  # fmt: skip
    if shutil.which("timedatectl") is None:
        return
    result = _run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if result is None or result.returncode != 0:
        return  # no systemd here, as in a container
    section.facts["clock synchronised"] = answer = result.stdout.strip()
    if answer == "no":
        section.add(
            "note", "the clock is not synchronised (NTP)",
            "Stamps of a camera on another computer then differ from this one's.",
            "run chrony or systemd-timesyncd on every computer of the robot",
        )  # fmt: skip


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"


def _run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _memory_text() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return ""
    return f", {total / 2**30:.1f} GiB"
