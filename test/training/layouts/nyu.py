"""Small copies of NYU Depth V2 in every layout that people have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import h5py
import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from training.prepare.nyu_mat import Fingerprint, Tables

HEIGHT, WIDTH = 480, 640
FOCAL = "518.8579"
# One scene in two parts, as kitchen_0028a and kitchen_0028b are.
SCENES: Mapping[str, int] = MappingProxyType(
    {"bathroom_0001": 3, "kitchen_0028a": 2, "kitchen_0028b": 2, "nyu_office_0": 3}
)
TEST_ROOMS: Mapping[str, tuple[int, ...]] = MappingProxyType({"bathroom": (1, 2), "study": (5,)})
TRAIN_ROOMS: Mapping[str, tuple[int, ...]] = MappingProxyType({"bathroom": (0, 3), "office": (4,)})


def room_depth_m(seed: int) -> npt.NDArray[np.float32]:
    """Return (480, 640) metres, 1 to 5: a floor that comes nearer and a box of its own."""
    depth_m = np.tile(np.linspace(5.0, 1.5, HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))
    left = 30 + seed * 67 % 400
    depth_m[200:300, left : left + 120] = 1.0 + seed % 7 / 4
    return depth_m


def with_holes(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the depth with the sensor's empty border and a hole, 0."""
    holed_m = depth_m.copy()
    holed_m[:8] = holed_m[-8:] = holed_m[:, :30] = holed_m[210:220, 300:320] = 0.0
    return holed_m


def room_rgb(depth_m: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.uint8]:
    """Return (480, 640, 3), darker the farther, other in each seed, in the sensor's white frame."""
    rgb = (250.0 * np.exp(-depth_m / 3.0))[..., None] * [1.0, 0.8, 0.6] + seed % 5
    rgb[:7] = rgb[-6:] = rgb[:, :7] = rgb[:, -8:] = 255.0
    return rgb.astype(np.uint8)


def write_pair(folder: Path, number: int, seed: int, *, filled: bool = False) -> None:
    """Write rgb_00000.jpg and sync_depth_00000.png in millimetres."""
    folder.mkdir(parents=True, exist_ok=True)
    depth_m = room_depth_m(seed)
    cv2.imwrite(str(folder / f"rgb_{number:05d}.jpg"), room_rgb(depth_m, seed)[..., ::-1])
    code = ((depth_m if filled else with_holes(depth_m)) * 1000).astype(np.uint16)
    cv2.imwrite(str(folder / f"sync_depth_{number:05d}.png"), code)


def write_scenes(folder: Path, scenes: Mapping[str, int] = SCENES) -> None:
    """Write so many frames of each scene folder, numbered from 0."""
    seed = 0
    for name, count in scenes.items():
        for number in range(count):
            write_pair(folder / name, number, seed)
            seed += 1


def write_rooms(folder: Path, rooms: Mapping[str, Iterable[int]], *, filled: bool = False) -> None:
    """Write official frames by type of room; their numbers are indices into the .mat."""
    for name, numbers in rooms.items():
        for number in numbers:
            write_pair(folder / name, number, 100 + number, filled=filled)


def list_line(folder: str, number: int, columns: int = 3, *, slash: bool = True) -> str:
    """Return a line of 2, 3 or 5 columns, as GLPDepth, BTS, and BTS with a right camera have it."""
    lead = "/" if slash else ""
    rgb, depth = (
        f"{lead}{folder}/rgb_{number:05d}.jpg",
        f"{lead}{folder}/sync_depth_{number:05d}.png",
    )
    return " ".join((rgb, depth, FOCAL, rgb, depth)[:columns])


