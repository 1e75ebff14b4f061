"""What the depth node publishes: everything that somebody subscribes to, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.masks import EgoMask, resize_mask
from mono_depth_ros.prediction import Question, to_host
from mono_depth_ros.ros.camera_view import CameraView
from mono_depth_ros.ros.encoding import (
    CloudEncoder,
    ColorArray,
    depth_to_color_image,
    depth_to_image,
    depth_to_millimetre_image,
    labels_to_image,
    map_to_image,
)
from mono_depth_ros.ros.parameters import OutputConfig
from mono_depth_ros.ros.qos_events import explain_subscriptions

if TYPE_CHECKING:
    from mono_depth_ros.prediction import Prediction
    from mono_depth_ros.predictor import DepthPredictor

# Below the node's own name.
_TOPICS = {
    "depth": (Image, "depth/image"),
    "depth_mm": (Image, "depth/image_mm"),
    "color": (Image, "depth/image_color"),
    "camera_info": (CameraInfo, "depth/camera_info"),
    "points": (PointCloud2, "points"),
}
# Only of networks that answer this: `predictor.product_names`.
_PRODUCT_TOPICS = {
    "confidence": (Image, "confidence"),
    "semantics": (Image, "semantics"),
    "attention": (Image, "attention"),
}


@dataclass(frozen=True)
class _Settings:
    """What holds for one whole frame, though another thread may change settings meanwhile."""

    predictor: DepthPredictor
    output: OutputConfig
    colorize: DepthColorizer
    clouds: CloudConfig
    ego_mask: EgoMask | None

    @property
    def sky_label(self) -> int | None:
        """Class number of the sky, if the network knows it."""
        names = [name.casefold() for name in self.predictor.class_names]
        return names.index("sky") if "sky" in names else None


@dataclass(frozen=True)
class Plan:
    """What is to be published of one frame: keys of topics, and the settings that hold for it."""

    wanted: frozenset[str]
    settings: _Settings


@dataclass(frozen=True, slots=True, eq=False)
class TakenFrame:
    """A decoded image on its way.

    Attributes:
        plan: what is to be published of it.
        view: of it.
        header: of it.
        question: to be answered by the predictor; None where only camera_info is wanted.
    """

    plan: Plan
    view: CameraView
    header: Header
    question: Question | None


class Outputs:
    """The publishers of a depth node and what is computed for them.

    Used by three threads: one sets predictor and configurations, one plans and takes frames, one
    publishes them.

    Args:
        node: creates the publishers.
        qos: of all topics.
        predictor, output, clouds: see `use`.
        prefix: of the topics' names, `front/` for those of a camera called front.

    Raises:
        ConfigError: this network cannot do what a configuration asks for.
    """

    def __init__(
        self,
        node: LifecycleNode,
        qos: QoSProfile,
        predictor: DepthPredictor,
        output: OutputConfig,
        clouds: CloudConfig,
        prefix: str = "",
    ) -> None:
        self._node, self._qos, self._prefix = node, qos, prefix
        self._publishers: dict[str, Any] = {}
        self._cloud_encoder: CloudEncoder | None = None
        self._cloud_key: Any = None
        self.use(predictor, output, clouds)

    def use(self, predictor: DepthPredictor, output: OutputConfig, clouds: CloudConfig) -> None:
        """Serve the frames to come with another predictor; topics that it adds are created.

        Topics that only the former one could serve stay, silent, until `close`: a frame in work
        may yet publish there.

        Args:
            predictor: whose network tells which topics there are.
            output: size and pictures.
            clouds: what the cloud leaves out.

        Raises:
            ConfigError: this network cannot do what a configuration asks for; nothing changed.
        """
        settings = _Settings(
            predictor, output, _colorizer(predictor, output), clouds, _ego_mask(predictor, clouds)
        )
        products = {name: _PRODUCT_TOPICS[name] for name in predictor.product_names}
        # rclpy activates the publishers that exist when the node becomes active.
        active = any(publisher.is_activated for publisher in self._publishers.values())
        for key, (message_type, topic) in {**_TOPICS, **products}.items():
            if key not in self._publishers:
                topic = f"~/{self._prefix}{topic}"
                full_name = self._node.resolve_topic_name(topic)
                explain = explain_subscriptions(self._node, full_name)
                publisher = self._node.create_lifecycle_publisher(
                    message_type, topic, self._qos, event_callbacks=explain
                )
                if active:
                    publisher.on_activate(None)
                self._publishers[key] = publisher
        self._settings = settings

    def set_output(self, config: OutputConfig) -> None:
        """Use another size or other pictures from the next frame on.

        Raises:
            ConfigError: the network has no attention map of that name, or no largest depth where
                the configuration has none.
        """
        colorize = _colorizer(self._settings.predictor, config)
        self._settings = replace(self._settings, output=config, colorize=colorize)

    def set_clouds(self, config: CloudConfig) -> None:
        """Filter clouds in another way from the next frame on.

        Raises:
            ConfigError: the ego mask cannot be read, or the network has no confidence.
        """
        ego_mask = _ego_mask(self._settings.predictor, config)
        self._settings = replace(self._settings, clouds=config, ego_mask=ego_mask)

    def plan(self) -> Plan:
        """Return what somebody subscribes to and the present predictor can serve."""
        settings = self._settings
        keys = {*_TOPICS, *settings.predictor.product_names}
        return Plan(
            frozenset(
                key
                for key, publisher in list(self._publishers.items())
                if key in keys and publisher.get_subscription_count()
            ),
            settings,
        )

    def take(
        self, plan: Plan, view: CameraView, decode: Callable[[], ColorArray], header: Header
    ) -> TakenFrame:
        """Decode an image, if more than its camera_info is wanted.

        Args:
            plan: see `plan`.
            view: of the image.
            decode: returns the image as the camera took it, (H, W, 3) uint8 RGB.
            header: of the image.

        Raises:
            MonoDepthError: the image cannot be used.
        """
        question = None
        if plan.wanted != {"camera_info"}:
            predictor, rgb = plan.settings.predictor, decode()
            if predictor.takes_tensors:
                rgb = predictor.upload(rgb)
            rgb = view.picture(rgb)
            question = Question(rgb, view.camera, _products(plan.wanted, plan.settings))
        return TakenFrame(plan, view, header, question)

    def give(self, frame: TakenFrame, prediction: Prediction | None) -> bool:
        """Publish what is wanted of a frame, with the answer to its question.

        Returns:
            False where depth was computed and is NaN everywhere.

        Raises:
            MonoDepthError: the cloud cannot be made; everything else is published before.
        """
        plan, view, settings = frame.plan, frame.view, frame.plan.settings
        predictor = settings.predictor
        resizes = settings.output.output_size == "network"
        camera = predictor.network_camera(view.camera) if resizes else view.camera
        has_depth = True
        if prediction is not None:
            depth_m = prediction.depth_m
            if isinstance(depth_m, np.ndarray):
                depth_m = np.ascontiguousarray(depth_m, np.float32)
            view.hide_unseen(depth_m)
            prediction = replace(prediction, depth_m=depth_m)
            has_depth = self._publish_images(plan, prediction, frame.header)
        if "camera_info" in plan.wanted:
            self._publish("camera_info", view.camera_info(frame.header, camera))
        if "points" in plan.wanted:
            rgb = frame.question.rgb
            picture = predictor.network_picture(rgb) if resizes else rgb
            encoder = self._cloud_encoder_of(view, camera, settings)
            largest_m = (
                predictor.largest_depth_m(view.camera)
                if settings.clouds.cloud_drop_sky
                else math.inf
            )
            cloud = encoder.encode(
                depth_m, picture, frame.header, prediction.confidence, prediction.semantics,
                largest_m,
            )  # fmt: skip
            self._publish("points", cloud)
        return has_depth

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def _publish(self, key: str, message: Any) -> None:
        self._publishers[key].publish(message)

    def _publish_images(self, plan: Plan, prediction: Prediction, header: Header) -> bool:
        """Publish all images that are wanted; return whether a pixel has depth."""
        wanted, settings = plan.wanted, plan.settings
        depth_m = to_host(prediction.depth_m)
        if "depth" in wanted:
            self._publish("depth", depth_to_image(depth_m, header))
        if "depth_mm" in wanted:
            self._publish("depth_mm", depth_to_millimetre_image(depth_m, header))
        if "color" in wanted:
            picture = depth_to_color_image(prediction.depth_m, settings.colorize, header)
            self._publish("color", picture)
        if "confidence" in wanted:
            # Where there is no depth, nobody is sure of it.
            found = to_host(prediction.confidence)
            confidence = np.where(np.isnan(depth_m), np.float32(0.0), found)
            self._publish("confidence", map_to_image(confidence, header))
        if "semantics" in wanted:
            self._publish("semantics", labels_to_image(to_host(prediction.semantics), header))
        if "attention" in wanted:
            name = settings.output.attention_map
            channel = settings.predictor.attention_names.index(name) if name else 0
            attention = to_host(prediction.attention[..., channel])
            self._publish("attention", map_to_image(attention, header))
        return not bool(np.isnan(depth_m).all())

    def _cloud_encoder_of(
        self, view: CameraView, camera: Intrinsics, settings: _Settings
    ) -> CloudEncoder:
        key = (view.camera, camera, settings.clouds, settings.sky_label)
        if self._cloud_encoder is None or self._cloud_key != key:
            mask = None
            if settings.ego_mask is not None:
                mask = settings.ego_mask.of_image(view.camera.height, view.camera.width)
                mask = resize_mask(mask, camera.height, camera.width)
            self._cloud_encoder = CloudEncoder(camera, settings.clouds, mask, settings.sky_label)
            self._cloud_key = key
        return self._cloud_encoder


def _products(wanted: Collection[str], settings: _Settings) -> set[str]:
    products = set(wanted) & set(_PRODUCT_TOPICS)
    if "points" in wanted and settings.clouds.needs_confidence:
        products.add("confidence")
    if "points" in wanted and settings.clouds.cloud_drop_sky and settings.sky_label is not None:
        products.add("semantics")
    return products


def _colorizer(predictor: DepthPredictor, config: OutputConfig) -> DepthColorizer:
    names = predictor.attention_names
    if config.attention_map and config.attention_map not in names:
        raise ConfigError(
            f"attention_map is {config.attention_map!r}; this network has "
            f"{', '.join(names) or 'none'}"
        )
    largest_m = config.color_max_depth_m or predictor.info.settings.get("max_depth_m")
    if largest_m is None:
        raise ConfigError(
            f"checkpoint {predictor.info.name} names no largest depth; set color_max_depth_m"
        )
    return DepthColorizer(float(largest_m), config.color_map)


def _ego_mask(predictor: DepthPredictor, config: CloudConfig) -> EgoMask | None:
    products = predictor.product_names
    if config.needs_confidence and "confidence" not in products:
        raise ConfigError(
            "cloud_min_confidence needs a network with confidence, this one has "
            f"{', '.join(products) or 'depth only'}; keep it at 0"
        )
    return EgoMask(config.cloud_ego_mask) if config.cloud_ego_mask else None
