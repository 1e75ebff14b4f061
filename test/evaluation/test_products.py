"""The error by confidence and by class, classes against labels, and pixels of the robot itself."""

from __future__ import annotations

import math
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_scene import CAMERA, wall_depth

from mono_depth_ros.cli.main import main
from mono_depth_ros.ego_mask import read_ego_mask
from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.evaluation.details import DetailSums
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.products import CONFIDENCE_BINS
from mono_depth_ros.evaluation.protocols import Pixels
from mono_depth_ros.evaluation.report import write_report
from mono_depth_ros.evaluation.saved_report import read_report
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.models.semantic_classes import class_names, labels_of_names
from mono_depth_ros.prediction import Prediction

NYU4 = class_names("nyu4")
CONFIG = EvaluationConfig(occlusion="none", range_bins_m=(0.0, 10.0), pictures=1)


def pixels_of_row(prediction_m, reference_m):
    count = len(prediction_m)
    return Pixels(
        np.array(prediction_m, float),
        np.array(reference_m, float),
        np.zeros(count, int),
        np.arange(count),
        (1, count),
        count,
    )


def products_of(prediction_m, reference_m, **products):
    sums = DetailSums()
    row = {
        name: np.array([values], np.float32 if name == "confidence" else np.uint8)
        for name, values in products.items()
    }
    names = NYU4 if "semantics" in row else ()
    prediction = Prediction(np.array([prediction_m], np.float32), class_names=names, **row)
    sums.add(pixels_of_row(prediction_m, reference_m), prediction)
    return sums.value().products


def test_confidence_by_hand():
    """In the bin of 0.9: errors 0.1 and 1.0, half of them within 1.25; in that of 0.2: none."""
    found = products_of([1.1, 4.0, 3.0], [1.0, 2.0, 1.0], confidence=[0.92, 0.98, 0.25])
    assert len(found.confidence) == CONFIDENCE_BINS
    high, low = found.confidence[9], found.confidence[2]
    assert (high.low, high.high) == (0.9, 1.0)
    assert high.confidence == pytest.approx(0.95)
    assert (high.errors.count, high.errors.delta1) == (2, 0.5)
    assert high.errors.abs_rel == pytest.approx(0.55) and high.errors.bias == pytest.approx(0.55)
    assert (low.errors.count, low.errors.delta1) == (1, 0.0)
    # |0.95 - 0.5| of two pixels, |0.25 - 0| of one.
    assert found.calibration_error == pytest.approx((2 * 0.45 + 0.25) / 3)
    assert math.isnan(found.confidence[0].confidence) and found.classes == ()


def test_classes_by_hand():
    found = products_of([2.0, 3.0, 1.0], [1.0, 3.0, 2.0], semantics=[2, 0, 2])
    assert [c.name for c in found.classes] == ["ground", "furniture"]
    ground, furniture = (c.errors for c in found.classes)
    assert (ground.count, ground.abs_rel, ground.delta1) == (1, 0.0, 1.0)
    # Twice too far, and half of it.
    assert (furniture.count, furniture.abs_rel, furniture.bias) == (2, 0.75, 0.25)


@given(
    st.lists(
        st.tuples(st.floats(0.1, 50), st.floats(0.1, 50), st.floats(0, 1, width=32)),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 40),
)
def test_parts_add_up_and_every_pixel_is_in_one_bin(rows, cut):
    parts = [DetailSums(), DetailSums()]
    whole = DetailSums()
    for part, chosen in (*zip(parts, (rows[:cut], rows[cut:]), strict=True), (whole, rows)):
        if chosen:
            p, g, confidence = zip(*chosen, strict=True)
            prediction = Prediction(np.array([p]), confidence=np.array([confidence], np.float32))
            part.add(pixels_of_row(p, g), prediction)
    stored = DetailSums.from_arrays(parts[1].arrays())
    parts[0].merge(stored)
    together, once = parts[0].value().products, whole.value().products
    assert sum(b.errors.count for b in together.confidence) == len(rows)
    for one, other in zip(together.confidence, once.confidence, strict=True):
        assert one.errors.count == other.errors.count
        assert one.errors.abs_rel == pytest.approx(other.errors.abs_rel, nan_ok=True)
        assert one.confidence == pytest.approx(other.confidence, nan_ok=True)


def test_class_sets_are_found_by_their_names():
    assert labels_of_names(class_names("nyu40"))[[0, 1, 40, 41]].tolist() == [-1, 0, 39, -1]
    assert labels_of_names(class_names("cityscapes", 1))[[0, 18, 255]].tolist() == [0, 18, 19]
    # A cabinet is furniture, and a wall is structure.
    assert labels_of_names(NYU4)[[3, 1]].tolist() == [2, 1]
    with pytest.raises(ConfigError, match="cat, dog are none of the sets"):
        labels_of_names(("cat", "dog"))


