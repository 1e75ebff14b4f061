"""The program `depth_node`: one depth node in a process of its own, from its start to a signal."""

from __future__ import annotations

import gc
import os
import sys
from typing import Literal, NoReturn

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.ros.depth_node import DepthNode
from mono_depth_ros.ros.interruption import ignore_signals, raise_on_first_signal
from mono_depth_ros.ros.loading import LoadPredictor
from mono_depth_ros.ros.middleware import use_large_message_profile

# Longest wait for a running inference when the process ends; launch kills a node that needs longer
# than 5 s.
_STOP_TIMEOUT_S = 1.0
_SPIN_PERIOD_S = 0.2


def main(
    args: list[str] | None = None,
    load_predictor: LoadPredictor | None = None,
    node_class: type[DepthNode] = DepthNode,
) -> NoReturn:
    """Run the node and end the process with the exit code of `run_node`."""
    code = run_node(args, load_predictor, node_class)
    sys.stdout.flush()
    sys.stderr.flush()
    # Python needs up to seconds to take PyTorch apart, and crashes when a thread still runs it.
    os._exit(code)


def run_node(
    args: list[str] | None = None,
    load_predictor: LoadPredictor | None = None,
    node_class: type[DepthNode] = DepthNode,
) -> Literal[0, 1]:
    """Run the node until SIGINT or SIGTERM.

    Args:
        args: ROS arguments; those of the process by default.
        load_predictor: see `DepthNode`.
        node_class: of the node.

    Returns:
        0 after a signal, 1 when the node cannot start; the reason is logged.
    """
    raise_on_first_signal()
    node = None
    try:
        import mono_depth_ros.predictor  # noqa: F401

        # What PyTorch's import left behind lives on, so no collection (0.3 s) need visit it.
        gc.freeze()
        use_large_message_profile()
        node = _start_rclpy(args, load_predictor, node_class)
        if node.config.autostart and not node.start():
            return 1
        _spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError as error:
        # Up to Python 3.11 this is what an interruption inside a class body's __set_name__, of
        # which importing PyTorch runs thousands, comes out as.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
    except MonoDepthError as error:
        get_logger(node_class.NAME).fatal(str(error))
        return 1
    finally:
        ignore_signals()
        # While a network still runs, its thread may yet publish.
        if node is not None and node.stop(_STOP_TIMEOUT_S):
            node.get_logger().info(
                f"ending; of {node.tally.received} frames {node.tally.summary()}"
            )
            node.destroy_node()
            node = None
            # A node is a knot of references; until it goes, its memory stays in /dev/shm.
            gc.collect()
            try_shutdown()
    return 0


def _start_rclpy(
    args: list[str] | None, load_predictor: LoadPredictor | None, node_class: type[DepthNode]
) -> DepthNode:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        return node_class(load_predictor)
    except (RuntimeError, NameValidationException) as error:
        # A missing parameters file, a bad `-p` or namespace.
        raise ConfigError(f"ROS refuses the arguments of this node: {error}") from error


def _spin(node: DepthNode) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok():
        # Bounded, because Python runs its signal handlers only between two waits.
        executor.spin_once(timeout_sec=_SPIN_PERIOD_S)


if __name__ == "__main__":
    main()
