"""Tests of core/kohya/rates.py: the rate of each part, by the rules of each script."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import presets
from tests.fixtures.kohya import DREAM, FINE, FULL, LORA, imported, note, verdicts


@pytest.mark.parametrize(
    ("command", "unet", "text"),
    [
        (FULL, 2e-6, 0),
        (FULL + "--learning_rate 1e-5", 1e-5, 0),
        (FULL + "--learning_rate 1e-5 --train_text_encoder", 1e-5, 1e-5),
        (FULL + "--learning_rate 1e-5 --train_text_encoder --learning_rate_te1 3e-6", 1e-5, 3e-6),
        (FULL + "--learning_rate 0 --train_text_encoder --learning_rate_te1=1e-5 --learning_rate_te2=1e-5", 0, 1e-5),
        (FULL + "--learning_rate 1e-5 --learning_rate_te1 3e-6", 1e-5, 0),
        (FINE + "--learning_rate 1e-5 --train_text_encoder --learning_rate_te 2e-6", 1e-5, 2e-6),
        (FINE + "--learning_rate 1e-5", 1e-5, 0),
        (DREAM + "--learning_rate 1e-6", 1e-6, 1e-6),
        (DREAM + "--learning_rate 1e-6 --learning_rate_te 5e-7", 1e-6, 5e-7),
        (DREAM + "--learning_rate 1e-6 --stop_text_encoder_training -1", 1e-6, 0),
        (LORA + "--learning_rate 1e-4", 1e-4, 1e-4),
        (LORA + "--learning_rate 1e-4 --unet_lr 2e-4", 2e-4, 1e-4),
        (LORA + "--learning_rate 1e-4 --unet_lr 2e-4 --text_encoder_lr 5e-5", 2e-4, 5e-5),
        (LORA + "--learning_rate 1e-4 --text_encoder_lr 5e-5 1e-5", 1e-4, 5e-5),
        (LORA + "--learning_rate 1e-4 --network_train_unet_only --text_encoder_lr 5e-5", 1e-4, 0),
        (LORA + "--learning_rate 1e-4 --network_train_text_encoder_only", 0, 1e-4),
    ],
)
def test_rates_follow_the_rules_of_each_script(tmp_path: Path, command: str, unet: float, text: float) -> None:
    found = imported(tmp_path, command + " --pretrained_model_name_or_path m")
    assert found.values["training.learning_rate"] == unet
    assert found.values["training.text_encoder_learning_rate"] == text
    assert found.values["training.method"] == ("lora" if command.startswith(LORA) else "full")
    assert not [row.flag for row in found.rows if row.answer.verdict == "unknown" and "te2" not in row.flag]


def test_the_second_text_encoder_of_sdxl_has_its_own_rate(tmp_path: Path) -> None:
    key = "training.text_encoder_2_learning_rate"
    found = imported(tmp_path, FULL + "--train_text_encoder --learning_rate_te1 1e-6 --learning_rate_te2 2e-6")
    assert found.values.get(key) == (2e-6 if key in presets.entries() else None)
    assert verdicts(found)["learning_rate_te2"] == (("taken", key) if key in presets.entries() else ("unknown", ""))


def _block_lr(*values: str) -> str:
    return FULL + "--learning_rate 1e-5 --block_lr " + ",".join(values)


def test_rates_by_block_are_multipliers(tmp_path: Path) -> None:
    even = ["1e-5"] + ["2e-5"] + ["5e-6"] * 3 + ["1e-5"] * 3 + ["0"] * 2 + ["1e-5"] * 12 + ["1e-5"]
    found = imported(tmp_path, _block_lr(*even))
    assert found.values["training.block_rates"] == ["in = 2", "down 0 = 0.5", "down 2 = 0"]
    assert verdicts(found)["block_lr"] == ("equivalent", "training.block_rates")
    assert "mean" not in note(found, "block_lr")
    uneven = [*even[:10], "0", "1e-5", "2e-5", "2e-5", "3e-5", "4e-5", *even[16:]]
    found = imported(tmp_path, _block_lr(*uneven))
    assert found.values["training.block_rates"] == ["in = 2", "down 0 = 0.5", "down 2 = 0", "up 0 = 3"]
    assert "each has the mean of its values" in note(found, "block_lr")


def test_the_highest_rate_by_block_stands_in_for_a_rate_of_0(tmp_path: Path) -> None:
    found = imported(tmp_path, FULL + "--learning_rate 0 --block_lr " + ",".join(["1e-6"] * 22 + ["4e-6"]))
    assert found.values["training.learning_rate"] == 4e-6
    assert found.values["training.block_rates"][-1] == "up 2 = 0.25" and len(found.values["training.block_rates"]) == 9


@pytest.mark.parametrize("count", [1, 22, 25])
def test_another_number_of_rates_by_block_is_said(count: int, tmp_path: Path) -> None:
    found = imported(tmp_path, _block_lr(*["1e-6"] * count))
    assert verdicts(found)["block_lr"] == ("unknown", "") and "training.block_rates" not in found.values
    assert f"{count} values; sdxl_train.py takes 23" in note(found, "block_lr")
