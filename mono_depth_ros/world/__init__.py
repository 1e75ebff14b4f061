"""Procedural rooms and streets: a seed becomes images, exact depth, labels and LiDAR scans."""

from __future__ import annotations

from mono_depth_ros.world.catalogue import KINDS, make_scene
from mono_depth_ros.world.dataset import WORLD_VERSION, training_frame, write_dataset
from mono_depth_ros.world.lidar import LIDARS, LidarModel, scan
from mono_depth_ros.world.render import Frame, render
from mono_depth_ros.world.scene import Scene
from mono_depth_ros.world.sensor import SensorModel

__all__ = [
    "KINDS",
    "LIDARS",
    "WORLD_VERSION",
    "Frame",
    "LidarModel",
    "Scene",
    "SensorModel",
    "make_scene",
    "render",
    "scan",
    "training_frame",
    "write_dataset",
]
