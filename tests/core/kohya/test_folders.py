"""Tests of core/kohya/folders.py: pictures for regularisation become folders with a rule, shown as often as before."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from core import presets
from core.data.index import Index
from core.data.report import make_report
from core.kohya.folders import captionless
from tests.fixtures.kohya import DREAM, FINE, LORA, imported, note, verdicts

FLAGS = "--train_data_dir img --reg_data_dir reg --max_train_epochs 4 --prior_loss_weight 0.5 "


def pictures(root: Path, folders: dict[str, int]) -> None:
    for name, count in folders.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (64 + 8 * number, 64)).save(root / name / f"{number}.png")


def rules(found: object) -> list[dict[str, object]]:
    return [
        {**rule, "path": Path(rule["path"]).name}
        for rule in found.values["data.folder_rules"]  # type: ignore[attr-defined]
    ]


def test_regularisation_is_a_folder_with_a_role(tmp_path: Path) -> None:
    pictures(tmp_path / "img", {"10_sks dog": 3})
    pictures(tmp_path / "reg", {"1_dog": 20, "2_other dog": 5})
    found = imported(tmp_path, LORA + FLAGS)
    roots = [str((tmp_path / name).resolve()) for name in ("img", "reg")]
    assert found.values["data.folders"] == roots
    assert rules(found) == [
        {"path": "10_sks dog", "repeats": 10},
        {"path": "1_dog", "role": "regularisation", "sample": 20, "weight": 0.5},
        {"path": "2_other dog", "role": "regularisation", "repeats": 2, "sample": 10, "weight": 0.5},
    ]
    assert found.values["training.max_epochs"] == 4  # not 40: the repeats are in the rule
    for flag in ("reg_data_dir", "prior_loss_weight"):
        assert verdicts(found)[flag] == ("equivalent", "data.folder_rules")
    settings = presets.build(found.values, "test")
    settings.validation.share = 0
    with Index(tmp_path / "index") as index:
        index.scan([Path(root) for root in roots])
        report = make_report(index, settings)
    assert report.uses_per_epoch == 60  # 3 x 10 of the subject and as many of the others, as sd-scripts has it
    assert [one["uses"] for one in report.folders if one["role"] == "regularisation"] == [20, 10]


def test_the_warm_up_counts_them_too(tmp_path: Path) -> None:
    pictures(tmp_path / "img", {"10_sks dog": 3})
    pictures(tmp_path / "reg", {"1_dog": 20})
    assert imported(tmp_path, LORA + FLAGS + "--lr_warmup_steps 0.5").values["training.warmup_steps"] == 4 * 60 / 2


@pytest.mark.parametrize("there", [True, False])
def test_where_pictures_cannot_be_counted_it_is_said(tmp_path: Path, there: bool) -> None:
    if there:
        pictures(tmp_path, {"reg": 2})
    found = imported(tmp_path, DREAM + FLAGS)
    assert rules(found) == [{"path": "reg", "role": "regularisation", "weight": 0.5}]
    assert "set their pictures per epoch yourself" in note(found, "reg_data_dir")
    assert [Path(folder).name for folder in found.values["data.folders"]] == ["img", "reg"]


def test_what_sd_scripts_does_not_look_at(tmp_path: Path) -> None:
    found = imported(tmp_path, FINE + "--in_json meta.json " + FLAGS)
    assert verdicts(found)["reg_data_dir"] == ("unneeded", "") and "data.folder_rules" not in found.values
    assert verdicts(found)["prior_loss_weight"] == ("unneeded", "")
    alone = imported(tmp_path, LORA + "--train_data_dir img --prior_loss_weight 0.5")
    assert verdicts(alone)["prior_loss_weight"] == ("unneeded", "") and "data.folder_rules" not in alone.values


def test_an_impossible_weight_is_told_and_left_out(tmp_path: Path) -> None:
    found = imported(tmp_path, LORA + "--train_data_dir img --reg_data_dir reg --prior_loss_weight 500")
    assert verdicts(found)["prior_loss_weight"] == ("unknown", "")
    assert rules(found) == [{"path": "reg", "role": "regularisation"}]


def test_transparency_as_a_mask(tmp_path: Path) -> None:
    pictures(tmp_path / "img", {"10_a": 1, "2_b": 1})
    found = imported(tmp_path, LORA + "--train_data_dir img --alpha_mask --masked_loss --max_train_epochs 1")
    assert rules(found) == [
        {"path": "img", "mask": "alpha"},
        {"path": "10_a", "repeats": 10, "mask": "alpha"},
        {"path": "2_b", "repeats": 2, "mask": "alpha"},
    ]
    assert verdicts(found)["alpha_mask"] == ("equivalent", "data.folder_rules")
    assert verdicts(found)["masked_loss"] == ("unneeded", "")
    with_others = imported(tmp_path, LORA + "--train_data_dir img2 --alpha_mask --reg_data_dir reg")
    assert rules(with_others) == [{"path": "img2", "mask": "alpha"}, {"path": "reg", "role": "regularisation"}]
    beside = imported(tmp_path, LORA + "--train_data_dir img2 --masked_loss --conditioning_data_dir masks")
    assert verdicts(beside)["masked_loss"] == verdicts(beside)["conditioning_data_dir"] == ("unknown", "")
    assert "masks" in note(beside, "conditioning_data_dir") and "data.folder_rules" not in beside.values


def test_folders_without_captions(tmp_path: Path) -> None:
    pictures(tmp_path, {"a": 1})
    assert captionless(tmp_path / "a") and not captionless(tmp_path / "missing")
    (tmp_path / "a" / "0.txt").touch()
    assert not captionless(tmp_path / "a")
