"""Damaged and odd recordings: everything readable is scored, everything else is in the report."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from rewritten_bags import IMAGE, INFO, LIDAR, rewrite
from wall_scene import CAMERA, PERIOD_NS, START_NS, wall_depth

from mono_depth_ros.bags.messages import TYPESTORE, camera_info_message
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.left_out import LISTED
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.report import write_report
from mono_depth_ros.evaluation.settings import EvaluationConfig

CONFIG = EvaluationConfig(occlusion="none", range_bins_m=(0.0, 10.0), pictures=0)
PIXELS = CAMERA.width * CAMERA.height


def ten_percent_far(rgb, camera):
    """Predict the wall of the frame number painted into the image, 10 % too far."""
    return 1.1 * wall_depth(int(rgb[0, 0, 0]))


def report_of(bag, out, config=CONFIG):
    """Return the stamps of the scored frames as frame numbers, scores.json and report.html."""
    evaluation = evaluate_bag(bag, ten_percent_far, config)
    assert evaluation.summary.model.abs_rel == pytest.approx(0.1, rel=1e-5)
    page = write_report(evaluation, out / "report")
    scores = json.loads((out / "report" / "scores.json").read_text())
    numbers = [(frame.stamp_ns - START_NS) / PERIOD_NS for frame in evaluation.frames]
    return numbers, scores, page.read_text()


def position_after(data, topic_number, cdr):
    """Return where the record of a message ends in the bytes of a storage file."""
    start = data.index(cdr)
    assert data.find(cdr, start + 1) < 0, topic_number
    return start + len(cdr)


def test_a_truncated_mcap_gives_every_frame_before_the_cut(make_bag, tmp_path):
    bag = make_bag(frames=6)
    with BagReader(bag) as reader:
        clouds = [bytes(cdr) for _, _, _, cdr in reader.raw_messages([LIDAR])]
    file = bag / "bag.mcap"
    data = file.read_bytes()
    end = position_after(data, 2, clouds[2])
    for cut, expected in ((end, [0, 1, 2]), (end - 1, [0, 1])):
        file.write_bytes(data[:cut])
        numbers, scores, page = report_of(bag, tmp_path)
        assert numbers == expected
        left_out = scores["left_out"]
        # The image of frame 2 is whole; after the second cut its cloud is not.
        assert left_out["unmatched_images"] == 3 - len(expected)
        assert left_out["damage"].startswith("bag/bag.mcap is damaged: the record at its end lacks")
        assert scores["provenance"]["damage"] == left_out["damage"]
        assert "what is damaged of the recording" in page and left_out["damage"] in page
    with pytest.raises(BagError, match="accept_damaged"):
        refusing = replace(CONFIG, frames=FrameConfig(accept_damaged=False))
        evaluate_bag(bag, ten_percent_far, refusing)


def test_the_command_line_names_the_damage_or_refuses_it(make_bag, tmp_path, capsys):
    bag = make_bag(frames=6)
    file = bag / "bag.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    arguments = ["evaluate", str(bag), "--depth-topic", "/ground_truth/depth"]
    arguments += ["--out", str(tmp_path / "report")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "scored what can be read: bag/bag.mcap is damaged: " in printed
    assert main([*arguments, "--refuse-damaged"]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_of_a_damaged_split_recording_the_other_files_are_scored(make_bag, tmp_path):
    """Three files of four frames; the second one is damaged behind the image of its frame 2."""
    with BagReader(make_bag(frames=12)) as reader:
        records = list(reader.raw_messages())
    split = tmp_path / "split"
    split.mkdir()
    for part in range(3):
        with BagWriter(tmp_path / f"part{part}") as writer:
            for topic, msgtype, log_time_ns, cdr in records:
                # Transforms lie in the first file only, as recorders write them.
                number = (log_time_ns - START_NS) // PERIOD_NS
                if number // 4 == part:
                    writer.write_raw(topic, msgtype, log_time_ns, cdr)
        (tmp_path / f"part{part}" / f"part{part}.mcap").rename(split / f"split_{part}.mcap")
    file = split / "split_1.mcap"
    image = next(
        cdr for topic, _, ns, cdr in records if topic == IMAGE and ns == START_NS + 6 * PERIOD_NS
    )
    data = file.read_bytes()
    file.write_bytes(data[: position_after(data, 6, image)])
    numbers, scores, page = report_of(split, tmp_path)
    assert numbers == [0, 1, 2, 3, 4, 5, 8, 9, 10, 11]
    left_out = scores["left_out"]
    assert left_out["unmatched_images"] == 1
    assert left_out["damage"].startswith("split/split_1.mcap is damaged: ")
    assert left_out["damage"] in page


def test_damage_among_the_clouds_alone_does_not_mix_up_frames(make_bag, tmp_path):
    """The index of the damaged file leads reading the images alone past its damage."""
    with BagReader(make_bag(frames=6)) as reader:
        records = list(reader.raw_messages())
    split = tmp_path / "split"
    split.mkdir()
    for part in range(2):
        chosen = [r for r in records if (r[2] - START_NS) // PERIOD_NS // 3 == part]
        with BagWriter(tmp_path / f"part{part}") as writer:
            for topic, msgtype, log_time_ns, cdr in chosen:
                if topic != LIDAR:
                    writer.write_raw(topic, msgtype, log_time_ns, cdr)
            # Fills the chunk, so that the clouds get one of their own.
            writer.write_raw(
                "/odd", "odd_msgs/msg/Odd", chosen[0][2], bytes(2**21), definition="int32 number"
            )
            for topic, msgtype, log_time_ns, cdr in chosen:
                if topic == LIDAR:
                    writer.write_raw(topic, msgtype, log_time_ns, cdr)
        (tmp_path / f"part{part}" / f"part{part}.mcap").rename(split / f"split_{part}.mcap")
    file = split / "split_0.mcap"
    data = bytearray(file.read_bytes())
    cloud = next(r[3] for r in records if r[0] == LIDAR)
    position = 8
    while position + 9 + struct.unpack_from("<Q", data, position + 1)[0] < data.index(cloud):
        position += 9 + struct.unpack_from("<Q", data, position + 1)[0]
    # The checksum of the chunk with the clouds.
    struct.pack_into("<I", data, position + 9 + 24, 12345)
    file.write_bytes(data)
    numbers, scores, _ = report_of(split, tmp_path)
    assert numbers == [3, 4, 5]
    assert "split_0.mcap is damaged" in scores["left_out"]["damage"]
    with BagReader(split) as reader:
        assert sum(1 for _ in reader.raw_messages([IMAGE])) == 6


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_missing_metadata_costs_nothing(make_bag, tmp_path, storage):
    bag = make_bag(storage=storage)
    (bag / "metadata.yaml").unlink()
    numbers, scores, page = report_of(bag, tmp_path)
    assert numbers == [0, 1, 2, 3]
    assert scores["left_out"] == {
        "damage": "",
        "unmatched_images": 0,
        "unreadable": [],
        "unreadable_unlisted": 0,
        "empty": [],
        "empty_unlisted": 0,
    }
    assert "<td>nothing</td>" in page


def test_unknown_and_broken_types_beside_ours_cost_nothing(make_bag, tmp_path):
    def extra(writer, stamp_ns):
        cdr = b"\0\1\0\0\7\0\0\0"
        writer.write_raw("/odd", "odd_msgs/msg/Odd", stamp_ns, cdr, definition="int32 number")

    bag = make_bag(extra=extra)
    numbers, _, _ = report_of(bag, tmp_path)
    assert numbers == [0, 1, 2, 3]
    # The definition of the unknown type is no longer one.
    file = bag / "bag.mcap"
    data = file.read_bytes()
    assert b"int32 number" in data
    file.write_bytes(data.replace(b"int32 number", b"int32 !!!!!!"))
    numbers, _, _ = report_of(bag, tmp_path)
    assert numbers == [0, 1, 2, 3]


def test_a_topic_that_is_not_in_cdr_costs_nothing(make_bag, tmp_path):
    def extra(writer, stamp_ns):
        writer.write_raw("/log", "odd_msgs/msg/Json", stamp_ns, b"{}", definition="string text")

    file = make_bag(extra=extra) / "bag.mcap"
    data = file.read_bytes()
    named = b"\x04\0\0\0/log\x03\0\0\0"
    assert named + b"cdr" in data
    # Without its index, from which rosbags would take the encoding.
    file.write_bytes(data.replace(named + b"cdr", named + b"xml")[:-1])
    numbers, _, _ = report_of(file, tmp_path)
    assert numbers == [0, 1, 2, 3]
    with BagReader(file) as reader:
        assert "/log" not in reader.topics and reader.counts[IMAGE] == 4


def test_an_empty_topic_costs_nothing_or_is_named(make_bag, tmp_path):
    # Topics without messages: a second camera and LiDAR beside ours, then our own cloud.
    bag = rewrite(make_bag("full"), tmp_path / "rear", lambda topic, number, message: message)
    with BagReader(bag) as reader:
        records = list(reader.raw_messages())
    for name, topic, msgtype in (
        ("camera", "/rear/image_raw", "sensor_msgs/msg/Image"),
        ("lidar", "/rear/points", "sensor_msgs/msg/PointCloud2"),
    ):
        write_with_empty_topic(tmp_path / name, records, topic, msgtype)
        numbers, _, _ = report_of(tmp_path / name, tmp_path)
        assert numbers == [0, 1, 2, 3]
    others = [record for record in records if record[0] != LIDAR]
    write_with_empty_topic(tmp_path / "none", others, LIDAR, "sensor_msgs/msg/PointCloud2")
    with pytest.raises(BagError, match=r"no LiDAR cloud; it has .*no message .* of /lidar/points"):
        evaluate_bag(tmp_path / "none", ten_percent_far, CONFIG)


def write_with_empty_topic(bag, records, topic, msgtype):
    """Write records and a topic that nothing was ever sent on."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection(topic, msgtype, typestore=TYPESTORE)
        connections = {
            name: writer.add_connection(name, kind, typestore=TYPESTORE)
            for name, kind in dict.fromkeys((name, kind) for name, kind, _, _ in records)
            if name != topic
        }
        for name, _, log_time_ns, cdr in records:
            writer.write(connections[name], log_time_ns, cdr)


