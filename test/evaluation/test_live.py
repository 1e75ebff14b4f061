"""Frames that come one by one: matched, timed and scored as those of a recording are."""

from dataclasses import replace

import numpy as np
import pytest
from wall_scene import CAMERA, wall_depth

from mono_depth_ros.bags import messages
from mono_depth_ros.bags.topics import Topics
from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.evaluation.association import match_nearest
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frame_scoring import Reference, constant_errors, score_frame
from mono_depth_ros.evaluation.frames import Frame, Recording
from mono_depth_ros.evaluation.live import LiveScores, LiveSource, _PictureChoice, require_live
from mono_depth_ros.evaluation.live_frames import RecentCameras
from mono_depth_ros.evaluation.live_rig import RecentPoses, read_poses
from mono_depth_ros.evaluation.live_timing import LiveTiming
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.protocols import PROTOCOLS, select_pixels
from mono_depth_ros.evaluation.rig import make_rig
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.evaluation.streaming import EVICTED, LATE, StreamMatcher
from mono_depth_ros.prediction import Prediction

MS = 1_000_000


def stream(matcher, images_ns, truths_ns, depths_ns, delay_ns):
    """Send messages in the order of their arrival; return (image, truth, depth) stamps."""
    arrivals = [(ns, 0, matcher.add_image, ns) for ns in images_ns]
    arrivals += [(ns, 1, matcher.add_truth, ns) for ns in truths_ns]
    arrivals += [(ns + delay_ns, 2, matcher.add_depth, ns) for ns in depths_ns]
    matches = []
    for _, _, add, stamp_ns in sorted(arrivals, key=lambda arrival: arrival[:2]):
        add(stamp_ns, stamp_ns)
        matches += matcher.take()
    return [(m.stamp_ns, m.truth_stamp_ns, m.depth) for m in [*matches, *matcher.flush()]]


class TestStreamMatcher:
    @pytest.mark.parametrize("seed", range(20))
    def test_pairs_are_those_of_the_whole_recording(self, seed):
        rng = np.random.default_rng(seed)
        images_ns = np.unique(rng.integers(0, 5000, 150)) * MS
        truths_ns = np.unique(rng.integers(0, 5000, 50 + 10 * seed)) * MS
        depths_ns = images_ns[rng.random(images_ns.size) < 0.6]
        matcher = StreamMatcher(40 * MS, 1000)
        found = stream(
            matcher, images_ns.tolist(), truths_ns.tolist(), depths_ns.tolist(), 120 * MS
        )
        matches = match_nearest(images_ns, truths_ns, 40 * MS)
        expected = [
            (image, truths_ns[match], image if image in depths_ns else None)
            for image, match in zip(images_ns.tolist(), matches.tolist(), strict=True)
            if match >= 0
        ]
        assert found == expected
        assert (matcher.images, matcher.truths) == (images_ns.size, truths_ns.size)
        assert matcher.pairs == len(expected)
        assert +matcher.dropped == {}

    def test_a_pair_is_complete_with_its_depth_or_a_later_one(self):
        matcher = StreamMatcher(10 * MS, 10)
        for index in range(4):
            matcher.add_image(100 * MS * index, "image")
            matcher.add_truth(100 * MS * index, "truth")
        assert list(matcher.take()) == []
        matcher.add_depth(100 * MS, "depth")
        assert [(m.stamp_ns, m.depth) for m in matcher.take()] == [(0, None), (100 * MS, "depth")]
        assert [m.stamp_ns for m in matcher.flush()] == [200 * MS, 300 * MS]

    def test_memory_is_bounded_whatever_is_missing(self):
        matcher = StreamMatcher(10 * MS, 5)
        unanswered = []
        for index in range(100):
            matcher.add_image(100 * MS * index, "image")
            matcher.add_truth(100 * MS * index, "truth")
            unanswered += matcher.take()
        held = [matcher._images, matcher._truths, matcher._depths]
        assert all(len(s.stamps_ns) <= 6 and len(s._messages) <= 6 for s in held)
        assert len(matcher._pairs) == 5
        assert [m.depth for m in unanswered] == [None] * len(unanswered) and len(unanswered) > 90
        for index in range(100, 200):
            matcher.add_depth(100 * MS * index, "depth")
            matcher.add_image(100 * MS * index, "image")
            list(matcher.take())
        assert all(len(s.stamps_ns) <= 6 for s in held)
        assert matcher.dropped[EVICTED] > 100

    def test_a_recording_that_starts_again_adds_nothing(self):
        matcher = StreamMatcher(10 * MS, 10)
        stamps_ns = [100 * MS * index for index in range(1, 5)]
        first = stream(matcher, stamps_ns, stamps_ns, stamps_ns, 0)
        assert len(first) == 4
        assert stream(matcher, stamps_ns, stamps_ns, stamps_ns, 0) == []
        assert matcher.images == 4 and matcher.dropped[LATE] > 0

    def test_room_for_one_message_is_none(self):
        with pytest.raises(ConfigError, match="2 or more"):
            StreamMatcher(0, 1)


