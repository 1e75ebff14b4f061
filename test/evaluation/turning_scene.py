"""What a turning robot records in the procedural world, and the same with a fault in its set-up."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.geometry import invert_transform
from mono_depth_ros.world.catalogue import make_scene
from mono_depth_ros.world.lidar import LIDARS, scan
from mono_depth_ros.world.render import render
from mono_depth_ros.world.scene import body_pose

START_NS = 1_700_000_000_000_000_000
SIZES = {"rooms": (320, 240), "streets": (621, 188)}


@dataclass(frozen=True)
class Swaying:
    """A motion whose heading sways as well."""

    motion: object
    amplitude_rad: float = 0.2
    rate_rad_s: float = 0.9

    def base_pose(self, time_s):
        yaw = self.amplitude_rad * math.sin(self.rate_rad_s * time_s + self.motion.start_m)
        return self.motion.base_pose(time_s) @ body_pose((0.0, 0.0, 0.0), yaw)


def turning_frames(kind, seed, *, frames, lidar="64", period_s=0.2, late_s=0.0):
    """Return frames whose sweeps are taken `late_s` after their stamps; streets get a sway."""
    scene = make_scene(kind, seed)
    if kind == "streets":
        scene = replace(scene, motion=Swaying(scene.motion))
    camera = scene.camera.resized(*SIZES[kind])
    camera_from_lidar = invert_transform(scene.base_from_camera) @ scene.base_from_lidar
    result = []
    for number in range(frames):
        time_s = number * period_s
        stamp_ns = START_NS + round(time_s * 1e9)
        rgb = render(scene, scene.pose(time_s), camera, time_s=time_s, noise_index=number).rgb
        sweep = scan(scene, time_s + late_s, LIDARS[lidar], index=number)
        points_m = np.stack([sweep[name] for name in "xyz"], axis=1)
        result.append(Frame(stamp_ns, stamp_ns, rgb, camera, points_m, camera_from_lidar))
    return result


def rotated(frames, rotation_deg):
    """Return the frames with camera_from_lidar rotated in camera axes."""
    fault = np.eye(4)
    fault[:3, :3], _ = cv2.Rodrigues(np.radians(np.array(rotation_deg, float)))
    return [replace(frame, camera_from_lidar=fault @ frame.camera_from_lidar) for frame in frames]


def zoomed(frames, factor):
    """Return the frames with their focal lengths multiplied."""
    cameras = [replace(f.camera, fx=f.camera.fx * factor, fy=f.camera.fy * factor) for f in frames]
    return [replace(frame, camera=camera) for frame, camera in zip(frames, cameras, strict=True)]


def rescaled(frames, factor):
    """Return the frames with their points multiplied."""
    return [replace(f, lidar_points_m=f.lidar_points_m * np.float32(factor)) for f in frames]
