"""Tests of core/kohya/network.py: whole models, LoRAs, their size and their layers."""

from __future__ import annotations

from pathlib import Path

from core import presets
from tests.fixtures.kohya import FINE, LORA, imported, verdicts


def test_a_lora_of_its_size_and_layers(tmp_path: Path) -> None:
    found = imported(
        tmp_path, LORA + "--network_dim 64 --network_alpha=32 --network_dropout 0.1 --network_args rank_dropout=0.2"
    )
    assert [found.values[f"lora.{name}"] for name in ("rank", "alpha", "dropout")] == [64, 32.0, 0.1]
    assert verdicts(found)["network_args rank_dropout"] == ("unknown", "")
    bare = imported(tmp_path, LORA + "--seed 1")
    assert [bare.values[f"lora.{name}"] for name in ("rank", "alpha", "targets")] == [
        4,
        1.0,
        "transformer blocks",
    ]
    assert imported(tmp_path, LORA + "--network_dim 8 --network_alpha 0").values["lora.alpha"] == 8


def test_convolutions_and_lycoris(tmp_path: Path) -> None:
    targets = "transformer blocks + resnets"
    has = targets in presets.entries()["lora.targets"].choices
    found = imported(tmp_path, LORA + "--network_dim 8 --network_args conv_dim=4 conv_alpha=1")
    assert verdicts(found)["network_args conv_dim"] == (("equivalent", "lora.targets") if has else ("unknown", ""))
    assert found.values["lora.targets"] == (targets if has else "transformer blocks")


LYCORIS = "python train_network.py --network_module lycoris.kohya --network_dim 8 --network_alpha 2 --network_args "


def test_loha(tmp_path: Path) -> None:
    found = imported(tmp_path, LYCORIS + "algo=loha conv_dim=8 conv_alpha=2 rank_dropout=0.1 dropout=0.3")
    said = verdicts(found)
    assert found.values["training.method"] == "loha" and said["network_module"] == ("equivalent", "training.method")
    assert [found.values[f"loha.{name}"] for name in ("rank", "alpha", "dropout")] == [8, 2.0, 0.1]
    assert found.values["loha.targets"] == "transformer blocks + resnets"
    assert said["network_dim"] == ("taken", "loha.rank") and said["network_args dropout"] == ("unneeded", "")
    assert not [key for key in found.values if key.startswith("lora.")]


def test_lokr(tmp_path: Path) -> None:
    found = imported(tmp_path, LYCORIS + "algo=lokr factor=4 decompose_both=True preset=attn-only use_tucker=True")
    assert found.values["training.method"] == "lokr" and found.values["lokr.targets"] == "attention"
    assert [found.values[f"lokr.{name}"] for name in ("rank", "factor", "decompose_both")] == [8, 4, True]
    assert verdicts(found)["network_args use_tucker"] == ("unknown", "")
    whole = imported(tmp_path, LYCORIS + "algo=lokr factor=8 full_matrix=True")
    assert verdicts(whole)["network_args full_matrix"] == ("equivalent", "lokr.rank")
    assert whole.values["lokr.rank"] == 10_000
    bare = imported(
        tmp_path, "python train_network.py --network_module lycoris.kohya --network_args algo=lokr factor=-1"
    )
    assert [bare.values[f"lokr.{name}"] for name in ("rank", "alpha", "factor")] == [4, 1.0, -1]


def test_what_lycoris_has_besides(tmp_path: Path) -> None:
    assert imported(tmp_path, LYCORIS + "algo=locon conv_dim=8").values["training.method"] == "lora"
    for algorithm in ("boft", "full"):
        found = imported(tmp_path, LYCORIS + f"algo={algorithm}")
        assert found.values["training.method"] == "lora" and verdicts(found)["network_module"][0] == "unknown"


def test_a_whole_model_has_no_network(tmp_path: Path) -> None:
    assert verdicts(imported(tmp_path, FINE + "--network_dim 8"))["network_dim"] == ("unneeded", "")


def test_a_lora_goes_on_from_a_file_others_do_not(tmp_path: Path) -> None:
    found = imported(tmp_path, LORA + "--network_weights old.safetensors")
    assert verdicts(found)["network_weights"] == ("taken", "lora.start_from")
    assert found.values["lora.start_from"] == "old.safetensors"
    line = LORA.replace("networks.lora", "lycoris.kohya") + "--network_args algo=loha --network_weights old.safetensors"
    assert verdicts(imported(tmp_path, line))["network_weights"][0] == "unknown"
