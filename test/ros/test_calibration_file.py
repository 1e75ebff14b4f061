"""The node's calibration_file: read when configured, never on top of another scale."""

from types import SimpleNamespace

import numpy as np
import pytest
from lifecycle_msgs.msg import State
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_support import HEIGHT, WIDTH, RampPredictor

from mono_depth_ros.calibration import (
    CalibratedCamera,
    CalibrationFile,
    Residuals,
    save_calibration,
)
from mono_depth_ros.predictor import InferenceConfig
from mono_depth_ros.ros.depth_node import DepthNode

pytestmark = pytest.mark.ros

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
SHA256, OTHER_SHA256 = "ab" * 32, "cd" * 32


class CalibratedRamp(RampPredictor):
    info = SimpleNamespace(**vars(RampPredictor.info), sha256=SHA256)

    def calibrate(self, calibration, config=None):
        self.config = calibration.applied_to(config or self.config, self.info)


@pytest.fixture
def node_with(graph):
    def make(**parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        return graph.add(DepthNode(CalibratedRamp, parameter_overrides=overrides))

    return make


@pytest.fixture
def write_calibration(tmp_path):
    """Return a function that writes a calibration with depth_scale 2 and returns its path."""

    def write(sha256=SHA256):
        errors = Residuals(1, 0.1, 0.1, 1.0)
        camera = CalibratedCamera(80.0, WIDTH, HEIGHT, 80.0)
        fitted = ("scale", 2.0, "ramp", sha256, camera, (1.0, 9.0), 1, 0, 1, "odd frames")
        path = tmp_path / "calibration.yaml"
        save_calibration(path, CalibrationFile(*fitted, errors, errors))
        return str(path)

    return write


def test_it_scales_depth_and_locks_the_scale(node_with, write_calibration, capfd):
    node = node_with(calibration_file=write_calibration())
    assert node.trigger_configure() == SUCCESS
    assert "calibration.yaml" in capfd.readouterr().err
    for name in ("depth_scale", "inverse_depth_shift_per_m"):
        refused = node.set_parameters([Parameter(name, value=0.5)])[0]
        assert not refused.successful and "besides a calibration file" in refused.reason
    # What has nothing to do with scale may still be set, and a refusal leaves no trace.
    assert node.set_parameters([Parameter("max_depth_m", value=5.0)])[0].successful
    assert node.network.loaded.predictor.config == InferenceConfig(depth_scale=2.0, max_depth_m=5.0)
    # 51 / 25.5 = 2 m, twice.
    assert (
        node.network.loaded.predictor(np.full((HEIGHT, WIDTH, 3), 51, np.uint8), None)[0, 0] == 4.0
    )


def test_it_is_read_again_with_every_configuration(node_with, write_calibration):
    node = node_with(calibration_file=write_calibration())
    assert node.trigger_configure() == SUCCESS
    node.trigger_cleanup()
    write_calibration(OTHER_SHA256)
    assert node.trigger_configure() == FAILURE
    write_calibration()
    assert node.trigger_configure() == SUCCESS


def test_without_it_scale_and_shift_are_settable(node_with):
    node = node_with()
    assert node.trigger_configure() == SUCCESS
    changes = [
        Parameter("depth_scale", value=1.5),
        Parameter("inverse_depth_shift_per_m", value=0.1),
    ]
    assert node.set_parameters_atomically(changes).successful
    expected = InferenceConfig(depth_scale=1.5, inverse_depth_shift_per_m=0.1)
    assert node.network.loaded.predictor.config == expected


@pytest.mark.parametrize(
    ("sha256", "parameters", "reason"),
    [
        (OTHER_SHA256, {}, "the calibration is for checkpoint ramp (sha256 cdcdcdcdcdcd)"),
        (SHA256, {"depth_scale": 1.5}, "depth_scale 1.5"),
        (SHA256, {"calibration_file": "/nowhere.yaml"}, "cannot read configuration /nowhere.yaml"),
    ],
)
def test_a_wrong_one_fails_configuring_with_the_reason(
    node_with, write_calibration, capfd, sha256, parameters, reason
):
    node = node_with(**{"calibration_file": write_calibration(sha256), **parameters})
    assert node.trigger_configure() == FAILURE
    assert node._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED
    log = capfd.readouterr().err
    assert f"cannot configure: {reason}" in log and "Traceback" not in log
