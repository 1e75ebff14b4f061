"""What TensorBoard shows of a run: pictures of a validation image, attention, and numbers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tiny_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mono_depth_ros.checkpoint import load_network
from training.train import train

STEPS = 2
ACAN = """\
network: acan
settings:
  image_size: {height: 64, width: 96}
  backbone: mobilenet_v2
  backbone_width: 0.25
  key_channels: 16
  value_channels: 32
  context_channels: 16
"""


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return tmp_path_factory.mktemp("frames")


def events_of(frames, out, *more):
    config = tiny_run.load(frames, f"steps={STEPS}", f"validate_every={STEPS}", *more)
    train(config, out)
    events = EventAccumulator(str(out / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    return events


def picture(events, tag):
    """Return the only picture of a tag, (h, w, 3) RGB."""
    (event,) = events.Images(tag)
    assert event.step == STEPS
    bgr = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    return bgr[..., ::-1]


def test_pictures_and_numbers_of_pwa(frames, tmp_path):
    events = events_of(frames, tmp_path / "run")
    network, _ = load_network(tmp_path / "run" / "last.safetensors")
    attention = {f"attention/{name}" for name in network.attention_names}
    tags = {"image", "depth/truth", "depth/answer", *attention}
    assert attention and set(events.Tags()["images"]) == tags
    for tag in tags:
        assert picture(events, tag).shape == (64, 96, 3), tag
    # The first validation image, as it is.
    (path,) = frames.glob("*_100_102_2/rgb/000000.*")
    stored = cv2.imread(str(path))[..., ::-1]
    np.testing.assert_allclose(picture(events, "image"), stored.astype(float), atol=1.0)
    assert (picture(events, "depth/truth") != picture(events, "depth/answer")).any()
    # Stretched from black to white.
    for tag in attention:
        grey = picture(events, tag)
        assert (grey.min(), grey.max()) == (0, 255) and (grey == grey[..., :1]).all()
    numbers = set(events.Tags()["scalars"])
    assert numbers >= {"loss", "loss/silog", "learning_rate", "validation/abs_rel"}
    assert "time/waiting_for_data" in numbers
    assert [event.step for event in events.Scalars("loss")] == [1, 2]


def test_attention_of_acan(frames, tmp_path):
    network = frames / "acan.yaml"
    network.write_text(ACAN)
    more = (f"network={network}", "loss={ordinal: {}, attention: {}}")
    events = events_of(frames, tmp_path / "run", *more)
    names = {"image", "depth/truth", "depth/answer", "attention/attention_pixel"}
    assert set(events.Tags()["images"]) == names
    assert picture(events, "attention/attention_pixel").std() > 0
