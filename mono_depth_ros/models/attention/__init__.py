"""Attention modules, one idea per file, each with the paper's equations and tensor shapes."""

from mono_depth_ros.models.attention.attentive_skip import AttentiveSkip
from mono_depth_ros.models.attention.channel_spatial import (
    BottleneckAttention,
    ConvBlockAttention,
    SqueezeExcitation,
)
from mono_depth_ros.models.attention.dual import DualAttention
from mono_depth_ros.models.attention.global_context import GlobalContext
from mono_depth_ros.models.attention.maps import AttentionMaps, Interpolation, enlarge
from mono_depth_ros.models.attention.patch_wise import CellwiseMlp, PatchWiseAttention

__all__ = [
    "AttentionMaps",
    "AttentiveSkip",
    "BottleneckAttention",
    "CellwiseMlp",
    "ConvBlockAttention",
    "DualAttention",
    "GlobalContext",
    "Interpolation",
    "PatchWiseAttention",
    "SqueezeExcitation",
    "enlarge",
]
