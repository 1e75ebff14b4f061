"""The node as a program: all outputs over DDS, its cloud set through the parameter service."""

from pathlib import Path

import numpy as np
import pytest
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from ros_support import HEIGHT, WIDTH, make_camera_info, make_image, random_rgb, stamp_ns
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from mono_depth_ros.decoding import point_cloud_fields

pytestmark = pytest.mark.ros

NODE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from known_network import load_known
from mono_depth_ros.ros.depth_process import main

main(load_predictor=load_known)
"""
START_S = 120.0


class Client:
    """A camera in front of the node's process, and a client of its parameter service."""

    def __init__(self, graph):
        self.graph, self.stamp, self.rgb = graph, 0, np.maximum(random_rgb(4), 1)
        self.images = graph.node.create_publisher(Image, "image", 5)
        self.infos = graph.node.create_publisher(CameraInfo, "camera_info", 5)
        self.service = graph.node.create_client(
            SetParametersAtomically, "/depth_node/set_parameters_atomically"
        )
        graph.spin_until(self.images.get_subscription_count, timeout_s=START_S)
        graph.spin_until(self.service.service_is_ready)

    def serve(self, *received):
        """Send images until each list has a message of one of them; return those messages."""
        first = self.stamp + 1
        for _ in range(100):
            self.stamp += 1
            self.infos.publish(make_camera_info())
            self.images.publish(make_image(self.rgb, self.stamp))
            self.graph.spin_for(0.2)
            newest = [messages[-1] if messages else None for messages in received]
            if all(message is not None and stamp_ns(message) >= first for message in newest):
                return newest
        raise AssertionError(f"no answer; received {self.graph.counts()}")

    def set(self, **values):
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in
                      values.items()]  # fmt: skip
        future = self.service.call_async(SetParametersAtomically.Request(parameters=parameters))
        self.graph.spin_until(future.done)
        return future.result().result


def test_a_node_process_publishes_all_topics_and_follows_its_settings(
    start_process, network_graph, tmp_path
):
    script = tmp_path / "known_node.py"
    script.write_text(NODE)
    start_process(script)
    client = Client(network_graph)
    red, green, blue = (client.rgb[..., channel] / 255 for channel in range(3))
    points = network_graph.listen(PointCloud2, "/depth_node/points")
    expected = {
        "depth/image_mm": ("16UC1", np.uint16, np.rint(10000 * red)),
        "confidence": ("32FC1", np.float32, green),
        "semantics": ("mono8", np.uint8, red > 0.9),
        "attention": ("32FC1", np.float32, blue),
    }
    topics = [network_graph.listen(Image, f"/depth_node/{topic}") for topic in expected]
    cloud, *images = client.serve(points, *topics)
    for image, (encoding, kind, values) in zip(images, expected.values(), strict=True):
        assert (image.encoding, image.height, image.width) == (encoding, HEIGHT, WIDTH)
        found = np.frombuffer(image.data, kind).reshape(HEIGHT, WIDTH)
        # Rounding to millimetres may tip at a half.
        np.testing.assert_allclose(found, values, atol=1.0 if kind is np.uint16 else 1e-5)
    z = point_cloud_fields(cloud)["z"].reshape(HEIGHT, WIDTH)
    np.testing.assert_allclose(z, 10 * red, rtol=1e-6)

    assert client.set(cloud_stride=4, cloud_min_confidence=0.5).successful
    (cloud,) = client.serve(points)
    assert (cloud.height, cloud.width) == (HEIGHT // 4, WIDTH // 4)
    z = point_cloud_fields(cloud)["z"].reshape(cloud.height, cloud.width)
    np.testing.assert_array_equal(np.isfinite(z), green[::4, ::4] >= 0.5)

    refused = client.set(cloud_voxel_size_m=0.5)
    assert not refused.successful and "set cloud_layout to dense first" in refused.reason
    assert client.set(cloud_layout="dense", cloud_voxel_size_m=0.5).successful
    (cloud,) = client.serve(points)
    assert cloud.height == 1 and 0 < cloud.width < (green[::4, ::4] >= 0.5).sum()
    xyz = np.stack([point_cloud_fields(cloud)[axis] for axis in "xyz"], axis=-1)
    assert len(np.unique(np.floor(2 * xyz), axis=0)) == cloud.width
