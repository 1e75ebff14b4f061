"""replay.launch.py with stand-ins for the `launch` packages, which come with ROS only."""

import importlib.util
import signal
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from launch_stand_ins import Configuration, Context

from mono_depth_ros.ros.evaluator_parameters import EvaluatorConfig

ROOT = Path(__file__).parents[1]
LAUNCH_FILE = ROOT / "launch" / "replay.launch.py"
GIVEN = {"bag": "my_bag", "out": "report"}


class Recorded:
    """Keeps what it was made with, as every class of `launch` here."""

    def __init__(self, *values, **named):
        self.values, self.named = values, named

    def __getattr__(self, name):
        named = self.__dict__["named"]
        if name == "name" and name not in named:
            return self.values[0]
        if name not in named:
            raise AttributeError(name)
        return named[name]


@dataclass
class Exited:
    action: Any
    returncode: int
    process_name: str = "x-1"


STAND_INS = {
    "launch": {"LaunchContext": Context, "LaunchDescription": list},
    "launch.actions": (
        "DeclareLaunchArgument", "EmitEvent", "ExecuteProcess", "IncludeLaunchDescription",
        "OpaqueFunction", "RegisterEventHandler", "SetEnvironmentVariable", "Shutdown",
        "TimerAction",
    ),
    "launch.event_handlers": ("OnProcessExit",),
    "launch.events": ("matches_action",),
    "launch.events.process": ("ProcessExited", "SignalProcess"),
    "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
    "launch.substitutions": {"LaunchConfiguration": Configuration},
    "launch_ros": (),
    "launch_ros.actions": ("Node",),
    "launch_ros.parameter_descriptions": ("ParameterValue",),
    "launch_ros.substitutions": ("ExecutableInPackage",),
}  # fmt: skip


@pytest.fixture
def launch_file(monkeypatch):
    for name, members in STAND_INS.items():
        module = types.ModuleType(name)
        if not isinstance(members, dict):
            members = {member: type(member, (Recorded,), {}) for member in members}
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("replay_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(launch_file):
    """Return a function: arguments to (depth.launch.py, exit handler, evaluator, player)."""

    def run_with(**given):
        *arguments, opaque = launch_file.generate_launch_description()
        defaults = {a.values[0]: a.named.get("default_value") for a in arguments}
        return opaque.named["function"](Context(defaults | GIVEN | given))

    return run_with


def test_arguments_are_described_and_only_bag_and_out_required(launch_file):
    *arguments, _ = launch_file.generate_launch_description()
    assert {a.values[0] for a in arguments} == {
        "bag", "out", "checkpoint", "config", "rate", "image_topic", "camera_info_topic",
        "points_topic", "rviz", "fixed_frame",
    }  # fmt: skip
    required = {a.values[0] for a in arguments if "default_value" not in a.named}
    assert required == {"bag", "out"}
    assert all(len(a.description) > 10 for a in arguments)


def test_everything_runs_on_the_clock_of_the_bag(run):
    included, _, evaluator, player = run(rate="0.5", checkpoint="x", rviz="true")
    (source,) = included.values
    assert Path(source.values[0]) == ROOT / "launch" / "depth.launch.py"
    arguments = dict(included.launch_arguments)
    assert arguments == {
        "checkpoint": "x", "image_topic": "/camera/image_raw", "rviz": "true",
        "camera_info_topic": "/camera/camera_info", "use_sim_time": "true",
        "fixed_frame": "camera_optical_frame",
    }  # fmt: skip
    assert evaluator.parameters[0] == {"use_sim_time": True}
    executable, *words = player.cmd
    assert executable.named == {"package": "mono_depth_ros", "executable": "mono_depth"}
    assert words[:5] == ["play", "my_bag", "--clock", "--rate", "0.5"]
    topics = ["/camera/image_raw", "/camera/camera_info", "/lidar/points"]
    assert words[5:] == ["--wait-for-subscribers", "120", "--topics", *topics]


def test_what_the_player_is_told_is_what_it_understands(run):
    from mono_depth_ros.cli.main import _parser

    _, _, _, player = run()
    args = _parser(player.cmd[1:]).parse_args(player.cmd[1:])
    assert (args.bag, args.clock, args.rate) == (Path("my_bag"), 40.0, 1.0)
    assert args.wait_for_subscribers == 120.0 and len(args.topics) == 3


def test_arguments_of_the_included_file_exist(run, launch_file):
    text = (ROOT / "launch" / "depth.launch.py").read_text()
    included, *_ = run()
    for name, _ in included.launch_arguments:
        assert f'"{name}",' in text


def test_evaluator_has_typed_parameters_and_all_topics(run):
    _, _, evaluator, _ = run(out="1e3", config="my.yaml", image_topic="/c/image/compressed")
    assert (evaluator.package, evaluator.executable) == ("mono_depth_ros", "evaluator_node")
    parameters = {k: v for values in evaluator.parameters[1:] for k, v in values.items()}
    assert {name: value.values[0] for name, value in parameters.items()} == {
        "bag": "my_bag", "out": "1e3", "config": "my.yaml",
        "note": "checkpoint that of depth_node.yaml, bag played at 1.0 of its speed",
    }  # fmt: skip
    assert all(value.value_type is str for value in parameters.values())
    assert set(parameters) <= set(EvaluatorConfig.__dataclass_fields__)
    assert dict(evaluator.remappings) == {
        "image": "/c/image", "image/compressed": "/c/image/compressed",
        "camera_info": "/c/camera_info", "points": "/lidar/points",
        "depth": "/depth_node/depth/image",
    }  # fmt: skip
    assert len(run()[2].parameters) == 4, "an empty config is not given"


def test_the_end_of_each_process(run):
    _, registered, evaluator, player = run()
    (handler,) = registered.values
    after, context = handler.on_exit, Context({})
    (timer,) = after(Exited(player, 0), context)
    assert type(timer).__name__ == "TimerAction" and timer.period == 3.0
    event = timer.actions[0].event
    assert event.signal_number == signal.SIGINT
    assert event.process_matcher.values == (evaluator,)
    for ended in (Exited(evaluator, 0), Exited(evaluator, 1), Exited(player, 1), Exited("n", 1)):
        (action,) = after(ended, context)
        assert type(action).__name__ == "Shutdown"
    assert after(Exited("rviz", 0), context) is None
    assert after(Exited(player, 1), Context({}, is_shutdown=True)) is None


def test_misspelt_arguments_are_refused(launch_file, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "mono_depth_ros", "replay.launch.py"])
    with pytest.raises(RuntimeError, match="no launch argument bagg; there are bag"):
        launch_file.make_actions(Context({}, argv=["bagg:=x"]))
