"""ACAN: its attention against an explicit loop, parameters, switches, products."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as functional
from torchvision.models.mobilenetv2 import InvertedResidual

from mono_depth_ros.config import load_yaml
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.acan import ImageContext, SelfAttention

TINY = {
    "image_size": {"height": 64, "width": 96},
    "backbone": "mobilenet_v2",
    "backbone_width": 0.25,
    "bins": 12,
    "key_channels": 16,
    "value_channels": 24,
    "context_channels": 8,
}
HEADS = [
    (head, inference) for head in ("ordinal", "cross_entropy") for inference in ("soft", "hard")
]


def tiny(seed=0, spread=1.0, **settings):
    """A small network in eval mode whose norms know its features."""
    torch.manual_seed(seed)
    network = create_model("acan", TINY | settings)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
        # Fresh residual branches are quiet; full ones make the answers vary over the image.
        if isinstance(module, InvertedResidual):
            torch.nn.init.ones_(module.conv[-1].weight)
    with torch.no_grad():
        network(torch.rand(4, 3, 64, 96))
        network.classifier.weight *= spread
    return network.eval()


class TestAttention:
    def test_equals_the_loop(self):
        torch.manual_seed(0)
        module = SelfAttention(6, 5, 7)
        with torch.no_grad():
            module.key[1].weight.uniform_(0.5, 1.5)
        module.eval()
        features = torch.randn(2, 6, 3, 4)
        with torch.no_grad():
            context, log_attention = module(features)
            keys, values = module.key(features), module.value(features)
        for image in range(2):
            for i in range(12):
                q = keys[image, :, i // 4, i % 4]
                weights = [
                    math.exp(float(q @ keys[image, :, j // 4, j % 4]) / math.sqrt(5))
                    for j in range(12)
                ]
                row = torch.tensor(weights) / sum(weights)
                torch.testing.assert_close(log_attention[image, i].exp(), row)
                expected = sum(row[j] * values[image, :, j // 4, j % 4] for j in range(12))
                torch.testing.assert_close(context[image, :, i // 4, i % 4], expected)

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
    def test_rows_sum_to_one(self, scale):
        torch.manual_seed(1)
        _, log_attention = SelfAttention(8, 16, 4)(scale * torch.randn(2, 8, 5, 6))
        assert log_attention.shape == (2, 30, 30)
        torch.testing.assert_close(log_attention.exp().sum(-1), torch.ones(2, 30))

    def test_half_precision_does_not_overflow(self):
        torch.manual_seed(2)
        module = SelfAttention(8, 512, 4).eval().half()
        # Keys of about 14: a product of 512 x 14^2, above float16's 65504 before scaling.
        context, log_attention = module(30 * torch.randn(1, 8, 4, 4).half())
        assert context.isfinite().all() and log_attention.dtype == torch.float32
        assert log_attention.isfinite().all()

    def test_image_context_is_the_mean_everywhere(self):
        torch.manual_seed(3)
        module = ImageContext(6, 5, 0.0)
        features = torch.randn(2, 6, 3, 4)
        context = module(features)
        assert context.shape == (2, 5, 3, 4)
        expected = module.layers(features.flatten(2).mean(-1))
        for row, col in ((0, 0), (2, 3)):
            torch.testing.assert_close(context[..., row, col], expected)


class TestParameters:
    @pytest.mark.parametrize(
        ("backbone", "total"), [("resnet50", 73_389_792), ("resnet101", 92_381_920)]
    )
    def test_equal_the_authors_counts(self, backbone, total):
        with torch.device("meta"):
            network = create_model("acan", {"backbone": backbone})
        parts = {
            name: sum(p.numel() for p in part.parameters())
            for name, part in network.named_children()
        }
        # 3x3 and 1x1 convolutions of 2048 channels; 1x1 to 512 with a norm.
        assert parts["attention"] == 41_947_136 + 1_050_112
        assert parts["context"] == 1_311_744
        assert parts["merge"] == 5_244_928
        assert parts["classifier"] == 327_840
        assert sum(parts.values()) == total

    def test_cross_entropy_has_half_the_classifier(self):
        with torch.device("meta"):
            network = create_model("acan", {"head": "cross_entropy"})
        assert sum(p.numel() for p in network.parameters()) == 73_389_792 - 80 * 2049

    def test_without_image_context(self):
        with torch.device("meta"):
            network = create_model("acan", {"image_context": False})
        # The branch, and its 512 channels in the merge.
        expected = 73_389_792 - 1_311_744 - 512 * 2048
        assert sum(p.numel() for p in network.parameters()) == expected

    def test_light_preset_is_small(self, pytestconfig):
        settings = load_yaml(pytestconfig.rootpath / "config/networks/acan_light.yaml")["settings"]
        with torch.device("meta"):
            network = create_model("acan", settings)
        assert sum(p.numel() for p in network.parameters()) <= 2_000_000


class TestOutputs:
    @pytest.mark.parametrize(("head", "inference"), HEADS)
    def test_one_answer_on_all_three_roads(self, head, inference):
        network = tiny(head=head, inference=inference, spread=10.0)
        image = torch.rand(2, 3, 70, 101)  # padded to 72 x 104
        with torch.no_grad():
            depth_m = network(image)
            outputs = network.training_outputs(image)
            products = network.products(image)
        name, channels = ("ordinal_logits", 24) if head == "ordinal" else ("class_logits", 12)
        assert outputs[name].shape == (2, channels, 70, 101)
        assert outputs["log_attention"].shape == (2, 9 * 13, 9 * 13)
        assert depth_m.std() > 0.01
        # Upsampling differences or all logits may round a hard decision differently.
        same = ((outputs["depth_m"] / depth_m - 1).abs() < 1e-4).float().mean()
        assert same > (0.999 if inference == "hard" else 0.99999)
        torch.testing.assert_close(products["depth_m"], depth_m)

    @pytest.mark.parametrize("inference", ["soft", "hard"])
    def test_depth_is_what_the_logits_say(self, inference):
        network = tiny(inference=inference, spread=10.0)
        with torch.no_grad():
            outputs = network.training_outputs(torch.rand(1, 3, 64, 96))
        y = outputs["ordinal_logits"].double().exp()
        p = y[:, 1::2] / (y[:, 0::2] + y[:, 1::2])
        label = (p > 0.5).sum(1) if inference == "hard" else p.sum(1)
        # 12 classes of 0.72 to 10 m, geometric centres.
        expected = 0.72 * (10 / 0.72) ** ((label.double() + 0.5) / 12)
        torch.testing.assert_close(outputs["depth_m"][:, 0].double(), expected, rtol=1e-5, atol=0)

    def test_logits_are_upsampled_as_asked(self):
        networks = [tiny(align_corners=flag) for flag in (True, False)]
        image = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            aligned, other = (n.training_outputs(image)["ordinal_logits"] for n in networks)
            coarse = networks[0]._run(image)[0]
        # Aligned corners: pixel 0 is cell 0, pixel 63 cell 7; otherwise the same by clamping,
        # but cell 1 is reached at pixel 9 of 64 instead of between 11 and 12.
        torch.testing.assert_close(aligned[..., 63, 95], coarse[..., 7, 11])
        torch.testing.assert_close(other[..., 63, 95], coarse[..., 7, 11])
        torch.testing.assert_close(aligned[..., 9, 0], coarse[..., 1, 0])
        assert (other[..., 9, 0] - coarse[..., 1, 0]).abs().max() > 1e-4

    def test_normalisation_can_be_the_codes(self):
        with_mean, plain = tiny(), tiny(imagenet_normalisation=False)
        image = torch.rand(1, 3, 64, 96)
        assert torch.equal(plain.normalise(image), image)
        assert not torch.equal(with_mean.normalise(image), image)

    @pytest.mark.parametrize("mode", ["paper", "code"])
    def test_published_modes_answer_farther(self, mode):
        consistent, published = tiny(), tiny(sid_mode=mode)
        image = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            assert (published(image) > consistent(image)).all()


class TestProducts:
    @pytest.mark.parametrize(("head", "inference"), HEADS)
    def test_confidence_rises_with_the_contrast_of_the_logits(self, head, inference):
        network = tiny(head=head, inference=inference, bins=40)
        margin = torch.linspace(3, -3, 40)
        # Ordinal: certain near, certain not far; classes: a peak in the middle.
        bias = torch.stack((-margin, margin), 1).flatten() / 2
        if head == "cross_entropy":
            bias = -margin.square()
        means = []
        for contrast in (0.3, 1.0, 3.0):
            with torch.no_grad():
                network.classifier.weight.zero_()
                network.classifier.bias.copy_(contrast * bias)
                confidence = network.products(torch.rand(1, 3, 64, 96))["confidence"]
            assert confidence.shape == (1, 1, 64, 96)
            assert confidence.min() >= 0 and confidence.max() <= 1
            means.append(confidence.mean().item())
        assert means[0] < means[1] < means[2]

    @pytest.mark.parametrize("head", ["ordinal", "cross_entropy"])
    def test_temperature_changes_confidence_alone(self, head):
        """A temperature of t is the same as evidence of 1 / t, where the depth is the same."""
        plain, warm = tiny(head=head), tiny(head=head, confidence_temperature=4.0)
        assert (plain.confidence_calibrated, warm.confidence_calibrated) == (False, True)
        image = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            products, changed = plain.products(image), warm.products(image)
            for key in ("depth_m", "attention"):
                assert torch.equal(products[key], changed[key])
            name = "ordinal_logits" if head == "ordinal" else "class_logits"
            logits = plain.training_outputs(image)[name] / 4.0
            expected = plain.confidence(plain.evidence(logits), products["depth_m"], 1.0)
        torch.testing.assert_close(changed["confidence"], expected, rtol=1e-4, atol=1e-5)
        assert (changed["confidence"] - products["confidence"]).abs().max() > 1e-3

    def test_one_is_the_networks_own_distribution(self):
        image = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            first, second = (tiny(confidence_temperature=t).products(image) for t in (None, 1.0))
        assert torch.equal(first["confidence"], second["confidence"])

    @pytest.mark.parametrize(
        ("pixel", "cell"), [(None, (4, 6)), ((0, 0), (0, 0)), ((63, 95), (7, 11))]
    )
    def test_attention_is_the_row_of_its_pixel(self, pixel, cell):
        network = tiny(attention_pixel=pixel)
        image = torch.rand(2, 3, 64, 96)
        with torch.no_grad():
            attention = network.products(image)["attention"]
            log_attention = network.training_outputs(image)["log_attention"]
        row = log_attention[:, cell[0] * 12 + cell[1]].exp().view(2, 8, 12)
        assert attention.shape == (2, 1, 64, 96) and attention.min() >= 0
        # With aligned corners these pixels are cells.
        for y, x in ((0, 0), (0, 11), (7, 0), (7, 11)):
            torch.testing.assert_close(attention[:, 0, 9 * y, 95 * x // 11], row[:, y, x])

    def test_attention_pixel_counts_from_the_images_corner(self):
        # 70 x 101 is padded by 1 row and 1 column before: pixel (7, 7) lies in cell (1, 1).
        network = tiny(image_size={"height": 70, "width": 101}, attention_pixel=(7, 7))
        image = torch.rand(1, 3, 70, 101)
        with torch.no_grad():
            attention = network.products(image)["attention"]
            rows = (
                network.training_outputs(image)["log_attention"][0].exp().view(9, 13, 1, 1, 9, 13)
            )
        full = [
            functional.interpolate(row, size=(72, 104), mode="bilinear", align_corners=True)
            for row in (rows[1, 1], rows[0, 0])
        ]
        torch.testing.assert_close(attention, full[0][..., 1:71, 1:102])
        assert (attention - full[1][..., 1:71, 1:102]).abs().max() > 1e-3
        assert network.product_names == ("confidence", "attention")
        assert len(network.attention_names) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_depth_m": 10.0}, "is no range"),
        ({"min_depth_m": 0.0}, "0 < min_depth_m"),
        ({"bins": 1}, "bins is 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"key_channels": 0}, "must be 1 or more"),
        ({"confidence_temperature": 0.0}, "confidence_temperature is 0.0"),
        ({"attention_pixel": (64, 0)}, r"attention_pixel is \(64, 0\)"),
        ({"head": "regression"}, "choose from"),
        ({"sid_mode": "dorn"}, "choose from"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        create_model("acan", TINY | settings)
