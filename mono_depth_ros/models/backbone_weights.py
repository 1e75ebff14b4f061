"""Pretrained backbones: torchvision's ImageNet weights, or a file of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.models import WeightsEnum, get_model_weights

from mono_depth_ros.errors import CheckpointError, ConfigError
from mono_depth_ros.models.encoder import BackboneName, Encoder
from mono_depth_ros.models.state_dicts import read_state_dict

NONE = "none"
IMAGENET: Mapping[str, str] = MappingProxyType(
    {"imagenet": "IMAGENET1K_V1", "imagenet_v2": "IMAGENET1K_V2"}
)
"""Setting → torchvision's name of the weights."""

# Files written before PyTorch 0.4.1 do not count batches; norms with a momentum never read it.
COUNTER = ".num_batches_tracked"

# DenseNet files written before PyTorch 0.4 call `norm1` of a dense layer `norm.1`.
_OLD_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])(?=\.)")


def load_backbone_weights(encoder: Encoder, backbone: BackboneName, source: str) -> None:
    """Fill an encoder of width 1 with pretrained weights.

    Args:
        encoder: of `make_encoder(backbone)`, dilated or not.
        backbone: which one it is.
        source: `none` leaves the fresh weights; `imagenet` takes torchvision's first ImageNet
            weights, trained as those of the papers were, `imagenet_v2` its second, from a longer
            recipe, which DenseNets do not have (both are downloaded once into torch's cache);
            anything else is the path of a state dict of torchvision's classifier, .pth or
            .safetensors. Tensors of the classifier itself are left out; all others must fit.

    Raises:
        ConfigError: the backbone has no such weights.
        CheckpointError: no such file, no connection, or tensors that do not fit.
    """
    if source == NONE:
        return
    state = _modern_names(_download(backbone, source) if source in IMAGENET else _read(source))
    # Our key "stages.3.layer3.0.conv1.weight" is torchvision's "layer3.0.conv1.weight".
    prefix = "" if backbone.startswith("res") else "features."
    names = {key: prefix + key.split(".", 2)[2] for key in encoder.state_dict()}
    missing = sorted(n for n in set(names.values()) - set(state) if not n.endswith(COUNTER))
    if missing:
        raise CheckpointError(
            f"weights for {backbone} from {source} lack {len(missing)} of {len(names)} tensors, "
            f"for example {missing[0]}; pass a state dict of torchvision's {backbone}"
        )
    own = encoder.state_dict()
    given = {key: state.get(name, own[key]) for key, name in names.items()}
    unfit = [key for key, tensor in given.items() if tensor.shape != own[key].shape]
    if unfit:
        first = unfit[0]
        raise CheckpointError(
            f"weights from {source} do not fit {backbone}: {len(unfit)} of {len(names)} tensors "
            f"have another shape, the first is {names[first]} with {tuple(given[first].shape)} in "
            f"place of {tuple(own[first].shape)}"
        )
    encoder.load_state_dict(given)


def _download(backbone: BackboneName, source: str) -> dict[str, Tensor]:
    available: type[WeightsEnum] = get_model_weights(backbone)
    if IMAGENET[source] not in available.__members__:
        raise ConfigError(
            f"torchvision has no {IMAGENET[source]} weights for {backbone}; "
            "set backbone_weights: imagenet"
        )
    weights = available[IMAGENET[source]]
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        name = weights.url.rsplit("/", 1)[-1]
        raise CheckpointError(
            f"cannot download {backbone}'s ImageNet weights ({error}); on a computer with a "
            f"connection fetch {name} (torchvision, {weights}), then put it into {folder} or pass "
            f"backbone_weights: PATH, or train from random weights with backbone_weights: {NONE}"
        ) from error
    return dict(state)


def _read(source: str) -> dict[str, Tensor]:
    advice = f"pass {NONE}, {', '.join(IMAGENET)} or the path of a state dict"
    return read_state_dict(Path(source).expanduser(), "backbone weights", advice)


def _modern_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {_OLD_DENSENET_NAME.sub(r"\1\2", key): value for key, value in state.items()}
