"""Runs that are killed at any moment end with the weights and the journal of one that was not."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time

import pytest
import tiny_run
import torch

from training.journal import FILE, Journal

STEPS = 40
SETTINGS = (f"steps={STEPS}", "validate_every=10", "save_every=4", "data.workers=1")


def lines(out):
    path = out / FILE
    return path.read_text().splitlines() if path.exists() else []


def kill_at(folder, out, journal_lines):
    """Start the run, and kill it with SIGKILL once its journal has so many lines."""
    process = subprocess.Popen(
        tiny_run.command(folder, out, *SETTINGS), env=tiny_run.environment(), cwd=tiny_run.CHECKOUT
    )
    deadline = time.monotonic() + 300.0
    while process.poll() is None and len(lines(out)) < journal_lines:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return killed


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_kills_change_neither_weights_nor_journal(kills, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    run = tiny_run.command(tmp_path, straight, *SETTINGS)
    subprocess.run(run, env=tiny_run.environment(), cwd=tiny_run.CHECKOUT, check=True)
    # Spread over the run, so that every start gets past the last save and is killed after it.
    chance = random.Random(kills)
    happened = 0
    for number in range(kills):
        least = (STEPS - 6) * number // kills
        happened += kill_at(tmp_path, killed, least + chance.randint(1, 5))
    assert happened == kills
    last = tiny_run.command(tmp_path, killed, *SETTINGS)
    subprocess.run(last, env=tiny_run.environment(), cwd=tiny_run.CHECKOUT, check=True)
    for name in ("last.safetensors", "best.safetensors"):
        a, b = torch_tensors(straight / name), torch_tensors(killed / name)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), name
    assert lines(killed) == lines(straight)
    assert [json.loads(line)["step"] for line in lines(straight)][-1] == STEPS


def torch_tensors(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_journal_drops_steps_that_are_taken_again_and_lines_cut_short(tmp_path):
    with Journal(tmp_path, 0) as journal:
        for step in range(1, 6):
            journal.values(step, {"loss": 1.0 / step})
        journal.values(6, {"loss": float("nan")})
    path = tmp_path / FILE
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 6, "loss": None}
    path.write_text(path.read_text() + '{"step": 4, "lo')
    with Journal(tmp_path, 3) as journal:
        journal.values(4, {"loss": 0.5})
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in kept] == [1, 2, 3, 4]
    assert kept[2]["loss"] == 1.0 / 3.0 and kept[3]["loss"] == 0.5
