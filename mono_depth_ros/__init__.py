"""Metric depth from one camera: networks, ROS 2 node, LiDAR score."""

import logging

__version__ = "0.1.0"

DEFAULT_CHECKPOINT = "hgc_light_rooms"
"""What node and commands run when nobody names a checkpoint."""

logging.getLogger(__name__).addHandler(logging.NullHandler())
