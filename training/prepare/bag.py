"""Frames of the user's own robot, as `mono_depth extract` wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mono_depth_ros.errors import DataError
from mono_depth_ros.evaluation.extracted import DEPTH_SCALE, FORMAT, FRAMES, SUMMARY, file_name
from training.manifest import DepthFile, Manifest, Record
from training.prepare import not_found

_VALIDATION_SHARE = 0.1
_LARGEST_GAP_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Layout:
    """One extracted recording, or several below one folder."""

    root: Path
    recordings: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    stamp_ns: int
    record: Record


def find(root: Path) -> Layout | None:
    """Recognise an extracted recording, or a folder that holds some."""
    root = root.resolve()
    if (root / SUMMARY).is_file():
        return Layout(root.parent, (root,))
    recordings = tuple(sorted(path.parent for path in root.glob(f"*/{SUMMARY}")))
    return Layout(root, recordings) if recordings else None


def prepare(root: Path, out: Path) -> Manifest:
    """List the frames; whole recordings are held out for validation where there are several.

    Of several recordings the last tenth by name, at least one, is `validation`. Of a single one it
    is the last tenth of its frames; the time before them, two seconds or a tenth of the recording
    if that is less, belongs to neither split.

    Raises:
        DataError: the folder holds no extracted recording, or one of a newer version.
    """
    layout = find(root)
    if layout is None:
        raise not_found(root, "bag")
    problems: list[str] = []
    frames = {folder: _frames(layout, folder, problems) for folder in layout.recordings}
    if len(frames) == 1:
        train, validation = _cut(next(iter(frames.values())))
        rule = "validation is its last tenth, after a gap"
    else:
        held = layout.recordings[-max(1, round(len(frames) * _VALIDATION_SHARE)) :]
        train = [f.record for folder in frames if folder not in held for f in frames[folder]]
        validation = [frame.record for folder in held for frame in frames[folder]]
        rule = f"validation is {', '.join(folder.name for folder in held)}"
    return Manifest(
        dataset="bag",
        layout=f"{len(frames)} recording{'s' * (len(frames) > 1)} extracted from bags; {rule}",
        root=layout.root,
        splits={"train": tuple(train), "validation": tuple(validation)},
        problems=tuple(problems),
    )


def _frames(layout: Layout, folder: Path, problems: list[str]) -> list[_Frame]:
    summary = _summary(folder)
    if summary.get("damage"):
        problems.append(f"{folder.name} ends early, its bag was damaged: {summary['damage']}")
    frames = []
    for number, line in _lines(folder / FRAMES):
        try:
            frames.append(_frame(layout, folder, json.loads(line)))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"{folder.name}/{FRAMES} line {number} left out: {error!r}")
    return frames


def _summary(folder: Path) -> dict[str, Any]:
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if summary["format"] != FORMAT or summary["depth_scale"] != DEPTH_SCALE:
            raise DataError(
                f"{folder} has format {summary['format']}, need {FORMAT}; extract the bag again"
            )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / SUMMARY} is damaged: {error!r}; extract again") from error
    return dict(summary)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        yield from enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; extract the bag again") from error


def _frame(layout: Layout, folder: Path, line: dict[str, Any]) -> _Frame:
    fx, fy, cx, cy = map(float, line["intrinsics"])
    stamp_ns, inside = int(line["stamp_ns"]), folder.relative_to(layout.root).as_posix()
    record = Record(
        name=f"{folder.name}_{file_name(stamp_ns)}",
        group=folder.name,
        image=f"{inside}/{line['image']}",
        intrinsics=(fx, fy, cx, cy),
        depth=DepthFile(f"{inside}/{line['depth']}", "linear", DEPTH_SCALE),
    )
    return _Frame(stamp_ns, record)


def _cut(frames: Sequence[_Frame]) -> tuple[list[Record], list[Record]]:
    """Split one recording by time; the two parts count as two groups."""
    ordered = sorted(frames, key=lambda frame: frame.stamp_ns)
    if len(ordered) < 2:
        return [frame.record for frame in ordered], []
    held = ordered[-max(1, round(len(ordered) * _VALIDATION_SHARE)) :]
    tenth_ns = (ordered[-1].stamp_ns - ordered[0].stamp_ns) // 10
    end_ns = held[0].stamp_ns - min(_LARGEST_GAP_NS, tenth_ns)
    train = [frame.record for frame in ordered if frame.stamp_ns < end_ns]
    return train, [replace(f.record, group=f"{f.record.group} (end)") for f in held]
