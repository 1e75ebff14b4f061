"""Predictions on disk are what was predicted, and of the data that are scored."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_data import info, make_data, write_code

from mono_depth_ros.errors import ConfigError, DataError
from training.datasets.reader import PreparedReader
from training.evaluation.predict import Answer
from training.evaluation.saved import PredictionWriter, SavedSource, prediction_path

RED = np.zeros((64, 96), np.uint8)


@pytest.fixture
def data(tmp_path):
    depth_m = np.full((64, 96), 2.0)
    rows = [("room/a_0", RED, depth_m), ("room/a_1", RED, depth_m)]
    return make_data(tmp_path, "bag", {"validation": rows})


def write_all(folder, data, value=0.1):
    writer = PredictionWriter(folder, data, ["validation"], info(name="net"), {"flip": True})
    for record in data.records("validation"):
        depth_m = np.full((64, 96), np.float32(value), np.float32)
        depth_m[0, 0] = np.nan
        writer.write(record, Answer(depth_m))
    return writer


def test_what_is_read_is_what_was_written(tmp_path, data):
    write_all(tmp_path / "out", data).finish()
    saved = SavedSource(tmp_path / "out")
    saved.require_made_for(data)
    assert saved.info.name == "net" and saved.about == {"flip": True}
    depth_m = saved(data.records("validation")[1], PreparedReader(data)).depth_m
    assert np.isnan(depth_m[0, 0]) and depth_m[1, 1] == np.float32(0.1)
    assert (tmp_path / "out/room/a_1.npy").is_file()


def test_classes_are_kept_beside_depth(tmp_path, data):
    folder, reader = tmp_path / "out", PreparedReader(data)
    classes = np.full((64, 96), -1, np.int16)
    classes[:2] = [[0], [39]]
    writer = PredictionWriter(folder, data, ["validation"])
    for record in data.records("validation"):
        writer.write(record, Answer(np.ones((64, 96), np.float32), classes))
    writer.finish()
    answer = SavedSource(folder)(data.records("validation")[0], reader)
    assert answer.semantics.dtype == np.int16 and np.array_equal(answer.semantics, classes)
    (folder / "room/a_1.classes.png").unlink()
    with pytest.raises(DataError, match=r"a_1\.classes\.png is no 8-bit"):
        SavedSource(folder)(data.records("validation")[1], reader)
    # A network without classes writes over them: what is left of the old ones does not count.
    write_all(folder, data).finish()
    assert SavedSource(folder)(data.records("validation")[0], reader).semantics is None


def test_unfinished_predictions_are_refused(tmp_path, data):
    write_all(tmp_path / "out", data)
    with pytest.raises(DataError, match="unfinished"):
        SavedSource(tmp_path / "out")
    # A second run over finished ones makes them unfinished until it ends.
    write_all(tmp_path / "out2", data).finish()
    write_all(tmp_path / "out2", data)
    with pytest.raises(DataError, match="unfinished"):
        SavedSource(tmp_path / "out2")


def test_a_folder_of_something_else_is_left_alone(tmp_path, data):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    with pytest.raises(DataError, match="choose another folder"):
        PredictionWriter(tmp_path / "mine", data, ["validation"])
    with pytest.raises(DataError, match="no folder"):
        SavedSource(tmp_path / "nowhere")


def test_predictions_of_other_data_are_refused(tmp_path, data):
    write_all(tmp_path / "out", data).finish()
    saved = SavedSource(tmp_path / "out")
    longer = [("room/a_0", RED, np.full((64, 96), 2.0))]
    (tmp_path / "other").mkdir()
    changed = make_data(tmp_path / "other", "bag", {"validation": longer})
    with pytest.raises(DataError, match="has changed"):
        saved.require_made_for(changed)
    (tmp_path / "nyu").mkdir()
    with pytest.raises(DataError, match="are nyu"):
        saved.require_made_for(make_data(tmp_path / "nyu", "nyu", {"validation": longer}))


def test_damage_is_named(tmp_path, data):
    write_all(tmp_path / "out", data).finish()
    record, reader = data.records("validation")[0], PreparedReader(data)
    path = prediction_path(tmp_path / "out", record)
    saved = SavedSource(tmp_path / "out")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"a_0\.npy is damaged"):
        saved(record, reader)
    np.save(path, np.zeros((64, 96)))
    with pytest.raises(DataError, match="float64, need"):
        saved(record, reader)
    np.save(path, np.zeros((32, 48), np.float32))
    with pytest.raises(DataError, match=r"is \(32, 48\), its image \(64, 96\)"):
        saved(record, reader)
    path.unlink()
    with pytest.raises(DataError, match="no prediction at"):
        saved(record, reader)
    header = tmp_path / "out/predictions.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), "format": 9}))
    with pytest.raises(DataError, match="format 9"):
        SavedSource(tmp_path / "out")
    header.write_text("{")
    with pytest.raises(DataError, match="damaged"):
        SavedSource(tmp_path / "out")


def test_png_files_of_other_programs(tmp_path, data):
    record, reader = data.records("validation")[0], PreparedReader(data)
    code = np.full((64, 96), 640, np.uint16)
    code[3, 4] = 0
    write_code(tmp_path / "png/room/a_0.png", code)
    depth_m = SavedSource(tmp_path / "png", 256.0)(record, reader).depth_m
    assert depth_m[0, 0] == 2.5 and np.isnan(depth_m[3, 4])
    write_code(tmp_path / "png/room/a_0.png", code.astype(np.uint8))
    with pytest.raises(DataError, match="no 16-bit grey PNG"):
        SavedSource(tmp_path / "png", 256.0)(record, reader)
    with pytest.raises(ConfigError, match="positive"):
        SavedSource(tmp_path / "png", 0.0)


def test_the_window_of_kitti_is_put_back_into_the_frame(tmp_path):
    red = np.zeros((375, 1242), np.uint8)
    data = make_data(tmp_path, "kitti", {"eigen_test": [("d_0", red, np.ones((375, 1242)))]})
    write_code(tmp_path / "png/d_0.png", np.full((352, 1216), 512, np.uint16))
    source = SavedSource(tmp_path / "png", 256.0)
    depth_m = source(data.records("eigen_test")[0], PreparedReader(data)).depth_m
    assert depth_m.shape == (375, 1242)
    assert np.all(depth_m[23:375, 13:1229] == 2.0)
    assert np.count_nonzero(np.isfinite(depth_m)) == 352 * 1216
