"""The papers' tables: every printed row as a recipe, with its printed figures.

`python -m training.studies` lists the rows, with TABLE/ROW/DATASET behind it prints one's recipe.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError, MonoDepthError
from training.config import CHECKOUT
from training.objective import ObjectiveConfig

FOLDER = CHECKOUT / "config" / "studies"
RECIPES = CHECKOUT / "config" / "training"


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One row of a table.

    Attributes:
        name: as the table calls it.
        settings: of the network, on top of the table's.
        loss: in place of the table's; empty takes the table's.
        recipes: in place of the table's; empty takes the table's.
        changes: of other sections of the recipe.
        start_from: name of the row from whose best checkpoint this one starts (`initial_checkpoint`
            of the recipe); empty for what the recipe starts from.
        paper: printed figures, profile → metric → value; shares are fractions.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    recipes: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    start_from: str = ""
    paper: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name in lower case, without signs and spaces, for commands and folders."""
        return re.sub("[^a-z0-9]+", "_", self.name.lower()).strip("_")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a table says, as a comparison of two of its rows.

    Attributes:
        says: in words.
        better: name of the row that the paper finds better.
        than: name of the other row.
    """

    says: str
    better: str
    than: str


@dataclass(frozen=True, slots=True)
class Study:
    """Content of a file in config/studies.

    Attributes:
        name: of the file, without suffix.
        network: key of `mono_depth_ros.models.MODELS`.
        table: paper and number of the table.
        recipes: data set → file in config/training, without suffix, that all rows change.
        rows: in the paper's order.
        settings: of the network, for all rows, on top of the recipe's.
        loss: sections of `ObjectiveConfig`, for all rows; empty takes the recipe's.
        on_world: key of a row → settings that it has on the procedural world on top of its own,
            for `training.study`; null trains all rows with their own.
        claims: what the table is there to show.
    """

    name: str
    network: str
    table: str
    recipes: dict[str, str]
    rows: tuple[StudyRow, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    on_world: dict[str, Any] | None = None
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        keys = [row.key for row in self.rows]
        if len(set(keys)) != len(keys):
            raise ConfigError(f"{self.table} has two rows of one name among {', '.join(keys)}")
        unknown = {row.start_from for row in self.rows} - {"", *(row.name for row in self.rows)}
        if unknown:
            raise ConfigError(f"{self.table} has no row {', '.join(unknown)} to start from")
        compared = {name for claim in self.claims for name in (claim.better, claim.than)}
        for name in sorted(compared - {row.name for row in self.rows}):
            raise ConfigError(
                f"{self.table} claims something of {name!r}, which is none of its rows"
            )
        for key in sorted(set(self.on_world or {}) - set(keys)):
            raise ConfigError(f"{self.table} has no row {key!r} for the procedural world")

    def row(self, name: str) -> StudyRow:
        """Return a row by its name or its key.

        Raises:
            ConfigError: there is none.
        """
        for row in self.rows:
            if name in (row.name, row.key):
                return row
        raise ConfigError(
            f"{self.name} has no row {name!r}; it has {', '.join(row.key for row in self.rows)}"
        )

    def settings_of(self, row: StudyRow, dataset: str = "") -> dict[str, Any]:
        """Return all network settings of one row that are not the network's defaults."""
        recipe = study_recipe(self, row, dataset)
        preset = _read(CHECKOUT / recipe["network"])
        return {**preset.get("settings", {}), **recipe["network_settings"]}

    def loss_of(self, row: StudyRow, dataset: str = "") -> ObjectiveConfig:
        """Return what one row minimises."""
        loss = study_recipe(self, row, dataset)["loss"]
        return from_mapping(ObjectiveConfig, loss, f"{self.table}.{row.name}.loss")

    def run_name(self, row: StudyRow, dataset: str) -> str:
        """Return the name of a row's run, which is the name of its folder in runs/."""
        return f"{self.name}-{row.key}-{dataset}"


def load_study(path: Path) -> Study:
    """Read one table.

    Raises:
        ConfigError: see `mono_depth_ros.config`.
    """
    return from_mapping(Study, {"name": path.stem, **load_yaml(path)}, path.name)


def load_studies() -> dict[str, Study]:
    """Return all tables, name → table."""
    return {path.stem: load_study(path) for path in sorted(FOLDER.glob("*.yaml"))}


def study_recipe(study: Study, row: StudyRow, dataset: str = "") -> dict[str, Any]:
    """Return the plain values of the `TrainConfig` that trains one row.

    Args:
        study: the table.
        row: of that table.
        dataset: key of its recipes; empty for the first.

    Raises:
        ConfigError: the table has no such data set.
    """
    recipes = row.recipes or study.recipes
    dataset = dataset or next(iter(recipes))
    if dataset not in recipes:
        raise ConfigError(f"{study.name} has no data set {dataset!r}; it has {', '.join(recipes)}")
    recipe = merged(_read(RECIPES / f"{recipes[dataset]}.yaml"), row.changes)
    recipe["name"] = study.run_name(row, dataset)
    changed = {**study.settings, **row.settings}
    recipe["network_settings"] = {**recipe.get("network_settings", {}), **changed}
    recipe["loss"] = row.loss or study.loss or recipe["loss"]
    if row.start_from:
        first = study.run_name(study.row(row.start_from), dataset)
        recipe["initial_checkpoint"] = f"runs/{first}/best.safetensors"
    return recipe


@cache
def _read(path: Path) -> dict[str, Any]:
    """Read a YAML file once; the result must not be changed."""
    return load_yaml(path)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with the settings of `changes` in their sections."""
    result = dict(values)
    for key, value in changes.items():
        inner = result.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        result[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def recipe_at(address: str) -> dict[str, Any]:
    """Return the recipe at TABLE/ROW/DATASET.

    Raises:
        ConfigError: there is none.
    """
    table, _, rest = address.partition("/")
    name, _, dataset = rest.partition("/")
    path = FOLDER / f"{table}.yaml"
    if not path.exists():
        tables = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml")))
        raise ConfigError(f"{address} must be TABLE/ROW/DATASET with a table of {tables}")
    study = load_study(path)
    return study_recipe(study, study.row(name), dataset)


def addresses() -> Iterator[str]:
    """Yield TABLE/ROW/DATASET of every row."""
    for study in load_studies().values():
        for row in study.rows:
            for dataset in row.recipes or study.recipes:
                yield f"{study.name}/{row.key}/{dataset}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", nargs="?", help="TABLE/ROW/DATASET; default lists all")
    options = parser.parse_args(arguments)
    try:
        if options.address is None:
            print("\n".join(addresses()))
        else:
            print(yaml.safe_dump(recipe_at(options.address), sort_keys=False), end="")
    except MonoDepthError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
