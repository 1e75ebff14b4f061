"""`mono_depth image`: pictures from files to depth, colour preview and point cloud."""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mono_depth_ros import DEFAULT_CHECKPOINT
from mono_depth_ros.cli.arguments import add_calibration
from mono_depth_ros.errors import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt

    from mono_depth_ros.geometry import Intrinsics
    from mono_depth_ros.predictor import DepthPredictor

HELP = "predict the depth of picture files: PNG16 or NPY, colour preview, PLY cloud"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare files, checkpoint, camera and outputs."""
    parser.add_argument("files", nargs="+", type=Path, help="JPEG, PNG or other pictures")
    parser.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, help="name or file (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("depth"), help="folder to write to (default: %(default)s)"
    )
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        "--intrinsics",
        nargs=4,
        type=float,
        metavar=("FX", "FY", "CX", "CY"),
        help="of the pictures, pixels; metric depth needs them",
    )
    camera.add_argument("--hfov-deg", type=float, help="horizontal field of view instead")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    add_calibration(parser)
    parser.add_argument("--npy", action="store_true", help="also write float32 metres as .npy")
    parser.add_argument("--view", action="store_true", help="show the clouds (needs open3d)")


def run(args: argparse.Namespace) -> int:
    """Write depth, preview and cloud of every picture; return 0."""
    from mono_depth_ros.files import read_rgb
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

    inference = InferenceConfig(device=args.device)
    predictor = DepthPredictor.load(args.checkpoint, inference, args.calibration)
    if args.intrinsics is None and args.hfov_deg is None:
        logger.warning(
            "no --intrinsics or --hfov-deg: assuming the field of view of the training camera; "
            "distances are off by the ratio of the focal lengths"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    clouds = []
    for name, path in _output_names(args.files).items():
        rgb = read_rgb(path)
        camera = _camera(args, predictor, rgb.shape[0], rgb.shape[1])
        depth_m = predictor(rgb, camera)
        clouds.append(_write_results(args.out / name, rgb, depth_m, camera, args.npy))
    if args.view:
        _view(clouds)
    return 0


def _output_names(files: list[Path]) -> dict[str, Path]:
    """Name results after their pictures; pictures of equal names would overwrite each other."""
    names: dict[str, Path] = {}
    for path in files:
        if path.stem in names:
            raise ConfigError(
                f"{names[path.stem]} and {path} would both write {path.stem}_depth.png; "
                "run them with different --out folders"
            )
        names[path.stem] = path
    return names


def _camera(
    args: argparse.Namespace, predictor: DepthPredictor, height: int, width: int
) -> Intrinsics:
    from mono_depth_ros.geometry import Intrinsics
    from mono_depth_ros.models.base import ImageSize
    from mono_depth_ros.preprocessing import Letterbox

    if args.intrinsics is not None:
        fx, fy, cx, cy = args.intrinsics
        return Intrinsics(fx, fy, cx, cy, width, height)
    if args.hfov_deg is not None:
        if not 0 < args.hfov_deg < 180:
            raise ConfigError(f"--hfov-deg {args.hfov_deg} must lie between 0 and 180")
        focal_px = width / 2 / math.tan(math.radians(args.hfov_deg) / 2)
    elif predictor.info.training_focal_px is None:
        raise ConfigError(f"checkpoint {predictor.info.name} needs --intrinsics or --hfov-deg")
    else:
        resized = Letterbox.fit(ImageSize(height, width), predictor.info.image_size).resized
        focal_px = predictor.info.training_focal_px * width / resized.width
    return Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height)


def _write_results(
    stem: Path,
    rgb: npt.NDArray[np.uint8],
    depth_m: npt.NDArray[np.float32],
    camera: Intrinsics,
    npy: bool,
) -> Path:
    """Write the files of one picture; return the cloud's path."""
    from mono_depth_ros.clouds import CloudBuilder, write_ply
    from mono_depth_ros.coloring import DepthColorizer
    from mono_depth_ros.files import write_depth_npy, write_depth_png, write_rgb

    write_depth_png(stem.with_name(f"{stem.name}_depth.png"), depth_m)
    if npy:
        write_depth_npy(stem.with_name(f"{stem.name}_depth.npy"), depth_m)
    colorize = DepthColorizer(float(np.nanmax(depth_m)))
    write_rgb(stem.with_name(f"{stem.name}_color.png"), np.hstack((rgb, colorize(depth_m))))
    cloud = stem.with_name(f"{stem.name}_cloud.ply")
    points = write_ply(cloud, CloudBuilder(camera)(depth_m, rgb))
    low, middle, high = np.nanpercentile(depth_m, (5, 50, 95))
    print(
        f"{stem.name}: {points} points, depth 5 % {low:.2f} m, median {middle:.2f} m, "
        f"95 % {high:.2f} m"
    )
    return cloud


def _view(clouds: list[Path]) -> None:
    try:
        import open3d
    except ImportError as error:
        raise ConfigError(f"--view needs open3d ({error}); pip install open3d") from error
    for path in clouds:
        cloud = open3d.io.read_point_cloud(path)
        # Optical frames have y down and z ahead; the viewer's camera looks along -z with y up.
        cloud.transform([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
        open3d.visualization.draw_geometries([cloud], window_name=path.name)
