"""Whether images and camera_info fit together, and the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mono_depth_ros.decoding import camera_info_to_intrinsics
from mono_depth_ros.doctor.findings import Section
from mono_depth_ros.doctor.middleware import DEFAULT_SEGMENT_BYTES
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.image_encodings import LAYOUTS
from mono_depth_ros.rectification import read_rectification

# How far a stamp may be from the clock of the computer before somebody should look.
_STAMP_S = 2.0
# Below this share of its camera_info's messages, images get lost.
_FEW = 0.7
_WANTED_INFOS = 5
# Of depth cameras; no colour, but nothing is wrong with them.
_DEPTH_ENCODINGS = ("32FC1", "16UC1")


@dataclass(frozen=True, slots=True)
class SeenImage:
    """What came on an image topic.

    Attributes:
        topic: name.
        count: messages while listening.
        height, width: pixels of the last one; 0 of compressed ones and where none came.
        encoding: of the last one, or format of a compressed one.
        frame_id, stamp_ns: likewise.
        size_bytes: of its data.
        compressed: whether it is a CompressedImage.
    """

    topic: str
    count: int = 0
    height: int = 0
    width: int = 0
    encoding: str = ""
    frame_id: str = ""
    stamp_ns: int = 0
    size_bytes: int = 0
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class SeenCamera:
    """A camera_info topic with the images beside it.

    Attributes:
        topic: of camera_info; None where only images are published.
        count: messages while listening.
        info: the last one, an object with the fields of sensor_msgs/CameraInfo; None where none
            came.
        images: on topics that are siblings of camera_info.
    """

    topic: str | None
    count: int = 0
    info: Any = None
    images: tuple[SeenImage, ...] = ()


def sibling_camera_info(image_topic: str) -> str:
    """Return the camera_info topic that belongs to an image topic, compressed or not."""
    raw = image_topic.removesuffix("/compressed")
    return f"{raw.rpartition('/')[0]}/camera_info"


def check_cameras(cameras: Sequence[SeenCamera], now_ns: int, listened_s: float) -> Section:
    """Check all cameras that were found.

    Args:
        cameras: see `SeenCamera`.
        now_ns: time of the graph when they were heard, /clock's where somebody publishes that.
        listened_s: how long.
    """
    section = Section("Cameras")
    if not cameras:
        section.facts["found"] = "no image or camera_info topic"
    for camera in cameras:
        for image in camera.images:
            section.facts[image.topic] = _image_text(image, listened_s)
            _check_image(section, image, now_ns)
        if camera.topic is None:
            _no_camera_info(section, camera)
            continue
        section.facts[camera.topic] = _info_text(camera, listened_s)
        if camera.info is None:
            section.add(
                "error" if camera.images else "warning",
                f"{camera.topic} is published but nothing came in {listened_s:.0f} s",
                "Without camera_info there is no depth: scale and cloud follow from it.",
                "see whether the driver has a calibration and sends (ros2 topic hz); if it sends "
                "camera_info once, it must publish it transient local",
            )  # fmt: skip
            continue
        _check_info(section, camera)
        for image in camera.images:
            _check_pair(section, camera, image)
    return section


def _image_text(image: SeenImage, listened_s: float) -> str:
    if not image.count:
        return f"nothing in {listened_s:.0f} s"
    size = "" if image.compressed else f"{image.width}x{image.height} "
    return (
        f"{image.count / listened_s:.1f} Hz, {size}{image.encoding}, "
        f"{image.size_bytes / 1e6:.2f} MB, frame {image.frame_id or 'without name'}"
    )


def _info_text(camera: SeenCamera, listened_s: float) -> str:
    info = camera.info
    if info is None:
        return f"nothing in {listened_s:.0f} s"
    k = np.asarray(info.k, np.float64)
    return (
        f"{camera.count / listened_s:.1f} Hz, {info.width}x{info.height}, fx {k[0]:g} fy {k[4]:g} "
        f"cx {k[2]:g} cy {k[5]:g}, {info.distortion_model or 'no distortion model'} with "
        f"{len(info.d)} coefficients, frame {info.header.frame_id or 'without name'}"
    )


def _no_camera_info(section: Section, camera: SeenCamera) -> None:
    topics = ", ".join(image.topic for image in camera.images)
    section.add(
        "warning",
        f"nobody publishes {sibling_camera_info(camera.images[0].topic)}, the camera_info of "
        f"{topics}",
        "A depth_node on these images waits for it: scale and cloud follow from the focal length.",
        "calibrate the camera and give the file to its driver (camera_info_url), or remap "
        "camera_info (camera_info_topic:=... of depth.launch.py)",
    )  # fmt: skip


def _check_image(section: Section, image: SeenImage, now_ns: int) -> None:
    if not image.count:
        section.add(
            "warning", f"{image.topic} is published but no image came",
            "The camera is off, or its images are lost on the way: best-effort messages over "
            "0.5 MB are, unless the camera driver runs with a Fast DDS profile.",
            "see section DDS; `ros2 topic hz` in the shell of the driver tells whether it sends",
        )  # fmt: skip
        return
    known = image.compressed or image.encoding in LAYOUTS or image.encoding in _DEPTH_ENCODINGS
    if not known:
        section.add(
            "error", f"{image.topic} has the encoding {image.encoding!r}",
            "No colour picture can be read from it.",
            f"let the driver publish one of {', '.join(LAYOUTS)}",
        )  # fmt: skip
    if not image.frame_id:
        section.add(
            "warning", f"{image.topic} has an empty frame_id",
            "Depth and cloud carry it, and RViz and Nav2 cannot place them.",
            "set the driver's frame_id, for example camera_optical_frame",
        )  # fmt: skip
    off_s = (now_ns - image.stamp_ns) * 1e-9
    if abs(off_s) > _STAMP_S:
        section.add(
            "warning",
            f"stamps of {image.topic} are {abs(off_s):.1f} s "
            f"{'behind' if off_s > 0 else 'ahead of'} the clock",
            "TF and everything that matches by time finds no partner for its depth; ages in "
            "/diagnostics are wrong.",
            "with a bag or a simulator start every node with use_sim_time:=true and play with "
            "--clock; otherwise synchronise the computers (chrony) or correct the driver",
        )  # fmt: skip


def _check_info(section: Section, camera: SeenCamera) -> None:
    info, topic = camera.info, camera.topic
    numbers = np.concatenate([np.asarray(part, np.float64) for part in (info.k, info.p, info.d)])
    if not np.isfinite(numbers).all():
        section.add(
            "error", f"{topic} holds NaN or infinity in K, P or D",
            "depth_node drops every frame of this camera.",
            "calibrate the camera, for example with camera_calibration",
        )  # fmt: skip
        return
    try:
        what = read_rectification(info)
    except MonoDepthError as error:
        section.add(
            "error", f"{topic} cannot be used: {error}",
            "depth_node drops every frame of this camera.",
            "calibrate the camera, for example with camera_calibration, and give the file to its "
            "driver (camera_info_url)",
        )  # fmt: skip
        return
    if not any(info.p):
        section.add(
            "note", f"{topic} has an empty P",
            "depth_node takes K for it; depth_image_proc and image_proc do not.",
            "let the driver fill P in; without rectification it is K with a fourth column of zeros",
        )  # fmt: skip
    camera_px = what.rectified
    inside = 0 <= camera_px.cx < camera_px.width and 0 <= camera_px.cy < camera_px.height
    ratio = camera_px.fx / camera_px.fy
    # Fields of view from 11 to 120 degrees.
    usual = 0.28 < camera_px.fx / camera_px.width < 5.0
    if not inside or not usual or not 0.5 < ratio < 2.0:
        section.add(
            "warning",
            f"{topic} has fx {camera_px.fx:g}, fy {camera_px.fy:g}, cx {camera_px.cx:g}, cy "
            f"{camera_px.cy:g} for {camera_px.width}x{camera_px.height} pixels",
            "No usual camera looks like that, and scale and cloud follow from it.",
            "compare with the calibration file; rows of K may have been exchanged, or a resized "
            "image kept the camera_info of the full one",
        )  # fmt: skip


def _check_pair(section: Section, camera: SeenCamera, image: SeenImage) -> None:
    if not image.count:
        return
    try:
        size = camera_info_to_intrinsics(camera.info, rectified=False)
    except MonoDepthError:
        size = None  # a finding already
    if size and image.width and (image.width, image.height) != (size.width, size.height):
        section.add(
            "error",
            f"{camera.topic} is for {size.width}x{size.height} pixels, {image.topic} has "
            f"{image.width}x{image.height}",
            "depth_node drops such frames: the focal length of another size gives another scale.",
            "publish the camera_info of this image (image_proc resizes both), with binning and roi "
            "where the driver shrinks or cuts it",
        )  # fmt: skip
    if image.frame_id != camera.info.header.frame_id:
        section.add(
            "warning",
            f"frame_id is {image.frame_id!r} on {image.topic} and "
            f"{camera.info.header.frame_id!r} on {camera.topic}",
            "Depth and its camera_info carry that of the image; one of the two is wrong.",
            "set the same frame, the optical one, in the driver",
        )  # fmt: skip
    if (
        image.size_bytes > DEFAULT_SEGMENT_BYTES
        and camera.count >= _WANTED_INFOS
        and image.count < _FEW * camera.count
    ):
        section.add(
            "error",
            f"{image.count} images came on {image.topic} and {camera.count} messages on "
            f"{camera.topic}",
            f"Images of {image.size_bytes / 1e6:.1f} MB get lost: Fast DDS as it comes cannot pass "
            "best-effort messages over 0.5 MB between processes, and the sender decides.",
            "start the camera driver with the profile config/fastdds.xml (section DDS)",
        )  # fmt: skip


def cameras_of(images: Sequence[SeenImage], infos: Mapping[str, SeenCamera]) -> list[SeenCamera]:
    """Put images and camera_info topics together by name.

    Args:
        images: of all image topics.
        infos: camera_info topics by name, without images.
    """
    by_info: dict[str, list[SeenImage]] = {topic: [] for topic in infos}
    for image in images:
        by_info.setdefault(sibling_camera_info(image.topic), []).append(image)
    cameras = []
    for topic, beside in sorted(by_info.items()):
        info = infos.get(topic)
        known = info or SeenCamera(None)
        cameras.append(SeenCamera(known.topic, known.count, known.info, tuple(beside)))
    return cameras
