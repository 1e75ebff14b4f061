"""Everything a training run consists of, built from its recipe."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.config import to_mapping
from mono_depth_ros.device import resolve_device
from mono_depth_ros.errors import CheckpointError, ConfigError
from mono_depth_ros.models import DepthNetwork, create_model
from training.config import CHECKOUT, TrainConfig, load_network_preset
from training.datasets.build import RunData, build_data
from training.distributed import Processes
from training.loop import StepSampler, in_order, make_loader, make_optimizer
from training.objective import needed_outputs
from training.state import TrainingState, start_average

logger = logging.getLogger(__name__)

STATE = "state.pt"
# Settings that change no result, of the recipe and of its section `data`.
_FREE = ("device", "save_every", "state_part_mb")
_DATA_FREE = ("workers", "strict")
_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Run:
    """One run, ready for its next step.

    Attributes:
        config: its recipe.
        out: folder of its files.
        device: of this process.
        processes: that share the work.
        network: that learns.
        forward: image → what the losses need, in the recipe's precision.
        exported: holds the weights that are validated and saved.
        state: all that changes.
        data: images.
        validation: batches of all validation images.
        steps: optimiser steps in all.
    """

    config: TrainConfig
    out: Path
    device: torch.device
    processes: Processes
    network: DepthNetwork
    forward: nn.Module
    exported: DepthNetwork
    state: TrainingState
    data: RunData
    validation: DataLoader
    steps: int

    def settings(self) -> dict[str, Any]:
        """Return all that the result depends on; a saved state with other settings is refused."""
        recipe = to_mapping(self.config)
        data = {key: value for key, value in recipe["data"].items() if key not in _DATA_FREE}
        return {
            **{key: value for key, value in recipe.items() if key not in _FREE},
            "data": data,
            "network_settings": to_mapping(self.network.config),
            "data_digests": self.data.digests,
        }

    def save(self) -> None:
        """Write the training state, in the first process."""
        if self.processes.first:
            self.state.save(self.out / STATE, self.settings(), self.config.state_part_mb)

    def draw_anew(self) -> None:
        """Seed what is random in the next step, dropout, from its number and this process's.

        So no random state outlives a step, and a run that continues draws what it would have drawn.
        """
        key = (self.config.seed, self.state.progress.step, self.processes.rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def learn(self) -> None:
        """Put the network into training mode, as far as the recipe's norms go."""
        self.network.train()
        if self.config.norm == "frozen":
            for module in self.network.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()


def start(config: TrainConfig, out: Path, processes: Processes, device_name: str) -> Run:
    """Build a run, and continue from its saved state where there is one.

    Raises:
        ConfigError: settings that do not go together.
        CheckpointError: weights to start from are missing or do not fit.
        DataError: data are missing, or the saved state is of a run with other settings.
    """
    device = resolve_device(device_name)
    _choose_algorithms(config)
    torch.manual_seed(config.seed)
    network, exported = _make_networks(config, device)
    optimizer = make_optimizer(network, config.optimizer)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
    average = start_average(network) if config.ema_decay else None
    state = TrainingState(network, optimizer, scaler, average)
    if processes.first:
        out.mkdir(parents=True, exist_ok=True)
        data = build_data(config, network)
    processes.wait()
    if not processes.first:
        data = build_data(config, network)
    steps = config.total_steps(len(data.train))
    # A step on images without labels, or without depth, trains one of two branches.
    forward = processes.wrap(_Forward(network, config), device, partly=bool(network.class_names))
    run = Run(
        config=config,
        out=out,
        device=device,
        processes=processes,
        network=network,
        forward=forward,
        exported=exported,
        state=state,
        data=data,
        validation=_validation_loader(config, data),
        steps=steps,
    )
    if (out / STATE).exists():
        state.load(out / STATE, run.settings())
        logger.info("continuing at step %d of %d", state.progress.step, steps)
    return run