def test_unsorted_stamps_are_matched_by_stamp(make_bag, tmp_path):
    with BagReader(make_bag(frames=8)) as reader:
        records = list(reader.raw_messages())
    np.random.default_rng(0).shuffle(records)
    with BagWriter(tmp_path / "shuffled") as writer:
        for log_time_ns, (topic, msgtype, _, cdr) in enumerate(records):
            writer.write_raw(topic, msgtype, log_time_ns, cdr)
    numbers, scores, _ = report_of(tmp_path / "shuffled", tmp_path)
    assert sorted(numbers) == list(range(8)) and numbers != sorted(numbers)
    assert scores["scores"]["model"]["count"] == 8 * PIXELS


def test_images_of_changing_size_with_their_camera_info_are_scored(make_bag, tmp_path):
    small = CAMERA.resized(8, 6)

    def change(topic, number, message):
        if topic == IMAGE and number in (1, 2):
            pixels = np.full((6, 8, 3), number, np.uint8)
            message = replace(message, height=6, width=8, step=24, data=pixels.ravel())
        if topic == INFO and number == 1:
            message = camera_info_message(START_NS + PERIOD_NS, "camera", small)
        return message

    def predict(rgb, camera):
        assert rgb.shape[:2] == (camera.height, camera.width)
        factor = CAMERA.width // camera.width
        return 1.1 * wall_depth(int(rgb[0, 0, 0]))[::factor, ::factor]

    bag = rewrite(make_bag("full"), tmp_path / "sizes", change)
    evaluation = evaluate_bag(bag, predict, CONFIG)
    # Frame 1 shrank together with its camera_info; that of frame 2 still describes the large image.
    assert [frame.stamp_ns for frame in evaluation.frames] == [
        START_NS + number * PERIOD_NS for number in (0, 1, 3)
    ]
    assert [frame.truth_pixels for frame in evaluation.frames] == [PIXELS, 48, PIXELS]
    page = write_report(evaluation, tmp_path / "report").read_text()
    left_out = json.loads((tmp_path / "report" / "scores.json").read_text())["left_out"]
    ((stamp_ns, reason),) = [(item["stamp_ns"], item["reason"]) for item in left_out["unreadable"]]
    assert stamp_ns == START_NS + 2 * PERIOD_NS
    assert "image on /camera/image_raw is 6x8" in reason and "is for 12x16" in reason
    assert f"frame {stamp_ns} ns" in page and "is 6x8" in page


