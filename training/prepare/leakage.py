"""No scene, drive or picture may be in training and in what the training is judged by.

A KITTI list of the user is for training unless one of the words in its name is test, val, valid,
validation or eval. Eigen's test judges it, or the benchmark's tests if it has `benchmark` in its
name, and so do the user's lists whose names begin alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from training.manifest import Manifest, Record

_ROLE = re.compile(r"train|validation|test|selection")
# KITTI's 1000 selected frames are from the benchmark's validation drives.
_BENCHMARK, _EIGEN = "benchmark_", "eigen_"
_LIST = "list_"
_ROLE_OF_WORD = {"test": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "eval"), "validation"
)
_LIST_ROLE = re.compile(r"train|val|test|eval")
_WORD = re.compile(r"[a-z]+")
_HOW_TO_NAME = "; a list to test on has `test` or `val` in its name"


def held_out_for(training: str, splits: Mapping[str, object]) -> tuple[str, ...]:
    """Return the splits that judge what was trained on the split `training`.

    Splits of one name up to its role belong together: eigen_train with eigen_test, not with
    benchmark_test (KITTI's two ways to split cross each other). A split named ..._all contains the
    validation frames on purpose, so only its tests count; so do published lists, which are judged
    by Eigen's or the benchmark's tests.
    """
    if _role(training) != "train":
        return ()
    judges = [
        name
        for name in splits
        if _role(name) not in ("", "train") and _family(name) == _family(training)
    ]
    if training.endswith("_all"):
        judges = [name for name in judges if _role(name) != "validation"]
    if training.startswith(_LIST):
        # Monodepth2's split eigen_benchmark is Eigen's.
        own = _BENCHMARK if "benchmark" in training and "eigen" not in training else _EIGEN
        tests = [name for name in splits if is_test(name) and _family(name) == own]
        return (*tests, *judges)
    return tuple(judges)


def is_test(split: str) -> bool:
    """Return whether a split is there to test on, and neither for training nor for validation."""
    return _role(split) in ("test", "selection")


def without_leaks(manifest: Manifest, image_digests: Mapping[Record, str]) -> Manifest:
    """Take training frames out that the judging splits hold too, by group or by picture.

    Args:
        manifest: all splits.
        image_digests: hash of each record's image; leave out what was not read.

    Returns:
        The manifest without them; `problems` names each group, and each picture that is stored
        twice under two groups.
    """
    splits, problems = dict(manifest.splits), list(manifest.problems)
    for name in manifest.splits:
        for judge in held_out_for(name, manifest.splits):
            judged = manifest.splits[judge]
            groups = {record.group for record in judged}
            splits[name] = _kept(splits[name], name, problems, _shared_group(groups, judge))
            digests = {image_digests[r]: r.image for r in judged if r in image_digests}
            reason = _shared_picture(digests, judge, image_digests)
            splits[name] = _kept(splits[name], name, problems, reason)
    return replace(manifest, splits=splits, problems=tuple(problems))


def _kept(
    records: tuple[Record, ...],
    split: str,
    problems: list[str],
    reason: Callable[[Record], str],
) -> tuple[Record, ...]:
    reasons = {record: reason(record) for record in records}
    for why, count in Counter(filter(None, reasons.values())).items():
        hint = _HOW_TO_NAME if split.startswith(_LIST) else ""
        problems.append(f"{split}: {count} frame{'s' * (count > 1)} left out, {why}{hint}")
    return tuple(record for record in records if not reasons[record])


def _shared_group(groups: set[str], judge: str) -> Callable[[Record], str]:
    return lambda record: f"{record.group} is in {judge} too" if record.group in groups else ""


def _shared_picture(
    digests: Mapping[str, str], judge: str, image_digests: Mapping[Record, str]
) -> Callable[[Record], str]:
    def reason(record: Record) -> str:
        twin = digests.get(image_digests.get(record, ""), "")
        return f"{record.image} is the picture {twin} of {judge}" if twin else ""

    return reason


def _role(name: str) -> str:
    if name.startswith(_LIST):
        roles = (_ROLE_OF_WORD.get(word) for word in _WORD.findall(name.lower()))
        return next(filter(None, roles), "train")
    match = _ROLE.search(name)
    return match.group() if match else ""


def _family(name: str) -> str:
    if _role(name) == "selection":
        return _BENCHMARK
    if name.startswith(_LIST):
        return _LIST_ROLE.split(name)[0]
    return _ROLE.split(name)[0]
