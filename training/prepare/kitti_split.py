"""KITTI's Eigen split and cameras, from rules and tables: no list file has to be fetched.

Training: all frames of 33 drives, 23,488, less the first and the last five of each drive. The
annotated maps accumulate eleven frames, so those ten have none. 23,158 remain, the same as in the
lists of BTS, AdaBins and GLPDepth.

Test: 697 frames of 28 other drives; 652 of them have an annotated map. They are listed here by
drive and frame; the published lists hold them in another order.

Validation: the five training drives that KITTI itself put into its val/ folder of annotated maps,
717 frames or 3.1 %. What trains on the other 28 drives (22,441 frames) has then seen nothing of
val/, so that `val_selection_cropped` may be scored too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from mono_depth_ros.geometry import Intrinsics

# Frames at either end of a drive that have no annotated map.
UNMAPPED_AT_ENDS = 5


class Frame(NamedTuple):
    """One moment of a drive, such as ("2011_09_26_drive_0001_sync", 5)."""

    drive: str
    number: int


# P_rect_02 of calib_cam_to_cam.txt without its fourth column, and S_rect_02. Camera 3 has the same.
CAMERAS: Mapping[str, Intrinsics] = MappingProxyType(
    {
        "2011_09_26": Intrinsics(721.5377, 721.5377, 609.5593, 172.854, 1242, 375),
        "2011_09_28": Intrinsics(707.0493, 707.0493, 604.0814, 180.5066, 1224, 370),
        "2011_09_29": Intrinsics(718.3351, 718.3351, 600.3891, 181.5122, 1238, 374),
        "2011_09_30": Intrinsics(707.0912, 707.0912, 601.8873, 183.1104, 1226, 370),
        "2011_10_03": Intrinsics(718.856, 718.856, 607.1928, 185.2157, 1241, 376),
    }
)

# Date to (number of the drive, its frames), without 2011_ and _drive_.
_TRAINING = {
    "09_26": (
        (1, 108), (5, 154), (11, 233), (14, 314), (15, 297), (17, 114), (18, 270), (19, 481),
        (22, 800), (28, 430), (32, 390), (35, 131), (39, 395), (51, 438), (57, 361), (60, 78),
        (61, 703), (70, 420), (79, 100), (87, 729), (91, 340), (95, 268), (104, 312), (113, 87),
    ),
    "09_28": ((1, 106),),
    "09_29": ((4, 339), (26, 158)),
    "09_30": ((20, 1104), (28, 5177), (33, 1594), (34, 1224)),
    "10_03": ((34, 4663), (42, 1170)),
}  # fmt: skip

# The thirteen drives of val/ among KITTI's annotated maps; all others are in train/.
_OFFICIAL_VAL = {
    "09_26": (2, 5, 13, 20, 23, 36, 79, 95, 113),
    "09_28": (37,),
    "09_29": (26,),
    "09_30": (16,),
    "10_03": (47,),
}

# Date and drive to frames; a star: no annotated map.
_TEST = """
09_26 0002 0* 3* 6 9 12 15 18 21 24 27 30 33 36 39 42 45 48 51 54 57 60 63 69 72* 75*
09_26 0009 0* 16 32 48 64 80 96 112 128 144 160 176 196 212 228 244 260 276 292 308 324 340 356 372
  388
09_26 0013 0* 5 10 20 30 35 40 45 50 60 65 70 80 85 90 95 100 105 110 115 120 125 130 135 140*
09_26 0020 0* 3* 6 9 12 15 18 21 27 33 36 42 45 48 51 54 57 60 63 66 69 72 75 78 84*
09_26 0023 18 36 54 72 90 108 126 144 162 180 198 216 252 270 288 306 324 342 360 378 396 414 432
  450 468
09_26 0027 0* 7 14 21 28 35 42 49 56 63 70 77 84 91 98 112 119 126 133 140 147 161 168 175 182
09_26 0029 0* 14 28 42 56 70 84 98 112 126 140 154 168 182 196 268 296 310 324 338 352 366 380 394
  408
09_26 0036 0* 32 64 96 128 160 192 224 256 288 320 352 384 416 448 480 512 544 576 608 640 672 704
  768 800*
09_26 0046 0* 5 10 15 20 25 30 35 40 45 50 55 60 65 70 75 80 85 90 95 100 105 110 115 120*
09_26 0048 0* 1* 2* 3* 4* 5 6 7 8 9 10 11 12 13 14 15 16 17* 18* 19* 20* 21*
09_26 0052 0* 2* 4* 6 8 10 12 14 16 18 20 22 26 28 30 32 36 38 40 42 44 46 48 50 52
09_26 0056 11 22 33 44 55 66 77 88 99 110 121 143 154 165 176 187 198 209 220 231 242 253 264 275
  286
