"""Settings of ROS and DDS in the environment and the kernel, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from mono_depth_ros.doctor.findings import Section

# As in mono_depth_ros.ros.middleware: Fast DDS 2 reads the first name, Fast DDS 3 the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
# Fast DDS reads this file of the working directory where the variable is not set.
LOCAL_PROFILE = "DEFAULT_FASTRTPS_PROFILES.xml"
FAST_DDS = "rmw_fastrtps"
CYCLONE_DDS = "rmw_cyclonedds"

# Size of a shared-memory segment of Fast DDS as it comes.
DEFAULT_SEGMENT_BYTES = 512 * 1024
# One 640x480 rgb8 image, which that segment loses.
_IMAGE_BYTES = 640 * 480 * 3
# What config/fastdds.xml takes of /dev/shm for each process.
_PROFILE_SEGMENT_BYTES = 64 * 2**20
# Several fragments of an image wait there; the Linux default, 208 KiB, holds three of 64 KB.
_SOCKET_BYTES = 2 * 2**20
# Beyond, the ports that a domain needs may be those that Linux gives to other programs.
_LAST_SAFE_DOMAIN = 101
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
_KERNEL = Path("/proc/sys/net")
_KERNEL_FILES = {
    "rmem_max": "core/rmem_max",
    "rmem_default": "core/rmem_default",
    "wmem_max": "core/wmem_max",
    "ipfrag_time": "ipv4/ipfrag_time",
    "ipfrag_high_thresh": "ipv4/ipfrag_high_thresh",
}


@dataclass(frozen=True, slots=True)
class Computer:
    """What the checks look at.

    Attributes:
        environment: variables of this process.
        kernel: network settings of the kernel by name, those that can be read.
        shm_bytes, shm_free_bytes: size of /dev/shm; None where there is none.
        shm_segments: files of Fast DDS in it.
        folder: the working directory.
    """

    environment: Mapping[str, str]
    kernel: Mapping[str, int] = field(default_factory=dict)
    shm_bytes: int | None = None
    shm_free_bytes: int | None = None
    shm_segments: int = 0
    folder: Path = Path()

    @classmethod
    def here(cls) -> Computer:
        """Look at this computer and process."""
        kernel = {}
        for name, file in _KERNEL_FILES.items():
            try:
                kernel[name] = int((_KERNEL / file).read_text())
            except (OSError, ValueError):
                continue  # not Linux, or hidden from a container
        shm_bytes = shm_free_bytes = None
        segments = 0
        try:
            shm = os.statvfs("/dev/shm")
            shm_bytes, shm_free_bytes = shm.f_frsize * shm.f_blocks, shm.f_frsize * shm.f_bavail
            segments = sum(
                name.startswith(("fastrtps_", "fastdds_")) for name in os.listdir("/dev/shm")
            )
        except OSError:
            pass  # none; that is a finding
        return cls(dict(os.environ), kernel, shm_bytes, shm_free_bytes, segments, Path.cwd())


def check_middleware(computer: Computer, rmw: str) -> Section:
    """Check discovery, the profile in force, shared memory and socket buffers.

    Args:
        computer: see `Computer`.
        rmw: identifier of the middleware in use.
    """
    section = Section("DDS", {"middleware": rmw})
    _check_discovery(section, computer.environment)
    if rmw.startswith(FAST_DDS):
        _check_profile(section, computer)
        _check_shared_memory(section, computer)
    _check_sockets(section, computer.kernel, rmw)
    return section


def profile_in_force(computer: Computer) -> Path | None:
    """Return the file that Fast DDS reads its profile from, whether or not it exists."""
    for name in PROFILE_VARIABLES:
        if path := computer.environment.get(name):
            return Path(path)
    local = computer.folder / LOCAL_PROFILE
    return local if local.is_file() else None


def segment_bytes(profile: Path) -> int:
    """Return the size of the shared-memory segments that a Fast DDS profile asks for.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no XML, or the size no number.
    """
    try:
        tree = ElementTree.fromstring(profile.read_bytes())
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    sizes = [
        int(element.text or "") for element in tree.iter() if element.tag.endswith("segment_size")
    ]
    return max(sizes, default=DEFAULT_SEGMENT_BYTES)


def _check_discovery(section: Section, environment: Mapping[str, str]) -> None:
    domain = environment.get("ROS_DOMAIN_ID", "")
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    section.facts["domain (ROS_DOMAIN_ID)"] = domain or "0 (default)"
    section.facts["discovery range"] = reach or "SUBNET (default)"
    for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER"):
        if name in environment:
            section.facts[name] = environment[name]
    if domain and not (domain.isdigit() and int(domain) <= 232):
        section.add(
            "error", f"ROS_DOMAIN_ID is {domain!r}, not a number from 0 to 232",
            "Nodes do not start with it, or in another domain than you think.",
            "export ROS_DOMAIN_ID=0, the same on every computer of the robot",
        )  # fmt: skip
    elif domain and int(domain) > _LAST_SAFE_DOMAIN:
        section.add(
            "warning", f"ROS_DOMAIN_ID is {domain}, above {_LAST_SAFE_DOMAIN}",
            "Linux may have given the ports of that domain to other programs; nodes then fail to "
            "start, now and then.",
            f"choose one from 0 to {_LAST_SAFE_DOMAIN}",
        )  # fmt: skip
    if reach and reach not in _RANGES:
        section.add(
            "error", f"ROS_AUTOMATIC_DISCOVERY_RANGE is {reach!r}",
            f"Known are {', '.join(_RANGES)}; anything else is taken for another one.",
            "export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",
        )  # fmt: skip
    elif reach == "OFF":
        section.add(
            "error", "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF",
            "Programs started in this shell see no other program, not even on this computer.",
            "unset ROS_AUTOMATIC_DISCOVERY_RANGE, or set LOCALHOST or SUBNET",
        )  # fmt: skip
    elif reach == "LOCALHOST" or environment.get("ROS_LOCALHOST_ONLY") == "1":
        section.add(
            "note", "discovery is limited to this computer",
            "A camera driver or RViz on another computer is not found.",
            "unset ROS_LOCALHOST_ONLY and ROS_AUTOMATIC_DISCOVERY_RANGE if there is one",
        )  # fmt: skip


def _check_profile(section: Section, computer: Computer) -> None:
    profile = profile_in_force(computer)
    transports = computer.environment.get("FASTDDS_BUILTIN_TRANSPORTS")
    if transports:
        section.facts["FASTDDS_BUILTIN_TRANSPORTS"] = transports
    why = (
        "Fast DDS as it comes loses most best-effort messages over 0.5 MB between processes, which "
        "is every raw 640x480 colour image: its shared-memory segment holds 512 KB."
    )
    export = (
        "in the shell that starts the camera driver, and in every other that sends images: export "
        "FASTRTPS_DEFAULT_PROFILES_FILE=<share of mono_depth_ros>/config/fastdds.xml (ros2 pkg "
        "prefix --share mono_depth_ros prints the share)"
    )
    if profile is None:
        section.facts["Fast DDS profile"] = "none; segments of 512 KB"
        section.add(
            "warning", "no Fast DDS profile is in force in this shell",
            f"{why} depth_node sets a profile for what it sends; your camera driver does not.",
            export,
        )  # fmt: skip
        return
    try:
        size = segment_bytes(profile)
    except (OSError, ValueError) as error:
        section.facts["Fast DDS profile"] = f"{profile}, unreadable"
        section.add(
            "error", f"the Fast DDS profile {profile} cannot be read: {error}",
            f"Fast DDS then goes on as it comes. {why}", export,
        )  # fmt: skip
        return
    section.facts["Fast DDS profile"] = f"{profile}; segments of {size / 2**20:.1f} MiB"
    if size < 2 * _IMAGE_BYTES:
        section.add(
            "warning",
            f"the Fast DDS profile {profile} leaves segments of {size // 1024} KiB",
            why, export,
        )  # fmt: skip


def _check_shared_memory(section: Section, computer: Computer) -> None:
    size, free = computer.shm_bytes, computer.shm_free_bytes
    if size is None or free is None:
        section.facts["/dev/shm"] = "none"
        section.add(
            "warning", "there is no /dev/shm",
            "Fast DDS sends images between processes of one computer through it; without, they go "
            "over UDP, slower and with losses.",
            "in a container, start it with --ipc host or --shm-size 256m",
        )  # fmt: skip
        return
    section.facts["/dev/shm"] = (
        f"{size / 2**20:.0f} MiB, {free / 2**20:.0f} MiB free, {computer.shm_segments} files of "
        "Fast DDS"
    )
    if free < 2 * _PROFILE_SEGMENT_BYTES:
        section.add(
            "warning", f"/dev/shm has {free / 2**20:.0f} MiB left of {size / 2**20:.0f} MiB",
            "Every process that sends images with our profile takes 64 MiB of it; one that finds "
            "none sends over UDP, slower and with losses.",
            "start containers with --shm-size 256m; `fastdds shm clean` removes what killed "
            "processes left there; or write 16777216 as segment_size in config/fastdds.xml",
        )  # fmt: skip


def _check_sockets(section: Section, kernel: Mapping[str, int], rmw: str) -> None:
    if kernel:
        section.facts["kernel"] = ", ".join(f"{name} {value}" for name, value in kernel.items())
    buffer_bytes = kernel.get("rmem_max")
    if buffer_bytes is not None and buffer_bytes < _SOCKET_BYTES:
        cyclone = rmw.startswith(CYCLONE_DDS)
        section.add(
            "warning" if cyclone else "note",
            f"UDP sockets may buffer {buffer_bytes / 1024:.0f} KiB at most (net.core.rmem_max)",
            "Images that come over UDP, from another computer or with a middleware without shared "
            "memory, arrive in fragments; where one finds no room the whole image is lost.",
            "sudo sysctl -w net.core.rmem_max=16777216 net.ipv4.ipfrag_time=3 "
            "net.ipv4.ipfrag_high_thresh=134217728"
            + (", and SocketReceiveBufferSize min=\"10MB\" in CYCLONEDDS_URI" if cyclone else ""),
        )  # fmt: skip
