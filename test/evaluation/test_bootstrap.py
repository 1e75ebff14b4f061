"""Bootstrap intervals against a loop and against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.bootstrap import (
    SCORES,
    BootstrapConfig,
    bootstrap_interval,
    paired_interval,
)
from mono_depth_ros.metrics import (
    DepthErrors,
    mean_over_images,
    pixel_errors,
    pool_over_pixels,
)


def image(abs_rel, rmse_m=1.0, count=10):
    return DepthErrors(count, abs_rel, 0, rmse_m, 0, 0, 0, 0, 0, 0, 0)


def test_equal_images_leave_nothing_to_chance():
    interval = bootstrap_interval([image(0.1)] * 5, ["g"] * 5, BootstrapConfig(draws=50))
    assert interval.low.abs_rel == pytest.approx(0.1) == interval.high.abs_rel
    assert interval.low.count == 5


def test_the_interval_of_many_images_is_that_of_a_normal_mean():
    values = np.random.default_rng(1).normal(0.1, 0.02, 400)
    errors = [image(v) for v in values]
    interval = bootstrap_interval(errors, [""] * 400, BootstrapConfig(draws=2000))
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.low.abs_rel == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high.abs_rel == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_two_images_by_hand():
    # Means of two draws from {0, 1}: 0, 1/2, 1/2 and 1, so quantiles of 1/4 and 3/4 are 0 to 1/2
    # and 1/2 to 1, and all are multiples of 1/2.
    errors = [image(0.0), image(1.0), DepthErrors.empty()]
    config = BootstrapConfig(draws=999, level=0.5)
    interval = bootstrap_interval(errors, ["a", "b", "c"], config)
    assert interval.low.count == 2
    assert interval.low.abs_rel in (0.0, 0.5) and interval.high.abs_rel in (0.5, 1.0)
    everything = bootstrap_interval(errors, ["a", "b", "c"], BootstrapConfig(999, level=0.99))
    assert (everything.low.abs_rel, everything.high.abs_rel) == (0.0, 1.0)


def test_groups_are_drawn_whole():
    # Drive a has three images, b one. Draws: (a,a) 0, (b,b) 1, (a,b) 1/4 with images weighed alike.
    errors = [image(0.0)] * 3 + [image(1.0)]
    config = BootstrapConfig(draws=500, level=0.999, unit="group")
    interval = bootstrap_interval(errors, ["a", "a", "a", "b"], config)
    assert interval.low.count == 2
    assert (interval.low.abs_rel, interval.high.abs_rel) == (0.0, 1.0)
    narrow = BootstrapConfig(draws=500, level=0.01, unit="group")
    assert bootstrap_interval(errors, list("aaab"), narrow).low.abs_rel == pytest.approx(0.25)


def test_same_seed_same_interval_and_blocks_do_not_show():
    values = np.random.default_rng(2).random(7)
    errors, groups = [image(v) for v in values], [""] * 7
    config = BootstrapConfig(draws=600, seed=5)
    interval = bootstrap_interval(errors, groups, config)
    assert interval == bootstrap_interval(errors, groups, config)
    rng = np.random.default_rng(5)
    times = np.concatenate(
        [rng.multinomial(7, np.full(7, 1 / 7), size=n) for n in (256, 256, 88)]
    ).astype(float)
    assert interval.low.abs_rel == pytest.approx(np.quantile(times @ values / 7, 0.025))
    assert interval != bootstrap_interval(errors, groups, BootstrapConfig(draws=600, seed=6))


def test_the_middle_of_the_interval_is_the_mean():
    rng = np.random.default_rng(3)
    errors = [image(*pair) for pair in rng.random((60, 2))]
    interval = bootstrap_interval(errors, [""] * 60, BootstrapConfig())
    mean = mean_over_images(errors)
    assert interval.low.rmse_m < mean.rmse_m < interval.high.rmse_m
    assert interval.low.abs_rel < mean.abs_rel < interval.high.abs_rel


def test_nothing_can_be_said_of_one_unit():
    assert bootstrap_interval([image(0.1)], ["a"], BootstrapConfig()) is None
    assert bootstrap_interval([image(0.1)] * 4, ["a"] * 4, BootstrapConfig(unit="group")) is None
    assert bootstrap_interval([], [], BootstrapConfig()) is None
    assert bootstrap_interval([image(0.1)] * 4, ["a"] * 4, BootstrapConfig(draws=0)) is None
    for wrong in ({"draws": -1}, {"level": 0.0}, {"level": 1.0}):
        with pytest.raises(ConfigError, match="bootstrap"):
            BootstrapConfig(**wrong)


def test_pooled_pixels_weigh_images_by_their_pixels():
    # Draws of (a, a), (a, b), (b, b): 0, 3/4 and 1, because b has three times the pixels of a.
    errors = [image(0.0, count=100), image(1.0, count=300)]
    narrow = BootstrapConfig(draws=500, level=0.01)
    middle = bootstrap_interval(errors, ["", ""], narrow, "pixels")
    assert middle.low.abs_rel == pytest.approx(0.75) == middle.high.abs_rel


def test_every_pooled_draw_is_the_pool_of_its_images():
    rng = np.random.default_rng(4)
    errors = [pixel_errors(rng.uniform(1, 9, n), rng.uniform(1, 9, n)) for n in (3, 8, 20)]
    draws = [
        pool_over_pixels([errors[i] for i in (a, b, c)])
        for a in range(3)
        for b in range(3)
        for c in range(3)
    ]
    interval = bootstrap_interval(errors, [""] * 3, BootstrapConfig(3000, 0.9999), "pixels")
    for name in SCORES:
        values = [getattr(draw, name) for draw in draws]
        assert getattr(interval.low, name) == pytest.approx(min(values)), name
        assert getattr(interval.high, name) == pytest.approx(max(values)), name


class TestPairs:
    def test_a_constant_difference_has_no_width_however_much_images_vary(self):
        values = np.random.default_rng(6).random(30)
        first, second = [image(v) for v in values], [image(v + 0.25) for v in values]
        interval = paired_interval(first, second, [""] * 30, BootstrapConfig())
        assert interval.low.abs_rel == pytest.approx(0.25) == interval.high.abs_rel
        assert (interval.low.rmse_m, interval.high.rmse_m) == (0.0, 0.0)

    def test_it_is_the_interval_of_the_differences(self):
        rng = np.random.default_rng(7)
        before, after = rng.random((2, 25))
        groups = [str(i // 4) for i in range(25)]
        config = BootstrapConfig(unit="group")
        first, second = [image(v) for v in before], [image(v) for v in after]
        interval = paired_interval(first, second, groups, config)
        expected = bootstrap_interval([image(v) for v in after - before], groups, config)
        assert interval.low.abs_rel == pytest.approx(expected.low.abs_rel)
        assert interval.high.abs_rel == pytest.approx(expected.high.abs_rel)
        assert interval.low.count == 7

    def test_images_empty_on_one_side_do_not_count(self):
        empty = DepthErrors.empty()
        first, second = [image(0.1), image(0.2), empty], [image(0.2), image(0.3), image(9.0)]
        interval = paired_interval(first, second, [""] * 3, BootstrapConfig())
        assert interval.low.count == 2
        assert interval.high.abs_rel == pytest.approx(0.1)
        assert paired_interval(first, [empty] * 3, [""] * 3, BootstrapConfig()) is None
