"""Replay a bag through the depth node and score what it publishes against the bag's LiDAR.

    ros2 launch mono_depth_ros replay.launch.py bag:=my_bag out:=report

Ends by itself: with the bag the evaluator writes its report, and with that all else stops.
"""

import runpy
import signal
from pathlib import Path
from types import SimpleNamespace

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ProcessExited, SignalProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

# What the launch file of the node has; launch files are no modules.
ONE_FILE = Path(__file__).with_name("depth.launch.py")
ONE = SimpleNamespace(**runpy.run_path(str(ONE_FILE)))
DEPTH_TOPIC = "/depth_node/depth/image"
# The network may take that long for the last image of the bag.
LAST_DEPTH_S = 3.0
# Loading PyTorch and a checkpoint takes seconds, on a small computer many.
SUBSCRIBERS_TIMEOUT_S = "120"
# The report of a long bag takes longer than the 5 s after which launch loses patience.
REPORT_TIMEOUT_S = "120"

ARGUMENTS = [
    DeclareLaunchArgument("bag", description="recording with camera, LiDAR and /tf_static"),
    DeclareLaunchArgument("out", description="report folder to write"),
    DeclareLaunchArgument(
        "checkpoint",
        default_value="",
        description="shipped checkpoint by name (hgc_light_rooms) or path of a .safetensors file",
    ),
    DeclareLaunchArgument(
        "config",
        default_value="",
        description="YAML of evaluation settings, as for `mono_depth evaluate --config`",
    ),
    DeclareLaunchArgument(
        "rate", default_value="1.0", description="seconds of the bag per second of replay"
    ),
    DeclareLaunchArgument(
        "image_topic",
        default_value="/camera/image_raw",
        description="camera image of the bag, raw or compressed",
    ),
    DeclareLaunchArgument(
        "camera_info_topic",
        default_value="",
        description="calibration of the camera; empty: camera_info beside the image topic",
    ),
    DeclareLaunchArgument(
        "points_topic", default_value="/lidar/points", description="LiDAR cloud of the bag"
    ),
    DeclareLaunchArgument(
        "rviz",
        default_value="false",
        choices=["true", "false"],
        description="also start RViz with image, depth and point cloud",
    ),
    DeclareLaunchArgument(
        "fixed_frame",
        default_value="camera_optical_frame",
        description="frame RViz draws in: the frame_id of the camera's images",
    ),
]


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=make_actions)])


def make_actions(context: LaunchContext) -> list:
    """Build depth node, evaluator and player from the values of the arguments."""
    values = ONE.argument_values(context, __file__, ARGUMENTS)
    values["camera_info_topic"] = values["camera_info_topic"] or ONE.sibling(
        values["image_topic"].removesuffix("/compressed"), "camera_info"
    )
    evaluator, player = evaluator_node(values), bag_player(values)

    def on_exit(event: ProcessExited, context: LaunchContext) -> list | None:
        return None if context.is_shutdown else actions_after(event, evaluator, player)

    return [
        # First, because it also sets the Fast DDS profile.
        depth_node_and_rviz(values),
        RegisterEventHandler(OnProcessExit(on_exit=on_exit)),
        evaluator,
        player,
    ]


def depth_node_and_rviz(values: dict[str, str]) -> IncludeLaunchDescription:
    """Return depth.launch.py with the clock of the bag."""
    names = ("checkpoint", "image_topic", "camera_info_topic", "rviz", "fixed_frame")
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(ONE_FILE)),
        launch_arguments=[*((name, values[name]) for name in names), ("use_sim_time", "true")],
    )


def evaluator_node(values: dict[str, str]) -> Node:
    """Return the evaluator, which takes the extrinsics from the bag."""
    image_topic = values["image_topic"].removesuffix("/compressed")
    return Node(
        package="mono_depth_ros",
        executable="evaluator_node",
        name="evaluator_node",
        parameters=[
            {"use_sim_time": True},
            {"note": note_of(values)},
            *given_parameters(values, ("bag", "out", "config")),
        ],
        remappings=[
            ("image", image_topic),
            ("image/compressed", f"{image_topic}/compressed"),
            ("camera_info", values["camera_info_topic"]),
            ("points", values["points_topic"]),
            ("depth", DEPTH_TOPIC),
        ],
        sigterm_timeout=REPORT_TIMEOUT_S,
        output="screen",
    )


def note_of(values: dict[str, str]) -> ParameterValue:
    """Return what the report should say of the depth it scores."""
    checkpoint = values["checkpoint"] or "that of depth_node.yaml"
    text = f"checkpoint {checkpoint}, bag played at {values['rate']} of its speed"
    return ParameterValue(text, value_type=str)


def given_parameters(values: dict[str, str], names: tuple[str, ...]) -> list[dict]:
    """Return one dictionary per argument that is not empty; launch_ros reads no empty text."""
    return [
        # Without a type a folder called 1e3 would become a number.
        {name: ParameterValue(values[name], value_type=str)}
        for name in names
        if values[name]
    ]


def bag_player(values: dict[str, str]) -> ExecuteProcess:
    """Return the player; it begins when depth node and evaluator listen."""
    topics = [values[name] for name in ("image_topic", "camera_info_topic", "points_topic")]
    return ExecuteProcess(
        cmd=[
            ExecutableInPackage(package="mono_depth_ros", executable="mono_depth"),
            *("play", values["bag"], "--clock", "--rate", values["rate"]),
            *("--wait-for-subscribers", SUBSCRIBERS_TIMEOUT_S, "--topics", *topics),
        ],
        name="player",
        output="screen",
    )


def actions_after(event: ProcessExited, evaluator: Node, player: ExecuteProcess) -> list | None:
    """Return what the end of a process leads to."""
    if event.action is evaluator:
        return [Shutdown(reason="the evaluator has ended")]
    if event.returncode != 0:
        return [Shutdown(reason=f"{event.process_name} failed")]
    if event.action is player:
        stop = SignalProcess(signal_number=signal.SIGINT, process_matcher=matches_action(evaluator))
        return [TimerAction(period=LAST_DEPTH_S, actions=[EmitEvent(event=stop)])]
    return None
