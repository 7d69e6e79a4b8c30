"""Tests of core/kohya/convert.py and its chapters: what flags mean in Burnish, and what is said of each."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import core.kohya
from core import presets
from core.errors import UserError
from core.kohya.convert import write
from core.kohya.names import KNOWN, LISTS, SWITCHES
from tests.fixtures.kohya import FINE, LORA, imported, note, verdicts

# The user's own kind of command line

STYLE = """accelerate launch --num_cpu_threads_per_process 8 sdxl_train.py
    --pretrained_model_name_or_path="F:/MODELS/some mix/x1.safetensors"
    --in_json "H:/things/meta_lat.json"
    --train_data_dir="H:/things/pictures"
    --output_dir="F:/MODELS/job"
    --log_with=tensorboard
    --logging_dir="F:/logs"
    --log_prefix=things_1_
    --save_model_as=safetensors
    --caption_extension=".txt"
    --use_8bit_adam
    --train_batch_size=1 --learning_rate=4e-7 --max_train_steps=10000
    --train_text_encoder
    --xformers --diffusers_xformers --gradient_checkpointing
    --full_bf16 --mixed_precision=bf16 --save_precision=fp16
    --enable_bucket --cache_latents
    --save_every_n_epochs=1
"""


@pytest.mark.parametrize(
    "text", [STYLE, " ".join(STYLE.split("\n")), STYLE.replace("\n", " \\\n"), STYLE.replace("\n", " ^\n")]
)
def test_a_full_fine_tune_of_sdxl_in_every_way_of_pasting(tmp_path: Path, text: str) -> None:
    found = imported(tmp_path, text)
    wanted = {
        "num_cpu_threads_per_process": ("unneeded", ""),
        "pretrained_model_name_or_path": ("taken", "model.base"),
        "in_json": ("taken", "data.metadata"),
        "train_data_dir": ("taken", "data.folders"),
        "output_dir": ("taken", "output.folder"),
        "log_with": ("unneeded", ""),
        "logging_dir": ("unneeded", ""),
        "log_prefix": ("unneeded", ""),
        "caption_extension": ("equivalent", "data.captions"),
        "use_8bit_adam": ("taken", "training.optimizer"),
        "train_batch_size": ("taken", "training.batch_size"),
        "learning_rate": ("taken", "training.learning_rate"),
        "max_train_steps": ("taken", "training.max_steps"),
        "train_text_encoder": ("equivalent", "training.text_encoder_learning_rate"),
        "diffusers_xformers": ("equivalent", "hardware.attention"),
        "gradient_checkpointing": ("taken", "training.activation_checkpointing"),
        "mixed_precision": ("taken", "training.precision"),
        "save_precision": ("taken", "output.precision"),
        "enable_bucket": ("unneeded", ""),
        "cache_latents": ("unneeded", ""),
        "save_every_n_epochs": ("taken", "output.save_every_epochs"),
    }
    got = verdicts(found)
    assert {flag: got[flag] for flag in wanted} == wanted
    assert set(got) - set(wanted) == {"save_model_as", "xformers", "full_bf16"}
    assert got["save_model_as"][0] in ("taken", "equivalent") and got["xformers"][1] == "hardware.attention"
    bf16 = (
        ("equivalent", "training.weights_precision")
        if "training.weights_precision" in presets.entries()
        else ("unknown", "")
    )
    assert got["full_bf16"] == bf16
    values = {
        "model.base": "F:/MODELS/some mix/x1.safetensors",
        "data.folders": ["H:/things/pictures"],
        "data.resolution": 1024,
        "training.method": "full",
        "training.optimizer": "adamw8bit",
        "training.learning_rate": 4e-7,
        "training.text_encoder_learning_rate": 4e-7,
        "training.max_steps": 10000,
        "training.precision": "bf16",
        "output.save_every_steps": 0,
        "output.save_every_epochs": 1,
    }
    assert {key: found.values[key] for key in values} == values
    assert any("Validation stays" in text for text in found.notes)


def test_the_last_of_a_flag_counts_and_misspelt_ones_are_guessed(tmp_path: Path) -> None:
    found = imported(tmp_path, FINE + "--seed 1 --shufle_caption --seed 2 --nothing_like_it 5")
    assert found.values["training.seed"] == 2
    assert [(row.value, row.answer.verdict) for row in found.rows if row.flag == "--seed"] == [
        ("1", "unneeded"),
        ("2", "taken"),
    ]
    assert "is --shuffle_caption meant?" in note(found, "shufle_caption")
    assert verdicts(found)["nothing_like_it"] == ("unknown", "")


@pytest.mark.parametrize(
    ("flag", "key"),
    [
        ("--learning_rate 99", "training.learning_rate"),
        ("--train_batch_size 0", "training.batch_size"),
        ("--seed x", "training.seed"),
    ],
)
def test_impossible_values_are_notes(tmp_path: Path, flag: str, key: str) -> None:
    found = imported(tmp_path, FINE + flag)
    name = flag.split()[0].lstrip("-")
    assert verdicts(found)[name] == ("unknown", "") and "is not possible" in note(found, name)
    presets.build(found.values, "test")
    assert found.values.get(key) != float("99")


def _line(name: str) -> str:
    if name in SWITCHES:
        return f"--{name}"
    return f"--{name} a=1" if name in LISTS else f"--{name} 1"


@pytest.mark.parametrize("script", ["fine_tune.py", "sdxl_train_network.py"])
def test_every_flag_of_sd_scripts_is_known(tmp_path: Path, script: str) -> None:
    left_out = {"config_file", "dataset_config"}  # they name files
    found = imported(tmp_path, f"python {script} " + " ".join(_line(name) for name in sorted(KNOWN - left_out)))
    strange = [row.flag for row in found.rows if "no flag of sd-scripts" in row.answer.note]
    assert strange == []
    assert {row.flag.split(" ")[0].lstrip("-") for row in found.rows} == KNOWN - left_out


def _named_keys() -> set[str]:
    """Every "page.field" in the package's sources, where the page is one of the settings'."""
    pages = {entry.page for entry in presets.entries().values()}
    found = set()
    for path in Path(core.kohya.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                page, dot, field = node.value.partition(".")
                if dot and page in pages and field.isidentifier():
                    found.add(node.value)
    return found


@pytest.mark.parametrize("key", sorted(_named_keys()))
def test_every_option_named_is_one(key: str) -> None:
    assert key in presets.entries()


def test_options_of_another_version_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = {
        key: entry for key, entry in presets.entries().items() if key not in ("training.seed", "loss.noise_offset")
    }
    monkeypatch.setattr("core.kohya.draft.presets.entries", lambda model=None: fewer)
    found = imported(tmp_path, FINE + "--seed 5 --noise_offset 0.1 --train_batch_size 3")
    assert note(found, "seed") == "not in this version (training.seed)"
    assert verdicts(found)["noise_offset"] == ("unknown", "") and verdicts(found)["train_batch_size"][0] == "taken"


def test_an_option_that_calls_itself_by_the_flags_name_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options that did not exist when the list was written come in by their aliases."""
    monkeypatch.setattr("core.kohya.draft.Draft.by_alias", lambda self, name, table="": _ALIASES.get(name, ""))
    found = imported(tmp_path, FINE + "--token_warmup_step 0.25 --token_warmup_min 3")
    assert found.values["data.caption_dropout"] == 0.25
    assert verdicts(found)["token_warmup_step"] == ("taken", "data.caption_dropout")
    assert verdicts(found)["token_warmup_min"] == ("unknown", "")


