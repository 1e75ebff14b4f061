"""Argument types that several commands share."""

from __future__ import annotations

import argparse


def image_size(text: str) -> tuple[int, int]:
    """Parse WxH into (height, width)."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"size {text!r} must look like 640x480 (width x height)")
    return int(height), int(width)
