"""Two processes compute what one does; settings that cannot be split are refused."""

from __future__ import annotations

import json
import subprocess

import pytest
import tiny_run
import torch

from mono_depth_ros.errors import ConfigError
from training.distributed import Processes
from training.journal import FILE
from training.loop import StepSampler
from training.train import train

STEPS = 20
SETTINGS = ("norm=frozen", f"steps={STEPS}", f"validate_every={STEPS}", f"save_every={STEPS}")
# Its semantic branch gets no gradient from the loss of depth alone.
TWO_BRANCHES = (
    "network=config/networks/look_deeper_light.yaml",
    "network_settings={image_size: {height: 64, width: 96}, backbone_width: 0.25}",
)


def losses(out):
    records = [json.loads(line) for line in (out / FILE).read_text().splitlines()]
    return [record["loss"] for record in records if "loss" in record]


def run_two_processes(folder, out, *settings):
    """Train under torchrun; return its exit status."""
    python, *run = tiny_run.command(folder, out, *settings)
    launcher = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = tiny_run.environment(GLOO_SOCKET_IFNAME="lo")
    return subprocess.run(
        [*launcher, *run], env=environment, cwd=tiny_run.CHECKOUT, timeout=600
    ).returncode


@pytest.mark.parametrize("network", [(), TWO_BRANCHES], ids=["pwa", "look_deeper"])
def test_two_processes_give_the_losses_of_one(network, tmp_path):
    """Batch norm uses its statistics as they are: gloo has no SyncBatchNorm."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    train(tiny_run.load(tmp_path, *SETTINGS, *network), alone)
    assert run_two_processes(tmp_path, together, *SETTINGS, *network) == 0
    assert len(losses(alone)) == STEPS
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5)
    assert losses(alone)[0] != losses(alone)[-1]


def test_two_processes_stop_at_the_same_step_when_the_time_is_up(tmp_path):
    """Their clocks differ; one that went on alone would wait for the other for ever."""
    out = tmp_path / "run"
    assert run_two_processes(tmp_path, out, *SETTINGS, "steps=500", "--minutes", "0.05") == 0
    state = torch.load(out / "state.pt", weights_only=True)
    assert 0 < state["progress"]["step"] < 500


def test_synchronised_norms_need_gpus(tmp_path):
    with pytest.raises(ConfigError, match="synchronised needs GPUs"):
        train(tiny_run.load(tmp_path, "norm=synchronised"), tmp_path / "run")


def test_every_process_gets_its_part_of_every_micro_batch():
    whole = list(StepSampler([10], 8, 0, 3, seed=1, accumulate=2))
    assert [len(batch) for batch in whole] == [4] * 6
    parts = [
        list(StepSampler([10], 8, 0, 3, seed=1, accumulate=2, processes=Processes(rank, 2)))
        for rank in range(2)
    ]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    with pytest.raises(ConfigError, match="do not split over 3"):
        next(iter(StepSampler([10], 8, 0, 3, seed=1, processes=Processes(0, 3))))


def test_data_sets_take_turns():
    """Steps 0 and 2 draw from the first five images, step 1 from the three after them."""
    batches = list(StepSampler([5, 3], 3, 0, 6, seed=0, alternate=True))
    for step, batch in enumerate(batches):
        low, high = (0, 5) if step % 2 == 0 else (5, 8)
        assert all(low <= index < high for _, index in batch)
    second = [index for batch in batches[1::2] for _, index in batch]
    assert sorted(second[:3]) == sorted(second[3:6]) == [5, 6, 7]
    mixed = list(StepSampler([5, 3], 4, 0, 2, seed=0))
    assert sorted(index for batch in mixed for _, index in batch) == list(range(8))


def test_a_gather_without_others_is_the_tensor_itself():
    maps = {"depth_m": torch.ones(2, 1, 3, 4)}
    assert Processes().gathered(maps)["depth_m"] is maps["depth_m"]
