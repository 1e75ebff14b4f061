"""Messages that no camera should send: each is counted with its reason, the next one is served."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ros_support import HEIGHT, WIDTH, make_camera_info, make_image, random_rgb, stamp_ns
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header
from test_depth_node import Bench

from mono_depth_ros.image_encodings import LAYOUTS

pytestmark = pytest.mark.ros

FAST, LONG, OVER_DDS = 1000, 20_000, 500
SLOW_IS_FINE = [
    HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture,
    HealthCheck.data_too_large,
]

sizes = st.one_of(st.integers(0, 40), st.sampled_from([HEIGHT, WIDTH]), st.integers(0, 2**32 - 1))
small = st.integers(0, 2**32 - 1)
numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)
nearly = st.one_of(numbers, st.sampled_from([0.0, 1.0, -1.0, 80.0, math.nan, math.inf]))
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
encodings = st.one_of(st.sampled_from([*sorted(LAYOUTS), "32FC1", "16UC1", "jpeg", ""]), words)


@st.composite
def headers(draw):
    header = Header(frame_id=draw(words))
    header.stamp.sec = draw(st.integers(-(2**31), 2**31 - 1))
    header.stamp.nanosec = draw(small)
    return header


@st.composite
def images(draw):
    """Sizes, steps and lengths of data that fit each other now and then."""
    height, width, pixel = draw(sizes), draw(sizes), draw(st.integers(0, 8))
    step = draw(st.one_of(st.just(width * pixel % 2**32), small))
    fits = step * height
    length = draw(st.one_of(st.just(fits if fits < 20_000 else 7), st.integers(0, 300)))
    return Image(
        header=draw(headers()),
        height=height,
        width=width,
        encoding=draw(encodings),
        is_bigendian=draw(st.integers(0, 255)),
        step=step,
        data=np.random.default_rng(length).bytes(length),
    )


@st.composite
def compressed_images(draw):
    starts = [
        b"",
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        JPEG[:40],
        JPEG[:-20],
        JPEG,
    ]
    data = draw(st.sampled_from(starts)) + draw(st.binary(max_size=60))
    return CompressedImage(header=draw(headers()), format=draw(encodings), data=data)


@st.composite
def camera_infos(draw):
    return CameraInfo(
        header=draw(headers()),
        height=draw(sizes),
        width=draw(sizes),
        distortion_model=draw(
            st.one_of(
                st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", ""]), words
            )
        ),
        d=draw(st.lists(nearly, max_size=14)),
        k=draw(st.lists(nearly, min_size=9, max_size=9)),
        r=draw(st.lists(nearly, min_size=9, max_size=9)),
        p=draw(st.lists(nearly, min_size=12, max_size=12)),
        binning_x=draw(st.integers(0, 5)),
        binning_y=draw(small),
        roi=RegionOfInterest(
            x_offset=draw(small), y_offset=draw(sizes), height=draw(sizes), width=draw(sizes)
        ),
    )


def jpeg() -> bytes:
    import cv2

    return cv2.imencode(".jpg", random_rgb(0))[1].tobytes()


JPEG = jpeg()
messages = st.one_of(images(), compressed_images(), camera_infos())


def settled(tally) -> bool:
    return tally.received == tally.served + tally.dropped


def wait_until_settled(tally) -> None:
    end_s = time.monotonic() + 20.0
    while not settled(tally):
        assert time.monotonic() < end_s, tally.summary()
        time.sleep(0.0005)


def require_service(b, depth, stamp):
    """A good image with a good camera_info is served."""
    info = make_camera_info()
    info.header.stamp.nanosec = stamp
    b.node._on_camera_info(info)
    b.node._on_image(make_image(random_rgb(0), stamp))
    b.graph.spin_until(lambda: depth and stamp_ns(depth[-1]) == stamp)


def fuzz(graph, examples):
    b = Bench(graph)
    b.node.tally._log = lambda line: None
    b.start()
    depth = b.listen(Image, "depth/image")
    stamp, sent = 0, 0

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=SLOW_IS_FINE
    )
    @given(messages)
    def send(message):
        nonlocal stamp, sent
        sent += 1
        if isinstance(message, CameraInfo):
            b.node._on_camera_info(message)
            b.node._on_image(make_image(random_rgb(1), 0))
            wait_until_settled(b.node.tally)
            # Else its images would be refused for it, and none be decoded. Its stamp is no image's.
            good = make_camera_info()
            good.header.stamp.sec = 1
            b.node._on_camera_info(good)
        else:
            b.node._on_image(message)
        wait_until_settled(b.node.tally)
        if sent % 100 == 0:
            stamp += 1
            require_service(b, depth, stamp)

    try:
        send()
        require_service(b, depth, stamp + 1)
        tally = b.node.tally
        assert settled(tally) and tally.counts.get("unexpected error", 0) == 0, tally.summary()
        assert tally.counts["DecodingError"] > examples / 20
        assert tally.counts["CalibrationError"] > examples / 20
    finally:
        b.node.stop(15.0)


def test_1000_malformed_messages(graph):
    fuzz(graph, FAST)


@pytest.mark.long
def test_20000_malformed_messages(graph):
    fuzz(graph, LONG)


@pytest.mark.long
def test_500_malformed_messages_over_dds(graph):
    b = Bench(graph)
    b.node.tally._log = lambda line: None
    b.start()
    depth = b.listen(Image, "depth/image")
    publishers = {Image: b.image, CompressedImage: b.compressed, CameraInfo: b.info}

    @settings(
        max_examples=OVER_DDS, deadline=None, database=None, suppress_health_check=SLOW_IS_FINE
    )
    @given(messages)
    def send(message):
        publishers[type(message)].publish(message)
        graph.spin_for(0.005)

    try:
        send()
        graph.spin_until(lambda: settled(b.node.tally))
        b.info.publish(make_camera_info())
        graph.spin_for(0.1)
        graph.publish_matched(b.image, make_image(random_rgb(0), 1))
        graph.spin_until(lambda: depth and stamp_ns(depth[-1]) == 1)
        assert b.node.tally.counts.get("unexpected error", 0) == 0
        assert b.node.tally.received > OVER_DDS / 4
    finally:
        b.node.stop(15.0)