def test_points_without_a_return_are_no_truth(make_bag, tmp_path):
    def change(topic, number, message):
        if topic == LIDAR and number == 1:
            points = message.data.copy().view("<f4").reshape(-1, 3)
            points[:50] = np.nan
            points[50:60, 0] = np.inf
            points[60:70, 2] = -np.inf
            message = replace(message, data=points.view(np.uint8).ravel())
        return message

    bag = rewrite(make_bag("full"), tmp_path / "nan", change)
    numbers, scores, _ = report_of(bag, tmp_path)
    assert numbers == [0, 1, 2, 3]
    assert scores["scores"]["truth_pixels"] == 4 * PIXELS - 70


def test_sweeps_of_no_length_are_listed_as_empty(make_bag, tmp_path):
    def change(topic, number, message):
        if topic == LIDAR and number == 2:
            return replace(message, width=0, row_step=0, data=np.zeros(0, np.uint8))
        return message

    bag = rewrite(make_bag("full"), tmp_path / "empty", change)
    numbers, scores, page = report_of(bag, tmp_path)
    assert numbers == [0, 1, 2, 3]
    assert scores["scores"]["truth_pixels"] == 3 * PIXELS
    (item,) = scores["left_out"]["empty"]
    assert item["stamp_ns"] == START_NS + 2 * PERIOD_NS
    assert item["reason"] in page
    assert not math.isnan(scores["scores"]["aligned"]["abs_rel"])


