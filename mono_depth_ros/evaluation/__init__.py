"""From a recording to scores against LiDAR: frames, protocols, pipeline, report."""
