"""What a checkpoint answers for a full frame, through its recipe's view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_data import CAMERA, ColumnNetwork, RedNetwork, info, make_data, write_rgb

from mono_depth_ros.checkpoint import CheckpointInfo, load_network, save_checkpoint
from mono_depth_ros.errors import CheckpointError, ConfigError, ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from training.datasets.reader import PreparedReader
from training.evaluation.predict import (
    LetterboxSource,
    ViewSource,
    labels_to_source,
    load_source,
    parse_view,
    recipe_view,
)
from training.view import View, ViewConfig


def camera(height, width, fx=100.0):
    return Intrinsics(fx, fx, width / 2, height / 2, width, height)


def source(network, view, recipe=None, focal_px=None, flip=False):
    return ViewSource(network, info(recipe, focal_px), view, "cpu", flip)


def test_the_kb_window_lands_where_it_was_cut():
    # 375x1242: rows 23 to 374, columns 13 to 1228.
    rgb = np.zeros((375, 1242, 3), np.uint8)
    depth_m = source(ColumnNetwork(), ViewConfig("kb")).answer(rgb, camera(375, 1242)).depth_m
    assert depth_m.shape == (375, 1242) and depth_m.dtype == np.float32
    assert np.isnan(depth_m[:23]).all() and np.isnan(depth_m[:, :13]).all()
    assert np.isnan(depth_m[:, 1229:]).all()
    inside = depth_m[23:375, 13:1229]
    assert np.array_equal(inside, np.tile(np.arange(1.0, 1217.0, dtype=np.float32), (352, 1)))


def test_the_view_is_what_the_network_sees():
    rgb = np.zeros((64, 96, 3), np.uint8)
    rgb[..., 0] = np.arange(96) * 2
    depth_m = source(RedNetwork(), ViewConfig()).answer(rgb, camera(64, 96)).depth_m
    assert depth_m[7, 30] == pytest.approx(10 * 60 / 255, rel=1e-6)


def test_a_resized_view_comes_back_at_full_size():
    # Halving averages pairs of columns (2c, 2c + 1); enlarging is linear between their centres.
    rgb = np.zeros((128, 192, 3), np.uint8)
    rgb[..., 0] = np.arange(192)
    view = ViewConfig(size=ImageSize(64, 96))
    depth_m = source(RedNetwork(), view).answer(rgb, camera(128, 192)).depth_m
    assert depth_m.shape == (128, 192)
    # Column 100 is a quarter of the way from the pair (100, 101), 101 after rounding half to even
    # or up, back to (98, 99).
    assert depth_m[50, 100] * 25.5 == pytest.approx(100.25, abs=0.51)


def test_focal_length_scales_depth_only_where_the_recipe_says_so():
    rgb = np.zeros((128, 192, 3), np.uint8)
    # Half the size halves the focal length: 120 px become 60, against 40 in training.
    view = ViewConfig(size=ImageSize(64, 96))
    frame = camera(128, 192, fx=120.0)

    def last(recipe, focal_px):
        return source(ColumnNetwork(), view, recipe, focal_px).answer(rgb, frame).depth_m[0, -1]

    assert last({"data": {"normalise_focal": True}}, 40.0) == pytest.approx(96 * 60 / 40)
    assert last({}, 40.0) == pytest.approx(96 * 60 / 40)
    assert last({"data": {"normalise_focal": False}}, 40.0) == 96.0
    assert last({}, None) == 96.0


def test_flip_averages_with_the_mirrored_answer():
    rgb = np.zeros((64, 96, 3), np.uint8)
    plain = source(ColumnNetwork(), ViewConfig(), flip=True)
    # (c + 1 + 96 - c) / 2, the same everywhere.
    assert np.all(plain.answer(rgb, camera(64, 96)).depth_m == 48.5)
    clipped = source(ColumnNetwork(max_depth_m=90.0), ViewConfig(), flip=True)
    # Both are clipped to 90 m before the mean: (1 + 90) / 2 in the first column.
    assert clipped.answer(rgb, camera(64, 96)).depth_m[0, 0] == 45.5


def test_classes_come_back_with_the_view():
    network = ColumnNetwork(classes=("left", "right"))
    rgb = np.zeros((64, 100, 3), np.uint8)
    answer = source(network, ViewConfig()).answer(rgb, camera(64, 100))
    assert answer.semantics.shape == (64, 100)
    assert np.all(answer.semantics[:, :50] == 0) and np.all(answer.semantics[:, 50:] == 1)
    assert source(ColumnNetwork(), ViewConfig()).answer(rgb, camera(64, 100)).semantics is None


def test_classes_outside_the_view_are_none():
    view = View.fit(ViewConfig("kb", ImageSize(176, 608)), ImageSize(375, 1242))
    classes = labels_to_source(view, torch.full((176, 608), 7, dtype=torch.uint8))
    assert classes.shape == (375, 1242)
    assert np.all(classes[23:375, 13:1229] == 7)
    assert np.count_nonzero(classes == -1) == 375 * 1242 - 352 * 1216


def test_too_small_a_frame_is_refused():
    rgb = np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(ShapeError, match="352x1216"):
        source(ColumnNetwork(), ViewConfig("kb")).answer(rgb, camera(100, 100))


def test_which_view_a_recipe_has():
    size = {"height": 64, "width": 96}
    assert recipe_view(info({"view": {"crop": "kb", "size": size}})) == ViewConfig(
        "kb", ImageSize(64, 96)
    )
    # No view on prepared data: the full frame at the network's own size.
    prepared = {"view": None, "data": {"prepared": [{"folder": "data/nyu"}], "world": None}}
    assert recipe_view(info(prepared)) == ViewConfig("none", ImageSize(64, 96))
    assert recipe_view(info({"data": {"world": {"kind": "rooms"}, "prepared": []}})) is None
    assert recipe_view(info()) is None
    with pytest.raises(ConfigError, match="view"):
        recipe_view(info({"view": {"crop": "square"}}))


def test_the_view_of_the_command_line():
    assert parse_view(None, None) is None
    assert parse_view("kb", None) == ViewConfig("kb")
    assert parse_view(None, "352x1216") == ViewConfig("none", ImageSize(352, 1216))
    for wrong in ("352", "352x", "axb", "352*1216"):
        with pytest.raises(ConfigError, match="HEIGHTxWIDTH"):
            parse_view(None, wrong)


def test_a_world_checkpoint_is_run_like_the_node_runs_it(light_checkpoint, tmp_path):
    red = (np.arange(128 * 192).reshape(128, 192) % 251).astype(np.uint8)
    manifest = make_data(tmp_path, "bag", {"validation": [("a_0", red, None, red)]})
    record, reader = manifest.records("validation")[0], PreparedReader(manifest)
    loaded = load_source(str(light_checkpoint), "cpu")
    assert isinstance(loaded, LetterboxSource)
    node = DepthPredictor.load(light_checkpoint, InferenceConfig(device="cpu"))
    fx, fy, cx, cy = CAMERA
    seen = Intrinsics(fx, fy, cx, cy, 192, 128)
    rgb = reader.image(record)
    assert np.array_equal(loaded(record, reader).depth_m, node(rgb, seen))
    mirrored = node(np.ascontiguousarray(rgb[:, ::-1]), seen)[:, ::-1]
    flipped = load_source(str(light_checkpoint), "cpu", flip=True)(record, reader).depth_m
    assert flipped == pytest.approx((node(rgb, seen) + mirrored) / 2, rel=1e-6)


def test_one_network_answers_under_two_settings(tmp_path):
    """Rows of ACAN's Table III: the same weights, hard or soft inference."""
    size = {"height": 64, "width": 96}
    settings = {"image_size": size, "backbone": "mobilenet_v2", "backbone_width": 0.25, "bins": 8}
    settings |= {"key_channels": 8, "value_channels": 8, "context_channels": 8}
    torch.manual_seed(0)
    path = tmp_path / "acan.safetensors"
    save_checkpoint(
        path,
        create_model("acan", settings),
        CheckpointInfo("a", "acan", settings, ImageSize(64, 96)),
    )
    hard, info = load_network(path, {"inference": "hard"})
    soft, _ = load_network(path)
    assert info.settings["inference"] == "hard"
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        # Hard inference answers with the middles of classes alone.
        assert len(hard(image).unique()) <= 8 and not torch.equal(hard(image), soft(image))
    loaded = load_source(str(path), "cpu", settings={"inference": "hard"})
    assert loaded.info.settings["inference"] == "hard"
    with pytest.raises(CheckpointError, match="does not fit"):
        load_network(path, {"bins": 9})


def test_a_view_replaces_the_recipes(light_checkpoint, tmp_path):
    write_rgb(tmp_path / "x.png", np.zeros((64, 96), np.uint8))
    loaded = load_source(str(light_checkpoint), "cpu", view=ViewConfig())
    assert isinstance(loaded, ViewSource)
    rgb = np.full((64, 96, 3), 90, np.uint8)
    network, _ = load_network(light_checkpoint)
    with torch.inference_mode():
        expected = network(torch.full((1, 3, 64, 96), 90 / 255))[0, 0].numpy() * 100 / 80
    assert loaded.answer(rgb, camera(64, 96)).depth_m == pytest.approx(expected, rel=1e-4)
