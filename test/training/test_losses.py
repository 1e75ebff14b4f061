"""Losses against reference answers of the peers' own code and against first principles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mono_depth_ros.errors import ShapeError
from training.losses import scale_invariant_log

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "metric_vectors.json").read_text())


@pytest.fixture
def case6():
    """Two 8 x 10 maps with 50 invalid pixels, generated as the file says."""
    case = VECTORS["case6_losses"]
    scope = {"np": np}
    exec(case["rng"], scope)
    prediction, target = scope["pred"], scope["gt"]
    target = torch.from_numpy(np.where(target > 0, target, np.nan))
    return torch.from_numpy(prediction), target, case["out"]


PAPER_FORMS = "paper forms (float64, our arithmetic)"


@pytest.mark.parametrize(
    ("expected", "settings"),
    [
        (
            lambda out: out["bts silog_loss(0.85), mask gt>0.1"],
            {"variance_focus": 0.85, "factor": 10.0},
        ),
        (lambda out: out["glpdepth SiLogLoss(0.5)"], {"variance_focus": 0.5}),
        (lambda out: out[PAPER_FORMS]["PWA sqrt lambda .5"], {"variance_focus": 0.5}),
        (
            lambda out: out[PAPER_FORMS]["HMA lambda .85 no sqrt"],
            {"variance_focus": 0.85, "root": False},
        ),
        (
            lambda out: out[PAPER_FORMS]["eigen lambda .5 no sqrt"],
            {"variance_focus": 0.5, "root": False},
        ),
    ],
)
def test_reference_answers(case6, expected, settings):
    prediction, target, out = case6
    loss = scale_invariant_log(prediction, target, **settings).item()
    assert loss == pytest.approx(expected(out), rel=1e-5)


def test_common_scale_is_forgiven_by_the_variance_focus():
    target = torch.full((1, 1, 4, 4), 2.0)
    # e = ln 1.5 everywhere: e^2 - focus e^2.
    square = np.log(1.5) ** 2
    loss = scale_invariant_log(1.5 * target, target, variance_focus=0.5, root=False)
    assert loss.item() == pytest.approx(0.5 * square, rel=1e-5)
    assert scale_invariant_log(1.5 * target, target, 1.0, root=False).item() == pytest.approx(
        0, abs=1e-6
    )


def test_gradient_agrees_with_finite_differences():
    torch.manual_seed(0)
    target = torch.rand(1, 1, 3, 4) * 5 + 1
    target[..., 0, 0] = torch.nan
    prediction = (torch.rand(1, 1, 3, 4) * 5 + 1).requires_grad_()
    loss = scale_invariant_log(prediction, target)
    loss.backward()
    assert prediction.grad[..., 0, 0] == 0
    step = 1e-2
    for i in range(3):
        moved = prediction.detach().clone()
        moved[..., i, 2] += step
        up = scale_invariant_log(moved, target)
        moved[..., i, 2] -= 2 * step
        slope = (up - scale_invariant_log(moved, target)) / (2 * step)
        assert prediction.grad[..., i, 2].item() == pytest.approx(slope.item(), rel=2e-2, abs=1e-4)


def test_nothing_valid_costs_nothing_and_zero_predictions_stay_finite():
    prediction = torch.zeros(1, 1, 4, 4, requires_grad=True)
    loss = scale_invariant_log(prediction, torch.full((1, 1, 4, 4), torch.nan))
    loss.backward()
    assert loss.item() == 0 and (prediction.grad == 0).all()
    assert torch.isfinite(scale_invariant_log(prediction, torch.ones(1, 1, 4, 4)))


def test_perfect_prediction_has_a_finite_gradient():
    target = torch.rand(1, 1, 4, 4) + 1
    prediction = target.clone().requires_grad_()
    scale_invariant_log(prediction, target).backward()
    assert torch.isfinite(prediction.grad).all()


def test_half_precision_is_computed_in_float32():
    target = torch.rand(1, 1, 8, 8) * 5 + 1
    prediction = (target * 1.01).bfloat16()
    assert scale_invariant_log(prediction, target).dtype == torch.float32


def test_near_targets_can_be_left_out():
    target = torch.tensor([[[[0.5, 2.0]]]])
    prediction = torch.tensor([[[[9.0, 2.0]]]])
    assert scale_invariant_log(prediction, target, root=False, nearest_m=1.0).item() == 0


def test_shapes_must_agree():
    with pytest.raises(ShapeError):
        scale_invariant_log(torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4))
