"""Strict filling of config dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from mono_depth_ros.config import from_mapping, load_yaml, to_mapping, with_overrides
from mono_depth_ros.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] = (3, 4)
    mode: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    rate: float
    inner: Inner = field(default_factory=Inner)
    name: str | None = None
    on: bool = False
    widths: tuple[int, ...] = ()


def test_nested_values_are_filled_and_converted():
    values = {"rate": 2, "inner": {"size": [5, 6], "mode": "b"}, "name": "x", "widths": [1, 2, 3]}
    config = from_mapping(Outer, values)
    assert config == Outer(2.0, Inner((5, 6), "b"), "x", False, (1, 2, 3))
    assert isinstance(config.rate, float)
    assert from_mapping(Outer, to_mapping(config)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1, "raet": 2}, "no setting raet; it has inner, name, on, rate, widths"),
        ({"rate": 1, "inner": {"siez": [1, 2]}}, r"Outer.inner has no setting siez"),
        ({}, "needs rate"),
        ({"rate": "fast"}, "Outer.rate must be float"),
        ({"rate": True}, "Outer.rate must be float"),
        ({"rate": 1, "on": 1}, "Outer.on must be bool"),
        ({"rate": 1, "inner": {"mode": "c"}}, "'c'; choose from a, b"),
        ({"rate": 1, "inner": {"size": [1]}}, "must have 2 entries"),
        ({"rate": 1, "inner": {"size": [1, "2"]}}, r"size\[1\] must be int"),
        ({"rate": 1, "inner": 7}, "must be a mapping"),
        ({"rate": 1, "name": 3}, "Outer.name must be str"),
    ],
)
def test_mistakes_name_the_setting(values, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, values)


def test_overrides_reach_into_sections():
    values = {"rate": 1.0, "inner": {"mode": "a"}}
    changed = with_overrides(values, ["inner.mode=b", "rate=2.5", "inner.size=[7, 8]"])
    assert changed == {"rate": 2.5, "inner": {"mode": "b", "size": [7, 8]}}
    assert values == {"rate": 1.0, "inner": {"mode": "a"}}
    with pytest.raises(ConfigError, match="must look like section"):
        with_overrides(values, ["rate"])
    with pytest.raises(ConfigError, match="not a section"):
        with_overrides(values, ["rate.x=1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "a set twice"),
        ("[1, 2]", "must hold"),
        ("a: [", "not valid YAML"),
        ("a: 2023-99-99", "not valid YAML"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_yaml(path)
    with pytest.raises(ConfigError, match="cannot read"):
        load_yaml(tmp_path / "missing.yaml")
