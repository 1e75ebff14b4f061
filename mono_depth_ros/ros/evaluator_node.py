"""The evaluator node: scores a running depth node against the robot's LiDAR while it runs."""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import CameraInfo

from mono_depth_ros.bags.messages import stamp_ns as stamp_of
from mono_depth_ros.bags.topics import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINT_CLOUD, Topics
from mono_depth_ros.errors import BagError, ConfigError, DecodingError, MonoDepthError
from mono_depth_ros.evaluation.headers import read_header
from mono_depth_ros.evaluation.live import LiveScores, LiveSource
from mono_depth_ros.evaluation.live_frames import FrameBuilder, Packet, RecentCameras
from mono_depth_ros.evaluation.live_rig import RecentPoses, read_poses
from mono_depth_ros.evaluation.live_timing import LiveTiming
from mono_depth_ros.evaluation.report import fact_text, score_lines, write_report
from mono_depth_ros.evaluation.rig import Poses
from mono_depth_ros.evaluation.streaming import Match, StreamMatcher
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.ros.evaluator_parameters import (
    EvaluatorConfig,
    evaluation_config,
    report_folder,
)
from mono_depth_ros.ros.interruption import StopRequest, ignore_signals
from mono_depth_ros.ros.live_transforms import follow_transforms
from mono_depth_ros.ros.middleware import use_large_message_profile
from mono_depth_ros.ros.parameters import check_overrides, declare_config
from mono_depth_ros.ros.player import find_message_class
from mono_depth_ros.ros.recorder import subscription_qos
from mono_depth_ros.ros.tally import FrameTally

# What may come under which name. Of several names of one input the first that is published counts.
_INPUTS = {
    "image": ("image", (IMAGE, COMPRESSED_IMAGE)),
    "image/compressed": ("image", (COMPRESSED_IMAGE,)),
    "camera_info": ("camera_info", (CAMERA_INFO,)),
    "points": ("points", (POINT_CLOUD,)),
    "depth": ("depth", (IMAGE,)),
}
_SPIN_PERIOD_S = 0.1
_DISCOVERY_PERIOD_S = 0.2
# A publisher learns of its subscriber a little later than the subscriber of it.
_SETTLE_S = 1.0
_DRAIN_S = 0.3
_BEHIND = "scoring fell behind"

ReadMatch = tuple[Match[Packet], Intrinsics | MonoDepthError, str]


