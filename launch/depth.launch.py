"""The depth node for one camera, and RViz with `rviz:=true`.

    ros2 launch mono_depth_ros depth.launch.py image_topic:=/camera/image_raw rviz:=true

An empty argument leaves the setting to `params_file`.
"""

import os
import sys
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = Path(__file__).parent.parent
BOOLEAN_OR_EMPTY = ["", "true", "false"]
# Fast DDS 2 (Humble, Jazzy) reads the first name, Fast DDS 3 (Kilted and later) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

ARGUMENTS = [
    DeclareLaunchArgument(
        "checkpoint",
        default_value="",
        description="shipped checkpoint by name (hgc_light_rooms) or path of a .safetensors file",
    ),
    DeclareLaunchArgument(
        "device", default_value="", description="auto, cpu, cuda or cuda:N; auto takes a GPU if any"
    ),
    DeclareLaunchArgument(
        "image_topic",
        default_value="/camera/image_raw",
        description="camera image; <image_topic>/compressed is used where only that is published",
    ),
    DeclareLaunchArgument(
        "camera_info_topic",
        default_value="",
        description="calibration of the camera; empty: camera_info beside the image topic",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "depth_node.yaml"),
        description="parameters of the node; arguments given here win over it",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        choices=BOOLEAN_OR_EMPTY,
        description="take time from /clock (bag or simulator)",
    ),
    DeclareLaunchArgument(
        "rviz",
        default_value="false",
        choices=["true", "false"],
        description="also start RViz with image, depth and point cloud",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="log level of the node",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="",
        choices=BOOLEAN_OR_EMPTY,
        description="false: a lifecycle manager configures and activates the node",
    ),
    DeclareLaunchArgument(
        "fixed_frame",
        default_value="camera_optical_frame",
        description="frame RViz draws in: the frame_id of the camera's images, or a frame of TF",
    ),
]
# Node parameters that a launch argument of the same name may set.
PARAMETER_TYPES = {"checkpoint": str, "device": str, "use_sim_time": bool, "autostart": bool}


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=make_actions)])


def make_actions(context: LaunchContext) -> list:
    """Build the node and RViz from the values of the arguments."""
    values = argument_values(context)
    image_topic = values["image_topic"].removesuffix("/compressed")
    actions = [*fast_dds_profile(), depth_node(values, image_topic)]
    if values["rviz"] == "true":
        actions.append(rviz(values, image_topic))
    return actions


def depth_node(values: dict[str, str], image_topic: str) -> Node:
    """Return the node, with only those parameters set that the user gave as arguments."""
    return Node(
        package="mono_depth_ros",
        executable="depth_node",
        name="depth_node",
        namespace=values["namespace"],
        parameters=[values["params_file"], *given_parameters(values, PARAMETER_TYPES)],
        remappings=[
            ("image", image_topic),
            ("image/compressed", f"{image_topic}/compressed"),
            ("camera_info", values["camera_info_topic"] or sibling(image_topic, "camera_info")),
        ],
        arguments=["--ros-args", "--log-level", values["log_level"]],
        output="screen",
    )


def rviz(values: dict[str, str], image_topic: str) -> Node:
    """Return RViz; its file has the topics of the root namespace, which remappings move."""
    namespace = values["namespace"].strip("/")
    prefix = f"/{namespace}" if namespace else ""
    topics = ("/depth_node/depth/image_color", "/depth_node/points")
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        namespace=values["namespace"],
        parameters=given_parameters(values, {"use_sim_time": bool}),
        remappings=[
            ("/camera/image_raw", image_topic),
            *((topic, f"{prefix}{topic}") for topic in topics),
        ],
        arguments=["-d", str(SHARE / "config" / "depth.rviz"), "-f", values["fixed_frame"]],
        output="screen",
    )


def given_parameters(
    values: dict[str, str], types: dict[str, type]
) -> list[dict[str, ParameterValue]]:
    """Return one dictionary per given parameter; rcl does not read an empty one."""
    return [
        # Without a type a checkpoint called 1e3 would become a number.
        {name: ParameterValue(LaunchConfiguration(name), value_type=value_type)}
        for name, value_type in types.items()
        if values[name]
    ]


def fast_dds_profile() -> list[SetEnvironmentVariable]:
    """Return the settings that let Fast DDS send images without loss, unless the user has his."""
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return []
    profile = str(SHARE / "config" / "fastdds.xml")
    return [SetEnvironmentVariable(name, profile) for name in PROFILE_VARIABLES]


def sibling(topic: str, name: str) -> str:
    """Return the topic `name` in the namespace of `topic`."""
    parent, slash, _ = topic.rpartition("/")
    return f"{parent}{slash}{name}"


def argument_values(
    context: LaunchContext, file: str = __file__, arguments: list = ARGUMENTS
) -> dict[str, str]:
    """Return the value of each argument of a launch file; see `refuse_unknown_arguments`."""
    refuse_unknown_arguments(context, file, arguments)
    return {
        argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments
    }


def refuse_unknown_arguments(
    context: LaunchContext, file: str = __file__, arguments: list = ARGUMENTS
) -> None:
    """Refuse misspelt arguments, which launch would pass over silently.

    Only when `file` is the one on the command line: an including file may have others.
    """
    if not any(Path(word).name == Path(file).name for word in sys.argv):
        return
    known = [argument.name for argument in arguments]
    given = [word.partition(":=")[0] for word in context.argv if ":=" in word]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise RuntimeError(f"no launch argument {', '.join(unknown)}; there are {', '.join(known)}")
