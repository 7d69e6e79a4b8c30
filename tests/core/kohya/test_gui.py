"""Tests of core/kohya/gui.py: settings files of the kohya_ss GUI, whose names and rules differ from sd-scripts'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.kohya.convert import Import, convert

LORA = {
    "LoRA_type": "Standard",
    "pretrained_model_name_or_path": "/models/x.safetensors",
    "sdxl": True,
    "train_batch_size": 4,
    "epoch": 8,
    "max_resolution": "1024,1024",
    "learning_rate": 0.0001,
    "unet_lr": 0.0002,
    "text_encoder_lr": "5e-05",
    "network_dim": 32,
    "network_alpha": 16,
    "conv_dim": 1,
    "mixed_precision": "bf16",
    "optimizer": "AdamW8bit",
    "optimizer_args": "weight_decay=0.05 betas=0.9,0.99",
    "lr_scheduler": "cosine",
    "lr_warmup": 0,
    "cache_latents": True,
    "gradient_accumulation_steps": 2.0,
    "gradient_checkpointing": True,
    "xformers": "sdpa",
    "save_every_n_epochs": 2,
    "save_every_n_steps": 0,
    "noise_offset_type": "Original",
    "noise_offset": 0.03,
    "multires_noise_iterations": 6,
    "max_grad_norm": 0,
    "max_timestep": 1000,
    "sdxl_no_half_vae": True,
    "additional_parameters": "--min_snr_gamma 5 --save_precision=bf16",
    "caption_extension": ".txt",
    "enable_bucket": True,
    "full_fp16": False,
    "seed": "",
    "num_processes": 2,
}


def imported(folder: Path, changes: dict[str, Any], without: tuple[str, ...] = ()) -> Import:
    table = {key: value for key, value in {**LORA, **changes}.items() if key not in without}
    (folder / "gui.json").write_text(json.dumps(table))
    return convert(folder / "gui.json")


def verdicts(found: Import) -> dict[str, str]:
    return {row.flag: row.answer.verdict for row in found.rows}


def test_a_lora_of_the_gui(tmp_path: Path) -> None:
    found = imported(tmp_path, {})
    values = {
        "model.base": "/models/x.safetensors",
        "training.method": "lora",
        "training.batch_size": 4,
        "training.max_epochs": 8,
        "training.max_steps": 0,
        "data.resolution": 1024,
        "training.learning_rate": 0.0002,
        "training.text_encoder_learning_rate": 5e-5,
        "lora.rank": 32,
        "lora.alpha": 16.0,
        "lora.targets": "transformer blocks",
        "training.precision": "bf16",
        "training.optimizer": "adamw8bit",
        "adamw8bit.weight_decay": 0.05,
        "adamw8bit.beta2": 0.99,
        "training.schedule": "cosine",
        "training.accumulation": 2,
        "training.clip_norm": 1.0,
        "output.save_every_epochs": 2,
        "output.precision": "bf16",
        "loss.noise_offset": 0.03,
        "min_snr.gamma": 5.0,
        "hardware.processes": 2,
        "hardware.attention": "sdpa",
    }
    assert {key: found.values.get(key) for key in values} == values
    assert "loss.pyramid_levels" not in found.values
    got = verdicts(found)
    assert set(got) >= set(LORA) | {"--min_snr_gamma", "--save_precision"}
    assert {flag for flag, verdict in got.items() if verdict == "unknown"} == set()
    assert {got[flag] for flag in ("seed", "full_fp16", "conv_dim", "save_every_n_steps", "max_grad_norm")} == {
        "unneeded"
    }


@pytest.mark.parametrize(
    ("changes", "unet", "text"),
    [
        ({"unet_lr": 0.0002, "text_encoder_lr": 0}, 0.0002, 0),
        ({"unet_lr": 0, "text_encoder_lr": 5e-5}, 0, 5e-5),
        ({"unet_lr": 0, "text_encoder_lr": 0}, 0.0001, 0.0001),
    ],
)
def test_a_rate_of_zero_leaves_that_part_alone(
    tmp_path: Path, changes: dict[str, Any], unet: float, text: float
) -> None:
    found = imported(tmp_path, changes)
    assert found.values["training.learning_rate"] == unet
    assert found.values["training.text_encoder_learning_rate"] == text


def test_steps_come_before_the_number_of_epochs(tmp_path: Path) -> None:
    found = imported(tmp_path, {"max_train_steps": "500", "lr_warmup": 10, "stop_text_encoder_training": 20})
    assert (found.values["training.max_steps"], found.values["training.max_epochs"]) == (500, 0)
    assert found.values["training.warmup_steps"] == 50 and verdicts(found)["epoch"] == "unneeded"
    assert {row.flag: row.value for row in found.rows}["lr_warmup"] == "10 %"
    if "training.text_encoder_stop_step" in found.values:
        assert found.values["training.text_encoder_stop_step"] == 100


def test_the_script_follows_the_tab(tmp_path: Path) -> None:
    lora = ("LoRA_type", "network_dim", "network_alpha", "conv_dim", "unet_lr", "text_encoder_lr")
    found = imported(tmp_path, {"learning_rate_te1": 1e-5}, lora)
    assert found.values["training.method"] == "full" and "sdxl_train.py" in found.notes[0]
    assert found.values["training.text_encoder_learning_rate"] == 1e-5
    found = imported(tmp_path, {"sdxl": False, "image_folder": "/pictures", "dataset_repeats": "1"}, lora)
    assert "fine_tune.py" in found.notes[0] and found.values["data.folders"] == ["/pictures"]
    assert found.values["training.text_encoder_learning_rate"] == 0
    found = imported(tmp_path, {"sdxl": False, "train_data_dir": "/pictures"}, lora)
    assert "train_db.py" in found.notes[0] and found.values["training.text_encoder_learning_rate"] == 0.0001


def test_other_types_of_lora(tmp_path: Path) -> None:
    found = imported(tmp_path, {"LoRA_type": "Kohya LoCon", "conv_dim": 32, "conv_alpha": 16})
    assert verdicts(found)["LoRA_type"] == "equivalent"
    assert verdicts(found)["conv_dim"] == ("equivalent" if "resnets" in found.values["lora.targets"] else "unknown")
    found = imported(tmp_path, {"LoRA_type": "LyCORIS/iA3"})
    assert verdicts(found)["LoRA_type"] == "unknown" and any("ia3" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flux1_checkbox": True}, "trains Flux"),
        ({"sd3_checkbox": True}, "Diffusion 3"),
        ({"token_string": "x"}, "inversion"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        imported(tmp_path, changes)


def test_values_of_odd_kinds_do_not_end_the_import(tmp_path: Path) -> None:
    odd = {key: {"a": [1]} for key in LORA if key not in ("LoRA_type", "pretrained_model_name_or_path")}
    found = imported(tmp_path, odd)
    assert verdicts(found)["train_batch_size"] == "unknown" and verdicts(found)["network_dim"] == "unknown"
