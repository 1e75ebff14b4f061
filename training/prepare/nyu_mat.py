"""The small MATLAB files that belong to NYU Depth V2, and how to know that they are the real ones.

splits.mat and classMapping40.mat are MATLAB 5 files of a few KB. Which frame is a test frame and
what a label means depends on them, so their numbers must be the published ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import DataError

SPLITS, CLASSES = "splits.mat", "classMapping40.mat"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells a table of integers from every other one.

    Attributes:
        count: of the numbers.
        total: their sum.
        sha256: of their little-endian bytes.
    """

    count: int
    total: int
    sha256: str

    @classmethod
    def of(cls, values: npt.NDArray[np.unsignedinteger]) -> Fingerprint:
        """Describe numbers; the bytes are those of their own type."""
        stored = values.astype(values.dtype.newbyteorder("<"))
        return cls(values.size, int(values.sum()), hashlib.sha256(stored.tobytes()).hexdigest())


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that a copy of NYU Depth V2 must have; the defaults are the published ones.

    Attributes:
        train: trainNdxs of splits.mat, uint16.
        test: testNdxs of splits.mat, uint16.
        classes: mapClass of classMapping40.mat, uint8.
    """

    train: Fingerprint = Fingerprint(
        795, 551_687, "3e06f93e72a123ac410290a2cd39492ab1db8f922e19871ef292ba6f5048c30e"
    )
    test: Fingerprint = Fingerprint(
        654, 498_838, "2eeec7e27c622efec02adeaeb4b46566781fffd5e057d100ee98ca977cf0d0a5"
    )
    classes: Fingerprint = Fingerprint(
        894, 34_765, "9c75cdc1ff39748751966fe8d8493b1d2ca3acda9ec861b2f70f52221d65a7bd"
    )


PUBLISHED = Tables()


@dataclass(frozen=True, slots=True)
class Splits:
    """Which frames of nyu_depth_v2_labeled.mat are for what; indices from 0, ascending."""

    train: tuple[int, ...]
    test: tuple[int, ...]


def read_splits(path: Path, tables: Tables = PUBLISHED) -> Splits:
    """Read splits.mat, whose numbers count from 1.

    Raises:
        DataError: it is missing, damaged, or not the one that `tables` describes.
    """
    train = read_table(path, "trainNdxs", np.uint16, tables.train)
    test = read_table(path, "testNdxs", np.uint16, tables.test)
    numbers = np.sort(np.concatenate((train, test)))
    if not np.array_equal(numbers, np.arange(1, numbers.size + 1)):
        raise DataError(
            f"the frames of {path} are not 1 to {numbers.size}, each once; fetch it again"
        )
    return Splits(*(tuple(int(n) - 1 for n in np.sort(part)) for part in (train, test)))


def read_table(
    path: Path, key: str, dtype: type[np.unsignedinteger], expected: Fingerprint
) -> npt.NDArray[np.unsignedinteger]:
    """Read one table of a MATLAB 5 file.

    Args:
        path: of the file.
        key: name of the variable.
        dtype: in which the numbers are returned and hashed; copies saved as double are the same.
        expected: what the numbers must be.

    Returns:
        (N,) in the file's order.

    Raises:
        DataError: the file is missing or damaged, or its numbers are other ones.
    """
    values = np.ravel(_load(path, key))
    numbers = values.astype(dtype)
    if values.dtype.kind not in "uif" or not np.array_equal(numbers, values):
        raise DataError(f"{key} of {path} is no table of {np.dtype(dtype)}; fetch it again")
    found = Fingerprint.of(numbers)
    if found != expected:
        raise DataError(
            f"{key} of {path} is not the published table: {found.count} numbers with sum "
            f"{found.total} and SHA-256 {found.sha256}; need {expected.count}, {expected.total} "
            f"and {expected.sha256}. Fetch {path.name} again"
        )
    return numbers


def _load(path: Path, key: str) -> npt.NDArray:
    # All kinds of data are recognised through these modules, and only this one needs scipy.
    from scipy.io import loadmat

    try:
        return np.asarray(loadmat(path, variable_names=[key])[key])
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; put {path.name} there") from error
    except KeyError as error:
        raise DataError(f"{path} has no {key}; fetch {path.name} again") from error
    # scipy raises whatever the damaged bytes lead to: ValueError, TypeError, zlib.error and more.
    except Exception as error:
        raise DataError(
            f"{path} is no readable MATLAB 5 file ({error}); fetch {path.name} again"
        ) from error
