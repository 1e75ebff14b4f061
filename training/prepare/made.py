"""Pictures that `prepare` makes; they appear complete or not at all, but disks fill and fail."""

from __future__ import annotations

import os
from pathlib import Path

from mono_depth_ros.encoded_pictures import PNG_START

_PNG_END = b"IEND\xaeB`\x82"


def is_whole_png(path: Path) -> bool:
    """Return whether a file begins and ends as a PNG does; what is between is not decoded."""
    try:
        with path.open("rb") as file:
            start = file.read(len(PNG_START))
            file.seek(-min(len(_PNG_END), os.fstat(file.fileno()).st_size), os.SEEK_END)
            return start == PNG_START and file.read() == _PNG_END
    except OSError:
        return False
