"""JPEG and PNG files before they are decoded: whether they are whole, and their size."""

from __future__ import annotations

import struct

from mono_depth_ros.errors import DecodingError

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
# Decoding takes 3 bytes per pixel at least, before anything is known to be damaged.
MAX_PIXELS = 2**27

# Markers that begin a frame, without DHT, JPG and DAC between them (ITU T.81, table B.1).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA


def picture_size(data: bytes, text: str, advice: str) -> tuple[int, int]:
    """Return (height, width) in pixels, as the head of a JPEG or PNG file says.

    Args:
        data: the file's bytes.
        text: what the file is, for the message.
        advice: what to do about it, likewise.

    Raises:
        DecodingError: the head is missing, or announces no picture or more than `MAX_PIXELS`.
    """
    size = _png_size(data) if data.startswith(PNG_START) else _jpeg_size(data)
    if size is None:
        raise DecodingError(f"{text} ({len(data)} bytes) is damaged, its head is missing; {advice}")
    height, width = size
    if not 0 < height * width <= MAX_PIXELS:
        raise DecodingError(
            f"{text} announces {height}x{width} pixels; 1 to {MAX_PIXELS} are decoded; {advice}"
        )
    return size


def require_whole_picture(data: bytes, text: str, advice: str) -> None:
    """Refuse truncated JPEG and PNG files, which some versions of OpenCV fill up with grey.

    Args:
        data: the file's bytes.
        text: what the file is, for the message.
        advice: what to do about it, likewise.

    Raises:
        DecodingError: the end is missing, or the file is neither JPEG nor PNG.
    """
    if data.startswith(JPEG_START):
        # Entropy-coded data hold no markers, but a thumbnail in the header has an end of its own,
        # before the scan.
        end = data.rfind(b"\xff\xd9")
        whole = end >= 0 and data.find(b"\xff\xda", end) < 0
    elif data.startswith(PNG_START):
        whole = b"IEND" in data[-4096:]
    else:
        raise DecodingError(f"{text} ({len(data)} bytes) is neither JPEG nor PNG; {advice}")
    if not whole:
        raise DecodingError(f"{text} is truncated at {len(data)} bytes; {advice}")


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    # A segment is FF, its marker and two bytes of length, which count themselves. Decoders skip
    # what lies between segments.
    at = data.find(b"\xff", len(JPEG_START))
    while at >= 0 and at + 9 <= len(data):
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        if marker == _JPEG_SCAN:
            break
        filler = marker in (0x00, 0xFF)
        skipped = 1 if filler else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        at = data.find(b"\xff", at + skipped)
    return None
