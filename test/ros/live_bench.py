"""A depth node whose checkpoint, settings and device change while it serves, and what it says."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
from ros_support import HEIGHT, WIDTH, RampPredictor, make_image, stamp_ns

from mono_depth_ros.decoding import image_to_depth
from mono_depth_ros.errors import CheckpointError

WAIT_S = 15.0


class Named(RampPredictor):
    """Depth is 1 m times the number at the end of the checkpoint's name; `slow*` waits to load."""

    go_on = threading.Event()

    def __init__(self, checkpoint, config):
        super().__init__(checkpoint, config)
        if checkpoint.startswith("missing"):
            raise CheckpointError(f"no checkpoint {checkpoint}; choose from one_1, two_2")
        if checkpoint.startswith("slow"):
            assert Named.go_on.wait(WAIT_S)
        self.info = SimpleNamespace(**vars(RampPredictor.info), sha256="ab" * 32)
        self.info.name = checkpoint
        self.metres = float(checkpoint.rpartition("_")[2])

    def __call__(self, rgb, camera):
        self.calls += 1
        return np.full(rgb.shape[:2], self.metres * self.config.depth_scale, np.float32)

    def network_focal_px(self, camera):
        return camera.fx

    def calibrate(self, calibration, config=None):
        self.config = calibration.applied_to(config or self.config, self.info)


def shown_m(message):
    depth_m = image_to_depth(message)
    assert depth_m.min() == depth_m.max()
    return float(depth_m[0, 0])


def serve(b, depth, stamp):
    return shown_m(answer(b, depth, stamp))


def answer(b, depth, stamp):
    count = len(depth)
    b.send(make_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), stamp))
    b.graph.spin_until(lambda: len(depth) > count)
    assert stamp_ns(depth[-1]) == stamp
    return depth[-1]


def statuses(array):
    return {status.name.rpartition(": ")[2]: status for status in array.status}


def values(status):
    return {pair.key: pair.value for pair in status.values}
