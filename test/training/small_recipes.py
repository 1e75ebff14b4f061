"""What makes the papers' recipes a matter of seconds: narrow networks on MobileNetV2 at 64x96."""

from __future__ import annotations

NETWORK = (
    "network_settings.backbone=mobilenet_v2",
    "network_settings.backbone_width=0.25",
    "backbone_weights=none",
    "optimizer.frozen=[]",
    "epochs=null",
    "steps=20",
    "batch_size=2",
    "validate_every=20",
    "data.workers=0",
    "device=cpu",
)
SIZE = (
    "network_settings.image_size={height: 64, width: 96}",
    "view={size: {height: 64, width: 96}}",
    "augmentation=[{op: resize}, {op: flip}]",
)
WIDTHS = {
    "pwa": ("decoder_channels=[16, 16, 16, 8, 8]", "aspp_bottleneck=16", "aspp_growth=8"),
    "hma": ("num_features=32", "head_channels=8", "attention_channels=8"),
    "acan": ("key_channels=16", "value_channels=32", "context_channels=16"),
    "asc_gcm": ("decoder_channels=[32, 16, 16, 8, 8]", "gcm_hidden=16", "context_grid=[2, 3]"),
    "look_deeper": ("bottleneck=32", "decoder_channels=[32, 16, 16, 8]"),
    "hgc": ("decoder_channels=[16, 16, 8, 8]", "head_channels=8", "context_grid=[2, 3]"),
}


def narrow(recipe: str, *more: str) -> tuple[str, ...]:
    """Return the overrides that leave a recipe its own augmentation, view and image size."""
    network = next(key for key in WIDTHS if recipe.startswith(key))
    return (*NETWORK, *(f"network_settings.{width}" for width in WIDTHS[network]), *more)


def small(recipe: str, *more: str) -> tuple[str, ...]:
    """Return the overrides that also make its images small."""
    return narrow(recipe, *SIZE, *more)
