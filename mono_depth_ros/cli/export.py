"""`mono_depth export`: a checkpoint as an ONNX file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mono_depth_ros.cli.arguments import image_size

HELP = (
    "write a checkpoint as ONNX, uint8 image in, depth in metres out, after comparing it with "
    "PyTorch on frames of the procedural world (needs requirements-backends.txt)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare checkpoint, file and form."""
    parser.add_argument("checkpoint", help="name or .safetensors file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument(
        "--precision",
        choices=("float32", "int8"),
        default="float32",
        help="int8: convolutions in 8 bits, scales fixed on world frames (default: %(default)s)",
    )
    parser.add_argument(
        "--products", action="store_true", help="also confidence, attention or semantics"
    )
    parser.add_argument(
        "--size",
        type=image_size,
        metavar="WxH",
        help="image size, for networks that take several (default: the checkpoint's)",
    )


def run(args: argparse.Namespace) -> int:
    """Export, and print what was compared."""
    from mono_depth_ros.backends.export import ACCURACY_BOUNDS, export_onnx
    from mono_depth_ros.checkpoint import load_network
    from mono_depth_ros.models.base import ImageSize

    network, info = load_network(args.checkpoint)
    size = ImageSize(*args.size) if args.size else None
    check = export_onnx(network, info, args.out, args.precision, args.products, size)
    sys.stdout.write(
        f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB, {args.precision})\n"
        f"AbsRel on {check.frames} world frames: {check.file_abs_rel:.5f}, PyTorch "
        f"{check.pytorch_abs_rel:.5f}: {100 * check.change:+.3f} % (allowed: "
        f"{100 * ACCURACY_BOUNDS[args.precision]:g} %); mean deviation "
        f"{100 * check.deviation:.3f} % of the depth\n"
    )
    return 0
