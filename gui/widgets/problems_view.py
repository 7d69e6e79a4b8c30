"""What is wrong with single pictures: broken files, odd captions, duplicates, the worst crops; each leads to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout

from core.data.picture_filter import STRONG_CROP, PictureFilter
from core.quantities import show_share
from gui.widgets.basics import IconLabel, Item, Scroller, button, card, column, label, row
from gui.widgets.picture_box import PictureBox

#: Rows of a kind that are shown; the filter shows them all.
_MOST_ROWS, _MOST_BOXES = 100, 3


@dataclass(frozen=True, slots=True)
class Group:
    """Problems of one kind: how many there are, and (path, reason) of some; `filter` shows them all."""

    title: str
    words: str
    icon: str
    token: str
    count: int
    filter: PictureFilter
    items: Sequence[tuple[str, str]]


def groups_of(report: Any) -> list[Group]:
    """The groups of a report that have anything in them."""
    cropped = [one for one in report.most_cropped if one["share"] > STRONG_CROP]
    found = [
        Group(
            "Broken, left out",
            "They are skipped; everything else goes on.",
            "error",
            "bad",
            len(report.broken),
            PictureFilter(problem="broken"),
            [(one["path"], one["reason"]) for one in report.broken[:_MOST_ROWS]],
        ),
        Group(
            "Odd captions",
            "They are used as far as they can be read.",
            "warning",
            "warn",
            report.caption_problem_count,
            PictureFilter(problem="odd caption"),
            [(one["path"], one["problem"]) for one in report.caption_problems[:_MOST_ROWS]],
        ),
        Group(
            "Captions cut off",
            f"The model reads {report.token_limit} tokens of them. The longest:",
            "scissors",
            "warn",
            report.truncated,
            PictureFilter(problem="truncated"),
            [(one["path"], f"{one['tokens']} tokens") for one in report.longest],
        ),
        Group(
            "Cropped most",
            "Another resolution or bucket step may fit them better.",
            "crop",
            "dim",
            len(cropped),
            PictureFilter(problem="strongly cropped"),
            [(one["path"], f"{show_share(one['share'])} of it is cropped") for one in cropped],
        ),
    ]
    return [group for group in found if group.count]


class ProblemsView(Scroller):
    """The groups as cards.

    Signals:
        filter_wanted: The PictureFilter that shows the pictures of a line or a group.
    """

    filter_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.groups: list[Group] = []

    def show_report(self, report: Any) -> None:
        """Show what is wrong; with nothing wrong, say so."""
        self.groups = [] if report is None else groups_of(report)
        self.count = 0 if report is None else len(report.broken) + report.caption_problem_count
        cards: list[Item] = [self._card(group) for group in self.groups]
        if report is not None and report.duplicate_groups:
            cards.insert(len(cards) - any(one.icon == "crop" for one in self.groups), self._twins(report))
        if not cards:
            fine = "No picture is broken, no caption is cut off, and every caption file can be read."
            words = fine if report is not None else "What is wrong with single pictures will be listed here."
            cards.append(card(row(IconLabel("check" if report else "info", "dim"), label(words, "dim", wrap=True))))
        self.show_items(*cards)

    def _card(self, group: Group) -> QFrame:
        lines: list[Item] = []
        for path, reason in group.items:
            line = _Line(group, path, reason)
            line.clicked.connect(self.filter_wanted)
            lines.append(line)
        return card(*self._head(f"{group.title} ({group.count:,})", group.words, group.filter), *lines, spacing=4)

    def _twins(self, report: Any) -> QFrame:
        """The largest groups of duplicates, side by side."""
        many = report.duplicates + report.near_duplicates
        head = self._head(
            f"Duplicates ({many:,})",
            "Pictures that are too many. They never stand on both sides of the held-out border.",
            PictureFilter(problem="duplicate"),
        )
        lines: list[Item] = []
        for group in report.duplicate_groups:
            boxes = QHBoxLayout()
            boxes.setSpacing(8)
            for path in group["paths"][:_MOST_BOXES]:
                box = PictureBox(72)
                box.setToolTip(path)
                box.show_path(path)
                boxes.addWidget(box)
            lines += [boxes, label(f"{group['count']:,} alike: {Path(group['paths'][0]).name} …", "dim", wrap=True)]
        return card(*head, *lines)

    def _head(self, title: str, words: str, wanted: PictureFilter) -> tuple[Item, ...]:
        show = button("Show them", look="link")
        show.clicked.connect(lambda: self.filter_wanted.emit(wanted))
        return label(title, "heading"), label(words, "dim", wrap=True), row(show, None)


class _Line(QFrame):
    """One picture and what is wrong with it.

    Signals:
        clicked: The PictureFilter that shows it.
    """

    clicked = Signal(object)

    def __init__(self, group: Group, path: str, reason: str) -> None:
        super().__init__()
        name = Path(path).name
        self._filter = PictureFilter(text=name, problem="broken" if group.filter.problem == "broken" else "")
        self.setProperty("factline", True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setToolTip(f"{path}\nClick to see it.")
        self.setAccessibleName(f"{name}: {reason}")
        text = column(
            label(name, "value", wrap=True), label(reason[:1].upper() + reason[1:], "dim", wrap=True), spacing=2
        )
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 4, 0, 4)
        line.setSpacing(8)
        line.addWidget(IconLabel(group.icon, group.token, 16), 0, Qt.AlignmentFlag.AlignTop)
        line.addLayout(text, 1)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click leads to the picture."""
        self.clicked.emit(self._filter)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """So do Enter and space."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit(self._filter)
        else:
            super().keyPressEvent(event)
