"""The depth node for several cameras with one network, and RViz with `rviz:=true`.

    ros2 launch mono_depth_ros multi_camera.launch.py cameras:=front,left,right rviz:=true

An empty argument leaves the setting to `params_file`.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

# What the launch file for one camera has; launch files are no modules.
ONE = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("depth.launch.py"))))
# Cameras that config/multi_camera.rviz has displays for.
SHOWN_CAMERAS = 4

ARGUMENTS = [
    DeclareLaunchArgument(
        "cameras", description="names of the cameras, with commas between them: front,left,right"
    ),
    DeclareLaunchArgument(
        "image_topic",
        default_value="/{camera}/image_raw",
        description="image of each camera; {camera} stands for its name",
    ),
    DeclareLaunchArgument(
        "camera_info_topic",
        default_value="",
        description="calibration of each camera, likewise; empty: camera_info beside the image",
    ),
    DeclareLaunchArgument(
        "max_batch",
        default_value="",
        description="most images in one run of the network; empty or 0: of all cameras",
    ),
    *(
        argument
        for argument in ONE.ARGUMENTS
        if argument.name not in ("image_topic", "camera_info_topic", "fixed_frame")
    ),
    DeclareLaunchArgument(
        "fixed_frame",
        default_value="base_link",
        description="frame RViz draws in: one that TF connects with all cameras",
    ),
]
PARAMETER_TYPES = {**ONE.PARAMETER_TYPES, "max_batch": int}


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=make_actions)])


def make_actions(context: LaunchContext) -> list:
    """Build the node and RViz from the values of the arguments."""
    values = ONE.argument_values(context, __file__, ARGUMENTS)
    cameras = [name.strip() for name in values["cameras"].split(",") if name.strip()]
    if not cameras:
        raise RuntimeError("cameras is empty; name them: cameras:=front,left,right")
    if len(cameras) > 1 and "{camera}" not in values["image_topic"]:
        raise RuntimeError(
            f"image_topic is {values['image_topic']} for all of {', '.join(cameras)}; put "
            "{camera} where their names differ: image_topic:=/{camera}/image_raw"
        )
    actions = [*ONE.fast_dds_profile(), multi_depth_node(values, cameras)]
    if values["rviz"] == "true":
        actions.append(rviz(values, cameras))
    return actions


def topics_of(values: dict[str, str], camera: str) -> tuple[str, str]:
    """Return the image topic and the camera_info topic of a camera."""
    image = values["image_topic"].replace("{camera}", camera).removesuffix("/compressed")
    info = values["camera_info_topic"].replace("{camera}", camera)
    return image, info or ONE.sibling(image, "camera_info")


def multi_depth_node(values: dict[str, str], cameras: list[str]) -> Node:
    """Return the node, with only those parameters set that the user gave as arguments."""
    remappings = []
    for camera in cameras:
        image, info = topics_of(values, camera)
        remappings += [
            (f"{camera}/image", image),
            (f"{camera}/image/compressed", f"{image}/compressed"),
            (f"{camera}/camera_info", info),
        ]
    return Node(
        package="mono_depth_ros",
        executable="multi_depth_node",
        name="multi_depth_node",
        namespace=values["namespace"],
        parameters=[
            values["params_file"],
            {"cameras": cameras},
            *ONE.given_parameters(values, PARAMETER_TYPES),
        ],
        remappings=remappings,
        arguments=["--ros-args", "--log-level", values["log_level"]],
        output="screen",
    )


def rviz(values: dict[str, str], cameras: list[str]) -> Node:
    """Return RViz; its file has topics of cameras called 1 to 4, which remappings move."""
    namespace = values["namespace"].strip("/")
    node = f"/{namespace}/multi_depth_node" if namespace else "/multi_depth_node"
    remappings = []
    for number, camera in enumerate(cameras[:SHOWN_CAMERAS], start=1):
        remappings.append((f"/camera_{number}/image", topics_of(values, camera)[0]))
        for topic in ("depth/image_color", "points"):
            remappings.append((f"/camera_{number}/{topic}", f"{node}/{camera}/{topic}"))
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        namespace=values["namespace"],
        parameters=ONE.given_parameters(values, {"use_sim_time": bool}),
        remappings=remappings,
        arguments=[
            *("-d", str(ONE.SHARE / "config" / "multi_camera.rviz")),
            *("-f", values["fixed_frame"]),
        ],
        output="screen",
    )
