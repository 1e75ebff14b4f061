"""Parameters of the evaluator node, checked before it listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.evaluation.live import require_live
from mono_depth_ros.evaluation.report import require_replaceable
from mono_depth_ros.evaluation.settings import EvaluationConfig


def _fixed(description: str, **metadata: Any) -> dict[str, Any]:
    return {"description": description, "read_only": True, **metadata}


@dataclass(frozen=True)
class EvaluatorConfig:
    """Parameters of the evaluator node; each field says what it is."""

    out: str = field(default="", metadata=_fixed("report folder to write; must be given"))
    bag: str = field(
        default="", metadata=_fixed("recording that holds /tf_static and /tf; empty: /tf topics")
    )
    config: str = field(
        default="",
        metadata=_fixed(
            "YAML of settings as for `mono_depth evaluate --config`; its topics do not count"
        ),
    )
    note: str = field(
        default="", metadata=_fixed("text for the report, such as the checkpoint's name")
    )
    damage: str = field(
        default="", metadata=_fixed("text for the report: what of the recording cannot be read")
    )
    idle_s: float = field(
        default=0.0,
        metadata=_fixed(
            "write the report when nothing has come for so long after the first message; 0: at the "
            "end only",
            range=(0.0, 86400.0),
        ),
    )
    max_pending: int = field(
        default=30,
        metadata=_fixed("messages of a topic that may wait for their partners", range=(2, 10000)),
    )


def report_folder(out: str) -> Path:
    """Return the folder of parameter `out`, below one that exists.

    Raises:
        ConfigError: it is not given.
        DataError: it holds something else, or cannot be created.
    """
    if not out:
        raise ConfigError("parameter out is empty; set it to the report folder to write")
    folder = Path(out).absolute()
    require_replaceable(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create {folder.parent}: {error.strerror}") from error
    return folder


def evaluation_config(path: str) -> EvaluationConfig:
    """Return the configuration of parameter `config`, the default without one.

    Raises:
        ConfigError: it is unreadable, or asks for what cannot be done live.
    """
    config = from_mapping(EvaluationConfig, load_yaml(Path(path)) if path else {})
    require_live(config)
    return config
