"""Tests of core/commands/import_kohya.py: the document, the list for people, and mistakes; for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import cli, presets
from tests.fixtures.processes import program

Capture = pytest.CaptureFixture[str]

COMMAND = (
    "accelerate launch sdxl_train_network.py --network_module=networks.lora --caption_extension .txt --seed=3 "
    '--pretrained_model_name_or_path="a b.safetensors" --train_data_dir=pics --max_train_steps=50 '
    "--cache_latents --save_model_as safetensors --weird=1"
)


def test_json_is_the_contracts_document(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text(COMMAND)
    target = tmp_path / "preset.toml"
    found = program("import-kohya", str(tmp_path / "run.sh"), "-o", str(target), "--json")
    assert (found.returncode, found.stderr) == (0, "")
    document = json.loads(found.stdout)
    assert document["preset"] == str(target)
    flags = {row["flag"]: row for row in document["flags"]}
    assert flags["--seed"] == {"flag": "--seed", "value": "3", "verdict": "taken", "field": "training.seed"}
    assert flags["--cache_latents"]["verdict"] == "unneeded" and flags["--cache_latents"]["note"]
    assert flags["--weird"]["verdict"] == "unknown" and flags["--save_model_as"]["verdict"] in ("taken", "equivalent")
    assert len(flags) == COMMAND.count("--")
    settings = presets.load(target)
    assert (settings.training.seed, settings.training.max_steps, settings.training.method) == (3, 50, "lora")


def test_the_list_for_people_begins_with_the_unknown(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "run.sh").write_text(COMMAND)
    assert cli.run(["import-kohya", str(tmp_path / "run.sh"), "-o", str(tmp_path / "preset.toml")], {}) == 0
    out = capsys.readouterr().out
    places = [out.index(word) for word in ("Unknown", "--weird 1", "Equivalent", "Taken", "--seed 3", "Not needed")]
    assert places == sorted(places)
    assert "training.seed" in out and f"The preset is {tmp_path / 'preset.toml'}" in out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("echo hi", "holds no training command"),
        ("python sdxl_train_textual_inversion.py --token_string a", "textual inversion"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path: Path, capsys: Capture, text: str, says: str) -> None:
    (tmp_path / "run.sh").write_text(text)
    assert cli.run(["import-kohya", str(tmp_path / "run.sh"), "-o", str(tmp_path / "p.toml")], {}) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and says in captured.err and len(captured.err.splitlines()) == 1
    assert not (tmp_path / "p.toml").exists()


def test_without_a_target_or_into_a_folder(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "run.sh").write_text(COMMAND)
    assert cli.run(["import-kohya", str(tmp_path / "run.sh")], {}) == 2
    assert "-o" in capsys.readouterr().err
    assert cli.run(["import-kohya", str(tmp_path / "run.sh"), "-o", str(tmp_path)], {}) == 2
    assert "cannot be written" in capsys.readouterr().err
