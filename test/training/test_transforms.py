"""Image, depth, labels and intrinsics change together.

Every pixel of the test sample is labelled with its number, so that after any change of geometry its
source pixel is known.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import ImageSize
from training.transforms import TRANSFORMS, Sample, apply, read_transforms, with_size

HEIGHT, WIDTH = 24, 36
CAMERA = Intrinsics(fx=30.0, fy=33.0, cx=16.3, cy=12.8, width=WIDTH, height=HEIGHT)

seeds = st.integers(0, 2**32)
few = settings(max_examples=25, deadline=None)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(height=HEIGHT, width=WIDTH, camera=CAMERA, seed=0):
    """Depth from 1 m to 9 m with holes, a random image, and pixel numbers as labels."""
    source = generator(seed)
    depth_m = 1.0 + 8.0 * torch.rand((1, height, width), generator=source)
    depth_m[torch.rand((1, height, width), generator=source) < 0.1] = math.nan
    image = torch.randint(256, (3, height, width), generator=source, dtype=torch.uint8)
    labels = torch.arange(height * width, dtype=torch.int16).reshape(1, height, width)
    return Sample(image, depth_m, labels, replace(camera, width=width, height=height))


def run(sample, *steps, seed=0, size=None):
    transforms = read_transforms(steps)
    if size:
        transforms = with_size(transforms, ImageSize(*size))
    return apply(transforms, sample, generator(seed))


def assert_same(first, second):
    for name in ("image", "depth_m", "labels"):
        a, b = getattr(first, name), getattr(second, name)
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    a, b = first.camera, second.camera
    assert (a.width, a.height) == (b.width, b.height)
    assert (a.fx, a.fy, a.cx, a.cy) == pytest.approx((b.fx, b.fy, b.cx, b.cy), abs=1e-9)


def source_pixels(changed, width=WIDTH):
    """Return (v, u) of all labelled pixels, and (v, u) of the pixels they were."""
    rows, columns = torch.nonzero(changed.labels[0] >= 0, as_tuple=True)
    number = changed.labels[0, rows, columns].long()
    return (rows.double(), columns.double()), (number // width, number % width)


def reprojected(source, changed, nearer=1.0, mirrored=False):
    """Lift the source pixel of every pixel, project it again; return (v, u) in the new image.

    `nearer` divides its distance along the optical axis, as the camera moves towards it.
    """
    (_, _), (v, u) = source_pixels(changed)
    old, new = source.camera, changed.camera
    depth_m = torch.full(v.shape, 3.0, dtype=torch.float64)
    x_m = (u.double() - old.cx) / old.fx * depth_m
    y_m = (v.double() - old.cy) / old.fy * depth_m
    depth_m, x_m = depth_m / nearer, -x_m if mirrored else x_m
    return new.fy * y_m / depth_m + new.cy, new.fx * x_m / depth_m + new.cx


def misses(source, changed, **how):
    """Return how far each reprojected pixel is from where it is seen, largest row and column."""
    (rows, columns), _ = source_pixels(changed)
    v, u = reprojected(source, changed, **how)
    return (v - rows).abs().max().item(), (u - columns).abs().max().item()


ALWAYS_FLIP = {"op": "flip", "probability": 1.0}


class TestFlip:
    @few
    @given(st.integers(2, 30), st.integers(2, 30), st.floats(-5, 40))
    def test_twice_is_identity(self, height, width, cx):
        sample = numbered(height, width, replace(CAMERA, cx=cx))
        assert_same(run(sample, ALWAYS_FLIP, ALWAYS_FLIP), sample)

    def test_moves_all_maps(self):
        sample = numbered()
        flipped = run(sample, ALWAYS_FLIP)
        torch.testing.assert_close(flipped.image, sample.image.flip(-1))
        torch.testing.assert_close(flipped.depth_m, sample.depth_m.flip(-1), equal_nan=True)
        torch.testing.assert_close(flipped.labels, sample.labels.flip(-1))

    def test_camera_sees_the_mirrored_world(self):
        sample = numbered()
        assert max(misses(sample, run(sample, ALWAYS_FLIP), mirrored=True)) < 1e-9

    def test_happens_about_half_the_time(self):
        sample, [flip] = numbered(), read_transforms([{"op": "flip"}])
        source = generator(1)
        flips = sum(flip(sample, source) is not sample for _ in range(400))
        assert flips == pytest.approx(200, abs=40)  # four standard deviations


class TestRandomCrop:
    @few
    @given(seeds, st.integers(1, HEIGHT), st.integers(1, WIDTH))
    def test_pixels_are_those_of_the_source(self, seed, height, width):
        sample = numbered()
        crop = run(
            sample,
            {"op": "random_crop", "size": {"height": height, "width": width}},
            seed=seed,
        )
        _, (v, u) = source_pixels(crop)
        assert crop.size == ImageSize(height, width) and len(v) == height * width
        for name in ("image", "depth_m"):
            values, old = getattr(crop, name), getattr(sample, name)
            expected = old[:, v, u].reshape(values.shape)
            torch.testing.assert_close(values, expected, rtol=0, atol=0, equal_nan=True)
        assert max(misses(sample, crop)) < 1e-9

    def test_reaches_every_place_with_rows_and_columns_apart(self):
        sample, step = numbered(3, 4), {"op": "random_crop", "size": {"height": 2, "width": 2}}
        first = {int(run(sample, step, seed=seed).labels[0, 0, 0]) for seed in range(200)}
        assert first == {0, 1, 2, 4, 5, 6}

    def test_larger_than_the_image_is_refused(self):
        step = {"op": "random_crop", "size": {"height": 25, "width": 20}}
        with pytest.raises(ShapeError, match="25x20 does not fit into an image of 24x36"):
            run(numbered(), step)


class TestCrop:
    # BTS: height - 352 and half of width - 1216 on KITTI's frame sizes, PIL box (43, 45, 608, 472)
    # on NYU; ACAN: rows 130:370, columns 10:1210.
    @pytest.mark.parametrize(
        ("window", "frame", "corner", "size"),
        [
            ("kb", (375, 1242), (23, 13), (352, 1216)),
            ("kb", (370, 1226), (18, 5), (352, 1216)),
            ("kb", (376, 1241), (24, 12), (352, 1216)),
            ("nyu_border", (480, 640), (45, 43), (427, 565)),
            ("acan_kitti", (375, 1242), (130, 10), (240, 1200)),
        ],
    )
    def test_named_windows(self, window, frame, corner, size):
        rows, columns = torch.meshgrid(
            torch.arange(frame[0]), torch.arange(frame[1]), indexing="ij"
        )
        camera = Intrinsics(700.0, 700.0, 600.0, 170.0, frame[1], frame[0])
        sample = Sample(
            image=torch.zeros(3, *frame, dtype=torch.uint8),
            depth_m=columns[None].float(),
            labels=rows[None].to(torch.int16),
            camera=camera,
        )
        crop = run(sample, {"op": "crop", "window": window})
        assert crop.size == ImageSize(*size)
        assert (crop.labels[0, 0, 0], crop.depth_m[0, 0, 0]) == corner
        assert (crop.camera.cy, crop.camera.cx) == (170.0 - corner[0], 600.0 - corner[1])
        assert (crop.camera.fx, crop.camera.fy) == (700.0, 700.0)

    def test_given_window(self):
        crop = run(numbered(), {"op": "crop", "rows": [2, 5], "columns": [7, 9]})
        torch.testing.assert_close(crop.labels, numbered().labels[:, 2:5, 7:9])

    @pytest.mark.parametrize("window", ["kb", "nyu_border", "acan_kitti"])
    def test_image_of_another_data_set_is_refused(self, window):
        with pytest.raises(ShapeError, match="24x36"):
            run(numbered(), {"op": "crop", "window": window})

    @pytest.mark.parametrize(
        "settings_",
        [{}, {"rows": [0, 1]}, {"window": "kb", "rows": [0, 1], "columns": [0, 1]}],
    )
    def test_half_a_window_is_refused(self, settings_):
        with pytest.raises(ConfigError, match="either a window, or rows and columns"):
            read_transforms([{"op": "crop", **settings_}])

    def test_empty_window_is_refused(self):
        with pytest.raises(ConfigError, match="two rising numbers"):
            read_transforms([{"op": "crop", "rows": [4, 4], "columns": [0, 9]}])


class TestResize:
    @few
    @given(st.integers(8, 60), st.integers(8, 60))
    def test_camera_projects_to_the_pixel_that_shows_a_point(self, height, width):
        sample = numbered()
        resized = run(sample, {"op": "resize"}, size=(height, width))
        assert resized.size == ImageSize(height, width)
        # Nearest: the centre of the source pixel is at most half a source pixel away.
        v_miss, u_miss = misses(sample, resized)
        assert v_miss <= 0.5 * height / HEIGHT + 1e-6 and u_miss <= 0.5 * width / WIDTH + 1e-6

    def test_halving_averages_colours_but_not_depths(self):
        image = torch.tensor([[[10, 20], [30, 40]]], dtype=torch.uint8).expand(3, 2, 2)
        depth_m = torch.tensor([[[1.0, 2.0], [math.nan, 4.0]]])
        sample = Sample(image, depth_m, None, Intrinsics(2.0, 2.0, 0.5, 0.5, 2, 2))
        half = run(sample, {"op": "resize"}, size=(1, 1))
        assert half.image.flatten().tolist() == [25, 25, 25]
        value = half.depth_m.item()
        assert math.isnan(value) or value in (1.0, 2.0, 4.0)
        assert half.camera == Intrinsics(1.0, 1.0, 0.0, 0.0, 1, 1)

    def test_without_a_size_says_what_to_do(self):
        with pytest.raises(ConfigError, match="with_size"):
            run(numbered(), {"op": "resize"})


class TestRotate:
    @few
    @given(seeds)
    def test_by_nothing_is_identity(self, seed):
        sample = numbered()
        step = {"op": "rotate", "max_deg": 0.0, "probability": 1.0}
        assert_same(run(sample, step, seed=seed), sample)

    def test_mixes_no_depths_and_empties_corners(self):
        depth_m = torch.full((1, 64, 64), 3.0)
        depth_m[:, :, 32:] = 70.0
        sample = Sample(
            depth_m.expand(3, 64, 64).to(torch.uint8),
            depth_m,
            depth_m.to(torch.int16),
            Intrinsics(50.0, 50.0, 31.5, 31.5, 64, 64),
        )
        rotated = run(sample, {"op": "rotate", "max_deg": 30.0, "probability": 1.0}, seed=3)
        depths, labels = rotated.depth_m, rotated.labels
        assert set(depths[depths.isfinite()].unique().tolist()) == {3.0, 70.0}
        assert depths[0, 0, 0].isnan() and rotated.image[:, 0, 0].tolist() == [0, 0, 0]
        assert depths[0, 32, 10].item() == 3.0 and depths[0, 32, 54].item() == 70.0
        torch.testing.assert_close(labels, depths.nan_to_num(-1.0).to(torch.int16))

    @few
    @given(seeds)
    def test_camera_is_rolled_by_the_angle(self, seed):
        # The principal point is far from the centre; equal focal lengths, else it is no roll.
        camera = Intrinsics(fx=30.0, fy=30.0, cx=2.0, cy=3.0, width=WIDTH, height=HEIGHT)
        sample = numbered(camera=camera)
        rotated = run(sample, {"op": "rotate", "max_deg": 40.0, "probability": 1.0}, seed=seed)
        (rows, columns), (v, u) = source_pixels(rotated)
        seen = torch.complex(columns - rotated.camera.cx, rotated.camera.cy - rows)
        ray = torch.complex(u.double() - camera.cx, camera.cy - v.double())
        # Any pixel far from the axis tells the angle; nearest pixels are off by at most 0.71.
        far = ray.abs() > 4.0
        angle = (seen[far] / ray[far]).mean().angle()
        assert abs(angle) <= math.radians(41.0)
        turned = ray * torch.polar(torch.ones_like(angle), angle)
        assert (turned - seen).abs().max() < 1.0


class TestScale:
    @few
    @given(seeds, st.floats(1.0, 2.0))
    def test_same_camera_nearer_by(self, seed, factor):
        sample = numbered()
        scaled = run(
            sample,
            {"op": "scale", "factor": [factor, factor], "probability": 1.0},
            {"op": "random_crop", "size": {"height": HEIGHT, "width": WIDTH}},
            seed=seed,
        )
        _, (v, u) = source_pixels(scaled)
        expected = (sample.depth_m[:, v, u] / factor).reshape(scaled.depth_m.shape)
        torch.testing.assert_close(scaled.depth_m, expected, equal_nan=True)
        # Up to the rounding of the enlarged size, half a pixel of 24 rows.
        assert scaled.camera.fx == pytest.approx(CAMERA.fx, rel=0.5 / WIDTH)
        assert scaled.camera.fy == pytest.approx(CAMERA.fy, rel=0.5 / HEIGHT)
        rounding = 0.5 / HEIGHT + 1e-6
        v_miss, u_miss = misses(sample, scaled, nearer=factor)
        assert v_miss <= 0.5 * factor + rounding and u_miss <= 0.5 * factor + rounding

    def test_needs_a_crop_after_it(self):
        scale, crop = {"op": "scale", "factor": [1.0, 1.5]}, {"op": "random_crop"}
        assert len(read_transforms([scale, crop])) == 2
        with pytest.raises(ConfigError, match="put a random_crop after scale"):
            read_transforms([crop, scale])

    def test_may_not_shrink(self):
        with pytest.raises(ConfigError, match=r"Scale.factor must be two rising numbers from 1 up"):
            read_transforms([{"op": "scale", "factor": [0.5, 1.0]}, {"op": "random_crop"}])


COLOURS = [
    {"op": "brightness", "factor": [0.8, 1.2]},
    {"op": "contrast", "factor": [0.8, 1.2]},
    {"op": "saturation", "factor": [0.8, 1.2]},
    {"op": "hue", "shift": [-0.1, 0.1]},
    {"op": "bts_colour", "brightness": [0.75, 1.25]},
]


def grey(value, colour=(1, 1, 1)):
    """Return a sample of one colour."""
    image = value * torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)
    return Sample(
        image.expand(3, 2, 2).contiguous(),
        torch.ones(1, 2, 2),
        None,
        Intrinsics(1.0, 1.0, 0.0, 0.0, 2, 2),
    )


class TestColour:
    @pytest.mark.parametrize("step", COLOURS, ids=[step["op"] for step in COLOURS])
    def test_leaves_all_else_alone(self, step):
        sample = numbered()
        changed = run(sample, {**step, "probability": 1.0}, seed=5)
        assert changed.image.dtype == torch.uint8 and (changed.image != sample.image).any()
        assert_same(replace(changed, image=sample.image), sample)

    @few
    @given(seeds, st.floats(0.0, 1.0), st.floats(1.0, 2.0))
    def test_brightness_stays_inside_its_range(self, seed, low, high):
        step = {"op": "brightness", "factor": [low, high], "probability": 1.0}
        value = int(run(grey(100), step, seed=seed).image[0, 0, 0])
        assert 100 * low - 1 <= value <= 100 * high + 1

    @few
    @given(seeds)
    def test_contrast_stays_inside_its_range(self, seed):
        sample = grey(100)
        sample.image[:, 0] = 60  # mean grey 80
        step = {"op": "contrast", "factor": [0.8, 1.2], "probability": 1.0}
        dark, bright = run(sample, step, seed=seed).image[0, :, 0].tolist()
        assert 80 - 20 * 1.2 - 1 <= dark <= 80 - 20 * 0.8 + 1
        assert 80 + 20 * 0.8 - 1 <= bright <= 80 + 20 * 1.2 + 1

    @few
    @given(seeds)
    def test_saturation_stays_inside_its_range(self, seed):
        # ITU-R 601 grey of (100, 0, 0) is 29.89.
        step = {"op": "saturation", "factor": [0.5, 1.5], "probability": 1.0}
        red, green, blue = run(grey(100, (1, 0, 0)), step, seed=seed).image[:, 0, 0].tolist()
        assert 29.89 + 70.11 * 0.5 - 2 <= red <= 29.89 + 70.11 * 1.5 + 2
        assert 0 <= green == blue <= 29.89 * 0.5 + 2

    @few
    @given(seeds)
    def test_hue_stays_inside_its_range(self, seed):
        # A tenth of a turn away from red, 0.6 of a sixth, brings in at most 60 % of one neighbour.
        step = {"op": "hue", "shift": [-0.1, 0.1], "probability": 1.0}
        red, green, blue = run(grey(200, (1, 0, 0)), step, seed=seed).image[:, 0, 0].tolist()
        assert red == 200 and min(green, blue) == 0 and max(green, blue) <= 120 + 2

    @pytest.mark.parametrize("op", ["brightness", "contrast", "saturation"])
    def test_factor_one_changes_nothing(self, op):
        sample = numbered()
        assert_same(run(sample, {"op": op, "factor": [1.0, 1.0], "probability": 1.0}), sample)


BTS_COLOUR = {
    "op": "bts_colour",
    "gamma": [2.0, 2.0],
    "brightness": [1.5, 1.5],
    "channel_gain": [0.5, 0.5],
}


class TestBtsColour:
    def test_formula_clips_at_the_end_alone(self):
        # 240 / 255 squared is 0.8858; times 1.5 it is above 1, times 0.5 again below: 0.6644 * 255.
        changed = run(grey(240), {**BTS_COLOUR, "probability": 1.0})
        assert changed.image.unique().tolist() == [169]

    @few
    @given(seeds)
    def test_all_three_or_none(self, seed):
        # Any one or two of the three would give another value than these.
        assert run(grey(240), BTS_COLOUR, seed=seed).image.unique().tolist() in ([240], [169])

    def test_gate_opens_about_half_the_time(self):
        sample, [step] = grey(240), read_transforms([BTS_COLOUR])
        source = generator(2)
        opened = sum(step(sample, source) is not sample for _ in range(400))
        assert opened == pytest.approx(200, abs=40)  # four standard deviations

    @few
    @given(seeds)
    def test_ranges(self, seed):
        step = {"op": "bts_colour", "brightness": [0.75, 1.25], "probability": 1.0}
        values = run(grey(128), step, seed=seed).image[:, 0, 0].tolist()
        least, most = 0.75 * 0.9 * (128 / 255) ** 1.1, 1.25 * 1.1 * (128 / 255) ** 0.9
        assert all(255 * least - 1 <= value <= 255 * most + 1 for value in values)
        assert max(values) / min(values) <= 1.1 / 0.9 + 0.02


ALL = [
    {"op": "crop", "rows": [1, 24], "columns": [0, 35]},
    {"op": "flip"},
    {"op": "scale", "factor": [1.0, 1.5]},
    {"op": "rotate", "max_deg": 5.0},
    {"op": "random_crop", "size": {"height": 20, "width": 30}},
    *COLOURS,
    {"op": "resize", "size": {"height": 16, "width": 24}},
]


class TestRandomness:
    def test_every_op_is_among_these(self):
        assert {step["op"] for step in ALL} == set(TRANSFORMS)

    @few
    @given(seeds, st.integers(0, 2**31))
    def test_draws_depend_on_the_generator_alone(self, seed, other):
        first = run(numbered(), *ALL, seed=seed)
        torch.manual_seed(other)
        before = torch.get_rng_state()
        assert_same(run(numbered(), *ALL, seed=seed), first)
        torch.testing.assert_close(torch.get_rng_state(), before)

    def test_seeds_differ(self):
        images = [run(numbered(), *ALL, seed=seed).image for seed in range(8)]
        assert all((a != b).any() for i, a in enumerate(images) for b in images[:i])

    def test_source_sample_is_not_touched(self):
        sample = numbered()
        for seed in range(8):
            run(sample, *ALL, seed=seed)
        assert_same(sample, numbered())

    def test_without_labels(self):
        sample = replace(numbered(), labels=None)
        changed = run(sample, *ALL, seed=3)
        assert changed.labels is None
        torch.testing.assert_close(changed.image, run(numbered(), *ALL, seed=3).image)


class TestReading:
    def test_sizes_of_the_network(self):
        explicit = {"op": "random_crop", "size": {"height": 5, "width": 6}}
        transforms = read_transforms([{"op": "resize"}, {"op": "flip"}, explicit])
        resize, _, crop = with_size(transforms, ImageSize(7, 8))
        assert (resize.size, crop.size) == (ImageSize(7, 8), ImageSize(5, 6))

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            ({"op": "mirror"}, r"recipe\[0\] is .*one of crop, resize"),
            ({"probability": 0.5}, "one of crop, resize"),
            ("flip", "write {op: NAME, ...}"),
            ({"op": "flip", "p": 0.5}, r"recipe\[0\] \(flip\) has no setting p"),
            ({"op": "rotate"}, "needs max_deg"),
            ({"op": "rotate", "max_deg": -1.0}, r"must lie in \[0, 180\]"),
            ({"op": "flip", "probability": 1.5}, r"Flip.probability must lie in \[0, 1\]"),
            ({"op": "contrast", "factor": [1.2, 0.8]}, "two rising numbers from 0 up"),
            ({"op": "hue", "shift": [-0.6, 0.1]}, "from -0.5 to 0.5"),
            ({"op": "bts_colour", "brightness": [-1.0, 1.0]}, "BtsColour.brightness"),
        ],
    )
    def test_mistakes_are_named(self, step, message):
        with pytest.raises(ConfigError, match=message):
            read_transforms([step], "recipe")

    def test_maps_of_different_sizes_are_refused(self):
        with pytest.raises(ShapeError, match=r"\(23, 36\), \(24, 36\)"):
            replace(numbered(), depth_m=torch.ones(1, 23, 36))
