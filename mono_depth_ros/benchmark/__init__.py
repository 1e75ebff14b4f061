"""What networks, nodes, messages and recordings cost here; see `mono_depth benchmark`."""
