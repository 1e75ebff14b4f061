"""NYU's 894 raw classes as the 40 that networks learn, without MATLAB.

Two conventions are in use for label pictures: 0 void and 1 to 40 the classes, as here, and the same
less one, with 255 for void. Nothing in a picture says which it is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import DataError
from mono_depth_ros.labels import NYU_VOID, Nyu
from training.prepare.nyu_mat import PUBLISHED, Tables, read_table


def read_classes(path: Path, tables: Tables = PUBLISHED) -> npt.NDArray[np.uint8]:
    """Read classMapping40.mat.

    Returns:
        Class of each raw label, (895,) uint8: void for 0, the unlabelled, and 1 to 40 for 1 to 894.

    Raises:
        DataError: the file is missing, damaged, not the one that `tables` describes, or in the
            convention that counts classes from 0.
    """
    classes = read_table(path, "mapClass", np.uint8, tables.classes)
    if classes.min() < min(Nyu) or classes.max() > max(Nyu):
        raise DataError(
            f"the classes of {path} are {classes.min()} to {classes.max()}; need {min(Nyu)} to "
            f"{max(Nyu):d} with {NYU_VOID} left for void, so fetch {path.name} again"
        )
    return np.concatenate(([NYU_VOID], classes)).astype(np.uint8)


def nyu40(raw: npt.NDArray[np.uint16], classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Map raw labels.

    Args:
        raw: any shape, 0 for unlabelled.
        classes: from `read_classes`.

    Returns:
        Same shape, 0 void, 1 to 40.

    Raises:
        DataError: there is a label that `classes` does not know.
    """
    if raw.max(initial=0) >= classes.size:
        raise DataError(f"raw label {raw.max()} is unknown; NYU has 1 to {classes.size - 1}")
    return classes[raw]