09_26 0059 0* 14 28 42 56 70 84 98 112 126 140 154 182 196 210 224 238 274 288 302 316 330 344 358
  372*
09_26 0064 0* 22 44 66 88 110 154 176 198 220 242 264 286 308 330 352 374 396 418 440 462 484 506
  528 550
09_26 0084 49 62 75 88 101 114 127 140 153 179 192 205 218 231 244 257 270 283 296 309 322 335 348
  361 374
09_26 0086 7 34 61 88 115 142 169 196 223 250 277 304 331 358 385 412 439 466 493 520 574 601 628
  655 682
09_26 0093 0* 16 32 48 64 80 96 112 128 144 160 176 192 208 224 240 256 305 321 337 353 369 385 401
  417
09_26 0096 0* 19 38 57 76 95 114 133 152 171 190 209 228 247 266 285 304 323 342 361 380 399 418
  437 456
09_26 0101 80 114 148 182 216 284 318 352 386 420 454 488 522 556 590 624 658 692 726 760 794 828
  862 896 930
09_26 0106 15 35 43 51 59 67 75 83 91 99 107 115 123 131 139 147 155 163 171 179 187 195 203 211
  219
09_26 0117 0* 26 52 78 104 130 156 182 208 234 260 286 312 338 364 390 416 442 468 494 546 572 598
  624 650
09_28 0002 0* 3* 6 9 12 18 21 24 30 33 36 39 45 48 51 54 57 60 63 72 78 81 84 87 90
09_29 0071 0* 36 72 108 144 180 216 252 288 324 360 396 432 468 504 540 576 612 735 771 807 879 915
  951 1054*
09_30 0016 0* 11 22 33 44 55 66 77 88 110 121 132 143 154 165 176 187 198 209 220 231 242 253 264
  275*
09_30 0018 0* 107 214 428 535 642 749 856 963 1070 1177 1284 1391 1498 1605 1712 1819 1926 2033
  2140 2247 2419 2526 2633 2740
09_30 0027 0* 41 82 123 164 205 246 287 328 369 410 451 492 533 574 615 656 753 794 835 876 917 958
  1040 1081
10_03 0027 0* 181 362 543 734 915 1096 1277 1458 1639 1820 2001 2363 2544 2725 2906 3087 3268 3449
  3630 3811 3992 4173 4354 4535
10_03 0047 0* 32 64 96 128 160 192 224 288 320 352 384 416 448 480 512 544 576 608 640 672 704 736
  768 800
"""


def drive_name(date: str, number: int) -> str:
    """Return the folder of a drive, given "09_26" and 1: 2011_09_26_drive_0001_sync."""
    return f"2011_{date}_drive_{number:04d}_sync"


def date_of(drive: str) -> str:
    """Return the folder of a drive's day, such as 2011_09_26."""
    return drive[:10]


TRAINING_DRIVES: Mapping[str, int] = MappingProxyType(
    {drive_name(date, number): n for date, drives in _TRAINING.items() for number, n in drives}
)
OFFICIAL_VAL_DRIVES = frozenset(
    drive_name(date, number) for date, numbers in _OFFICIAL_VAL.items() for number in numbers
)
VALIDATION_DRIVES = frozenset(TRAINING_DRIVES) & OFFICIAL_VAL_DRIVES


def eigen_training_frames() -> tuple[Frame, ...]:
    """Return the 23,158 frames of the training drives that have an annotated map, in order."""
    return tuple(
        Frame(drive, number)
        for drive, count in TRAINING_DRIVES.items()
        for number in range(UNMAPPED_AT_ENDS, count - UNMAPPED_AT_ENDS)
    )


def eigen_test_frames() -> tuple[Frame, ...]:
    """Return the 697 test frames by drive and frame."""
    return tuple(frame for frame, _ in _read_test())


def eigen_test_frames_without_map() -> frozenset[Frame]:
    """Return the 45 test frames that have no annotated map."""
    return frozenset(frame for frame, starred in _read_test() if starred)


def _read_test() -> Iterator[tuple[Frame, bool]]:
    for line in _TEST.strip().replace("\n  ", " ").splitlines():
        date, drive, *numbers = line.split()
        for number in numbers:
            yield Frame(drive_name(date, int(drive)), int(number.rstrip("*"))), "*" in number
