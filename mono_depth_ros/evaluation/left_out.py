"""What an evaluation did not score, and why, for its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mono_depth_ros.evaluation.pipeline import Evaluation

LISTED = 20


def left_out(evaluation: Evaluation) -> dict[str, Any]:
    """Return what was left out, as scores.json holds it.

    Returns:
        damage: what is wrong with the recording; empty where it is whole.
        unmatched_images: how many images have no truth within the tolerance, or were not among
            the frames that `max_frames` takes.
        unreadable: {stamp_ns, reason} of the first `LISTED` matched frames with an unusable image,
            truth or camera_info.
        unreadable_unlisted: how many there are besides.
        empty: {stamp_ns, reason} of the first `LISTED` frames whose truth has no depth to score.
        empty_unlisted: how many there are besides.
    """
    recording, summary = evaluation.recording, evaluation.summary
    empty = {
        frame.stamp_ns: "its truth has no depth in the scored part of the image"
        for frame in evaluation.frames
        if frame.truth_pixels == 0
    }
    return {
        "damage": recording.damage,
        "unmatched_images": recording.images - len(recording.pairs),
        **_listed("unreadable", recording.unreadable, summary.unreadable_frames),
        **_listed("empty", empty, len(empty)),
    }


def left_out_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the same as rows of a table: what, why."""
    record = left_out(evaluation)
    rows = [["what is damaged of the recording", record["damage"]]] if record["damage"] else []
    if record["unmatched_images"]:
        frames = evaluation.config.frames
        reason = f"no truth within {frames.tolerance_ms:g} ms"
        if frames.max_frames is not None:
            reason += f", or not among the {frames.max_frames} frames to take"
        rows.append([f"{record['unmatched_images']} images", reason])
    for kind in ("unreadable", "empty"):
        rows += [[f"frame {item['stamp_ns']} ns", item["reason"]] for item in record[kind]]
        if record[f"{kind}_unlisted"]:
            rows.append([f"{record[f'{kind}_unlisted']} frames more", f"{kind}, see the log"])
    return rows


def _listed(kind: str, reasons: Mapping[int, str], count: int) -> dict[str, Any]:
    first = list(reasons.items())[:LISTED]
    items = [{"stamp_ns": int(stamp_ns), "reason": reason} for stamp_ns, reason in first]
    return {kind: items, f"{kind}_unlisted": max(count - len(items), 0)}
