"""Train one network: `python -m training.train config/training/pwa_light_rooms.yaml`.

A row of a paper's table: `python -m training.train pwa_table1/pwa_64_px/nyu`. On several GPUs:
`torchrun --nproc-per-node=4 -m training.train RECIPE`. A run that was stopped, in whatever way,
continues where it last saved, with the result of one that never stopped.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mono_depth_ros.checkpoint import CheckpointInfo, save_checkpoint
from mono_depth_ros.config import from_mapping, to_mapping, with_overrides
from mono_depth_ros.errors import MonoDepthError, TrainingError
from training.config import CHECKOUT, TrainConfig, load_network_preset, load_train_config
from training.distributed import processes
from training.journal import Journal
from training.loop import set_learning_rate, take_step
from training.objective import weighted_losses
from training.pictures import validation_pictures
from training.run import Run, start, training_batches
from training.state import update_average
from training.studies import recipe_at
from training.validation import validate

logger = logging.getLogger(__name__)

BEST, LAST = "best.safetensors", "last.safetensors"
# A bad image spoils a step, not so many of them.
HOPELESS_STEPS = 100


def train(config: TrainConfig, out: Path, stop_after_s: float = math.inf) -> Path:
    """Train until the last step or until the time is up, whichever is first.

    Args:
        config: the run.
        out: folder for state.pt, best.safetensors, last.safetensors, journal.jsonl and TensorBoard
            events; a state.pt of the same settings is continued.
        stop_after_s: save and return after so many seconds.

    Returns:
        The checkpoint with the best validation so far; there is none before the first.

    Raises:
        ConfigError, CheckpointError, DataError: see `run.start`.
        TrainingError: no step of the last `HOPELESS_STEPS` was finite.
    """
    deadline = time.monotonic() + stop_after_s
    with processes(config.device) as (members, device):
        run = start(config, out, members, device)
        progress = run.state.progress
        validate_every = config.validation_interval(len(run.data.train))
        journals = Journal(out, progress.step) if members.first else nullcontext()
        with journals as journal:
            for batches in _steps(run):
                values = take_training_step(run, batches)
                finished = progress.step == run.steps
                # All processes must stop at the same step.
                late = deadline < math.inf and members.any(time.monotonic() > deadline)
                if journal:
                    journal.values(progress.step, values)
                    # Never on account of the time: where a run was stopped must not show in its
                    # results.
                    if finished or progress.step % validate_every == 0:
                        _validate_and_export(run, journal)
                    journal.flush()
                if finished or late or progress.step % config.save_every == 0:
                    run.save()
                if late:
                    break
        _report(run)
    return out / BEST


def _steps(run: Run) -> Iterator[list[dict[str, Any]]]:
    """Yield the micro-batches of every step that is left, and count the time waited for them."""
    progress = run.state.progress
    batches = iter(training_batches(run))
    bar = tqdm(
        range(progress.step, run.steps),
        run.config.name,
        run.steps,
        initial=progress.step,
        # None: only on a terminal.
        disable=None if run.processes.first else True,
    )
    for _ in bar:
        began = time.monotonic()
        step = [next(batches) for _ in range(run.config.accumulate)]
        ready = time.monotonic()
        yield step
        progress.waited_s += ready - began
        progress.seconds += time.monotonic() - began


def take_training_step(run: Run, batches: list[dict[str, Any]]) -> dict[str, float]:
    """Take one optimiser step; return what is logged of it."""
    config, state, step = run.config, run.state, run.state.progress.step
    _count_problems(run, batches)
    rate = set_learning_rate(state.optimizer, config.optimizer, step, run.steps)
    run.learn()
    run.draw_anew()
    parts: dict[str, float] = {}
    losses: list[Callable[[], Tensor]] = [partial(_loss, run, batch, parts) for batch in batches]
    total = take_step(
        run.network, state.optimizer, state.scaler, losses, config.optimizer.clip_norm
    )
    if total is not None:
        state.progress.skipped_in_a_row = 0
    else:
        state.progress.skipped_steps += 1
        state.progress.skipped_in_a_row += 1
        names = [name for batch in batches for name in batch["name"]]
        logger.warning(
            "step %d skipped, loss or gradient is not finite; its images: %s",
            step,
            ", ".join(run.processes.lists(names)),
        )
    if state.progress.skipped_in_a_row == HOPELESS_STEPS:
        raise TrainingError(
            f"the last {HOPELESS_STEPS} steps had a loss or gradient that is not finite, so "
            "nothing is learnt; try precision=float32 or a lower optimizer.learning_rate"
        )
    if state.average is not None:
        update_average(state.average, run.network, config.ema_decay, step)
    state.progress.step += 1
    shares = {f"loss/{name}": value for name, value in parts.items()}
    return {"loss": math.nan if total is None else total, **shares, "learning_rate": rate}


def _loss(run: Run, batch: dict[str, Any], parts: dict[str, float]) -> Tensor:
    """Return a micro-batch's share of the loss, computed on the images of all processes."""
    tensors = {k: value.to(run.device) for k, value in batch.items() if isinstance(value, Tensor)}
    image = tensors.pop("image").to(memory_format=torch.channels_last)
    outputs = run.processes.gathered(run.forward(image))
    truth = run.processes.gathered(tensors)
    losses = weighted_losses(run.config.loss, run.network, outputs, truth)
    for name, value in losses.items():
        parts[name] = parts.get(name, 0.0) + value.item() / run.config.accumulate
    return sum(losses.values()) / run.config.accumulate  # type: ignore[return-value]


