"""Coloured clouds of one camera, thinned and filtered as a CloudConfig says."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mono_depth_ros.cloud_filters import Array, CloudConfig, CloudFilter
from mono_depth_ros.clouds import CloudBuilder, TensorCloudBuilder
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.voxels import thin_to_voxels


class FilteredCloudBuilder:
    """Clouds of one camera's depth images; the arguments are those of `CloudFilter`.

    Attributes:
        camera: intrinsics of the depth images, pixels.
        config: what the clouds leave out.
        keeps_all: whether no pixel that has a depth is ever left out, but by the stride.
    """

    def __init__(
        self,
        camera: Intrinsics,
        config: CloudConfig,
        ego_mask: npt.NDArray[np.bool_] | None = None,
        sky_label: int | None = None,
    ) -> None:
        self.camera, self.config = camera, config
        self._keep = CloudFilter(camera, config, ego_mask, sky_label)
        self._build = CloudBuilder(self._keep.picked_camera)
        self._build_tensor = TensorCloudBuilder(self._keep.picked_camera)
        self.keeps_all = self._keep.keeps_all

    def __call__(
        self,
        depth_m: Array,
        rgb: Array,
        confidence: Array | None = None,
        semantics: Array | None = None,
        largest_depth_m: float = math.inf,
    ) -> Array:
        """Build the cloud of one frame, of arrays or of tensors on one device.

        Args:
            depth_m: (H, W) float32, C-contiguous, metres, NaN where unknown.
            rgb: (H, W, 3) uint8 of the same pixels.
            confidence: (H, W) float32 in [0, 1]; needed if the config needs confidence.
            semantics: (H, W) uint8; needed if the config drops the sky and there is a `sky_label`.
            largest_depth_m: largest depth that this image could have, metres.

        Returns:
            float32 of the same kind, memory of dtype `POINT`. Organised: (h, w, 4), h and w are the
            sizes over the stride, rounded up; NaN x, y, z where a pixel gives no point; the next
            call reuses an array. Dense: (N, 4), points only.

        Raises:
            ShapeError: depth or colour has another size or type than the camera.
        """
        if tuple(depth_m.shape) != (self.camera.height, self.camera.width):
            raise ShapeError(
                f"depth is {tuple(depth_m.shape)}, its camera is for "
                f"{(self.camera.height, self.camera.width)} (height, width)"
            )
        if not isinstance(depth_m, np.ndarray):
            return self._of_tensors(depth_m, rgb, confidence, semantics, largest_depth_m)
        every = self._keep.every
        picked_m = np.ascontiguousarray(depth_m[every])
        picked_rgb = np.ascontiguousarray(rgb[every])
        is_dense = self.config.cloud_layout == "dense"
        if self.keeps_all and not is_dense:
            return self._build(picked_m, picked_rgb)
        keep = self._keep(depth_m, confidence, semantics, largest_depth_m)
        if not is_dense:
            return self._build(np.where(keep, picked_m, np.float32(np.nan)), picked_rgb)
        points = self._build(picked_m, picked_rgb).reshape(-1, 4)
        return self._thinned(points.take(np.flatnonzero(keep), axis=0))

    def _of_tensors(
        self,
        depth_m: Array,
        rgb: Array,
        confidence: Array | None,
        semantics: Array | None,
        largest_depth_m: float,
    ) -> Array:
        is_dense = self.config.cloud_layout == "dense"
        points = self._build_tensor(depth_m[self._keep.every], rgb[self._keep.every])
        if self.keeps_all and not is_dense:
            return points
        keep = self._keep(depth_m, confidence, semantics, largest_depth_m)
        if is_dense:
            return self._thinned(points[keep])
        points[..., :3][~keep] = math.nan
        return points

    def _thinned(self, points: Array) -> Array:
        config = self.config
        if not config.cloud_voxel_size_m:
            return points
        return thin_to_voxels(points, config.cloud_voxel_size_m, config.cloud_voxel_point)
