"""What a run minimises: a weighted sum of the papers' losses, chosen in the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import DepthNetwork
from mono_depth_ros.models.base import IGNORED_LABEL
from training import losses
from training.losses.attention import Pooling
from training.losses.depth_aware import AlphaNormaliser, Distance, LambdaMode
from training.losses.regression import BERHU_FRACTION

_LABELS = "labels"


def _require(
    section: object, name: str, value: float, least: float, most: float = math.inf
) -> None:
    if not (least <= value <= most and value < math.inf):
        limit = f"from {least:g} up" if most == math.inf else f"from {least:g} to {most:g}"
        raise ConfigError(f"{type(section).__name__}.{name} must be {limit}, got {value}")


@dataclass(frozen=True, slots=True)
class Section:
    """What every loss has.

    Attributes:
        weight: in the sum.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        _require(self, "weight", self.weight, 0.0)


@dataclass(frozen=True, slots=True)
class SilogConfig(Section):
    """Scale-invariant log loss; see `losses.scale_invariant_log`."""

    variance_focus: float = 0.5
    root: bool = True
    factor: float = 1.0
    nearest_m: float = 0.0

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        _require(self, "factor", self.factor, 0.0)
        # Above 1 the best answer would be a wrong one.
        _require(self, "variance_focus", self.variance_focus, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class OrdinalConfig(Section):
    """Ordinal regression of ACAN; see `losses.ordinal_regression`."""


@dataclass(frozen=True, slots=True)
class CrossEntropyConfig(Section):
    """Cross entropy of ACAN's ablation; see `losses.cross_entropy`."""

    kind: Literal["plain", "per_class"] = "plain"


@dataclass(frozen=True, slots=True)
class AttentionConfig(Section):
    """Attention loss of ACAN; see `losses.attention_divergence`."""

    pooling: Pooling = "mean_log"


@dataclass(frozen=True, slots=True)
class DepthAwareConfig(Section):
    """Attention-driven loss of Look Deeper; see `losses.depth_aware`."""

    lambda_mode: LambdaMode = "robust"
    distance: Distance = "berhu_log"
    alpha_normaliser: AlphaNormaliser = "cap"
    nearest_m: float = 0.0


@dataclass(frozen=True, slots=True)
class FocalSemanticConfig(Section):
    """Focal loss of Look Deeper's semantic branch; see `losses.focal_semantic`."""

    alpha: float = 0.25
    gamma: float = 2.0

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        _require(self, "alpha", self.alpha, 0.0)
        # Between 0 and 1 a certain prediction has an infinite gradient.
        _require(self, "gamma", self.gamma, 1.0 if self.gamma else 0.0)


@dataclass(frozen=True, slots=True)
class JointGradientConfig(Section):
    """Gradient loss of Look Deeper; see `losses.joint_gradient`."""

    log: bool = True
    nearest_m: float = 0.0


@dataclass(frozen=True, slots=True)
class BerhuConfig(Section):
    """Reverse Huber loss; see `losses.berhu`."""

    fraction: float = BERHU_FRACTION
    log: bool = False
    nearest_m: float = 0.0

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        if not 0.0 < self.fraction <= 1.0:
            raise ConfigError(f"berhu.fraction must lie in (0, 1], got {self.fraction}")


@dataclass(frozen=True, slots=True)
class SquaredErrorConfig(Section):
    """Mean squared error; see `losses.squared_error`."""

    log: bool = False
    nearest_m: float = 0.0


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """One section per loss that is to be part of the sum; without a section it is not."""

    silog: SilogConfig | None = None
    ordinal: OrdinalConfig | None = None
    cross_entropy: CrossEntropyConfig | None = None
    attention: AttentionConfig | None = None
    depth_aware: DepthAwareConfig | None = None
    focal_semantic: FocalSemanticConfig | None = None
    joint_gradient: JointGradientConfig | None = None
    berhu: BerhuConfig | None = None
    squared_error: SquaredErrorConfig | None = None

    def __post_init__(self) -> None:
        if not self.sections():
            names = ", ".join(field.name for field in fields(self))
            raise ConfigError(f"loss is empty; give it at least one of {names}")

    @property
    def learns_depth(self) -> bool:
        """Whether a loss compares depth, and not labels alone."""
        return any(_LABELS not in _LOSSES[name][0] for name in self.sections())

    def sections(self) -> dict[str, Any]:
        """Return the losses that take part, in the order of the fields."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: section for name, section in named.items() if section is not None}


def weighted_losses(
    config: ObjectiveConfig,
    network: DepthNetwork,
    outputs: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Return the losses of the recipe times their weights; their sum is what is minimised.

    A loss whose truth is on none of the images is left out, so that what it alone trains gets no
    gradient and stays as it is: Look Deeper freezes one branch on images of the other (supplement,
    section 8). If that leaves none, all are returned; they are zero.

    Args:
        config: which losses.
        network: gives what belongs to it alone, such as ACAN's depth classes.
        outputs: of `network.training_outputs`.
        batch: `depth_m` (B, 1, h, w) with NaN where unknown and, where a loss needs them, `labels`
            (B, h, w) int64 with -1 where there is none.

    Raises:
        ConfigError: the network or the data do not give what a loss needs.
    """
    sections = config.sections()
    comparing = {
        name: section for name, section in sections.items() if _has_truth(_LOSSES[name][0], batch)
    }
    result = {}
    for name, section in (comparing or sections).items():
        needs, compute = _LOSSES[name]
        missing = sorted(set(needs) - set(outputs) - set(batch))
        if missing:
            raise ConfigError(
                f"loss.{name} needs {', '.join(missing)}, which neither "
                f"{type(network).__name__} nor the data give; remove it from the recipe"
            )
        settings = asdict(section)
        weight = settings.pop("weight")
        result[name] = weight * compute(network, {**batch, **outputs}, batch["depth_m"], settings)
    return result


def _has_truth(needs: tuple[str, ...], batch: Mapping[str, Tensor]) -> bool:
    """Return whether a loss finds truth to compare with; missing maps are an error later on."""
    if _LABELS in needs:
        return _LABELS not in batch or bool((batch[_LABELS] != IGNORED_LABEL).any())
    return bool(batch["depth_m"].isfinite().any())


_Compute = Callable[[DepthNetwork, Mapping[str, Tensor], Tensor, dict[str, Any]], Tensor]


def _on_depth(loss: Callable[..., Tensor]) -> _Compute:
    return lambda network, maps, target_m, settings: loss(maps["depth_m"], target_m, **settings)


def _on_classes(loss: Callable[..., Tensor], logits: str) -> _Compute:
    def compute(
        network: DepthNetwork,
        maps: Mapping[str, Tensor],
        target_m: Tensor,
        settings: dict[str, Any],
    ) -> Tensor:
        # Networks that answer with classes of depth have one.
        discretisation: Any = network.discretisation
        return loss(maps[logits], discretisation.labels(target_m[:, 0]), **settings)

    return compute


_LOSSES: Mapping[str, tuple[tuple[str, ...], _Compute]] = MappingProxyType(
    {
        "silog": (("depth_m",), _on_depth(losses.scale_invariant_log)),
        "berhu": (("depth_m",), _on_depth(losses.berhu)),
        "squared_error": (("depth_m",), _on_depth(losses.squared_error)),
        "joint_gradient": (("depth_m",), _on_depth(losses.joint_gradient)),
        "depth_aware": (
            ("depth_m",),
            lambda network, maps, target_m, settings: losses.depth_aware(
                maps["depth_m"], target_m, max_depth_m=network.max_depth_m, **settings
            ),
        ),
        "ordinal": (
            ("ordinal_logits",),
            _on_classes(losses.ordinal_regression, "ordinal_logits"),
        ),
        "cross_entropy": (("class_logits",), _on_classes(losses.cross_entropy, "class_logits")),
        "attention": (
            ("log_attention",),
            lambda network, maps, target_m, settings: losses.attention_divergence(
                maps["log_attention"], target_m, **settings
            ),
        ),
        "focal_semantic": (
            ("semantic_logits", _LABELS),
            lambda network, maps, target_m, settings: losses.focal_semantic(
                maps["semantic_logits"], maps["labels"], **settings
            ),
        ),
    }
)
"""Name in the recipe → maps it needs, and how it is computed from them."""


def needed_outputs(config: ObjectiveConfig) -> tuple[str, ...]:
    """Return the maps that the losses of a recipe read, `depth_m` first."""
    needs = (name for section in config.sections() for name in _LOSSES[section][0])
    return tuple(dict.fromkeys(("depth_m", *needs)))
