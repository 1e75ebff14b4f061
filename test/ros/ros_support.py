"""Helpers of the ROS tests: a graph in this process, processes, a predictor of known depth."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

import mono_depth_ros
from mono_depth_ros.prediction import Prediction, Question

TIMEOUT_S = 20.0
HEIGHT, WIDTH = 64, 96
REPOSITORY = Path(mono_depth_ros.__file__).parents[1]


class RampPredictor:
    """Stands in for a network: depth is the red byte / 25.5 metres, NaN where red is 0."""

    device = torch.device("cpu")
    info = SimpleNamespace(
        name="ramp",
        network="ramp",
        image_size=SimpleNamespace(height=HEIGHT, width=WIDTH),
        settings={"max_depth_m": 10.0},
    )
    product_names = attention_names = class_names = ()
    takes_tensors = False

    def __init__(self, checkpoint: str, config: Any) -> None:
        self.checkpoint, self.config = checkpoint, config
        self.calls = 0

    def warm_up(self, height: int, width: int, images: int = 1) -> None:
        assert (height, width) == (HEIGHT, WIDTH)

    def __call__(self, rgb: np.ndarray, camera: Any) -> np.ndarray:
        self.calls += 1
        red = rgb[..., 0].astype(np.float32)
        return np.where(
            red == 0, np.float32(np.nan), red / np.float32(25.5) * self.config.depth_scale
        )

    def predict(
        self, rgb: np.ndarray, camera: Any, products: Any = (), size: str = "camera"
    ) -> Prediction:
        return Prediction(self(rgb, camera))

    def predict_batch(self, questions: Sequence[Question], size: str) -> list[Prediction]:
        return [self.predict(q.rgb, q.camera, q.products, size) for q in questions]


class Graph:
    """Test nodes and an executor of this process; `spin_until` is the only way tests wait."""

    def __init__(self) -> None:
        self.executor = SingleThreadedExecutor()
        self.node = self.add(rclpy.create_node(f"test_{random.randrange(10**9)}"))
        self.received: dict[str, list[Any]] = {}

    def add(self, node: Any) -> Any:
        self.executor.add_node(node)
        return node

    def listen(
        self, message_type: Any, topic: str, qos: QoSProfile | int = 10, **options: Any
    ) -> list[Any]:
        """Subscribe; returns the list that messages are appended to."""
        messages = self.received.setdefault(topic, [])
        self.node.create_subscription(message_type, topic, messages.append, qos, **options)
        return messages

    def spin_until(self, done: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> None:
        end_s = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end_s, f"timed out; received {self.counts()}"
            self.executor.spin_once(timeout_sec=0.01)

    def spin_for(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=0.01)

    def counts(self) -> dict[str, int]:
        return {topic: len(messages) for topic, messages in self.received.items()}

    def publish_matched(self, publisher: Any, message: Any) -> None:
        """Publish once somebody subscribes."""
        self.spin_until(publisher.get_subscription_count)
        publisher.publish(message)


def stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def with_header(message: Any, stamp: int, frame_id: str = "camera_optical_frame") -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.header.frame_id = frame_id
    return message


def make_image(rgb: np.ndarray, stamp: int = 1, frame_id: str = "camera_optical_frame") -> Image:
    height, width = rgb.shape[:2]
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=rgb.tobytes())
    return with_header(image, stamp, frame_id)


def make_camera_info(
    height: int = HEIGHT, width: int = WIDTH, focal_px: float = 80.0
) -> CameraInfo:
    k = [focal_px, 0.0, width / 2 - 0.5, 0.0, focal_px, height / 2 - 0.5, 0.0, 0.0, 1.0]
    p = [*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0]
    return CameraInfo(
        height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5, k=k,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], p=p,
    )  # fmt: skip


def random_rgb(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class Process:
    """A program under test with its output in a file; `stop` returns (exit code, seconds)."""

    def __init__(self, arguments: Sequence[str], log: Path, domain_id: int) -> None:
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain_id),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
        }
        self._log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *arguments], stdout=stream, stderr=stream, env=environment
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, timeout_s: float = 120.0) -> None:
        end_s = time.monotonic() + timeout_s
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < end_s, f"no {text!r} in: {self.output}"
            time.sleep(0.02)

    def stop(self, *signals: signal.Signals) -> tuple[int, float]:
        start_s = time.monotonic()
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.05)
        code = self.process.wait(timeout=TIMEOUT_S)
        return code, time.monotonic() - start_s

    def __repr__(self) -> str:
        return f"Process(exit code {self.process.poll()}): {self.output}"

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
