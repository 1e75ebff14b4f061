"""Train one network: `python -m training.train config/training/pwa_light_rooms.yaml`.

A run that was stopped continues where it was, with the result of one that never stopped.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mono_depth_ros.checkpoint import CheckpointInfo, save_checkpoint
from mono_depth_ros.checkpoint import load_network as load_checkpoint
from mono_depth_ros.config import to_mapping
from mono_depth_ros.device import resolve_device
from mono_depth_ros.errors import CheckpointError, ConfigError, MonoDepthError
from mono_depth_ros.metrics import DepthErrors
from mono_depth_ros.models import DepthNetwork, create_model
from mono_depth_ros.models.semantic_classes import label_map
from training.config import CHECKOUT, TrainConfig, load_network_preset, load_train_config
from training.datasets.world import WorldDataset, network_camera, prepare
from training.loop import (
    StepSampler,
    in_order,
    make_loader,
    make_optimizer,
    set_learning_rate,
    take_step,
    validate,
)
from training.objective import weighted_losses
from training.state import TrainingState, start_average, update_average

logger = logging.getLogger(__name__)


def train(config: TrainConfig, out: Path, stop_after_s: float = math.inf) -> Path:
    """Train until `config.steps` or until the time is up, whichever is first.

    Args:
        config: the run.
        out: folder for state.pt, best.safetensors, last.safetensors and TensorBoard events; a
            state.pt of the same settings is continued.
        stop_after_s: save and return after so many seconds.

    Returns:
        The checkpoint with the lowest validation AbsRel so far; there is none before the first
            validation.
    """
    run = _start(config, out)
    progress, deadline = run.state.progress, time.monotonic() + stop_after_s
    with SummaryWriter(str(out / "tensorboard"), purge_step=progress.step) as board:
        bar = tqdm(run.batches, config.name, config.steps, initial=progress.step, disable=None)
        for batch in bar:
            started = time.monotonic()
            loss, rate = _train_on(run, batch)
            progress.step += 1
            progress.seconds += time.monotonic() - started
            board.add_scalar("loss", loss, progress.step)
            board.add_scalar("learning_rate", rate, progress.step)
            finished, late = progress.step == config.steps, time.monotonic() > deadline
            # Never on account of the time: where a run was stopped must not show in its results.
            if finished or progress.step % config.validate_every == 0:
                _validate_and_export(run, board)
            if finished or late or progress.step % config.save_every == 0:
                run.state.save(out / "state.pt", _settings(config, run.network))
            if late:
                break
    return out / "best.safetensors"


@dataclass(frozen=True)
class _Run:
    """What one run needs, built from its config."""

    config: TrainConfig
    out: Path
    device: torch.device
    network: DepthNetwork
    averaged: DepthNetwork
    state: TrainingState
    batches: DataLoader
    validation: DataLoader
    training_focal_px: float


def _start(config: TrainConfig, out: Path) -> _Run:
    """Build everything, and continue from a saved state where there is one."""
    device = resolve_device(config.device)
    torch.manual_seed(config.seed)
    description = load_network_preset(config.network)
    settings = {**description.settings, **config.network_settings}
    network = create_model(description.network, settings, config.backbone_weights).to(device)
    if config.initial_checkpoint:
        _start_from(config.initial_checkpoint, network)
    averaged = create_model(description.network, settings).to(device)
    # Twice as fast as the default layout on CPUs and on tensor cores.
    network.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, config.optimizer)
    state = TrainingState(network, optimizer, start_average(network))
    size = network.config.image_size
    focal_px = network_camera(config.data.kind, size).fx
    train_folder, validation_folder = prepare(config.data, size)
    train_set = WorldDataset(
        train_folder,
        size,
        focal_px,
        network.max_depth_m,
        config.augmentation,
        config.seed,
        _label_map(config, network),
    )
    validation_set = WorldDataset(validation_folder, size, focal_px, network.max_depth_m)
    out.mkdir(parents=True, exist_ok=True)
    if (out / "state.pt").exists():
        state.load(out / "state.pt", _settings(config, network))
        logger.info("continuing at step %d of %d", state.progress.step, config.steps)
    order = StepSampler(
        len(train_set), config.batch_size, state.progress.step, config.steps, config.seed
    )
    return _Run(
        config=config,
        out=out,
        device=device,
        network=network,
        averaged=averaged,
        state=state,
        batches=make_loader(train_set, order, config.data.workers),
        validation=make_loader(validation_set, in_order(len(validation_set)), workers=0),
        training_focal_px=focal_px,
    )


def _start_from(checkpoint: str, network: DepthNetwork) -> None:
    """Fill the network with the weights of a checkpoint.

    Raises:
        CheckpointError: see `load_network`, or its tensors do not fit.
    """
    state = load_checkpoint(checkpoint)[0].state_dict()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"initial_checkpoint {checkpoint} does not fit {type(network).__name__} with these "
            f"settings: {error}"
        ) from error


def _label_map(config: TrainConfig, network: DepthNetwork) -> npt.NDArray[np.int16] | None:
    """Return the class of every label on disk if the recipe learns from labels."""
    if config.loss.focal_semantic is None:
        return None
    semantics = getattr(network.config, "semantics", "none")
    fitting = {"rooms": ("nyu4", "nyu13", "nyu40"), "streets": ("cityscapes",)}[config.data.kind]
    if semantics not in fitting:
        raise ConfigError(
            f"loss.focal_semantic on {config.data.kind} needs a network with semantics "
            f"{' or '.join(fitting)}, {type(network).__name__} has {semantics}; change its settings"
        )
    return label_map(semantics, network.config.extra_classes)


def _settings(config: TrainConfig, network: DepthNetwork) -> dict[str, Any]:
    """Return all that the result depends on; a saved state with other settings is refused."""
    return {**to_mapping(config), "network_settings": to_mapping(network.config)}


def _train_on(run: _Run, batch: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Take one step; return its loss and learning rate."""
    config, state = run.config, run.state
    step = state.progress.step
    rate = set_learning_rate(state.optimizer, config.optimizer, step, config.steps)
    run.network.train()
    image = batch["image"].to(run.device, memory_format=torch.channels_last)
    outputs = run.network.training_outputs(image)
    truth = {key: value.to(run.device) for key, value in batch.items() if key != "image"}
    loss = sum(weighted_losses(config.loss, run.network, outputs, truth).values())
    if not take_step(run.network, state.optimizer, loss, config.optimizer.clip_norm):
        state.progress.skipped_steps += 1
        logger.warning("step %d skipped: loss or gradient is not finite", step)
    update_average(state.average, run.network, config.ema_decay, step)
    return loss.item(), rate


