"""ROS parameters from config dataclasses: defaults, types, ranges and texts have one home."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from mono_depth_ros import DEFAULT_CHECKPOINT
from mono_depth_ros.coloring import ColorMap
from mono_depth_ros.config import from_mapping, require_ranges, to_mapping
from mono_depth_ros.errors import ConfigError

T = TypeVar("T")
Reliability = Literal["best_effort", "reliable"]
# As in mono_depth_ros.preprocessing, which imports PyTorch.
OutputSize = Literal["camera", "network"]

_ROS_TYPES = {
    tuple[str, ...]: Parameter.Type.STRING_ARRAY,
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
}


def _fixed(description: str, **metadata: Any) -> dict[str, Any]:
    return {"description": description, "read_only": True, **metadata}


@dataclass(frozen=True)
class NodeConfig:
    """What the depth node needs besides the predictor's settings; each field says what it is.

    Raises:
        ConfigError: a number is outside its range.
    """

    checkpoint: str = field(
        default=DEFAULT_CHECKPOINT,
        metadata={
            "description": "shipped checkpoint by name, or path of a .safetensors file; set while "
            "the node runs, the former one serves until this one is loaded"
        },
    )
    calibration_file: str = field(
        default="",
        metadata={
            "description": "metric calibration of the checkpoint, read when a checkpoint is loaded "
            "and by ~/load_calibration, written by ~/save_calibration; empty: none. With one, "
            "depth_scale and inverse_depth_shift_per_m must keep their defaults"
        },
    )
    autostart: bool = field(
        default=True,
        metadata=_fixed("configure and activate at start; false: wait for a lifecycle manager"),
    )
    image_transport: Literal["auto", "raw", "compressed"] = field(
        default="auto",
        metadata=_fixed("input to subscribe; auto: both until a raw image comes, then raw only"),
    )
    image_reliability: Reliability = field(
        default="best_effort",
        metadata=_fixed("QoS of image and camera_info; best_effort hears every publisher"),
    )
    output_reliability: Reliability = field(
        default="reliable",
        metadata=_fixed("QoS of all outputs; reliable reaches every subscriber"),
    )
    rectified: bool = field(
        default=False,
        metadata=_fixed(
            "the image is rectified already: use camera_info P; false: K, D, R and P tell what to "
            "take out, unless the topic's name says image_rect"
        ),
    )
    max_rate_hz: float = field(
        default=0.0,
        metadata={
            "description": "most depths per second; images in between are dropped; 0: no limit",
            "range": (0.0, 1e4),
        },
    )
    on_device_error: Literal["stop", "cpu", "smaller_batch"] = field(
        default="stop",
        metadata={
            "description": "when the GPU is missing, lost or out of memory: stop (an error, and "
            "the node is not active); cpu (load the checkpoint there and go on); smaller_batch "
            "(out of memory with several cameras: fewer images per run of the network, else stop)"
        },
    )
    num_threads: int = field(
        default=0,
        metadata=_fixed("CPU threads of the network; 0: all cores but one", range=(0, 1024)),
    )

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True)
class OutputConfig:
    """Size and pictures of what the depth node publishes; all can be set while it runs.

    Raises:
        ConfigError: a number is outside its range.
    """

    output_size: OutputSize = field(
        default="camera",
        metadata={"description": "pixels of all outputs: camera, or network (fewer, not enlarged)"},
    )
    color_map: ColorMap = field(
        default="turbo", metadata={"description": "colours of ~/depth/image_color"}
    )
    color_max_depth_m: float = field(
        default=0.0,
        metadata={
            "description": "depth of the last colour, metres; 0: the checkpoint's largest",
            "range": (0.0, 1e4),
        },
    )
    attention_map: str = field(
        default="",
        metadata={"description": "which map ~/attention shows; empty: the network's first"},
    )

    def __post_init__(self) -> None:
        require_ranges(self)


def declare_config(node: Node, cls: type[T]) -> T:
    """Declare one parameter per field of the config dataclass `cls` and return it filled.

    A field's metadata may hold `description`, `range` (lowest, highest) and `read_only`.

    Raises:
        ConfigError: a given value has the wrong type, lies outside its range, or is refused by
            `cls`.
    """
    hints = get_type_hints(cls)
    values = {item.name: _declare(node, item, hints[item.name]) for item in fields(cast(Any, cls))}
    return from_mapping(cls, values, node.get_name())


def follow_changes(node: Node, current: T, apply: Callable[[T], None]) -> None:
    """Follow one config as `follow_all_changes` does several."""
    follow_all_changes(node, [(current, apply)])


def follow_all_changes(node: Node, followed: Sequence[tuple[Any, Callable[[Any], None]]]) -> None:
    """Call `apply` with the new config when its parameters are set; refuse impossible ones.

    What is impossible, a config or its `apply` says with a ConfigError. Of parameters that are set
    together all hold afterwards or none.

    Args:
        node: whose parameters are followed.
        followed: current configs, no name in two of them, each with its `apply`.
    """
    configs = [config for config, _ in followed]
    applies = [apply for _, apply in followed]

    def on_set(parameters: list[Parameter]) -> SetParametersResult:
        nonlocal configs
        values = {parameter.name: parameter.value for parameter in parameters}
        applied = []
        try:
            changed = [_changed(config, values, node.get_name()) for config in configs]
            # Humble has no callback after the fact; nobody else in this node refuses parameters
            # afterwards.
            for old, new, apply in zip(configs, changed, applies, strict=True):
                if new is not old:
                    apply(new)
                    applied.append((apply, old))
        except ConfigError as error:
            for apply, old in applied:
                apply(old)
            return SetParametersResult(successful=False, reason=str(error))
        configs = changed
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)


def _changed(config: Any, values: Mapping[str, Any], where: str) -> Any:
    """Return a config with the values of its own names among `values`; itself if there are none."""
    changes = {item.name: values[item.name] for item in fields(config) if item.name in values}
    return from_mapping(type(config), to_mapping(config) | changes, where) if changes else config


# Similarity from which a name counts as misspelt: max_dpeth_m has 0.91, another node's device_id or
# depth_scale_mm in a shared file 0.80 and 0.88.
_MISSPELT = 0.9


def check_overrides(node: Node, known: Iterable[str]) -> list[str]:
    """Return the names of given but undeclared parameters, which rclpy ignores silently.

    Raises:
        ConfigError: one of them looks like a misspelt known name. Others may be meant for other
            nodes that share the parameters file (`/**:`), so the caller only warns of them.
    """
    names = sorted(known)
    unknown = [
        name
        for name in node._parameter_overrides
        if not node.has_parameter(name) and "." not in name
    ]
    for name in unknown:
        if close := get_close_matches(name, names, n=1, cutoff=_MISSPELT):
            raise ConfigError(
                f"no parameter {name}; did you mean {close[0]}? Known: {', '.join(names)}"
            )
    return unknown


def _declare(node: Node, item: Any, hint: Any) -> Any:
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    ros_type = _ROS_TYPES[str if choices else hint]
    descriptor = ParameterDescriptor(
        name=item.name,
        type=ros_type.value,
        description=item.metadata.get("description", ""),
        additional_constraints=f"one of {', '.join(choices)}" if choices else "",
        read_only=item.metadata.get("read_only", False),
    )
    if "range" in item.metadata:
        low, high = item.metadata["range"]
        if ros_type is Parameter.Type.INTEGER:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
    try:
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        return node.declare_parameter(item.name, default, descriptor).value
    except ParameterException as error:
        given = node._parameter_overrides.get(item.name)
        raise ConfigError(
            f"parameter {item.name} is {given.value if given else item.default!r}, it must be "
            f"{ros_type.name.lower()}{_range_text(item)}: {descriptor.description or error}"
        ) from error


def _range_text(item: Any) -> str:
    return "" if "range" not in item.metadata else " from {} to {}".format(*item.metadata["range"])
