"""The settings being edited: undo and redo, presets, problems, and values as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from core import presets
from core.errors import UserError
from core.grid import GridSettings
from gui.settings_model import SettingsModel


@pytest.fixture
def model(qapp: QApplication) -> SettingsModel:
    """A fresh model of a run's settings."""
    return SettingsModel()


def test_set_undo_redo(qtbot, model: SettingsModel) -> None:
    with qtbot.waitSignal(model.value_changed) as caught:
        model.set("training.batch_size", 4)
    assert caught.args == ["training.batch_size"]
    assert model.differs("training.batch_size")
    model.undo()
    assert model.value("training.batch_size") == 1 and not model.differs("training.batch_size")
    model.redo()
    assert model.value("training.batch_size") == 4
    assert model.settings().training.batch_size == 4


def test_rules_of_folders_are_undone_and_judged(model: SettingsModel, tmp_path: Path) -> None:
    key, one, two = "data.folder_rules", {"path": "/a", "repeats": 2.0}, {"path": "/b", "role": "train"}
    model.set(key, [one])
    model.end_edit()
    model.set(key, [one, two])
    assert [rule.path for rule in model.settings().data.folder_rules] == ["/a", "/b"]
    model.undo()
    assert model.value(key) == [one] and model.differs(key)
    model.redo()
    model.save_preset(tmp_path / "mine.toml", "Mine")
    assert model.value(key) == [one, two] and not model.differs(key)
    model.set(key, [{**one, "repeats": -2}])
    problem = model.problem_of(key)
    assert problem is not None and "entry 1: repeats = -2" in problem.text


def test_successive_edits_of_one_field_are_one_step(model: SettingsModel) -> None:
    for value in (2, 25, 256):
        model.set("training.batch_size", value)
    model.set("training.max_steps", 10)
    assert model.undo_stack.count() == 2
    model.undo()
    model.undo()
    assert model.value("training.batch_size") == 1


def test_leaving_a_field_ends_the_step(model: SettingsModel) -> None:
    model.set("training.batch_size", 2)
    model.end_edit()
    model.set("training.batch_size", 3)
    model.undo()
    assert model.value("training.batch_size") == 2


def test_typing_a_value_back_leaves_no_step(model: SettingsModel) -> None:
    model.set("training.batch_size", 2)
    model.set("training.batch_size", 1)
    assert not model.undo_stack.canUndo()


def test_setting_what_is_there_is_nothing(model: SettingsModel) -> None:
    model.set("training.batch_size", 1)
    assert model.undo_stack.count() == 0


def test_reset(model: SettingsModel) -> None:
    model.set("training.batch_size", 4)
    model.set("training.seed", 9)
    model.reset("training.batch_size")
    assert model.value("training.batch_size") == 1
    model.reset_all()
    assert model.changed_keys() == []
    model.undo()
    assert model.value("training.seed") == 9


@pytest.mark.parametrize("value", [0, -3, "many", 1.5], ids=str)
def test_impossible_values_are_kept_as_typed_and_explained(model: SettingsModel, value: object) -> None:
    model.set("training.batch_size", value)
    assert model.value("training.batch_size") == value
    problem = model.problem_of("training.batch_size")
    assert problem is not None and problem.severity == "error"
    assert "whole number" in problem.text and "at least 1" in problem.text
    with pytest.raises(UserError):
        model.settings()
    assert model.sound_settings() is not None


def test_unknown_choice_is_an_error(model: SettingsModel) -> None:
    model.set("training.optimizer", "adamv")
    assert "adamw" in model.problem_of("training.optimizer").text


def test_problems_of_the_core_are_told_once_later(qtbot, model: SettingsModel) -> None:
    with qtbot.waitSignal(model.problems_changed):
        model.set("training.max_steps", 100)
        model.set("training.warmup_steps", 200)
    assert model.problem_of("training.warmup_steps").severity == "error"
    model.set("training.learning_rate", 0.5)
    assert model.problem_of("training.learning_rate").severity == "warning"
    severities = [problem.severity for problem in model.problems()]
    assert severities == sorted(severities)


def test_visibility_follows_switches_and_components(qtbot, model: SettingsModel) -> None:
    assert model.visible("data.tags_share")
    with qtbot.waitSignal(model.visibility_changed):
        model.set("data.captions", "tags")
    assert not model.visible("data.tags_share")
    assert model.visible("lora.rank") == (model.value("training.method") == "lora")
    model.set("training.method", "full")
    assert not model.visible("lora.rank")
    assert model.hidden_by("lora.rank") == "training.method"


def test_loading_a_preset_can_be_undone(qtbot, model: SettingsModel) -> None:
    model.set("training.seed", 77)
    preset = presets.Preset(name="Mine", values={"training.batch_size": 8})
    with qtbot.waitSignal(model.preset_changed):
        model.load_preset(preset)
    assert model.value("training.batch_size") == 8 and not model.differs("training.batch_size")
    assert model.value("training.seed") == 0
    assert model.preset_name == "Mine"
    model.undo()
    assert model.value("training.seed") == 77 and model.differs("training.seed")
    assert model.value("training.batch_size") == 1 and model.preset_name == ""


def test_saving_writes_only_what_differs(model: SettingsModel, tmp_path: Path) -> None:
    model.set("training.batch_size", 8)
    path = tmp_path / "mine.toml"
    model.save_preset(path, "Mine", "what for")
    read = presets.read(path)
    assert read.values == {"training.batch_size": 8}
    assert (read.name, read.description) == ("Mine", "what for")
    assert model.changed_keys() == [] and model.value("training.batch_size") == 8
    model.set("training.batch_size", 16)
    assert model.differs("training.batch_size") and model.preset_value("training.batch_size") == 8


def test_saving_over_a_builtin_preset_lies_on_it(model: SettingsModel, tmp_path: Path) -> None:
    builtin = next(iter(presets.builtin().values()))
    model.load_preset(builtin)
    model.set("training.seed", 5)
    path = tmp_path / "mine.toml"
    model.save_preset(path, "Mine")
    read = presets.read(path)
    assert read.base == builtin.path.stem and read.values == {"training.seed": 5}


def test_saving_impossible_settings_fails(model: SettingsModel, tmp_path: Path) -> None:
    model.set("training.batch_size", 0)
    with pytest.raises(UserError):
        model.save_preset(tmp_path / "mine.toml", "Mine")
    assert not (tmp_path / "mine.toml").exists()


def test_any_model_of_pages(qtbot) -> None:
    model = SettingsModel(GridSettings)
    model.set("grid.cfg", 49.0)
    assert model.problem_of("grid.cfg").severity == "warning"
    model.set("grid.cfg", 99.0)
    assert model.problem_of("grid.cfg").severity == "error"
    model.undo()
    assert isinstance(model.settings(), GridSettings)