class TestLiveTiming:
    def test_latency_age_and_drops_by_hand(self):
        timing = LiveTiming()
        for index in range(10):
            timing.add_image(index, 1000 * MS + index * 100 * MS)
        # Images 0 to 3 came before the node ran; 5 and 7 were dropped by it.
        for index, latency_ms in ((4, 10), (6, 20), (8, 30), (9, 40)):
            received_ns = 1000 * MS + index * 100 * MS + latency_ms * MS
            timing.add_depth(index, received_ns, age_ms=latency_ms + 5.0)
        facts = timing.facts("system clock")
        assert facts["images_seen"] == 10 and facts["depths_received"] == 4
        assert facts["images_before_first_depth"] == 4
        assert facts["drop_share"] == pytest.approx(2 / 6)
        assert facts["latency_p50_ms"] == pytest.approx(25.0)
        assert facts["latency_p95_ms"] == pytest.approx(38.5)
        assert facts["age_p50_ms"] == pytest.approx(30.0)
        assert facts["age_clock"] == "system clock"

    def test_a_depth_may_overtake_its_image(self):
        timing = LiveTiming()
        timing.add_depth(7, 30 * MS, age_ms=1.0)
        timing.add_image(7, 10 * MS)
        timing.add_image(7, 99 * MS)
        facts = timing.facts("system clock")
        assert facts["latency_p50_ms"] == pytest.approx(20.0)
        assert (facts["images_seen"], facts["drop_share"]) == (1, 0.0)

    def test_stamps_of_another_clock_have_no_age(self):
        timing = LiveTiming()
        timing.add_image(1, 0)
        timing.add_depth(1, MS, age_ms=1e12)
        facts = timing.facts("system clock")
        assert facts["age_p99_ms"] is None and "not that of the stamps" in facts["age_clock"]

    def test_nothing_measured_is_none(self):
        timing = LiveTiming()
        assert timing.facts("x")["drop_share"] is None
        timing.add_image(1, 0)
        assert timing.facts("x")["drop_share"] is None and timing.facts("x")["images_seen"] == 1


class _FromFrames:
    """A predictor that knows depth by stamp; some frames have none."""

    def __init__(self, depths):
        self.depths = depths

    def predict_frame(self, frame):
        return self.depths.get(frame.stamp_ns)


