"""The report of a doctor: facts and findings by section, as text to paste and as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Level = Literal["error", "warning", "note"]
"""error: something does not work; warning: it may not; note: worth knowing."""

LEVELS: tuple[Level, ...] = get_args(Level)
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a user should know.

    Attributes:
        level: how bad it is.
        what: was found.
        why: it matters.
        do: to change it.
    """

    level: Level
    what: str
    why: str
    do: str


@dataclass(slots=True)
class Section:
    """One part of a report.

    Attributes:
        title: what it is about.
        facts: name -> value, in the order to be shown.
        findings: in the order they were found.
        looked: False where it could not be looked at; a finding says why.
    """

    title: str
    facts: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    looked: bool = True

    def add(self, level: Level, what: str, why: str, do: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(level, what, why, do))

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, as `from_mapping` reads them."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Section:
        """Read what `to_mapping` wrote."""
        findings = [Finding(**finding) for finding in values["findings"]]
        return cls(values["title"], dict(values["facts"]), findings, values["looked"])


def render_text(heading: str, sections: Sequence[Section]) -> str:
    """Return a report for people: the findings first, worst first, then all facts."""
    found = [(finding, section.title) for section in sections for finding in section.findings]
    found.sort(key=lambda entry: LEVELS.index(entry[0].level))
    lines = [heading, "", _summary([finding for finding, _ in found])]
    for finding, title in found:
        lines += ["", *_wrapped(f"[{finding.level}] {title}: ", finding.what, "    ")]
        lines += _wrapped("    why: ", finding.why, "         ")
        lines += _wrapped("    do:  ", finding.do, "         ")
    for section in sections:
        width = max(map(len, section.facts), default=0)
        lines += ["", section.title]
        lines += [f"  {name:<{width}}  {value}" for name, value in section.facts.items()]
    return "\n".join(lines)


def to_json(heading: str, sections: Sequence[Section]) -> dict[str, Any]:
    """Return the same report as plain values: heading, counts by level, sections."""
    counts = Counter(finding.level for section in sections for finding in section.findings)
    return {
        "heading": heading,
        "counts": {level: counts[level] for level in LEVELS},
        "sections": [section.to_mapping() for section in sections],
    }


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.level for finding in findings)
    told = [f"{n} {level}{'s' if n > 1 else ''}" for level in LEVELS if (n := counts[level])]
    return ", ".join(told) or "nothing wrong found"


def _wrapped(first: str, text: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
