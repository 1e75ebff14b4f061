"""Cityscapes: labels and stereo disparity of streets, for Look Deeper's outdoor recipe.

Layout: {leftImg8bit,gtFine,disparity,camera}/{train,val}/<city>/<city>_%06d_%06d_<part>, each part
also below the folder that its archive's name gives it (gtFine_trainvaltest/gtFine). Sources:
cityscapesScripts (file names, label ids, disparity = (code - 1) / 256, metres = baseline · fx /
disparity).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mono_depth_ros.errors import DataError
from training.manifest import DepthFile, Manifest, Record
from training.prepare import not_found
from training.prepare.cityscapes_labels import LabelJob, make_label_pictures

FEW = 200
"""Fine images in `train200`, as many as Look Deeper's outdoor recipe takes at random."""

# fx, fy, cx, cy in pixels.
Camera = tuple[float, float, float, float]

_SPLITS = {"train": "train", "validation": "val"}
_IMAGE, _TRAIN_IDS, _IDS = "_leftImg8bit.png", "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts are; None for those that the user does not have."""

    root: Path
    images: Path
    labels: Path | None
    disparity: Path | None
    cameras: Path | None


def find(root: Path) -> Layout | None:
    """Recognise the data set in a folder or in its cityscapes/."""
    for base in (root, root / "cityscapes"):
        images = _part(base, "leftImg8bit")
        if images is not None and (images / "train").is_dir():
            parts = (_part(base, name) for name in ("gtFine", "disparity", "camera"))
            return Layout(base.resolve(), images, *parts)
    return None


def _part(base: Path, name: str) -> Path | None:
    for folder in (base / name, base / f"{name}_trainvaltest" / name):
        if folder.is_dir():
            return folder.resolve()
    return None


def prepare(root: Path, out: Path) -> Manifest:
    """List the fine frames of the train and val cities; the official test labels are void.

    Label pictures with train ids are used where cityscapesScripts made them; the others are made
    from the label ids, below `out`. `train200` is part of `train`: the 200 frames whose names have
    the smallest SHA-256, a choice that looks random and is the same everywhere.

    A frame with labels stays where only its camera.json is bad; it has no depth then.

    Raises:
        DataError: the folder holds no Cityscapes, or neither labels nor disparity.
    """
    layout = find(root)
    if layout is None:
        raise not_found(root, "cityscapes")
    if layout.labels is None and (layout.disparity is None or layout.cameras is None):
        raise DataError(
            f"{layout.root} has images only; unpack gtFine_trainvaltest.zip beside them for "
            "labels, disparity_trainvaltest.zip and camera_trainvaltest.zip for depth"
        )
    lister = _Lister(layout, out)
    splits = {name: lister.records(folder) for name, folder in _SPLITS.items()}
    unmade = make_label_pictures(lister.jobs)
    splits = {
        name: tuple(record for record in records if layout.root / record.labels not in unmade)
        for name, records in splits.items()
    }
    splits["train200"] = few(splits["train"])
    return Manifest(
        dataset="cityscapes",
        layout=lister.description(),
        root=layout.root,
        splits=splits,
        label_set="cityscapes" if layout.labels else "",
        problems=(*lister.problems, *unmade.values()),
    )


def few(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return `FEW` of the records, or all if there are fewer, in the order they have."""
    ranked = sorted(records, key=lambda record: hashlib.sha256(record.name.encode()).hexdigest())
    chosen = set(ranked[:FEW])
    return tuple(record for record in records if record in chosen)


class _Lister:
    """Lists records; collects problems and the label pictures that have to be made.

    Args:
        layout: where the parts are.
        out: folder below which label pictures are made.
    """

    def __init__(self, layout: Layout, out: Path) -> None:
        self._layout, self._out = layout, out.resolve()
        self.problems: list[str] = []
        self.jobs: list[LabelJob] = []

    def records(self, split: str) -> tuple[Record, ...]:
        records = []
        for path in sorted((self._layout.images / split).glob(f"*/*{_IMAGE}")):
            try:
                records.append(self._record(path, f"{split}/{path.parent.name}"))
            except DataError as error:
                self.problems.append(str(error))
        return tuple(records)

    def description(self) -> str:
        layout = self._layout
        depth = "disparity" if layout.disparity and layout.cameras else "no depth"
        labels = f"{len(self.jobs)} label pictures to make" if layout.labels else "no labels"
        return f"Cityscapes in {layout.root}, fine train and val cities, {depth}, {labels}"

    def _record(self, path: Path, folder: str) -> Record:
        name = path.name.removesuffix(_IMAGE)
        labels = self._labels(folder, name)
        try:
            intrinsics, depth = self._camera_and_depth(folder, name)
        except DataError as error:
            if not labels:
                raise DataError(f"{name} left out: {error}") from error
            self.problems.append(f"depth of {name} left out: {error}")
            intrinsics, depth = NOMINAL_INTRINSICS, None
        return Record(
            name=name,
            group=path.parent.name,
            image=self._relative(path),
            intrinsics=intrinsics,
            depth=depth,
            labels=labels,
        )

    def _camera_and_depth(self, folder: str, name: str) -> tuple[Camera, DepthFile | None]:
        layout = self._layout
        if layout.cameras is None:
            return NOMINAL_INTRINSICS, None
        intrinsics, focal_baseline = read_camera(layout.cameras / folder / f"{name}_camera.json")
        if layout.disparity is None:
            return intrinsics, None
        disparity = layout.disparity / folder / f"{name}_disparity.png"
        return intrinsics, DepthFile(self._relative(disparity), "cityscapes", focal_baseline)

    def _labels(self, folder: str, name: str) -> str:
        if self._layout.labels is None:
            return ""
        ready = self._layout.labels / folder / f"{name}{_TRAIN_IDS}"
        if ready.exists():
            return self._relative(ready)
        source = self._layout.labels / folder / f"{name}{_IDS}"
        if not source.exists():
            raise DataError(f"{source} is missing, {name} is left out; unpack gtFine again")
        made = self._out / "labels" / folder / f"{name}{_TRAIN_IDS}"
        self.jobs.append(LabelJob(source, made))
        return self._relative(made)

    def _relative(self, path: Path) -> str:
        """Return the path from the root; whole where it leads elsewhere, as for made pictures."""
        inside = path.is_relative_to(self._layout.root)
        return (path.relative_to(self._layout.root) if inside else path).as_posix()


NOMINAL_INTRINSICS: Camera = (2262.52, 2265.3017905988554, 1096.98, 513.137)
"""Of most of the training cities, at 2048x1024, where there is no camera.json."""


def read_camera(path: Path) -> tuple[Camera, float]:
    """Read a camera.json: (fx, fy, cx, cy) in pixels, and baseline · fx, px m.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        camera = json.loads(path.read_text(encoding="utf-8"))
        inner = camera["intrinsic"]
        fx, fy, cx, cy = (float(inner[key]) for key in ("fx", "fy", "u0", "v0"))
        focal_baseline = fx * float(camera["extrinsic"]["baseline"])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; unpack camera again") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no Cityscapes camera ({error!r}); unpack it again") from error
    if not (fx > 0 and fy > 0 and focal_baseline > 0):
        raise DataError(f"{path} has an impossible focal length or baseline; unpack it again")
    return (fx, fy, cx, cy), focal_baseline
