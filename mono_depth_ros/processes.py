"""Processes of this package started, watched and stopped by a command."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mono_depth_ros.errors import MonoDepthError

_STOP_TIMEOUT_S = 20.0


def private_ros_environment() -> dict[str, str]:
    """Return an environment whose ROS traffic stays on this computer, in a domain of its own."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(random.SystemRandom().randint(1, 101)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


@contextmanager
def running(
    arguments: list[str], log: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python ARGUMENTS` for the length of a `with` block, then stop it as Ctrl-C would.

    Args:
        arguments: after the interpreter.
        log: file for what it prints.
        environment: of the process.

    Raises:
        MonoDepthError: the process failed, or did not stop in time and was killed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise MonoDepthError(_failure(process, log))


def wait_for(process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    """Wait for a process to end by itself.

    Raises:
        MonoDepthError: it failed, or is not done in time.
    """
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise MonoDepthError(
            f"{log.stem} is not done after {timeout_s:.0f} s; its last lines:\n{_tail(log)}"
        ) from None
    if process.returncode != 0:
        raise MonoDepthError(_failure(process, log))


def _failure(process: subprocess.Popen[bytes], log: Path) -> str:
    return f"{log.stem} ended with status {process.returncode}; its last lines:\n{_tail(log)}"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])
