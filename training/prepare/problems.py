"""In which order problems are told: what spoils scores first, what is only not there last.

Half a KITTI lacks a hundred drives; what else is wrong with it must not drown in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

LEAKED, BAD, ABSENT = "in two splits", "damaged or wrong", "not there"

_LEAKED = re.compile(r": \d+ frames? left out, ")
_ABSENT = re.compile(
    r" missing\b|No such file|there is no |: no \S+, \d+ frames$| lacks |not written|belongs in |"
    r"^no |has no \S+\.png|has no depth$|KITTI's has "
)


def kind_of(problem: str) -> str:
    """Return what a line of `Manifest.problems` is about; whatever is not known is bad."""
    if _LEAKED.search(problem):
        return LEAKED
    return ABSENT if _ABSENT.search(problem) else BAD


def by_kind(problems: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the problems of each kind that there is, in the order in which they are told."""
    lines: dict[str, list[str]] = {LEAKED: [], BAD: [], ABSENT: []}
    for problem in problems:
        lines[kind_of(problem)].append(problem)
    return MappingProxyType({kind: tuple(found) for kind, found in lines.items() if found})


def in_order(problems: Iterable[str]) -> tuple[str, ...]:
    """Return all problems as they are told, those of one kind in the order they have."""
    return tuple(problem for found in by_kind(problems).values() for problem in found)
