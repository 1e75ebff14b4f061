"""Datasets, in one closed table."""

from __future__ import annotations
