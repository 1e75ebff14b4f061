"""Settings of one training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mono_depth_ros.config import from_mapping, load_yaml, with_overrides
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.backbone_weights import NONE
from mono_depth_ros.models.presets import Preset, load_preset
from training.objective import ObjectiveConfig

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class WorldDataConfig:
    """Frames of the procedural world, rendered once and kept on disk.

    Attributes:
        kind: rooms or streets.
        folder: where the frames are kept, relative to the checkout.
        train_seeds: first scene and the one after the last.
        validation_seeds: likewise; scenes that training never sees.
        frames_per_scene: images of each training scene.
        validation_frames_per_scene: images of each validation scene.
        render_scale: frames are rendered this much larger than the network's image and shrunk by
            area average, as a camera image is in the node.
        focal_jitter: largest relative change of the focal length from frame to frame.
        workers: processes that render missing frames, and that load and augment while the network
            computes; 0 does both in the training process itself.
    """

    kind: Literal["rooms", "streets"]
    folder: str = "out/world"
    train_seeds: tuple[int, int] = (0, 800)
    validation_seeds: tuple[int, int] = (1_000_000, 1_000_040)
    frames_per_scene: int = 4
    validation_frames_per_scene: int = 2
    render_scale: float = 1.5
    focal_jitter: float = 0.2
    workers: int = 2

    def __post_init__(self) -> None:
        first, last = self.train_seeds, self.validation_seeds
        if max(first[0], last[0]) < min(first[1], last[1]):
            raise ConfigError(
                f"train_seeds {first} and validation_seeds {last} share scenes; separate them"
            )


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """Random changes, each applied with `probability`; the defaults are PWA's for NYU.

    Attributes:
        probability: of each change below.
        flip: mirror left and right.
        rotation_deg: largest angle; corners become black without depth.
        brightness: largest relative change.
        contrast: largest relative change.
        saturation: largest relative change.
        hue: largest shift, in turns of the colour circle.
    """

    probability: float = 0.5
    flip: bool = True
    rotation_deg: float = 5.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.1


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """The optimiser and how its learning rate changes from step to step.

    Attributes:
        algorithm: adam adds `weight_decay` to the gradient, adamw decays the weights themselves;
            muon, for few steps from random weights, see `training.muon`.
        learning_rate: after the warm-up; PWA: 5e-4 with MobileNetV2, 1e-4 with larger backbones.
        schedule: from the learning rate to zero, polynomial (1 - x)^power or half a cosine.
        power: of the polynomial.
        warmup_steps: the rate rises linearly over these.
        weight_decay: of kernels; the papers of PWA and Kim et al. mention none.
        clip_norm: gradients are scaled down to this norm.
    """

    algorithm: Literal["adam", "adamw", "muon"] = "adam"
    learning_rate: float = 5e-4
    schedule: Literal["polynomial", "cosine"] = "polynomial"
    power: float = 0.9
    warmup_steps: int = 0
    weight_decay: float = 0.0
    clip_norm: float = 10.0


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One run.

    Attributes:
        name: of the run and of the checkpoint it makes.
        network: file in config/networks that names the network and its settings.
        data: what it learns from.
        loss: what is minimised.
        steps: optimiser steps.
        network_settings: changes on top of the network file's settings.
        backbone_weights: `none`, `imagenet` or the path of a state dict.
        initial_checkpoint: the run starts from these weights (ACAN's second stage, Look Deeper's
            fine-tuned structure): a shipped name or a file of the same network; empty for none.
        batch_size: images per step.
        augmentation: random changes of the training images.
        optimizer: how.
        seed: of the initial weights, the order of images and the augmentation.
        device: auto, cpu, cuda or cuda:N.
        ema_decay: the checkpoint holds an exponential moving average of the weights.
        validate_every: steps between validations.
        save_every: steps between saves of the training state.
    """

    name: str
    network: str
    data: WorldDataConfig
    loss: ObjectiveConfig
    steps: int
    network_settings: dict[str, Any] = field(default_factory=dict)
    backbone_weights: str = NONE
    initial_checkpoint: str = ""
    batch_size: int = 8
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    seed: int = 0
    device: str = "auto"
    ema_decay: float = 0.998
    validate_every: int = 500
    save_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ConfigError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")


def load_train_config(path: Path, overrides: list[str] | None = None) -> TrainConfig:
    """Read a recipe and apply `section.setting=value` overrides.

    Raises:
        ConfigError: see `mono_depth_ros.config`.
    """
    return from_mapping(TrainConfig, with_overrides(load_yaml(path), overrides or []))


def load_network_preset(path: str | Path) -> Preset:
    """Read a file of config/networks; relative paths start at the checkout."""
    return load_preset(CHECKOUT / path)
