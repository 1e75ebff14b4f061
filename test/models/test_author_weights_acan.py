"""ACAN's authors' tensors in an independent reference, against ours after conversion."""

from __future__ import annotations

import pytest
import torch
from acan_reference import BINS, CONTEXT, FARTHEST_M, KEYS, NEAREST_M, VALUES, AuthorAcan, blotches

from mono_depth_ros.errors import CheckpointError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.author_weights import AUTHOR_WEIGHTS, convert_state_dict

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
