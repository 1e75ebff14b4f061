"""Image and depth change together."""

from __future__ import annotations

import pytest
import torch

from training.config import AugmentationConfig
from training.transforms import augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sample():
    """An image whose red channel equals its depth and label, so that a mismatch shows."""
    depth_m = torch.arange(1.0, 97.0).reshape(1, 8, 12)
    image = depth_m.expand(3, 8, 12).to(torch.uint8)
    return {"image": image, "depth_m": depth_m, "labels": depth_m.long()}


ONLY_FLIP = AugmentationConfig(1.0, True, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_flip_moves_all_maps():
    maps = sample()
    flipped = augment(maps, ONLY_FLIP, generator())
    for key, value in maps.items():
        torch.testing.assert_close(flipped[key], value.flip(-1))


def test_rotation_mixes_no_depths_and_empties_corners():
    depth_m = torch.full((1, 64, 64), 3.0)
    depth_m[:, :, 32:] = 70.0
    maps = {
        "image": depth_m.expand(3, 64, 64).to(torch.uint8),
        "depth_m": depth_m,
        "labels": depth_m.to(torch.int16),
    }
    config = AugmentationConfig(1.0, False, 30.0, 0.0, 0.0, 0.0, 0.0)
    rotated = augment(maps, config, generator(3))
    depths, labels = rotated["depth_m"], rotated["labels"]
    assert set(depths[depths.isfinite()].unique().tolist()) == {3.0, 70.0}
    assert depths[0, 0, 0].isnan()
    assert depths[0, 32, 10].item() == 3.0 and depths[0, 32, 54].item() == 70.0
    torch.testing.assert_close(labels, depths.nan_to_num(-1.0).to(torch.int16))


def test_colour_changes_leave_depth_alone():
    maps = sample()
    config = AugmentationConfig(1.0, False, 0.0, 0.2, 0.2, 0.2, 0.1)
    changed = augment(maps, config, generator())
    assert changed["image"].dtype == torch.uint8 and (changed["image"] != maps["image"]).any()
    torch.testing.assert_close(changed["depth_m"], maps["depth_m"])


def test_same_generator_state_same_result():
    first = augment(sample(), AugmentationConfig(), generator(7))
    again = augment(sample(), AugmentationConfig(), generator(7))
    for key, value in first.items():
        torch.testing.assert_close(value, again[key], rtol=0, atol=0, equal_nan=True)


def test_each_change_happens_about_half_the_time():
    maps = sample()
    config = AugmentationConfig(0.5, True, 0.0, 0.0, 0.0, 0.0, 0.0)
    source = generator(1)
    flips = sum(
        int((augment(maps, config, source)["depth_m"] != maps["depth_m"]).any()) for _ in range(400)
    )
    assert flips == pytest.approx(200, abs=40)  # four standard deviations
