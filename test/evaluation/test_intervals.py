from __future__ import annotations

import math

import numpy as np
import pytest
from report_scene import START_NS, errors

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.intervals import IntervalConfig, block_of, frame_interval


def test_blocks_begin_with_the_first_stamp_and_keep_nanoseconds():
    second = 1_000_000_000
    stamps_ns = [START_NS + offset for offset in (7, second + 6, second + 7, 5 * second)]
    assert block_of(stamps_ns, 1.0) == [0, 0, 1, 4]
    assert block_of(stamps_ns[::-1], 1.0) == [4, 1, 0, 0]
    assert block_of(stamps_ns, 0.5) == [0, 1, 2, 9]
    assert block_of([], 1.0) == []


def test_two_blocks_by_hand():
    # Three frames of error 0 in one second, one of error 1 in the next. Draws of blocks: 0, 1/4, 1.
    stamps_ns = [START_NS + i * 300_000_000 for i in (0, 1, 2, 4)]
    frames = [errors(value) for value in (0.0, 0.0, 0.0, 1.0)]
    interval = frame_interval(stamps_ns, frames, "images", IntervalConfig(level=0.01))
    assert interval.low.count == 2
    assert interval.low.abs_rel == pytest.approx(0.25) == interval.high.abs_rel
    single = frame_interval(stamps_ns, frames, "images", IntervalConfig(unit="frame"))
    assert single.low.count == 4


def test_blocks_of_alike_frames_widen_the_interval_by_the_root_of_their_size():
    # 100 seconds of 9 equal frames each: 9 times fewer independent samples.
    values = np.repeat(np.random.default_rng(0).normal(0.2, 0.02, 100), 9)
    stamps_ns = [START_NS + i * 1_000_000_000 // 9 + 1 for i in range(900)]
    frames = [errors(value) for value in values]
    widths = []
    for unit in ("frame", "block"):
        config = IntervalConfig(unit=unit, draws=3000)
        interval = frame_interval(stamps_ns, frames, "images", config)
        widths.append(interval.high.abs_rel - interval.low.abs_rel)
    assert widths[1] / widths[0] == pytest.approx(3.0, rel=0.1)


def test_a_recording_within_one_block_has_no_interval():
    stamps_ns = [START_NS, START_NS + 900_000_000]
    config = IntervalConfig()
    assert frame_interval(stamps_ns, [errors(0.1), errors(0.2)], "images", config) is None
    assert "fewer than 2 blocks of 1 s" in config.missing()
    assert "fewer than 2 frames" in IntervalConfig(unit="frame").missing()
    assert "0 draws" in IntervalConfig(draws=0).missing()


def test_words_name_the_unit_and_warn_of_few():
    assert IntervalConfig().describe(12) == "95 % of 1000 draws of 12 blocks of 1 s, seed 0"
    assert IntervalConfig(unit="frame").describe(10).endswith("10 single frames, seed 0")
    assert "9 are few" in IntervalConfig().describe(9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_s": 0.0}, "block_s"),
        ({"block_s": math.inf}, "block_s"),
        ({"block_s": math.nan}, "block_s"),
        ({"draws": -1}, "draws"),
        ({"level": 1.0}, "level"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        IntervalConfig(**settings)
