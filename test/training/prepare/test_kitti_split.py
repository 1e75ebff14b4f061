from __future__ import annotations

from collections import Counter

from training.prepare.kitti_split import (
    CAMERAS,
    OFFICIAL_VAL_DRIVES,
    TRAINING_DRIVES,
    VALIDATION_DRIVES,
    Frame,
    date_of,
    drive_name,
    eigen_test_frames,
    eigen_test_frames_without_map,
    eigen_training_frames,
)

# Frames of the test drives whose test frames reach into the last five.
LENGTHS = {
    **{"09_26 2": 77, "09_26 13": 144, "09_26 20": 86, "09_26 36": 803, "09_26 46": 125},
    **{"09_26 48": 22, "09_26 59": 373, "09_29 71": 1059, "09_30 16": 279},
}


def test_training_list_has_the_published_length_and_dates():
    frames = eigen_training_frames()
    assert len(frames) == len(set(frames)) == 23158
    assert Counter(date_of(frame.drive) for frame in frames) == {
        "2011_09_26": 7713,
        "2011_09_28": 96,
        "2011_09_29": 477,
        "2011_09_30": 9059,
        "2011_10_03": 5813,
    }


def test_training_list_drops_five_frames_at_both_ends_of_33_drives():
    assert len(TRAINING_DRIVES) == 33
    assert sum(TRAINING_DRIVES.values()) == 23488
    frames = eigen_training_frames()
    assert frames[0] == Frame("2011_09_26_drive_0001_sync", 5)
    assert frames[-1] == Frame("2011_10_03_drive_0042_sync", 1164)
    assert list(frames) == sorted(frames)
    for drive, count in TRAINING_DRIVES.items():
        numbers = [frame.number for frame in frames if frame.drive == drive]
        assert (numbers[0], numbers[-1], len(numbers)) == (5, count - 6, count - 10)


def test_test_list_has_697_frames_of_28_drives_in_order():
    frames = eigen_test_frames()
    assert len(frames) == len(set(frames)) == 697
    assert list(frames) == sorted(frames)
    per_drive = Counter(frame.drive for frame in frames)
    assert len(per_drive) == 28
    # The one short drive has 22 frames.
    assert sorted(per_drive.values()) == [22] + [25] * 27
    assert per_drive["2011_09_26_drive_0048_sync"] == 22
    assert Counter(date_of(drive) for drive in per_drive) == {
        "2011_09_26": 21,
        "2011_09_28": 1,
        "2011_09_29": 1,
        "2011_09_30": 3,
        "2011_10_03": 2,
    }


def test_test_frames_without_map_are_the_45_at_the_ends_of_their_drives():
    unmapped = eigen_test_frames_without_map()
    assert len(unmapped) == 45
    assert len(set(eigen_test_frames()) - unmapped) == 652
    lengths = {
        drive_name(day, int(number)): length
        for (day, number), length in ((key.split(), n) for key, n in LENGTHS.items())
    }
    # One rule for both lists: eleven frames are accumulated into a map.
    expected = {
        frame
        for frame in eigen_test_frames()
        if frame.number < 5 or frame.number >= lengths.get(frame.drive, 10**6) - 5
    }
    assert unmapped == expected


def test_no_drive_is_in_training_and_test():
    assert not set(TRAINING_DRIVES) & {frame.drive for frame in eigen_test_frames()}


def test_validation_is_the_training_drives_of_kittis_val():
    assert len(OFFICIAL_VAL_DRIVES) == 13
    assert sorted(VALIDATION_DRIVES) == [
        "2011_09_26_drive_0005_sync",
        "2011_09_26_drive_0079_sync",
        "2011_09_26_drive_0095_sync",
        "2011_09_26_drive_0113_sync",
        "2011_09_29_drive_0026_sync",
    ]
    held = [frame for frame in eigen_training_frames() if frame.drive in VALIDATION_DRIVES]
    # 154 + 100 + 268 + 87 + 158 frames, ten less for each; GLPDepth's list has 717 lines with val/.
    assert len(held) == 717


def test_cameras_by_day():
    assert {date: (camera.fx, camera.height, camera.width) for date, camera in CAMERAS.items()} == {
        "2011_09_26": (721.5377, 375, 1242),
        "2011_09_28": (707.0493, 370, 1224),
        "2011_09_29": (718.3351, 374, 1238),
        "2011_09_30": (707.0912, 370, 1226),
        "2011_10_03": (718.856, 376, 1241),
    }
    assert all(camera.fx == camera.fy for camera in CAMERAS.values())
    assert all(abs(camera.cx - camera.width / 2) < 20 for camera in CAMERAS.values())
