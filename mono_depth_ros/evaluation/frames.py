"""From a recording to frames: an image, its camera, and the truth that belongs to it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.decoding import (
    compressed_image_to_rgb,
    image_to_depth,
    image_to_labels,
    image_to_rgb,
)
from mono_depth_ros.decoding_times import point_cloud_to_xyz_and_time
from mono_depth_ros.ego_mask import read_ego_mask, require_mask_size
from mono_depth_ros.errors import (
    BagError,
    CalibrationError,
    DecodingError,
    MonoDepthError,
    ShapeError,
)
from mono_depth_ros.evaluation.association import match_nearest
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.headers import FRAME_ERRORS, scan_headers
from mono_depth_ros.evaluation.rectification import Rectifier
from mono_depth_ros.evaluation.rig import Rig, make_rig
from mono_depth_ros.evaluation.sequence import MessageSequence
from mono_depth_ros.evaluation.sweeps import Sweep, nearest_sweeps
from mono_depth_ros.geometry import Intrinsics

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image with its truth; either the LiDAR pair or `depth_m` is set.

    Attributes:
        stamp_ns: the image's header stamp.
        truth_stamp_ns: the header stamp of the cloud or depth image.
        rgb: (H, W, 3) uint8; None when only the truth was asked for.
        camera: intrinsics of that image.
        lidar_points_m: (N, 3) float32 metres, LiDAR frame.
        camera_from_lidar: (4, 4).
        depth_m: (H, W) float32 metres, NaN = none, of a recorded depth image.
        seen: (H, W) bool, the pixels that the camera saw and that do not show the robot; None for
            all.
        fixed_from_camera: (4, 4) pose of the camera in a frame that does not move, None where none
            is known.
        labels: (H, W) uint8 class numbers, None where none came with the image.
    """

    stamp_ns: int
    truth_stamp_ns: int
    rgb: npt.NDArray[np.uint8] | None
    camera: Intrinsics
    lidar_points_m: npt.NDArray[np.float32] | None = None
    camera_from_lidar: npt.NDArray[np.float64] | None = None
    depth_m: npt.NDArray[np.float32] | None = None
    seen: npt.NDArray[np.bool_] | None = None
    fixed_from_camera: npt.NDArray[np.float64] | None = None
    labels: npt.NDArray[np.uint8] | None = None


