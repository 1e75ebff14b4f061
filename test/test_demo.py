"""The demo: world, node over DDS, recording, score, pictures."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.processes import running, wait_for


@pytest.mark.ros
@pytest.mark.long
def test_demo_scores_what_the_node_published(light_checkpoint, tmp_path, capsys):
    out = tmp_path / "demo"
    arguments = ["demo", "--out", str(out), "--frames", "6", "--checkpoint", str(light_checkpoint)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "prediction" in printed and "constant" in printed
    names = {path.name for path in out.iterdir()}
    assert {"report.html", "scores.json", "per_frame.csv", "depth.png", "cloud.png"} <= names
    assert {"world", "recorded", "depth_node.log", "play.log", "record.log"} <= names
    assert json.loads((out / "scores.json").read_text())
    for picture in ("depth.png", "cloud.png"):
        pixels = cv2.imread(str(out / picture))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    # A second run replaces the first.
    assert main(arguments) == 0


# Started in the background of a shell, a test run ignores SIGINT, and so would its children.
LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "


class TestProcesses:
    def test_a_process_is_stopped_with_the_block(self, tmp_path):
        code = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('stopped')"
        code = f"{LISTEN}print('up')\n{code}"
        with running(["-u", "-c", code], tmp_path / "x.log", {}) as process:
            while "up" not in (tmp_path / "x.log").read_text():
                assert process.poll() is None
        assert process.returncode == 0
        assert (tmp_path / "x.log").read_text().split() == ["up", "stopped"]

    def test_a_failure_shows_the_last_lines(self, tmp_path):
        code = "import sys; print('reason'); sys.exit(3)"
        with (
            pytest.raises(MonoDepthError, match=r"x ended with status 3(?s:.*)reason"),
            running(["-c", code], tmp_path / "x.log", {}) as process,
        ):
            process.wait(20)

    def test_waiting_has_an_end(self, tmp_path):
        log = tmp_path / "x.log"
        with (
            pytest.raises(MonoDepthError, match="not done after 0 s"),
            running(["-c", f"{LISTEN}import time; time.sleep(60)"], log, {}) as process,
        ):
            wait_for(process, log, 0.2)
        assert process.returncode is not None
