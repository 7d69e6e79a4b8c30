"""Reads a settings file of the kohya_ss GUI: its names and its rules, told in those of sd-scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.kohya.command import not_trainable, parse_line
from core.kohya.draft import number
from core.kohya.source import Given, Part, Source
from core.kohya.words import split_words

#: Names of the GUI's file that are others on the command line.
_NAMES = {
    "max_resolution": "resolution",
    "optimizer": "optimizer_type",
    "lora_network_weights": "network_weights",
    "sdxl_checkbox": "sdxl",
    "sdxl_no_half_vae": "no_half_vae",
    "sdxl_cache_text_encoder_outputs": "cache_text_encoder_outputs",
    "image_folder": "train_data_dir",
    "latent_metadata_filename": "in_json",
    "caption_metadata_filename": "in_json",
    "blockwise_fused_optimizers": "fused_optimizer_groups",
}

#: Names that "accelerate launch" gets.
_LAUNCH = (
    "num_processes",
    "num_machines",
    "multi_gpu",
    "gpu_ids",
    "main_process_port",
    "num_cpu_threads_per_process",
    "dynamo_mode",
    "dynamo_use_dynamic",
    "dynamo_use_fullgraph",
)

#: Arguments of a network that the GUI keeps as values of their own.
_NETWORK = (
    "conv_dim",
    "conv_alpha",
    "rank_dropout",
    "module_dropout",
    "block_dims",
    "block_alphas",
    "conv_block_dims",
    "conv_block_alphas",
    "down_lr_weight",
    "mid_lr_weight",
    "up_lr_weight",
    "block_lr_zero_threshold",
    "loraplus_lr_ratio",
    "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio",
)

_LYCORIS = (
    *_NETWORK[:4],
    "LyCORIS_preset",
    "factor",
    "use_cp",
    "use_tucker",
    "use_scalar",
    "decompose_both",
    "train_on_input",
    "train_norm",
    "rescaled",
    "constrain",
    "dora_wd",
    "bypass_mode",
    "rank_dropout_scale",
    "unit",
)

#: The noise that the other choice of noise_offset_type switches off.
_NOISES = {
    "Original": ("multires_noise_iterations", "multires_noise_discount"),
    "Multires": ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale"),
}

#: Check boxes and types of LoRA of models that Burnish does not train.
_OTHER_MODELS = {
    "flux1_checkbox": "Flux",
    "sd3_checkbox": "Stable Diffusion 3",
    "hunyuan_image_checkbox": "HunyuanImage",
    "anima_checkbox": "Anima",
    "lumina_checkbox": "Lumina",
}


def read_gui(path: Path, table: Mapping[str, Any]) -> Source:
    """The flags of a GUI's file. UserError for one that trains something else, or is no such file."""
    if "pretrained_model_name_or_path" not in table and "train_batch_size" not in table:
        raise UserError(f"{path} holds no training command: it is no settings file of the kohya_ss GUI.")
    for key, what in _OTHER_MODELS.items():
        if table.get(key):
            raise not_trainable(path, what)
    if table.get("token_string"):
        raise not_trainable(path, "textual inversion (an embedding)")
    source = Source(path, _script(table), gui=True)
    source.notes.append(
        f"A file of the kohya_ss GUI, which would start {source.script}; 0 and empty mean 'not set' there."
    )
    source.given = [given for key, value in table.items() for given in _given(key, value, table)]
    source.implied = dict(_implied(table))
    return source


def _script(table: Mapping[str, Any]) -> str:
    """The script that the GUI would start: its tabs LoRA, Finetuning and Dreambooth have keys of their own."""
    sdxl = bool(table.get("sdxl") or table.get("sdxl_checkbox"))
    if "LoRA_type" in table or "network_dim" in table:
        return "sdxl_train_network.py" if sdxl else "train_network.py"
    if sdxl:
        return "sdxl_train.py"
    return "fine_tune.py" if "image_folder" in table else "train_db.py"


