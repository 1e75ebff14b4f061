"""Fixtures that several test folders share."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
import torch

from mono_depth_ros.checkpoint import CheckpointInfo, save_checkpoint
from mono_depth_ros.config import to_mapping
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize

# The tests' networks are tiny: a second thread costs more in barriers than it saves, and a great
# deal more on a computer that is busy with something else.
torch.set_num_threads(1)
# A busy computer is no reason for a test to fail.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several pytest processes one runs all nodes, and no file's tests are divided.

    Nodes compete for both cores; fixtures of a file are made once.
    """
    nodes = Path(__file__).parent / "ros"
    for item in items:
        group = "ros" if nodes in item.path.parents else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


TINY_PWA = {
    "image_size": {"height": 64, "width": 96},
    "backbone_width": 0.25,
    "decoder_channels": [16, 16, 16, 16],
    "aspp_bottleneck": 16,
    "aspp_growth": 8,
    "patch_size": 32,
}


@pytest.fixture(scope="session")
def light_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a small untrained PWA for 64x96 images, training focal length 80 px."""
    torch.manual_seed(0)
    network = create_model("pwa", TINY_PWA)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    info = CheckpointInfo(
        name="tiny",
        network="pwa",
        settings=to_mapping(network.config),
        image_size=ImageSize(64, 96),
        training_focal_px=80.0,
    )
    save_checkpoint(path, network, info)
    return path
