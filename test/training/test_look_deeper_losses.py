"""Attention-driven depth loss and focal loss: numbers worked out by hand, limits, gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.errors import ConfigError, ShapeError
from training.losses.depth_aware import _lambda, depth_aware
from training.losses.semantic import focal_semantic

NAN = math.nan
DISTANCES = ("berhu_log", "berhu", "l1_log", "l1", "l2_log", "l2")
MODES = ("robust", "paper", "none")


def row(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)[None, None, None]


# Depth-aware loss.


def test_weights_by_hand():
    # d = 3, d* = 1: alpha = 0.1, lambda = 1 - ln 2 / ln 4 = 0.5, |e| = 2 m.
    loss = depth_aware(row(3.0, 9.0), row(1.0, NAN), distance="l1")
    assert loss.item() == pytest.approx((0.1 + 0.5) * 2.0)
    loss = depth_aware(row(3.0), row(1.0), distance="l2", lambda_mode="none")
    assert loss.item() == pytest.approx(0.1 * 4.0)
    # d = 2, d* = 4 in the paper's form: 1 - ln 2 / ln 4 = 0.5, alpha 4 / 80.
    loss = depth_aware(row(2.0), row(4.0), 80.0, lambda_mode="paper", distance="l2_log")
    assert loss.item() == pytest.approx((0.05 + 0.5) * math.log(2.0) ** 2)


def test_pixels_are_weighted_before_the_mean():
    # alpha 0.2 and 0.8 without lambda; errors 1 m and 2 m.
    loss = depth_aware(row(3.0, 10.0), row(2.0, 8.0), lambda_mode="none", distance="l1")
    assert loss.item() == pytest.approx((0.2 * 1 + 0.8 * 2) / 2)
    # The batch's largest depth, 8 m, as the normaliser.
    loss = depth_aware(
        row(3.0, 10.0), row(2.0, 8.0), lambda_mode="none", distance="l1", alpha_normaliser="batch"
    )
    assert loss.item() == pytest.approx((0.25 * 1 + 1.0 * 2) / 2)


def test_berhu_of_logarithms_is_the_default():
    # |e| = ln 2 is the largest, so above c = 0.2 ln 2: 2.6 ln 2; alpha 0.4, lambda by hand.
    weight = 0.4 + 1 - math.log(3.0) / math.log(5.0)
    loss = depth_aware(row(2.0), row(4.0))
    assert loss.item() == pytest.approx(weight * 2.6 * math.log(2.0))


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        (2.0, 4.0, 0.5),
        (4.0, 2.0, 0.5),
        (0.8, 0.9, 0.0),  # -1.12 without the clamp
        (0.9, 1.1, 1.0),  # +2.1 without the clamp
        (1.0, 1.0, 0.0),  # 0 / 0
        (0.5, 1.0, 1.0),  # division by ln 1
        (1.0, 3.0, 1.0),
        (7.0, 7.0, 0.0),
    ],
)
def test_lambda_of_the_paper_is_clamped(prediction, target, expected):
    value = _lambda(row(prediction), row(target), "paper")
    assert value.item() == pytest.approx(expected)


depth = st.floats(1e-3, 80.0)


@given(depth, depth)
@settings(max_examples=50, deadline=None)
def test_robust_lambda_lies_in_range_and_is_symmetric(a, b):
    value = _lambda(row(a), row(b), "robust").item()
    assert 0.0 <= value < 1.0
    assert value == _lambda(row(b), row(a), "robust").item()
    assert (value == 0.0) == (math.log1p(a) == math.log1p(b)) or value < 1e-12


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("distance", DISTANCES)
def test_weights_have_no_gradient(mode, distance):
    torch.manual_seed(0)
    target = 0.5 + 5 * torch.rand(1, 1, 3, 4, dtype=torch.float64)
    prediction = (0.5 + 5 * torch.rand(1, 1, 3, 4, dtype=torch.float64)).requires_grad_()
    depth_aware(prediction, target, lambda_mode=mode, distance=distance).backward()
    # The same with the weights as constants.
    again = prediction.detach().clone().requires_grad_()
    weight = target / 10 + _lambda(again.detach(), target, mode)
    error = again.log() - target.log() if distance.endswith("_log") else again - target
    size = error.abs()
    c = 0.2 * size.detach().max()
    pixel_loss = {
        "berhu": torch.where(size <= c, size, (size**2 + c**2) / (2 * c)),
        "l1": size,
        "l2": error**2,
    }[distance.removesuffix("_log")]
    (weight * pixel_loss).mean().backward()
    torch.testing.assert_close(prediction.grad, again.grad)


@pytest.mark.parametrize("distance", ["l1_log", "l1", "l2_log", "l2"])
def test_gradient_with_constant_weights(distance):
    torch.manual_seed(1)
    target = 0.5 + torch.rand(1, 1, 3, 4, dtype=torch.float64)
    target[..., 0, 0] = NAN
    prediction = (2.0 + torch.rand(1, 1, 3, 4, dtype=torch.float64)).requires_grad_()

    def loss(p):
        return depth_aware(p, target, lambda_mode="none", distance=distance)

    assert torch.autograd.gradcheck(loss, (prediction,))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("distance", DISTANCES)
def test_extreme_depths_stay_finite(mode, distance):
    prediction = row(0.0, 1e-12, 1.0, 1.0, 0.5, 1e4, 5.0, dtype=torch.float32).requires_grad_()
    target = row(1e-5, 10.0, 1.0, 0.5, 1.0, 1e-3, NAN, dtype=torch.float32)
    loss = depth_aware(prediction, target, lambda_mode=mode, distance=distance)
    loss.backward()
    assert loss.isfinite() and loss >= 0 and prediction.grad.isfinite().all()
    assert prediction.grad[..., -1] == 0


def test_samples_without_depth_add_nothing():
    torch.manual_seed(2)
    prediction = (1 + torch.rand(3, 1, 4, 5)).requires_grad_()
    target = 1 + torch.rand(3, 1, 4, 5)
    target[1] = NAN
    loss = depth_aware(prediction, target)
    loss.backward()
    assert not prediction.grad[1].any() and prediction.grad[[0, 2]].all()
    torch.testing.assert_close(loss, depth_aware(prediction[[0, 2]], target[[0, 2]]))


def test_no_depth_at_all_costs_nothing():
    prediction = torch.ones(1, 1, 2, 2, requires_grad=True)
    loss = depth_aware(prediction, torch.full((1, 1, 2, 2), NAN))
    loss.backward()
    assert loss.item() == 0.0 and not prediction.grad.any()


def test_depth_aware_float32_under_autocast():
    torch.manual_seed(3)
    prediction, target = (1 + torch.rand(1, 1, 4, 5)).bfloat16(), 1 + torch.rand(1, 1, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        value = depth_aware(prediction, target)
    assert value.dtype == torch.float32
    assert torch.equal(value, depth_aware(prediction.float(), target))


# Focal loss.


def logits_of(probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).log().view(1, -1, 1, 1)


def test_focal_by_hand():
    labels = torch.tensor([[[1]]])
    # p = 0.5: 0.25 * 0.25 * ln 2.
    loss = focal_semantic(logits_of([0.2, 0.5, 0.3]), labels)
    assert loss.item() == pytest.approx(0.25 * 0.25 * math.log(2.0))
    loss = focal_semantic(logits_of([0.6, 0.4]), labels, alpha=1.0, gamma=3.0)
    assert loss.item() == pytest.approx(-(0.6**3) * math.log(0.4))


def test_focal_mean_is_over_labelled_pixels():
    logits = torch.zeros(1, 4, 1, 3, dtype=torch.float64)  # p = 1/4 everywhere
    one = 0.25 * 0.75**2 * math.log(4.0)
    for labels in ([0, 3, 2], [0, -1, -1]):
        assert focal_semantic(logits, torch.tensor([[labels]])).item() == pytest.approx(one)


def test_without_a_pixel_the_loss_is_0():
    empty = torch.zeros(2, 0, 3, dtype=torch.int64)
    assert focal_semantic(torch.zeros(2, 4, 0, 3), empty).item() == 0.0
    assert focal_semantic(torch.zeros(2, 4, 1, 3), empty.new_full((2, 1, 3), -1)).item() == 0.0


def test_gamma_0_is_the_cross_entropy():
    torch.manual_seed(4)
    logits, labels = torch.randn(2, 5, 3, 4), torch.randint(-1, 5, (2, 3, 4))
    loss = focal_semantic(logits, labels, alpha=1.0, gamma=0.0)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, labels, ignore_index=-1))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0])
def test_focal_gradient(gamma):
    torch.manual_seed(5)
    logits = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(-1, 3, (2, 2, 2))
    assert torch.autograd.gradcheck(lambda x: focal_semantic(x, labels, gamma=gamma), (logits,))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("label", [0, 1])
def test_extreme_logits_stay_finite(gamma, label):
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    loss = focal_semantic(logits, torch.tensor([[[label]]]), gamma=gamma)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
    assert loss.item() == pytest.approx(0.25 * 2e4 * label)


def test_samples_without_labels_add_nothing():
    torch.manual_seed(6)
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.randint(0, 3, (2, 4, 5))
    labels[0] = -1
    loss = focal_semantic(logits, labels)
    loss.backward()
    assert not logits.grad[0].any() and logits.grad[1].all()
    torch.testing.assert_close(loss, focal_semantic(logits[1:], labels[1:]))
    nothing = focal_semantic(logits, torch.full((2, 4, 5), -1))
    logits.grad = None
    nothing.backward()
    assert nothing.item() == 0.0 and not logits.grad.any()


def test_focal_float32_under_autocast():
    torch.manual_seed(7)
    logits, labels = torch.randn(1, 3, 4, 5).bfloat16(), torch.randint(-1, 3, (1, 4, 5))
    with torch.autocast("cpu", torch.bfloat16):
        value = focal_semantic(logits, labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, focal_semantic(logits.float(), labels))


@pytest.mark.parametrize(
    "labels",
    [
        torch.zeros(1, 1, 4, 5, dtype=torch.long),
        torch.zeros(1, 4, 4, dtype=torch.long),
        torch.full((1, 4, 5), 3),
        torch.full((1, 4, 5), -2),
        torch.full((1, 4, 5), 255, dtype=torch.uint8),
        torch.zeros(1, 4, 5),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(ShapeError, match=r"labels (are|go|\()"):
        focal_semantic(torch.zeros(1, 3, 4, 5), labels)


def test_gamma_between_0_and_1_is_refused():
    with pytest.raises(ConfigError, match=r"gamma is 0\.5"):
        focal_semantic(torch.zeros(1, 3, 4, 5), torch.zeros(1, 4, 5, dtype=torch.long), gamma=0.5)
