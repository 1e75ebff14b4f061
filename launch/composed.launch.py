"""The depth node behind C++ components of image_proc that shrink and rectify its images.

    ros2 launch mono_depth_ros composed.launch.py image_topic:=/camera/image_raw

depth_node rectifies by itself; this is for robots whose other nodes want the rectified picture as
well, and for large cameras: loaded into the driver's own container (`container:=/camera_container`)
the components get its images without a copy, and only the small ones cross to the depth node.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import ComposableNodeContainer, LoadComposableNodes
from launch_ros.descriptions import ComposableNode

# What the launch file of the node has; launch files are no modules.
ONE_FILE = Path(__file__).with_name("depth.launch.py")
ONE = SimpleNamespace(**runpy.run_path(str(ONE_FILE)))
ONE_NAMES = {argument.name for argument in ONE.ARGUMENTS}

ARGUMENTS = [
    DeclareLaunchArgument(
        "width", default_value="0", description="pixels to resize to before all else; 0: as it is"
    ),
    DeclareLaunchArgument(
        "height", default_value="0", description="likewise; give both, of the image's aspect"
    ),
    DeclareLaunchArgument(
        "rectify",
        default_value="true",
        choices=["true", "false"],
        description="take the lens distortion out in C++; false: depth_node does",
    ),
    DeclareLaunchArgument(
        "container",
        default_value="",
        description="name of a running container to load into; empty: start one",
    ),
    *(argument for argument in ONE.ARGUMENTS if argument.name != "camera_info_topic"),
]


def generate_launch_description() -> LaunchDescription:
    """Return the launch description; called by `ros2 launch`."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=make_actions)])


def make_actions(context: LaunchContext) -> list:
    """Build components and the included launch file from the values of the arguments."""
    values = ONE.argument_values(context, __file__, ARGUMENTS)
    width, height = int(values["width"]), int(values["height"])
    if (width > 0) != (height > 0):
        raise RuntimeError(f"width is {width} and height {height}; give both, or none")
    components, image, info = components_of(values, width, height)
    passed = {name: values[name] for name in values if name in ONE_NAMES}
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(ONE_FILE)),
        launch_arguments=list({**passed, "image_topic": image, "camera_info_topic": info}.items()),
    )
    # The profile first: the container sends images too.
    return [*ONE.fast_dds_profile(), *container(values, components), included]


def components_of(
    values: dict[str, str], width: int, height: int
) -> tuple[list[ComposableNode], str, str]:
    """Return the components with the image and camera_info topics behind them.

    image_proc takes the camera_info beside an image, so each step has a namespace of its own.
    """
    namespace = values["namespace"].strip("/")
    out = f"/{namespace}/depth_input" if namespace else "/depth_input"
    image = values["image_topic"].removesuffix("/compressed")
    info = ONE.sibling(image, "camera_info")
    components = []
    if width:
        components.append(
            component(
                "ResizeNode",
                [
                    ("image/image_raw", image),
                    ("image/camera_info", info),
                    ("resize/image_raw", f"{out}/image"),
                    ("resize/camera_info", f"{out}/camera_info"),
                ],
                [{"use_scale": False, "width": width, "height": height}],
            )
        )
        image, info = f"{out}/image", f"{out}/camera_info"
    if values["rectify"] == "true":
        remappings = [("image", image), ("camera_info", info), ("image_rect", f"{out}/image_rect")]
        components.append(component("RectifyNode", remappings, []))
        # By this name the depth node knows that nothing is left to be taken out.
        image = f"{out}/image_rect"
    if not components:
        raise RuntimeError("nothing to compose: give width and height, or rectify:=true")
    return components, image, info


def component(
    plugin: str, remappings: list[tuple[str, str]], parameters: list[dict]
) -> ComposableNode:
    """Return a component of image_proc that shares its messages with its neighbours."""
    return ComposableNode(
        package="image_proc",
        plugin=f"image_proc::{plugin}",
        name=f"depth_input_{plugin.removesuffix('Node').lower()}",
        remappings=remappings,
        parameters=parameters,
        extra_arguments=[{"use_intra_process_comms": True}],
    )


def container(values: dict[str, str], components: list[ComposableNode]) -> list:
    """Return what loads the components: a container of their own, or a running one's loader."""
    if values["container"]:
        return [
            LoadComposableNodes(
                target_container=values["container"], composable_node_descriptions=components
            )
        ]
    return [
        ComposableNodeContainer(
            package="rclcpp_components",
            executable="component_container_mt",
            name="depth_input_container",
            namespace=values["namespace"],
            composable_node_descriptions=components,
            output="screen",
        )
    ]
