"""Do the papers' ablations hold on our world? `python -m training.study [TABLE...]` trains them.

A queue of (table, row, seed) is worked through. Every finished run leaves one JSON file of its
scores on world test set v1, so a stopped study goes on with the next one, and a run in work where
it last saved. `python -m training.results --study DIR` prints what has become of the claims.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from mono_depth_ros import __version__
from mono_depth_ros.atomic import replacing
from mono_depth_ros.checkpoint import read_info
from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.evaluation.saved_report import json_ready
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from training.config import CHECKOUT, TrainConfig
from training.evaluation.world import score_on_world
from training.studies import FOLDER, Study, StudyRow, load_study, merged, study_recipe
from training.train import train

PROTOCOL = CHECKOUT / "config/world_study.yaml"
FORMAT = 1
# The light presets have a backbone of their own, and one image size fits all rows.
_NOT_TAKEN = ("backbone", "image_size")


@dataclass(frozen=True, slots=True)
class Protocol:
    """What all rows share.

    Attributes:
        seeds: runs of each row.
        recipe: sections of the recipe.
        tables: in the order of work.
    """

    seeds: int
    recipe: dict[str, Any] = field(default_factory=dict)
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the queue."""

    study: Study
    row: StudyRow
    seed: int

    @property
    def name(self) -> str:
        """Of the run, of its folder and of its result."""
        return f"{self.study.name}-{self.row.key}-seed{self.seed}"


def load_protocol(path: Path = PROTOCOL) -> Protocol:
    """Read what all rows share.

    Raises:
        ConfigError: see `mono_depth_ros.config`.
    """
    return from_mapping(Protocol, load_yaml(path), path.name)


def jobs(protocol: Protocol, tables: Sequence[str] = ()) -> Iterator[Job]:
    """Yield the queue: table by table, all rows with one seed before any with the next.

    Args:
        protocol: names the order of the tables and the number of seeds.
        tables: only these, each a table or one row of it as TABLE/ROW; empty for all of the
            protocol.

    Raises:
        ConfigError: there is no such table, or it has no such row on the procedural world.
    """
    wanted: dict[str, list[str]] = {}
    for address in tables or protocol.tables:
        name, _, row_key = address.partition("/")
        wanted.setdefault(name, []).extend([row_key] if row_key else [])
    for name, row_keys in wanted.items():
        if not (FOLDER / f"{name}.yaml").exists():
            raise ConfigError(f"no table {name!r}; the study has {', '.join(protocol.tables)}")
        study = load_study(FOLDER / f"{name}.yaml")
        rows = {
            row.key: row
            for row in study.rows
            if study.on_world is None or row.key in study.on_world
        }
        if unknown := set(row_keys) - set(rows):
            raise ConfigError(f"{name} has no row {unknown.pop()!r}; it has {', '.join(rows)}")
        chosen = [row for key, row in rows.items() if key in row_keys or not row_keys]
        yield from (Job(study, row, seed) for seed in range(protocol.seeds) for row in chosen)


def recipe_of(job: Job, protocol: Protocol) -> TrainConfig:
    """Return the recipe of a job: the light preset, the row's settings and loss, the shared rest.

    Raises:
        ConfigError: the row asks for settings that its network does not have.
    """
    study, row = job.study, job.row
    light = load_yaml(CHECKOUT / f"config/training/{study.network}_light_rooms.yaml")
    paper = study_recipe(study, row)
    changed = {**study.settings, **row.settings, **(study.on_world or {}).get(row.key, {})}
    kept = {key: value for key, value in changed.items() if key not in _NOT_TAKEN}
    recipe: Mapping[str, Any] = {
        "name": job.name,
        "seed": job.seed,
        "network": light["network"],
        "network_settings": {**light["network_settings"], **kept},
        "loss": paper["loss"],
    }
    return from_mapping(TrainConfig, merged(recipe, protocol.recipe), job.name)


def run_job(job: Job, protocol: Protocol, out: Path, stop_after_s: float = math.inf) -> bool:
    """Train one row, score it, write its result; tell whether it is done.

    Raises:
        ConfigError, DataError, TrainingError: see `training.train.train`.
    """
    config = recipe_of(job, protocol)
    began = time.monotonic()
    checkpoint = train(config, out / "runs" / job.name, stop_after_s)
    if read_info(checkpoint).recipe["steps_done"] < (config.steps or 0):
        return False
    predictor = DepthPredictor.load(checkpoint, InferenceConfig(device=config.device))
    scores = score_on_world(predictor, "rooms").model
    result = {
        "format": FORMAT,
        "table": job.study.name,
        "row": job.row.key,
        "seed": job.seed,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "seconds": predictor.info.recipe["seconds"],
        "checkpoint_sha256": predictor.info.sha256,
        "version": __version__,
        "scores": asdict(scores),
        "recipe": predictor.info.recipe,
    }
    logging.info("%s: AbsRel %.4f (%.0f s)", job.name, scores.abs_rel, time.monotonic() - began)
    with replacing(result_path(job, out)) as temporary:
        temporary.write_text(json.dumps(json_ready(result), indent=1) + "\n", encoding="utf-8")
    return True


def result_path(job: Job, out: Path) -> Path:
    """Return where the result of a job lies."""
    return out / f"{job.name}.json"


def work(
    protocol: Protocol, tables: Sequence[str], out: Path, budget_s: float = math.inf
) -> tuple[int, int]:
    """Work through the queue until it is empty or the time is up.

    Returns:
        How many jobs have a result, and how many there are.

    Raises:
        ConfigError, DataError, TrainingError: see `run_job`.
    """
    queue = list(jobs(protocol, tables))
    out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + budget_s
    for job in queue:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        if not result_path(job, out).exists():
            with logging_redirect_tqdm():
                run_job(job, protocol, out, left_s)
    return sum(result_path(job, out).exists() for job in queue), len(queue)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE[/ROW]", help="default: all of the protocol"
    )
    parser.add_argument("--budget-minutes", type=float, default=math.inf, help="default: no limit")
    parser.add_argument("--protocol", type=Path, default=PROTOCOL, help=f"default {PROTOCOL.name}")
    parser.add_argument(
        "--out", type=Path, default=CHECKOUT / "runs" / "study", help="default runs/study"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        protocol = load_protocol(options.protocol)
        budget_s = 60.0 * options.budget_minutes
        done, total = work(protocol, options.tables, options.out, budget_s)
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command continues from the last saved step\n")
        return 130
    sys.stdout.write(f"{done} of {total} runs have a result in {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