def test_broken_messages_are_listed_with_their_reasons(make_bag, tmp_path):
    broken = {IMAGE: 0, LIDAR: 1, INFO: 2, "/tf_static": 1}
    with BagReader(make_bag("full", frames=5)) as reader, BagWriter(tmp_path / "cut") as writer:
        counts = dict.fromkeys(reader.topics, -1)
        for topic, msgtype, log_time_ns, cdr in reader.raw_messages():
            counts[topic] += 1
            # One byte is too short even for the head of a message.
            short = counts[topic] == broken.get(topic)
            writer.write_raw(topic, msgtype, log_time_ns, cdr[:1] if short else cdr)
        writer.write_raw("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, b"\0")
    numbers, scores, page = report_of(tmp_path / "cut", tmp_path)
    assert numbers == [3, 4]
    reasons = {item["stamp_ns"]: item["reason"] for item in scores["left_out"]["unreadable"]}
    first, second, third = (reasons[START_NS + number * PERIOD_NS] for number in range(3))
    assert "an image of 1 bytes is cut off" in first
    assert "/lidar/points: 1 bytes are no sensor_msgs/msg/PointCloud2" in second
    assert "its camera_info is not usable: 1 bytes" in third
    assert scores["scores"]["unreadable_frames"] == len(reasons) == 3
    assert page.count(" ns</td>") == 3


def test_a_cloud_in_another_frame_costs_one_frame(make_bag, tmp_path):
    def change(topic, number, message):
        if topic == LIDAR and number == 3:
            return replace(message, header=replace(message.header, frame_id="rear_lidar"))
        return message

    bag = rewrite(make_bag("full"), tmp_path / "frames", change)
    numbers, scores, _ = report_of(bag, tmp_path)
    assert numbers == [0, 1, 2]
    (item,) = scores["left_out"]["unreadable"]
    assert "'rear_lidar'" in item["reason"] and "'lidar'" in item["reason"]


def test_a_camera_info_of_absurd_size_allocates_nothing(make_bag, tmp_path):
    def change(topic, number, message):
        if topic == INFO and number == 1:
            return replace(message, width=2**32 - 1, height=2**32 - 1)
        return message

    bag = rewrite(make_bag("full"), tmp_path / "absurd", change)
    numbers, scores, _ = report_of(bag, tmp_path)
    assert numbers == [0, 2, 3]
    assert "4294967295x4294967295" in scores["left_out"]["unreadable"][0]["reason"]


def test_only_the_first_unreadable_frames_are_listed(make_bag, tmp_path):
    def change(topic, number, message):
        return replace(message, encoding="odd") if topic == IMAGE and number > 0 else message

    bag = rewrite(make_bag("full", frames=LISTED + 4), tmp_path / "many", change)
    numbers, scores, page = report_of(bag, tmp_path)
    assert numbers == [0]
    left_out = scores["left_out"]
    assert len(left_out["unreadable"]) == LISTED == 20
    assert left_out["unreadable_unlisted"] == 3
    assert "3 frames more" in page
    assert page.count("image encoding &#x27;odd&#x27; is unknown") == LISTED
