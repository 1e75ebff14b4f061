"""Working through the frames of a recording: in pieces that are kept, in one process or several."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from mono_depth_ros.atomic import replacing
from mono_depth_ros.config import to_mapping
from mono_depth_ros.errors import BagError, ConfigError, DataError
from mono_depth_ros.evaluation.frames import Frame, Recording
from mono_depth_ros.evaluation.headers import FRAME_ERRORS
from mono_depth_ros.evaluation.parts import PartBuilder, PartFolder
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import FloatArray, Intrinsics
from mono_depth_ros.prediction import Prediction

logger = logging.getLogger(__name__)

Predictor = Callable[[npt.NDArray[np.uint8], Intrinsics], FloatArray]

# What memory holds, and is lost at most when a process is killed.
PART_FRAMES, _PART_S = 100, 5.0
_POLL_S = 0.2
_IDENTITY = "evaluation.json"
_SCORED_PRODUCTS = frozenset(("confidence", "semantics"))

Range = tuple[int, int]
"""First frame and the one after the last."""


class FramePredictor(Protocol):
    """What already knows a frame's depth, for example from another recording."""

    def predict_frame(self, frame: Frame) -> FloatArray | None:
        """Return (H, W) metres, NaN unknown, or None where there is no prediction."""


OpenPredictor = Callable[[], AbstractContextManager[Predictor | FramePredictor]]
"""Opens a predictor in whatever process it is called; must be picklable for several."""


@dataclass(frozen=True, slots=True)
class Work:
    """How the frames of a recording are worked through.

    Attributes:
        folder: keeps what is done, so that the same evaluation goes on after an interruption; it is
            made where it is missing, and left to the caller.
        identity: names the predictor; with another one, other settings or another recording the
            folder starts anew.
        workers: processes.
        open_predictor: for each of several.

    Raises:
        ConfigError: impossible number of processes, or no way to open a predictor in them.
    """

    folder: Path
    identity: str = ""
    workers: int = 1
    open_predictor: OpenPredictor | None = None

    def __post_init__(self) -> None:
        if self.workers < 1 or (self.workers > 1 and self.open_predictor is None):
            raise ConfigError(
                f"workers is {self.workers}; it must be 1 or more, and more than 1 needs "
                "open_predictor"
            )


def predict(predictor: Predictor | FramePredictor, frame: Frame) -> Prediction | None:
    """Return what a predictor says of a frame; None where there is no prediction.

    Confidence and classes are asked for where the predictor is a `DepthPredictor` that has them.

    Raises:
        BagError: the frame has no image.
    """
    if hasattr(predictor, "predict_frame"):
        depth_m = predictor.predict_frame(frame)
        return None if depth_m is None else Prediction(depth_m)
    if frame.rgb is None:
        raise BagError("a frame without its image cannot be predicted")
    if products := _SCORED_PRODUCTS.intersection(getattr(predictor, "product_names", ())):
        answer: Prediction = cast(Any, predictor).predict(frame.rgb, frame.camera, products)
        return answer
    return Prediction(predictor(frame.rgb, frame.camera))


def open_parts(work: Work, recording: Recording, config: EvaluationConfig) -> PartFolder:
    """Return the parts that are kept in the work folder, of this very evaluation alone.

    Raises:
        DataError: the folder cannot be written.
    """
    identity = json.dumps(
        {
            "config": to_mapping(config),
            "recording": _files(recording.path),
            "frames": len(recording.pairs),
            "predictor": work.identity,
        },
        indent=1,
    )
    parts = PartFolder(work.folder, len(config.range_bins_m) - 1)
    file = work.folder / _IDENTITY
    try:
        if file.exists() and file.read_text(encoding="utf-8") == identity:
            if parts.done():
                logger.warning("continuing the interrupted evaluation in %s", work.folder)
            return parts
        if work.folder.exists():
            logger.warning("%s is of another evaluation and is started anew", work.folder)
            shutil.rmtree(work.folder)
        work.folder.mkdir(parents=True)
        with replacing(file) as temporary:
            temporary.write_text(identity, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot write {work.folder}: {error.strerror}; choose another folder for the report"
        ) from error
    return parts


