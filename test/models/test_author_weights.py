"""The authors' tensors in an independent reference, against ours after conversion.

A reference reads the tensors by the authors' names and follows the layer tables, one call after
the other, so a name that is mapped wrongly shows in the numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hma_reference import AuthorHma

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.errors import CheckpointError, ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.author_weights import convert_state_dict
from training.convert import main, read_author_state

HMA = {"backbone": "resnet50", "num_features": 64, "head_channels": 12, "attention_channels": 10}


class TestHma:
    @pytest.mark.parametrize("backbone", ["resnet50", "densenet121"])
    @pytest.mark.parametrize("pad", [True, False])
    def test_same_depth_from_the_same_tensors(self, backbone, pad):
        authors = AuthorHma(backbone)
        settings = HMA | {"backbone": backbone, "compat_pad": pad}
        network = create_model("hma", settings).eval()
        network.load_state_dict(convert_state_dict("hma", settings, authors.state))
        image = torch.rand(2, 3, 64, 96)
        with torch.no_grad():
            depth_m = network(image)
        expected = authors(image, pad=int(pad))
        assert expected.std() > 0.1
        torch.testing.assert_close(depth_m, expected, rtol=0, atol=1e-4)
        assert (depth_m - authors(image, pad=int(not pad))).abs().max() > 1e-2

    def test_what_does_not_fit_is_named(self):
        state = AuthorHma("resnet50").state
        with pytest.raises(CheckpointError, match=r"none missing.*1 \(first extra\.weight\) left"):
            convert_state_dict("hma", HMA, state | {"extra.weight": torch.zeros(1)})
        without = {k: v for k, v in state.items() if k != "decoder.bn4_2.bias"}
        with pytest.raises(CheckpointError, match=r"first decoder\.bn4_2\.bias\) missing"):
            convert_state_dict("hma", HMA, without)
        # Attention at H/2 (2 tensors) and the head at H (3 convolutions, 2 norms of 5 tensors).
        with pytest.raises(CheckpointError, match=r"15 \(first decoder\.ag3\.ag\.0\.weight\) left"):
            convert_state_dict("hma", HMA | {"scales": "without_h"}, state)
        with pytest.raises(CheckpointError, match=r"ag1\.ag\.0\.weight is \(10, 16, 3, 3\)"):
            convert_state_dict("hma", HMA | {"attention_channels": 11}, state)

    def test_variant_without_h_drops_the_map_it_never_uses(self):
        state = AuthorHma("resnet50").state
        lacking = ("decoder.head4.", "decoder.ag3.")
        theirs = {k: v for k, v in state.items() if not k.startswith(lacking)}
        settings = HMA | {"scales": "without_h"}
        create_model("hma", settings).load_state_dict(convert_state_dict("hma", settings, theirs))

    def test_command_writes_a_checkpoint_that_loads(self, tmp_path, capsys):
        authors = AuthorHma("resnet50")
        source, target = tmp_path / "model-best", tmp_path / "hma_nyu.safetensors"
        # As bts_main.py saves: data parallel, beside counters in NumPy.
        nested = {f"module.{k}": v for k, v in authors.state.items()}
        steps = np.zeros(9, np.int32)
        torch.save({"model": nested, "global_step": 7, "best_eval_steps": steps}, source)
        words = [f"{key}={value}" for key, value in HMA.items()]
        assert main(["hma", str(source), str(target), "--settings", *words]) == 0
        network, info = load_network(target)
        assert (info.name, info.network, info.settings["compat_pad"]) == ("hma_nyu", "hma", True)
        assert "model-best" in info.training_data
        image = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            depth_m = network(image)
        torch.testing.assert_close(depth_m, authors(image), rtol=0, atol=1e-4)
        assert main(["hma", str(source), str(target), "--settings", "num_features=32"]) == 1
        assert "error: " in capsys.readouterr().err


def test_files_that_could_run_code_are_refused(tmp_path):
    torch.save({"model": {"a": print}}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="no readable"):
        read_author_state(tmp_path / "evil.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_author_state(tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no weights at"):
        read_author_state(tmp_path / "nowhere.pth")


def test_networks_without_a_table_are_refused():
    with pytest.raises(ConfigError, match="no table of author weights for 'pwa'"):
        convert_state_dict("pwa", {}, {})
