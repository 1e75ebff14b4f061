"""Checkpoints: one .safetensors file that says everything a robot needs to run the network.

The tensors are the network's state; the file's metadata holds one JSON record under the key
`mono_depth` (`CheckpointInfo`). Nothing pickled is ever loaded, and loading is strict.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mono_depth_ros import __version__
from mono_depth_ros.atomic import replacing
from mono_depth_ros.config import from_mapping, to_mapping
from mono_depth_ros.errors import CheckpointError, ConfigError
from mono_depth_ros.models import DepthNetwork, create_model
from mono_depth_ros.models.base import ImageSize

FORMAT = 1
SUFFIX = ".safetensors"
Precision = Literal["float16", "float32"]
_METADATA_KEY = "mono_depth"

# Kernels of so many values or fewer stay float32: they are the first layers, the depthwise
# convolutions and the heads, which cost little and whose rounding reaches the answer amplified.
LARGEST_FULL_KERNEL = 4096


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint says about itself.

    Attributes:
        name: how users call it, for example `hgc_light_rooms`.
        network: key of `models.MODELS`.
        settings: plain values of the network's config; patch grids follow from them.
        image_size: size the network was trained at; cameras of other sizes are letterboxed to it.
        training_focal_px: fx at `image_size` for which `forward` is metric; None switches the
            focal correction off.
        training_data: what it was trained on, in words; procedural data is called so.
        class_names: of the semantic output, in index order; empty without one.
        scores: flat table of what it reached and where, for example `{"rooms.abs_rel": 0.1}`.
        recipe: the training configuration as plain values.
        versions: of this package and of torch when it was written.
        sha256: of all tensors; filled in by `save_checkpoint`, verified by `load_network`.
        format: version of this record.
    """

    name: str
    network: str
    settings: dict
    image_size: ImageSize
    training_focal_px: float | None = None
    training_data: str = "untrained"
    class_names: tuple[str, ...] = ()
    scores: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    versions: dict = field(
        default_factory=lambda: {"mono_depth_ros": __version__, "torch": torch.__version__}
    )
    sha256: str = ""
    format: int = FORMAT

    def focal_ratio(self, network_fx_px: float) -> float:
        """Return what `forward` is multiplied by for a camera: its fx at `image_size` over f_train.

        1 where the focal correction is off.
        """
        return 1.0 if self.training_focal_px is None else network_fx_px / self.training_focal_px


def save_checkpoint(
    path: Path, network: DepthNetwork, info: CheckpointInfo, precision: Precision = "float16"
) -> CheckpointInfo:
    """Write a checkpoint under a temporary name, then rename it.

    Args:
        path: of the file; its folder is created when missing.
        network: whose state is written.
        info: what the file says about itself.
        precision: of the kernels. float16 halves the file; small kernels, norms, biases and buffers
            stay float32 even then: running variances can be smaller than half precision resolves.
            The depth of trained light networks then changes by less than 0.1 % in any pixel (the
            shipped ones: 0.05 %). Random weights amplify rounding to as much as 3 %.

    Returns:
        `info` with its hash filled in.
    """
    halved = set()
    if precision == "float16":
        halved = {
            key
            for key, parameter in network.named_parameters()
            if parameter.ndim > 1
            and not key.endswith("bias")
            and parameter.numel() > LARGEST_FULL_KERNEL
        }
    tensors = {
        key: (value.half() if key in halved else value).detach().cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    return _write(path, tensors, info)


def copy_checkpoint(checkpoint: str | Path, target: Path, info: CheckpointInfo) -> None:
    """Write a checkpoint's tensors, bit for bit, with another description.

    Args:
        checkpoint: name of a shipped checkpoint or path of a .safetensors file.
        target: file to write; its folder is created when missing.
        info: the new description.

    Raises:
        CheckpointError: see `read_info`.
    """
    _, tensors = _open(find_checkpoint(checkpoint), tensors=True)
    _write(target, tensors, info)


def read_info(checkpoint: str | Path) -> CheckpointInfo:
    """Read the description of a checkpoint without its tensors.

    Args:
        checkpoint: name of a shipped checkpoint or path of a .safetensors file.

    Raises:
        CheckpointError: no such checkpoint, another file format, or a damaged record.
    """
    return _open(find_checkpoint(checkpoint), tensors=False)[0]


def load_network(
    checkpoint: str | Path, settings: Mapping[str, Any] | None = None
) -> tuple[DepthNetwork, CheckpointInfo]:
    """Build the network of a checkpoint, in float32, in eval mode, on the CPU.

    Args:
        checkpoint: name of a shipped checkpoint or path of a .safetensors file.
        settings: changes on top of the stored ones, of how the same weights answer, such as ACAN's
            `inference`; the returned description has them.

    Raises:
        CheckpointError: no such checkpoint, another file format (pickles included), damaged
            content, or tensors that do not fit the network it names.
    """
    path = find_checkpoint(checkpoint)
    info, tensors = _open(path, tensors=True)
    if _hash_tensors(tensors) != info.sha256:
        raise CheckpointError(f"{path} is damaged: its tensors do not have the recorded hash")
    info = replace(info, settings={**info.settings, **(settings or {})})
    try:
        network = create_model(info.network, info.settings)
    except ConfigError as error:
        raise CheckpointError(f"{path} does not fit this version: {error}") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit network {info.network!r}: {error}") from error
    return network.eval(), info


def find_checkpoint(checkpoint: str | Path) -> Path:
    """Return the file of a shipped checkpoint's name or of a path.

    Raises:
        CheckpointError: neither exists; the message lists the shipped names.
    """
    path = Path(checkpoint).expanduser()
    if path.suffix == SUFFIX or path.is_file() or len(path.parts) > 1:
        if not path.is_file():
            raise CheckpointError(f"no checkpoint file at {path}")
        return path
    shipped = shipped_checkpoints()
    if str(checkpoint) not in shipped:
        raise CheckpointError(
            f"no checkpoint {str(checkpoint)!r}; shipped are {', '.join(shipped) or 'none'}, "
            f"or pass the path of a {SUFFIX} file"
        )
    return shipped[str(checkpoint)]


def shipped_checkpoints() -> dict[str, Path]:
    """Return the checkpoints inside the package, name → file, sorted."""
    folder = Path(str(importlib.resources.files("mono_depth_ros") / "checkpoints"))
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def _write(path: Path, tensors: Mapping[str, Tensor], info: CheckpointInfo) -> CheckpointInfo:
    info = replace(info, sha256=_hash_tensors(tensors))
    data = save(dict(tensors), metadata={_METADATA_KEY: json.dumps(to_mapping(info))})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return info


def _open(path: Path, tensors: bool) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            record = (file.metadata() or {}).get(_METADATA_KEY)
            keys = file.keys() if tensors else ()
            content = {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable {SUFFIX} file ({error}); pickled .pt and .pth files are "
            "never loaded, because they can run code: export them with the training package"
        ) from error
    if record is None:
        raise CheckpointError(
            f"{path} has no {_METADATA_KEY!r} record, so network and preprocessing are unknown; "
            "write checkpoints with mono_depth_ros.checkpoint.save_checkpoint"
        )
    return _parse_record(path, record), content


def _parse_record(path: Path, record: str) -> CheckpointInfo:
    try:
        values: Mapping[str, Any] = json.loads(record)
        if values.get("format") != FORMAT:
            raise CheckpointError(
                f"{path} has format {values.get('format')!r}, this version reads {FORMAT}"
            )
        return from_mapping(CheckpointInfo, values)
    except (json.JSONDecodeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path} has a damaged {_METADATA_KEY!r} record: {error}") from error


def _hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
