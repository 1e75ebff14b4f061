"""The losses of the papers."""

from training.losses.silog import scale_invariant_log

__all__ = ["scale_invariant_log"]
