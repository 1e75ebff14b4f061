"""Metric depth from one camera: networks, ROS 2 node, LiDAR score."""

import logging

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())
