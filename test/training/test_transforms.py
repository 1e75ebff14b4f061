"""Image and depth change together."""

from __future__ import annotations

import pytest
import torch

from training.config import AugmentationConfig
from training.transforms import augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sample():
    """An image whose red channel equals its depth, so that a mismatch shows."""
    depth_m = torch.arange(1.0, 97.0).reshape(1, 8, 12)
    return depth_m.expand(3, 8, 12).to(torch.uint8), depth_m


ONLY_FLIP = AugmentationConfig(1.0, True, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_flip_moves_both():
    image, depth_m = sample()
    flipped, flipped_depth_m = augment(image, depth_m, ONLY_FLIP, generator())
    torch.testing.assert_close(flipped, image.flip(-1))
    torch.testing.assert_close(flipped_depth_m, depth_m.flip(-1))


def test_rotation_mixes_no_depths_and_empties_corners():
    depth_m = torch.full((1, 64, 64), 3.0)
    depth_m[:, :, 32:] = 70.0
    image = depth_m.expand(3, 64, 64).to(torch.uint8)
    config = AugmentationConfig(1.0, False, 30.0, 0.0, 0.0, 0.0, 0.0)
    _, rotated = augment(image, depth_m, config, generator(3))
    assert set(rotated[rotated.isfinite()].unique().tolist()) == {3.0, 70.0}
    assert rotated[0, 0, 0].isnan()
    assert rotated[0, 32, 10].item() == 3.0 and rotated[0, 32, 54].item() == 70.0


def test_colour_changes_leave_depth_alone():
    image, depth_m = sample()
    config = AugmentationConfig(1.0, False, 0.0, 0.2, 0.2, 0.2, 0.1)
    changed, same = augment(image, depth_m, config, generator())
    assert changed.dtype == torch.uint8 and (changed != image).any()
    torch.testing.assert_close(same, depth_m)


def test_same_generator_state_same_result():
    image, depth_m = sample()
    first = augment(image, depth_m, AugmentationConfig(), generator(7))
    again = augment(image, depth_m, AugmentationConfig(), generator(7))
    for a, b in zip(first, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_each_change_happens_about_half_the_time():
    image, depth_m = sample()
    config = AugmentationConfig(0.5, True, 0.0, 0.0, 0.0, 0.0, 0.0)
    source = generator(1)
    flips = sum(
        int((augment(image, depth_m, config, source)[1] != depth_m).any()) for _ in range(400)
    )
    assert flips == pytest.approx(200, abs=40)  # four standard deviations
