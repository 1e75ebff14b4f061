"""The papers' ablation tables: every printed row as a configuration, with its printed figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError
from training.config import CHECKOUT
from training.objective import ObjectiveConfig

FOLDER = CHECKOUT / "config" / "ablations"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        name: as the table calls it.
        settings: of the network, on top of the table's.
        loss: in place of the table's; empty takes the table's.
        start_from: name of the row from whose checkpoint this one starts (`initial_checkpoint` of
            the recipe); empty for fresh weights.
        paper: printed figures, dataset → metric → value; shares are fractions.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    start_from: str = ""
    paper: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ablation:
    """Content of a file in config/ablations.

    Attributes:
        network: key of `mono_depth_ros.models.MODELS`.
        table: paper and number of the table.
        settings: of the network, for all rows.
        loss: sections of `ObjectiveConfig`, for all rows.
        rows: in the paper's order.
    """

    network: str
    table: str
    settings: dict[str, Any]
    loss: dict[str, Any]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if len(set(names)) != len(names):
            raise ConfigError(f"{self.table} has two rows of one name among {', '.join(names)}")
        unknown = {row.start_from for row in self.rows} - {"", *names}
        if unknown:
            raise ConfigError(f"{self.table} has no row {', '.join(unknown)} to start from")

    def settings_of(self, row: Row) -> dict[str, Any]:
        """Return the network settings of one row."""
        return {**self.settings, **row.settings}

    def loss_of(self, row: Row) -> ObjectiveConfig:
        """Return what one row minimises."""
        return from_mapping(ObjectiveConfig, row.loss or self.loss, f"{self.table}.{row.name}.loss")


def load_ablation(path: Path) -> Ablation:
    """Read one table.

    Raises:
        ConfigError: see `mono_depth_ros.config`.
    """
    return from_mapping(Ablation, load_yaml(path))
