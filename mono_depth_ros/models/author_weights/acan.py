"""Names in the state dict of github.com/miraiaroha/ACAN (class ResNet of code/models/model.py)."""

from __future__ import annotations

from mono_depth_ros.models.author_weights.names import AuthorNames
from mono_depth_ros.models.base import DepthNetwork

CODE_SETTINGS = {"sid_mode": "code", "imagenet_normalisation": False}
"""Settings under which our network computes what theirs computes."""

# Our module → theirs. Encoders are torchvision's in both.
_MODULES = {
    "attention.key.0": "decoder.saconv.f_key.conv",
    "attention.key.1": "decoder.saconv.f_key.bn",
    "attention.value.0": "decoder.saconv.f_value.conv1",
    "attention.value.2": "decoder.saconv.f_value.conv2",
    "context.layers.0": "decoder.image_context.linear1",
    "context.layers.2": "decoder.image_context.linear2",
    "merge.1": "decoder.merge.conv1",
    "classifier": "classifier.conv",
}

# Their query is the module of their key, so its tensors are listed a second time; `interout` is the
# auxiliary head, built where its weight alpha is not 0.
_UNUSED = ("decoder.saconv.f_query.", "interout.")


def author_names(network: DepthNetwork) -> AuthorNames:
    """Return the names of their tensors for an `Acan`."""
    return AuthorNames(
        {name: _name(name) for name in network.state_dict() if not name.startswith("image_")},
        _UNUSED,
    )


def _name(name: str) -> str:
    if name.startswith("encoder."):
        # `encoder.stages.2.layer2.0.conv1.weight` → `layer2.0.conv1.weight`.
        return name.split(".", 3)[3]
    module, tensor = name.rsplit(".", 1)
    return f"{_MODULES[module]}.{tensor}"