_ALIASES = {"token_warmup_step": "data.caption_dropout"}


def test_the_preset_is_written_whole_and_can_be_loaded(tmp_path: Path) -> None:
    found = imported(tmp_path, LORA + '--pretrained_model_name_or_path "a \'b\'.safetensors" --output_name "My LoRA"')
    target = tmp_path / "new" / "mine.toml"
    write(found, tmp_path / "mine.sh", target)
    preset = presets.read(target)
    assert (preset.name, preset.description, preset.values) == (
        "My LoRA",
        "Imported from mine.sh of sd-scripts.",
        found.values,
    )
    settings = presets.load(target)
    assert settings.model.base == "a 'b'.safetensors" and settings.training.learning_rate == 2e-6
    assert sorted(path.name for path in target.parent.iterdir()) == ["mine.toml"]


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    text = 'pretrained_model_name_or_path = "m"\n'
    found = imported(tmp_path, text, "same.toml")
    with pytest.raises(UserError, match="give the preset another name"):
        write(found, tmp_path / "same.toml", tmp_path / "same.toml")
    assert (tmp_path / "same.toml").read_text() == text


def test_what_is_missing_before_a_start_is_told(tmp_path: Path) -> None:
    problems = imported(tmp_path, FINE + "--train_data_dir /none/such").problems
    assert [text.split(":")[0] for text in problems] == ["model.base", "data.folders"]


def test_values_are_of_the_options_kind(tmp_path: Path) -> None:
    found = imported(
        tmp_path, LORA + "--network_dim 8.0 --max_train_steps 1e3 --save_every_n_steps 250 --output_name 7"
    )
    kinds: dict[str, Any] = {
        "lora.rank": 8,
        "training.max_steps": 1000,
        "output.save_every_steps": 250,
        "output.name": "7",
    }
    assert {key: found.values[key] for key in kinds} == kinds
    assert type(found.values["training.max_steps"]) is int
