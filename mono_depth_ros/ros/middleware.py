"""Settings of the DDS middleware that must be in the environment before rclpy starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Fast DDS 2 (Humble, Jazzy) reads the first name, Fast DDS 3 (Kilted and later) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def shared_file(relative_path: str) -> Path | None:
    """Find a file that the package installs below share/mono_depth_ros, or None.

    Looked for in the ROS workspaces that are sourced, in the Python environment's prefix, and in
    the source checkout.
    """
    prefixes = [
        Path(prefix)
        for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        if prefix
    ]
    folders = [prefix / "share" / "mono_depth_ros" for prefix in (*prefixes, Path(sys.prefix))]
    folders.append(Path(__file__).resolve().parents[2])
    return next(
        (folder / relative_path for folder in folders if (folder / relative_path).is_file()), None
    )


def use_large_message_profile() -> Path | None:
    """Let Fast DDS send images and clouds without loss; call before rclpy.init.

    With its 512 KB default Fast DDS loses most best-effort messages over 0.9 MB. A profile that the
    user has chosen is left alone; another middleware ignores the variables.

    Returns:
        The profile put in force, None when the user's own stays or none is installed.
    """
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return None
    profile = shared_file("config/fastdds.xml")
    if profile is not None:
        os.environ.update(dict.fromkeys(PROFILE_VARIABLES, str(profile)))
    return profile
