"""What the settings mean, always live: steps, epochs, checkpoints, memory and its fit, buckets, problems."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal

from core.quantities import show_bytes, show_number, show_rounded
from gui.widgets.basics import Scroller, card, label
from gui.widgets.bucket_chart import BucketChart
from gui.widgets.facts import Facts
from gui.widgets.fit_card import FitCard
from gui.widgets.launch_card import LaunchCard
from gui.widgets.problem_list import ProblemList

if TYPE_CHECKING:
    from core.outlook import Outlook
    from gui.context import Context


def free_disk(folder: Path) -> int | None:
    """Free bytes where runs will be written; None when nobody can say."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def fact_rows(found: Outlook, free_bytes: int | None) -> list[tuple[str, str, str]]:
    """The table of the panel: what, how much, and how it comes about."""
    unknown = "look at the pictures first"
    rows = [
        (
            "Steps",
            show_number(found.steps) if found.steps else "not set",
            "Changes of the weights until the end.",
        ),
        (
            "Epochs",
            show_number(round(found.epochs, 1)) if found.epochs else "—",
            "How often every training picture is seen" + ("." if found.epochs else f"; {unknown}."),
        ),
        (
            "Steps per epoch",
            show_number(round(found.steps_per_epoch)) if found.steps_per_epoch else "—",
            "Steps in which every training picture is seen once" + ("." if found.steps_per_epoch else f"; {unknown}."),
        ),
        (
            "Pictures seen",
            show_number(found.images) if found.images else "—",
            "Steps times the effective batch.",
        ),
        ("Effective batch", show_number(found.images_per_step), "Batch size × accumulation × GPUs."),
        (
            "Checkpoints",
            show_number(found.checkpoints) if found.checkpoints else "—",
            "Models saved until the end.",
        ),
    ]
    if found.rate_scaled:
        rate = show_rounded(found.learning_rate, 4)
        rows.append(("Learning rate", rate, "What is trained with: the rate, scaled with the effective batch."))
    if free_bytes is not None:
        rows.append(("Free disk", show_bytes(free_bytes), "Room on the disk that the runs are written to."))
    return rows


class OutlookPanel(Scroller):
    """Follows the settings and the report of the dataset."""

    field_chosen = Signal(str)

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self.facts = Facts()
        self.fit = FitCard()
        self.launch = LaunchCard()
        self.problems = ProblemList("Nothing speaks against a start.")
        self.problems.chosen.connect(self.field_chosen)
        self.buckets = BucketChart(8)
        self._buckets_note = label("", "dim", wrap=True)
        self._lay_out()
        context.settings.problems_changed.connect(self.refresh)
        context.dataset_changed.connect(lambda _: self.refresh())

    def _lay_out(self) -> None:
        means = card(label("What it means", "heading"), self.facts)
        against = card(label("Before the start", "heading"), self.problems)
        sizes = card(label("Pictures per bucket", "heading"), self._buckets_note, self.buckets)
        self.show_items(means, against, self.fit, self.launch, sizes)

    def refresh(self) -> None:
        """Everything anew."""
        model = self._context.settings
        names = {key: entry.option.label for key, entry in model.entries.items()}
        self.problems.show_problems(model.problems(), names)
        self._show_report(self._context.report)
        settings = model.sound_settings()
        if settings is not None:
            self._show_outlook(settings)

    def _show_outlook(self, settings: Any) -> None:
        from core import paths
        from core.data.assignment import batch_of
        from core.outlook import outlook

        report: Any = self._context.report
        pictures = batches = cached = None
        if report is not None:
            pictures, cached = report.train, report.train + report.validation
            # the report may still be of the batch size before
            batches = report.batches_of(batch_of(settings)) * settings.hardware.processes
        self.fit.ask(settings, pictures, batches, cached)
        self.launch.show_processes(settings.hardware.processes)
        folder = paths.resolve(settings.output.folder) if settings.output.folder else paths.runs_folder()
        self.facts.show_rows(fact_rows(outlook(settings, pictures, batches), free_disk(folder)))

    def _show_report(self, report: Any) -> None:
        self.buckets.setVisible(report is not None)
        if report is None:
            self._buckets_note.setText("Open Dataset and look at the pictures: then their sizes are shown here.")
            return
        self._buckets_note.setText(f"{report.train:,} trained on, {report.validation:,} held out")
        self.buckets.set_buckets(report.buckets)