class SureOnTheLeft:
    """Right depth on the left, where it is sure and sees ground; twice too far on the right."""

    product_names = ("confidence", "semantics")

    def predict(self, rgb, camera, products):
        assert set(products) == set(self.product_names)
        left = np.arange(camera.width) < camera.width // 2
        depth_m = wall_depth(int(rgb[0, 0, 0])) * np.where(left, 1, 2).astype(np.float32)
        row = np.where(left, 0.95, 0.15).astype(np.float32)
        shape = (camera.height, 1)
        return Prediction(
            depth_m,
            confidence=np.tile(row, shape),
            semantics=np.tile((~left).astype(np.uint8), shape),
            class_names=NYU4,
        )


def write_labels(writer, stamp_ns, upper_is_wall=True):
    labels = np.full((CAMERA.height, CAMERA.width), 2, np.uint8)
    if upper_is_wall:
        labels[: CAMERA.height // 2] = 1
    labels[:, -1] = 0
    writer.write_labels("/labels", stamp_ns, "camera", labels)


def test_through_a_bag_into_the_report(make_bag, tmp_path):
    """Floor (2) is ground and right on the left; a wall (1) is structure and right on the right."""
    bag = make_bag(extra=write_labels)
    config = EvaluationConfig(
        occlusion="none",
        range_bins_m=(0.0, 10.0),
        pictures=1,
        frames=FrameConfig(image_topic="/camera/image_raw", labels_topic="/labels"),
    )
    evaluation = evaluate_bag(bag, SureOnTheLeft(), config)
    found = evaluation.details.products
    sure, unsure = found.confidence[9].errors, found.confidence[1].errors
    assert (sure.delta1, unsure.delta1, unsure.abs_rel) == (1.0, 0.0, pytest.approx(1.0))
    assert found.calibration_error == pytest.approx((0.05 + 0.15) / 2, abs=0.01)
    assert [c.name for c in found.classes] == ["ground", "structure"]
    # Of 12x15 labelled pixels the left 8 of the lower half and the right 7 of the upper are right.
    assert found.semantics.pixels == 4 * 12 * 15
    assert found.semantics.pixel_accuracy == pytest.approx((6 * 8 + 6 * 7) / (12 * 15))
    # Ground: 48 right of 6 * 15 true and 12 * 8 predicted ones.
    assert found.semantics.iou["ground"] == pytest.approx(48 / (90 + 96 - 48))
    page = write_report(evaluation, tmp_path / "report")
    text = page.read_text(encoding="utf-8")
    assert ">Confidence<" in text and ">Classes<" in text and "mean IoU" in text
    assert repr(read_report(tmp_path / "report").details) == repr(evaluation.details)


def test_labels_of_another_size_cost_their_frame(make_bag):
    def extra(writer, stamp_ns):
        writer.write_labels("/labels", stamp_ns, "camera", np.ones((3, 4), np.uint8))

    frames = FrameConfig(image_topic="/camera/image_raw", labels_topic="/labels")
    config = EvaluationConfig(occlusion="none", frames=frames)
    with pytest.raises(BagError, match=r"labels are 3x4, the image is 12x16"):
        evaluate_bag(make_bag(extra=extra), SureOnTheLeft(), config)
    with pytest.raises(BagError, match="has no sensor_msgs/msg/Image on /nothing"):
        wrong = FrameConfig(labels_topic="/nothing")
        evaluate_bag(make_bag("other"), SureOnTheLeft(), EvaluationConfig(frames=wrong))


def test_the_robot_itself_is_not_scored(make_bag, tmp_path):
    """The mask covers the right half, where everything is twice too far."""
    mask = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    mask[:, CAMERA.width // 2 :] = 255
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), mask)
    predictor = partial(SureOnTheLeft().predict, products=SureOnTheLeft.product_names)

    def depth(rgb, camera):
        return predictor(rgb, camera).depth_m

    whole = evaluate_bag(make_bag(), depth, CONFIG)
    config = EvaluationConfig(
        occlusion="none", range_bins_m=(0.0, 10.0), frames=FrameConfig(ego_mask=str(path))
    )
    masked = evaluate_bag(make_bag("masked"), depth, config)
    assert masked.summary.model.abs_rel == pytest.approx(0.0, abs=1e-6)
    assert 0.3 < whole.summary.model.abs_rel < 0.7
    assert masked.summary.truth_pixels < 0.7 * whole.summary.truth_pixels


def test_masks_that_do_not_fit(make_bag, tmp_path, capsys):
    mask = np.zeros((10, 20, 3), np.uint8)
    mask[0, 0] = (0, 0, 1)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    assert read_ego_mask(tmp_path / "mask.png").sum() == 1
    bag = str(make_bag())
    command = ["evaluate", bag, "--depth-topic", "/ground_truth/depth", "--ego-mask"]
    out = ["--out", str(tmp_path / "out")]
    assert main([*command, str(tmp_path / "mask.png"), *out]) == 1
    assert "the ego mask has 10x20 pixels, the image 12x16" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "none.png"), *out]) == 1
    assert "there is no ego mask" in capsys.readouterr().err
    (tmp_path / "text.png").write_text("no picture")
    assert main([*command, str(tmp_path / "text.png"), *out]) == 1
    assert "is no picture" in capsys.readouterr().err
