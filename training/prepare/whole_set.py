"""What only the records of a data set together tell: a wrong size, scale or base of labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

from mono_depth_ros.labels import Nyu
from training.manifest import Manifest, Record
from training.prepare.leakage import is_test
from training.prepare.scales import PLAUSIBLE, Measured, too_near

_NYU40_LARGEST = max(Nyu)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out of one record.

    Attributes:
        problem: what is wrong with it; "" for nothing.
        without_depth: it can be used all the same, but not its depth.
        sha256: as in `Record`.
        image_sha256: of the image alone; "" if it was not read.
        size: (height, width) of the image; None if it was not read.
        measured: its depth; None if it has none, or a scan.
        largest_label: -1 without labels.
    """

    problem: str = ""
    without_depth: bool = False
    sha256: str = ""
    image_sha256: str = ""
    size: tuple[int, int] | None = None
    measured: Measured | None = None
    largest_label: int = -1

    @property
    def usable(self) -> bool:
        """Whether the record stays."""
        return not self.problem or self.without_depth


Found = Mapping[Record, Finding]


@dataclass(frozen=True, slots=True)
class Blame:
    """Records that cannot be used, and why: one line for all of them, or one for each."""

    records: frozenset[Record] = frozenset()
    problems: tuple[str, ...] = ()


def blame(found: Found, manifest: Manifest) -> Blame:
    """Return the records that do not fit to the others.

    Frames to test on and all others are judged apart: they often come from different sources.

    Args:
        found: the records of the manifest that are good when looked at alone.
        manifest: that they are of.
    """
    records: set[Record] = set()
    problems: list[str] = []
    for rule in (_other_sizes, _too_near, _wrong_base):
        left = {record: finding for record, finding in found.items() if record not in records}
        wrong = rule(left, manifest)
        records |= wrong.records
        problems += wrong.problems
    return Blame(frozenset(records), tuple(problems))


def _other_sizes(found: Found, manifest: Manifest) -> Blame:
    """Blame the pictures that have another size than most pictures of their camera."""
    tests = _test_records(manifest)
    sizes = {record: finding.size for record, finding in found.items() if finding.size}
    problems: dict[Record, str] = {}
    for group in _grouped(sizes, lambda r: (r.intrinsics, r in tests)):
        counts = Counter(sizes[record] for record in group)
        height, width = max(counts, key=lambda size: (counts[size], size))
        for record in group:
            if sizes[record] != (height, width):
                problems[record] = (
                    f"{record.name} left out: {record.image} is {sizes[record][0]}x"
                    f"{sizes[record][1]}, other pictures of its camera are {height}x{width}; fetch "
                    "it again"
                )
    return Blame(frozenset(problems), tuple(problems.values()))


def _too_near(found: Found, manifest: Manifest) -> Blame:
    """Blame all depth of a scale that is too near for its data set."""
    plausible = PLAUSIBLE.get(manifest.dataset)
    if plausible is None or plausible.near is None:
        return Blame()
    tests = _test_records(manifest)
    measured = {record: finding.measured for record, finding in found.items() if finding.measured}
    records: set[Record] = set()
    problems = []
    for group in _grouped(measured, lambda r: (_scale(r), r in tests)):
        why = too_near([measured[record] for record in group], _scale(group[0]), plausible.near)
        if why:
            records.update(group)
            kind = "test frames" if group[0] in tests else "frames with depth"
            problems.append(f"all {len(group)} {kind} left out: {why}")
    return Blame(frozenset(records), tuple(problems))


def _wrong_base(found: Found, manifest: Manifest) -> Blame:
    """Blame all labels of NYU if no picture of many reaches class 40, which most pictures have."""
    labels = {r: f.largest_label for r, f in found.items() if f.largest_label >= 0}
    if manifest.label_set != "nyu40" or max(labels.values(), default=-1) != _NYU40_LARGEST - 1:
        return Blame()
    return Blame(
        frozenset(labels),
        (
            f"all {len(labels)} frames with labels left out: the largest label of all pictures is "
            "39; 0 must be void and 1 to 40 the classes, so make the labels again",
        ),
    )


def _test_records(manifest: Manifest) -> frozenset[Record]:
    splits = manifest.splits
    return frozenset(r for name in splits if is_test(name) for r in splits[name])


def _scale(record: Record) -> float:
    depth = record.depth or record.filled
    assert depth is not None
    return depth.scale


def _grouped(
    records: Iterable[Record], key: Callable[[Record], Hashable]
) -> Iterable[list[Record]]:
    groups: dict[Hashable, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return groups.values()
