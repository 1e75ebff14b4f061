"""Imports point inward: the core knows neither ROS nor rosbags, only `ros` loads rclpy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "mono_depth_ros"

# Folders of the package that are not core, and what else of the package each may import. The core
# is every other module; all may import it, and a layer may import itself.
LAYERS = {
    "bags": set(),
    "evaluation": {"bags"},
    "ros": {"bags", "evaluation"},
    "benchmark": {"bags", "evaluation", "ros"},
    "cli": {"bags", "evaluation", "ros", "benchmark"},
}
# Training reads KITTI and scores with the profiles that bags are scored with.
OF_TRAINING = {"bags", "evaluation"}
ROS_PACKAGES = (
    "rclpy",
    "rcl_interfaces",
    "builtin_interfaces",
    "lifecycle_msgs",
    "rosgraph_msgs",
    "std_msgs",
    "std_srvs",
    "sensor_msgs",
    "sensor_msgs_py",
    "geometry_msgs",
    "diagnostic_msgs",
    "tf2_ros",
    "tf2_msgs",
    "cv_bridge",
    "message_filters",
    "ament_index_python",
    "launch",
    "launch_ros",
)
HEAVY = ("numpy", "torch", "cv2", "yaml", "safetensors", "rosbags", "rclpy", "tqdm")

SOURCES = sorted((ROOT / PACKAGE).rglob("*.py")) + sorted((ROOT / "training").rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module):
    """Return "training", a name of LAYERS, or "core"."""
    top, _, rest = module.partition(".")
    return top if top == "training" else next(iter({rest.partition(".")[0]} & set(LAYERS)), "core")


def imports_of(path):
    """Yield the dotted name of everything a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide their layer"
            # `from mono_depth_ros import bags` names a module as well.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def import_all(modules, blocked):
    """Import modules in a new interpreter where an import of `blocked` fails."""
    # None in sys.modules makes an import fail even where the package is installed.
    result = run_python(
        f"import sys, importlib; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        f"for name in {modules!r}:\n"
        "    try: importlib.import_module(name)\n"
        "    except Exception as error: sys.exit(f'{name}: {error!r}')"
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_layers(path):
    layer = layer_of(module_of(path))
    allowed = {"core", layer} | LAYERS.get(layer, OF_TRAINING)
    for name in imports_of(path):
        top = name.partition(".")[0]
        if top in (PACKAGE, "training"):
            assert layer_of(name) in allowed, f"{layer} imports {name}"
        if top in ROS_PACKAGES:
            # cli only inside the subcommand that needs it, as the imports without ROS below show.
            assert layer in ("ros", "cli"), f"{layer} imports {name}"
        if top == "rosbags":
            assert layer not in ("core", "training"), f"{layer} imports {name}"


def test_the_layers_above_are_the_folders():
    for name in LAYERS:
        assert (ROOT / PACKAGE / name).is_dir()


def test_core_imports_without_ros_and_rosbags():
    core = [name for name in map(module_of, SOURCES) if layer_of(name) == "core"]
    assert {f"{PACKAGE}.decoding", f"{PACKAGE}.geometry"} <= set(core)
    import_all(core, (*ROS_PACKAGES, "rosbags"))


def test_everything_outside_ros_imports_without_ros():
    pytest.importorskip("rosbags")
    modules = [
        name for name in map(module_of, SOURCES) if layer_of(name) not in ("ros", "training")
    ]
    import_all(modules, ROS_PACKAGES)


def test_the_package_itself_imports_nothing_heavy():
    result = run_python(f"import sys, {PACKAGE}; print(sorted(set({HEAVY!r}) & set(sys.modules)))")
    assert result.stdout == "[]\n", result.stderr
