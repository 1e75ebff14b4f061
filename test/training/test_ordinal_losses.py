"""ACAN's losses against hand-made cases, explicit loops and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.errors import ShapeError
from training.losses.attention import attention_divergence
from training.losses.ordinal import cross_entropy, ordinal_regression

NAN = math.nan


def logits_for(margins) -> torch.Tensor:
    """(K,) margins of one pixel → (1, 2K, 1, 1) logits with that difference per pair."""
    pairs = [(0.7, 0.7 + margin) for margin in margins]
    return torch.tensor(pairs, dtype=torch.float64).view(1, -1, 1, 1)


def one_label(label: int) -> torch.Tensor:
    return torch.full((1, 1, 1), label)


class TestOrdinal:
    @pytest.mark.parametrize("label", [0, 40, 79])
    def test_ignorance_costs_80_ln_2(self, label):
        loss = ordinal_regression(torch.zeros(1, 160, 2, 3), torch.full((1, 2, 3), label))
        assert loss.item() == pytest.approx(80 * math.log(2), rel=1e-5)

    def test_by_hand(self):
        # P = 0.9, 0.6, 0.2; label 1: -ln 0.9 - ln 0.4 - ln 0.8.
        margins = [math.log(p / (1 - p)) for p in (0.9, 0.6, 0.2)]
        loss = ordinal_regression(logits_for(margins), one_label(1))
        assert loss.item() == pytest.approx(-math.log(0.9) - math.log(0.4) - math.log(0.8))

    def test_equals_the_loop(self):
        torch.manual_seed(0)
        logits = torch.randn(2, 14, 3, 4, dtype=torch.float64) * 3
        labels = torch.randint(-1, 7, (2, 3, 4))
        sums = []
        for b, row, col in (labels != -1).nonzero().tolist():
            y = logits[b, :, row, col].exp()
            p = [y[2 * k + 1] / (y[2 * k] + y[2 * k + 1]) for k in range(7)]
            label = labels[b, row, col]
            sums.append(-sum((p[k] if k < label else 1 - p[k]).log() for k in range(7)))
        expected = torch.stack(sums).mean()
        torch.testing.assert_close(ordinal_regression(logits, labels), expected)

    def test_extreme_logits_cost_what_they_should(self):
        # Wrong by 2000 in one of three questions, right in the others.
        loss = ordinal_regression(logits_for([1000.0, -2000.0, -1000.0]), one_label(2))
        assert loss.item() == pytest.approx(2000.0)


class TestCrossEntropy:
    def test_plain_by_hand(self):
        logits = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().view(1, 3, 1, 1)
        assert cross_entropy(logits, one_label(2)).item() == pytest.approx(-math.log(0.3))

    def test_per_class_by_hand(self):
        logits = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().view(1, 3, 1, 1)
        for label, terms in ((2, (0.3, 0.8, 0.5)), (1, (0.5, 0.8, 0.7)), (0, (0.2, 0.5, 0.7))):
            loss = cross_entropy(logits, one_label(label), "per_class").item()
            assert loss == pytest.approx(-sum(map(math.log, terms)))

    def test_extreme_logits_cost_what_they_should(self):
        # p = 1 for class 0 and e^-1000 for the others; label 1: 1000 for ln p_1, and
        # ln(1 - p_0) = ln(2 e^-1000).
        logits = torch.tensor([1000.0, 0.0, 0.0]).view(1, 3, 1, 1)
        loss = cross_entropy(logits, one_label(1), "per_class").item()
        assert loss == pytest.approx(2000 - math.log(2), rel=1e-6)


CLASS_LOSSES = {
    "ordinal": (ordinal_regression, 10),
    "plain": (cross_entropy, 5),
    "per_class": (lambda y, labels: cross_entropy(y, labels, "per_class"), 5),
}


@pytest.mark.parametrize("loss", CLASS_LOSSES)
class TestClassLosses:
    def case(self, loss, dtype=torch.float64):
        torch.manual_seed(1)
        function, channels = CLASS_LOSSES[loss]
        logits = torch.randn(2, channels, 3, 2, dtype=dtype)
        labels = torch.tensor([[[0, 1], [-1, 4], [2, 3]], [[-1, -1], [4, 4], [0, -1]]])
        return function, logits, labels

    def test_gradient(self, loss):
        function, logits, labels = self.case(loss)
        logits.requires_grad_()
        assert torch.autograd.gradcheck(lambda x: function(x, labels), (logits,))
        function(logits, labels).backward()
        ignored = (labels == -1)[:, None].expand_as(logits)
        assert (logits.grad[ignored] == 0).all() and (logits.grad[~ignored] != 0).all()

    def test_ignored_pixels_do_not_count(self, loss):
        function, logits, labels = self.case(loss)
        changed = torch.where((labels == -1)[:, None], 100.0, logits)
        torch.testing.assert_close(function(changed, labels), function(logits, labels))

    def test_nothing_valid_is_zero(self, loss):
        function, logits, labels = self.case(loss)
        logits.requires_grad_()
        value = function(logits, torch.full_like(labels, -1))
        value.backward()
        assert value.item() == 0.0 and (logits.grad == 0).all()

    def test_full_precision_under_autocast(self, loss):
        function, logits, labels = self.case(loss, torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            value = function(logits, labels)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, function(logits.float(), labels))

    def test_extreme_logits_are_finite(self, loss):
        function, logits, labels = self.case(loss, torch.float32)
        logits = (logits * 1e5).requires_grad_()
        value = function(logits, labels)
        value.backward()
        assert value.isfinite() and logits.grad.isfinite().all()

    def test_labels_of_another_shape_are_refused(self, loss):
        function, logits, labels = self.case(loss)
        with pytest.raises(ShapeError, match="do not belong together"):
            function(logits, labels[:, None])


def loop_divergence(log_attention, depths):
    """Eqs. 6 and 7 with the maximum depth left in; depths is a list of lists, NaN unknown."""
    values = []
    for image, row in enumerate(depths):
        known = [j for j, d in enumerate(row) if not math.isnan(d)]
        for i in known:
            weights = {j: math.exp(math.log(11.0) - abs(math.log(row[i] / row[j]))) for j in known}
            total = sum(weights.values())
            values.append(
                sum(
                    w / total * (math.log(w / total) - log_attention[image, i, j].item())
                    for j, w in weights.items()
                )
            )
    return sum(values) / len(values)


def target_of(depths, rows, cols, side=8):
    """Cells of `side` pixels, each of one depth: (B, 1, side rows, side cols)."""
    grid = torch.tensor(depths, dtype=torch.float64).view(-1, 1, rows, cols)
    return grid.repeat_interleave(side, 2).repeat_interleave(side, 3)


def random_attention(batch, cells, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(batch, cells, cells, generator=generator, dtype=torch.float64)
    return scores.log_softmax(-1)


@pytest.mark.parametrize("pooling", ["mean_log", "nearest"])
class TestAttention:
    DEPTHS = ((1.0, 2.0, 4.0, NAN, 3.0, 2.5), (5.0, NAN, NAN, 1.5, 7.0, 9.0))

    def test_two_pixels_by_hand(self, pooling):
        # Depths 1 and 4: ratio 1/4, target rows (0.8, 0.2) and (0.2, 0.8) against 0.5 each.
        attention = torch.full((1, 2, 2), 0.5, dtype=torch.float64).log()
        loss = attention_divergence(attention, target_of([[1.0, 4.0]], 1, 2), None, pooling)
        assert loss.item() == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4))

    def test_equals_the_loop(self, pooling):
        attention = random_attention(2, 6)
        loss = attention_divergence(attention, target_of(self.DEPTHS, 2, 3), (2, 3), pooling)
        assert loss.item() == pytest.approx(loop_divergence(attention, self.DEPTHS))

    def test_zero_for_the_target_itself(self, pooling):
        d = torch.tensor([1.0, 2.0, 4.0, 8.0, 3.0, 2.5], dtype=torch.float64)
        ratio = torch.minimum(d[:, None], d) / torch.maximum(d[:, None], d)
        attention = (ratio / ratio.sum(1, keepdim=True)).log()[None].requires_grad_()
        loss = attention_divergence(attention, target_of(d.tolist(), 2, 3), None, pooling)
        assert loss.item() == pytest.approx(0.0, abs=1e-12)

    def test_gradient_reaches_the_attention_only(self, pooling):
        target = target_of(self.DEPTHS, 2, 3).requires_grad_()
        scores = random_attention(2, 6).requires_grad_()

        def loss(x):
            return attention_divergence(x.log_softmax(-1), target, None, pooling)

        assert torch.autograd.gradcheck(loss, (scores,))
        loss(scores).backward()
        assert target.grad is None
        assert (scores.grad[0, 3] == 0).all() and (scores.grad[0, 0] != 0).all()

    def test_nothing_valid_is_zero(self, pooling):
        attention = random_attention(1, 4).requires_grad_()
        loss = attention_divergence(attention, torch.full((1, 1, 16, 16), NAN), None, pooling)
        loss.backward()
        assert loss.item() == 0.0 and (attention.grad == 0).all()

    def test_full_precision_under_autocast(self, pooling):
        attention, target = random_attention(2, 6).bfloat16(), target_of(self.DEPTHS, 2, 3).float()
        with torch.autocast("cpu", torch.bfloat16):
            loss = attention_divergence(attention, target, None, pooling)
        assert loss.dtype == torch.float32
        expected = attention_divergence(attention.float(), target, None, pooling)
        torch.testing.assert_close(loss, expected)

    def test_sharpest_attention_is_finite(self, pooling):
        attention = (torch.eye(6)[None] * 1e4).log_softmax(-1).expand(2, -1, -1)
        target = target_of(self.DEPTHS, 2, 3).float()
        assert attention_divergence(attention, target, None, pooling).isfinite()

    def test_another_grid_is_refused(self, pooling):
        with pytest.raises(ShapeError, match=r"needs \(1, 4, 4\)"):
            attention_divergence(
                random_attention(1, 6), torch.ones(1, 1, 16, 16).double(), None, pooling
            )

    @given(st.floats(0.01, 100.0))
    def test_scale_does_not_matter(self, pooling, scale):
        attention, target = random_attention(2, 6), target_of(self.DEPTHS, 2, 3)
        losses = [
            attention_divergence(attention, target * s, None, pooling).item() for s in (1, scale)
        ]
        assert losses[0] == pytest.approx(losses[1])


def test_cells_average_what_is_measured_in_the_logarithm():
    # Cells of 8x8: 1 m and 4 m measured once each (mean of logs 2 m), and 6 m once.
    target = torch.full((1, 1, 8, 16), NAN, dtype=torch.float64)
    target[0, 0, 2, 3], target[0, 0, 7, 7], target[0, 0, 5, 12] = 1.0, 4.0, 6.0
    attention = random_attention(1, 2)
    loss = attention_divergence(attention, target)
    assert loss.item() == pytest.approx(loop_divergence(attention, [[2.0, 6.0]]))
    assert attention_divergence(attention, target, pooling="nearest").item() == 0.0


def test_padding_is_the_networks():
    # 12 x 20 is padded to 16 x 24: 2 rows above and below, 2 columns left and right, so the cells'
    # edges lie at row 6 and columns 6 and 14 of the image.
    depths = [[1.0, 2.0, 4.0, 8.0, 3.0, 2.5]]
    target = target_of(depths, 2, 3)[..., 2:14, 2:22]
    attention = random_attention(1, 6)
    loss = attention_divergence(attention, target)
    assert loss.item() == pytest.approx(loop_divergence(attention, depths))
    assert attention_divergence(attention, target, (2, 3)).item() == pytest.approx(loss.item())


@pytest.mark.parametrize("loss", [ordinal_regression, cross_entropy])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((1, 2, 3), 4), "from 4 to 4, the network has 4 classes"),
        (torch.full((1, 2, 3), 255), "from 255 to 255"),
        (torch.full((1, 2, 3), -2), "from -2 to -2"),
        (torch.zeros(1, 2, 3), "pass integers"),
        (torch.zeros(1, 3, 2, dtype=torch.long), "labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(loss, labels, message):
    channels = 8 if loss is ordinal_regression else 4
    with pytest.raises(ShapeError, match=message):
        loss(torch.zeros(1, channels, 2, 3), labels)


@pytest.mark.parametrize("loss", [ordinal_regression, cross_entropy])
def test_small_integers_are_labels_too(loss):
    labels = torch.tensor([[[0, 3, -1]]])
    logits = torch.randn(1, 8 if loss is ordinal_regression else 4, 1, 3)
    torch.testing.assert_close(loss(logits, labels.to(torch.int32)), loss(logits, labels))
