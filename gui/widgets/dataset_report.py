"""The report of a dataset as cards: what will happen to the pictures, buckets, tags; and the list of what is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QWidget

from gui.widgets.basics import IconLabel, Item, Scroller, card, column, label, row
from gui.widgets.bucket_chart import BarChart, BucketChart
from gui.widgets.facts import Facts

#: Rows of problems that are shown; the command line lists them all.
_MOST_ROWS = 300


def total_rows(report: Any) -> list[tuple[str, str, str]]:
    """How many pictures there are and what they are used for."""
    return [
        ("Pictures", f"{report.images:,}", "Files that can be used."),
        ("Trained on", f"{report.train:,}", "Pictures that the model learns."),
        ("Held out", f"{report.validation:,}", "Never trained on; the stable loss is measured on them."),
        (
            "Steps per epoch",
            f"{report.steps_per_epoch:,}",
            "Steps in which every training picture is seen once.",
        ),
    ]


def fate_rows(report: Any) -> list[tuple[str, str, str]]:
    """What will happen to the pictures, each with its reason."""
    return [
        (
            "Left out, broken",
            f"{len(report.broken):,}",
            "Files that cannot be read; the list is under Problems.",
        ),
        (
            "Cropped",
            f"{report.cropped_share:.1%}",
            "Mean share of a picture that is cut off to fit its bucket.",
        ),
        ("Enlarged", f"{report.upscaled:,}", "Pictures that are smaller than their bucket."),
        (
            "Without caption",
            f"{report.without_caption:,}",
            "Pictures with neither a .txt nor a .caption file.",
        ),
        (
            "Odd captions",
            f"{len(report.caption_problems):,}",
            "Caption files that could only be read in part.",
        ),
    ]


class ReportView(Scroller):
    """The cards of the overview.

    Signals:
        tag_clicked: A tag that the grid should show.
    """

    tag_clicked = Signal(str)

    def __init__(self, *above: QWidget) -> None:
        super().__init__()
        self.totals, self.fates = Facts(), Facts()
        self.buckets = BucketChart(10)
        self.tags = BarChart(12, 120)
        self.tags.setCursor(Qt.CursorShape.PointingHandCursor)
        self.tags.clicked.connect(self.tag_clicked)
        self._tags_card = card(label("Most frequent tags", "heading"), label("A click filters.", "dim"), self.tags)
        self._cards = [
            card(label("The pictures", "heading"), self.totals),
            card(label("What will happen to them", "heading"), self.fates),
            card(label("Pictures per bucket", "heading"), self.buckets),
            self._tags_card,
        ]
        self.show_items(*above, *self._cards)
        self.show_report(None)

    def show_report(self, report: Any) -> None:
        """Show a report; None hides the cards."""
        for made in self._cards:
            made.setVisible(report is not None)
        if report is None:
            return
        self.totals.show_rows(total_rows(report))
        self.fates.show_rows(fate_rows(report))
        self.buckets.set_buckets(report.buckets)
        self.tags.set_bars(list(report.tags.items()))
        self._tags_card.setVisible(bool(report.tags))


class ProblemsView(Scroller):
    """Broken pictures and odd captions with their reasons."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def show_report(self, report: Any) -> None:
        """Show what is wrong; with nothing wrong, say so."""
        cards: list[Item] = []
        broken = [] if report is None else [(item["path"], item["reason"]) for item in report.broken]
        captions = [] if report is None else [(item["path"], item["problem"]) for item in report.caption_problems]
        most_cropped = [] if report is None else [item for item in report.most_cropped if item["share"] > 0.15]
        cropped = [(item["path"], f"{item['share']:.0%} of it is cropped") for item in most_cropped]
        self.count = len(broken) + len(captions)
        groups = (
            ("Broken, left out", "They are skipped; everything else goes on.", "error", "bad", broken),
            ("Odd captions", "They are used as far as they can be read.", "warning", "warn", captions),
            (
                "Cropped most",
                "Another resolution or bucket step may fit them better.",
                "info",
                "dim",
                cropped,
            ),
        )
        for title, words, icon, token, items in groups:
            if items:
                cards.append(_group(title, words, icon, token, items))
        if not any(group[4] for group in groups):
            fine = "No picture is broken, and every caption file can be read."
            cards.append(card(row(IconLabel("check", "good"), label(fine, "dim", wrap=True))))
        self.show_items(*cards)


def _group(title: str, words: str, icon: str, token: str, items: list[tuple[str, str]]) -> QFrame:
    lines: list[Item] = []
    for path, reason in items[:_MOST_ROWS]:
        name = label(Path(path).name, "value", wrap=True)
        name.setToolTip(path)
        text = column(name, label(reason[:1].upper() + reason[1:], "dim", wrap=True), spacing=2)
        line = row(spacing=8)
        line.addWidget(IconLabel(icon, token, 16), 0, Qt.AlignmentFlag.AlignTop)
        line.addLayout(text, 1)
        lines.append(line)
    if len(items) > _MOST_ROWS:
        lines.append(label(f"and {len(items) - _MOST_ROWS:,} more", "dim"))
    return card(label(f"{title} ({len(items):,})", "heading"), label(words, "dim", wrap=True), *lines)
