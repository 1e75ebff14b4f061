"""From what the user has on disk to a prepared data set, one module per kind of data.

Each module has `find(root)`, which recognises its layouts and returns None for anything else, and
`prepare(root, out)`, which lists the records without opening pictures; `checks.py` opens them all.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Protocol

from mono_depth_ros.errors import ConfigError, DataError
from training.manifest import Manifest


class Prepare(Protocol):
    """What lists the records of one kind of data."""

    def __call__(self, root: Path, out: Path, lists: Sequence[Path] = ()) -> Manifest:
        """Return the records; `lists` are the user's list files, where the kind takes any."""


AUTO = "auto"
EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        "nyu": "sync/<scene>/rgb_00000.jpg, or nyu_depth_v2_labeled.mat",
        "kitti": "<date>/<drive>_sync/image_02/data, or depth_selection/",
        "stereo2015": "training/image_2, training/disp_occ_0 and training/calib_cam_to_cam",
        "cityscapes": "leftImg8bit/train/<city> with gtFine/ or disparity/ beside leftImg8bit/",
        "bag": "what `mono_depth extract BAG OUT` wrote, or a folder of several of those",
    }
)


def _module(kind: str) -> ModuleType:
    return importlib.import_module(f"training.prepare.{kind}")


def _lazily(kind: str) -> Prepare:
    def prepare(root: Path, out: Path, lists: Sequence[Path] = ()) -> Manifest:
        options = _list_options(kind, lists) if lists else {}
        return _module(kind).prepare(root, out, **options)

    return prepare


def _list_options(kind: str, lists: Sequence[Path]) -> dict[str, Any]:
    if kind == "kitti":
        return {"lists": lists}
    if kind == "nyu" and len(lists) == 1:
        return {"train_list": lists[0]}
    takes = "one list, that of the training frames" if kind == "nyu" else "no list"
    raise ConfigError(
        f"{kind} takes {takes}, got {', '.join(map(str, lists))}; only kitti takes several"
    )


# Imported when called: the .mat files of NYU need packages that nothing else does.
KINDS: Mapping[str, Prepare] = MappingProxyType({kind: _lazily(kind) for kind in EXPECTED})


def recognise(root: Path) -> str:
    """Return the kind of data in a folder.

    Raises:
        DataError: there is no such folder, or nothing in it is known.
        ConfigError: several kinds are in it, and the user must say which is meant.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; pass the one that holds the data set")
    kinds = [kind for kind in KINDS if _module(kind).find(root) is not None]
    if len(kinds) > 1:
        raise ConfigError(
            f"{root} holds {' and '.join(kinds)}; name one of them instead of {AUTO!r}"
        )
    if not kinds:
        raise not_found(root, *KINDS)
    return kinds[0]


def not_found(root: Path, *kinds: str) -> DataError:
    """Return the error for a folder that holds none of these kinds of data."""
    wanted = "; ".join(f"{kind}: {EXPECTED[kind]}" for kind in kinds)
    try:
        inside = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    except OSError as error:
        inside = error.strerror or "what cannot be read"
    return DataError(f"{root} is no known data set; it holds {inside}. Looked for {wanted}")
