"""Reports of made-up frames, without a recording."""

from __future__ import annotations

from types import MappingProxyType

from mono_depth_ros.evaluation.pipeline import summarise
from mono_depth_ros.evaluation.saved_report import Report
from mono_depth_ros.evaluation.scores import FrameScore
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.metrics import DepthErrors, DevkitErrors

START_NS = 1_700_000_000_000_000_000


def errors(abs_rel, count=10):
    return DepthErrors(count, abs_rel, 1.0, 2.0, 0.3, 0.1, 20.0, 0.9, 0.95, 1.0, -abs_rel)


def frame(stamp_ns, abs_rel, count=10, truth_pixels=20):
    model = errors(abs_rel, count) if count else DepthErrors.empty()
    return FrameScore(
        stamp_ns=stamp_ns,
        truth_stamp_ns=stamp_ns + 5,
        truth_pixels=truth_pixels,
        model=model,
        aligned=errors(0.05),
        scale=1.1,
        constant=errors(0.5),
        bins=(model, DepthErrors.empty()),
        devkit=DevkitErrors(count, *[1.0] * 7),
        scale_and_shift=errors(0.04),
    )


def report(frames, config=None, **facts):
    config = config or EvaluationConfig(range_bins_m=(0.0, 10.0, 20.0))
    facts = {"recording": "bag", "image topic": "/image", "truth": "LiDAR", **facts}
    summary = summarise(frames, 4.0, (0, 0), config)
    by_stamp = MappingProxyType({score.stamp_ns: score for score in frames})
    return Report(facts, config, config.protocol, summary, None, by_stamp)


def report_of(abs_rels, period_ns=500_000_000, start_ns=START_NS, **options):
    frames = [frame(start_ns + i * period_ns, value) for i, value in enumerate(abs_rels)]
    return report(frames, **options)
