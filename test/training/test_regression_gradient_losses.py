"""BerHu, squared error and the Sobel loss: numbers worked out by hand, holes, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.errors import ShapeError
from training.losses.gradient import joint_gradient
from training.losses.regression import berhu, squared_error

NAN = math.nan


def row(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)[None, None, None]


def test_berhu_by_hand():
    # Errors 0.1, -1, 2; c = 0.2 * 2 = 0.4. 0.1 stays; (1 + .16) / .8 = 1.45; (4 + .16) / .8 = 5.2.
    loss = berhu(row(1.1, 1.0, 5.0, 7.0), row(1.0, 2.0, 3.0, NAN))
    assert loss.item() == pytest.approx((0.1 + 1.45 + 5.2) / 3)
    # c = 0.5 * 2 = 1: 0.1; 1 on the threshold; (4 + 1) / 2 = 2.5.
    loss = berhu(row(1.1, 1.0, 5.0), row(1.0, 2.0, 3.0), fraction=0.5)
    assert loss.item() == pytest.approx((0.1 + 1.0 + 2.5) / 3)


def test_berhu_of_logarithms_by_hand():
    # Errors ln 2 and 0; c = 0.2 ln 2: ln 2 * (1 + 0.04) / 0.4 = 2.6 ln 2.
    loss = berhu(row(2.0, 3.0), row(1.0, 3.0), log=True)
    assert loss.item() == pytest.approx(2.6 * math.log(2.0) / 2)


def test_squared_error_by_hand():
    prediction, target = row(1.0, 4.0, 9.0), row(3.0, 1.0, NAN)
    assert squared_error(prediction, target).item() == pytest.approx((4.0 + 9.0) / 2)
    expected = (math.log(3.0) ** 2 + math.log(4.0) ** 2) / 2
    assert squared_error(prediction, target, log=True).item() == pytest.approx(expected)
    assert squared_error(prediction, target, nearest_m=1.0).item() == pytest.approx(4.0)


def test_sobel_by_hand():
    # Prediction rises by 1 per column, target by 2 per row: S_x = 8 and 0, S_y = 0 and 16.
    columns, rows = torch.arange(5.0), torch.arange(4.0)[:, None]
    prediction = (1 + columns).expand(4, 5)[None, None]
    target = (1 + 2 * rows).expand(4, 5)[None, None]
    assert joint_gradient(prediction, target, log=False).item() == pytest.approx(8.0 + 16.0)
    # Depth doubling per column is a slope of ln 2 in the logarithm.
    doubling = (2.0**columns).expand(4, 5)[None, None]
    flat = torch.full((1, 1, 4, 5), 3.0)
    assert joint_gradient(doubling, flat).item() == pytest.approx(8 * math.log(2.0), rel=1e-6)


@given(st.floats(0.1, 10.0), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_sobel_of_logarithms_forgives_a_common_scale(scale, seed):
    target = 0.5 + torch.rand(1, 1, 6, 7, generator=torch.Generator().manual_seed(seed))
    target = target.double()
    assert joint_gradient(scale * target, target).item() == pytest.approx(0.0, abs=1e-12)


def test_sobel_counts_whole_windows_only():
    torch.manual_seed(0)
    prediction = 1 + torch.rand(1, 1, 6, 9, dtype=torch.float64)
    target = 1 + torch.rand(1, 1, 6, 9, dtype=torch.float64)
    target[..., 2, 3] = NAN
    # Windows are named by their centre; those within a pixel of the hole do not count.
    kernel = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64)
    terms = []
    for r in range(1, 5):
        for c in range(1, 8):
            if abs(r - 2) <= 1 and abs(c - 3) <= 1:
                continue
            window = (..., slice(r - 1, r + 2), slice(c - 1, c + 2))
            error = prediction[window].log() - target[window].log()
            terms.append((error * kernel).sum().abs() + (error * kernel.T).sum().abs())
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(joint_gradient(prediction, target), expected)


LOSSES = [
    berhu,
    lambda p, t: berhu(p, t, log=True),
    squared_error,
    lambda p, t: squared_error(p, t, log=True),
    joint_gradient,
    lambda p, t: joint_gradient(p, t, log=False),
]
NAMES = ["berhu", "berhu_log", "squared", "squared_log", "sobel_log", "sobel"]


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_without_a_valid_pixel_loss_and_gradient_are_zero(loss):
    prediction = torch.rand(2, 1, 4, 5, requires_grad=True)
    value = loss(prediction, torch.full((2, 1, 4, 5), NAN))
    value.backward()
    assert value.item() == 0.0 and not prediction.grad.any()


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_holes_and_whole_samples_without_depth_get_no_gradient(loss):
    torch.manual_seed(1)
    prediction = torch.rand(2, 1, 5, 6, requires_grad=True)
    target = 0.5 + torch.rand(2, 1, 5, 6)
    target[0] = NAN
    target[1, 0, 0, 0] = NAN
    loss(prediction, target).backward()
    assert not prediction.grad[0].any() and prediction.grad[1, 0, 0, 0] == 0
    assert prediction.grad[1].any() and prediction.grad.isfinite().all()
    # The sample without depth does not change the mean of the other.
    torch.testing.assert_close(loss(prediction, target), loss(prediction[1:], target[1:]))


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_gradients(loss):
    torch.manual_seed(2)
    target = 1 + torch.rand(1, 1, 4, 5, dtype=torch.float64)
    target[..., 0, 4] = NAN
    prediction = 1 + torch.rand(1, 1, 4, 5, dtype=torch.float64)
    # BerHu's threshold has no gradient by design: the largest error stays out of the check.
    prediction[..., 3, 0] = target[..., 3, 0] + 2.0

    def of_others(others):
        merged = torch.cat((others, prediction.flatten()[15:]))
        return loss(merged.view(1, 1, 4, 5), target)

    others = prediction.flatten()[:15].clone().requires_grad_()
    assert torch.autograd.gradcheck(of_others, (others,))


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
@pytest.mark.parametrize("value", [1e-12, 0.0, 1e4, 1e30])
def test_extreme_predictions_stay_finite(loss, value):
    prediction = torch.full((1, 1, 4, 5), value, requires_grad=True)
    result = loss(prediction, torch.rand(1, 1, 4, 5) + 0.5)
    result.backward()
    assert result.isfinite() and prediction.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_right_predictions_cost_nothing(loss):
    target = torch.rand(1, 1, 4, 5) + 0.5
    prediction = target.clone().requires_grad_()
    value = loss(prediction, target)
    value.backward()
    assert value.item() == 0.0 and not prediction.grad.any()


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_float32_under_autocast(loss):
    torch.manual_seed(3)
    prediction, target = (1 + torch.rand(1, 1, 4, 5)).bfloat16(), 1 + torch.rand(1, 1, 4, 5)
    expected = loss(prediction.float(), target)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(prediction, target)
    assert value.dtype == torch.float32 and torch.equal(value, expected)


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_maps_of_different_shape_are_refused(loss):
    with pytest.raises(ShapeError, match="must agree"):
        loss(torch.ones(1, 1, 4, 5), torch.ones(1, 1, 4, 4))


def test_maps_smaller_than_a_sobel_window_cost_nothing():
    assert joint_gradient(torch.ones(1, 1, 2, 9), torch.full((1, 1, 2, 9), 2.0)).item() == 0.0
