"""Every row of every ablation table builds, and its figures are metrics in a sensible range."""

from __future__ import annotations

import pytest
import torch

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import create_model
from training.ablations import FOLDER, Ablation, Row, load_ablation

TABLES = {path.stem: load_ablation(path) for path in sorted(FOLDER.glob("*.yaml"))}
ROWS = [(stem, row.name) for stem, table in TABLES.items() for row in table.rows]

SHARES = {"delta1", "delta2", "delta3"}
ERRORS = {"abs_rel", "sq_rel", "rmse_m", "rmse_log", "log10", "silog", "mean_log"}
CHANGES = {"rmse_m_gain", "mean_iou_gain"}


@pytest.mark.parametrize(("stem", "name"), ROWS, ids=["-".join(row) for row in ROWS])
def test_row_builds_and_minimises_something(stem, name):
    table = TABLES[stem]
    row = next(row for row in table.rows if row.name == name)
    with torch.device("meta"):
        network = create_model(table.network, table.settings_of(row))
    assert sum(p.numel() for p in network.parameters()) > 1e6
    assert table.loss_of(row).sections()


@pytest.mark.parametrize("stem", TABLES)
def test_rows_differ_from_each_other(stem):
    table = TABLES[stem]
    configurations = [
        (table.settings_of(row), row.loss or table.loss, row.start_from) for row in table.rows
    ]
    for i, first in enumerate(configurations):
        assert first not in configurations[:i], table.rows[i].name


@pytest.mark.parametrize("stem", TABLES)
def test_printed_figures_are_metrics_in_their_range(stem):
    for row in TABLES[stem].rows:
        for figures in row.paper.values():
            assert set(figures) <= SHARES | ERRORS | CHANGES, row.name
            shares = [figures[key] for key in ("delta1", "delta2", "delta3") if key in figures]
            assert shares == sorted(shares) and all(0.4 < share < 1.0 for share in shares)
            assert all(0.0 < figures[key] < 30.0 for key in ERRORS & set(figures))


def test_every_network_has_a_table():
    assert {table.network for table in TABLES.values()} == {
        "pwa",
        "hma",
        "acan",
        "asc_gcm",
        "look_deeper",
    }


def test_a_row_that_continues_another_has_the_same_network():
    continued = [(t, row) for t in TABLES.values() for row in t.rows if row.start_from]
    assert continued
    for table, row in continued:
        first = next(other for other in table.rows if other.name == row.start_from)
        assert table.settings_of(first) == table.settings_of(row)
        assert (first.loss or table.loss) != (row.loss or table.loss)


def test_two_rows_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="two rows of one name"):
        Ablation("pwa", "Table 0", {}, {"silog": {}}, (Row("a"), Row("a")))
    with pytest.raises(ConfigError, match="no row b"):
        Ablation("pwa", "Table 0", {}, {"silog": {}}, (Row("a", start_from="b"),))
