"""Where the parts of NYU Depth V2 are in the folders that people have.

Known are those of BTS (sync/ and official_splits/), of AdaBins and ZoeDepth (the same below nyu/),
of the depth toolbox (scenes, test rooms and lists side by side), of GLPDepth (scenes without
sync/), nyu_depth_v2_labeled.mat alone, and ACAN's own export (train_rgb/ and train_depth/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.prepare.lists import LIST_FOLDERS
from training.prepare.nyu_frames import has_frames, is_scene

LABELLED = "nyu_depth_v2_labeled.mat"
ACAN = ("train_rgb", "train_depth")
TRAIN_LISTS = ("nyudepthv2_train_files_with_gt.txt", "nyu_train.txt", "nyudepthv2/train_list.txt")
TEST_LISTS = ("nyudepthv2_test_files_with_gt.txt", "nyu_test.txt", "nyudepthv2/test_list.txt")

_BELOW = (".", "nyu_depth_v2", "nyu")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts are; None for a part that is not there.

    Attributes:
        root: folder that holds them.
        scenes: folder of scene folders.
        train795: folder of the labelled training frames by type of room.
        test: folder of the test frames by type of room.
        labelled: nyu_depth_v2_labeled.mat.
        acan: folder of train_rgb/ and train_depth/.
    """

    root: Path
    scenes: Path | None
    train795: Path | None
    test: Path | None
    labelled: Path | None
    acan: Path | None

    @property
    def has_pictures(self) -> bool:
        """Whether there is anything beside the .mat."""
        return any((self.scenes, self.train795, self.test, self.acan))


def find(root: Path) -> Layout | None:
    """Recognise the data set in a folder or one folder further down."""
    root = root.resolve()
    if root.name in ("sync", "official_splits"):
        root = root.parent
    layouts = (_layout((root / below).resolve()) for below in _BELOW)
    return next((layout for layout in layouts if layout is not None), None)


def find_list(layout: Layout, root: Path, names: Sequence[str]) -> Path | None:
    """Return the list file with one of the usual names, in or beside the data set.

    Args:
        layout: of the data set.
        root: what the user called the data set's folder.
        names: `TRAIN_LISTS` or `TEST_LISTS`.
    """
    return _first(
        path
        for parent in list_parents(layout, root)
        for folder in (".", *LIST_FOLDERS)
        for name in names
        if (path := parent / folder / name).is_file()
    )


def list_parents(layout: Layout, root: Path) -> tuple[Path, ...]:
    """Return the folders that lists may lie in, or in a folder for lists below."""
    return tuple(dict.fromkeys((layout.root, root, layout.root.parent)))


def frame_folders(parent: Path) -> Iterator[str]:
    """Yield the folders in `parent` that hold frames, by name."""
    if parent.is_dir():
        for path in sorted(parent.iterdir()):
            if path.is_dir() and has_frames(path):
                yield path.name


def _layout(root: Path) -> Layout | None:
    splits = root / "official_splits"
    layout = Layout(
        root=root,
        scenes=_first(path for path in (root / "sync", root) if _has_scenes(path)),
        train795=_first(path for path in (splits / "train", root / "train") if _has_any(path)),
        test=_first(path for path in (splits / "test", root / "test", root) if _has_rooms(path)),
        labelled=_first(path for path in _labelled_beside(root, splits) if path.is_file()),
        acan=root if all((root / name).is_dir() for name in ACAN) else None,
    )
    if not layout.has_pictures and layout.labelled is None:
        return None
    above = root.parent / LABELLED
    if layout.labelled is None and above.is_file():
        return replace(layout, labelled=above)
    return layout


def _labelled_beside(*folders: Path) -> Iterator[Path]:
    return (folder / LABELLED for folder in folders)


def _has_any(folder: Path) -> bool:
    return next(frame_folders(folder), None) is not None


def _has_scenes(folder: Path) -> bool:
    return any(is_scene(name) for name in frame_folders(folder))


def _has_rooms(folder: Path) -> bool:
    return any(not is_scene(name) for name in frame_folders(folder))


def _first(paths: Iterable[Path]) -> Path | None:
    return next(iter(paths), None)
