"""Tests of gui/widgets/import_dialog.py: settings of sd-scripts are shown flag by flag and come into the form."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from gui.context import Context
from gui.settings_model import SettingsModel
from gui.widgets.import_dialog import ImportDialog
from gui.widgets.preset_menu import PresetMenu

COMMAND = (
    "accelerate launch sdxl_train_network.py --pretrained_model_name_or_path=base.safetensors --network_dim=32 "
    "--network_alpha=8 --learning_rate=2e-4 --max_train_steps=1234 --xyz_flag=3"
)


@pytest.fixture
def menu(qtbot: QtBot) -> PresetMenu:
    """The menu whose action opens the dialog."""
    made = PresetMenu(Context(SettingsModel()))
    qtbot.addWidget(made)
    return made


def _dialog(menu: PresetMenu) -> ImportDialog:
    menu.import_kohya()
    return next(child for child in menu.children() if isinstance(child, ImportDialog))


def test_a_pasted_command_is_answered_and_loaded(qtbot: QtBot, menu: PresetMenu) -> None:
    dialog = _dialog(menu)
    told: list[str] = []
    menu._context.note.connect(lambda text, kind: told.append(text))
    dialog.text.setPlainText(COMMAND)
    qtbot.waitUntil(lambda: dialog.take.isEnabled())
    rows = [
        [dialog.table.item(number, column).text() for column in range(4)] for number in range(dialog.table.rowCount())
    ]
    by_flag = {flag: (value, verdict) for flag, value, verdict, _ in rows}
    assert by_flag["--network_dim"] == ("32", "Taken")
    assert rows[0][0] == "--xyz_flag" and rows[0][2] == "Unknown", "what is unknown comes first"
    assert dialog.summary.text().startswith(f"{dialog.table.rowCount()} flags: 1 unknown, ")
    dialog.take.click()
    settings = menu._context.settings
    assert (settings.value("lora.rank"), settings.value("training.max_steps")) == (32, 1234)
    assert settings.value("training.learning_rate") == 2e-4
    assert "are loaded" in told[-1]
    settings.undo()
    assert settings.value("training.max_steps") == 0


def test_a_file_that_is_no_training_is_a_sentence(menu: PresetMenu, tmp_path: Path) -> None:
    path = tmp_path / "notes.sh"
    path.write_text("echo hello")
    dialog = _dialog(menu)
    dialog.read_file(path)
    assert not dialog.take.isEnabled() and dialog.table.rowCount() == 0
    assert str(path) in dialog.summary.text()
