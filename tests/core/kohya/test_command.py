"""Tests of core/kohya/command.py: which command trains, and what its flags are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.kohya.command import TRAINABLE, parse_line, read_command
from core.kohya.source import Source

HERE = Path("mine.sh")


def read(text: str) -> Source:
    return read_command(HERE, text)


def pairs(source: Source, part: str = "script") -> list[tuple[str, Any]]:
    return [(given.name, given.value) for given in source.given if given.part == part]


@pytest.mark.parametrize("script", TRAINABLE)
@pytest.mark.parametrize(
    "before",
    [
        "accelerate launch",
        "$ accelerate launch",
        "(venv) C:\\kohya>accelerate.exe launch",
        "PS C:\\kohya> accelerate launch",
        "> accelerate launch",
        "!accelerate launch",
        "user@box:~/kohya$ CUDA_VISIBLE_DEVICES=0 accelerate launch",
        "python -m accelerate.commands.launch",
        '"C:\\Program Files\\venv\\Scripts\\accelerate" launch',
    ],
)
def test_the_script_and_both_kinds_of_flags_are_found(script: str, before: str) -> None:
    source = read(f'{before} --num_processes=2 --quiet "./sd scripts/{script}" --seed 7 --xformers')
    assert source.script == script
    assert pairs(source, "accelerate") == [("num_processes", "2"), ("quiet", True)]
    assert pairs(source) == [("seed", "7"), ("xformers", True)]


def test_values_lists_and_repeats() -> None:
    source = read(
        'python train_network.py --optimizer_args "a=b" c=d --text_encoder_lr 1e-5 2e-5 --sdpa --seed=1 --seed=2 '
        "--stop_text_encoder_training -1 --train_data_dir C:\\my pics\\all --output_name='x y'"
    )
    assert pairs(source) == [
        ("optimizer_args", ["a=b", "c=d"]),
        ("text_encoder_lr", ["1e-5", "2e-5"]),
        ("sdpa", True),
        ("seed", "1"),
        ("seed", "2"),
        ("stop_text_encoder_training", "-1"),
        ("train_data_dir", "C:\\my pics\\all"),
        ("output_name", "x y"),
    ]


def test_shortened_and_old_names_are_understood() -> None:
    short, old = parse_line("--max_train_epo 3 --caption_extention .txt")
    assert (short.flag, short.name, short.remark) == (
        "--max_train_epo",
        "max_train_epochs",
        "short for --max_train_epochs",
    )
    assert old.name == "caption_extension"
    assert parse_line("--max_train 3")[0].name == "max_train"  # both max_train_steps and max_train_epochs begin so


def test_the_training_command_is_taken_among_others_and_told() -> None:
    source = read(
        "python prepare_buckets_latents.py a b --batch_size 4\n"
        "python train_textual_inversion.py --token_string x --train_data_dir y\n"
        "python fine_tune.py --seed 1\npython sdxl_train.py --seed 2\n"
    )
    assert source.script == "fine_tune.py" and pairs(source) == [("seed", "1")]
    assert source.notes == ["The file has 2 training commands; the one at line 3 (fine_tune.py) was taken."]


def test_unknown_scripts_and_flags_alone_are_told_by_what_they_say() -> None:
    source = read("python my_trainer.py --pretrained_model_name_or_path m")
    assert "my_trainer.py is no script of sd-scripts" in source.notes[0]
    source = read("--pretrained_model_name_or_path m \\\n --seed 3")
    assert source.script == "" and pairs(source)[1] == ("seed", "3")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no training command"),
        ("echo hello\nls --all", "holds no training command"),
        ("python other.py --x", "holds no training command"),
        ("python sdxl_train_textual_inversion.py --token_string x", "trains textual inversion"),
        ("accelerate launch flux_train_network.py --pretrained_model_name_or_path m", "trains Flux"),
        ('accelerate launch train_network.py --output_name "open', "line 1: a quote is not closed after 'open'"),
    ],
)
def test_files_without_a_training_for_burnish(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read(text)
