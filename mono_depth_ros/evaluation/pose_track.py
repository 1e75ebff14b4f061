"""The poses of one moving frame over time, and interpolation between them."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import BagError, CalibrationError

Matrix = npt.NDArray[np.float64]
Stamps = npt.NDArray[np.int64]

# A rotation printed with six digits passes, a scaled or sheared matrix does not.
_ROTATION_TOLERANCE = 1e-4


class PoseTrack:
    """Rigid transforms by stamp, interpolated: translation linearly, rotation by slerp.

    Poses may arrive in any order; of equal stamps the one added last counts. At a stamp the result
    is that pose, bit for bit. A pose takes 104 bytes.

    Args:
        name: what moves, for error messages, such as "odom -> base".
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._new_stamps, self._new_rows = array("q"), array("d")
        self._stamps: Stamps = np.zeros(0, np.int64)
        self._rotations: Matrix = np.zeros((0, 3, 3))
        self._translations_m: Matrix = np.zeros((0, 3))
        # Of the turn from each pose to the next.
        self._axes: Matrix = np.zeros((0, 3))
        self._angles_rad: Matrix = np.zeros(0)

    def add(self, stamp_ns: int, parent_from_child: npt.ArrayLike) -> None:
        """Add a pose, (4, 4).

        Raises:
            CalibrationError: it is no rigid transform; the track stays as it was.
        """
        matrix = rigid_matrix(parent_from_child, self._name)
        self._new_stamps.append(int(stamp_ns))
        self._new_rows.frombytes(matrix[:3].tobytes())

    def at(self, stamps_ns: Stamps, tolerance_ns: int = 0) -> Matrix:
        """Return parent_from_child at (N,) int64 stamps, (N, 4, 4).

        Args:
            stamps_ns: in any order.
            tolerance_ns: how far before the first or after the last pose that pose still counts;
                nothing is extrapolated.

        Raises:
            BagError: a stamp lies farther outside.
        """
        self._merge()
        self._require_covered(stamps_ns, tolerance_ns)
        matrices = np.zeros((stamps_ns.size, 4, 4))
        matrices[:, 3, 3] = 1.0
        if stamps_ns.size == 0:
            return matrices
        inside = np.clip(stamps_ns, self._stamps[0], self._stamps[-1])
        before = np.searchsorted(self._stamps, inside, side="right") - 1
        after = np.minimum(before + 1, self._stamps.size - 1)
        gap_ns = np.maximum(self._stamps[after] - self._stamps[before], 1)
        share = (inside - self._stamps[before]) / gap_ns
        start_m, end_m = self._translations_m[before], self._translations_m[after]
        matrices[:, :3, 3] = start_m + share[:, None] * (end_m - start_m)
        turns = _rotations(self._axes[before], share * self._angles_rad[before])
        matrices[:, :3, :3] = self._rotations[before] @ turns
        return matrices

    def _merge(self) -> None:
        """Sort what was added since the last lookup into the arrays."""
        if not self._new_stamps:
            return
        rows = np.array(self._new_rows).reshape(-1, 3, 4)
        stamps = np.concatenate([self._stamps, np.array(self._new_stamps, np.int64)])
        rotations = np.concatenate([self._rotations, rows[:, :, :3]])
        translations_m = np.concatenate([self._translations_m, rows[:, :, 3]])
        self._new_stamps, self._new_rows = array("q"), array("d")
        order = np.argsort(stamps, kind="stable")
        last = np.append(np.diff(stamps[order]) > 0, True)
        order = order[last]
        self._stamps, self._rotations = stamps[order], rotations[order]
        self._translations_m = translations_m[order]
        following = np.append(self._rotations[1:], self._rotations[-1:], axis=0)
        self._axes, self._angles_rad = _axes_and_angles(
            np.swapaxes(self._rotations, 1, 2) @ following
        )

    def _require_covered(self, stamps_ns: Stamps, tolerance_ns: int) -> None:
        if self._stamps.size == 0:
            raise BagError(f"{self._name} has no pose")
        first_ns, last_ns = int(self._stamps[0]), int(self._stamps[-1])
        outside = (stamps_ns < first_ns - tolerance_ns) | (stamps_ns > last_ns + tolerance_ns)
        if outside.any():
            stamp_ns = int(stamps_ns[np.argmax(outside)])
            distance_ns = max(first_ns - stamp_ns, stamp_ns - last_ns)
            more = f" and {outside.sum() - 1} more stamps" if outside.sum() > 1 else ""
            raise BagError(
                f"{self._name} is not known at {stamp_ns} ns{more}: its {self._stamps.size} poses "
                f"reach from {first_ns} to {last_ns} ns, {distance_ns} ns away, tolerance "
                f"{tolerance_ns} ns; record it for the whole time, or leave these stamps out"
            )


def rigid_matrix(values: npt.ArrayLike, name: str) -> Matrix:
    """Return a rigid transform as a (4, 4) float64 copy.

    Raises:
        CalibrationError: it has another shape, a value that is not finite, or no rotation in its
            upper left; `name` says whose.
    """
    matrix = np.array(values, np.float64)
    if matrix.shape != (4, 4):
        raise CalibrationError(f"transform {name} is {matrix.shape}; pass (4, 4)")
    rotation = matrix[:3, :3]
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if not (np.isfinite(matrix).all() and error < _ROTATION_TOLERANCE):
        raise CalibrationError(
            f"transform {name} is not rigid: {matrix[:3].tolist()}; publish finite numbers and a "
            "rotation"
        )
    if np.linalg.det(rotation) < 0 or (matrix[3] != (0, 0, 0, 1)).any():
        raise CalibrationError(
            f"transform {name} mirrors or does not end in 0 0 0 1: {matrix.tolist()}; publish a "
            "rotation and a translation"
        )
    return matrix


def _axes_and_angles(rotations: Matrix) -> tuple[Matrix, Matrix]:
    """Return unit axes (N, 3) and angles (N,) in [0, pi] of rotations (N, 3, 3).

    The axis of no rotation is zero.
    """
    quaternions = _quaternions(rotations)
    sines = np.linalg.norm(quaternions[:, :3], axis=1)
    angles_rad = 2 * np.arctan2(sines, quaternions[:, 3])
    return quaternions[:, :3] / np.where(sines > 0, sines, 1.0)[:, None], angles_rad


def _quaternions(rotations: Matrix) -> Matrix:
    """Return unit quaternions x, y, z, w (N, 4), w >= 0, of rotations (N, 3, 3).

    4 q q^T is linear in the rotation, and each of its rows is a multiple of q; that with the
    largest diagonal element is never near zero.
    """
    r = np.moveaxis(rotations, 0, -1)
    products = np.empty((4, 4, len(rotations)))
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        products[i, i] = 1 + 2 * r[i, i] - trace
        products[i, j] = products[j, i] = r[i, j] + r[j, i]
        products[i, 3] = products[3, i] = r[k, j] - r[j, k]
    products[3, 3] = 1 + trace
    largest = np.argmax(np.einsum("iin->in", products), axis=0)
    quaternions = products[largest, :, np.arange(len(rotations))]
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    return np.where(quaternions[:, 3:] < 0, -quaternions, quaternions)


def _rotations(axes: Matrix, angles_rad: Matrix) -> Matrix:
    """Return the rotations (N, 3, 3) about unit axes (N, 3) by angles (N,): Rodrigues' formula."""
    x, y, z = axes.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    sines, versines = np.sin(angles_rad), 1 - np.cos(angles_rad)
    rotations: Matrix = (
        np.eye(3) + sines[:, None, None] * cross + versines[:, None, None] * (cross @ cross)
    )
    return rotations
