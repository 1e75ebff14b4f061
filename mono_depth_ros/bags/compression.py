"""The decompressors of bags, imported when a bag needs them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from mono_depth_ros.errors import BagError

_ZSTD_MODULE = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def decompress_zstd(data: bytes) -> bytes:
    """Return the content of complete zstd frames.

    Raises:
        BagError: the library is not installed; damaged data raises the library's own error.
    """
    return _library(_ZSTD_MODULE).decompress(data)


def decompressor(compression: str) -> Callable[[bytes], bytes] | None:
    """Return what unpacks data, maybe cut off, compressed with "zstd" or "lz4"; None for others.

    Raises:
        BagError: the library is not installed.
    """
    if compression == "zstd":
        return _library(_ZSTD_MODULE).ZstdDecompressor().decompress
    if compression == "lz4":
        return _library("lz4.frame").LZ4FrameDecompressor().decompress
    return None


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = "lz4" if name == "lz4.frame" else "backports.zstd"
        raise BagError(
            f"this bag is compressed and {name} cannot be imported ({error}); "
            f"`pip install {package}`"
        ) from error
