"""The ranking of shipped checkpoints, on a few scenes."""

from __future__ import annotations

import json

import pytest

from mono_depth_ros.checkpoint import read_info, shipped_checkpoints
from mono_depth_ros.errors import ConfigError
from training import ranking
from training.ranking import Rank, main, rank, table


def test_figures_are_those_of_the_checkpoints():
    ranks = rank("rooms", "cpu", scenes=4, seconds=0.1)
    names = {name for name in shipped_checkpoints() if name.endswith("_rooms")}
    assert {each.checkpoint for each in ranks} == names
    assert [each.abs_rel for each in ranks] == sorted(each.abs_rel for each in ranks)
    pwa = next(each for each in ranks if each.checkpoint == "pwa_light_rooms")
    assert pwa.parameters == 1_629_417
    # Light PWA does 0.84 GMAC at 240x320, most of it in proportion to the pixels.
    assert pwa.gmac == pytest.approx(0.84 * 128 * 160 / (240 * 320), rel=0.1)
    assert read_info(pwa.checkpoint).image_size.width == 160
    assert all(each.network_ms > 0 and 0 < each.delta1 < 1 for each in ranks)


def test_unknown_kinds_are_refused():
    with pytest.raises(
        ConfigError, match="no checkpoint for oceans ships; kinds are rooms, streets"
    ):
        rank("oceans", "cpu")


def test_table_and_json(tmp_path, monkeypatch, capsys):
    ranks = [
        Rank("hgc_light_rooms", 0.125, 0.5, 0.875, 1_653_213, 0.25, 7.25),
        Rank("pwa_light_rooms", 0.1908, 0.6102, 0.6968, 1_629_417, 0.5, 16.5),
    ]
    assert list(table("rooms", ranks))[2].split() == [
        "hgc_light_rooms", "0.1250", "0.500", "0.8750", "1,653,213", "0.25", "7.2",
    ]  # fmt: skip
    monkeypatch.setattr(ranking, "rank", lambda kind, device: ranks)
    assert main(["rooms", "--json", str(tmp_path / "ranks.json")]) == 0
    assert "pwa_light_rooms  0.1908" in capsys.readouterr().out
    written = json.loads((tmp_path / "ranks.json").read_text())
    assert [each["network_ms"] for each in written["rooms"]] == [7.25, 16.5]


def test_errors_are_told(capsys):
    assert main(["oceans"]) == 1
    assert "error: no checkpoint for oceans" in capsys.readouterr().err