class TestLiveScores:
    @pytest.mark.parametrize("profile", sorted(PROTOCOLS))
    def test_constant_from_the_counted_depths_alone(self, profile):
        rng = np.random.default_rng(1)
        size = (480, 640) if profile.startswith("nyu") else (375, 1242)
        reference_m = rng.uniform(0.5, 90.0, size).astype(np.float32)
        reference_m[rng.random(size) < 0.8] = np.nan
        config = EvaluationConfig(profile=profile, sampling="pixel")
        camera = replace(CAMERA, height=size[0], width=size[1])
        frame = Frame(0, 0, None, camera, depth_m=reference_m)
        everywhere = np.full_like(reference_m, 7.5)
        expected = score_frame(frame, Prediction(everywhere), Reference(reference_m), config).model
        _, counted_m, _ = select_pixels(reference_m, reference_m, config.protocol)
        assert constant_errors(counted_m.astype(np.float32), 7.5, config.protocol) == expected
        assert expected.count > 1000

    def test_equal_to_those_of_the_bag(self, make_bag, tmp_path):
        bag = make_bag(frames=7)
        config = EvaluationConfig(pictures=2)
        frames = list(Recording(bag, config.frames).frames())
        depths = {f.stamp_ns: wall_depth(i) * 1.2 for i, f in enumerate(frames) if i != 3}
        offline = evaluate_bag(bag, _FromFrames(depths), config)
        scores = LiveScores(config, tmp_path)
        for frame in frames:
            scores.add(frame, depths.get(frame.stamp_ns))
        source = LiveSource(bag, Topics("a", "b", "c"), 7, 7, range(7))
        live = scores.finish(source, unreadable=0)
        scores.close()
        # repr, because NaN of an empty bin is not equal to itself.
        assert repr(list(live.frames)) == repr(list(offline.frames))
        assert live.summary == offline.summary
        assert live.details == offline.details
        assert [p.title for p in live.worst] == [p.title for p in offline.worst]
        assert [len(live.worst), len(live.best)] == [3, 3]
        assert live.summary.unpredicted_frames == 1 and len(live.pictures) == 2
        assert list(tmp_path.glob("tmp*")) == []

    def test_nothing_to_score_says_what_came(self, tmp_path):
        scores = LiveScores(EvaluationConfig(), tmp_path)
        source = LiveSource(tmp_path, Topics("/image", "/info", "/points"), 12, 0, range(0))
        with pytest.raises(BagError, match="12 images, 0 clouds on /points"):
            scores.finish(source, unreadable=0)

    @pytest.mark.parametrize(
        ("frames", "reason"),
        [
            ({"truth": "depth"}, "LiDAR only"),
            ({"sweeps": 3}, "must be 1"),
            ({"max_frames": 5}, "length of the recording"),
            ({"rectified": False}, "image_proc"),
        ],
    )
    def test_what_cannot_be_done_live_is_refused(self, frames, reason):
        with pytest.raises(ConfigError, match=reason):
            require_live(EvaluationConfig(frames=FrameConfig(**frames)))

    @pytest.mark.parametrize("count", [1, 3, 4, 100, 1000])
    def test_pictures_are_few_and_spread(self, count):
        choice = _PictureChoice(3)
        for index in range(count):
            if choice.wants(index):
                choice.add(index, index)
        chosen = choice.evenly_spread()
        assert len(choice._pictures) <= 6
        assert len(chosen) == min(count, 3) and chosen[0] == 0
        assert chosen[-1] >= count // 2
        assert not _PictureChoice(0).wants(0)


class TestRig:
    def test_a_recording_without_images_will_do(self, make_bag):
        poses = read_poses(make_bag(), FrameConfig())
        rig = make_rig(poses, FrameConfig(), "camera", "lidar", 0)
        offset_m = rig.camera_from_lidar(0)[:3, 3]
        np.testing.assert_allclose(offset_m, [-0.2, -0.1, -0.2], atol=1e-6)
        with pytest.raises(BagError, match="no transform between"):
            make_rig(poses, FrameConfig(), "camera", "other", 0)

    def test_a_recording_without_transforms_is_refused(self, make_bag):
        bag = make_bag(transforms=False)
        with pytest.raises(BagError, match="camera_from_lidar"):
            read_poses(bag, FrameConfig())
        given = FrameConfig(camera_from_lidar=(1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0))
        rig = make_rig(read_poses(bag, given), given, "camera", "lidar", 0)
        np.testing.assert_allclose(rig.camera_from_lidar(0)[:3, 3], [1, 2, 3])

    def test_topics_remember_all_static_and_the_latest_moving_transforms(self):
        recent = RecentPoses(most=50)
        matrix = np.eye(4)
        static = messages.transforms_message(0, [("base", "lidar", matrix)])
        recent.add(static, static=True)
        for index in range(1000):
            matrix = np.eye(4)
            matrix[0, 3] = index
            moving = messages.transforms_message(index * MS, [("odom", "base", matrix)])
            recent.add(moving, static=False)
        assert recent.poses.transforms.lookup("odom", "lidar", 990 * MS)[0, 3] == 990
        with pytest.raises(BagError, match="not known at"):
            recent.poses.transforms.lookup("odom", "lidar", 100 * MS)


class TestRecentCameras:
    def test_nearest_and_unusable(self):
        cameras = RecentCameras()
        assert isinstance(cameras.at(0), Exception)
        cameras.add(100, messages.camera_info_message(100, "optical", CAMERA))
        wide = replace(CAMERA, fx=99.0)
        cameras.add(200, messages.camera_info_message(200, "optical", wide))
        broken = messages.camera_info_message(300, "optical", CAMERA)
        broken.p[:], broken.k[:] = 0.0, 0.0
        cameras.add(300, broken)
        assert cameras.at(120) == CAMERA and cameras.at(160) == wide
        assert isinstance(cameras.at(301), Exception)
        assert cameras.frame_id == "optical"
