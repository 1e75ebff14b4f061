"""Damaged messages and bags: a result or a typed error, never anything else."""

from __future__ import annotations

import logging
import resource
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fuzz_scene import FRAMES, make_scenes, write_mutant

from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.report import write_report
from mono_depth_ros.evaluation.settings import EvaluationConfig

# Absurd sizes must be refused before they are allocated.
MEMORY_BYTES = 1 << 30
TIMEOUT_S = 20


class TooSlow(BaseException):
    """Not an Exception, which readers of damaged files catch."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return make_scenes(tmp_path_factory.mktemp("fuzz"))


@contextmanager
def bounded():
    """Limit the memory and the time of what runs inside."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, hard))
    before = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _too_slow(*_):
    raise TooSlow


def evaluate_mutant(scenes, number, folder):
    """Evaluate the mutant of a number; return the frames scored, or the typed error."""
    rng = np.random.default_rng(number)
    scene = scenes[int(rng.integers(len(scenes)))]
    write_mutant(scene, folder / "bag", rng)
    config = EvaluationConfig(frames=scene.config, pictures=0)
    with bounded():
        try:
            evaluation = evaluate_bag(folder / "bag", lambda rgb, _: five_m(rgb), config)
            # Drawing intervals and plots takes longer than everything before.
            if number % 20 == 0:
                write_report(evaluation, folder / "report")
        except MonoDepthError as error:
            return error
    return evaluation.summary.frames


def five_m(rgb):
    return np.full(rgb.shape[:2], 5.0, np.float32)


def run_mutants(scenes, numbers, folder):
    """Return how many mutants gave frames and how many a typed error; fail on anything else."""
    outcomes, failures = {"scored": 0, "refused": 0}, []
    logging.disable(logging.WARNING)
    try:
        for number in numbers:
            (folder / "mutant").mkdir()
            try:
                outcome = evaluate_mutant(scenes, number, folder / "mutant")
                outcomes["refused" if isinstance(outcome, MonoDepthError) else "scored"] += 1
                assert isinstance(outcome, MonoDepthError) or 1 <= outcome <= FRAMES + 1
            except (Exception, TooSlow) as error:
                failures.append(f"mutant {number}: {error!r}")
            shutil.rmtree(folder / "mutant")
    finally:
        logging.disable(logging.NOTSET)
    assert not failures, "\n".join(failures)
    return outcomes


def test_undamaged_scenes_are_exact(scenes, tmp_path):
    for scene in scenes:
        config = EvaluationConfig(frames=scene.config, pictures=0)
        summary = evaluate_bag(scene.bag, lambda rgb, _: five_m(rgb), config).summary
        assert (summary.frames, summary.unreadable_frames) == (FRAMES, 0)
        assert summary.model.abs_rel < 0.02


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_300_mutants(scenes, tmp_path):
    outcomes = run_mutants(scenes, range(300), tmp_path)
    # Most damage costs a frame, not the evaluation.
    assert outcomes["scored"] > 100 and outcomes["refused"] > 10


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_5000_mutants(scenes, tmp_path):
    outcomes = run_mutants(scenes, range(1000, 6000), tmp_path)
    assert outcomes["scored"] > 1500 and outcomes["refused"] > 200
