"""Frames of a bag as files: pixels, depth, intrinsics, stamps, and what is left out."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from wall_scene import CAMERA, PERIOD_NS, START_NS, cloud_of, wall_depth

from mono_depth_ros.bags.messages import camera_info_message
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import BagError, ConfigError, DataError
from mono_depth_ros.evaluation.extract import ExtractConfig, ExtractSummary, extract_bag
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.files import read_rgb

# The wall's step is so near the size of the image that the rule for hidden points touches it.
PNG = ExtractConfig(image_format="png", min_change=0.5, occlusion="none")


def lines(folder):
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def stamps(folder):
    return [(line["stamp_ns"] - START_NS) // PERIOD_NS for line in lines(folder)]


def test_files_hold_what_the_bag_held(make_bag, tmp_path):
    out = tmp_path / "out"
    assert extract_bag(make_bag(), out, PNG) == ExtractSummary(written=4)
    assert sorted(path.name for path in out.iterdir()) == [
        "depth",
        "extract.json",
        "frames.jsonl",
        "rgb",
    ]
    for index, line in enumerate(lines(out)):
        stamp_ns = START_NS + index * PERIOD_NS
        assert line["stamp_ns"] == stamp_ns
        assert line["truth_stamp_ns"] == stamp_ns + 10_000_000
        assert line["image"] == f"rgb/{stamp_ns}.png"
        assert line["size"] == [12, 16]
        assert line["intrinsics"] == [20.0, 20.0, 7.5, 5.5]
        assert (read_rgb(out / line["image"]) == index).all()
        code = cv2.imread(str(out / line["depth"]), cv2.IMREAD_UNCHANGED)
        assert code.dtype == np.uint16
        # 2 + index and 4 m are whole codes of 1/256 m.
        np.testing.assert_array_equal(code, 256 * wall_depth(index))
        assert line["depth_pixels"] == 12 * 16
    about = json.loads((out / "extract.json").read_text())
    assert about["format"] == "mono_depth_extract 1"
    assert about["depth_scale"] == 256.0
    assert about["topics"]["truth"] == "/lidar/points"
    assert about["damage"] == ""
    assert not list(tmp_path.glob(".*"))


def test_jpeg_and_every_and_motion(make_bag, tmp_path):
    bag = make_bag(frames=9)
    config = ExtractConfig(every=2, min_change=0.0)
    assert extract_bag(bag, tmp_path / "a", config).written == 5
    assert stamps(tmp_path / "a") == [0, 2, 4, 6, 8]
    assert lines(tmp_path / "a")[0]["image"].endswith(".jpg")
    # Each image is one grey level brighter than the one before it; slow change adds up.
    summary = extract_bag(bag, tmp_path / "b", ExtractConfig(min_change=2.5))
    assert summary == ExtractSummary(written=3, still=6)
    assert stamps(tmp_path / "b") == [0, 3, 6]


def test_points_that_the_camera_cannot_see_are_dropped(make_bag, tmp_path):
    """A point far behind the wall, between wall points above and below it, is seen through it."""

    wall = np.full((12, 16), 2.0, np.float32)
    hole = wall.copy()
    hole[6, 3] = 50.0

    def extra(writer, stamp_ns):
        writer.write_points("/lidar/points", stamp_ns, "camera", cloud_of(hole, np.eye(4)))

    bag = make_bag(frames=1, lidar=False, extra=extra)
    for occlusion, expected in (("none", 50 * 256), ("opposite", 0)):
        out = tmp_path / occlusion
        extract_bag(bag, out, ExtractConfig(occlusion=occlusion))
        code = cv2.imread(str(out / lines(out)[0]["depth"]), cv2.IMREAD_UNCHANGED)
        assert code[6, 3] == expected
        assert np.argwhere(code != 256 * wall).tolist() == [[6, 3]]


def test_a_distorted_camera_is_rectified(tmp_path):
    """A dot that the lens moved lies on the LiDAR point's pixel again."""
    d = (-0.35, 0.1, 0.0, 0.0, 0.0)
    camera = type(CAMERA)(fx=60.0, fy=60.0, cx=40.0, cy=30.0, width=81, height=61)
    # On pixel (64, 12) without the lens.
    x, y = 24 / 60, -18 / 60
    r2 = x * x + y * y
    bent = 1 - 0.35 * r2 + 0.1 * r2 * r2
    u, v = round(40 + 60 * x * bent), round(30 + 60 * y * bent)
    assert abs(u - 64) + abs(v - 12) >= 3
    image = np.zeros((61, 81, 3), np.uint8)
    image[v - 1 : v + 2, u - 1 : u + 2] = 255
    cloud = np.zeros(1, [(name, np.float32) for name in "xyz"])
    cloud["x"], cloud["y"], cloud["z"] = 5 * x, 5 * y, 5.0
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_transforms("/tf_static", START_NS, [("camera", "lidar", np.eye(4))])
        writer.write_image("/camera/image_raw", START_NS, "camera", image)
        info = camera_info_message(START_NS, "camera", camera)
        info.d = np.array(d)
        # What a rectified image would have; it does not count here.
        info.p[0] = info.p[5] = 55.0
        writer.write_message("/camera/camera_info", START_NS, info)
        writer.write_points("/lidar/points", START_NS, "lidar", cloud)
    arguments = ["--unrectified", "--image-format", "png"]
    assert main(["extract", str(tmp_path / "bag"), str(tmp_path / "out"), *arguments]) == 0
    (line,) = lines(tmp_path / "out")
    assert line["intrinsics"] == [60.0, 60.0, 40.0, 30.0]
    code = cv2.imread(str(tmp_path / "out" / line["depth"]), cv2.IMREAD_UNCHANGED)
    assert np.argwhere(code).tolist() == [[12, 64]]
    assert code[12, 64] == 5 * 256
    bright = read_rgb(tmp_path / "out" / line["image"])[..., 0].astype(float)
    rows, columns = np.indices(bright.shape)
    centre = (rows * bright).sum() / bright.sum(), (columns * bright).sum() / bright.sum()
    # The dot lies on whole pixels of the distorted image.
    assert centre == pytest.approx((12, 64), abs=0.6)


