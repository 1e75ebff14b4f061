"""The `mono_depth` command: table of subcommands, exit codes, messages, progress."""

from __future__ import annotations

import argparse
import importlib
import io
import subprocess
import sys
import types

import pytest

import mono_depth_ros
from mono_depth_ros import progress as progress_module
from mono_depth_ros.cli import main as cli
from mono_depth_ros.errors import BagError
from mono_depth_ros.progress import progress


def module_name(command):
    return f"mono_depth_ros.cli.{command.replace('-', '_')}"


@pytest.fixture
def subcommand(monkeypatch):
    """Return a function that puts a fake `play` in place, whose run() is the given function."""

    def install(run):
        module = types.ModuleType(module_name("play"))
        module.HELP = "a fake"
        module.add_arguments = lambda parser: parser.add_argument("bag")
        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return install


def raising(error):
    def run(args):
        raise error

    return run


class TestTable:
    @pytest.mark.parametrize("command", cli.COMMANDS)
    def test_every_command_keeps_the_contract(self, command):
        module = importlib.import_module(module_name(command))
        assert isinstance(module.HELP, str)
        assert module.HELP
        module.add_arguments(argparse.ArgumentParser())
        assert callable(module.run)

    @pytest.mark.parametrize("command", cli.COMMANDS)
    def test_help_of_every_command(self, command, capsys):
        with pytest.raises(SystemExit) as exit_info:
            cli.main([command, "--help"])
        assert exit_info.value.code == 0
        assert f"usage: mono_depth {command}" in capsys.readouterr().out

    def test_help_lists_the_commands_and_imports_none_of_them(self):
        code = (
            "import sys; from mono_depth_ros.cli.main import main\n"
            "try: main(['--help'])\n"
            "except SystemExit: pass\n"
            "print(sorted({'numpy', 'torch', 'cv2', 'rclpy', 'rosbags'} & set(sys.modules)))"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert result.stdout.splitlines()[-1] == "[]"
        for command in cli.COMMANDS:
            assert command in result.stdout


class TestExitCodes:
    def test_the_status_of_the_command_is_returned(self, subcommand):
        seen = []
        subcommand(lambda args: seen.append(args.bag) or 3)
        assert cli.main(["play", "some.mcap"]) == 3
        assert seen == ["some.mcap"]

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (BagError("bag x has no image topic; record one"), "bag x has no image topic"),
            (FileNotFoundError(2, "No such file or directory", "x"), "No such file"),
        ],
    )
    def test_an_expected_error_is_one_line_and_exit_code_1(
        self, subcommand, capsys, error, message
    ):
        subcommand(raising(error))
        assert cli.main(["play", "x"]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("mono_depth: error: ")
        assert message in lines[0]

    @pytest.mark.parametrize(
        ("package", "hint"),
        [
            ("rclpy", "source a ROS 2 installation or run `pip install -r requirements-ros.txt`"),
            ("sensor_msgs.msg", "requirements-ros.txt"),
            ("open3d", "requirements-open3d.txt"),
            ("rosbags.highlevel", "run `pip install rosbags`"),
        ],
    )
    def test_a_missing_package_is_named_with_what_to_install(
        self, subcommand, capsys, package, hint
    ):
        subcommand(raising(ModuleNotFoundError(f"No module named {package!r}", name=package)))
        assert cli.main(["play", "x"]) == 1
        error = capsys.readouterr().err
        assert f"needs {package.partition('.')[0]}: " in error
        assert hint in error

    def test_a_broken_import_of_our_own_is_not_hidden(self, subcommand):
        missing = ModuleNotFoundError("no module", name="mono_depth_ros.nowhere")
        subcommand(raising(missing))
        with pytest.raises(ModuleNotFoundError):
            cli.main(["play", "x"])

    def test_interrupt(self, subcommand, capsys):
        subcommand(raising(KeyboardInterrupt()))
        assert cli.main(["play", "x"]) == 130
        assert "interrupted" in capsys.readouterr().err

    @pytest.mark.parametrize("arguments", [[], ["nonsense"], ["--nonsense"]])
    def test_wrong_arguments(self, arguments):
        with pytest.raises(SystemExit) as exit_info:
            cli.main(arguments)
        assert exit_info.value.code == 2

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as exit_info:
            cli.main(["--version"])
        assert exit_info.value.code == 0
        assert capsys.readouterr().out == f"mono_depth {mono_depth_ros.__version__}\n"

    @pytest.mark.parametrize(
        ("arguments", "verbose"),
        [(["play", "x"], False), (["-v", "play", "x"], True), (["play", "-v", "x"], True)],
    )
    def test_verbose_before_and_after_the_command(self, subcommand, arguments, verbose):
        seen = []
        subcommand(lambda args: seen.append(args.verbose) or 0)
        assert cli.main(arguments) == 0
        assert seen == [verbose]


class TestProgress:
    def test_plain_lines_where_there_is_no_terminal(self, monkeypatch):
        clock = iter(range(0, 1000, 2))
        monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        assert list(progress(iter("abcdefg"), 7, "frames")) == list("abcdefg")
        # The clock moves 2 s per item: a line after items 3 and 6, and one at the end.
        assert sys.stderr.getvalue().splitlines() == [
            "frames: 3/7 after 6.0 s, 8 s left",
            "frames: 6/7 after 12.0 s, 2 s left",
            "frames: 7/7 after 16.0 s",
        ]

    def test_unknown_total_and_nothing_to_do(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        assert list(progress([], None, "frames")) == []
        assert sys.stderr.getvalue().startswith("frames: 0 after 0.0 s")

    def test_a_bar_on_a_terminal(self, monkeypatch):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stderr", terminal)
        assert list(progress(range(3), 3, "frames")) == [0, 1, 2]
        assert "3/3" in terminal.getvalue()
        assert "frames" in terminal.getvalue()
