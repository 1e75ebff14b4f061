"""What ships is whole: versions, metadata, configuration, installed files, Makefile, CI."""

from __future__ import annotations

import ast
import configparser
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import setuptools
import yaml

import mono_depth_ros

ROOT = Path(__file__).resolve().parents[1]
CONFIG_FILES = sorted(path for path in (ROOT / "config").rglob("*") if path.is_file())
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.py"))
EXECUTABLES = {
    "depth_node": "mono_depth_ros.ros.depth_process",
    "multi_depth_node": "mono_depth_ros.ros.multi_depth_node",
    "evaluator_node": "mono_depth_ros.ros.evaluator_node",
    "mono_depth": "mono_depth_ros.cli.main",
}


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def metadata():
    """Return the arguments that setup.py gives to setuptools.setup."""
    arguments = {}
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(setuptools, "setup", lambda **values: arguments.update(values))
        context.chdir(ROOT)
        runpy.run_path("setup.py")
    return arguments


@pytest.fixture(scope="module")
def manifest():
    return ElementTree.parse(ROOT / "package.xml").getroot()


@pytest.fixture(scope="module")
def installed(metadata):
    """Return source file -> folder below the prefix."""
    return {file: folder for folder, files in metadata["data_files"] for file in files}


class TestMetadata:
    def test_versions_agree(self, metadata, manifest):
        version = mono_depth_ros.__version__
        assert metadata["version"] == version
        assert manifest.findtext("version") == version
        changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
        newest = re.search(r"^(\S+) \(.+\)\n-+$", changelog, re.MULTILINE)
        assert newest is not None
        assert newest[1] == version

    def test_package_xml_and_setup_py_name_the_same_package(self, metadata, manifest):
        assert metadata["name"] == manifest.findtext("name") == "mono_depth_ros"
        assert metadata["license"] == manifest.findtext("license") == "Apache-2.0"
        assert metadata["maintainer"] == manifest.findtext("maintainer")
        assert metadata["maintainer_email"] == manifest.find("maintainer").get("email")

    def test_package_xml_is_what_rosdep_and_colcon_expect(self, manifest):
        assert manifest.get("format") == "3"
        assert manifest.findtext("export/build_type") == "ament_python"
        assert re.fullmatch(r"[\w.+-]+@[\w-]+\.\w+", manifest.find("maintainer").get("email"))
        run_time = {element.text for element in manifest.iter("exec_depend")}
        assert {
            "rclpy",
            "sensor_msgs",
            "std_srvs",
            "diagnostic_msgs",
            "geometry_msgs",
            "rosgraph_msgs",
            "launch",
            "launch_ros",
            "python3-numpy",
            "python3-opencv",
            "python3-yaml",
        } <= run_time
        tests = {element.text for element in manifest.iter("test_depend")}
        assert tests == {"cv_bridge", "sensor_msgs_py", "python3-pytest"}

    def test_executables_are_in_bin_and_in_lib(self, metadata, installed):
        scripts = dict(line.split(" = ") for line in metadata["entry_points"]["console_scripts"])
        assert scripts == {name: f"{module}:main" for name, module in EXECUTABLES.items()}
        for name, module in EXECUTABLES.items():
            path = ROOT / "scripts" / name
            assert installed[f"scripts/{name}"] == "lib/mono_depth_ros"
            assert os.access(path, os.X_OK)
            text = path.read_text(encoding="utf-8")
            assert text.startswith("#!/usr/bin/env python3\n")
            assert f"from {module} import main" in text

    def test_colcon_puts_scripts_where_ros2_run_looks(self):
        config = configparser.ConfigParser(interpolation=None)
        config.read(ROOT / "setup.cfg")
        assert config["install"]["install_scripts"] == "$base/lib/mono_depth_ros"
        assert config["develop"]["script_dir"] == "$base/lib/mono_depth_ros"

    def test_requirements_are_those_of_the_package(self, metadata):
        names = {re.split(r"[<>=]", line)[0] for line in metadata["install_requires"]}
        assert {"numpy", "torch", "torchvision", "PyYAML", "safetensors", "rosbags"} <= names
        assert "opencv-python-headless>=4.8,<5" in metadata["install_requires"]
        assert (ROOT / "LICENSE").read_text(encoding="utf-8").count("Apache License") >= 1


class TestInstalledFiles:
    def test_every_installed_file_exists(self, installed):
        for file in installed:
            assert (ROOT / file).is_file(), file

    def test_marker_and_manifest(self, installed):
        marker = "share/ament_index/resource_index/packages"
        assert installed["resource/mono_depth_ros"] == marker
        assert installed["package.xml"] == "share/mono_depth_ros"

    @pytest.mark.parametrize("path", CONFIG_FILES + LAUNCH_FILES, ids=relative)
    def test_configuration_and_launch_files_keep_their_folder(self, path, installed):
        folder = path.parent.relative_to(ROOT).as_posix()
        assert installed[relative(path)] == f"share/mono_depth_ros/{folder}"

    def test_every_folder_with_sources_is_a_package(self, metadata):
        folders = {path.parent for path in (ROOT / "mono_depth_ros").rglob("*.py")}
        names = {relative(folder).replace("/", ".") for folder in folders}
        assert names == set(metadata["packages"])

    def test_checkpoints_are_package_data_of_4_megabytes_at_most(self, metadata):
        assert metadata["package_data"] == {"mono_depth_ros": ["checkpoints/*.safetensors"]}
        for path in (ROOT / "mono_depth_ros" / "checkpoints").glob("*.safetensors"):
            assert path.stat().st_size <= 4_000_000, path.name


class TestConfiguration:
    @pytest.mark.parametrize(
        "path", [path for path in CONFIG_FILES if path.suffix in (".yaml", ".rviz")], ids=relative
    )
    def test_yaml_parses(self, path):
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)

    @pytest.mark.parametrize(
        "path", [path for path in CONFIG_FILES if path.suffix == ".xml"], ids=relative
    )
    def test_xml_is_well_formed(self, path):
        ElementTree.parse(path)

    @pytest.mark.parametrize("path", LAUNCH_FILES, ids=relative)
    def test_launch_file_has_its_entry_function(self, path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert "generate_launch_description" in functions


class TestMakeAndCi:
    @pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
    @pytest.mark.parametrize(
        ("target", "command"),
        [
            ("env", ""),
            ("test", "-m pytest"),
            ("test-long", "-m pytest -q -rs -m long"),
            ("lint", "mypy mono_depth_ros"),
            ("format", "ruff format ."),
            ("demo", "-m mono_depth_ros.cli.main demo --out out/demo"),
            ("clean", "rm -rf"),
            ("distclean", "rm -rf .venv"),
            ("help", ""),
        ],
    )
    def test_target_runs_its_command(self, target, command):
        # Flags of a make that runs these tests are not meant for this one.
        environment = {key: value for key, value in os.environ.items() if "MAKE" not in key}
        result = subprocess.run(
            ["make", "--dry-run", target],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert command in result.stdout

    def test_ci_runs_make_test(self):
        path = ROOT / ".ci" / "run"
        assert os.access(path, os.X_OK)
        subprocess.run(["bash", "-n", str(path)], check=True)
        assert path.read_text(encoding="utf-8").rstrip().endswith("exec make test")