def _given(key: str, value: Any, table: Mapping[str, Any]) -> Iterator[Given]:
    if key in ("additional_parameters", "extra_accelerate_launch_args") and value:
        yield Given(key, f"gui_only.{key}", value, remark="its flags are listed by themselves")
        for given in parse_line(str(value)):
            part: Part = "script" if key == "additional_parameters" else "accelerate"
            yield Given(given.flag, given.name, given.value, part, given.remark)
    elif key in ("optimizer_args", "lr_scheduler_args"):
        yield Given(key, key, split_words(str(value)))
    elif key == "lr_warmup":
        share = "" if table.get("lr_warmup_steps") else _percent(value)
        yield Given(key, "lr_warmup_steps", share, shown=f"{value} %")
    elif key in ("stop_text_encoder_training", "stop_text_encoder_training_pct"):
        yield Given(key, "stop_text_encoder_training", _stop(value, table), shown=f"{value} %")
    elif key == "xformers":
        yield from _attention(key, value)
    elif key in ("dynamo_backend", *_LAUNCH):
        yield Given(key, key, "" if value == "no" else value, "accelerate")
    elif key in (*_NETWORK, *_LYCORIS):
        yield _of_network(key, value, str(table.get("LoRA_type", "Standard")))
    elif key in _NOISES.get(str(table.get("noise_offset_type")), ()) and "LoRA_type" in table:
        yield Given(key, f"gui_only.{key}", value, remark="the other kind of noise is chosen (noise_offset_type)")
    else:
        yield Given(key, _NAMES.get(key, key), value)


def _of_network(key: str, value: Any, kind: str) -> Given:
    """An argument of the network, where its type of LoRA has it."""
    used: tuple[str, ...] = (*_NETWORK, *_LYCORIS)
    if kind.startswith("LyCORIS/"):
        used = _LYCORIS
    elif kind in ("Standard", "Kohya LoCon"):
        used = _NETWORK if kind == "Kohya LoCon" else _NETWORK[2:]
    if key in used:
        return Given(key, "network_args.preset" if key == "LyCORIS_preset" else f"network_args.{key}", value)
    return Given(key, f"gui_only.{key}", value, remark=f"not used for LoRAs of the type {kind}")


def _percent(value: Any) -> Any:
    """The GUI's warm-up is in percent of the steps."""
    try:
        return number(value) / 100
    except ValueError:
        return value


def _stop(value: Any, table: Mapping[str, Any]) -> Any:
    """The GUI's stop of the text encoder is in percent of the steps, where these are known."""
    share, steps = _number(value), _number(table.get("max_train_steps"))
    if share <= 0:
        return "" if isinstance(value, int | float) else value
    return round(share / 100 * steps) if steps else f"{share:g}%"


def _attention(key: str, value: Any) -> Iterator[Given]:
    """One menu for three switches; older files have a check box."""
    kind = str(value).lower()
    name = "sdpa" if kind == "sdpa" else "xformers"
    yield Given(key, name, kind not in ("", "none", "false"), shown=str(value).lower())


def _implied(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the GUI adds by itself when it builds the command."""
    if "LoRA_type" in table:
        rate, text = _number(table.get("unet_lr")), _number(table.get("text_encoder_lr"))
        if rate and not text:
            yield "network_train_unet_only", True
        if text and not rate:
            yield "network_train_text_encoder_only", True
        kind = str(table["LoRA_type"])
        yield "network_module", "lycoris.kohya" if kind.startswith("LyCORIS/") else "networks.lora"
        if kind.startswith("LyCORIS/"):
            yield "network_args.algo", kind.removeprefix("LyCORIS/").lower()
    elif table.get("sdxl") and (_number(table.get("learning_rate_te1")) or _number(table.get("learning_rate_te2"))):
        yield "train_text_encoder", True
    if not table.get("max_train_epochs") and not table.get("max_train_steps") and _number(table.get("epoch")):
        yield "max_train_epochs", table["epoch"]


def _number(value: Any) -> float:
    """A number, 0 for what is none."""
    try:
        return number(value)
    except ValueError:
        return 0.0
