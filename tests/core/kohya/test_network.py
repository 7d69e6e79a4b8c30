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
        "attention + feed-forward",
    ]
    assert imported(tmp_path, LORA + "--network_dim 8 --network_alpha 0").values["lora.alpha"] == 8


def test_convolutions_and_lycoris(tmp_path: Path) -> None:
    targets = "attention + feed-forward + resnets"
    has = targets in presets.entries()["lora.targets"].choices
    found = imported(tmp_path, LORA + "--network_dim 8 --network_args conv_dim=4 conv_alpha=1")
    assert verdicts(found)["network_args conv_dim"] == (("equivalent", "lora.targets") if has else ("unknown", ""))
    assert found.values["lora.targets"] == (targets if has else "attention + feed-forward")
    found = imported(tmp_path, "python train_network.py --network_module lycoris.kohya --network_args algo=loha")
    known = "loha" in presets.entries()["training.method"].choices
    assert verdicts(found)["network_module"][0] == ("equivalent" if known else "unknown")
    assert found.values["training.method"] == ("loha" if known else "lora")


def test_a_whole_model_has_no_network(tmp_path: Path) -> None:
    assert verdicts(imported(tmp_path, FINE + "--network_dim 8"))["network_dim"] == ("unneeded", "")
