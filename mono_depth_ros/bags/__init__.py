"""Reading, writing and importing recordings; needs rosbags, never ROS."""
