"""Write a submission to KITTI's depth prediction benchmark, and check it.

`python -m training.submission CHECKPOINT data/kitti OUT.zip` predicts the 500 test images and packs
0000000000.png to 0000000499.png: 16 bit, code = 256 times metres, 0 nowhere, 1216x352 pixels. The
archive is read back and checked before it gets its name.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.atomic import replacing
from mono_depth_ros.errors import DataError, MonoDepthError
from mono_depth_ros.evaluation.protocols import KB_HEIGHT, KB_WIDTH
from mono_depth_ros.progress import progress
from training.datasets.reader import PreparedReader
from training.evaluation.predict import Source, add_view_arguments, load_source, parse_view
from training.manifest import Manifest, Record, read_manifest

SPLIT = "benchmark_test"
IMAGES = 500
CODES_PER_M = 256.0
# What the benchmark's upload form takes, by its users' reports.
LARGEST_BYTES = 500_000_000

_SHAPE = (KB_HEIGHT, KB_WIDTH)
_LARGEST_CODE = 65535

Track = Callable[[Iterable[tuple[str, Record]], int], Iterable[tuple[str, Record]]]


def write_submission(
    source: Source,
    manifest: Manifest,
    out: Path,
    *,
    images: int = IMAGES,
    track: Track = lambda items, _: items,
) -> int:
    """Predict all test images, pack them, check the archive.

    Args:
        source: what predicts.
        manifest: of prepared KITTI data.
        out: .zip file to write; it appears only if everything is right.
        images: that the archive must hold.
        track: wraps the images while they are worked through, to show progress.

    Returns:
        Size of the archive in bytes.

    Raises:
        DataError: images are missing or damaged, a prediction has holes, or the archive is not what
            the benchmark takes.
        ShapeError: the network does not take these images.
    """
    names = submission_names(manifest.records(SPLIT), images)
    reader = PreparedReader(manifest)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        # PNG files are compressed already.
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, record in track(names.items(), len(names)):
                code = encode_depth(source(record, reader).depth_m, record.name)
                archive.writestr(name, _png(code))
        check_submission(temporary, images)
        return temporary.stat().st_size


def submission_names(records: Sequence[Record], images: int = IMAGES) -> dict[str, Record]:
    """Return file name → record of all test images, ordered by name.

    Raises:
        DataError: they are not 0 to `images` - 1.
    """
    found = {f"{Path(record.image).stem}.png": record for record in records}
    expected = _expected_names(images)
    wrong = sorted(set(found) ^ set(expected))
    if wrong or len(records) != images:
        raise DataError(
            f"split {SPLIT} has {len(records)} images, the benchmark {images}, "
            f"{expected[0]} to {expected[-1]}; missing or not expected: {', '.join(wrong[:5])}; "
            "prepare again from the complete depth_selection folder"
        )
    return {name: found[name] for name in expected}


def encode_depth(depth_m: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.uint16]:
    """Return (352, 1216) uint16 codes, 1 at least: 0 would be no prediction.

    Raises:
        DataError: the map has another size, or pixels without a depth.
    """
    if depth_m.shape != _SHAPE:
        raise DataError(f"the prediction of {name} is {depth_m.shape}, the benchmark's {_SHAPE}")
    holes = int(np.count_nonzero(~np.isfinite(depth_m)))
    if holes:
        raise DataError(
            f"the prediction of {name} has no depth at {holes} pixels; the benchmark wants all: "
            "choose a view that sees the whole image"
        )
    code = np.rint(depth_m.astype(np.float64) * CODES_PER_M)
    return np.clip(code, 1, _LARGEST_CODE).astype(np.uint16)


def check_submission(path: Path, images: int = IMAGES) -> None:
    """Read an archive back and check all that the benchmark would refuse, or score as wrong.

    Raises:
        DataError: it is damaged or too large, or a file is missing, unexpected, of another size or
            type, or holds a 0.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            _require_names(names, images)
            for name in names:
                _require_png(name, archive.read(name))
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is no readable archive: {error}") from error
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise DataError(f"the archive has {size} bytes, the benchmark takes {LARGEST_BYTES}")


def _require_names(names: Sequence[str], images: int) -> None:
    expected = _expected_names(images)
    if sorted(names) != expected:
        wrong = sorted(set(names) ^ set(expected)) or ["a file twice"]
        raise DataError(
            f"the archive holds {len(names)} files, the benchmark takes {images}: missing, not "
            f"expected or twice: {', '.join(wrong[:5])}"
        )


def _require_png(name: str, data: bytes) -> None:
    code = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if code is None:
        raise DataError(f"{name} of the archive is no picture")
    if code.dtype != np.uint16 or code.shape != _SHAPE:
        raise DataError(f"{name} of the archive is {code.shape} {code.dtype}, need {_SHAPE} uint16")
    zeros = int(np.count_nonzero(code == 0))
    if zeros:
        raise DataError(f"{name} of the archive has {zeros} pixels without a depth")


def _expected_names(images: int) -> list[str]:
    return [f"{index:010d}.png" for index in range(images)]


def _png(code: npt.NDArray[np.uint16]) -> bytes:
    encoded, data = cv2.imencode(".png", code)
    if not encoded:
        raise DataError("OpenCV cannot encode 16-bit PNG")
    return bytes(data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="name or .safetensors file")
    parser.add_argument("data", type=Path, help="prepared KITTI data")
    parser.add_argument("out", type=Path, metavar="OUT.zip")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_view_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        view = parse_view(options.crop, options.size)
        size = write_submission(
            load_source(options.checkpoint, options.device, options.flip, view),
            read_manifest(options.data),
            options.out,
            images=IMAGES,
            track=lambda items, total: progress(items, total, "predicting"),
        )
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(
        f"{options.out}: {IMAGES} depth maps, checked, {size / 1e6:.0f} MB; "
        "upload it at https://www.cvlibs.net/datasets/kitti/eval_depth.php\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
