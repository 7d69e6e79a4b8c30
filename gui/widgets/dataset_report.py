"""The report of a dataset as cards: what the pictures are used for, what will happen to them, their buckets."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from core.data.picture_filter import PictureFilter
from core.quantities import show_share
from gui.widgets.basics import Scroller, button, card, label, row
from gui.widgets.bucket_chart import BucketChart, bucket_words
from gui.widgets.fact_lines import Fact, FactLines


def total_facts(report: Any) -> list[Fact]:
    """How many pictures there are and what they are used for."""
    facts: list[Fact] = [
        ("Pictures", f"{report.images:,}", "Files that can be used.", PictureFilter()),
        ("Trained on", f"{report.train:,}", "Pictures that the model learns.", PictureFilter(part="train")),
        (
            "Held out",
            f"{report.validation:,}",
            "Never trained on; the stable loss is measured on them.",
            PictureFilter(part="validation") if report.validation else None,
        ),
    ]
    if report.uses_per_epoch != report.train:
        facts.append(("Uses per epoch", f"{report.uses_per_epoch:,}", "With the repeats of folders.", None))
    short = f" {report.short_batches:,} of its batches are not full." if report.short_batches else ""
    tip = f"Changes of the weights in an epoch.{short}"
    return [*facts, ("Steps per epoch", f"{report.steps_per_epoch:,}", tip, None)]


def fate_facts(report: Any) -> list[Fact]:
    """What will happen to the pictures, each with its reason and the filter that shows them."""
    broken = len(report.broken)
    others = sum(one["count"] for one in report.dropped) - broken
    reasons = "; ".join(f"{one['count']:,} {one['what']}" for one in report.dropped)
    facts = [
        _fact("Left out, broken", broken, "Files that cannot be read.", "broken"),
        _fact("Left out otherwise", others, f"{reasons or 'Nothing'}.", "too small"),
        ("Cut off on average", show_share(report.cropped_share, 1), "Mean share that the bucket cuts off.", None),
        _fact("Cropped", report.cropped, "They lose more than 1 % of their pixels.", "cropped"),
        _fact("Enlarged", report.upscaled, "Smaller than their bucket.", "enlarged"),
        _fact("Without caption", report.without_caption, "Neither a .txt nor a .caption file.", "no caption"),
        _fact("Odd captions", report.caption_problem_count, "Read only in part.", "odd caption"),
        _fact(
            "Captions cut off",
            report.truncated,
            f"More than {report.token_limit} tokens; {report.tokens}.",
            "truncated",
        ),
        _fact("Duplicates", report.duplicates, "Files too many, byte for byte.", "duplicate"),
        _fact("Near duplicates", report.near_duplicates, "Pictures that only look alike.", "duplicate"),
    ]
    unknown = {"Captions cut off": report.uncounted, "Near duplicates": report.unseen}
    shown = [fact for fact in facts if fact[0] != "Left out otherwise" or others]
    return [_doubt(fact, unknown.get(fact[0], 0)) for fact in shown]


def _fact(what: str, count: int, tip: str, problem: str) -> Fact:
    return (what, f"{count:,}", tip, PictureFilter(problem=problem) if count else None)


def _doubt(fact: Fact, unknown: int) -> Fact:
    """A count that is not known for all pictures says so."""
    if not unknown:
        return fact
    what, count, tip, target = fact
    value = "not known yet" if count == "0" else f"{count} or more"
    return (what, value, f"{tip} {unknown:,} pictures were not looked at for it.", target)


class ReportView(Scroller):
    """The cards of the overview.

    Signals:
        filter_wanted: The PictureFilter that a clicked line means.
        bucket_clicked: (width, height) of a clicked bucket.
        work_wanted: What a button asks for: a key of core.data.learning's jobs.
    """

    filter_wanted = Signal(object)
    bucket_clicked = Signal(object)
    work_wanted = Signal(str)

    def __init__(self, *above: QWidget) -> None:
        super().__init__()
        self.totals, self.fates = FactLines(), FactLines()
        self.buckets = BucketChart(10)
        for lines in (self.totals, self.fates):
            lines.clicked.connect(self.filter_wanted)
        self.buckets.bucket_clicked.connect(self.bucket_clicked)
        self.count_tokens = button("Count tokens", "edit", tip="Find captions that are longer than the model reads")
        self.find_twins = button(
            "Find near duplicates", "twins", tip="Read every picture once, to find those that look alike"
        )
        self.count_tokens.clicked.connect(lambda: self.work_wanted.emit("tokens"))
        self.find_twins.clicked.connect(lambda: self.work_wanted.emit("twins"))
        self._cards = [
            card(label("The pictures", "heading"), self.totals),
            card(
                label("What will happen to them", "heading"),
                self.fates,
                row(self.count_tokens, None),
                row(self.find_twins, None),
            ),
            card(label("Pictures per bucket", "heading"), label("A click filters.", "dim"), self.buckets),
        ]
        self.show_items(*above, *self._cards)
        self.show_report(None)

    def show_filter(self, wanted: PictureFilter) -> None:
        """Mark what the grid is filtered by."""
        self.buckets.set_active(bucket_words(wanted.bucket) if wanted.bucket else "")

    def show_report(self, report: Any) -> None:
        """Show a report; None hides the cards."""
        for made in self._cards:
            made.setVisible(report is not None)
        if report is None:
            return
        self.totals.show_facts(total_facts(report))
        self.fates.show_facts(fate_facts(report))
        self.buckets.set_buckets(report.buckets)
        self.count_tokens.setVisible(report.uncounted > 0)
        self.find_twins.setVisible(report.unseen > 0)
