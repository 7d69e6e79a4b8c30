"""A whole form: all sections in one scroll area, made from the schema of any settings model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QApplication, QFrame, QScrollArea, QVBoxLayout, QWidget

from gui.forms.plan import sections
from gui.forms.row import FieldRow
from gui.forms.search import Search
from gui.forms.section import FormSection
from gui.widgets.basics import Empty

if TYPE_CHECKING:
    from gui.forms.plan import SectionPlan
    from gui.settings_model import SettingsModel


class Form(QScrollArea):
    """Edits a SettingsModel. Sections are built one after the other between the window's events.

    Signals:
        built: All sections stand.
        section_reached: Title of the section that is at the top now.
        help_requested: Key of the option whose page in Help is wanted.
    """

    built = Signal()
    section_reached = Signal(str)
    help_requested = Signal(str)

    def __init__(self, settings: SettingsModel, pages: Iterable[str] | None = None, margin: int = 24) -> None:
        """`pages`: show only options of these pages of the model (and of the components they choose)."""
        super().__init__()
        self.settings = settings
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.sections: dict[str, FormSection] = {}
        self.plans = _only(sections(settings), settings, pages)
        self._waiting = list(self.plans)
        self._search: Search | None = None
        self._text = ""
        self._active: FieldRow | None = None
        self._lay_out(margin)
        self._connect()
        self._build_some(1)

    def _lay_out(self, margin: int) -> None:
        self._ground = ground = QWidget()
        ground.setObjectName("scrolled")
        self._column = QVBoxLayout(ground)
        self._column.setContentsMargins(0, 0, margin // 2, margin)
        self._column.setSpacing(16)
        self._nothing = Empty(
            "search",
            "Nothing is called that",
            "Try a part of the word, or the name that another trainer gives it.",
        )
        self._nothing.hide()
        self._column.addWidget(self._nothing)
        self._column.addStretch(1)
        self.setWidget(ground)

    def _connect(self) -> None:
        model = self.settings
        model.value_changed.connect(self._value_changed)
        model.visibility_changed.connect(self._arrange)
        model.problems_changed.connect(self._problems_changed)
        model.preset_changed.connect(self._refresh)
        self.verticalScrollBar().valueChanged.connect(lambda _: self._tell_place())
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.focusChanged.connect(self._focus_changed)
        self._builder = QTimer(self)
        self._builder.setSingleShot(True)
        self._builder.timeout.connect(lambda: self._build_some(1))

    # -- building ---------------------------------------------------------------------------------------------

    def _build_some(self, count: int) -> None:
        for plan in self._waiting[:count]:
            section = FormSection(self.settings, plan, self._ground)
            section.help_requested.connect(self.help_requested)
            section.set_width(self.viewport().width())
            self._column.insertWidget(len(self.sections), section)
            self.sections[plan.title] = section
        self._waiting = self._waiting[count:]
        if self._waiting:
            self._builder.start()
        else:
            self.built.emit()

    def ensure_built(self) -> None:
        """Build what is still missing, now."""
        if self._waiting:
            self._build_some(len(self._waiting))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """A narrow form gives its labels less room."""
        super().resizeEvent(event)
        for section in self.sections.values():
            section.set_width(self.viewport().width())

    # -- following the model ----------------------------------------------------------------------------------

    def _value_changed(self, key: str) -> None:
        row = self.find_row(key)
        if row is not None:
            row.refresh()

    def _arrange(self) -> None:
        for section in self.sections.values():
            section.arrange()

    def _problems_changed(self) -> None:
        for section in self.sections.values():
            section.refresh_problems()
            section.arrange()

    def _refresh(self) -> None:
        for section in self.sections.values():
            section.refresh()

    def _focus_changed(self, _: QWidget | None, now: QWidget | None) -> None:
        """Show the help of the row that holds the keyboard."""
        row = now
        while row is not None and not isinstance(row, FieldRow):
            row = row.parentWidget()
        if isinstance(row, FieldRow) and not self.isAncestorOf(row):
            row = None
        if row is self._active or (row is None and now is None):
            return
        if self._active is not None:
            self._active.set_active(False)
        self._active = row
        if row is not None:
            row.set_active(True)
            QTimer.singleShot(0, self._keep_active_in_sight)

    def _keep_active_in_sight(self) -> None:
        if self._active is not None:
            self.ensureWidgetVisible(self._active, 0, 24)

    # -- finding ----------------------------------------------------------------------------------------------

    def find_row(self, key: str) -> FieldRow | None:
        """The row of an option, None when it was never shown."""
        for section in self.sections.values():
            if key in section.rows:
                return section.rows[key]
        return None

    def filter(self, text: str) -> int:
        """Show only what a search finds, everything again for ""; returns how many options are shown."""
        self._text = text.strip()
        self.ensure_built()
        if not self._text:
            for section in self.sections.values():
                section.set_matches(None)
            self._nothing.hide()
            return len(self.settings.entries)
        if self._search is None:
            self._search = Search(self.settings)
        matches = self._search.matches(self._text)
        shown = {key for section in self.sections.values() for key in section.plan.keys} & set(matches)
        for section in self.sections.values():
            section.set_matches({key: matches[key] for key in section.plan.keys if key in matches})
        self._nothing.setVisible(not shown)
        self.verticalScrollBar().setValue(0)
        return len(shown)

    def focus_field(self, key: str) -> bool:
        """Scroll to an option and put the keyboard into it; False when this form does not have it."""
        self.ensure_built()
        for section in self.sections.values():
            if key in section.plan.keys:
                if self._text:
                    self.filter("")
                row = section.reveal(key)
                self._column.activate()
                QApplication.sendPostedEvents()
                self.ensureWidgetVisible(row, 0, 120)
                row.editor.setFocus(Qt.FocusReason.OtherFocusReason)
                return True
        return False

    def show_section(self, title: str) -> None:
        """Scroll to a section."""
        self.ensure_built()
        self._column.activate()
        QApplication.sendPostedEvents()
        self.verticalScrollBar().setValue(self.sections[title].y())

    def _tell_place(self) -> None:
        """Tell which section is at the top; the last one when the end is reached."""
        bar = self.verticalScrollBar()
        seen = [section for section in self.sections.values() if section.isVisible()]
        if not seen:
            return
        above = [section for section in seen if section.y() <= bar.value() + 24]
        at_end = bar.value() >= bar.maximum() and bar.maximum() > 0
        self.section_reached.emit((seen[-1] if at_end else above[-1] if above else seen[0]).plan.title)


def _only(plans: list[SectionPlan], settings: SettingsModel, pages: Iterable[str] | None) -> list[SectionPlan]:
    """The plans cut down to the options of some pages."""
    if pages is None:
        return plans
    wanted = set(pages)
    for plan in plans:
        keys = plan.keys
        plan.keys = [
            key for key in keys if settings.entries[key].page in wanted or settings.chooser(key).split(".")[0] in wanted
        ]
    return [plan for plan in plans if plan.keys]
