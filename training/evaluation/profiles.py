"""Which profiles a data set is scored with, and which split and truth each of them needs.

A profile's name may carry another cap: `kitti-garg@50` scores truth up to 50 m and clamps the
prediction there, as the 0-50 m rows of the papers do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.evaluation.protocols import Protocol, cap_switches, protocol_named
from training.manifest import DepthFile, Manifest, Record

Truth = Literal["depth", "filled"]

# Data set → profile → (split, which depth of a record).
_SOURCES: Mapping[str, Mapping[str, tuple[str, Truth]]] = MappingProxyType(
    {
        "nyu": {
            "nyu-eigen": ("test", "depth"),
            "nyu-eigen-filled": ("test", "filled"),
        },
        "kitti": {
            "kitti-garg": ("eigen_test", "depth"),
            "kitti-garg@50": ("eigen_test", "depth"),
            "kitti-garg-kb": ("eigen_test", "depth"),
            "kitti-eigen": ("eigen_test", "depth"),
            "kitti-velodyne": ("eigen_test_velodyne", "depth"),
            "kitti-benchmark": ("selection", "depth"),
        },
    }
)
# Of all other data sets: every pixel with a truth, up to 80 m.
_ANY: Mapping[str, tuple[str, Truth]] = MappingProxyType({"lidar": ("validation", "depth")})


@dataclass(frozen=True, slots=True)
class Profile:
    """A protocol and what it is applied to.

    Attributes:
        name: as the user wrote it, the cap included.
        protocol: its switches.
        split: of the prepared data.
        truth: which depth of a record is the reference.
    """

    name: str
    protocol: Protocol
    split: str
    truth: Truth

    def reference(self, record: Record) -> DepthFile | None:
        """Return the reference depth of a record, None where there is none."""
        return record.filled if self.truth == "filled" else record.depth


@dataclass(frozen=True, slots=True)
class Job:
    """One image and all that is asked of it.

    Attributes:
        record: the image; of images in several splits, the record of the first.
        references: profile name → where its truth is.
    """

    record: Record
    references: Mapping[str, DepthFile]


def read_profile(name: str, dataset: str, split: str = "") -> Profile:
    """Return the profile of a name such as `kitti-garg` or `kitti-garg@50`.

    Args:
        name: of the profile, with or without a cap in metres.
        dataset: of the prepared data.
        split: in place of the profile's own.

    Raises:
        ConfigError: no such profile, the cap is no positive number, or the profile is for another
            data set.
    """
    base, at, cap = name.partition("@")
    sources = {**_SOURCES.get(dataset, {}), **_ANY}
    if base not in sources:
        raise ConfigError(
            f"{dataset} has no profile {base!r}; choose from {', '.join(sources)}, each also with "
            "a cap in metres: NAME@50"
        )
    protocol = protocol_named(base, cap_switches(base, _metres(name, cap)) if at else None)
    if base in _ANY:
        protocol = replace(protocol, truth=f"depth of {dataset}")
    own_split, truth = sources[base]
    return Profile(name, protocol, split or own_split, truth)


def default_profiles(manifest: Manifest, split: str = "") -> tuple[list[Profile], list[str]]:
    """Return the profiles of a data set, and the names of those whose split is not there.

    Where there are labels and no depth at all, the first profile says which images to look at.

    Raises:
        DataError: no profile is left.
    """
    sources = _SOURCES.get(manifest.dataset, _ANY)
    profiles = [read_profile(name, manifest.dataset, split) for name in sources]
    usable = [profile for profile in profiles if _has_truth(manifest, profile)]
    usable = usable or [p for p in profiles if _has_labels_alone(manifest, p.split)][:1]
    if not usable:
        wanted = ", ".join(f"{p.name} ({p.truth} of split {p.split})" for p in profiles)
        raise DataError(
            f"the prepared {manifest.dataset} has nothing to score against; its profiles need "
            f"{wanted}"
        )
    return usable, [profile.name for profile in profiles if profile not in usable]


def make_jobs(manifest: Manifest, profiles: Sequence[Profile]) -> list[Job]:
    """Return each image of the profiles' splits once, in order, with the truths it is scored by.

    Images with neither truth nor labels are left out.

    Raises:
        DataError: a profile's split is missing, or none of its images has the profile's truth
            though there are other truths, or no labels either.
    """
    records: dict[str, Record] = {}
    references: dict[str, dict[str, DepthFile]] = {}
    for profile in profiles:
        found = manifest.records(profile.split)
        if not _has_truth(manifest, profile) and not _has_labels_alone(manifest, profile.split):
            raise DataError(
                f"no image of split {profile.split} has the truth of {profile.name} "
                f"({profile.truth}); choose another profile or another split"
            )
        for record in found:
            records.setdefault(record.image, record)
            references.setdefault(record.image, {})
            reference = profile.reference(record)
            if reference is not None:
                references[record.image][profile.name] = reference
    return [
        Job(record, references[image])
        for image, record in records.items()
        if references[image] or record.labels
    ]


def describe(profile: Profile) -> str:
    """Return the switches of a profile in one line, for the report."""
    p = profile.protocol
    ends = "ends included" if p.cap_inclusive else "ends excluded"
    clamp = "not clamped" if p.clamp_m is None else f"clamped to {p.clamp_m[0]:g}-{p.clamp_m[1]:g}"
    aligned = "" if p.alignment == "none" else f", {p.alignment}-aligned"
    return (
        f"{p.truth}, split {profile.split}; {p.grid} frame, crop {p.crop}; truth {p.min_m:g} to "
        f"{p.cap_m:g} m, {ends}; prediction {clamp}, missing: {p.missing}{aligned}; mean over "
        f"{p.average}"
    )


def _has_truth(manifest: Manifest, profile: Profile) -> bool:
    records = manifest.splits.get(profile.split, ())
    return any(profile.reference(record) is not None for record in records)


def _has_labels_alone(manifest: Manifest, split: str) -> bool:
    records = manifest.splits.get(split, ())
    depths = any(record.depth or record.filled for record in records)
    return not depths and any(record.labels for record in records)


def _metres(name: str, text: str) -> float:
    try:
        metres = float(text)
    except ValueError:
        metres = 0.0
    if not metres > 0:
        raise ConfigError(f"{name!r}: the cap after @ must be metres, for example kitti-garg@50")
    return metres
