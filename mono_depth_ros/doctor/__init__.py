"""What `mono_depth doctor` looks at and what it says of it; no ROS in here."""
