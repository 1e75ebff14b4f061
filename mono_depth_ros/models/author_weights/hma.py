"""Names in the state dict of github.com/saranew/HMA-Depth (class BtsModel with `model_ag`)."""

from __future__ import annotations

from mono_depth_ros.models.author_weights.names import AuthorNames
from mono_depth_ros.models.base import DepthNetwork

CODE_SETTINGS = {"compat_pad": True}
"""Settings under which our network computes what theirs computes, KITTI's focal factor aside."""

# Our module → theirs. Encoders are torchvision's in both.
_MODULES = {
    "decoder.up16.conv": "decoder.upconv5.conv",
    "decoder.up16.norm": "decoder.bn5",
    "decoder.fuse16.0": "decoder.conv5.0",
    "decoder.up8.conv": "decoder.upconv4.conv",
    "decoder.up8.norm": "decoder.bn4",
    "decoder.fuse8.0": "decoder.conv4.0",
    "decoder.norm8": "decoder.bn4_2",
    "decoder.aspp.merge.0": "decoder.daspp_conv.0",
    "decoder.up4.conv": "decoder.upconv3.conv",
    "decoder.up4.norm": "decoder.bn3",
    "decoder.fuse4.0": "decoder.conv3.0",
    "decoder.up2.conv": "decoder.upconv2.conv",
    "decoder.up2.norm": "decoder.bn2",
    "decoder.fuse2.0": "decoder.conv2.0",
    "decoder.up1.conv": "decoder.upconv1.conv",
    "depth_heads.h8": "decoder.head1",
    "depth_heads.h4": "decoder.head2",
    "depth_heads.h2": "decoder.head3",
    "depth_heads.h1": "decoder.head4",
    "attention_heads.h8": "decoder.ag1.ag",
    "attention_heads.h4": "decoder.ag2.ag",
    "attention_heads.h2": "decoder.ag3.ag",
}

# Layer of our ASPP branch → theirs.
_BRANCH_LAYERS = {
    "0": "first_bn",
    "2": "aconv_sequence.1",
    "3": "aconv_sequence.2",
    "5": "aconv_sequence.4",
}

# Built by the authors' code, never used in `forward`.
_UNUSED = (
    "encoder.base_model.fc.",
    "decoder.reduc1x1.",
    "decoder.conv1.",
    "decoder.get_depth.",
    "decoder.ag_conv",
    "decoder.ag_get_depth.",
)


def author_names(network: DepthNetwork) -> AuthorNames:
    """Return the names of their tensors for an `Hma`."""
    rates = network.config.aspp_rates
    names = {
        name: _encoder_name(name) if name.startswith("encoder.") else _decoder_name(name, rates)
        for name in network.state_dict()
        if not name.startswith("image_")
    }
    # Their variant without H computes this map and drops it.
    without_h = ("decoder.upconv1.",) if network.config.scales == "without_h" else ()
    return AuthorNames(names, _UNUSED + without_h)


def _encoder_name(name: str) -> str:
    """`encoder.stages.2.layer2.0.…` → `encoder.base_model.layer2.0.…`."""
    return "encoder.base_model." + name.split(".", 3)[3]


def _decoder_name(name: str, rates: tuple[int, ...]) -> str:
    if name.startswith("decoder.aspp.branches."):
        branch, layer, tensor = name.removeprefix("decoder.aspp.branches.").split(".")
        return f"decoder.daspp_{rates[int(branch)]}.atrous_conv.{_BRANCH_LAYERS[layer]}.{tensor}"
    module = next(module for module in _MODULES if name.startswith(module + "."))
    return _MODULES[module] + name.removeprefix(module)