def _files(path: Path) -> list[Any]:
    """Return names, sizes and times of the files of a recording."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def missing_ranges(count: int, done: Sequence[Range]) -> list[Range]:
    """Return what is left of 0 to `count`."""
    left, at = [], 0
    for first, last in [*sorted(done), (count, count)]:
        if first > at:
            left.append((at, first))
        at = max(at, last)
    return left


def shares(ranges: Sequence[Range], workers: int) -> list[list[Range]]:
    """Divide ranges among workers: shares of nearly equal size, each in recorded order."""
    total = sum(last - first for first, last in ranges)
    bounds = [round(total * i / workers) for i in range(workers + 1)]
    found: list[list[Range]] = []
    for low, high in pairwise(bounds):
        share, passed = [], 0
        for first, last in ranges:
            start, end = max(first, first + low - passed), min(last, first + high - passed)
            if start < end:
                share.append((start, end))
            passed += last - first
        if share:
            found.append(share)
    return found


def work_through(
    recording: Recording,
    predictor: Predictor | FramePredictor,
    config: EvaluationConfig,
    parts: PartFolder,
    ranges: Sequence[Range],
) -> Generator[int]:
    """Score frames and keep the parts; yield the place of every frame that is done.

    However the loop is left, what was done is kept.

    Raises:
        DataError: see `PartFolder.save`.
        ShapeError: see `score_frame`.
    """
    for first, last in ranges:
        builder, earlier = PartBuilder(config, first), set(recording.unreadable)
        began = time.monotonic()
        # The flicker of the first frame is that since the one before.
        start = first - 1 if first and recording.fixed_frame else first
        frames = recording.chosen_frames(range(start, last))
        try:
            for place, frame in frames:
                if place < first:
                    _look_back(recording, predictor, frame, builder)
                    continue
                _work(recording, predictor, frame, builder)
                if builder.worked == PART_FRAMES or time.monotonic() - began > _PART_S:
                    _keep(builder, recording, earlier, parts)
                    builder = PartBuilder(config, place + 1, builder.flicker)
                    earlier = set(recording.unreadable)
                    began = time.monotonic()
                yield place
        finally:
            frames.close()
            if builder.worked:
                _keep(builder, recording, earlier, parts)


def _work(
    recording: Recording,
    predictor: Predictor | FramePredictor,
    frame: Frame | None,
    builder: PartBuilder,
) -> None:
    if frame is None:
        builder.skip()
        return
    try:
        prediction = predict(predictor, frame)
    except FRAME_ERRORS as error:
        recording.leave_out(frame.stamp_ns, error)
        builder.skip()
    else:
        builder.add(frame, prediction)


def _look_back(
    recording: Recording,
    predictor: Predictor | FramePredictor,
    frame: Frame | None,
    builder: PartBuilder,
) -> None:
    if frame is None:
        return
    try:
        builder.look_back(frame, predict(predictor, frame))
    except FRAME_ERRORS as error:
        recording.leave_out(frame.stamp_ns, error)


def _keep(builder: PartBuilder, recording: Recording, earlier: set[int], parts: PartFolder) -> None:
    new = {ns: why for ns, why in recording.unreadable.items() if ns not in earlier}
    parts.save(builder.part(new))


def work_in_processes(
    bag: Path, config: EvaluationConfig, work: Work, parts: PartFolder, ranges: Sequence[Range]
) -> Generator[int]:
    """Do as `work_through` in several processes; yield once per frame.

    Raises:
        MonoDepthError: what a process raised, the first of them.
    """
    context = multiprocessing.get_context("spawn")
    tasks = shares(ranges, work.workers)
    threads = max((os.cpu_count() or 1) // max(len(tasks), 1), 1)
    before = _frames_in(parts)
    stop = context.Event()
    pool = ProcessPoolExecutor(
        len(tasks), mp_context=context, initializer=_prepare, initargs=(stop, threads)
    )
    yielded = 0
    with pool:
        running = [
            pool.submit(_work_in_process, bag, config, work, parts, share) for share in tasks
        ]
        try:
            while _running(running):
                for _ in range(_frames_in(parts) - before - yielded):
                    yield 0
                    yielded += 1
        finally:
            stop.set()  # before the pool waits for its processes
        for future in running:
            future.result()
    for _ in range(_frames_in(parts) - before - yielded):
        yield 0


def _frames_in(parts: PartFolder) -> int:
    return sum(last - first for first, last in parts.done())


def _running(futures: Iterable[Future[None]]) -> bool:
    """Wait a moment; tell whether all goes well and something still runs."""
    done, running = wait(futures, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
    return bool(running) and not any(future.exception() for future in done)


_stop: Any = None


def _prepare(stop: Any, threads: int) -> None:
    """Set up a process: it ends when it is told to, not by a signal to the whole group."""
    global _stop
    import torch

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)
    _stop = stop


def _work_in_process(
    bag: Path, config: EvaluationConfig, work: Work, parts: PartFolder, ranges: Sequence[Range]
) -> None:
    assert work.open_predictor is not None
    recording = Recording(bag, config.frames)
    with work.open_predictor() as predictor:
        frames = work_through(recording, predictor, config, parts, ranges)
        for _ in frames:
            if _stop.is_set():
                frames.close()
                return