def test_a_damaged_bag_yields_what_is_before_the_damage(make_bag, tmp_path):
    bag = make_bag(frames=30)
    file = bag / "bag.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(BagError, match=r"bag\.mcap is damaged.*out holds \d+ readable frames"):
        extract_bag(bag, tmp_path / "out", PNG)
    found = stamps(tmp_path / "out")
    assert 0 < len(found) < 30
    assert found == list(range(len(found)))
    about = json.loads((tmp_path / "out" / "extract.json").read_text())
    assert "damaged" in about["damage"]
    assert about["frames"]["written"] == len(found)


def test_frames_that_cannot_be_used_cost_only_themselves(make_bag, tmp_path):
    with BagReader(make_bag()) as reader, BagWriter(tmp_path / "cut") as writer:
        count = 0
        for topic, msgtype, log_time_ns, cdr in reader.raw_messages():
            count += topic == "/camera/image_raw"
            cut = topic == "/camera/image_raw" and count == 2
            writer.write_raw(topic, msgtype, log_time_ns, cdr[:50] if cut else cdr)
    summary = extract_bag(tmp_path / "cut", tmp_path / "out", PNG)
    assert summary == ExtractSummary(written=3, unreadable=1)
    assert stamps(tmp_path / "out") == [0, 2, 3]


def test_an_image_that_is_sent_twice_is_taken_once(make_bag, tmp_path):
    def extra(writer, stamp_ns):
        if stamp_ns == START_NS + PERIOD_NS:
            rgb = np.full((12, 16, 3), 99, np.uint8)
            writer.write_image("/camera/image_raw", stamp_ns, "camera", rgb)

    assert extract_bag(make_bag(extra=extra), tmp_path / "out", PNG).written == 4
    assert stamps(tmp_path / "out") == [0, 1, 2, 3]


def test_nothing_in_the_image_is_an_error_and_leaves_nothing(make_bag, tmp_path):
    behind = FrameConfig(camera_from_lidar=(0.0, 0.0, -1000.0, 0.0, 0.0, 0.0, 1.0))
    with pytest.raises(BagError, match=r"no point of /lidar/points falls into an image"):
        extract_bag(make_bag(), tmp_path / "out", ExtractConfig(behind))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag"]


def test_an_interrupted_run_leaves_nothing(make_bag, tmp_path):
    def interrupted(frames, total):
        yield next(iter(frames))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_bag(make_bag(), tmp_path / "out", PNG, track=interrupted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag"]


def test_a_folder_with_something_in_it_is_left_alone(make_bag, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert extract_bag(make_bag(), out, PNG).written == 4
    with pytest.raises(DataError, match=r"out exists and is not empty"):
        extract_bag(tmp_path / "bag", out, PNG)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file exists"):
        extract_bag(tmp_path / "bag", tmp_path / "file", PNG)
    with pytest.raises(DataError, match=r"cannot write"):
        extract_bag(tmp_path / "bag", tmp_path / "file" / "below", PNG)


@pytest.mark.parametrize(
    "settings",
    [{"every": 0}, {"min_change": -1.0}, {"frames": FrameConfig(truth="depth")}],
)
def test_impossible_settings(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ExtractConfig(**settings)


def test_the_command_says_what_it_did(make_bag, tmp_path, capsys):
    bag = make_bag(frames=3)
    transform = ["0.1", "0", "0", "0.5", "-0.5", "0.5", "0.5"]
    options = ["--min-change", "1.5", "--camera-from-lidar", *transform]
    assert main(["extract", str(bag), str(tmp_path / "out"), *options]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'out'}: 2 frames; left out: 1 without motion, 0 without LiDAR points in the "
        "image, 0 unreadable\n"
    )
    assert main(["extract", str(bag), str(tmp_path / "out")]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert main(["extract", str(bag), str(tmp_path / "a"), "--lidar-topic", "/x"]) == 1
    assert "no topic /x" in capsys.readouterr().err
