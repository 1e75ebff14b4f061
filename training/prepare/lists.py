"""List files near a data set: where they are met, and which of them were not used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

LIST_FOLDERS = ("train_test_inputs", "splits", "filenames")
"""Where BTS and AdaBins, Monodepth2, and GLPDepth keep their lists."""


def list_lines(path: Path) -> list[str]:
    """Return the lines of a list; one bad byte costs the name that it is in.

    Raises:
        OSError: it cannot be read.
    """
    # Windows' editors put a mark before the first line.
    return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def first_line(path: Path) -> str:
    """Return the first line that is not empty; "" if there is none."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return next((line for line in file if line.strip()), "")


def unused_lists(
    parents: Iterable[Path], used: Iterable[Path], is_line: Callable[[str], bool]
) -> str:
    """Return words about the lists of a data set that were not used; "" if there are none.

    Args:
        parents: folders that lists may lie in, or in one of `LIST_FOLDERS` below.
        used: the lists that were used.
        is_line: whether a line is one of a list of this data set.
    """
    known = {path.resolve() for path in used}
    texts = dict.fromkeys(path.resolve() for parent in parents for path in _texts(parent))
    unused = [str(path) for path in texts if path not in known and _starts_with(path, is_line)]
    return f"lists not used (--list takes them): {', '.join(unused)}" if unused else ""


def _starts_with(path: Path, is_line: Callable[[str], bool]) -> bool:
    try:
        return is_line(first_line(path))
    except OSError:  # not readable, and nobody asked for it
        return False


def _texts(parent: Path) -> Iterator[Path]:
    below = (f"{name}/{inner}" for name in LIST_FOLDERS for inner in ("*.txt", "*/*.txt"))
    for pattern in ("*.txt", *below):
        yield from filter(Path.is_file, sorted(parent.glob(pattern)))