def training_batches(run: Run) -> DataLoader:
    """Return the micro-batches of this process from the run's next step on."""
    config = run.config
    order = StepSampler(
        run.data.train.sizes,
        config.batch_size,
        run.state.progress.step,
        run.steps,
        config.seed,
        alternate=config.data.alternate,
        accumulate=config.accumulate,
        processes=run.processes,
    )
    return make_loader(run.data.train, order, config.data.workers)


class _Forward(nn.Module):
    """The network's training outputs, of those what the losses read, under autocast."""

    def __init__(self, network: DepthNetwork, config: TrainConfig) -> None:
        super().__init__()
        self.network = network
        self._names = needed_outputs(config.loss)
        self._dtype = _AUTOCAST.get(config.precision)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        with torch.autocast(image.device.type, self._dtype, enabled=self._dtype is not None):
            outputs = self.network.training_outputs(image)
        return {name: outputs[name] for name in self._names if name in outputs}


def _make_networks(config: TrainConfig, device: torch.device) -> tuple[DepthNetwork, DepthNetwork]:
    """Return the network that learns and the one that shows its weights."""
    preset = load_network_preset(config.network)
    settings = {**preset.settings, **config.network_settings}
    network = create_model(preset.network, settings, config.backbone_weights)
    if config.initial_checkpoint:
        _start_from(config, network)
    if config.initial_encoder:
        _start_encoder_from(config.initial_encoder, network)
    exported = create_model(preset.network, settings).to(device)
    # Twice as fast as the default layout on CPUs and on tensor cores.
    network.to(device).to(memory_format=torch.channels_last)
    if config.norm == "synchronised":
        if device.type == "cpu":
            raise ConfigError("norm: synchronised needs GPUs; on a CPU use update or frozen")
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return network, exported


def _start_from(config: TrainConfig, network: DepthNetwork) -> None:
    """Fill the network with the weights of a checkpoint, but for those the recipe leaves out.

    Raises:
        CheckpointError: see `load_network`, or its tensors do not fit.
    """
    given = _load_start(config.initial_checkpoint).state_dict()
    left_out = config.initial_checkpoint_except
    state = network.state_dict()
    if left_out:
        kept = {name: value for name, value in state.items() if name.startswith(left_out)}
        given = {name: value for name, value in given.items() if not name.startswith(left_out)}
        given |= kept
    try:
        network.load_state_dict(given)
    except RuntimeError as error:
        raise CheckpointError(
            f"initial_checkpoint {config.initial_checkpoint} does not fit "
            f"{type(network).__name__} with these settings: {error}"
        ) from error


def _start_encoder_from(source: str, network: DepthNetwork) -> None:
    """Fill the encoder with that of a checkpoint.

    Raises:
        CheckpointError: see `load_network`, or it has another backbone or width.
    """
    given = _load_start(source)
    try:
        network.encoder.load_state_dict(given.encoder.state_dict())
    except RuntimeError as error:
        raise CheckpointError(
            f"initial_encoder {source} has a {given.config.backbone} of width "
            f"{given.config.backbone_width:g}, this network a {network.config.backbone} of width "
            f"{network.config.backbone_width:g}; name a checkpoint with the same"
        ) from error


def _load_start(source: str) -> DepthNetwork:
    """Load a shipped name or a file; a relative path starts at the checkout, as in all recipes."""
    return load_network(str(CHECKOUT / source) if source.endswith(".safetensors") else source)[0]


def _validation_loader(config: TrainConfig, data: RunData) -> DataLoader:
    # Full frames may differ in size.
    same_size = data.view.size is not None or data.view.crop != "none"
    batches = in_order(len(data.validation), 16 if same_size else 1)
    return make_loader(data.validation, batches, config.data.workers)


def _choose_algorithms(config: TrainConfig) -> None:
    if config.deterministic:
        # Read by cuBLAS when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(config.deterministic)
    # Trying out algorithms may choose another one every time.
    torch.backends.cudnn.benchmark = not config.deterministic
