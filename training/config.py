"""Settings of one training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mono_depth_ros.config import from_mapping, load_yaml, with_overrides
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.backbone_weights import NONE
from mono_depth_ros.models.presets import Preset, load_preset
from mono_depth_ros.world.variety import PARTS, Part, require_parts
from training.objective import ObjectiveConfig
from training.transforms import read_transforms
from training.view import ViewConfig

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
        variety: parts of `mono_depth_ros.world.variety.PARTS` that vary beyond the layout.
    """

    kind: Literal["rooms", "streets"]
    folder: str = "out/world"
    train_seeds: tuple[int, int] = (0, 800)
    validation_seeds: tuple[int, int] = (1_000_000, 1_000_040)
    frames_per_scene: int = 4
    validation_frames_per_scene: int = 2
    render_scale: float = 1.5
    focal_jitter: float = 0.2
    variety: tuple[Part, ...] = PARTS

    def __post_init__(self) -> None:
        require_parts(self.variety)
        first, last = self.train_seeds, self.validation_seeds
        if max(first[0], last[0]) < min(first[1], last[1]):
            raise ConfigError(
                f"train_seeds {first} and validation_seeds {last} share scenes; separate them"
            )


@dataclass(frozen=True, slots=True)
class PreparedDataConfig:
    """Two splits of what `python -m training.prepare` wrote.

    Attributes:
        folder: relative to the checkout.
        train: split to learn from.
        validation: split that chooses the best checkpoint; never a test split.
        depth: false leaves depth out, where only its labels are to teach.
    """

    folder: str
    train: str = "train"
    validation: str = "validation"
    depth: bool = True

    def __post_init__(self) -> None:
        if "test" in self.validation:
            raise ConfigError(
                f"data.prepared: {self.validation} is a test split, which must not choose the best "
                "checkpoint; name a validation split"
            )


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What a network learns from: the procedural world, or prepared data sets.

    Attributes:
        world: the world.
        prepared: data sets, shuffled together.
        alternate: whole steps take turns between the data sets instead.
        normalise_focal: depth is multiplied by f_train / f, so that the network answers for one
            focal length and every camera's depth follows from its own (design.md, BTS on KITTI).
        training_focal_px: f_train; null takes the median of the training images as the network
            sees them.
        workers: processes that load and augment while the network computes, and that render missing
            frames; 0 does both in the training process itself.
        strict: a damaged file ends the run instead of being named, counted and replaced.
    """

    world: WorldDataConfig | None = None
    prepared: tuple[PreparedDataConfig, ...] = ()
    alternate: bool = False
    normalise_focal: bool = True
    training_focal_px: float | None = None
    workers: int = 2
    strict: bool = False

    def __post_init__(self) -> None:
        if (self.world is None) == (not self.prepared):
            raise ConfigError("data needs a section world or a list prepared, one of the two")
        if self.training_focal_px is not None and not self.training_focal_px > 0:
            raise ConfigError(f"training_focal_px must be positive, got {self.training_focal_px}")


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """Parameters that learn differently; the first group that fits a parameter takes it.

    Attributes:
        prefix: start of the parameter's name; may hold `*`.
        suffix: end of its name.
        learning_rate_scale: times the learning rate of the schedule.
        weight_decay: in place of the optimiser's; null keeps that.
    """

    prefix: str = ""
    suffix: str = ""
    learning_rate_scale: float = 1.0
    weight_decay: float | None = None


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """The optimiser and how its learning rate changes from step to step.

    Attributes:
        algorithm: adam and sgd add `weight_decay` to the gradient, adamw decays the weights
            themselves; muon, for few steps from random weights, see `training.muon`.
        learning_rate: after the warm-up.
        final_rate: of the polynomial, as a share of `learning_rate`.
        schedule: from the learning rate to the final one, polynomial (1 - x)^power or half a
            cosine.
        power: of the polynomial.
        warmup_steps: the rate rises linearly over these.
        momentum: of sgd.
        betas: of adam and adamw.
        epsilon: of adam and adamw.
        weight_decay: of kernels, never of norms, biases and scalars.
        clip_norm: gradients are scaled down to this norm.
        groups: parameters with another rate or decay.
        frozen: starts of the names of parameters that do not learn; may hold `*`.
    """

    algorithm: Literal["adam", "adamw", "sgd", "muon"] = "adam"
    learning_rate: float = 5e-4
    final_rate: float = 0.0
    schedule: Literal["polynomial", "cosine"] = "polynomial"
    power: float = 0.9
    warmup_steps: int = 0
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 10.0
    groups: tuple[ParameterGroup, ...] = ()
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.algorithm == "muon" and self.groups:
            raise ConfigError("muon makes its own parameter groups; remove optimizer.groups")
        if not 0.0 <= self.final_rate <= 1.0:
            raise ConfigError(f"final_rate is a share from 0 to 1, got {self.final_rate}")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One run.

    Attributes:
        name: of the run and of the checkpoint it makes.
        network: file in config/networks that names the network and its settings.
        data: what it learns from.
        loss: what is minimised.
        steps: optimiser steps; or
        epochs: passes over the training images.
        network_settings: changes on top of the network file's settings.
        backbone_weights: `none`, `imagenet` (torchvision's first, as the papers had), `imagenet_v2`
            (its later ones), or the path of a state dict; the last three need backbone_width 1.
        initial_checkpoint: the run starts from these weights (ACAN's second stage, Look Deeper's
            fine-tuned structure): a shipped name or a file of the same network; empty for none.
        initial_checkpoint_except: starts of the names of parameters that stay random then.
        initial_encoder: the encoder alone starts from this checkpoint's, which may be of another
            network of ours with the same backbone and width; empty for none.
        view: what validation and evaluation give the network; null resizes the full frame to the
            network's image size.
        augmentation: steps from the full training image to the network's, in order; see
            `training.transforms`.
        batch_size: images per optimiser step, over all processes and micro-batches.
        accumulate: micro-batches that a step's images are computed in, to save memory; the loss
            is then the mean of their losses.
        precision: of the network's forward pass (autocast); losses are float32 always.
        norm: update, batch norms learn and measure; frozen, they use the statistics they have;
            synchronised, they measure over all GPUs (SyncBatchNorm).
        optimizer: how.
        seed: of the initial weights, the order of images and the augmentation.
        device: auto, cpu, cuda or cuda:N.
        deterministic: only algorithms that give the same bits every time, some of them slow.
        ema_decay: the checkpoint holds an exponential moving average of the weights; 0 for none.
        validate_every: steps between validations; 0 for once per epoch.
        save_every: steps between saves of the training state.
        state_part_mb: largest file that the state is kept in; null for one file of any size.
    """

    name: str
    network: str
    data: DataConfig
    loss: ObjectiveConfig
    steps: int | None = None
    epochs: float | None = None
    network_settings: dict[str, Any] = field(default_factory=dict)
    backbone_weights: str = NONE
    initial_checkpoint: str = ""
    initial_checkpoint_except: tuple[str, ...] = ()
    initial_encoder: str = ""
    view: ViewConfig | None = None
    augmentation: tuple[dict[str, Any], ...] = ()
    batch_size: int = 8
    accumulate: int = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    norm: Literal["update", "frozen", "synchronised"] = "update"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    seed: int = 0
    device: str = "auto"
    deterministic: bool = False
    ema_decay: float = 0.0
    validate_every: int = 500
    save_every: int = 100
    state_part_mb: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError("a recipe needs steps or epochs, one of the two")
        for name in ("steps", "epochs", "batch_size", "accumulate", "save_every", "state_part_mb"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be positive, got {value}")
        if self.validate_every < 0:
            raise ConfigError(f"validate_every must not be negative, got {self.validate_every}")
        if self.initial_encoder and (self.initial_checkpoint or self.backbone_weights != NONE):
            raise ConfigError(
                "initial_encoder, initial_checkpoint and backbone_weights all fill the encoder: "
                "set initial_encoder alone or leave it out"
            )
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"batch_size {self.batch_size} does not split into {self.accumulate} micro-batches"
            )
        if not 0.0 <= self.ema_decay < 1.0:
            raise ConfigError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")
        read_transforms(self.augmentation)

    def total_steps(self, images: int) -> int:
        """Return the number of optimiser steps on so many training images."""
        if self.steps is not None:
            return self.steps
        return max(1, math.ceil((self.epochs or 0.0) * images / self.batch_size))

    def validation_interval(self, images: int) -> int:
        """Return the number of steps between validations."""
        return self.validate_every or max(1, images // self.batch_size)


def load_train_config(path: Path, overrides: list[str] | None = None) -> TrainConfig:
    """Read a recipe and apply `section.setting=value` overrides.

    Raises:
        ConfigError: see `mono_depth_ros.config`.
    """
    return from_mapping(TrainConfig, with_overrides(load_yaml(path), overrides or []))


def load_network_preset(path: str | Path) -> Preset:
    """Read a file of config/networks; relative paths start at the checkout."""
    return load_preset(CHECKOUT / path)
