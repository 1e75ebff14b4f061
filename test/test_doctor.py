"""What the doctor says of made-up graphs, cameras, settings and processes."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mono_depth_ros.cli import doctor as command
from mono_depth_ros.cli.main import main
from mono_depth_ros.doctor.cameras import SeenCamera, SeenImage, cameras_of, check_cameras
from mono_depth_ros.doctor.computer import check_computer, check_packages
from mono_depth_ros.doctor.findings import Finding, Section, render_text, to_json
from mono_depth_ros.doctor.graph import CAMERA_INFO, IMAGE, check_graph
from mono_depth_ros.doctor.middleware import Computer, check_middleware
from mono_depth_ros.qos_rules import Endpoint, Qos, mismatch_reasons, mismatches, remedy

FAST, CYCLONE = "rmw_fastrtps_cpp", "rmw_cyclonedds_cpp"
GIB = 2**30
QUIET = Computer({}, {"rmem_max": 2**24}, 8 * GIB, 7 * GIB)


def texts(section, level=None):
    return [f.what for f in section.findings if level in (None, f.level)]


def publisher(node, topic="/image", kind=IMAGE, **qos):
    return Endpoint(node, topic, kind, True, Qos(**qos))


def subscription(node, topic="/image", kind=IMAGE, **qos):
    return Endpoint(node, topic, kind, False, Qos(**qos))


class TestQosRules:
    @pytest.mark.parametrize(
        ("offered", "requested", "words"),
        [
            ({}, {}, None),
            ({"reliability": "reliable"}, {"reliability": "best_effort"}, None),
            ({"reliability": "best_effort"}, {"reliability": "reliable"}, "best effort"),
            ({"reliability": "unknown"}, {"reliability": "reliable"}, None),
            ({"durability": "volatile"}, {"durability": "transient_local"}, "transient local"),
            ({"durability": "transient_local"}, {"durability": "volatile"}, None),
            ({"deadline_s": 0.1}, {"deadline_s": 0.1}, None),
            ({}, {"deadline_s": 0.1}, "every unlimited time, while one every 0.1 s"),
            ({"deadline_s": 0.2}, {"deadline_s": 0.1}, "every 0.2 s"),
            ({"liveliness": "automatic"}, {"liveliness": "manual_by_topic"}, "liveliness"),
            ({"lease_s": 2.0}, {"lease_s": 1.0}, "holds for 2 s, while 1 s"),
        ],
    )
    def test_what_is_offered_must_be_at_least_what_is_asked_for(self, offered, requested, words):
        reasons = mismatch_reasons(publisher("/a", **offered), subscription("/b", **requested))
        assert len(reasons) == (words is not None)
        assert words is None or words in reasons[0]

    def test_only_ends_of_one_topic_are_compared_and_named(self):
        ends = [
            publisher("/driver", reliability="best_effort"),
            subscription("/rviz"),
            subscription("/node", reliability="best_effort"),
            subscription("/other", topic="/elsewhere"),
        ]
        (pair,) = mismatches(ends)
        assert pair.text == (
            "/image: /rviz gets nothing from /driver, which publishes best effort, while reliable "
            "is subscribed"
        )
        assert "let /rviz subscribe best effort" in remedy(pair)

    def test_another_type_is_no_matter_of_qos(self):
        (pair,) = mismatches([publisher("/a"), subscription("/b", kind=CAMERA_INFO)])
        assert "publishes sensor_msgs/msg/Image, while sensor_msgs/msg/CameraInfo" in pair.text
        assert "another name" in remedy(pair)


class TestGraph:
    NODE = (
        subscription("/depth_node", "/image", reliability="best_effort"),
        subscription("/depth_node", "/camera_info", CAMERA_INFO, reliability="best_effort"),
        publisher("/depth_node", "/depth_node/latency", "diagnostic_msgs/msg/DiagnosticArray"),
    )

    def test_a_node_that_nobody_feeds_is_told_which_topics_there_are(self):
        camera = (
            publisher("/driver", "/cam/image"),
            publisher("/driver", "/cam/info", CAMERA_INFO),
        )
        section = check_graph([*self.NODE, *camera])
        assert texts(section, "error") == [
            "/depth_node waits for images on /image, where nobody publishes",
            "/depth_node waits for camera_info on /camera_info, where nobody publishes",
        ]
        images, infos = section.findings
        assert images.do.endswith("there are /cam/image")
        assert infos.do.endswith("there are /cam/info")

    def test_a_fed_node_is_fine(self):
        camera = (publisher("/driver"), publisher("/driver", "/camera_info", CAMERA_INFO))
        assert not check_graph([*self.NODE, *camera]).findings

    def test_an_empty_graph_is_a_note(self):
        section = check_graph([])
        assert [f.level for f in section.findings] == ["note"]

    def test_clocks(self):
        clock = "rosgraph_msgs/msg/Clock"
        camera = (publisher("/driver"), publisher("/driver", "/camera_info", CAMERA_INFO))
        heard = subscription("/rviz", "/clock", clock)
        assert texts(check_graph([heard])) == ["/rviz waits for /clock, which nobody publishes"]
        section = check_graph([*self.NODE, *camera, publisher("/bag", "/clock", clock)])
        assert texts(section) == ["/depth_node does not take its time from /clock"]


def info(**changes):
    k = [500.0, 0.0, 319.5, 0.0, 500.0, 239.5, 0.0, 0.0, 1.0]
    values = {
        "width": 640, "height": 480, "distortion_model": "plumb_bob", "d": [0.0] * 5, "k": k,
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0],
        "binning_x": 0, "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
        "header": SimpleNamespace(frame_id="cam"),
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changes})


GOOD_IMAGE = SeenImage("/cam/image", 50, 480, 640, "rgb8", "cam", 10**18, 921600)


def check(seen_info=None, image=GOOD_IMAGE, count=50, now_ns=10**18):
    camera = SeenCamera("/cam/camera_info", count, seen_info, (image,))
    return check_cameras([camera], now_ns, 5.0)


NAN_K = [math.nan] * 9
CAMERA_FAULTS = {
    "nothing came": ({"seen_info": None}, "error", "nothing came in 5 s"),
    "zero K": ({"seen_info": info(k=[0.0] * 9, p=[0.0] * 12)}, "error", "not calibrated"),
    "NaN": ({"seen_info": info(k=NAN_K)}, "error", "NaN or infinity"),
    "no size": ({"seen_info": info(width=0)}, "error", "0x480"),
    "lens": ({"seen_info": info(distortion_model="ftheta", d=[1.0])}, "error", "'ftheta'"),
    "size": ({"seen_info": info(width=320, height=240)}, "error", "320x240 pixels, /cam/image"),
    "no P": ({"seen_info": info(p=[0.0] * 12)}, "note", "empty P"),
    "frame": (
        {"seen_info": info(header=SimpleNamespace(frame_id="x"))}, "warning", "frame_id is 'cam'"
    ),
    "centre": (
        {"seen_info": info(p=[500.0, 0, 900.0, 0, 0, 500.0, 240.0, 0, 0, 0, 1.0, 0])},
        "warning", "cx 900",
    ),
    "focal length": (
        {"seen_info": info(p=[4000.0, 0, 319.5, 0, 0, 4000.0, 240.0, 0, 0, 0, 1.0, 0])},
        "warning", "fx 4000",
    ),
    "no image": (
        {"seen_info": info(), "image": SeenImage("/cam/image")}, "warning", "no image came"
    ),
    "encoding": (
        {"seen_info": info(), "image": replace(GOOD_IMAGE, encoding="h264")}, "error", "'h264'"
    ),
    "no frame": (
        {"seen_info": info(header=SimpleNamespace(frame_id="")),
         "image": replace(GOOD_IMAGE, frame_id="")}, "warning", "empty frame_id",
    ),
    "old stamps": ({"seen_info": info(), "now_ns": 10**18 + 10**10}, "warning", "10.0 s behind"),
    "lost images": (
        {"seen_info": info(), "image": replace(GOOD_IMAGE, count=11)}, "error", "11 images came"
    ),
}  # fmt: skip


class TestCameras:
    def test_a_good_camera(self):
        section = check(info())
        assert not section.findings
        assert section.facts["/cam/image"].startswith("10.0 Hz, 640x480 rgb8, 0.92 MB, frame cam")

    @pytest.mark.parametrize("name", CAMERA_FAULTS)
    def test_faults(self, name):
        arguments, level, words = CAMERA_FAULTS[name]
        (finding,) = check(**arguments).findings
        assert finding.level == level
        assert words in finding.what
        assert finding.why
        assert finding.do

    def test_small_images_are_not_lost_for_their_size(self):
        assert not check(info(), replace(GOOD_IMAGE, count=11, size_bytes=400_000)).findings

    def test_a_binned_camera_fits(self):
        half = replace(GOOD_IMAGE, width=320, height=240)
        assert not check(info(binning_x=2, binning_y=2), half).findings

    def test_images_find_their_camera_info_by_name(self):
        raw, compressed = SeenImage("/a/image"), SeenImage("/a/image/compressed", compressed=True)
        lone = SeenImage("/b/image", 1, 480, 640, "rgb8", "cam", 10**18)
        cameras = cameras_of(
            [raw, compressed, lone], {"/a/camera_info": SeenCamera("/a/camera_info")}
        )
        assert [c.topic for c in cameras] == ["/a/camera_info", None]
        assert cameras[0].images == (raw, compressed)
        section = check_cameras(cameras[1:], 10**18, 5.0)
        assert texts(section) == ["nobody publishes /b/camera_info, the camera_info of /b/image"]


class TestMiddleware:
    def profile(self, folder, segment):
        path = folder / "profile.xml"
        path.write_text(f"<p xmlns='urn:x'><t><segment_size>{segment}</segment_size></t></p>")
        return replace(QUIET, environment={"FASTRTPS_DEFAULT_PROFILES_FILE": str(path)})

    def test_no_profile_is_the_512_kilobyte_trap(self, tmp_path):
        section = check_middleware(replace(QUIET, folder=tmp_path), FAST)
        (finding,) = section.findings
        assert finding.level == "warning"
        assert "512 KB" in finding.why
        assert "FASTRTPS_DEFAULT_PROFILES_FILE" in finding.do

    def test_a_large_enough_profile_is_fine(self, tmp_path):
        assert not check_middleware(self.profile(tmp_path, 2**24), FAST).findings

    def test_a_profile_of_the_working_directory_counts(self, tmp_path):
        self.profile(tmp_path, 2**24)
        (tmp_path / "profile.xml").rename(tmp_path / "DEFAULT_FASTRTPS_PROFILES.xml")
        assert not check_middleware(replace(QUIET, folder=tmp_path), FAST).findings

    @pytest.mark.parametrize(("segment", "level"), [(2**19, "warning"), ("large", "error")])
    def test_a_profile_that_does_not_help(self, tmp_path, segment, level):
        (finding,) = check_middleware(self.profile(tmp_path, segment), FAST).findings
        assert finding.level == level

    def test_a_missing_profile_is_an_error(self):
        computer = replace(QUIET, environment={"FASTDDS_DEFAULT_PROFILES_FILE": "/no/such.xml"})
        assert texts(check_middleware(computer, FAST), "error")[0].startswith(
            "the Fast DDS profile /no/such.xml cannot be read"
        )

    @pytest.mark.parametrize(
        ("changes", "level", "words"),
        [
            ({"shm_bytes": None}, "warning", "there is no /dev/shm"),
            ({"shm_bytes": 2**26, "shm_free_bytes": 2**26}, "warning", "64 MiB left of 64 MiB"),
            ({"kernel": {"rmem_max": 212992}}, "note", "208 KiB"),
        ],
    )
    def test_memory_and_sockets(self, tmp_path, changes, level, words):
        computer = replace(self.profile(tmp_path, 2**24), **changes)
        (finding,) = check_middleware(computer, FAST).findings
        assert finding.level == level
        assert words in finding.what

    def test_cyclone_needs_no_profile_but_buffers(self):
        small = replace(QUIET, kernel={"rmem_max": 212992}, shm_bytes=None)
        (finding,) = check_middleware(small, CYCLONE).findings
        assert finding.level == "warning"
        assert "CYCLONEDDS_URI" in finding.do
        assert not check_middleware(QUIET, CYCLONE).findings

    @pytest.mark.parametrize(
        ("name", "value", "level"),
        [
            ("ROS_DOMAIN_ID", "robot", "error"),
            ("ROS_DOMAIN_ID", "150", "warning"),
            ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCAL", "error"),
            ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF", "error"),
            ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST", "note"),
            ("ROS_LOCALHOST_ONLY", "1", "note"),
        ],
    )
    def test_discovery(self, name, value, level):
        section = check_middleware(replace(QUIET, environment={name: value}), CYCLONE)
        assert [f.level for f in section.findings] == [level]


class TestComputer:
    def test_facts_of_this_one(self):
        assert sys.executable in check_computer().facts["Python"]

    def test_what_the_node_needs_is_installed_here(self):
        section = check_packages()
        assert not texts(section, "error")
        assert section.facts["torch"] != "missing"


class TestReport:
    SECTIONS = (
        Section("A", {"colour": "red"}, [Finding("note", "small", "because", "nothing")]),
        Section("B", {}, [Finding("error", "large " * 30, "because", "act")]),
    )

    def test_the_worst_comes_first_and_lines_stay_short(self):
        text = render_text("heading", self.SECTIONS)
        assert text.splitlines()[2] == "1 error, 1 note"
        assert text.index("[error] B: large") < text.index("[note] A: small")
        assert "\nA\n  colour  red\n" in text
        assert max(map(len, text.splitlines())) <= 100

    def test_sections_survive_json(self):
        report = json.loads(json.dumps(to_json("heading", self.SECTIONS)))
        assert report["counts"] == {"error": 1, "warning": 0, "note": 1}
        assert [Section.from_mapping(v) for v in report["sections"]] == list(self.SECTIONS)

    def test_nothing_wrong_is_said(self):
        assert "nothing wrong found" in render_text("h", [Section("A")])


@pytest.fixture
def probe(monkeypatch, tmp_path):
    """Return a function that lets the command start a program of that text in place of probes."""

    def use(code):
        (tmp_path / "fake_probe.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

        class Fake(command._Probe):
            def __init__(self, title, module, *arguments):
                import subprocess

                self._title, self._command = title, [sys.executable, "-m", "fake_probe"]
                self._process = subprocess.Popen(
                    self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )

        monkeypatch.setattr(command, "_Probe", Fake)

    return use


SOME_SECTION = json.dumps(Section("Known", {"part": "done"}).to_mapping())


class TestCommand:
    def test_a_probe_that_hangs_is_a_finding_and_what_it_said_stays(
        self, probe, monkeypatch, capsys
    ):
        monkeypatch.setattr(command, "_DEADLINE_S", 2.0)
        probe(f"import time\nprint({SOME_SECTION!r}, flush=True)\ntime.sleep(60)")
        assert main(["doctor", "--no-network"]) == 1
        text = capsys.readouterr().out
        assert "the look at it did not answer within 2 s" in text
        assert "part  done" in text

    def test_a_probe_that_crashes_is_a_finding(self, probe, capsys):
        probe("raise SystemExit('broken driver')")
        assert main(["doctor", "--no-network"]) == 1
        assert "ended with status 1: broken driver" in capsys.readouterr().out

    def test_findings_are_no_failure(self, probe, capsys):
        section = Section("ROS", {}, [Finding("error", "bad", "why", "do")])
        probe(f"print({json.dumps(section.to_mapping())!r})")
        assert main(["doctor", "--no-network"]) == 0
        assert "[error] ROS: bad" in capsys.readouterr().out
        assert main(["doctor", "--no-network", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["sections"][-1]["findings"][0]["what"] == "bad"

    def test_without_rclpy_the_report_says_so(self, monkeypatch, capsys):
        monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
        assert main(["doctor", "--no-network"]) == 0
        assert "finds no rclpy" in capsys.readouterr().out


class TestNetwork:
    def test_a_checkpoint_is_loaded_and_asked(self, light_checkpoint):
        from mono_depth_ros.doctor.network import check_checkpoint, check_torch

        assert "torch" in check_torch().facts
        section = check_checkpoint(str(light_checkpoint), "cpu")
        assert not section.findings
        assert section.facts["network"].startswith("pwa")
        assert "ms per frame on cpu" in section.facts["self test"]

    def test_a_damaged_checkpoint_is_a_finding(self, light_checkpoint, tmp_path):
        from mono_depth_ros.doctor.network import check_checkpoint

        data = bytearray(light_checkpoint.read_bytes())
        data[-5] ^= 1
        damaged = tmp_path / "damaged.safetensors"
        damaged.write_bytes(data)
        (finding,) = check_checkpoint(str(damaged), "cpu").findings
        assert "recorded hash" in finding.what

    def test_an_answer_that_is_not_finite_is_a_finding(self, light_checkpoint, monkeypatch):
        import numpy as np

        from mono_depth_ros.doctor.network import check_checkpoint
        from mono_depth_ros.predictor import DepthPredictor

        broken = np.full((64, 96), np.inf, np.float32)
        monkeypatch.setattr(DepthPredictor, "__call__", lambda *_: broken)
        (finding,) = check_checkpoint(str(light_checkpoint), "cpu").findings
        assert "not finite" in finding.what
