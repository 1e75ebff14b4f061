"""PAPER_AND_CODE.md cannot go stale: its defaults are the code's, its alternatives build."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import yaml

import mono_depth_ros.models as models
from mono_depth_ros.config import from_mapping, to_mapping
from mono_depth_ros.models import MODELS, create_model
from mono_depth_ros.models.base import NetworkSettings
from training.objective import ObjectiveConfig

PAGE = Path(models.__file__).parent / "PAPER_AND_CODE.md"
COLUMNS = ["point", "paper", "authors' code", "default", "other", "why"]
# Where a robot's camera looks is no matter of paper and code.
NOT_DECISIONS = {field.name for field in fields(NetworkSettings)} | {"attention_pixel"}


def read_page() -> dict[str, list[dict[str, str]]]:
    """Network → rows of its table."""
    tables = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        key, *lines = section.splitlines()
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in lines
            if line.startswith("|")
        ]
        assert rows[0] == COLUMNS
        assert all(len(row) == len(COLUMNS) for row in rows), key
        tables[key] = [dict(zip(COLUMNS, row, strict=True)) for row in rows[2:]]
    return tables


TABLES = read_page()
ROWS = [(key, row) for key, rows in TABLES.items() for row in rows]
every_row = pytest.mark.parametrize(
    ("key", "row"), ROWS, ids=[f"{key}-{row['point'][:40]}" for key, row in ROWS]
)


def switches(cell: str) -> list[dict]:
    """Every setting in backticks, as a mapping."""
    settings = [yaml.safe_load(text) for text in re.findall(r"`([^`]+)`", cell)]
    assert all(isinstance(setting, dict) for setting in settings), cell
    return settings


def loss_of(setting: dict) -> dict | None:
    """`loss.silog.root: true` → {"silog": {"root": True}}; None for a network's setting."""
    ((name, value),) = setting.items() if len(setting) == 1 else [("", None)]
    if not name.startswith("loss."):
        return None
    _, section, field = name.split(".")
    return {section: {field: value}}


@every_row
def test_the_default_is_the_codes(key, row):
    if row["default"] == "fixed":
        assert row["other"] == "-"
        return
    # The table of what all share holds no network's settings.
    defaults = to_mapping(MODELS[key][0]()) if key in MODELS else {}
    for setting in switches(row["default"]):
        loss = loss_of(setting)
        if loss:
            ((section, values),) = loss.items()
            sections = to_mapping(from_mapping(ObjectiveConfig, {section: {}}))
            assert sections[section].items() >= values.items()
        else:
            assert defaults.items() >= setting.items()


@every_row
def test_the_alternatives_build_and_are_others(key, row):
    for setting in switches(row["other"]):
        assert setting not in switches(row["default"])
        loss = loss_of(setting)
        if loss:
            from_mapping(ObjectiveConfig, loss)
        else:
            with torch.device("meta"):
                create_model(key, setting)


def test_every_setting_of_a_loss_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    every = from_mapping(ObjectiveConfig, {field.name: {} for field in fields(ObjectiveConfig)})
    for section, values in to_mapping(every).items():
        for name in set(values) - {"weight"}:
            assert f"`loss.{section}.{name}: " in text


@pytest.mark.parametrize("key", MODELS)
def test_every_setting_of_a_network_is_on_the_page(key):
    mentioned = {
        name
        for row in TABLES[key]
        for cell in (row["default"], row["other"])
        for setting in switches(cell)
        for name in setting
    }
    settings = {field.name for field in fields(MODELS[key][0])}
    assert settings - NOT_DECISIONS <= mentioned
