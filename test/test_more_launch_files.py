"""Launch files for several cameras and with C++ components, RViz and Nav2 files.

As in test_launch_files.py stand-ins record what the launch files ask for; that ROS accepts it is
not checked.
"""

import importlib.util
import sys
import types
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_stand_ins import Configuration, Context

ROOT = Path(__file__).parents[1]


@dataclass
class Argument:
    name: str
    default_value: str | None = None
    description: str = ""
    choices: list[str] | None = None


class Recorded:
    def __init__(self, *values: Any, **named: Any) -> None:
        self.values, self.named = values, named


def recorded(name):
    return type(name, (Recorded,), {})


STAND_INS = {
    "launch": {"LaunchContext": Context, "LaunchDescription": list},
    "launch.actions": {
        "DeclareLaunchArgument": Argument,
        "OpaqueFunction": recorded("OpaqueFunction"),
        "SetEnvironmentVariable": recorded("SetEnvironmentVariable"),
        "IncludeLaunchDescription": recorded("IncludeLaunchDescription"),
    },
    "launch.launch_description_sources": {
        "PythonLaunchDescriptionSource": recorded("PythonLaunchDescriptionSource")
    },
    "launch.substitutions": {"LaunchConfiguration": Configuration},
    "launch_ros": {},
    "launch_ros.actions": {
        name: recorded(name) for name in ("Node", "ComposableNodeContainer", "LoadComposableNodes")
    },
    "launch_ros.descriptions": {"ComposableNode": recorded("ComposableNode")},
    "launch_ros.parameter_descriptions": {"ParameterValue": recorded("ParameterValue")},
}


@pytest.fixture
def load(monkeypatch):
    """Return a function: a launch file's name to its module."""
    for name, members in STAND_INS.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)

    def load_file(name):
        spec = importlib.util.spec_from_file_location("launch_file", ROOT / "launch" / name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_file


def run(module, **given):
    """Return the actions of a launch file without the Fast DDS profile, which comes first."""
    *arguments, opaque = module.generate_launch_description()
    values = {a.name: a.default_value for a in arguments} | given
    actions = opaque.named["function"](Context(values))
    profile = [a for a in actions if type(a).__name__ == "SetEnvironmentVariable"]
    assert len(profile) == 2
    assert actions[:2] == profile
    return actions[2:]


@pytest.mark.parametrize("name", ["multi_camera.launch.py", "composed.launch.py"])
def test_arguments_are_described_and_misspelt_ones_refused(load, name, monkeypatch):
    module = load(name)
    *arguments, _ = module.generate_launch_description()
    names = [a.name for a in arguments]
    assert len(set(names)) == len(names)
    assert all(len(a.description) > 10 for a in arguments)
    assert [a.name for a in arguments if a.default_value is None] == (
        ["cameras"] if "multi" in name else []
    )
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "mono_depth_ros", name])
    with pytest.raises(RuntimeError, match="no launch argument camera"):
        values = {a.name: a.default_value or "front" for a in arguments}
        module.make_actions(Context(values, ["camera:=front"]))


class TestSeveralCameras:
    FILE = "multi_camera.launch.py"

    def test_each_camera_has_its_topics(self, load):
        (node,) = run(load(self.FILE), cameras="front, rear")
        assert node.named["executable"] == "multi_depth_node"
        assert node.named["parameters"][1] == {"cameras": ["front", "rear"]}
        assert Path(node.named["parameters"][0]).is_file()
        assert dict(node.named["remappings"]) == {
            "front/image": "/front/image_raw",
            "front/image/compressed": "/front/image_raw/compressed",
            "front/camera_info": "/front/camera_info",
            "rear/image": "/rear/image_raw",
            "rear/image/compressed": "/rear/image_raw/compressed",
            "rear/camera_info": "/rear/camera_info",
        }

    def test_patterns_and_typed_parameters(self, load):
        (node,) = run(
            load(self.FILE), cameras="a,b", image_topic="/rig/{camera}/image_rect",
            camera_info_topic="/rig/info_{camera}", max_batch="2", checkpoint="x",
        )  # fmt: skip
        remappings = dict(node.named["remappings"])
        assert remappings["b/image"] == "/rig/b/image_rect"
        assert remappings["b/camera_info"] == "/rig/info_b"
        types_ = {
            name: value.named["value_type"]
            for given in node.named["parameters"][2:]
            for name, value in given.items()
        }
        assert types_ == {"checkpoint": str, "max_batch": int}

    def test_the_parameters_set_here_exist(self, load):
        pytest.importorskip("rclpy")
        from mono_depth_ros.predictor import InferenceConfig
        from mono_depth_ros.ros.multi_depth_node import CamerasConfig
        from mono_depth_ros.ros.parameters import NodeConfig

        known = {f.name for c in (NodeConfig, InferenceConfig, CamerasConfig) for f in fields(c)}
        assert {"cameras", *load(self.FILE).PARAMETER_TYPES} <= known | {"use_sim_time"}

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"cameras": " , "}, "cameras is empty"),
            ({"cameras": "a,b", "image_topic": "/image"}, "for all of a, b"),
        ],
    )
    def test_impossible_values_are_refused(self, load, given, words):
        with pytest.raises(RuntimeError, match=words):
            run(load(self.FILE), **given)

    def test_rviz_shows_the_first_four(self, load):
        _, rviz = run(load(self.FILE), cameras="a,b,c,d,e", rviz="true", namespace="robot")
        remappings = dict(rviz.named["remappings"])
        assert len(remappings) == 12
        assert remappings["/camera_2/image"] == "/b/image_raw"
        assert remappings["/camera_4/points"] == "/robot/multi_depth_node/d/points"
        text = (ROOT / "config" / "multi_camera.rviz").read_text()
        displays = yaml.safe_load(text)["Visualization Manager"]["Displays"]
        topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}
        assert topics == set(remappings)