def write_list(path: Path, lines: Iterable[str]) -> Path:
    """Write a list file without a newline at its end, as the depth toolbox has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def scene_lines(columns: int = 3, *, slash: bool = True) -> list[str]:
    """Return a line for each frame of `SCENES` but the first of each folder."""
    return [
        list_line(name, number, columns, slash=slash)
        for name, count in SCENES.items()
        for number in range(1, count)
    ]


def room_lines(rooms: Mapping[str, Iterable[int]], columns: int = 3, *, slash: bool) -> list[str]:
    """Return a line for each official frame."""
    return [
        list_line(name, number, columns, slash=slash)
        for name, numbers in rooms.items()
        for number in numbers
    ]


def write_bts(root: Path) -> Path:
    """sync/ and official_splits/, lists in train_test_inputs/ beside them."""
    write_scenes(root / "nyu_depth_v2/sync")
    write_rooms(root / "nyu_depth_v2/official_splits/train", TRAIN_ROOMS)
    write_rooms(root / "nyu_depth_v2/official_splits/test", TEST_ROOMS)
    lists = root / "train_test_inputs"
    write_list(lists / "nyudepthv2_train_files_with_gt.txt", scene_lines())
    write_list(lists / "nyudepthv2_test_files_with_gt.txt", room_lines(TEST_ROOMS, slash=False))
    return root / "nyu_depth_v2"


def write_adabins(root: Path) -> Path:
    """dataset/nyu/, as AdaBins and ZoeDepth look for it."""
    write_scenes(root / "dataset/nyu/sync")
    write_rooms(root / "dataset/nyu/official_splits/test", TEST_ROOMS)
    write_list(
        root / "dataset/train_test_inputs/nyudepthv2_train_files_with_gt.txt",
        scene_lines(5, slash=False),
    )
    return root / "dataset"


def write_toolbox(root: Path) -> Path:
    """data/nyu/: scenes, test rooms and lists side by side."""
    write_scenes(root / "data/nyu")
    write_rooms(root / "data/nyu", TEST_ROOMS)
    write_list(root / "data/nyu/nyu_train.txt", scene_lines())
    write_list(root / "data/nyu/nyu_test.txt", room_lines(TEST_ROOMS, slash=False))
    return root / "data/nyu"


def write_glp(root: Path) -> Path:
    """nyu_depth_v2/<scene> without sync/; the lists are of GLPDepth's code/dataset/filenames."""
    write_scenes(root / "nyu_depth_v2")
    write_rooms(root / "nyu_depth_v2/official_splits/test", TEST_ROOMS)
    lists = root / "filenames/nyudepthv2"
    write_list(lists / "train_list.txt", scene_lines(2))
    write_list(lists / "test_list.txt", room_lines(TEST_ROOMS, 2, slash=True))
    return root


PICTURE_LAYOUTS: Mapping[str, Callable[[Path], Path]] = MappingProxyType(
    {"bts": write_bts, "adabins": write_adabins, "toolbox": write_toolbox, "glp": write_glp}
)


def write_acan(root: Path, frames: int = 20) -> Path:
    """ACAN's own export: numbers from 1, filled depth, metres = code / 256 in all of it."""
    for name in ("train_rgb", "train_depth"):
        (root / name).mkdir(parents=True)
    for number in range(1, frames + 1):
        depth_m = room_depth_m(number)
        rgb = room_rgb(depth_m, number)
        cv2.imwrite(str(root / f"train_rgb/{number:05d}.png"), rgb[..., ::-1])
        code = (depth_m * 256).astype(np.uint16)
        cv2.imwrite(str(root / f"train_depth/{number:05d}.png"), code)
    return root


@dataclass(frozen=True)
class Labelled:
    """What `write_labelled` put into its files.

    Attributes:
        tables: of its splits.mat and classMapping40.mat.
        train: indices from 0.
        test: indices from 0.
        scenes: of each frame.
        rgb: (N, 480, 640, 3).
        raw_m: (N, 480, 640) with holes.
        filled_m: (N, 480, 640).
        labels: (N, 480, 640), 0 and 1 to 894.
        map_class: (894,) class of each label.
    """

    tables: Tables
    train: tuple[int, ...]
    test: tuple[int, ...]
    scenes: tuple[str, ...]
    rgb: npt.NDArray[np.uint8]
    raw_m: npt.NDArray[np.float32]
    filled_m: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint16]
    map_class: npt.NDArray[np.uint8]


LABELLED_SCENES = (
    "bathroom_0001", "bathroom_0007", "study_0009", "kitchen_0028", "nyu_office_0", "study_0009",
)  # fmt: skip
# trainNdxs and testNdxs as MATLAB counts.
TRAIN_NDXS, TEST_NDXS = (1, 4, 5), (2, 3, 6)


