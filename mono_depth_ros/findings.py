"""What `mono_depth doctor` finds: a fact, or something to be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report, with advice where something is wrong.

    Attributes:
        level: ok, warning or error.
        subject: what was looked at.
        text: what was found.
        why: why it matters; empty for a fact.
        remedy: what to do; likewise.
    """

    level: Level
    subject: str
    text: str
    why: str = ""
    remedy: str = ""


_MARKS = {"ok": "      ", "warning": "WARN  ", "error": "ERROR "}


def finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield the findings as lines of text to paste into an issue."""
    for found in findings:
        yield f"{_MARKS[found.level]}{found.subject}: {found.text}"
        for text in (found.why, found.remedy and f"-> {found.remedy}"):
            if text:
                yield f"          {text}"