def _validate_and_export(run: _Run, board: SummaryWriter) -> None:
    """Score the averaged weights, write them as last.safetensors and, if best, as best."""
    progress = run.state.progress
    run.averaged.load_state_dict(run.state.average)
    errors = validate(run.averaged, run.validation, run.device)
    for name, value in asdict(errors).items():
        board.add_scalar(f"validation/{name}", value, progress.step)
    logger.info(
        "step %d: validation AbsRel %.4f RMSE %.3f m delta1 %.4f",
        progress.step,
        errors.abs_rel,
        errors.rmse_m,
        errors.delta1,
    )
    info = _describe(run, errors)
    save_checkpoint(run.out / "last.safetensors", run.averaged, info)
    if errors.abs_rel < progress.best_abs_rel or not (run.out / "best.safetensors").exists():
        progress.best_abs_rel = errors.abs_rel
        save_checkpoint(run.out / "best.safetensors", run.averaged, info)


def _describe(run: _Run, errors: DepthErrors) -> CheckpointInfo:
    config, progress = run.config, run.state.progress
    description = load_network_preset(config.network)
    first, end = config.data.train_seeds
    return CheckpointInfo(
        name=config.name,
        network=description.network,
        settings=to_mapping(run.network.config),
        image_size=run.network.config.image_size,
        training_focal_px=run.training_focal_px,
        training_data=(
            f"procedural world, {config.data.kind}, seeds {first} to {end - 1}, "
            f"{progress.step} steps of {config.batch_size} images"
        ),
        class_names=run.network.class_names,
        scores={f"procedural_world_validation.{k}": v for k, v in asdict(errors).items()},
        recipe={**to_mapping(config), "steps_done": progress.step, "seconds": progress.seconds},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a file of config/training")
    parser.add_argument("overrides", nargs="*", help="section.setting=value")
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/NAME")
    parser.add_argument("--minutes", type=float, default=math.inf, help="save and stop after these")
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = load_train_config(options.config, options.overrides)
        out = options.out or CHECKOUT / "runs" / config.name
        with logging_redirect_tqdm():
            print(train(config, out, 60.0 * options.minutes))
    except (MonoDepthError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command continues from the last saved step", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
