"""Metadata and installed files, for pip and for colcon, which reads no metadata in pyproject."""

import re
from collections import defaultdict
from pathlib import Path

from setuptools import find_packages, setup

NAME = "mono_depth_ros"
ROOT = Path(__file__).resolve().parent


def version() -> str:
    source = (ROOT / NAME / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE).group(1)


def requirements(file: str = "requirements.txt") -> list[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def data_files() -> list[tuple[str, list[str]]]:
    """Return (folder below the prefix, files); the files by relative path, as setuptools wants."""
    share = f"share/{NAME}"
    folders = defaultdict(list)
    folders["share/ament_index/resource_index/packages"].append(f"resource/{NAME}")
    folders[share].append("package.xml")
    # ros2 run and ros2 launch look in lib/<package>, where only colcon puts console_scripts.
    folders[f"lib/{NAME}"] = [
        f"scripts/{name}"
        for name in ("depth_node", "multi_depth_node", "evaluator_node", "mono_depth")
    ]
    # A bare launch/* would also match launch/__pycache__.
    for path in sorted((ROOT / "launch").glob("*.launch.*")):
        folders[f"{share}/launch"].append(f"launch/{path.name}")
    for path in sorted((ROOT / "config").rglob("*")):
        if path.suffix in (".yaml", ".rviz", ".xml"):
            relative = path.relative_to(ROOT)
            folders[f"{share}/{relative.parent.as_posix()}"].append(relative.as_posix())
    return sorted(folders.items())


setup(
    name=NAME,
    version=version(),
    description="Metric depth from one camera: attention networks, a ROS 2 node, a LiDAR score",
    author="mono_depth_ros maintainers",
    author_email="maintainers@example.com",
    maintainer="mono_depth_ros maintainers",
    maintainer_email="maintainers@example.com",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["checkpoints/*.safetensors"]},
    data_files=data_files(),
    install_requires=requirements(),
    extras_require={"backends": requirements("requirements-backends.txt")},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "depth_node = mono_depth_ros.ros.depth_process:main",
            "multi_depth_node = mono_depth_ros.ros.multi_depth_node:main",
            "evaluator_node = mono_depth_ros.ros.evaluator_node:main",
            "mono_depth = mono_depth_ros.cli.main:main",
        ]
    },
)
