"""KITTI's two small sets of 1216x352 crops: the selected validation frames and the test images.

Both bring a 3x3 camera matrix per image in intrinsics/<image>.txt (the depth devkit's readme).
"""

from __future__ import annotations

import re
from pathlib import Path

from training.manifest import DepthFile, Record
from training.prepare.kitti_files import SUFFIXES, Pinhole, numbers_in
from training.prepare.kitti_gather import CODES_PER_METRE
from training.prepare.kitti_layout import ANONYMOUS, DRIVE, joined, names_in

SELECTED, TEST_IMAGES = 1000, 500

# <drive>_sync_image_0000000008_image_02, and _groundtruth_depth_ for its map.
_SELECTED = re.compile(rf"({DRIVE.pattern})_image_(\d{{10}}_image_0[23])")


def selection_records(root: Path, folder: str) -> tuple[tuple[Record, ...], list[str]]:
    """Return the records of val_selection_cropped by name, and a line per file that is left out.

    Args:
        root: absolute; records are relative to it.
        folder: val_selection_cropped, relative to the root.
    """
    maps = set(names_in(root / folder / "groundtruth_depth"))
    records, problems = [], []
    for name in _pictures(root, folder):
        found = _SELECTED.fullmatch(Path(name).stem)
        depth = found and f"{found[1]}_groundtruth_depth_{found[2]}.png"
        pinhole = _intrinsics(root, folder, name)
        if not found or depth not in maps:
            problems.append(f"selection: {name} has no {depth or 'name of a drive and frame'}")
        elif pinhole is None:
            problems.append(_no_intrinsics("selection", folder, name))
        else:
            truth = DepthFile(joined(folder, "groundtruth_depth", depth), "linear", CODES_PER_METRE)
            image = joined(folder, "image", name)
            records.append(Record(Path(name).stem, found[1], image, pinhole, truth))
    return tuple(records), [*problems, *_too_few("selection", len(records), SELECTED)]


def anonymous_records(root: Path, folder: str) -> tuple[tuple[Record, ...], list[str]]:
    """Return the records of test_depth_prediction_anonymous by name, and a line per file left out.

    Args:
        root: absolute; records are relative to it.
        folder: test_depth_prediction_anonymous, relative to the root.
    """
    records, problems = [], []
    for name in _pictures(root, folder):
        pinhole = _intrinsics(root, folder, name)
        if pinhole is None:
            problems.append(_no_intrinsics("benchmark_test", folder, name))
        else:
            image = joined(folder, "image", name)
            records.append(Record(Path(name).stem, ANONYMOUS, image, pinhole))
    return tuple(records), [*problems, *_too_few("benchmark_test", len(records), TEST_IMAGES)]


def _pictures(root: Path, folder: str) -> list[str]:
    names = names_in(root / folder / "image")
    return [name for name in names if Path(name).suffix.lower() in SUFFIXES]


def _intrinsics(root: Path, folder: str, name: str) -> Pinhole | None:
    path = root / folder / "intrinsics" / f"{Path(name).stem}.txt"
    try:
        matrix = numbers_in(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    if len(matrix) != 9 or matrix[0] <= 0 or matrix[4] <= 0:
        return None
    return matrix[0], matrix[4], matrix[2], matrix[5]


def _no_intrinsics(split: str, folder: str, name: str) -> str:
    file = joined(folder, "intrinsics", f"{Path(name).stem}.txt")
    return f"{split}: {name} has no {file} of nine numbers"


def _too_few(split: str, found: int, expected: int) -> list[str]:
    return [] if found == expected else [f"{split} has {found} images; KITTI's has {expected}"]
