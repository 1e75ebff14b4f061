from __future__ import annotations

import math
from dataclasses import replace

import pytest
from report_scene import report_of

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.gates import (
    difference_failures,
    failures,
    parse_difference_gates,
    parse_gates,
)

EDGES = (0.0, 10.0, 20.0)
# abs_rel 0.2, aligned 0.05, constant 0.5, half of the truth predicted, bin 10-20 empty.
SUMMARY = report_of([0.1, 0.3]).summary


def failed(*texts, summary=SUMMARY):
    return failures(parse_gates(texts, EDGES), summary, EDGES)


@pytest.mark.parametrize(
    "condition",
    [
        "abs_rel>0.19",
        "abs_rel < 0.21",
        "count>=20",
        "count<=20",
        "aligned.abs_rel<0.06",
        "constant.abs_rel>4e-1",
        "bins[0-10].abs_rel>0.1",
        "bins[0.0-10.0].delta1<1",
        "coverage<0.51",
        "frames<3",
        "median_scale>1",
        "mean_log>-inf",
    ],
)
def test_a_condition_that_holds_fails(condition):
    (line,) = failed(condition)
    assert line.startswith(f"{condition.replace(' ', '')} failed: ")


@pytest.mark.parametrize(
    "condition",
    ["abs_rel>0.21", "count>20", "count<20", "coverage<0.5", "constant.abs_rel>0.5"],
)
def test_a_condition_that_does_not_hold_passes(condition):
    assert failed(condition) == []


def test_one_line_for_each_failure_with_its_value():
    lines = failed("abs_rel>0.1", "delta1<0.5", "coverage<0.9")
    assert lines == ["abs_rel>0.1 failed: abs_rel is 0.2", "coverage<0.9 failed: coverage is 0.5"]


def test_nan_counts_as_failed_whichever_way_the_condition_points():
    assert len(failed("bins[10-20].abs_rel>0.1", "bins[10-20].abs_rel<0.1")) == 2
    nothing = replace(SUMMARY, truth_pixels=0, median_scale=math.nan)
    # Two frames half a second apart have no flicker.
    lines = failed("coverage<0.5", "median_scale>2", "scale_flicker>1", summary=nothing)
    assert all("is NaN" in line for line in lines) and len(lines) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abs_rel", "must look like abs_rel>0.12"),
        ("abs_rel=0.1", "must look like"),
        ("abs_rel==0.1", "must look like"),
        ("abs_rel>>0.1", "must look like"),
        ("abs_rel>0.1 rmse_m>2", "must look like"),
        ("0.1<abs_rel<0.2", "must look like"),
        ("", "must look like"),
        ("absrel>0.1", "no metric 'absrel'; choose from count, abs_rel"),
        ("aligned.coverage>0.1", "no metric"),
        ("model.abs_rel>0.1", "no metric"),
        ("bins.abs_rel>0.1", "no metric"),
        ("bins[0-10]>0.1", "no metric"),
        ("abs_rel>ten", "'ten'"),
        ("abs_rel>nan", "NaN"),
        ("bins[0-15].abs_rel>0.1", r"the range bins are bins\[0-10\], bins\[10-20\]"),
        ("bins[1.2.3-4].abs_rel>0.1", "1.2.3"),
    ],
)
def test_mistakes_are_explained(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_gates([text], EDGES)


def test_conditions_on_differences():
    gates = parse_difference_gates(["abs_rel>0.01", "delta1<-0.02"])
    assert difference_failures(gates, {"abs_rel": 0.01, "delta1": 0.0}) == []
    (line,) = difference_failures(gates, {"abs_rel": -1.0, "delta1": -0.03})
    assert line == "delta1<-0.02 failed: delta1 is -0.03"
    assert len(difference_failures(gates, {"abs_rel": math.nan, "delta1": math.nan})) == 2
    for text in ("coverage<0.1", "aligned.abs_rel>0", "count>0"):
        with pytest.raises(ConfigError, match="no difference"):
            parse_difference_gates([text])