class TestComposed:
    FILE = "composed.launch.py"

    def components(self, action):
        return [c.named for c in action.named["composable_node_descriptions"]]

    def included(self, action):
        (source,) = action.values
        assert Path(source.values[0]) == ROOT / "launch" / "depth.launch.py"
        return dict(action.named["launch_arguments"])

    def test_resized_then_rectified_then_depth(self, load):
        container, depth = run(load(self.FILE), width="640", height="480", namespace="robot")
        resize, rectify = self.components(container)
        assert resize["plugin"] == "image_proc::ResizeNode"
        assert resize["parameters"] == [{"use_scale": False, "width": 640, "height": 480}]
        assert dict(resize["remappings"])["image/image_raw"] == "/camera/image_raw"
        # What one publishes the next one hears, and camera_info stands beside every image.
        before, after = dict(resize["remappings"]), dict(rectify["remappings"])
        assert after["image"] == before["resize/image_raw"] == "/robot/depth_input/image"
        assert after["camera_info"] == before["resize/camera_info"]
        arguments = self.included(depth)
        assert arguments["image_topic"] == after["image_rect"] == "/robot/depth_input/image_rect"
        assert arguments["camera_info_topic"] == before["resize/camera_info"]
        assert arguments["namespace"] == "robot"

    def test_only_rectified_keeps_the_cameras_own_camera_info(self, load):
        container, depth = run(load(self.FILE), image_topic="/cam/image")
        (rectify,) = self.components(container)
        assert rectify["plugin"] == "image_proc::RectifyNode"
        assert self.included(depth)["camera_info_topic"] == "/cam/camera_info"

    def test_a_running_container_is_used(self, load):
        loader, _ = run(load(self.FILE), container="/camera_container")
        assert type(loader).__name__ == "LoadComposableNodes"
        assert loader.named["target_container"] == "/camera_container"

    @pytest.mark.parametrize(
        ("given", "words"),
        [({"width": "640"}, "give both"), ({"rectify": "false"}, "nothing to compose")],
    )
    def test_impossible_values_are_refused(self, load, given, words):
        with pytest.raises(RuntimeError, match=words):
            run(load(self.FILE), **given)

    def test_the_name_behind_it_says_rectified(self):
        pytest.importorskip("rclpy")
        from mono_depth_ros.ros.camera_view import is_called_rectified

        assert is_called_rectified("/robot/depth_input/image_rect")
        assert not is_called_rectified("/robot/depth_input/image")


class TestNav2:
    CONFIG = yaml.safe_load((ROOT / "config" / "nav2_costmap.yaml").read_text())

    def test_settings_of_the_cloud_are_possible(self):
        pytest.importorskip("rclpy")
        from mono_depth_ros.cloud_filters import CloudConfig
        from mono_depth_ros.ros.parameters import NodeConfig

        given = self.CONFIG["depth_node"]["ros__parameters"]
        cloud = {f.name for f in fields(CloudConfig)}
        CloudConfig(**{name: value for name, value in given.items() if name in cloud})
        NodeConfig(**{name: value for name, value in given.items() if name not in cloud})

    def test_the_costmap_hears_that_cloud_within_its_range(self):
        given = self.CONFIG["depth_node"]["ros__parameters"]
        costmap = self.CONFIG["local_costmap"]["local_costmap"]["ros__parameters"]
        assert set(costmap["plugins"]) <= set(costmap)
        source = costmap["voxel_layer"]["mono_depth"]
        assert source["topic"] == "/depth_node/points"
        # What lies between the two is seen and clears, but marks nothing.
        assert source["obstacle_max_range"] < given["cloud_max_range_m"]
        assert source["obstacle_max_range"] < source["raytrace_max_range"]
        assert given["cloud_min_height_m"] <= source["min_obstacle_height"]
        assert costmap["voxel_layer"]["z_voxels"] <= 16
        assert given["cloud_voxel_size_m"] == costmap["resolution"]
