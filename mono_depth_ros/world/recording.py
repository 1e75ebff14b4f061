"""A drive or walk through a scene: what camera and LiDAR see, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mono_depth_ros.device import resolve_device
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world.catalogue import make_scene
from mono_depth_ros.world.lidar import LIDARS, scan
from mono_depth_ros.world.parallel import run_ordered, worker_count
from mono_depth_ros.world.render import Frame, render
from mono_depth_ros.world.scene import Scene
from mono_depth_ros.world.sensor import SensorModel

# A fixed epoch: the same arguments give the same recording.
FIRST_STAMP_NS = 1_700_000_000_000_000_000
_SENSOR_STREAM = 0x63616D


@dataclass(frozen=True)
class RecordingConfig:
    """What to record.

    Attributes:
        kind: "rooms" or "streets".
        seed: of the scene.
        frames: number of camera frames; every one comes with a scan.
        rate_hz: of camera and LiDAR.
        lidar: key of `lidar.LIDARS`.
        size: (height, width) of the image, None for the kind's own camera.
        device: "auto", "cpu", "cuda" or "cuda:N".
        workers: processes on the CPU, None for all cores; the data do not depend on it.
        labels: whether the class of every pixel is recorded, too.
    """

    kind: str = "rooms"
    seed: int = 0
    frames: int = 100
    rate_hz: float = 10.0
    lidar: str = "64"
    size: tuple[int, int] | None = None
    device: str = "auto"
    workers: int | None = None
    labels: bool = False

    def __post_init__(self) -> None:
        if self.frames < 1 or not self.rate_hz > 0:
            raise ConfigError(
                f"{self.frames} frames at {self.rate_hz} Hz is no recording; "
                "use 1 frame or more at more than 0 Hz"
            )
        if self.lidar not in LIDARS:
            raise ConfigError(f"no LiDAR {self.lidar!r}; choose from {', '.join(LIDARS)}")


@dataclass(frozen=True)
class Moment:
    """What the sensors saw at one stamp."""

    stamp_ns: int
    frame: Frame
    points: npt.NDArray[np.void]
    odom_from_base: npt.NDArray[np.float64]


def camera_of(scene: Scene, size: tuple[int, int] | None) -> Intrinsics:
    """Return the scene's camera, resized to (height, width) when given."""
    return scene.camera if size is None else scene.camera.resized(size[1], size[0])


def moments(config: RecordingConfig) -> Iterator[Moment]:
    """Yield what the sensors see, frame by frame.

    Raises:
        DeviceError: the device does not exist.
    """
    device = resolve_device(config.device)
    workers = worker_count(config.workers, device, config.frames)
    yield from run_ordered(_moment, ((config, number) for number in range(config.frames)), workers)


@lru_cache(maxsize=2)
def _scene(kind: str, seed: int) -> Scene:
    return make_scene(kind, seed)


def _moment(job: tuple[RecordingConfig, int]) -> Moment:
    config, number = job
    scene = _scene(config.kind, config.seed)
    time_s = number / config.rate_hz
    sensor = SensorModel.random(np.random.default_rng((_SENSOR_STREAM, config.seed)))
    frame = render(
        scene,
        scene.pose(time_s),
        camera_of(scene, config.size),
        time_s=time_s,
        sensor=sensor,
        noise_index=number,
        device=config.device,
    )
    points = scan(scene, time_s, LIDARS[config.lidar], index=number, device=config.device)
    return Moment(FIRST_STAMP_NS + round(time_s * 1e9), frame, points, scene.base_pose(time_s))
