"""Look at a data set, check it, and write down what training reads.

`python -m training.prepare auto /data/nyu` recognises what is there and says so.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mono_depth_ros.errors import ConfigError, DataError, MonoDepthError
from training.manifest import FILE, Manifest, read_manifest, write_manifest
from training.prepare import AUTO, EXPECTED, KINDS, recognise
from training.prepare.checks import check
from training.prepare.problems import by_kind

FOLDER = Path(__file__).resolve().parents[2] / "data"
_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return _run(options)
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except ImportError as error:
        if not error.name or error.name.partition(".")[0] in ("training", "mono_depth_ros"):
            raise
        hint = "pip install -r requirements-dev.txt"
        sys.stderr.write(f"error: this data set needs {error.name}: run `{hint}`\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written down\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {kind:<11}{expected}" for kind, expected in EXPECTED.items())
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare",
        description=__doc__,
        epilog=f"What a data set is recognised by:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=(AUTO, *KINDS), help=f"{AUTO} recognises it")
    parser.add_argument("root", type=Path, help="folder with the data set; it is only read")
    parser.add_argument("out", type=Path, nargs="?", help="folder to write (default: data/KIND)")
    parser.add_argument(
        "--list",
        action="append",
        default=[],
        type=Path,
        dest="lists",
        metavar="FILE",
        help="frames to use: for nyu the list to train on, for kitti any, each becomes a split "
        "list_NAME; may be given several times",
    )
    parser.add_argument("--workers", type=int, help="threads (default: one per core)")
    parser.add_argument(
        "--check",
        choices=("files", "contents"),
        default="contents",
        help="files: only whether they are there; contents: also read, hash and decode them "
        "(default: %(default)s)",
    )
    parser.add_argument("--strict", action="store_true", help="any problem is an error")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {options.workers}")
    kind = recognise(options.root) if options.kind == AUTO else options.kind
    out = options.out or FOLDER / kind
    _require_own(out, kind)
    manifest = KINDS[kind](options.root, out, options.lists)
    sys.stdout.write(f"recognised {kind}: {manifest.layout}\n")
    manifest = check(manifest, options.check, options.workers)
    sys.stdout.write("\n".join(_summary(manifest, whole=options.strict)) + "\n")
    if manifest.problems and options.strict:
        raise DataError(
            f"{len(manifest.problems)} problems, and --strict allows none; {out / FILE} is not "
            "written"
        )
    if not manifest.splits:
        raise DataError(f"{options.root} has no usable frame; {out / FILE} is not written")
    write_manifest(out, manifest)
    sys.stdout.write(f"written to {out}\n")
    return 0


def _require_own(out: Path, kind: str) -> None:
    """Refuse a folder that holds another data set; train and validation would not match."""
    try:
        other = read_manifest(out).dataset if (out / FILE).exists() else kind
    except DataError:  # damaged or of an older version: it is to be replaced
        return
    if other != kind:
        raise DataError(f"{out} holds the prepared {other}; choose another folder for {kind}")


def _summary(manifest: Manifest, *, whole: bool) -> list[str]:
    """Return the splits as a table, then the first problems of each kind, or all of them."""
    lines = [f"{'split':<24}{'frames':>8}{'groups':>8}{'depth':>8}{'labels':>8}"]
    for name, records in manifest.splits.items():
        counts = (
            len(records),
            len({record.group for record in records}),
            sum(record.depth is not None for record in records),
            sum(bool(record.labels) for record in records),
        )
        lines.append(f"{name:<24}" + "".join(f"{count:>8}" for count in counts))
    lines.append(f"problems: {len(manifest.problems) or 'none'}")
    for kind, problems in by_kind(manifest.problems).items():
        shown = problems if whole else problems[:_SHOWN]
        lines += [f"  {kind}: {len(problems)}", *(f"    {problem}" for problem in shown)]
        if len(shown) < len(problems):
            lines.append(f"    and {len(problems) - len(shown)} more, all in {FILE}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
