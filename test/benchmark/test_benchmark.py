"""`mono_depth benchmark`: turns, rows, tables, JSON, plot, and a node that is really measured."""

from __future__ import annotations

import importlib.util
import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import torch

from mono_depth_ros import DEFAULT_CHECKPOINT
from mono_depth_ros.benchmark import networks
from mono_depth_ros.benchmark.cameras import CamerasRow, measure_cameras
from mono_depth_ros.benchmark.networks import EAGER, NetworkRow, fastest
from mono_depth_ros.benchmark.nodes import NodeRow
from mono_depth_ros.benchmark.report import Figures, as_json, text_lines, write_plot
from mono_depth_ros.cli.benchmark import _ways_of_predictor
from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import BackendError
from mono_depth_ros.timing import Timing, time_in_turns

ROW = NetworkRow("net", "shipped", 128, 160, *EAGER, "", Timing(30.0, 36.0, 9), 0.1, 1.0, 0.2, 0.0)
ROWS = [
    ROW,
    replace(ROW, backend="onnxruntime", timing=Timing(15.0, 16.0, 9), times_faster=2.0),
    replace(ROW, backend="openvino", timing=Timing(20.0, 21.0, 9), times_faster=1.5),
    replace(
        ROW, backend="openvino", precision="int8", timing=Timing(5.0, 6.0, 9), times_faster=6.0,
        abs_rel=0.202, abs_rel_change=0.01,
    ),
    NetworkRow("net", "shipped", 128, 160, "openvino", "bfloat16", "no bfloat16 here"),
]  # fmt: skip


def test_ways_take_turns():
    calls = []
    times = time_in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, 0.0)
    assert calls == ["a"] * 3 + ["b"] * 3 + ["a", "b"] * 5
    assert times["a"].runs == times["b"].runs == 5
    assert 0.0 <= times["a"].median_ms <= times["a"].p95_ms


def test_the_fastest_of_what_ran():
    assert fastest(ROWS, reduced=False) is ROWS[1]
    assert fastest(ROWS, reduced=True) is ROWS[3]
    assert fastest([ROWS[4]], reduced=True) is None
    assert _ways_of_predictor(False, ROWS) == [
        EAGER,
        ("onnxruntime", "float32"),
        ("openvino", "int8"),
    ]
    assert len(_ways_of_predictor(True, ROWS)) == 4
    assert _ways_of_predictor(False, []) == [EAGER]


def test_tables_and_json():
    node = NodeRow("torch", "float32", "depth", 26.0, 27.0, 31.25, 1e3 / 32.0, 40.0)
    assert node.overhead_ms == pytest.approx(6.0)
    cameras = CamerasRow("torch", "float32", 4, 60.0, 24.0)
    figures = Figures({"cores": 2}, ROWS, [cameras], [node], messages={"cloud_ms": 1.0})
    text = "\n".join(text_lines(figures))
    assert "net  128x160  openvino     int8       5.0   6.0   6.00   0.2020  +1.00%" in text
    assert "openvino in bfloat16: no bfloat16 here" in text
    assert "torch  float32  depth    26.0        27.0          31.2  31.2  6.0     40.0" in text
    assert "torch  float32  60.0         24.0            2.50" in text
    plain = json.loads(json.dumps(as_json(figures), allow_nan=False))
    assert plain["networks"][0]["timing"]["median_ms"] == 30.0
    assert plain["networks"][4]["times_faster"] is None and math.isnan(ROWS[4].times_faster)
    assert plain["evaluator"] == {}


def test_the_plot_has_a_dot_per_way_and_one_label(tmp_path):
    write_plot(ROWS, tmp_path / "plot.svg")
    root = ET.parse(tmp_path / "plot.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    dots = root.findall(f".//{name}circle")
    assert len(dots) == 4 and len({dot.get("fill") for dot in dots}) == 4
    x = [float(dot.get("cx")) for dot in dots]
    # On a logarithmic axis from 5 to 30 ms, 10 lies where log(2) / log(6) of the way is done.
    assert (x[2] - x[3]) / (x[0] - x[3]) == pytest.approx(math.log(4) / math.log(6), abs=1e-3)
    texts = [text.text for text in root.iter(f"{name}text")]
    assert texts.count("net") == 1 and "openvino int8" in texts


def test_what_cannot_run_is_named_and_the_rest_is_measured(monkeypatch):
    def refuse(backend, *rest):
        if backend == "openvino":
            raise BackendError("deviates")

    ways = [EAGER, ("openvino", "float32")]
    monkeypatch.setattr(networks, "executions", lambda _: ways)
    monkeypatch.setattr(networks, "require_available", refuse)
    rows = networks.measure_checkpoint("pwa_light_rooms", torch.device("cpu"), 0.0, 2)
    assert [row.problem for row in rows] == ["", "deviates"]
    assert rows[0].times_faster == 1.0 and rows[0].abs_rel_change == 0.0
    assert 0.02 < rows[0].abs_rel < 0.6 and math.isnan(rows[1].abs_rel)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(networks, "executions", lambda _: [EAGER, ("onnxruntime", "float32")])
    monkeypatch.setattr("mono_depth_ros.cli.benchmark._FRAMES", 2)
    arguments = ["--only", "networks", "reading", "--size", "160x128", "--seconds", "0"]
    files = ["--json", str(tmp_path / "b.json"), "--plot", str(tmp_path / "b.svg")]
    assert main(["benchmark", *arguments, *files]) == 0
    printed = capsys.readouterr().out
    assert DEFAULT_CHECKPOINT in printed and "raw image 160x128" in printed
    found = json.loads((tmp_path / "b.json").read_text())
    assert [row["weights"] for row in found["networks"]] == ["shipped", "shipped"] + ["random"] * 2
    assert abs(found["networks"][1]["abs_rel_change"]) < 1e-3
    assert all(row["message_ms"] > 0 and row["mb_per_s"] > 0 for row in found["reading"])
    assert (tmp_path / "b.svg").stat().st_size > 1000


def test_cameras_are_measured():
    way = ("onnxruntime", "float32")
    (row,) = measure_cameras("pwa_light_rooms", "cpu", [way], 120, 160, 0.1, cameras=2)
    assert (row.backend, row.precision, row.cameras) == (*way, 2)
    assert row.times_faster == row.in_turn_ms / row.together_ms > 0.0


@pytest.mark.ros
@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs rclpy")
def test_a_node_is_measured():
    from mono_depth_ros.benchmark.nodes import measure_nodes

    threads = torch.get_num_threads()
    rows = measure_nodes("pwa_light_rooms", "cpu", [("onnxruntime", "float32")], 120, 160, 0.5)
    assert [row.outputs for row in rows] == ["depth", "depth and cloud"]
    for row in rows:
        assert row.rate_hz > 0 and row.latency_ms > 0
        assert row.goal_hz == pytest.approx(1e3 / (row.network_ms + 6.0))
    assert torch.get_num_threads() == threads


@pytest.mark.ros
@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs rclpy")
def test_a_start_is_measured():
    from mono_depth_ros.benchmark.nodes import measure_node_starts

    timing = measure_node_starts("pwa_light_rooms", "cpu", 120, 160, 1)
    assert timing.runs == 1 and timing.median_ms == timing.p95_ms > 100.0