class EvaluatorNode(Node):
    """Node `evaluator_node`.

    Subscribes `depth` (32FC1 or 16UC1), `image` or `image/compressed`, `camera_info` and `points`,
    each when its publisher appears and as reliably as that offers, `depth` first. Frames are
    matched and scored as `evaluate_bag` does it. A message that cannot be used is dropped, counted
    and logged.

    Args:
        node_arguments: passed on to rclpy's node.

    Attributes:
        failure: why scoring cannot go on; None while it can.

    Raises:
        ConfigError: a parameter or the configuration is impossible, or transforms cannot be had.
        BagError: the recording is unreadable or holds no transform.
        DataError: the report cannot be written there.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("evaluator_node", **node_arguments)
        self.tally = FrameTally(self.get_logger().warning)
        self.failure: MonoDepthError | None = None
        self._settings = declare_config(self, EvaluatorConfig)
        for name in check_overrides(self, [item.name for item in fields(EvaluatorConfig)]):
            self.get_logger().warning(
                f"parameter {name} is given but this node has none of that name; ignored"
            )
        self._out = report_folder(self._settings.out)
        self._config = evaluation_config(self._settings.config)
        poses, self._extrinsics = self._find_poses()
        self._builder = FrameBuilder(self._config.frames, poses, _decode)
        if isinstance(poses, RecentPoses):
            follow_transforms(self, poses, self._builder.lock)
        tolerance_ns = round(self._config.frames.tolerance_ms * 1e6)
        self._matcher: StreamMatcher[Packet] = StreamMatcher(
            tolerance_ns, self._settings.max_pending
        )
        self._cameras, self._timing = RecentCameras(), LiveTiming()
        self._waiting, self._topics = list(_INPUTS), {}
        self._last_message_s: float | None = None
        self._unreadable = 0
        self._scores = LiveScores(self._config, self._out.parent)
        self._matches: queue.Queue[ReadMatch | None] = queue.Queue(self._settings.max_pending)
        self._scorer = threading.Thread(target=self._score_all, name="scorer", daemon=True)
        self._scorer.start()

    def spin(self, stop: StopRequest) -> None:
        """Listen until stopped, idle for too long, or failed.

        Raises:
            MonoDepthError: scoring cannot go on.
        """
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        look_s = 0.0
        while not (stop.requested or self.failure or self._is_idle()):
            if time.monotonic() >= look_s:
                look_s = time.monotonic() + self._subscribe_new()
            executor.spin_once(timeout_sec=_SPIN_PERIOD_S)
        # What had arrived before the stop is still in the middleware's queues.
        drained_s = time.monotonic() + _DRAIN_S
        while time.monotonic() < drained_s and not self.failure:
            executor.spin_once(timeout_sec=0.02)
        executor.remove_node(self)
        for match in self._matcher.flush():
            self._matches.put(self._read(match))
        self._matches.put(None)
        self._scorer.join()
        if self.failure:
            raise self.failure

    def write_report(self) -> Path:
        """Write the report of all that came; return the path of its page.

        Raises:
            BagError: there is nothing to report.
            DataError: it cannot be written.
        """
        facts = self._live_facts()
        self.get_logger().info(fact_text(facts))
        names = {name: self.resolve_topic_name(name) for name in _INPUTS} | self._topics
        source = LiveSource(
            Path(self._settings.bag or "live"),
            Topics(names["image"], names["camera_info"], names["points"]),
            self._matcher.images,
            self._matcher.truths,
            range(self._matcher.pairs),
            self._builder.fixed_frame,
            self._settings.damage,
        )
        evaluation = self._scores.finish(source, self._unreadable)
        about = {
            "prediction": f"received live on {names['depth']}",
            "transform between camera and LiDAR": self._extrinsics,
        }
        if self._settings.note:
            about["note"] = self._settings.note
        page = write_report(evaluation, self._out, about, facts)
        self.get_logger().info("\n".join(["scores", *score_lines(evaluation)]))
        return page

    def destroy_node(self) -> None:
        """Free what the node holds."""
        self._scores.close()
        super().destroy_node()

    def _find_poses(self) -> tuple[Poses | RecentPoses, str]:
        frames = self._config.frames
        if self._settings.bag:
            poses = read_poses(self._settings.bag, frames)
            where = f"of the recording {Path(self._settings.bag).name}"
            return poses, "of the configuration" if frames.gives_extrinsics else where
        if frames.gives_extrinsics:
            return Poses(), "of the configuration"
        return RecentPoses(), "of the topics /tf and /tf_static"

    def _is_idle(self) -> bool:
        limit_s, last_s = self._settings.idle_s, self._last_message_s
        return limit_s > 0 and last_s is not None and time.monotonic() - last_s > limit_s

    def _subscribe_new(self) -> float:
        """Subscribe the inputs whose publisher has appeared; return when to look again, seconds.

        The depth comes first, so that a player which waits for subscribers waits for it as well.
        """
        if "depth" in self._waiting:
            found = self._subscribe_published("depth")
            delay_s = _SETTLE_S if found else _DISCOVERY_PERIOD_S
        else:
            for name in list(self._waiting):
                self._subscribe_published(name)
            delay_s = _DISCOVERY_PERIOD_S
        missing = [self.resolve_topic_name(n) for n in self._waiting if _INPUTS[n][0] == n]
        if missing:
            self.tally.warn("no publisher", f"nobody publishes {', '.join(missing)} yet")
        return delay_s

    def _subscribe_published(self, name: str) -> bool:
        key, types = _INPUTS[name]
        publishers = [
            publisher
            for publisher in self.get_publishers_info_by_topic(self.resolve_topic_name(name))
            if publisher.topic_type in types
        ]
        if publishers and key not in self._topics:
            self._subscribe(key, name, publishers)
        if key in self._topics:
            self._waiting.remove(name)
        return key in self._topics

    def _subscribe(self, key: str, name: str, publishers: list[Any]) -> None:
        msgtype, qos = publishers[0].topic_type, subscription_qos(publishers)
        if key == "camera_info":
            subscription = self.create_subscription(CameraInfo, name, self._on_camera_info, qos)
        else:
            subscription = self.create_subscription(
                find_message_class(msgtype), name, self._receiver(key, msgtype), qos, raw=True
            )
        self._topics[key] = subscription.topic_name
        self.get_logger().info(f"listening to {subscription.topic_name} ({msgtype})")

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._last_message_s = time.monotonic()
        self._cameras.add(stamp_of(info.header), info)

    def _receiver(self, key: str, msgtype: str) -> Callable[[bytes, Any], None]:
        add = {
            "image": self._matcher.add_image,
            "points": self._matcher.add_truth,
            "depth": self._matcher.add_depth,
        }[key]

        def receive(cdr: bytes, info: Any) -> None:
            self._last_message_s = time.monotonic()
            # The middleware's own time, however late this thread is.
            received_ns = info["received_timestamp"] or time.time_ns()
            try:
                stamp_ns, frame_id = read_header(cdr)
            except BagError as error:
                self.tally.drop(type(error).__name__, str(error))
                return
            if key == "image":
                self._timing.add_image(stamp_ns, received_ns)
            elif key == "depth":
                age_ns = self.get_clock().now().nanoseconds - stamp_ns
                self._timing.add_depth(stamp_ns, received_ns, age_ns / 1e6)
            add(stamp_ns, Packet(frame_id, msgtype, cdr))
            for match in self._matcher.take():
                self._hand_over(match)

        return receive

    def _hand_over(self, match: Match[Packet]) -> None:
        try:
            self._matches.put_nowait(self._read(match))
        except queue.Full:
            self.tally.drop(_BEHIND, f"{_BEHIND} by {self._matches.qsize()} frames")

    def _read(self, match: Match[Packet]) -> ReadMatch:
        return match, self._cameras.at(match.stamp_ns), self._cameras.frame_id

    def _score_all(self) -> None:
        """Score what is handed over, in a thread of its own, until None comes."""
        while (item := self._matches.get()) is not None:
            if self.failure:
                continue
            try:
                self._score(*item)
            except MonoDepthError as error:
                self._leave_out(type(error).__name__, str(error))
            except Exception:
                self._leave_out("unexpected error", traceback.format_exc())

    def _score(
        self, match: Match[Packet], camera: Intrinsics | MonoDepthError, camera_frame: str
    ) -> None:
        try:
            self._builder.require_rig(match, camera_frame)
        except BagError as error:
            if self._waits_for_transforms():
                raise
            # A recording's transforms will not change any more.
            self.failure = error
            return
        if isinstance(camera, MonoDepthError):
            raise camera
        self._scores.add(self._builder.frame(match, camera), self._builder.depth(match))
        self.tally.count("scored" if match.depth is not None else "without a depth")

    def _waits_for_transforms(self) -> bool:
        return not self._settings.bag and not self._config.frames.gives_extrinsics

    def _leave_out(self, reason: str, text: str) -> None:
        self._unreadable += 1
        self.tally.drop(reason, text)

    def _live_facts(self) -> dict[str, Any]:
        simulated = self.get_parameter("use_sim_time").value
        return {
            **self._timing.facts("/clock" if simulated else "system clock"),
            "frames": self.tally.counts,
            "messages_left_out": dict(+self._matcher.dropped),
        }


def main(args: list[str] | None = None) -> int:
    """Run the node; return the exit code of `run_node`."""
    return run_node(args)


def run_node(args: list[str] | None = None) -> Literal[0, 1]:
    """Run the node until SIGINT, SIGTERM or idleness, then write the report.

    Args:
        args: ROS arguments; those of the process by default.

    Returns:
        0 when the report is written, 1 otherwise; the reason is logged.
    """
    stop, node = StopRequest.on_signals(), None
    try:
        use_large_message_profile()
        node = _start(args)
        node.spin(stop)
        page = node.write_report()
        node.get_logger().info(f"report: {page}")
    except MonoDepthError as error:
        get_logger("evaluator_node").fatal(str(error))
        return 1
    finally:
        ignore_signals()
        if node is not None:
            node.destroy_node()
        try_shutdown()
    return 0


def _start(args: list[str] | None) -> EvaluatorNode:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        return EvaluatorNode()
    except (RuntimeError, NameValidationException) as error:
        # A missing parameters file, a bad `-p` or namespace.
        raise ConfigError(f"ROS refuses the arguments of this node: {error}") from error


def _decode(packet: Packet) -> Any:
    try:
        return deserialize_message(packet.cdr, find_message_class(packet.msgtype))
    except Exception as error:  # rclpy's errors have no common class
        raise DecodingError(f"a {packet.msgtype} cannot be decoded: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
