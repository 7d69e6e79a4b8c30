"""Tests of gui/widgets/launch_card.py: shown for several GPUs; its lines follow the machines and can be copied."""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import QGuiApplication

from core.launch import MEETING_PLACE
from gui.widgets.launch_card import LaunchCard


def test_the_lines_follow_gpus_and_machines(qtbot: Any) -> None:
    card = LaunchCard()
    qtbot.addWidget(card)
    card.show_processes(1)
    assert card.isHidden()
    card.show_processes(4)
    assert not card.isHidden() and "--nproc_per_node 4" in card.lines.text() and "--standalone" in card.lines.text()
    card.machines.setValue(2)
    assert "--nnodes 2" in card.lines.text() and MEETING_PLACE in card.lines.text()
    card.copy.click()
    assert QGuiApplication.clipboard().text() == card.lines.text()
