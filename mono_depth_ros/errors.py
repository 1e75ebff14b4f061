"""Every error this package raises on purpose.

A message says what came, what is allowed and what to do about it. Only `main` functions print and
exit; the node logs, counts and drops the frame.
"""


class MonoDepthError(Exception):
    """Base of all errors raised by mono_depth_ros."""


class ConfigError(MonoDepthError):
    """A setting is unknown, of the wrong type, or outside its range."""


class ShapeError(MonoDepthError):
    """An array or tensor has a size or type that the called function cannot take."""


class DecodingError(MonoDepthError):
    """A ROS message cannot be decoded: unknown encoding, too few bytes, broken JPEG."""


class CalibrationError(MonoDepthError):
    """Intrinsics, extrinsics or a scale calibration are missing or impossible."""


class CheckpointError(MonoDepthError):
    """A checkpoint is missing, of another format, damaged, or does not fit its network."""


class BagError(MonoDepthError):
    """A bag cannot be read or written, or lacks a topic that the task needs."""


class DataError(MonoDepthError):
    """Training or evaluation data on disk is missing or damaged."""


class DeviceError(MonoDepthError):
    """The requested compute device does not exist on this computer, or has failed."""


class BackendError(MonoDepthError):
    """A backend or its precision does not run here, or its answers differ from PyTorch's."""


class TrainingError(MonoDepthError):
    """A training run cannot go on: it learns nothing any more."""
