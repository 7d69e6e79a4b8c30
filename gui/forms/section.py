"""One section of a form: a card with a title, its basic options, and the advanced ones behind "more"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from gui.forms.row import LABEL_WIDTH, FieldRow
from gui.widgets.basics import button, label, set_icon

if TYPE_CHECKING:
    from gui.forms.plan import SectionPlan
    from gui.settings_model import SettingsModel


#: Wider sections are only emptier.
MAX_WIDTH = 920


class FormSection(QFrame):
    """Shows the options that matter now; rows are made when they are first shown.

    Signals:
        help_requested: Key of the option whose page in Help is wanted.
    """

    help_requested = Signal(str)

    def __init__(self, settings: SettingsModel, plan: SectionPlan, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setMaximumWidth(MAX_WIDTH)
        self.plan = plan
        self.rows: dict[str, FieldRow] = {}
        self.expanded = False
        self._settings = settings
        self._matches: dict[str, str] | None = None
        self._label_width = LABEL_WIDTH
        self._place = {key: number for number, key in enumerate(plan.keys)}
        self.more = button("", "more", "link")
        self.more.clicked.connect(lambda: self.set_expanded(not self.expanded))
        self._whole = layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 16, 16, 16)
        layout.setSpacing(16)
        layout.addWidget(label(plan.title, "heading"))
        self._body = QVBoxLayout()
        self._body.setSpacing(12)
        layout.addLayout(self._body)
        layout.addWidget(self.more)
        self.arrange()

    def set_expanded(self, expanded: bool) -> None:
        """Show or hide the advanced options."""
        self.expanded = expanded
        self.arrange()

    def set_width(self, width: int) -> None:
        """Fit labels and margins to the width of the form."""
        narrow = width < 520
        label_width = max(104, min(LABEL_WIDTH, int(width * 0.32))) if narrow else LABEL_WIDTH
        if label_width == self._label_width:
            return
        self._label_width = label_width
        self._whole.setContentsMargins(16 if narrow else 24, 16, 8 if narrow else 16, 16)
        for row in self.rows.values():
            row.set_label_width(label_width)

    def set_matches(self, matches: dict[str, str] | None) -> None:
        """Show only the options that a search found ({key: reason}); None ends the search."""
        self._matches = matches
        self.arrange()

    def wanted(self, key: str) -> bool:
        """Whether an option is to be seen now."""
        if self._matches is not None:
            return key in self._matches
        if not self._settings.visible(key):
            return False
        return self.expanded or self._settings.entries[key].option.level == "basic" or self._has_error(key)

    def _has_error(self, key: str) -> bool:
        problem = self._settings.problem_of(key) if key in self.rows else None
        return problem is not None and problem.severity == "error"

    def arrange(self) -> None:
        """Make the rows that are wanted and hide the others, label and all."""
        shown = 0
        for key in self.plan.keys:
            wanted = self.wanted(key)
            shown += wanted
            if wanted:
                row = self.row(key)
                row.set_reason(self._matches.get(key, "") if self._matches else "")
            if key in self.rows:
                self.rows[key].setVisible(wanted)
        self._tell_more()
        self.setVisible(shown > 0 or self._matches is None)

    def _tell_more(self) -> None:
        advanced = [key for key in self.plan.keys if self._settings.entries[key].option.level == "advanced"]
        count = sum(self._settings.visible(key) for key in advanced)
        changed = sum(self._settings.visible(key) and self._settings.differs(key) for key in advanced)
        words = f"{count} more option{'s' if count != 1 else ''}"
        words += f", {changed} changed" if changed and not self.expanded else ""
        self.more.setText("Fewer options" if self.expanded else words)
        set_icon(self.more, "less" if self.expanded else "more", "accent", 16)
        self.more.setVisible(count > 0 and self._matches is None)

    def row(self, key: str) -> FieldRow:
        """The row of an option of this section; made now if it was never shown."""
        if key not in self.rows:
            made = FieldRow(self._settings, self._settings.entries[key], bool(self._settings.chooser(key)))
            made.help_requested.connect(self.help_requested)
            before = sum(self._place[other] < self._place[key] for other in self.rows)
            self._body.insertWidget(before, made)
            made.set_label_width(self._label_width)
            self.rows[key] = made
            made.refresh_problem()
        return self.rows[key]

    def reveal(self, key: str) -> FieldRow:
        """Make sure that an option is seen, and return its row."""
        if not self.wanted(key):
            self._matches = None
            self.expanded = True
            self.arrange()
        return self.row(key)

    def refresh(self) -> None:
        """Everything anew: values, marks, problems."""
        self.arrange()
        for row in self.rows.values():
            row.refresh()

    def refresh_problems(self) -> None:
        """Findings changed."""
        for row in self.rows.values():
            row.refresh_problem()

    def weight(self) -> str:
        """The worst finding among the options of this section: "error", "warning" or ""."""
        keys = set(self.plan.keys)
        found = {problem.severity for problem in self._settings.problems() if problem.key in keys}
        return "error" if "error" in found else "warning" if "warning" in found else ""
