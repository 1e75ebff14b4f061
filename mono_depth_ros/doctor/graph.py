"""Who publishes and who subscribes, and which of them never meet."""

from __future__ import annotations

from collections.abc import Sequence

from mono_depth_ros.doctor.findings import Section
from mono_depth_ros.qos_rules import Endpoint, mismatches, remedy

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_INPUTS = {"images": (IMAGE, COMPRESSED_IMAGE), "camera_info": (CAMERA_INFO,)}
# What every node publishes; says nothing about a camera.
_EVERYWHERE = ("/rosout", "/parameter_events")


def check_graph(endpoints: Sequence[Endpoint], sim_time_nodes: Sequence[str] = ()) -> Section:
    """Check who meets whom.

    Args:
        endpoints: of all nodes but the one that looked.
        sim_time_nodes: nodes known to take their time from /clock.
    """
    section = Section("Graph")
    shown = [end for end in endpoints if end.topic not in _EVERYWHERE]
    nodes = sorted({end.node for end in endpoints})
    section.facts["nodes"] = ", ".join(nodes) or "none"
    section.facts["topics"] = str(len({end.topic for end in shown}))
    if not nodes:
        section.add(
            "note", "no other node was found",
            "Either none runs, or they are in another domain, another discovery range or another "
            "middleware than this shell.",
            "start the camera driver and look again; compare section DDS with its shell",
        )  # fmt: skip
    for pair in mismatches(shown):
        section.add(
            "error", pair.text,
            "DDS connects two ends only where the publisher offers at least what is asked for.",
            remedy(pair),
        )  # fmt: skip
    depth_nodes = depth_node_names(endpoints)
    section.facts["depth nodes"] = ", ".join(depth_nodes) or "none"
    for node in depth_nodes:
        _check_inputs(section, node, shown)
    _check_clock(section, endpoints, sim_time_nodes)
    return section


def depth_node_names(endpoints: Sequence[Endpoint]) -> list[str]:
    """Return the nodes of this package: those that publish ~/latency and hear a camera_info."""
    reporting = {
        end.node for end in endpoints if end.publishes and end.topic == f"{end.node}/latency"
    }
    hearing = {
        end.node for end in endpoints if not end.publishes and end.message_type == CAMERA_INFO
    }
    return sorted(reporting & hearing)


def _check_inputs(section: Section, node: str, endpoints: Sequence[Endpoint]) -> None:
    published = {end.topic for end in endpoints if end.publishes}
    heard = [end for end in endpoints if not end.publishes and end.node == node]
    for name, types in _INPUTS.items():
        # Images come raw or compressed; one of the two is enough.
        topics = sorted(
            {end.topic.removesuffix("/compressed") for end in heard if end.message_type in types}
        )
        missing = [t for t in topics if not published & {t, f"{t}/compressed"}]
        if not missing:
            continue
        others = sorted(
            {
                end.topic
                for end in endpoints
                if end.publishes and end.message_type in types and end.node != node
            }
        )
        section.add(
            "error", f"{node} waits for {name} on {', '.join(missing)}, where nobody publishes",
            "It publishes nothing until both images and camera_info come.",
            "launch it with image_topic:=NAME, or remap `image` and `camera_info`; there are "
            + (", ".join(others) or f"no {name} at all"),
        )  # fmt: skip


def _check_clock(
    section: Section, endpoints: Sequence[Endpoint], sim_time_nodes: Sequence[str]
) -> None:
    clocks = sorted({end.node for end in endpoints if end.publishes and end.topic == "/clock"})
    section.facts["/clock"] = f"from {', '.join(clocks)}" if clocks else "nobody publishes it"
    hearing = {end.node for end in endpoints if not end.publishes and end.topic == "/clock"}
    simulated = sorted(hearing | set(sim_time_nodes))
    if clocks and (late := [n for n in depth_node_names(endpoints) if n not in simulated]):
        section.add(
            "warning", f"{', '.join(late)} does not take its time from /clock",
            "Ages in /diagnostics and ~/latency are then those of another clock.",
            "launch with use_sim_time:=true",
        )  # fmt: skip
    if simulated and not clocks:
        section.add(
            "error", f"{', '.join(simulated)} waits for /clock, which nobody publishes",
            "With use_sim_time time stands still until somebody does.",
            "start the bag with --clock or the simulator, or set use_sim_time to false",
        )  # fmt: skip
