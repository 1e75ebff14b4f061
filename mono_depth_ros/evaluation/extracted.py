"""The folder that `mono_depth extract` writes and `python -m training.prepare bag` reads.

rgb/<stamp>.jpg         the rectified image (or .png)
depth/<stamp>.png       uint16, metres = code / 256 along the optical axis, 0 = unknown
frames.jsonl            a line per frame: stamp_ns, truth_stamp_ns, image, depth, size (height,
                        width), intrinsics (fx, fy, cx, cy), depth_pixels
extract.json            bag, topics, transform, settings, counts, and the damage if there was any

A file's stamp is the image's header stamp in nanoseconds, 19 digits.
"""

from __future__ import annotations

FORMAT = "mono_depth_extract 1"
SUMMARY, FRAMES = "extract.json", "frames.jsonl"
DEPTH_SCALE = 256.0


def file_name(stamp_ns: int) -> str:
    """Return the name of a frame's files, which sort by it."""
    return f"{stamp_ns:019d}"
