"""The losses of the papers.

All take NaN as no measurement and label -1 as no class, compute in float32 or better whatever
autocast says, and are exactly 0 with zero gradient where nothing is valid.
"""

from training.losses.attention import attention_divergence
from training.losses.depth_aware import depth_aware
from training.losses.gradient import joint_gradient
from training.losses.ordinal import cross_entropy, ordinal_regression
from training.losses.regression import berhu, squared_error
from training.losses.semantic import focal_semantic
from training.losses.silog import scale_invariant_log

__all__ = [
    "attention_divergence",
    "berhu",
    "cross_entropy",
    "depth_aware",
    "focal_semantic",
    "joint_gradient",
    "ordinal_regression",
    "scale_invariant_log",
    "squared_error",
]
