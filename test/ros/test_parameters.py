"""Parameters come from the dataclasses, and from nowhere else."""

import math
from dataclasses import fields

import pytest
import rclpy
from rclpy.parameter import Parameter
from ros_support import REPOSITORY

from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.config import load_yaml, to_mapping
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.predictor import InferenceConfig
from mono_depth_ros.ros.parameters import (
    NodeConfig,
    OutputConfig,
    check_overrides,
    declare_config,
    follow_all_changes,
    follow_changes,
)

pytestmark = pytest.mark.ros

CONFIGS = (NodeConfig, InferenceConfig, OutputConfig, CloudConfig)
NAMES = [item.name for config in CONFIGS for item in fields(config)]


@pytest.fixture
def node_with(graph):
    def make(**values):
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        return rclpy.create_node("depth_node", parameter_overrides=overrides)

    return make


@pytest.mark.parametrize("config", CONFIGS)
def test_without_overrides_the_config_has_its_defaults(node_with, config):
    node = node_with()
    assert declare_config(node, config) == config()
    for item in fields(config):
        assert node.get_parameter(item.name).value == item.default


@pytest.mark.parametrize("config", CONFIGS)
def test_every_parameter_has_a_description(node_with, config):
    node = node_with()
    declare_config(node, config)
    for item in fields(config):
        assert len(node.describe_parameter(item.name).description) > 10, item.name


def test_overrides_fill_the_config(node_with):
    node = node_with(checkpoint="a.safetensors", num_threads=3, max_rate_hz=20.0)
    config = declare_config(node, NodeConfig)
    assert (config.checkpoint, config.num_threads, config.max_rate_hz) == (
        "a.safetensors",
        3,
        20.0,
    )


def test_descriptors_carry_ranges_choices_and_read_only(node_with):
    node = node_with()
    declare_config(node, NodeConfig)
    threads = node.describe_parameter("num_threads")
    assert (threads.integer_range[0].from_value, threads.integer_range[0].to_value) == (0, 1024)
    assert threads.read_only
    rate = node.describe_parameter("max_rate_hz").floating_point_range[0]
    assert (rate.from_value, rate.to_value) == (0.0, 1e4)
    assert "compressed" in node.describe_parameter("image_transport").additional_constraints


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"num_threads": -1}, "num_threads is -1.*from 0 to 1024"),
        ({"num_threads": "two"}, "num_threads is 'two'.*integer"),
        ({"max_rate_hz": 5}, "max_rate_hz is 5.*double"),
        ({"image_transport": "h264"}, "h264.*choose from auto, raw, compressed"),
        ({"autostart": "yes"}, "autostart is 'yes'.*bool"),
    ],
)
def test_bad_values_are_refused_with_a_reason(node_with, values, reason):
    with pytest.raises(ConfigError, match=reason):
        declare_config(node_with(**values), NodeConfig)


def test_the_configs_own_rules_apply(node_with):
    with pytest.raises(ConfigError, match="min_depth_m"):
        declare_config(node_with(min_depth_m=5.0, max_depth_m=4.0), InferenceConfig)


def test_misspelt_names_are_refused_and_foreign_names_reported(node_with):
    node = node_with(chekpoint="x")
    declare_config(node, NodeConfig)
    with pytest.raises(ConfigError, match="did you mean checkpoint"):
        check_overrides(node, NAMES)
    foreign = node_with(robot_radius=0.3)
    declare_config(foreign, NodeConfig)
    assert check_overrides(foreign, NAMES) == ["robot_radius"]


def test_changes_at_run_time_are_applied_or_refused(node_with):
    node = node_with()
    applied = []
    follow_changes(node, declare_config(node, InferenceConfig), applied.append)
    assert node.set_parameters([Parameter("depth_scale", value=1.5)])[0].successful
    assert applied == [InferenceConfig(depth_scale=1.5)]
    refused = node.set_parameters([Parameter("depth_scale", value=-1.0)])[0]
    assert not refused.successful and "depth_scale must be positive" in refused.reason
    assert node.get_parameter("depth_scale").value == 1.5
    assert not node.set_parameters([Parameter("device", value="cpu")])[0].successful
    assert len(applied) == 1


def test_the_shipped_file_lists_exactly_the_defaults():
    values = load_yaml(REPOSITORY / "config" / "depth_node.yaml")["/**"]["ros__parameters"]
    defaults = {name: value for config in CONFIGS for name, value in to_mapping(config()).items()}
    assert values == defaults
    assert math.isinf(values["max_depth_m"])


def test_the_shipped_file_is_understood_by_rcl(graph):
    path = REPOSITORY / "config" / "depth_node.yaml"
    node = rclpy.create_node("any_name", cli_args=["--ros-args", "--params-file", str(path)])
    for config in CONFIGS:
        assert declare_config(node, config) == config()


def test_settings_of_the_cloud_are_ranged_and_live(node_with):
    node = node_with(cloud_stride=2)
    applied = []
    follow_changes(node, declare_config(node, CloudConfig), applied.append)
    for item in fields(CloudConfig):
        descriptor = node.describe_parameter(item.name)
        assert not descriptor.read_only
        is_number = not isinstance(item.default, str | bool)
        assert bool(descriptor.floating_point_range or descriptor.integer_range) == is_number
    assert node.set_parameters([Parameter("cloud_max_range_m", value=20.0)])[0].successful
    assert node.set_parameters([Parameter("cloud_max_range_m", value=math.inf)])[0].successful
    assert applied[0] == CloudConfig(cloud_stride=2, cloud_max_range_m=20.0)
    for name, value in (("cloud_min_confidence", 1.5), ("cloud_stride", 0)):
        assert not node.set_parameters([Parameter(name, value=value)])[0].successful
    assert len(applied) == 2


def test_parameters_that_are_set_together_hold_together_or_not_at_all(node_with):
    node = node_with()
    scales, strides = [], []

    def set_stride(config):
        if config.cloud_stride == 3:
            raise ConfigError("not this one")
        strides.append(config.cloud_stride)

    inference, clouds = declare_config(node, InferenceConfig), declare_config(node, CloudConfig)
    follow_all_changes(
        node, [(inference, lambda c: scales.append(c.depth_scale)), (clouds, set_stride)]
    )

    def set_both(scale, stride):
        values = {"depth_scale": scale, "cloud_stride": stride}
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        return node.set_parameters_atomically(parameters)

    assert set_both(2.0, 2).successful
    assert (scales, strides) == ([2.0], [2])
    refused = set_both(5.0, 3)
    assert not refused.successful and refused.reason == "not this one"
    assert scales[-1] == 2.0 and strides == [2]
    # A config's own rule is asked before anything is applied.
    values = {"depth_scale": 7.0, "cloud_min_range_m": 5.0, "cloud_max_range_m": 1.0}
    refused = node.set_parameters_atomically([Parameter(n, value=v) for n, v in values.items()])
    assert "cloud_min_range_m < cloud_max_range_m" in refused.reason and 7.0 not in scales
    assert node.get_parameter("depth_scale").value == 2.0
    assert set_both(3.0, 4).successful and (scales[-1], strides[-1]) == (3.0, 4)
