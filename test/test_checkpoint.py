"""Checkpoints: what is written comes back; everything else is refused with a reason."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from mono_depth_ros.checkpoint import (
    CheckpointInfo,
    copy_checkpoint,
    find_checkpoint,
    load_network,
    read_info,
    save_checkpoint,
)
from mono_depth_ros.config import to_mapping
from mono_depth_ros.errors import CheckpointError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize


def metadata_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])["__metadata__"]


def rewrite(source, target, change_tensors=None, change_record=None):
    tensors, record = load_file(source), json.loads(metadata_of(source)["mono_depth"])
    if change_tensors:
        change_tensors(tensors)
    if change_record:
        change_record(record)
    save_file(tensors, target, metadata={"mono_depth": json.dumps(record)})
    return target


def test_network_and_description_come_back(light_checkpoint, tmp_path):
    network, info = load_network(light_checkpoint)
    assert (info.name, info.network, info.training_focal_px) == ("tiny", "pwa", 80.0)
    assert (info.image_size.height, info.image_size.width) == (64, 96)
    assert network.config.grid == (2, 3)
    saved = save_checkpoint(tmp_path / "again.safetensors", network, info)
    again, _ = load_network(tmp_path / "again.safetensors")
    assert saved.sha256 == info.sha256
    image = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(again(image), network(image), rtol=0, atol=0)
    assert list(tmp_path.iterdir()) == [tmp_path / "again.safetensors"]


def test_norm_statistics_keep_full_precision(light_checkpoint):
    tensors = load_file(light_checkpoint)
    assert tensors["up.0.0.weight"].dtype == torch.float16
    assert tensors["up.0.1.running_var"].dtype == torch.float32


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="never loaded"):
        load_network(path)
    disguised = path.rename(tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match="never loaded"):
        load_network(disguised)


def test_half_precision_is_for_large_kernels_alone(tmp_path):
    """The rest would be rounded for no gain: it is small, and the answer depends on it the most."""
    size = {"height": 64, "width": 96}
    network = create_model("pwa", {"image_size": size, "patch_size": 32, "backbone_width": 0.25})
    info = CheckpointInfo("x", "pwa", to_mapping(network.config), ImageSize(64, 96))
    for precision, kernel in (("float16", torch.float16), ("float32", torch.float32)):
        path = tmp_path / f"{precision}.safetensors"
        save_checkpoint(path, network, info, precision)
        tensors = load_file(path)
        assert tensors["up.0.0.weight"].dtype == kernel
        for key in (
            "image_mean",
            "attention.channel_mlps.reduce_bias",
            "up.0.1.running_var",
            "encoder.stages.0.0.0.weight",
            "head.weight",
        ):
            assert tensors[key].dtype == torch.float32
            assert torch.equal(tensors[key], network.state_dict()[key])


def test_a_copy_changes_the_description_alone(light_checkpoint, tmp_path):
    other = replace(read_info(light_checkpoint), name="other")
    copy_checkpoint(light_checkpoint, tmp_path / "copy.safetensors", other)
    before, after = load_file(light_checkpoint), load_file(tmp_path / "copy.safetensors")
    assert before.keys() == after.keys()
    for key, value in after.items():
        assert value.dtype == before[key].dtype and torch.equal(value, before[key])
    _, info = load_network(tmp_path / "copy.safetensors")
    assert info == other


def test_missing_and_surplus_tensors_are_refused(light_checkpoint, tmp_path):
    def drop(tensors):
        del tensors["head.weight"]

    path = rewrite(light_checkpoint, tmp_path / "x.safetensors", drop)
    with pytest.raises(CheckpointError, match="damaged"):
        load_network(path)


def test_tensors_that_do_not_fit_are_refused_by_name(light_checkpoint, tmp_path):
    network, info = load_network(light_checkpoint)
    del network.head
    save_checkpoint(tmp_path / "x.safetensors", network, info)
    with pytest.raises(CheckpointError, match=r"head\.weight"):
        load_network(tmp_path / "x.safetensors")


def test_changed_tensors_are_noticed(light_checkpoint, tmp_path):
    def change(tensors):
        tensors["head.bias"] += 1

    path = rewrite(light_checkpoint, tmp_path / "x.safetensors", change)
    with pytest.raises(CheckpointError, match="hash"):
        load_network(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format=99), "format 99"),
        (lambda r: r.update(network="vgg"), "no network 'vgg'"),
        (lambda r: r["settings"].update(colour="red"), "no setting colour"),
        (lambda r: r.pop("image_size"), "needs image_size"),
        (lambda r: r.update(surprise=1), "no setting surprise"),
    ],
)
def test_bad_records_are_refused(light_checkpoint, tmp_path, change, message):
    path = rewrite(light_checkpoint, tmp_path / "x.safetensors", change_record=change)
    with pytest.raises(CheckpointError, match=message):
        load_network(path)


def test_foreign_and_broken_files_are_refused(light_checkpoint, tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    with pytest.raises(CheckpointError, match="record"):
        read_info(foreign)
    data = light_checkpoint.read_bytes()
    for size in (0, 5, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.safetensors").write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            load_network(tmp_path / "cut.safetensors")


def test_unknown_names_and_paths(tmp_path):
    with pytest.raises(CheckpointError, match="shipped are"):
        find_checkpoint("pwa_heavy_oceans")
    with pytest.raises(CheckpointError, match="no checkpoint file"):
        find_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="no checkpoint file"):
        find_checkpoint(tmp_path)