def _count_problems(run: Run, batches: list[dict[str, Any]]) -> None:
    """Name the bad images of all processes, and count them."""
    own = [problem for batch in batches for problem in batch["problem"] if problem]
    problems = run.processes.lists(own)
    for problem in problems if run.processes.first else ():
        logger.warning("step %d: %s", run.state.progress.step, problem)
    run.state.progress.bad_items += len(problems)


def _validate_and_export(run: Run, journal: Journal) -> None:
    """Score the weights, write them as last.safetensors and, if best, as best."""
    progress = run.state.progress
    run.exported.load_state_dict(run.state.weights)
    validation = validate(run.exported, run.validation, run.device)
    scores = validation.scores()
    journal.values(progress.step, {f"validation/{name}": v for name, v in scores.items()})
    if validation.shown is not None:
        for name, rgb in validation_pictures(run.exported, validation.shown, run.device):
            journal.picture(progress.step, name, rgb)
    journal.times(
        progress.step, {"waiting_for_data": progress.waited_s / max(progress.seconds, 1e-9)}
    )
    logger.info("step %d: validation %s", progress.step, validation)
    info = _describe(run, scores)
    save_checkpoint(run.out / LAST, run.exported, info)
    loss = validation.loss(depth=run.config.loss.learns_depth)
    if loss < progress.best_loss or not (run.out / BEST).exists():
        save_checkpoint(run.out / BEST, run.exported, info)
    # Without a pixel to compare the loss is NaN, which must not stay the best.
    if loss < progress.best_loss:
        progress.best_loss = loss


def _describe(run: Run, scores: dict[str, float]) -> CheckpointInfo:
    config, progress = run.config, run.state.progress
    domain = "procedural_world_validation" if config.data.world else "validation"
    return CheckpointInfo(
        name=config.name,
        network=load_network_preset(config.network).network,
        settings=to_mapping(run.network.config),
        image_size=run.network.config.image_size,
        training_focal_px=run.data.training_focal_px,
        training_data=(
            f"{run.data.description}; {progress.step} steps of {config.batch_size} images"
        ),
        class_names=run.network.class_names,
        scores={f"{domain}.{name}": value for name, value in scores.items()},
        recipe={
            **to_mapping(config),
            "data_digests": run.data.digests,
            "steps_done": progress.step,
            "seconds": progress.seconds,
        },
    )


def _report(run: Run) -> None:
    """Say where the time went, and what was wrong with the data."""
    progress = run.state.progress
    if not progress.seconds or not run.processes.first:
        return
    waiting = progress.waited_s / progress.seconds
    logger.info(
        "%d steps in %.0f s (%.2f images/s), %.0f %% of it waiting for data%s",
        progress.step,
        progress.seconds,
        progress.step * run.config.batch_size / progress.seconds,
        100.0 * waiting,
        "; raise data.workers, or put the data on a faster disk" if waiting > 0.1 else "",
    )
    if progress.skipped_steps or progress.bad_items:
        logger.warning(
            "%d steps were skipped, %d images were bad; they are named above",
            progress.skipped_steps,
            progress.bad_items,
        )


def read_recipe(recipe: str, overrides: list[str]) -> TrainConfig:
    """Return the settings of a YAML file or of a row of a study.

    Raises:
        ConfigError: see `mono_depth_ros.config`, or there is no such row.
    """
    if Path(recipe).suffix in (".yaml", ".yml"):
        return load_train_config(Path(recipe), overrides)
    return from_mapping(TrainConfig, with_overrides(recipe_at(recipe), overrides))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "recipe",
        help="a file of config/training, or TABLE/ROW/DATASET (python -m training.studies)",
    )
    parser.add_argument("overrides", nargs="*", help="section.setting=value")
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/NAME")
    parser.add_argument("--minutes", type=float, default=math.inf, help="save and stop after these")
    parser.add_argument("--strict", action="store_true", help="a bad file ends the run")
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        overrides = [*options.overrides, *(["data.strict=true"] if options.strict else [])]
        config = read_recipe(options.recipe, overrides)
        out = options.out or CHECKOUT / "runs" / config.name
        with logging_redirect_tqdm():
            best = train(config, out, 60.0 * options.minutes)
        print(best if best.exists() else f"{out}: stopped before the first validation")
    except (MonoDepthError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command continues from the last saved step", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
