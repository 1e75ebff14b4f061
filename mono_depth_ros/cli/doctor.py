"""`mono_depth doctor`: what may be wrong with ROS, DDS, cameras, PyTorch and a checkpoint."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time

from mono_depth_ros import DEFAULT_CHECKPOINT, __version__
from mono_depth_ros.doctor.computer import check_computer, check_packages
from mono_depth_ros.doctor.findings import Section, render_text, to_json

HELP = (
    "Look for what keeps depth from coming: ROS and DDS settings, QoS pairs and cameras on the "
    "graph, PyTorch, GPUs, a checkpoint. Prints a report to paste into an issue; ends within 30 s "
    "with status 0 whatever it finds, 1 where it could not look."
)

# The report is there within 30 s, and what was looked at in vain is named in it.
_DEADLINE_S = 27.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mono_depth doctor`."""
    parser.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, help="name or file (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--no-network", action="store_true", help="leave PyTorch and the checkpoint out"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead")


def run(args: argparse.Namespace) -> int:
    """Look, and print the report."""
    end_s = time.monotonic() + _DEADLINE_S
    # In processes of their own, side by side: a driver or a middleware that hangs or crashes is
    # then a finding, and no reason to wait.
    probes = [_graph_probe()]
    if not args.no_network:
        probes.append(_Probe("PyTorch", "doctor.network", args.checkpoint, args.device))
    sections = [check_computer(), check_packages()]
    for probe in probes:
        sections += [probe] if isinstance(probe, Section) else probe.sections(end_s)
    heading = f"mono_depth doctor, version {__version__}"
    if args.json:
        print(json.dumps(to_json(heading, sections), indent=2))
    else:
        print(render_text(heading, sections))
    return 0 if all(section.looked for section in sections) else 1


class _Probe:
    """A module of this package that runs as a program and prints a section per line, as JSON."""

    def __init__(self, title: str, module: str, *arguments: str) -> None:
        self._title = title
        self._command = [sys.executable, "-m", f"mono_depth_ros.{module}", *arguments]
        # The pipes hold 64 KB each, the lines of a report some 10 KB.
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def sections(self, end_s: float) -> list[Section]:
        """Return what it printed until `end_s` (time.monotonic); what is missing is a finding."""
        why = ""
        try:
            self._process.wait(max(end_s - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            self._process.kill()
            why = f"did not answer within {_DEADLINE_S:.0f} s"
        output, errors = self._process.communicate()
        if not why and self._process.returncode:
            last = (errors.strip().splitlines() or [""])[-1]
            why = f"ended with status {self._process.returncode}: {last}"
        found = [Section.from_mapping(json.loads(line)) for line in output.splitlines()]
        return [*found, self._failed(why)] if why else found

    def _failed(self, how: str) -> Section:
        section = Section(self._title, looked=False)
        section.add(
            "error", f"the look at it {how}",
            "What hangs or crashes here does so in the node as well.",
            "run the command again when the computer has nothing else to do; then "
            f"`{' '.join(self._command)}` shows where",
        )  # fmt: skip
        return section


def _graph_probe() -> _Probe | Section:
    if importlib.util.find_spec("rclpy") is not None:
        return _Probe("ROS", "ros.graph_look")
    distribution = os.environ.get("ROS_DISTRO")
    section = Section("ROS", {"distribution": distribution or "not sourced"})
    section.add(
        "error", f"{sys.executable} finds no rclpy",
        "The node cannot start, and the graph could not be looked at. Scoring bags and pictures "
        "works.",
        f"ROS 2 {distribution} is sourced: create the virtual environment with "
        "--system-site-packages and the Python of that ROS"
        if distribution
        else "source a ROS 2 installation or run `pip install -r requirements-ros.txt`",
    )  # fmt: skip
    return section
