"""Training: the settings form with search and presets, and beside it what the settings mean."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QSplitter, QVBoxLayout, QWidget
from shiboken6 import isValid

from gui.context import Context
from gui.forms.form import Form
from gui.pages.base import Page
from gui.widgets.basics import IconLabel, button, column, row, set_property, tool
from gui.widgets.outlook_panel import OutlookPanel
from gui.widgets.preset_menu import PresetMenu

#: Least width of what stands beside the form.
PANEL_WIDTH = 264
_TOKENS = {"error": "bad", "warning": "warn"}


class SectionList(QWidget):
    """The names of the form's sections; a click scrolls there, a mark shows where something is wrong."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = form
        self.buttons: dict[str, QPushButton] = {}
        self._marks: dict[str, IconLabel] = {}
        self.setFixedWidth(128)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for plan in form.plans:
            layout.addWidget(self._make(plan.title))
        layout.addStretch(1)
        form.section_reached.connect(self.set_current)
        form.settings.problems_changed.connect(self.refresh)
        form.built.connect(self.refresh)
        self.set_current(form.plans[0].title)

    def _make(self, title: str) -> QPushButton:
        made = button(title, look="nav")
        made.clicked.connect(lambda: self._go(title))
        inner = QHBoxLayout(made)
        inner.setContentsMargins(0, 0, 6, 0)
        mark = IconLabel("error", "bad", 14)
        mark.hide()
        inner.addStretch(1)
        inner.addWidget(mark)
        self.buttons[title], self._marks[title] = made, mark
        return made

    def _go(self, title: str) -> None:
        self._form.show_section(title)
        self.set_current(title)

    def set_current(self, title: str) -> None:
        """Mark the section that is in sight."""
        for name, made in self.buttons.items():
            set_property(made, "selected", name == title)

    def refresh(self) -> None:
        """Mark the sections with errors and warnings."""
        for title, section in self._form.sections.items():
            weight = section.weight()
            self._marks[title].setVisible(bool(weight))
            if weight:
                self._marks[title].set(weight, _TOKENS[weight])


class TrainingPage(Page):
    """Assembles form, section list and panel; the one primary action is "Train"."""

    name: ClassVar[str] = "training"
    title: ClassVar[str] = "Training"
    icon: ClassVar[str] = "training"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.form = Form(context.settings)
        self.sections = SectionList(self.form)
        self.panel = OutlookPanel(context)
        self.search = QLineEdit()
        self.train = button("Train", "play", "primary")
        self.sweep = button("Sweep…", tip="Make a series of runs that differ in chosen settings, and compare them")
        self._sweeps: QWidget | None = None
        self.presets = PresetMenu(context)
        self._undo = tool("undo", "Undo (Ctrl+Z)")
        self._redo = tool("redo", "Redo (Ctrl+Shift+Z)")
        self._lay_out()
        self._connect()
        self._problems_changed()

    def _lay_out(self) -> None:
        self.search.setPlaceholderText("Search all options, also by their names in other trainers")
        self.search.setClearButtonEnabled(True)
        self.search.setFixedWidth(420)
        self.search.setAccessibleName("Search the options")
        inner = column(row(self.search, None, self._undo, self._redo, 12), self.form, spacing=16)
        whole = row(self.sections, 16, inner, spacing=0)
        whole.setStretchFactor(inner, 1)
        left = QWidget()
        left.setLayout(whole)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.addWidget(left)
        self.splitter.addWidget(self.panel)
        self.splitter.setHandleWidth(16)
        self.splitter.setStretchFactor(0, 4)
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setCollapsible(0, False)
        self.splitter.setCollapsible(1, False)
        self.panel.setMinimumWidth(PANEL_WIDTH)
        self.splitter.setSizes([840, 312])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 8, 16, 0)
        layout.addWidget(self.splitter)
        state = self.context.store.value("training/splitter")
        if isinstance(state, QByteArray):
            self.splitter.restoreState(state)

    def _connect(self) -> None:
        settings = self.context.settings
        self.search.textChanged.connect(self.form.filter)
        QShortcut(QKeySequence.StandardKey.Find, self, self.search.setFocus)
        self._undo.clicked.connect(settings.undo)
        self._redo.clicked.connect(settings.redo)
        settings.undo_stack.indexChanged.connect(lambda _: self._enable_undo())
        settings.problems_changed.connect(self._problems_changed)
        self.context.field_requested.connect(self.focus_field)
        self.panel.field_chosen.connect(self.focus_field)
        self.form.help_requested.connect(self.context.help_requested)
        self.train.clicked.connect(self.context.train_requested)
        self.sweep.clicked.connect(self.open_sweeps)
        self._enable_undo()

    def primary_actions(self) -> list[QWidget]:
        """Preset menu, sweeps and "Train"."""
        return [self.presets, self.sweep, self.train]

    def open_sweeps(self) -> None:
        """Show the window of sweeps; it starts from the settings here."""
        if self._sweeps is None:
            from gui.widgets.sweep_dialog import SweepDialog

            self._sweeps = SweepDialog(self.context, self.window())
        self._sweeps.show()
        self._sweeps.raise_()

    def focus_field(self, key: str) -> None:
        """Show an option and put the keyboard into it."""
        self.search.clear()
        self.form.focus_field(key)

    def _enable_undo(self) -> None:
        stack = self.context.settings.undo_stack
        if not isValid(stack):
            return
        for made, able, text, verb in (
            (self._undo, stack.canUndo(), stack.undoText(), "Undo (Ctrl+Z)"),
            (self._redo, stack.canRedo(), stack.redoText(), "Redo (Ctrl+Shift+Z)"),
        ):
            made.setEnabled(able)
            made.setToolTip(f"{verb}: {text}" if able and text else verb)

    def _problems_changed(self) -> None:
        """Refresh the panel and say why the start is not possible, if so."""
        self.panel.refresh()
        self.sections.refresh()
        settings = self.context.settings
        errors = settings.errors()
        self.train.setEnabled(not errors)
        if errors:
            lines = [f"{settings.entries[e.key].option.label}: {e.text}" for e in errors if e.key in settings.entries]
            self.train.setToolTip("Not yet possible.\n" + "\n".join(lines))
        else:
            self.train.setToolTip("Make a run folder with these settings and start training")

    def hidden(self) -> None:
        """Remember the splitter."""
        self.context.store.setValue("training/splitter", self.splitter.saveState())
