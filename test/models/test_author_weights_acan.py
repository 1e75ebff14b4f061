"""ACAN's authors' tensors in an independent reference, against ours after conversion."""

from __future__ import annotations

import pytest
import torch
from acan_reference import BINS, CONTEXT, FARTHEST_M, KEYS, NEAREST_M, VALUES, AuthorAcan, blotches

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.errors import CheckpointError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.author_weights import AUTHOR_WEIGHTS, convert_state_dict
from training.convert import convert

NARROW = {
    "min_depth_m": NEAREST_M,
    "max_depth_m": FARTHEST_M,
    "bins": BINS,
    "key_channels": KEYS,
    "value_channels": VALUES,
    "context_channels": CONTEXT,
}


@pytest.mark.parametrize("head", ["ordinal", "cross_entropy"])
@pytest.mark.parametrize("inference", ["soft", "hard"])
def test_same_depth_from_the_same_tensors(head, inference):
    authors = AuthorAcan(head, inference)
    settings = NARROW | {"head": head, "inference": inference} | AUTHOR_WEIGHTS["acan"].settings
    network = create_model("acan", settings).eval()
    network.load_state_dict(convert_state_dict("acan", settings, authors.state))
    image = blotches(2, seed=1)
    with torch.no_grad():
        depth_m = network(image)
    expected = authors(image)
    assert expected.std() > 0.01 * expected.mean()
    error = (depth_m / expected - 1).abs()
    if inference == "soft":
        assert error.max() < 1e-4
    else:  # a decision on the edge may fall either way
        assert (error < 1e-4).float().mean() > 0.999


def test_constants_are_those_of_the_code():
    settings = NARROW | AUTHOR_WEIGHTS["acan"].settings
    converted = convert_state_dict("acan", settings, AuthorAcan("ordinal", "soft").state)
    assert (converted["image_mean"] == 0).all() and (converted["image_std"] == 1).all()


def test_auxiliary_head_is_dropped_and_strangers_are_named():
    state = AuthorAcan("ordinal", "soft").state
    auxiliary = {"interout.conv1.weight": torch.zeros(512, 1024, 3, 3)}
    convert_state_dict("acan", NARROW, state | auxiliary)
    with pytest.raises(CheckpointError, match=r"1 \(first decoder\.extra\.bias\) left over"):
        convert_state_dict("acan", NARROW, state | {"decoder.extra.bias": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"first classifier\.conv\.bias\) missing"):
        convert_state_dict(
            "acan", NARROW, {k: v for k, v in state.items() if k != "classifier.conv.bias"}
        )
    with pytest.raises(CheckpointError, match="classifier"):
        convert_state_dict("acan", NARROW | {"head": "cross_entropy"}, state)


def test_files_of_the_authors_trainer_are_read(tmp_path):
    """Their trainer saves the network as `net` among counters; PyTorch 0.4 counted no batches."""
    authors = AuthorAcan("ordinal", "soft")
    state = {k: v for k, v in authors.state.items() if not k.endswith(".num_batches_tracked")}
    record = {"epoch": 3, "acc": 0.8, "net_type": "resnet50_attention", "net": state}
    torch.save(record, tmp_path / "best.pkl")
    convert("acan", tmp_path / "best.pkl", tmp_path / "acan.safetensors", NARROW)
    network, info = load_network(tmp_path / "acan.safetensors")
    assert info.settings["sid_mode"] == "code"
    image = blotches(1, seed=2)
    with torch.no_grad():
        error = (network(image) / authors(image) - 1).abs().max()
    assert error < 1e-4


def test_names_of_parallel_training_are_understood():
    state = AuthorAcan("ordinal", "soft").state
    parallel = {f"module.{key}": value for key, value in state.items()}
    expected = convert_state_dict("acan", NARROW, state)
    converted = convert_state_dict("acan", NARROW, parallel)
    assert all(torch.equal(converted[key], value) for key, value in expected.items())


def test_published_classes_reach_beyond_the_range():
    """With K classes and steps of 1 / (K - 1) the farthest answer is (t_K + t_(K+1)) / 2."""
    network = create_model("acan", {"sid_mode": "code", "bins": 80})
    step = (10.0 / 0.72) ** (1 / 79)
    expected = 0.72 * (step**80 + step**81) / 2
    assert network.max_depth_m == pytest.approx(expected, rel=1e-5)
    assert create_model("acan", {"bins": 80}).max_depth_m == 10.0