def write_labelled(folder: Path) -> Labelled:
    """Write nyu_depth_v2_labeled.mat of six frames, splits.mat and classMapping40.mat."""
    folder.mkdir(parents=True, exist_ok=True)
    map_class = (np.arange(894) * 7 % 40 + 1).astype(np.uint8)
    frames = range(len(LABELLED_SCENES))
    filled_m = np.stack([room_depth_m(frame + 50) for frame in frames])
    written = Labelled(
        tables=Tables(
            train=Fingerprint.of(np.array(TRAIN_NDXS, np.uint16)),
            test=Fingerprint.of(np.array(TEST_NDXS, np.uint16)),
            classes=Fingerprint.of(map_class),
        ),
        train=tuple(number - 1 for number in TRAIN_NDXS),
        test=tuple(number - 1 for number in TEST_NDXS),
        scenes=LABELLED_SCENES,
        rgb=np.stack([room_rgb(depth_m, i) for i, depth_m in enumerate(filled_m)]),
        raw_m=np.stack([with_holes(depth_m) for depth_m in filled_m]),
        filled_m=filled_m,
        labels=np.stack([_raw_labels(frame) for frame in frames]),
        map_class=map_class,
    )
    write_mat(folder / "nyu_depth_v2_labeled.mat", written)
    write_splits(folder / "splits.mat", TRAIN_NDXS, TEST_NDXS)
    write_classes(folder / "classMapping40.mat", map_class)
    return written


def write_splits(path: Path, train: Iterable[int], test: Iterable[int]) -> None:
    """Write a splits.mat: columns of uint16."""
    columns = {"trainNdxs": train, "testNdxs": test}
    savemat(path, {key: np.array(list(n), np.uint16)[:, None] for key, n in columns.items()})


def write_classes(path: Path, map_class: npt.NDArray) -> None:
    """Write a classMapping40.mat: a row of the class of each of 894 labels."""
    names = np.array([f"name {k}" for k in range(1, 41)], object)
    savemat(path, {"mapClass": map_class[None], "className": names[None]})


def write_mat(path: Path, frames: Labelled) -> None:
    """Write MATLAB's HDF5: a header before the file's own, columns first, texts by reference."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, values in {
            "images": frames.rgb.transpose(0, 3, 2, 1),
            "depths": frames.filled_m.transpose(0, 2, 1),
            "rawDepths": frames.raw_m.transpose(0, 2, 1),
            "labels": frames.labels.transpose(0, 2, 1),
            "instances": np.zeros((len(frames.rgb), WIDTH, HEIGHT), np.uint8),
        }.items():
            chunks = (1, *values.shape[1:])
            file.create_dataset(
                key, data=values, chunks=chunks, compression="gzip", compression_opts=1
            )
        file["accelData"] = np.zeros((4, len(frames.rgb)), np.float32)
        _write_texts(file, "scenes", frames.scenes)
        _write_texts(file, "sceneTypes", [scene.rpartition("_")[0] for scene in frames.scenes])
        _write_texts(file, "names", ["wall", "floor", "night stand"])
    with path.open("r+b") as header:
        header.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64 HDF5 schema 1.00 .")


def _write_texts(file: h5py.File, key: str, texts: Iterable[str]) -> None:
    references = []
    for number, text in enumerate(texts):
        name = f"#refs#/{key}{number}"
        file[name] = np.array([ord(letter) for letter in text], np.uint16)[:, None]
        references.append(file[name].ref)
    file.create_dataset(key, data=np.array([references], h5py.ref_dtype), dtype=h5py.ref_dtype)


def _raw_labels(frame: int) -> npt.NDArray[np.uint16]:
    """Return (480, 640): an unlabelled stripe, then one label per 16 columns, another per frame."""
    row = (np.arange(WIDTH) // 16 * 23 + frame) % 894 + 1
    labels = np.tile(row.astype(np.uint16), (HEIGHT, 1))
    labels[:12] = 0
    labels[400:, 600:] = 894
    return labels
