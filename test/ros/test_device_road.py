"""The road of a GPU, walked on a CPU: the node publishes what it publishes without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_network import load_known
from ros_support import HEIGHT, WIDTH, make_camera_info, make_image, stamp_ns
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from mono_depth_ros import rectification
from mono_depth_ros.decoding import point_cloud_fields
from mono_depth_ros.predictor import DepthPredictor
from mono_depth_ros.rectification import ImageRectifier

pytestmark = pytest.mark.ros

IMAGES = ("depth/image", "depth/image_mm", "depth/image_color", "confidence", "semantics",
          "attention")  # fmt: skip
# Smooth, so that a grey level of 256, in which the roads may differ, moves nothing else.
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack((40 + COLUMNS, 60 + 2 * ROWS, 250 - COLUMNS - ROWS), -1).astype(np.uint8)


def published(b):
    """Return what a node publishes of one picture of a lens that bends: topic → message."""
    info = make_camera_info()
    info.d = [-0.1, 0.02, 0.0, 0.0, 0.0]
    b.start(info)
    received = {name: b.listen(Image, name) for name in IMAGES}
    received["points"] = b.listen(PointCloud2, "points")
    received["depth/camera_info"] = b.listen(CameraInfo, "depth/camera_info")
    b.send(make_image(RGB, 7))
    b.graph.spin_until(lambda: all(received.values()))
    assert {stamp_ns(messages[0]) for messages in received.values()} == {7}
    b.node.stop(15.0)
    b.graph.executor.remove_node(b.node)
    b.node.destroy_node()
    return {topic: messages[0] for topic, messages in received.items()}


@pytest.mark.parametrize(
    "cloud",
    [
        {},
        {"cloud_layout": "dense", "cloud_max_range_m": 5.0},
        {"output_size": "network", "cloud_stride": 2},
    ],
    ids=["organised", "dense", "network_size"],
)
def test_all_topics_are_those_of_the_other_road(bench, monkeypatch, cloud):
    expected = published(bench(load_known, **cloud))
    uploaded, up = [], DepthPredictor.upload
    monkeypatch.setattr(DepthPredictor, "takes_tensors", True)
    monkeypatch.setattr(
        DepthPredictor, "upload", lambda self, rgb: uploaded.append(up(self, rgb)) or uploaded[-1]
    )
    monkeypatch.setattr(rectification, "_CpuSampler", rectification._TorchSampler)
    seen, sample = [], ImageRectifier.image
    monkeypatch.setattr(
        ImageRectifier, "image", lambda self, rgb: seen.append(rgb) or sample(self, rgb)
    )
    found = published(bench(load_known, **cloud))
    # The black image of the warm-up goes up too.
    assert len(uploaded) == 2 and isinstance(seen[0], torch.Tensor)
    for topic in IMAGES:
        kind = {"32FC1": np.float32, "16UC1": np.uint16}.get(expected[topic].encoding, np.uint8)
        a, b = (np.frombuffer(messages[topic].data, kind) for messages in (expected, found))
        assert a.shape == b.shape and expected[topic].encoding == found[topic].encoding
        largest = 0.05 if kind is np.float32 else 45 if kind is np.uint16 else 3
        assert np.nanmax(np.abs(a.astype(float) - b.astype(float))) <= largest, topic
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    assert found["depth/camera_info"].k.tolist() == expected["depth/camera_info"].k.tolist()
    a, b = (point_cloud_fields(messages["points"]) for messages in (expected, found))
    assert found["points"].is_dense == expected["points"].is_dense
    if cloud.get("cloud_layout") == "dense":
        assert abs(len(a["z"]) - len(b["z"])) < 0.02 * len(a["z"])
    else:
        np.testing.assert_allclose(b["z"], a["z"], atol=0.05)
        np.testing.assert_allclose(b["x"], a["x"], atol=0.05)
