"""Recordings written anew with their messages changed, among others with a fault of the set-up."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.geometry import quaternion_from_matrix, transform_from_quaternion

IMAGE, INFO, LIDAR = "/camera/image_raw", "/camera/camera_info", "/lidar/points"


def rewrite(bag, out, change):
    """Write a bag anew; `change(topic, number, message)` returns the message, changed, or None."""
    counts: dict[str, int] = {}
    with BagReader(bag) as reader, BagWriter(out) as writer:
        for topic, log_time_ns, message in reader.messages():
            number = counts.get(topic, 0)
            counts[topic] = number + 1
            changed = change(topic, number, message)
            if changed is not None:
                writer.write_message(topic, log_time_ns, changed)
    return out


def restamped(late_s):
    """Return a change: the stamps of the clouds are late by so much."""

    def change(topic, number, message):
        if topic != LIDAR:
            return message
        stamp = message.header.stamp
        ns = stamp.sec * 1_000_000_000 + stamp.nanosec + round(late_s * 1e9)
        stamp = replace(stamp, sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)
        return replace(message, header=replace(message.header, stamp=stamp))

    return change


def zoomed(factor):
    """Return a change: the focal lengths of camera_info are so many times the right ones."""

    def change(topic, number, message):
        if topic != INFO:
            return message
        k, p = message.k.copy(), message.p.copy()
        k[[0, 4]] *= factor
        p[[0, 5]] *= factor
        return replace(message, k=k, p=p)

    return change


def rescaled(factor):
    """Return a change: the coordinates of the clouds are so many times the right ones."""

    def change(topic, number, message):
        if topic != LIDAR:
            return message
        assert [(f.name, f.offset) for f in message.fields][:3] == [("x", 0), ("y", 4), ("z", 8)]
        data = message.data.reshape(-1, message.point_step).copy()
        xyz = data[:, :12].view("<f4")
        xyz *= np.float32(factor)
        return replace(message, data=data.ravel())

    return change


def turned(rotation_deg):
    """Return a change: camera_from_lidar of /tf_static is turned about the camera's axes."""
    turned_from_camera = np.eye(4)
    turned_from_camera[:3, :3], _ = cv2.Rodrigues(np.radians(np.array(rotation_deg, float)))

    def change(topic, number, message):
        if topic != "/tf_static":
            return message
        links = [_turned(link, turned_from_camera) for link in message.transforms]
        return replace(message, transforms=links)

    return change


def _turned(link, turned_from_camera):
    if link.child_frame_id != "camera_optical_frame":
        return link
    t, q = link.transform.translation, link.transform.rotation
    matrix = transform_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
    x, y, z, w = map(float, quaternion_from_matrix((matrix @ turned_from_camera.T)[:3, :3]))
    # The camera stays where it is, so camera_from_lidar is turned as a whole.
    rotation = replace(q, x=x, y=y, z=z, w=w)
    return replace(link, transform=replace(link.transform, rotation=rotation))
