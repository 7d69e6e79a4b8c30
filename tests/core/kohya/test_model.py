"""Tests of core/kohya/model.py: which family is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.kohya.draft import Draft
from tests.fixtures.kohya import imported, note, verdicts


@pytest.mark.parametrize(
    ("model", "flag", "side"),
    [
        ("/m/mySDXL_v2.safetensors", "", 1024),
        ("pony-xl.safetensors", "", 1024),
        ("/xl/exlibris.ckpt", "", 512),
        ("m.safetensors", "learning_rate_te2 = 1e-6", 1024),
    ],
)
def test_without_a_script_sdxl_is_told_from_flags_and_names(tmp_path: Path, model: str, flag: str, side: int) -> None:
    found = imported(tmp_path, f'pretrained_model_name_or_path = "{model}"\n{flag}\n', "c.toml")
    assert found.values["data.resolution"] == side and "model.family" not in found.values
    assert any("taken for SDXL" in text for text in found.notes) == (side == 1024)


def test_the_script_says_the_family_and_flags_how_it_predicts(tmp_path: Path) -> None:
    flags = (
        "--v_parameterization --zero_terminal_snr --vae v.pt --clip_skip 2 --pretrained_model_name_or_path some/model"
    )
    found = imported(tmp_path, f"python sdxl_train.py {flags}")
    keys = ("model.family", "model.prediction", "model.zero_terminal_snr", "model.vae")
    wanted = dict(zip(keys, ("sdxl", "v-prediction", "on", "v.pt"), strict=True))
    draft = Draft()
    assert {key: found.values.get(key) for key in keys} == {
        key: value if draft.has(key, value) else None for key, value in wanted.items()
    }
    assert "name on a hub" in note(found, "pretrained_model_name_or_path")
    assert verdicts(found)["clip_skip"] == ("unneeded", "") and verdicts(found)["vae"] == ("taken", "model.vae")
    assert verdicts(imported(tmp_path, "python fine_tune.py --v2"))["v2"][0] == (
        "taken" if draft.has("model.family", "sd2") else "unknown"
    )
