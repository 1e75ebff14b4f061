"""Bootstrap intervals against a loop and against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.metrics import DepthErrors, mean_over_images
from training.evaluation.bootstrap import BootstrapConfig, bootstrap_interval


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
