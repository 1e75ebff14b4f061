"""Pretrained backbones: torchvision's ImageNet weights, or a file of them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import get_model_weights

from mono_depth_ros.errors import CheckpointError
from mono_depth_ros.models.encoder import BackboneName, Encoder

NONE = "none"
IMAGENET = "imagenet"

# Files written before PyTorch 0.4.1 do not count batches; norms with a momentum never read it.
COUNTER = ".num_batches_tracked"

# DenseNet files written before PyTorch 0.4 call `norm1` of a dense layer `norm.1`.
_OLD_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])(?=\.)")


def load_backbone_weights(encoder: Encoder, backbone: BackboneName, source: str) -> None:
    """Fill an encoder of width 1 with pretrained weights.

    Args:
        encoder: of `make_encoder(backbone)`, dilated or not.
        backbone: which one it is.
        source: `none` leaves the fresh weights, `imagenet` takes torchvision's default weights
            (downloaded once into torch's cache), anything else is the path of a state dict of
            torchvision's classifier, .pth or .safetensors. Tensors of the classifier itself are
            left out; all others must fit.

    Raises:
        CheckpointError: no such file, no connection, or tensors that do not fit.
    """
    if source == NONE:
        return
    state = _download(backbone) if source == IMAGENET else _read(Path(source).expanduser())
    # Our key "stages.3.layer3.0.conv1.weight" is torchvision's "layer3.0.conv1.weight".
    prefix = "" if backbone.startswith("res") else "features."
    names = {key: prefix + key.split(".", 2)[2] for key in encoder.state_dict()}
    missing = sorted(n for n in set(names.values()) - set(state) if not n.endswith(COUNTER))
    if missing:
        raise CheckpointError(
            f"weights for {backbone} from {source} lack {len(missing)} of {len(names)} tensors, "
            f"for example {missing[0]}; pass a state dict of torchvision's {backbone}"
        )
    try:
        own = encoder.state_dict()
        encoder.load_state_dict({key: state.get(name, own[key]) for key, name in names.items()})
    except RuntimeError as error:
        raise CheckpointError(f"weights from {source} do not fit {backbone}: {error}") from error


def _download(backbone: BackboneName) -> dict[str, Tensor]:
    weights = get_model_weights(backbone).DEFAULT
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
    return _modern_names(dict(state))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(
            f"no backbone weights at {path}; pass {NONE}, {IMAGENET} or the path of a state dict"
        )
    try:
        if path.suffix == ".safetensors":
            return _modern_names(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises whatever its unpickler and zip reader raise.
    except Exception as error:
        raise CheckpointError(
            f"{path} is no readable state dict (.pth or .safetensors): {error}"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state dict (name → tensor); save state_dict() only")
    return _modern_names(state)


def _modern_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {_OLD_DENSENET_NAME.sub(r"\1\2", key): value for key, value in state.items()}
