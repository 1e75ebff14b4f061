"""What `python -m training.prepare` found, checked and wrote down; all that training reads.

A prepared data set is a folder: manifest.json (what it is, where the files are, counts, hashes) and
one file per split, `<split>.jsonl`, a record per line. The pictures stay where the user has them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mono_depth_ros.atomic import replacing
from mono_depth_ros.errors import DataError

FORMAT = 1
FILE = "manifest.json"

DepthKind = Literal["linear", "stereo2015", "cityscapes", "velodyne"]
LabelSet = Literal["", "nyu40", "cityscapes"]


@dataclass(frozen=True, slots=True)
class DepthFile:
    """Where the depth of an image is, and how metres follow from what the file holds.

    Attributes:
        path: relative to the root of the data set.
        kind: "linear": a 16-bit PNG, metres = code / scale. "stereo2015": a 16-bit PNG, disparity
            = code / 256 px, metres = scale / disparity. "cityscapes": the same with disparity =
            (code - 1) / 256. "velodyne": a KITTI scan (.bin), projected. 0 is always unknown.
        scale: codes per metre, or focal length times baseline, px m.
        calibration: "velodyne": folder of calib_cam_to_cam.txt and calib_velo_to_cam.txt.
    """

    path: str
    kind: DepthKind = "linear"
    scale: float = 256.0
    calibration: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One image and what was measured on it; paths are POSIX, relative to the root.

    Attributes:
        name: unique in the data set, without suffix, for messages and for saved predictions.
        group: the scene or drive; validation holds out whole groups.
        image: path of the picture.
        intrinsics: (fx, fy, cx, cy) of that picture, pixels; pixel centres are integers.
        depth: None where there is no ground truth.
        filled: a second depth without holes (NYU), for its own profile.
        labels: path of an 8-bit PNG in the data set's `label_set`; "" for none.
        sha256: of image, depth, filled depth and label bytes, first 16 digits; "" if contents were
            not read.
    """

    name: str
    group: str
    image: str
    intrinsics: tuple[float, float, float, float]
    depth: DepthFile | None = None
    filled: DepthFile | None = None
    labels: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A prepared data set.

    Attributes:
        dataset: nyu, kitti, stereo2015, cityscapes, bag or world.
        layout: what was recognised, in words.
        root: absolute folder that the records' paths start from.
        splits: name → records.
        label_set: what the label pictures hold: "nyu40" (0 void, 1..40), "cityscapes" (train ids,
            255 ignored).
        problems: one line per file that was left out, and why; training frames that are in a test
            too come first, files that are not there last.
    """

    dataset: str
    layout: str
    root: Path
    splits: Mapping[str, tuple[Record, ...]]
    label_set: LabelSet = ""
    problems: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    """Split → SHA-256 of its file; filled in when reading."""

    def records(self, split: str) -> tuple[Record, ...]:
        """Return one split.

        Raises:
            DataError: there is none of that name, or it is empty.
        """
        if not self.splits.get(split):
            known = ", ".join(f"{name} ({len(rows)})" for name, rows in self.splits.items())
            raise DataError(
                f"the prepared {self.dataset} has no frames in a split {split!r}; it has {known}"
            )
        return self.splits[split]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write all splits, then manifest.json, each under a temporary name first."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for name, records in manifest.splits.items():
        text = "".join(json.dumps(_lean(asdict(record))) + "\n" for record in records)
        _write(folder / f"{name}.jsonl", text)
        splits[name] = {"frames": len(records), "sha256": _digest(text)}
    header = {
        "format": FORMAT,
        "dataset": manifest.dataset,
        "layout": manifest.layout,
        "root": str(manifest.root),
        "label_set": manifest.label_set,
        "splits": splits,
        "problems": list(manifest.problems),
    }
    _write(folder / FILE, json.dumps(header, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        DataError: there is none, it is damaged, or a split does not have the manifest's hash.
    """
    try:
        header = json.loads((folder / FILE).read_text())
        if header["format"] != FORMAT:
            raise DataError(f"{folder} has format {header['format']}, need {FORMAT}; prepare again")
        splits = {
            name: _read_split(folder, name, about) for name, about in header["splits"].items()
        }
        return Manifest(
            header["dataset"],
            header["layout"],
            Path(header["root"]),
            splits,
            header["label_set"],
            tuple(header["problems"]),
            {name: about["sha256"] for name, about in header["splits"].items()},
        )
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no prepared data ({error.filename} is missing); run "
            "`python -m training.prepare` first, see README"
        ) from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder} is no readable prepared data: {error}; prepare again") from error


def _read_split(folder: Path, name: str, about: Mapping[str, Any]) -> tuple[Record, ...]:
    text = (folder / f"{name}.jsonl").read_text()
    if _digest(text) != about["sha256"]:
        raise DataError(f"{name}.jsonl of {folder} was changed after preparation; prepare again")
    return tuple(_record(json.loads(line)) for line in text.splitlines())


def _record(values: dict[str, Any]) -> Record:
    for key in ("depth", "filled"):
        if key in values:
            values[key] = DepthFile(**values[key])
    return Record(**values | {"intrinsics": tuple(values["intrinsics"])})


def _lean(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty; a KITTI split has 23,158 lines."""
    return {key: value for key, value in values.items() if value not in (None, "")}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def hold_out(
    records: Sequence[Record], groups: Iterable[str]
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Split records into those of all other groups, for training, and those of `groups`."""
    held = set(groups)
    return (
        tuple(record for record in records if record.group not in held),
        tuple(record for record in records if record.group in held),
    )
