"""Depth to class and back: bias, continuity, monotony, range, all three published readings."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.base import IGNORED_LABEL
from mono_depth_ros.models.discretisation import (
    SpacingIncreasingDiscretisation,
    class_label,
    ordinal_label,
    ordinal_margins,
)

NYU, KITTI = (0.72, 10.0), (1.98, 80.0)
MODES = ["paper", "code", "consistent"]
RANGES = pytest.mark.parametrize("depth_range", [NYU, KITTI])


def sid(depth_range=NYU, bins=80, mode="consistent"):
    return SpacingIncreasingDiscretisation(*depth_range, bins, mode)


def as_pixels(values) -> torch.Tensor:
    """(K, n) → (1, K, 1, n)."""
    return torch.as_tensor(values)[None, :, None, :]


def perfect_ordinal(labels: torch.Tensor, bins: int) -> torch.Tensor:
    """P(label > k) of a network that is always right: (n,) → (1, K, 1, n)."""
    return as_pixels((labels[None] > torch.arange(bins)[:, None]).double())


def round_trip(s, depth_m, head, inference):
    labels = s.labels(depth_m)
    inside = labels != IGNORED_LABEL
    labels = labels[inside]
    if head == "ordinal":
        label = ordinal_label(perfect_ordinal(labels, s.bins), inference)
        answer = s.ordinal_depth_m(label)
    else:
        one_hot = torch.nn.functional.one_hot(labels, s.bins).T.double()
        answer = s.class_depth_m(class_label(as_pixels(one_hot), inference))
    return answer[0, 0, 0], depth_m[inside]


def log_uniform(depth_range, count=20_001):
    low, high = math.log(depth_range[0]), math.log(depth_range[1])
    return torch.linspace(low, high, count, dtype=torch.float64)[1:-1].exp()


class TestLabels:
    @pytest.mark.parametrize(
        ("mode", "expected"),
        # Range 1 to 16 in 4 classes: x = log2(d) / 4. Consistent and paper: floor(log2 d); code:
        # round(3 x), 0 lost: d = 1.5 → round(0.44), 3 → round(1.19), 7 → round(2.11),
        # 15 → round(2.93).
        [
            ("consistent", [-1, 0, 0, 1, 2, 3, 3, -1, -1]),
            ("paper", [-1, 0, 0, 1, 2, 3, 3, -1, -1]),
            ("code", [-1, -1, -1, 1, 2, 3, -1, -1, -1]),
        ],
    )
    def test_by_hand(self, mode, expected):
        depth_m = torch.tensor([0.9, 1.0, 1.5, 3.0, 7.0, 15.0, 16.0, 16.1, math.nan])
        labels = sid((1.0, 16.0), 4, mode).labels(depth_m)
        assert labels.dtype == torch.int64
        assert labels.tolist() == expected

    @pytest.mark.parametrize("mode", MODES)
    def test_what_is_no_depth_is_ignored(self, mode):
        depth_m = torch.tensor([[math.nan, math.inf, -math.inf], [0.0, -3.0, 1e30]])
        assert (sid(mode=mode).labels(depth_m) == IGNORED_LABEL).all()

    @RANGES
    @pytest.mark.parametrize("mode", MODES)
    def test_classes_are_within_range_in_every_precision(self, depth_range, mode):
        depths = log_uniform(depth_range)
        for dtype in (torch.float64, torch.float32, torch.float16):
            labels = sid(depth_range, 80, mode).labels(depths.to(dtype))
            assert labels.min() >= IGNORED_LABEL and labels.max() == 79

    @given(st.floats(0.7201, 9.999), st.integers(2, 200))
    def test_the_label_is_the_interval_the_depth_lies_in(self, depth_m, bins):
        s = sid(NYU, bins)
        label = s.labels(torch.tensor(depth_m, dtype=torch.float64))
        edges = s.threshold_m(torch.stack((label, label + 1)).double())
        assert edges[0] * (1 - 1e-9) <= depth_m <= edges[1] * (1 + 1e-9)


class TestThresholds:
    @RANGES
    @pytest.mark.parametrize(("mode", "last"), [("paper", 79), ("code", 79), ("consistent", 80)])
    def test_geometric_from_end_to_end(self, depth_range, mode, last):
        s = sid(depth_range, 80, mode)
        edges = s.threshold_m(torch.arange(83, dtype=torch.float64))
        assert edges[0].item() == pytest.approx(depth_range[0], rel=1e-9)
        assert edges[last].item() == pytest.approx(depth_range[1], rel=1e-9)
        ratio = (depth_range[1] / depth_range[0]) ** (1 / last)
        torch.testing.assert_close(edges[1:] / edges[:-1], torch.full((82,), ratio).double())


class TestRoundTrip:
    @RANGES
    @pytest.mark.parametrize("head", ["ordinal", "class"])
    @pytest.mark.parametrize("inference", ["soft", "hard"])
    def test_consistent_has_no_bias(self, depth_range, head, inference):
        answer, truth = round_trip(sid(depth_range), log_uniform(depth_range), head, inference)
        error = (answer / truth).log()
        assert abs(error.mean().item()) < 1e-4
        # Half a class: ln(max / min) / 160.
        assert error.abs().max().item() < math.log(depth_range[1] / depth_range[0]) / 160 * 1.0001
        far = truth > truth.max() / 1.25
        assert abs(error[far].mean().item()) < 2e-3

    @RANGES
    @pytest.mark.parametrize("mode", ["paper", "code"])
    def test_published_forms_answer_half_a_class_too_far(self, depth_range, mode):
        answer, truth = round_trip(
            sid(depth_range, 80, mode), log_uniform(depth_range), "ordinal", "hard"
        )
        bias = (answer / truth).log().mean().item()
        # 1.7 % and 2.4 %, half of ln(max / min) / 79.
        assert bias == pytest.approx(math.log(depth_range[1] / depth_range[0]) / 158, rel=0.05)


class TestInference:
    def test_hard_and_soft_by_hand(self):
        # Range 1 to 16, K = 5 with step 2 in the published forms: thresholds 1, 2, 4, 8, 16, 32.
        s = sid((1.0, 16.0), 5, "code")
        p = torch.tensor([0.9, 0.8, 0.3, 0.2, 0.05])[None, :, None, None]
        hard, soft = (ordinal_label(p, inference) for inference in ("hard", "soft"))
        assert hard.item() == 2 and soft.item() == pytest.approx(2.25)
        assert s.ordinal_depth_m(hard).item() == pytest.approx((4 + 8) / 2)
        # (1 - 0.25) * 6 + 0.25 * 12
        assert s.ordinal_depth_m(soft).item() == pytest.approx(7.5)
        # consistent: 16^((2.25 + 0.5) / 5)
        consistent = sid((1.0, 16.0), 5).ordinal_depth_m(soft).item()
        assert consistent == pytest.approx(16 ** (2.75 / 5))

    def test_classes_by_hand(self):
        p = torch.tensor([0.1, 0.2, 0.6, 0.1, 0.0])[None, :, None, None]
        s = sid((1.0, 16.0), 5, "code")
        assert s.class_depth_m(class_label(p, "hard")).item() == pytest.approx(4.0)
        # exp(sum p ln t) = 2^(0.2 + 1.2 + 0.3)
        assert s.class_depth_m(class_label(p, "soft")).item() == pytest.approx(2**1.7)
        centre = sid((1.0, 16.0), 5).class_depth_m(class_label(p, "hard")).item()
        assert centre == pytest.approx(16 ** (2.5 / 5))

    @pytest.mark.parametrize("mode", MODES)
    @given(start=st.floats(0.0, 79.0), step=st.floats(1e-3, 0.9))
    def test_depth_rises_with_the_label_without_jumps(self, mode, start, step):
        s = sid(mode=mode)
        label = torch.tensor([start, start + 1e-6, start + step], dtype=torch.float64)
        near, beside, far = s.ordinal_depth_m(label).tolist()
        assert near < far
        assert beside - near < 1e-5

    @given(st.integers(0, 79), st.floats(0.01, 5.0), st.integers(0, 2**16))
    def test_depth_rises_with_every_logit_for_farther(self, k, more, seed):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(1, 160, 1, 1, generator=generator, dtype=torch.float64)
        raised = logits.clone()
        raised[:, 2 * k + 1] += more
        depths = [
            sid().ordinal_depth_m(ordinal_label(ordinal_margins(x).sigmoid(), "soft"))
            for x in (logits, raised)
        ]
        assert depths[0] < depths[1]

    @RANGES
    def test_consistent_stays_strictly_inside_the_range(self, depth_range):
        s = sid(depth_range)
        ends = torch.tensor([0.0, 80.0])
        for answer in (s.ordinal_depth_m(ends), s.class_depth_m(ends.clamp(max=79.0))):
            assert answer.min() > depth_range[0] and answer.max() < depth_range[1]

    def test_published_forms_reach_past_the_range(self):
        # t_80 = 0.72 exp(80 ln(10 / 0.72) / 79), t_81 likewise.
        step = math.log(10 / 0.72) / 79
        expected = (0.72 * math.exp(80 * step) + 0.72 * math.exp(81 * step)) / 2
        answer = sid(mode="code").ordinal_depth_m(torch.tensor(80.0, dtype=torch.float64))
        assert answer.item() == pytest.approx(expected) and expected > 10.5

    def test_extreme_half_precision_logits_stay_finite(self):
        logits = torch.tensor([-65504.0, 65504.0, 65504.0, -65504.0], dtype=torch.float16)
        p = ordinal_margins(logits.view(1, 4, 1, 1)).sigmoid()
        assert p.flatten().tolist() == [1.0, 0.0]


class TestConfidence:
    def confidence(self, exceeding, label, bins=80):
        s = sid((1.0, 1.25**bins), bins)  # one class is one factor of 1.25
        label = torch.full((1, 1, 1, 1), label, dtype=exceeding.dtype)
        return s.confidence(exceeding, s.ordinal_depth_m(label)).item()

    def test_by_hand(self):
        # Class probabilities 0.1 0.2 0.4 0.2 0.1; the band around the centre of class 2 holds
        # that class and half of both neighbours.
        exceeding = torch.tensor([0.9, 0.7, 0.3, 0.1, 0.0])[None, :, None, None]
        assert self.confidence(exceeding, 2.0, 5) == pytest.approx(0.1 + 0.4 + 0.1)
        # Around the centre of class 0: all of it and half of class 1.
        assert self.confidence(exceeding, 0.0, 5) == pytest.approx(0.1 + 0.1)
        # Half-way between classes 1 and 2: half of 0.2, then 0.2 / 2 ... from t_1 to t_3.
        assert self.confidence(exceeding, 1.5, 5) == pytest.approx(0.2 + 0.4)

    @pytest.mark.parametrize("label", [0, 1, 40, 78, 79])
    def test_certain_is_one(self, label):
        exceeding = perfect_ordinal(torch.tensor([label]), 80)
        assert self.confidence(exceeding.float(), float(label)) == pytest.approx(1.0)

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("head", ["ordinal", "classes"])
    def test_the_band_lies_around_the_answered_depth(self, mode, head):
        """Also where that is half a class from the middle of the label: counted depth by depth."""
        s = sid((1.0, 16.0), 12, mode)
        share = torch.rand(12, generator=torch.Generator().manual_seed(3)).double().softmax(0)
        exceeding = (1.0 - share.cumsum(0)).view(1, 12, 1, 1)
        label = torch.full((1, 1, 1, 1), 5.0, dtype=torch.float64)
        depth_m = s.ordinal_depth_m(label) if head == "ordinal" else s.class_depth_m(label)
        # Depths in every class, as many as it is likely, evenly in ln(depth).
        x = torch.linspace(-0.1, 1.1, 400_001, dtype=torch.float64)
        fine = 16.0**x
        label = (x * 11).round() if mode == "code" else (x * 12).floor()
        fine, label = fine[(label >= 0) & (label < 12)], label[(label >= 0) & (label < 12)].long()
        weight = share[label] / torch.bincount(label, minlength=12)[label]
        near = torch.maximum(fine / depth_m.item(), depth_m.item() / fine) < 1.25
        expected = weight[near].sum().item()
        assert s.confidence(exceeding, depth_m).item() == pytest.approx(expected, rel=1e-3)

    def test_beyond_the_range_is_not_trusted(self):
        assert self.confidence(torch.ones(1, 80, 1, 1), 80.0) == 0.0

    @given(st.floats(5.0, 70.0), st.floats(0.02, 3.0), st.floats(1.05, 3.0))
    def test_sharper_is_more_confident(self, centre, slope, factor):
        # P(class > k) of a logistic around the middle of class `centre`.
        k = torch.arange(80, dtype=torch.float64).view(1, 80, 1, 1)
        blunt, sharp = (
            self.confidence((a * (centre + 0.5 - (k + 1))).sigmoid(), centre)
            for a in (slope, slope * factor)
        )
        assert 0.0 <= blunt < sharp + 1e-9 and sharp <= 1.0

    @given(st.integers(0, 2**16), st.floats(0.0, 80.0))
    def test_any_probabilities_give_a_number_between_0_and_1(self, seed, label):
        exceeding = torch.rand(1, 80, 1, 1, generator=torch.Generator().manual_seed(seed))
        assert 0.0 <= self.confidence(exceeding, label) <= 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0.0, 10.0, 80), "min_depth_m"),
        ((10.0, 10.0, 80), "is no range"),
        ((1.0, 10.0, 1), "bins is 1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SpacingIncreasingDiscretisation(*settings)
