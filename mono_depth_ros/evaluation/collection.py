"""Several recordings together: a row of scores for each and one for all, as page and JSON.

scores.json of a collection, format 1: `recordings`, a list of {name, frames, scores} with the
scores of `DepthErrors`; `scores`, all frames together as the protocol averages; `protocol`;
`interrupted` where that is so. The report of each recording lies in the folder of its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from mono_depth_ros.config import to_mapping
from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.html import note, page, paragraph, table
from mono_depth_ros.evaluation.pipeline import Evaluation, summarise
from mono_depth_ros.evaluation.report import COLUMNS, PAGE, padded, score_cells
from mono_depth_ros.evaluation.saved_report import FORMAT, SCORES, json_text
from mono_depth_ros.evaluation.scores import FrameScore, Summary
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.metrics import DepthErrors

_ALL = "all frames"


def folder_names(bags: Sequence[Path]) -> list[str]:
    """Return a name for the report of each recording, all different."""
    names, seen = [], Counter[str]()
    for bag in bags:
        name = bag.resolve().name
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names


class Collection:
    """Recordings that were scored with one configuration.

    Args:
        config: of all.

    Attributes:
        interrupted: in words, where the work ended early; empty where it did not.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self._config = config
        self._summaries: dict[str, Summary] = {}
        self._frames: list[Sequence[FrameScore]] = []
        self.interrupted = ""

    def add(self, name: str, evaluation: Evaluation) -> None:
        """Add the scores of a recording; its pictures are not kept."""
        self._summaries[name] = evaluation.summary
        self._frames.append(evaluation.frames)

    def summary(self) -> Summary:
        """Return the averages over all frames; every recording had its own constant.

        Raises:
            BagError: nothing was scored.
        """
        if not self._summaries:
            raise BagError("nothing was scored")
        summaries = self._summaries.values()
        unscored = (
            sum(summary.unpredicted_frames for summary in summaries),
            sum(summary.unreadable_frames for summary in summaries),
        )
        frames = [frame for frames in self._frames for frame in frames]
        return summarise(frames, float("nan"), unscored, self._config)

    def rows(self) -> Iterator[tuple[str, int, DepthErrors]]:
        """Yield (name, frames, scores) of every recording and of all."""
        for name, summary in self._summaries.items():
            yield name, summary.frames, summary.model
        whole = self.summary()
        yield _ALL, whole.frames, whole.model

    def write(self, out: Path) -> None:
        """Write report.html and scores.json into a folder."""
        *recordings, (_, frames, model) = self.rows()
        record = {
            "format": FORMAT,
            "recordings": [
                {"name": name, "frames": count, "scores": asdict(scores)}
                for name, count, scores in recordings
            ],
            "scores": {"frames": frames, "model": asdict(model)},
            "protocol": to_mapping(self._config.protocol),
            **({"interrupted": self.interrupted} if self.interrupted else {}),
        }
        (out / SCORES).write_text(json_text(record), encoding="utf-8")
        (out / PAGE).write_text(self._page(), encoding="utf-8")

    def _page(self) -> str:
        header = ["recording", "frames", *(title for title, _ in COLUMNS.values())]
        rows = [[name, str(n), *score_cells(scores)] for name, n, scores in self.rows()]
        average = self._config.protocol.average
        remark = f"Average over {average}, profile {self._config.profile}."
        if self.interrupted:
            remark = f"Not complete: {self.interrupted}. {remark}"
        links = "".join(
            f'<li><a href="{escape(name)}/{PAGE}">{escape(name)}</a></li>'
            for name in self._summaries
        )
        parts = [
            ("Scores", paragraph(remark) + table(header, rows)),
            ("Reports", f"<ul>{links}</ul>" + note("Each has its own constant baseline.")),
        ]
        return page(f"Depth against truth: {len(self._summaries)} recordings", parts)


def collection_lines(collection: Collection) -> list[str]:
    """Return the table as lines of text, for a terminal."""
    header = ["", "frames", *(title for title, _ in COLUMNS.values())]
    rows = [[name, str(n), *score_cells(scores)] for name, n, scores in collection.rows()]
    return padded([header, *rows])
