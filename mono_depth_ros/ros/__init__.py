"""ROS 2 shell: messages, parameters, depth node, bag player and recorder; all rclpy is here."""
