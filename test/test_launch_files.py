"""Launch file and RViz file.

The real `launch` packages come with ROS only. Here small stand-ins record what the launch file asks
of them, so names, types and values are checked; that ROS accepts them is not.
"""

import importlib.util
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from launch_stand_ins import Configuration, Context

ROOT = Path(__file__).parents[1]
LAUNCH_FILE = ROOT / "launch" / "depth.launch.py"
ARGUMENTS = {
    "checkpoint", "device", "image_topic", "camera_info_topic", "namespace", "params_file",
    "use_sim_time", "rviz", "log_level", "autostart", "fixed_frame",
}  # fmt: skip


@dataclass
class StandInArgument:
    name: str
    default_value: str
    description: str
    choices: list[str] | None = None


class StandInNode:
    made: ClassVar[list] = []

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        StandInNode.made.append(self)


@dataclass
class StandInValue:
    value: Any
    value_type: type


@dataclass
class StandInEnvironment:
    name: str
    value: str


@dataclass
class StandInOpaque:
    function: Any


def stand_in_modules():
    contents = {
        "launch": {"LaunchContext": Context, "LaunchDescription": list},
        "launch.actions": {
            "DeclareLaunchArgument": StandInArgument,
            "OpaqueFunction": StandInOpaque,
            "SetEnvironmentVariable": StandInEnvironment,
        },
        "launch.substitutions": {"LaunchConfiguration": Configuration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": StandInNode},
        "launch_ros.parameter_descriptions": {"ParameterValue": StandInValue},
    }
    modules = {}
    for name, members in contents.items():
        modules[name] = types.ModuleType(name)
        vars(modules[name]).update(members)
    return modules


@pytest.fixture
def launch_file(monkeypatch):
    for name, module in stand_in_modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("depth_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(launch_file):
    """Return a function that runs the launch file with arguments: (environment, nodes by name)."""

    def run_with(**given):
        *arguments, opaque = launch_file.generate_launch_description()
        values = {argument.name: argument.default_value for argument in arguments} | given
        actions = opaque.function(Context(values))
        environment = {a.name: a.value for a in actions if isinstance(a, StandInEnvironment)}
        nodes = {a.arguments["name"]: a.arguments for a in actions if isinstance(a, StandInNode)}
        assert all(isinstance(a, StandInEnvironment) for a in actions[: len(environment)])
        return environment, nodes

    return run_with


def test_arguments_are_those_of_the_design_and_described(launch_file):
    *arguments, _ = launch_file.generate_launch_description()
    assert {argument.name for argument in arguments} == ARGUMENTS
    for argument in arguments:
        assert len(argument.description) > 10
        assert argument.choices is None or argument.default_value in argument.choices


def test_defaults(run):
    environment, nodes = run()
    node = nodes.pop("depth_node")
    assert not nodes
    assert (node["package"], node["executable"]) == ("mono_depth_ros", "depth_node")
    assert dict(node["remappings"]) == {
        "image": "/camera/image_raw",
        "image/compressed": "/camera/image_raw/compressed",
        "camera_info": "/camera/camera_info",
    }
    (params_file,) = node["parameters"]
    assert Path(params_file).is_file()
    assert node["arguments"] == ["--ros-args", "--log-level", "info"]
    assert set(environment) == {"FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"}
    assert all(Path(value).is_file() for value in environment.values())


def test_given_arguments_become_typed_parameters(run):
    given = {"checkpoint": "1e3", "device": "cpu", "use_sim_time": "true", "autostart": "false"}
    _, nodes = run(**given, params_file="mine.yaml")
    params_file, *dictionaries = nodes["depth_node"]["parameters"]
    assert params_file == "mine.yaml" and all(dictionaries)
    parameters = {name: value for values in dictionaries for name, value in values.items()}
    types_ = {name: parameter.value_type for name, parameter in parameters.items()}
    assert types_ == {"checkpoint": str, "device": str, "use_sim_time": bool, "autostart": bool}
    assert all(parameter.value.name == name for name, parameter in parameters.items())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"image_topic": "/a/b/image_rect"}, ("/a/b/image_rect", "/a/b/camera_info")),
        ({"image_topic": "image"}, ("image", "camera_info")),
        ({"image_topic": "/cam/image/compressed"}, ("/cam/image", "/cam/camera_info")),
        ({"camera_info_topic": "/x/info"}, ("/camera/image_raw", "/x/info")),
    ],
)
def test_topics(run, given, expected):
    _, nodes = run(**given)
    remappings = dict(nodes["depth_node"]["remappings"])
    assert (remappings["image"], remappings["camera_info"]) == expected
    assert remappings["image/compressed"] == f"{expected[0]}/compressed"


def test_rviz_follows_namespace_image_and_frame(run):
    _, nodes = run(rviz="true", namespace="robot", image_topic="/c/image", fixed_frame="cam")
    rviz = nodes["rviz"]
    assert rviz["parameters"] == []
    assert nodes["depth_node"]["namespace"] == rviz["namespace"] == "robot"
    assert dict(rviz["remappings"]) == {
        "/camera/image_raw": "/c/image",
        "/depth_node/depth/image_color": "/robot/depth_node/depth/image_color",
        "/depth_node/points": "/robot/depth_node/points",
    }
    assert rviz["arguments"] == ["-d", str(ROOT / "config" / "depth.rviz"), "-f", "cam"]


def test_a_users_own_fast_dds_profile_stays(run, monkeypatch):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/my/profile.xml")
    environment, _ = run()
    assert environment == {}


def test_misspelt_arguments_are_refused_unless_the_file_is_included(launch_file, monkeypatch):
    context = Context({}, argv=["chekpoint:=x", "rviz:=true"])
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "mono_depth_ros", "depth.launch.py"])
    with pytest.raises(RuntimeError, match="no launch argument chekpoint; there are checkpoint"):
        launch_file.refuse_unknown_arguments(context)
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "robot", "bringup.launch.py"])
    launch_file.refuse_unknown_arguments(context)


def test_rviz_file_shows_the_nodes_topics():
    manager = yaml.safe_load((ROOT / "config" / "depth.rviz").read_text())["Visualization Manager"]
    displays = {display["Name"]: display for display in manager["Displays"]}
    topics = {name: d["Topic"]["Value"] for name, d in displays.items() if "Topic" in d}
    assert topics == {
        "Image": "/camera/image_raw",
        "Depth": "/depth_node/depth/image_color",
        "Points": "/depth_node/points",
    }
    assert displays["Image"]["Class"] == displays["Depth"]["Class"] == "rviz_default_plugins/Image"
    points = displays["Points"]
    assert points["Class"] == "rviz_default_plugins/PointCloud2"
    assert (points["Color Transformer"], points["Position Transformer"]) == ("RGB8", "XYZ")
    assert manager["Global Options"]["Fixed Frame"] == "camera_optical_frame"
    # Only a best-effort subscription hears a best-effort camera; the node's outputs are reliable.
    assert displays["Image"]["Topic"]["Reliability Policy"] == "Best Effort"
    assert all(display["Enabled"] for display in displays.values())


def test_fast_dds_profile_is_well_formed_with_a_64_mib_segment():
    import xml.etree.ElementTree as ElementTree

    tree = ElementTree.parse(ROOT / "config" / "fastdds.xml")
    space = {"f": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    assert int(tree.find(".//f:segment_size", space).text) == 64 * 2**20
    described = {e.text for e in tree.findall(".//f:transport_descriptor/f:transport_id", space)}
    used = {e.text for e in tree.findall(".//f:userTransports/f:transport_id", space)}
    assert described == used