class Recording:
    """A bag whose images are matched with their truth.

    The constructor reads headers, calibration and transforms of the whole bag; `frames` then reads
    images and clouds side by side, so that memory holds a few messages however the bag is ordered.

    Args:
        bag: anything `BagReader` opens.
        config: topics, tolerance, truth.

    Attributes:
        topics: the topics in use.
        pairs: (M, 2) the recorded positions of matched images and truths, in image order.
        images: how many images the bag holds.
        truths: how many clouds or depth images it holds.
        rig: where camera and LiDAR are; None where the truth is a depth image.
        camera_from_lidar: (4, 4) at the first image; None likewise.
        unreadable: image stamp to reason, of the matched frames met so far that had to be left out.
        damage: why parts of the recording could not be read; empty for a whole one.

    Raises:
        BagError: the bag is unreadable, lacks a topic or transform, is ambiguous, or no image has a
            truth within the tolerance.
        CalibrationError: no camera_info is usable, or a file in place of it or of the transform.
        ConfigError: such a file cannot be read.
    """

    def __init__(self, bag: str | Path, config: FrameConfig) -> None:
        self.path, self._config = Path(bag), config
        self.unreadable: dict[int, str] = {}
        self._headers = headers = scan_headers(self.path, config)
        self.topics, self.damage, self._cameras = headers.topics, headers.damage, headers.cameras
        image_ns, truth_ns = headers.images.stamps_ns, headers.truths.stamps_ns
        self.images, self.truths = len(image_ns), len(truth_ns)
        self._require(image_ns, truth_ns)
        self.pairs = self._match(image_ns, truth_ns)
        self._stamps = image_ns, truth_ns
        self._camera_stamps = np.array(sorted(self._cameras), np.int64)
        self._truth_frame = headers.truths.frame
        self.rig = self._make_rig() if config.truth == "lidar" else None
        self.camera_from_lidar = (
            None if self.rig is None else self.rig.camera_from_lidar(self._first_ns)
        )
        self._sweeps: dict[int, Sweep] = {}
        self._ego = read_ego_mask(config.ego_mask) if config.ego_mask else None
        self._rectifier = None
        if not config.rectified:
            self._rectifier = Rectifier(config.lenses(self.path, self.topics.camera_info))

    def frames(self, *, with_images: bool = True) -> Iterator[Frame]:
        """Yield the matched frames in the order of their images.

        A frame whose image, truth or camera_info cannot be used goes to `unreadable` instead.

        Args:
            with_images: False leaves images unread, for passes over the truth alone.

        Raises:
            BagError: no frame was readable.
        """
        readable = False
        for _, frame in self.chosen_frames(range(len(self.pairs)), with_images=with_images):
            if frame is not None:
                readable = True
                yield frame
        if not readable:
            raise self.nothing_left()

    def chosen_frames(
        self, chosen: Sequence[int], *, with_images: bool = True
    ) -> Generator[tuple[int, Frame | None]]:
        """Yield some of the matched frames, None for those that cannot be used.

        Args:
            chosen: ascending places in `pairs`, which are yielded as well.
            with_images: False leaves images unread.
        """
        with ExitStack() as stack:
            self._sweeps.clear()
            pairs = self.pairs[np.asarray(chosen, np.int64)].tolist()
            sweeps_of = [self._truths_of(*pair) for pair in pairs]
            wanted = {position for positions in sweeps_of for position in positions}
            truths = stack.enter_context(self._sequence(self.topics.truth, wanted))
            images = None
            if with_images:
                images = stack.enter_context(
                    self._sequence(self.topics.image, [image for image, _ in pairs])
                )
            labels = self._labels_of(pairs) if with_images else {}
            labelled = (
                stack.enter_context(self._sequence(self._config.labels_topic, labels.values()))
                if labels
                else None
            )
            for index, (image, truth), positions in zip(chosen, pairs, sweeps_of, strict=True):
                frame = None
                try:
                    whole = self._frame(image, truth, positions, images, truths)
                    if labelled is not None and image in labels:
                        shown = image_to_labels(labelled.message(labels[image]))
                        whole = replace(whole, labels=_of_size(shown, whole.camera))
                    frame = whole
                except FRAME_ERRORS as error:
                    self.leave_out(self._stamps[0][image], error)
                yield index, frame

    def _labels_of(self, pairs: list[list[int]]) -> dict[int, int]:
        """Return, by the positions of images, those of the labels of the same stamp."""
        positions = {stamp_ns: i for i, stamp_ns in enumerate(self._headers.labels.stamps_ns)}
        stamps_ns = self._stamps[0]
        return {
            image: positions[stamps_ns[image]]
            for image, _ in pairs
            if stamps_ns[image] in positions
        }

    def _sequence(self, topic: str, positions: Collection[int]) -> MessageSequence:
        beside = self._headers.read if self.damage else ()
        return MessageSequence(self.path, topic, positions, beside)

    def leave_out(self, stamp_ns: int, error: MonoDepthError) -> None:
        """Count the frame of an image as unreadable; a second pass over it changes nothing."""
        if stamp_ns not in self.unreadable:
            self.unreadable[stamp_ns] = str(error)
            logger.warning("the frame of the image at %d ns is left out: %s", stamp_ns, error)

    def nothing_left(self) -> BagError:
        """Return the error for a recording of which no frame could be used."""
        reason = next(iter(self.unreadable.values()))
        return BagError(
            f"{self.path}: none of {len(self.pairs)} frames is left, {len(self.unreadable)} are "
            f"unreadable; the first one: {reason}"
        )

    def _frame(
        self,
        image: int,
        truth: int,
        positions: list[int],
        images: MessageSequence | None,
        truths: MessageSequence,
    ) -> Frame:
        stamp_ns, truth_stamp_ns = self._stamps[0][image], self._stamps[1][truth]
        camera = self._camera_at(stamp_ns)
        self._require_size(image, camera)
        rgb = None if images is None else self._decode(images.message(image))
        seen = None
        if self._rectifier is not None:
            seen = self._rectifier.seen(camera, stamp_ns)
            rgb = None if rgb is None else self._rectifier.image(rgb, camera, stamp_ns)
        if self._ego is not None:
            require_mask_size(self._ego, camera.height, camera.width)
            seen = ~self._ego if seen is None else seen & ~self._ego
        if self.rig is None:
            depth_m = self._depth(truths.message(truth), camera)
            if self._rectifier is not None:
                depth_m = self._rectifier.depth(depth_m, camera, stamp_ns)
            return Frame(stamp_ns, truth_stamp_ns, rgb, camera, depth_m=depth_m, seen=seen)
        sweeps = [self._sweep(position, truths) for position in positions]
        try:
            points_m = self.rig.cloud(sweeps, stamp_ns)
            camera_from_lidar = self.rig.camera_from_lidar(stamp_ns)
            fixed_from_camera = self.rig.fixed_from_camera(stamp_ns)
        except BagError as error:
            raise CalibrationError(f"its sweep has no pose: {error}") from error
        return Frame(
            stamp_ns,
            truth_stamp_ns,
            rgb,
            camera,
            points_m,
            camera_from_lidar,
            seen=seen,
            fixed_from_camera=fixed_from_camera,
        )

    def _truths_of(self, image: int, truth: int) -> list[int]:
        """Return the recorded positions of an image's truths."""
        if self._config.sweeps == 1:
            return [truth]
        image_ns, truth_ns = self._stamps
        return nearest_sweeps(truth_ns, image_ns[image], self._config.sweeps).tolist()

    def _sweep(self, position: int, truths: MessageSequence) -> Sweep:
        if position not in self._sweeps:
            message = truths.message(position)
            frame = self._headers.truths.frames[position]
            if frame != self._truth_frame:
                raise CalibrationError(
                    f"its cloud is in frame {frame!r}, most of {self.topics.truth} in "
                    f"{self._truth_frame!r}; let one LiDAR publish there"
                )
            points_m, times_ns = point_cloud_to_xyz_and_time(message)
            self._sweeps[position] = Sweep(self._stamps[1][position], points_m, times_ns)
        sweep = self._sweeps[position]
        # Images follow each other, so sweeps long passed are asked for no more.
        for passed in [kept for kept in self._sweeps if kept < position - 2 * self._config.sweeps]:
            del self._sweeps[passed]
        return sweep

    def _require(self, image_ns: list[int], truth_ns: list[int]) -> None:
        for stamps, topic in ((image_ns, self.topics.image), (truth_ns, self.topics.truth)):
            if not stamps:
                raise BagError(f"{self.path} holds no message on {topic}")
        if not self._cameras:
            raise BagError(f"{self.path} holds no message on {self.topics.camera_info}")
        unusable = [c for c in self._cameras.values() if isinstance(c, MonoDepthError)]
        if len(unusable) == len(self._cameras):
            raise CalibrationError(
                f"no camera_info on {self.topics.camera_info} of {self.path} is usable; "
                f"the first one: {unusable[0]}"
            )

    def _match(self, image_ns: list[int], truth_ns: list[int]) -> npt.NDArray[np.int64]:
        tolerance_ns = round(self._config.tolerance_ms * 1e6)
        matches = match_nearest(image_ns, truth_ns, tolerance_ns)
        pairs = np.column_stack([np.flatnonzero(matches >= 0), matches[matches >= 0]])
        if len(pairs) == 0:
            raise BagError(
                f"no image of {self.topics.image} has a {self.topics.truth} within "
                f"{self._config.tolerance_ms} ms (images {_span(image_ns)}, truth "
                f"{_span(truth_ns)}); raise the tolerance or synchronise the clocks"
            )
        limit = self._config.max_frames
        if limit is not None and len(pairs) > limit:
            pairs = pairs[np.linspace(0, len(pairs) - 1, limit).round().astype(np.int64)]
        return pairs

    @property
    def fixed_frame(self) -> str:
        """In which the motion of sweeps is compensated; empty where it is not."""
        return "" if self.rig is None else self.rig.fixed_frame

    @property
    def _first_ns(self) -> int:
        """Stamp of the first matched image."""
        return self._stamps[0][int(self.pairs[0][0])]

    def _make_rig(self) -> Rig:
        config, headers = self._config, self._headers
        rig = make_rig(
            headers.poses, config, headers.camera_frame, self._truth_frame, self._first_ns
        )
        if config.sweeps > 1 and not rig.fixed_frame:
            raise BagError(
                f"{config.sweeps} sweeps of one image need a fixed frame that the LiDAR moves in; "
                f"{self.path} holds neither /tf nor one odometry that says how it moves"
            )
        return rig

    def _camera_at(self, stamp_ns: int) -> Intrinsics:
        if stamp_ns not in self._cameras:
            nearest = np.argmin(np.abs(self._camera_stamps - stamp_ns))
            stamp_ns = int(self._camera_stamps[nearest])
        camera = self._cameras[stamp_ns]
        if isinstance(camera, MonoDepthError):
            raise CalibrationError(f"its camera_info is not usable: {camera}")
        return camera

    def _require_size(self, image: int, camera: Intrinsics) -> None:
        """Refuse an image of another size than its camera, before anything of the size is made."""
        size = self._headers.sizes[image]
        if isinstance(size, DecodingError):
            raise size
        if size != (camera.height, camera.width):
            raise CalibrationError(
                f"image on {self.topics.image} is {size[0]}x{size[1]}, its camera_info "
                f"on {self.topics.camera_info} is for {camera.height}x{camera.width}; record the "
                "camera_info of this image"
            )

    def _decode(self, message: Any) -> npt.NDArray[np.uint8]:
        return (
            compressed_image_to_rgb(message) if self._headers.compressed else image_to_rgb(message)
        )

    def _depth(self, message: Any, camera: Intrinsics) -> npt.NDArray[np.float32]:
        depth_m = image_to_depth(message)
        if depth_m.shape != (camera.height, camera.width):
            raise ShapeError(
                f"depth image on {self.topics.truth} is {depth_m.shape[0]}x{depth_m.shape[1]}, "
                f"its camera is {camera.height}x{camera.width}; record depth registered to the "
                "image"
            )
        return depth_m


def _of_size(labels: npt.NDArray[np.uint8], camera: Intrinsics) -> npt.NDArray[np.uint8]:
    if labels.shape != (camera.height, camera.width):
        raise ShapeError(
            f"labels are {labels.shape[0]}x{labels.shape[1]}, the image is "
            f"{camera.height}x{camera.width}; record labels of this image"
        )
    return labels


def _span(stamps_ns: list[int]) -> str:
    return f"{min(stamps_ns) / 1e9:.3f} to {max(stamps_ns) / 1e9:.3f} s"
