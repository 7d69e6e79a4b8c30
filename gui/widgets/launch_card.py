"""How a run on several GPUs is started on a server: the lines to type, for one machine or more, ready to be copied."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QGuiApplication
from PySide6.QtWidgets import QSpinBox, QVBoxLayout, QWidget

from core.launch import MEETING_PLACE, distributed_command
from gui.widgets.basics import button, card, label, row

#: Stands for the folder that `train --print-launch` makes.
RUN_FOLDER = "RUN_FOLDER"


def server_lines(processes: int, machines: int) -> list[str]:
    """Make the run's folder from a preset, then start it; the second line is given on each machine."""
    start = distributed_command(Path(RUN_FOLDER), processes, machines, program=".venv/bin/python")
    return [f"python3 main.py train PRESET.toml --run {RUN_FOLDER} --print-launch", " ".join(start)]


class LaunchCard(QWidget):
    """The lines for a server; hidden while one process on this machine does it all."""

    def __init__(self) -> None:
        super().__init__()
        self._processes = 1
        self.machines = QSpinBox()
        self.machines.setRange(1, 64)
        self.machines.setAccessibleName("Machines")
        self.machines.valueChanged.connect(self._show)
        self.lines = label("", wrap=True)
        self.lines.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        font = QFont("monospace")
        font.setStyleHint(QFont.StyleHint.Monospace)
        self.lines.setFont(font)
        self._note = label("", "dim", wrap=True)
        self.copy = button("Copy", tip="Copy the lines")
        self.copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.lines.text()))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        choice = row(label("Machines", "dim"), self.machines, None, self.copy)
        layout.addWidget(card(label("On a server", "heading"), self._note, choice, self.lines))
        self.hide()

    def show_processes(self, processes: int) -> None:
        """The lines for so many GPUs a machine."""
        self._processes = processes
        self.setVisible(processes > 1)
        self._show()

    def _show(self) -> None:
        machines = self.machines.value()
        self.lines.setText("\n".join(server_lines(self._processes, machines)))
        note = "In Burnish's folder there: the first line makes the run and prints the second one with its real paths."
        if machines > 1:
            note += (
                f" The second one is given on each machine, with the first one's address for {MEETING_PLACE}; run, "
                "pictures, model and cache are on a disk that all of them see."
            )
        self._note.setText(note)
