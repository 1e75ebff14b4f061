"""The evaluator node as a process: scores of a real depth node over real DDS."""

import importlib.util
import json
import signal
from dataclasses import asdict

import numpy as np
import pytest
import yaml
from ros_support import (
    HEIGHT,
    TIMEOUT_S,
    WIDTH,
    make_camera_info,
    make_image,
    random_rgb,
    with_header,
)
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.world import write_world_bag
from mono_depth_ros.cli.arguments import GATE_FAILED
from mono_depth_ros.cli.main import main
from mono_depth_ros.decoding import camera_info_to_intrinsics
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.evaluation.pipeline import evaluate_bag, summarise
from mono_depth_ros.evaluation.saved_report import read_report
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import depth_to_points
from mono_depth_ros.predictor import DepthPredictor
from mono_depth_ros.ros.evaluator_node import EvaluatorNode
from mono_depth_ros.world.recording import RecordingConfig

pytestmark = pytest.mark.ros

EVALUATOR = ("-m", "mono_depth_ros.ros.evaluator_node", "--ros-args")
NODE = ("-m", "mono_depth_ros.ros.depth_process", "--ros-args")
INPUTS = ("-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info")
OUTPUTS = ("-r", "points:=/lidar/points", "-r", "depth:=/depth_node/depth/image")
SENSORS = ("/camera/image_raw", "/camera/camera_info")
START_S = 120.0
FRAMES = 6


@pytest.fixture(scope="module")
def world_bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "bag"
    config = RecordingConfig("rooms", 2_000_005, FRAMES, size=(64, 96), lidar="16", workers=1)
    assert len(list(write_world_bag(path, config))) == FRAMES
    return path


@pytest.fixture
def replay(start_process, light_checkpoint, world_bag):
    """Return a function that plays the world bag to the depth node and waits for the end."""

    def run(*topics, rate=0.2):
        depth = start_process(*NODE, "-p", f"checkpoint:={light_checkpoint}", *INPUTS)
        depth.wait_for("active", START_S)
        play = start_process(
            "-m", "mono_depth_ros.cli.main", "-v", "play", world_bag, "--clock",
            "--rate", rate, "--topics", *topics, "--wait-for-subscribers", START_S,
        )  # fmt: skip
        assert play.process.wait(timeout=START_S) == 0, play.output

    return run


