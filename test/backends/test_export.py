"""Exported files: what they answer without this package, what they say of themselves."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_networks import SETTINGS, SIZE, small_network

from mono_depth_ros.backends import export
from mono_depth_ros.backends.export import ExportCheck, export_onnx
from mono_depth_ros.backends.self_test import fixed_pictures
from mono_depth_ros.checkpoint import CheckpointInfo, save_checkpoint
from mono_depth_ros.cli.main import main
from mono_depth_ros.config import to_mapping
from mono_depth_ros.errors import BackendError, ConfigError
from mono_depth_ros.models.base import ImageSize

RGB = fixed_pictures(SIZE)[0]


def info_of(name, network, focal_px=80.0):
    return CheckpointInfo(name, name, to_mapping(network.config), SIZE, training_focal_px=focal_px)


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    """Rendering is not the subject."""
    monkeypatch.setattr(export, "_CHECKS", 2)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_file_takes_bytes_and_answers_metres(name, tmp_path):
    network = small_network(name)
    check = export_onnx(network, info_of(name, network), tmp_path / "n.onnx", products=True)
    assert check.frames == 2
    assert abs(check.change) < 1e-3
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx")
    assert [item.name for item in session.get_inputs()] == ["image", "focal_px"]
    names = [item.name for item in session.get_outputs()]
    assert names == ["depth_m", *network.product_names]
    # A camera of twice the training focal length sees things twice as large.
    answers = session.run(None, {"image": RGB[None], "focal_px": np.array([160.0], np.float32)})
    image = torch.tensor(RGB.transpose(2, 0, 1)[None] / 255.0, dtype=torch.float32)
    with torch.no_grad():
        expected = network.products(image)
    np.testing.assert_allclose(answers[0], 2 * expected["depth_m"].numpy(), rtol=1e-4)
    for product, answer in zip(names[1:], answers[1:], strict=True):
        close = np.isclose(answer, expected[product].numpy(), rtol=1e-3, atol=1e-5)
        assert close.mean() > 0.999


def test_metadata_says_what_a_robot_needs(tmp_path):
    network = small_network("hma")
    export_onnx(network, info_of("hma", network), tmp_path / "n.onnx")
    properties = {item.key: item.value for item in onnx.load(tmp_path / "n.onnx").metadata_props}
    record = json.loads(properties["mono_depth"])
    assert record["name"] == record["network"] == "hma"
    assert (record["height"], record["width"], record["max_depth_m"]) == (64, 96, 10.0)
    assert record["training_focal_px"] == 80.0
    assert "focal_px" in record["intrinsics"]
    assert record["outputs"] == ["depth_m"]


def test_without_a_training_focal_length_there_is_one_input(tmp_path):
    network = small_network("hma")
    info = info_of("hma", network, focal_px=None)
    export_onnx(network, info, tmp_path / "n.onnx", size=ImageSize(64, 128))
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx")
    (image,) = session.get_inputs()
    assert image.shape == [1, 64, 128, 3]


def test_a_size_that_the_network_does_not_take_is_refused(tmp_path):
    network = small_network("pwa")
    with pytest.raises(ConfigError, match=r"64x96 .* only, not 64x128"):
        export_onnx(network, info_of("pwa", network), tmp_path / "n.onnx", size=ImageSize(64, 128))


def test_a_file_that_scores_otherwise_is_not_written(tmp_path, monkeypatch):
    network = small_network("hma")
    worse = ExportCheck(2, pytorch_abs_rel=0.1, file_abs_rel=0.1002, deviation=0.0)
    assert worse.change == pytest.approx(2e-3)
    monkeypatch.setattr(export, "check_graph", lambda *_: worse)
    (tmp_path / "n.onnx").write_text("former")
    with pytest.raises(BackendError, match=r"\+0\.20 %, more than the 0\.1 %"):
        export_onnx(network, info_of("hma", network), tmp_path / "n.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["former"]


def test_the_shipped_checkpoint_by_the_command(tmp_path, capsys):
    assert main(["export", "pwa_light_rooms", "--out", str(tmp_path / "n.onnx")]) == 0
    printed = capsys.readouterr().out
    assert "AbsRel on 2 world frames" in printed
    onnx.checker.check_model(tmp_path / "n.onnx", full_check=True)


@pytest.mark.long
@pytest.mark.parametrize("name", SETTINGS)
def test_int8_of_every_network_runs(name, tmp_path, monkeypatch):
    """Random weights say nothing of accuracy; the shipped ones are held to it below."""
    monkeypatch.setitem(export.ACCURACY_BOUNDS, "int8", 0.5)
    network = small_network(name)
    save_checkpoint(tmp_path / "n.safetensors", network, info_of(name, network))
    arguments = ["export", str(tmp_path / "n.safetensors"), "--out", str(tmp_path / "n.onnx")]
    assert main([*arguments, "--precision", "int8"]) == 0
    kinds = {node.op_type for node in onnx.load(tmp_path / "n.onnx").graph.node}
    assert "QuantizeLinear" in kinds
