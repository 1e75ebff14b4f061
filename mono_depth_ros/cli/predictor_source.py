"""Where `mono_depth evaluate` has its depth from; can be opened in several processes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mono_depth_ros.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PredictorSource:
    """A checkpoint, or a topic with recorded depth.

    Attributes:
        checkpoint: name or file; empty for recorded depth.
        device: of the checkpoint's network.
        calibration: file of the checkpoint, or None.
        depth_topic: of recorded depth.
        depth_bag: recording with that topic.
    """

    checkpoint: str
    device: str
    calibration: Path | None
    depth_topic: str
    depth_bag: Path

    @classmethod
    def of(cls, args: argparse.Namespace, bag: Path) -> PredictorSource:
        """Return the source that the options name for one recording.

        Raises:
            ConfigError: options contradict each other.
        """
        if args.depth_topic and args.calibration:
            raise ConfigError("--calibration is for --checkpoint; recorded depth stays as it is")
        if args.depth_bag and not args.depth_topic:
            raise ConfigError("--depth-bag needs --depth-topic, the topic to score in it")
        if args.depth_bag and len(args.bag) > 1:
            raise ConfigError("--depth-bag is for one BAG; evaluate several one after the other")
        return cls(
            args.checkpoint or "",
            args.device,
            args.calibration,
            args.depth_topic or "",
            args.depth_bag or bag,
        )

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Yield the predictor.

        Raises:
            MonoDepthError: see `DepthPredictor.load` and `RecordedDepth`.
        """
        if self.depth_topic:
            from mono_depth_ros.evaluation.recorded import RecordedDepth

            with RecordedDepth(self.depth_bag, self.depth_topic) as recorded:
                yield recorded
            return
        from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

        inference = InferenceConfig(device=self.device)
        yield DepthPredictor.load(self.checkpoint, inference, self.calibration)

    def about(self, predictor: Any) -> dict[str, str]:
        """Return what a report says of the predictor; it tells one from another."""
        if self.depth_topic:
            return {"prediction": f"recorded on {self.depth_topic} of {self.depth_bag.name}"}
        info, used = predictor.info, predictor.config
        return {
            "prediction": f"checkpoint {info.name} ({info.network})",
            "checkpoint sha256": info.sha256,
            "trained on": info.training_data,
            "calibration": f"scale {used.depth_scale:g}, shift "
            f"{used.inverse_depth_shift_per_m:g} 1/m",
            "device": str(predictor.device),
        }