def flat(value, prefix=""):
    """Return the numbers of nested mappings and sequences by their dotted names."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {prefix: value}
    return {k: v for name, item in items for k, v in flat(item, f"{prefix}.{name}").items()}


def assert_equal_scores(live, offline):
    live, offline = flat(asdict(live)), flat(asdict(offline))
    assert live.keys() == offline.keys()
    for name, value in offline.items():
        assert live[name] == pytest.approx(value, rel=0, abs=1e-4, nan_ok=True), name


class TestLiveScores:
    @pytest.fixture
    def offline(self, world_bag, light_checkpoint):
        config = EvaluationConfig(range_bins_m=(0.0, 2.0, 4.0, 10.0), pictures=2)
        return evaluate_bag(world_bag, DepthPredictor.load(light_checkpoint), config)

    def test_agree_with_those_of_the_bag(self, start_process, replay, offline, world_bag, tmp_path):
        settings = tmp_path / "settings.yaml"
        settings.write_text(yaml.safe_dump({"range_bins_m": [0, 2, 4, 10], "pictures": 2}))
        evaluator = start_process(
            *EVALUATOR, *INPUTS, *OUTPUTS, "-p", f"out:={tmp_path / 'report'}",
            "-p", f"bag:={world_bag}", "-p", f"config:={settings}", "-p", "use_sim_time:=true",
            "-p", "idle_s:=4.0",
        )  # fmt: skip
        evaluator.wait_for("nobody publishes", START_S)
        replay(*SENSORS, "/lidar/points")
        # Nobody stops it: it ends because nothing comes any more.
        assert evaluator.process.wait(timeout=START_S) == 0, evaluator.output
        live = read_report(tmp_path / "report")
        expected = {score.stamp_ns: score for score in offline.frames}
        assert len(live.frames) >= 2, evaluator.output
        for stamp_ns, score in live.frames.items():
            assert_equal_scores(score, expected[stamp_ns])
        shared = [expected[stamp_ns] for stamp_ns in live.frames]
        unscored = FRAMES - len(shared), 0
        constant_m = offline.summary.constant_m
        assert_equal_scores(live.summary, summarise(shared, constant_m, unscored, offline.config))
        facts = json.loads((tmp_path / "report" / "scores.json").read_text())["live"]
        assert facts["images_seen"] == FRAMES and facts["depths_received"] == len(shared)
        # On a busy computer the depth node may find the player only after its first images.
        answerable = FRAMES - facts["images_before_first_depth"]
        assert facts["drop_share"] == pytest.approx(1 - len(shared) / answerable)
        assert 0 < facts["latency_p50_ms"] <= facts["latency_p95_ms"] <= facts["latency_p99_ms"]
        assert facts["age_clock"] == "/clock" and -100 < facts["age_p50_ms"] < 10_000
        assert facts["messages_left_out"] == {}
        page = (tmp_path / "report" / "report.html").read_text()
        # Two spread evenly, and of the worst and the best up to three each.
        assert ">Live</h2>" in page
        assert page.count("<figure>") == 2 + min(6, len(live.frames))


# Camera and LiDAR in one place and with one orientation.
IDENTITY = {"frames": {"camera_from_lidar": [0, 0, 0, 0, 0, 0, 1]}, "pictures": 0}
FIRST_NS = 1_700_000_000_000_000_000


@pytest.fixture
def identity_config(tmp_path):
    path = tmp_path / "identity.yaml"
    path.write_text(yaml.safe_dump(IDENTITY))
    return path


class Robot:
    """Publishes a wall of known depth as camera, LiDAR and depth node would."""

    def __init__(self, graph, lidar_frame="lidar"):
        self.graph, self.lidar_frame = graph, lidar_frame
        self.info = make_camera_info()
        topics = {"image": Image, "camera_info": CameraInfo, "points": PointCloud2, "depth": Image}
        self.publishers = {
            topic: graph.node.create_publisher(kind, topic, 10) for topic, kind in topics.items()
        }
        for publisher in self.publishers.values():
            graph.spin_until(publisher.get_subscription_count, START_S)

    def frame(self, index, depth=True, points=True):
        stamp = FIRST_NS + index * 100_000_000
        messages = {
            "camera_info": with_header(self.info, stamp),
            "image": make_image(random_rgb(index), stamp),
        }
        if points:
            messages["points"] = with_header(self.cloud(4.0), stamp + 1_000_000, self.lidar_frame)
        if depth is True:
            depth = depth_image(np.full((HEIGHT, WIDTH), 4.8, np.float32))
        if depth:
            messages["depth"] = with_header(depth, stamp)
        for topic, message in messages.items():
            self.publishers[topic].publish(message)
            self.graph.spin_for(0.01)

    def cloud(self, wall_m):
        camera = camera_info_to_intrinsics(self.info)
        wall = np.full((HEIGHT, WIDTH), wall_m, np.float32)
        points = np.ascontiguousarray(depth_to_points(wall, camera).reshape(-1, 3), np.float32)
        fields = [
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate("xyz")
        ]
        return PointCloud2(
            height=1, width=len(points), fields=fields, point_step=12, row_step=12 * len(points),
            data=points.tobytes(), is_dense=True,
        )  # fmt: skip


def depth_image(depth_m, encoding="32FC1"):
    height, width = depth_m.shape
    step = depth_m.dtype.itemsize * width
    return Image(height=height, width=width, encoding=encoding, step=step, data=depth_m.tobytes())


def test_a_wall_by_hand_and_bad_frames_cost_only_themselves(
    network_graph, start_process, identity_config, tmp_path
):
    out = tmp_path / "report"
    evaluator = start_process(*EVALUATOR, "-p", f"out:={out}", "-p", f"config:={identity_config}")
    robot = Robot(network_graph)
    robot.frame(0)
    robot.frame(1, depth=depth_image(np.full((HEIGHT, WIDTH), 7, np.uint8), "mono8"))
    robot.frame(2, depth=depth_image(np.full((8, 8), 4.8, np.float32)))
    robot.frame(3, depth=False)
    robot.frame(4, depth=depth_image(np.full((HEIGHT, WIDTH), 4800, np.uint16), "16UC1"))
    robot.publishers["points"].publish(with_header(PointCloud2(), FIRST_NS + 500_000_000))
    robot.frame(5, points=False)
    robot.frame(6)
    network_graph.spin_for(1.0)
    code, _ = evaluator.stop(signal.SIGINT, signal.SIGINT)
    assert code == 0 and "Traceback" not in evaluator.output, evaluator.output
    report = read_report(out)
    assert [(ns - FIRST_NS) // 100_000_000 for ns in report.frames] == [0, 4, 6]
    assert report.summary.unpredicted_frames == 1 and report.summary.unreadable_frames == 3
    # 4.8 m for a wall at 4 m.
    assert report.summary.model.abs_rel == pytest.approx(0.2, abs=1e-4)
    assert report.summary.model.rmse_m == pytest.approx(0.8, abs=1e-4)
    assert report.summary.constant_m == pytest.approx(4.0, rel=1e-4)
    assert report.summary.constant.abs_rel == pytest.approx(0.0, abs=1e-4)
    facts = json.loads((out / "scores.json").read_text())["live"]
    assert (facts["images_seen"], facts["depths_received"]) == (7, 6)
    assert facts["drop_share"] == pytest.approx(1 / 7)
    # The stamps are of the year 2023 and the clock is not.
    assert facts["age_p50_ms"] is None and facts["latency_p50_ms"] >= 0
    assert facts["frames"]["DecodingError"] == 2 and facts["frames"]["ShapeError"] == 1


def test_without_lidar_there_is_no_report_but_a_reason(
    network_graph, start_process, identity_config, tmp_path
):
    out = tmp_path / "report"
    evaluator = start_process(*EVALUATOR, "-p", f"out:={out}", "-p", f"config:={identity_config}")
    robot = Robot(network_graph)
    for index in range(3):
        robot.frame(index, points=False)
    network_graph.spin_for(0.5)
    code, _ = evaluator.stop(signal.SIGINT)
    assert code == 1 and "Traceback" not in evaluator.output
    assert "nothing was scored: 3 images, 0 clouds on /points" in evaluator.output
    assert "images_seen: 3, depths_received: 3" in evaluator.output
    assert not out.exists()


def test_frames_that_the_bag_does_not_connect_end_the_node(
    network_graph, start_process, world_bag, tmp_path
):
    out = tmp_path / "report"
    evaluator = start_process(*EVALUATOR, "-p", f"out:={out}", "-p", f"bag:={world_bag}")
    robot = Robot(network_graph, lidar_frame="elsewhere")
    for index in range(5):
        robot.frame(index)
    assert evaluator.process.wait(timeout=TIMEOUT_S) == 1
    assert "no transform between 'camera_optical_frame' and 'elsewhere'" in evaluator.output
    assert "Traceback" not in evaluator.output and not out.exists()


class TestEvaluateLive:
    def test_scores_what_the_node_publishes(self, world_bag, light_checkpoint, tmp_path, capsys):
        out = tmp_path / "report"
        command = ["evaluate", str(world_bag), "--live", "--out", str(out), "--rate", "0.2"]
        command += ["--checkpoint", str(light_checkpoint), "--tolerance-ms", "20"]
        assert main([*command, "--fail-if", "abs_rel>0.01"]) == GATE_FAILED
        printed = capsys.readouterr()
        assert "prediction, live" in printed.out and "abs_rel" in printed.err
        report = read_report(out)
        assert report.summary.frames >= 2
        assert report.config.frames.tolerance_ms == 20
        assert report.facts["note"].startswith(f"checkpoint {light_checkpoint}")
        assert json.loads((out / "scores.json").read_text())["live"]["images_seen"] == FRAMES

    def test_of_a_damaged_bag_what_can_be_read_is_played(
        self, world_bag, light_checkpoint, tmp_path, capsys
    ):
        bag = tmp_path / "cut"
        bag.mkdir()
        data = (world_bag / "bag.mcap").read_bytes()
        (bag / "cut.mcap").write_bytes(data[: len(data) * 2 // 3])
        with BagReader(bag) as reader:
            images = reader.counts["/camera/image_raw"]
        assert 2 <= images < FRAMES
        out = tmp_path / "report"
        command = ["evaluate", str(bag), "--live", "--out", str(out), "--rate", "0.2"]
        command += ["--checkpoint", str(light_checkpoint)]
        assert main(command) == 0
        assert "played what can be read: cut/cut.mcap is damaged" in capsys.readouterr().out
        scores = json.loads((out / "scores.json").read_text())
        assert scores["live"]["images_seen"] == images
        assert scores["left_out"]["damage"].startswith("cut/cut.mcap is damaged")
        assert main([*command, "--refuse-damaged"]) == 1
        assert "is damaged" in capsys.readouterr().err

    def test_a_node_that_fails_is_named(self, world_bag, tmp_path, capsys):
        command = ["evaluate", str(world_bag), "--live", "--out", str(tmp_path / "report")]
        assert main([*command, "--checkpoint", "/nowhere/x.safetensors"]) == 1
        message = capsys.readouterr().err
        assert "depth_node ended with status 1" in message and "/nowhere/x" in message

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (["--depth-topic", "/depth"], "--checkpoint"),
            (["--checkpoint", "x", "--unrectified"], "image_proc"),
            (["--checkpoint", "x", "--max-frames", "3"], "length of the recording"),
        ],
    )
    def test_what_cannot_be_done_live_is_refused(
        self, world_bag, tmp_path, capsys, options, reason
    ):
        command = ["evaluate", str(world_bag), "--live", "--out", str(tmp_path / "report")]
        assert main([*command, *options]) == 1
        assert reason in capsys.readouterr().err


def test_wrong_parameters_end_the_process_with_one_line(start_process):
    evaluator = start_process(*EVALUATOR, "-p", "idle_s:=1.0")
    assert evaluator.process.wait(timeout=START_S) == 1
    assert "parameter out is empty" in evaluator.output and "Traceback" not in evaluator.output


class TestParameters:
    @pytest.fixture
    def refused(self, graph, tmp_path):
        """Return a function: parameters to the reason why the node refuses them."""
        from rclpy.parameter import Parameter

        def reason(**values):
            given = {"out": str(tmp_path / "report"), **values}
            overrides = [Parameter(name, value=value) for name, value in given.items()]
            with pytest.raises(MonoDepthError) as refusal:
                EvaluatorNode(parameter_overrides=overrides)
            return str(refusal.value)

        return reason

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"out": ""}, "parameter out is empty"),
            ({"bag": "/nowhere/bag"}, "no bag at /nowhere/bag"),
            ({"config": "/nowhere/x.yaml"}, "cannot read configuration /nowhere/x.yaml"),
            ({"idle_s": -1.0}, "from 0.0 to 86400.0"),
            ({"max_pending": 1}, "from 2 to 10000"),
            ({"max_pendin": 5}, "did you mean max_pending"),
        ],
    )
    def test_are_refused_with_a_reason(self, refused, values, expected):
        assert expected in refused(**values)

    def test_a_folder_that_is_no_report_is_kept(self, refused, tmp_path):
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "letter.txt").write_text("mine")
        assert "choose another folder" in refused()

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"frames": {"sweeps": 2}}, "must be 1"),
            ({"frames": {"tolerance": 3}}, "no setting tolerance"),
        ],
    )
    def test_settings_are_checked(self, refused, tmp_path, settings, expected):
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(settings))
        assert expected in refused(config=str(tmp_path / "x.yaml"))

    @pytest.mark.skipif(
        importlib.util.find_spec("tf2_msgs") is not None, reason="tf2_msgs is installed"
    )
    def test_without_tf2_msgs_the_extrinsics_must_be_given(self, refused):
        reason = refused()
        assert "set `bag`" in reason and "frames.camera_from_lidar" in reason
