"""nyu_depth_v2_labeled.mat: 1449 frames with two depths and labels, as pictures.

The file is 2.8 GB, so frames are read one by one. MATLAB stores columns first: h5py sees images as
(N, 3, 640, 480) and the rest as (N, 640, 480).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.atomic import replacing
from mono_depth_ros.errors import DataError
from mono_depth_ros.progress import progress
from training.prepare.made import is_whole_png
from training.prepare.nyu_frames import scene_of
from training.prepare.nyu_labels import nyu40
from training.prepare.nyu_layout import LABELLED

if TYPE_CHECKING:
    import h5py

# Codes per metre, as in the pictures of sync/.
DEPTH_SCALE = 1000.0

_WIDTH, _HEIGHT = 640, 480
# Key to what follows the number of frames, and the kind of its numbers.
_ARRAYS: Mapping[str, tuple[tuple[int, ...], str]] = {
    "images": ((3, _WIDTH, _HEIGHT), "u"),
    "rawDepths": ((_WIDTH, _HEIGHT), "f"),
    "depths": ((_WIDTH, _HEIGHT), "f"),
    "labels": ((_WIDTH, _HEIGHT), "u"),
}
# Outside of it the projection to the depth camera left the picture white.
_INSIDE = (slice(7, 474), slice(7, 632))


class LabelledFrames:
    """The frames of an open nyu_depth_v2_labeled.mat, by index from 0.

    Args:
        file: the open file.

    Raises:
        DataError: an array is missing or has another shape.
    """

    def __init__(self, file: h5py.File) -> None:
        missing = sorted({*_ARRAYS, "scenes"} - set(file))
        if missing:
            raise DataError(f"{file.filename} has no {', '.join(missing)}; fetch it again")
        self._file = file
        self._count = file["images"].shape[0]
        for key, (shape, kind) in _ARRAYS.items():
            found = file[key]
            if found.shape != (self._count, *shape) or found.dtype.kind != kind:
                raise DataError(
                    f"{key} of {file.filename} is {found.shape} {found.dtype}; need "
                    f"{(self._count, *shape)}, so fetch it again"
                )

    def __len__(self) -> int:
        return int(self._count)

    def scenes(self) -> list[str]:
        """Return the scene of each frame."""
        references = np.ravel(self._file["scenes"][()])
        if references.size != len(self):
            raise DataError(
                f"{self._file.filename} has {len(self)} images and {references.size} scenes; "
                "fetch it again"
            )
        texts = (np.ravel(self._file[reference][()]) for reference in references)
        return [scene_of("".join(chr(code) for code in text)) for text in texts]

    def bgr(self, index: int) -> npt.NDArray[np.uint8]:
        """Return (480, 640, 3) uint8 in OpenCV's order, black outside rows 7:474, columns 7:632.

        The white border is blackened as in the test pictures of BTS, which everybody scores on.
        """
        bgr = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
        bgr[_INSIDE] = self._file["images"][index].transpose(2, 1, 0)[_INSIDE][..., ::-1]
        return bgr

    def raw_code(self, index: int) -> npt.NDArray[np.uint16]:
        """Return (480, 640) millimetres as the sensor measured them, 0 in its holes."""
        return _depth_code(self._file["rawDepths"][index].T)

    def filled_code(self, index: int) -> npt.NDArray[np.uint16]:
        """Return (480, 640) millimetres with the holes painted in."""
        return _depth_code(self._file["depths"][index].T)

    def raw_labels(self, index: int) -> npt.NDArray[np.uint16]:
        """Return (480, 640) of 0, unlabelled, and 1 to 894."""
        return np.asarray(self._file["labels"][index].T, np.uint16)


@contextmanager
def open_labelled(path: Path) -> Iterator[LabelledFrames]:
    """Open nyu_depth_v2_labeled.mat.

    Raises:
        DataError: the file is missing or damaged, also when that shows inside the block.
    """
    # All kinds of data are recognised through these modules, and only this file needs h5py.
    import h5py

    if not path.is_file():
        raise DataError(f"{path} is missing; put {LABELLED} there")
    try:
        with h5py.File(path, "r") as file:
            yield LabelledFrames(file)
    except (OSError, RuntimeError) as error:
        # The system numbers its errors, such as a full disk; the library's have none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{path} is damaged ({error}); fetch it again") from error


def make_pictures(
    frames: LabelledFrames, folder: Path, classes: npt.NDArray[np.uint8] | None
) -> None:
    """Write every frame's pictures that are not there yet, or cut off; `picture` says where.

    Args:
        frames: of the open file.
        folder: gets rgb/, depth/, filled/ and labels40/.
        classes: from `read_classes`; None makes no labels.

    Raises:
        DataError: a frame is damaged.
        OSError: a picture cannot be written.
    """
    makers: dict[str, Callable[[int], npt.NDArray]] = {
        "rgb": frames.bgr,
        "depth": frames.raw_code,
        "filled": frames.filled_code,
    }
    if classes is not None:
        makers["labels40"] = lambda index: nyu40(frames.raw_labels(index), classes)
    for kind in makers:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in progress(range(len(frames)), len(frames), "pictures of the .mat"):
        for kind, make in makers.items():
            path = picture(folder, kind, index)
            if not is_whole_png(path):
                _write(path, make(index))


def picture(folder: Path, kind: str, index: int) -> Path:
    """Return where `make_pictures` puts rgb, depth, filled or labels40 of a frame."""
    return folder / kind / f"{index:05d}.png"


def _depth_code(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return millimetres, cut off as in the test pictures of BTS; 0 for what is no depth."""
    known_m = np.where(np.isfinite(depth_m), depth_m, 0)
    largest = np.iinfo(np.uint16).max
    return np.clip(known_m * np.float32(DEPTH_SCALE), 0, largest).astype(np.uint16)


def _write(path: Path, pixels: npt.NDArray) -> None:
    # cv2.imwrite is silent about a full disk.
    _, data = cv2.imencode(".png", pixels)
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
