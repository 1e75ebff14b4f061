"""Result folders that appear complete or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mono_depth_ros.errors import DataError


@contextmanager
def replacing_folder(out: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes `out` when the block succeeds; an earlier one goes.

    After an error nothing is left of it, and an earlier `out` stays as it was.

    Raises:
        DataError: `out` cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=f".{out.name}.unfinished-", dir=out.parent))
        try:
            # Not the temporary folder itself, which only its owner may read.
            folder = workplace / "folder"
            folder.mkdir()
            yield folder
            _swap(folder, out, workplace / "replaced")
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}; choose another folder") from error


def require_replaceable_folder(out: Path, mark: str, kind: str) -> None:
    """Check that `out` may be replaced, before the work whose result it takes.

    Args:
        out: folder to write.
        mark: name of a file that every earlier result of this kind holds.
        kind: what such a result is called.

    Raises:
        DataError: it exists and is neither an empty folder nor an earlier result.
    """
    if out.exists() and not (out.is_dir() and ((out / mark).exists() or not any(out.iterdir()))):
        raise DataError(f"{out} exists and is no {kind}; choose another folder")


def _swap(folder: Path, out: Path, aside: Path) -> None:
    if out.exists():
        out.rename(aside)
    try:
        folder.rename(out)
    except OSError:
        if aside.exists():
            aside.rename(out)
        raise
