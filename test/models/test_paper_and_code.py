"""PAPER_AND_CODE.md cannot go stale.

Its defaults are the code's, its alternatives build, the papers' presets differ from the defaults in
what it names only, and its losses are those of the recipes.
"""

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
from mono_depth_ros.models.presets import load_preset, shipped_presets
from training.config import CHECKOUT, load_train_config
from training.objective import ObjectiveConfig

PAGE = Path(models.__file__).parent / "PAPER_AND_CODE.md"
RECIPES = CHECKOUT / "config" / "training"
LOSSES = "losses of the recipes"
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
        assert rows[0] == (["recipe", "losses", "source"] if key == LOSSES else COLUMNS)
        assert all(len(row) == len(rows[0]) for row in rows), key
        tables[key] = [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
    return tables


TABLES = read_page()
RECIPE_ROWS = {row["recipe"]: row["losses"] for row in TABLES.pop(LOSSES)}
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


def mentioned(key: str) -> list[tuple[str, object]]:
    """Every (name, value) that a network's table has as default or alternative."""
    return [
        pair
        for row in TABLES[key]
        for cell in (row["default"], row["other"])
        for setting in switches(cell)
        for pair in setting.items()
    ]


@pytest.mark.parametrize("key", MODELS)
def test_every_setting_of_a_network_is_on_the_page(key):
    settings = {field.name for field in fields(MODELS[key][0])}
    assert settings - NOT_DECISIONS <= {name for name, _ in mentioned(key)}


@pytest.mark.parametrize("name", [n for n in shipped_presets() if "_light" not in n])
def test_presets_of_the_papers_are_the_defaults_or_on_the_page(name):
    """With the very value; which backbone it is stands in the preset's name."""
    preset = load_preset(shipped_presets()[name])
    config_class = MODELS[preset.network][0]
    defaults = to_mapping(config_class())
    built = to_mapping(from_mapping(config_class, preset.settings))
    changed = {key: value for key, value in built.items() if value != defaults[key]}
    assert set(changed) <= set(preset.settings)
    if "backbone" in changed:
        assert changed.pop("backbone") in name
    page = mentioned(preset.network)
    assert not [pair for pair in changed.items() if pair not in page]


def test_losses_are_those_of_the_recipes():
    """Of all recipes, with every setting written out but weights of 1."""
    ours = ("_light_", "variety_")
    recipes = {
        path.stem: path
        for path in RECIPES.glob("*.yaml")
        if not any(part in path.stem for part in ours)
    }
    assert set(RECIPE_ROWS) == set(recipes)
    for name, path in recipes.items():
        losses = to_mapping(load_train_config(path).loss)
        expected = {
            section: {key: v for key, v in values.items() if (key, v) != ("weight", 1.0)}
            for section, values in losses.items()
            if values is not None
        }
        assert {k: v for part in switches(RECIPE_ROWS[name]) for k, v in part.items()} == expected
