"""The left side of the Dataset page: filter, grid, and what can be done with the pictures that are picked in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QPoint, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QMenu, QProgressBar, QVBoxLayout, QWidget

from core.data.caption_edit import Part, text_change
from core.data.picture_filter import PictureFilter
from core.errors import UserError
from gui.widgets import caption_edits, index_questions
from gui.widgets.background import Background
from gui.widgets.basics import button, label, row, tool
from gui.widgets.bulk_captions import BulkCaptions
from gui.widgets.caption_edits import CaptionJobs, Picked
from gui.widgets.filter_bar import FilterBar
from gui.widgets.index_reader import IndexReader
from gui.widgets.thumbnail_grid import ThumbnailGrid

if TYPE_CHECKING:
    from core.data.applied import Applied
    from core.data.index import Picture
    from core.data.picture_filter import Facts


class PicturesPane(QWidget):
    """Shows one index. Questions of the page's other panels go through ask().

    Signals:
        selected: The Tile that has the keyboard now.
        opened: How many usable pictures the index holds.
        answered: (name, answer) of a question.
        captions_changed: Captions on the disk are others now.
        assistant_wanted: The caption assistant should open.
        hold_wanted: (signatures, whether to hold them out, None to leave them to chance).
        filter_changed: The PictureFilter that holds now.
        facts_changed: The Facts of the pictures.
        note: (sentence, level).
    """

    selected = Signal(object)
    opened = Signal(int)
    answered = Signal(str, object)
    captions_changed = Signal()
    assistant_wanted = Signal()
    hold_wanted = Signal(object, object)
    filter_changed = Signal(object)
    facts_changed = Signal(object)
    note = Signal(str, str)

    def __init__(self, applied: Applied) -> None:
        """`applied`: see DatasetScan."""
        super().__init__()
        self._applied = applied
        self.filter = FilterBar()
        self.grid = ThumbnailGrid()
        self.bulk: BulkCaptions | None = None
        self._reader: IndexReader | None = None
        self._settings: Any = None
        self._roots: list[str] = []
        self._whole = 0
        self._turns = CaptionJobs(self)
        self._journal = Background(self)
        self.picked = label("", "dim")
        self.edit = button("Edit captions…", "edit", tip="Find and replace, add, remove or rename in many captions")
        self.assistant = button("Write captions…", "sample", tip="Let a captioning model write tags or sentences")
        self.undo, self.redo = tool("undo", "Undo"), tool("redo", "Redo")
        self.busy = QProgressBar()
        self._lay_out()
        self._connect()
        self._show_selection(0)
        self._show_turns((None, None))

    def _lay_out(self) -> None:
        self.busy.setRange(0, 0)
        self.busy.hide()
        foot = QFrame()
        foot.setLayout(row(self.picked, None, self.busy, self.undo, self.redo, 4, self.assistant, self.edit))
        self.busy.setMaximumWidth(120)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(self.filter)
        layout.addWidget(self.grid, 1)
        layout.addWidget(foot)

    def _connect(self) -> None:
        self.filter.changed.connect(self._filter)
        self.grid.counted.connect(self._counted)
        self.grid.selected.connect(self.selected)
        self.grid.selection_changed.connect(self._show_selection)
        self.grid.menu_wanted.connect(self._menu)
        self.edit.clicked.connect(lambda: self.edit_captions())
        self.assistant.clicked.connect(self.assistant_wanted)
        self.undo.clicked.connect(lambda: self._turn(True))
        self.redo.clicked.connect(lambda: self._turn(False))
        self._turns.done.connect(self._turned)
        self._turns.failed.connect(self._turn_failed)
        self._turns.told.connect(self._tell)
        self._turns.busy_changed.connect(self.busy.setVisible)
        self._journal.done.connect(self._show_turns)

    # -- the index --------------------------------------------------------------------------------------------

    def show_index(self, path: Path | None, settings: Any = None, roots: Sequence[str] = ()) -> None:
        """Show the pictures of an index file; None shows nothing and ends the threads."""
        self._settings, self._roots, self._whole = settings, list(roots), 0
        if self.bulk is not None:
            self.bulk.close()
        reader = None if path is None else IndexReader(path, settings, self._applied)
        self._reader = reader
        self.grid.show_index(reader)
        if reader is None:
            return
        reader.opened.connect(self._opened)
        reader.answered.connect(self.answered)
        reader.answered.connect(self._answered)
        reader.facts_changed.connect(self._facts)
        reader.failed.connect(lambda text: self.note.emit(text, "error"))
        reader.show(self.filter.filter)
        self.refresh_turns()

    def follow(self, settings: Any, scanned: bool = False) -> None:
        """Other settings; `scanned`: the index holds other pictures or captions, too."""
        self._settings = settings
        if self._reader is not None:
            self._reader.follow(settings, self.filter.filter, scanned)

    def ask(self, name: str, question: Any) -> None:
        """Ask the index; the answer comes by the signal of that name."""
        if self._reader is not None:
            self._reader.ask(name, question)

    def drop(self, name: str) -> None:
        """Nobody wants that answer any more."""
        if self._reader is not None:
            self._reader.drop(name)

    @property
    def facts(self) -> Facts | None:
        """What is known of the pictures."""
        return self._reader.facts if self._reader is not None else None

    def _opened(self, count: int) -> None:
        self._whole = count
        self.opened.emit(count)

    def _facts(self, facts: Facts) -> None:
        """The menu of buckets follows the plan."""
        if facts.fits is not None:
            pairs = [pair for pair in zip(facts.fits.buckets, facts.counts, strict=True) if pair[1]]
            self.filter.buckets = sorted(pairs, key=lambda pair: -pair[1])
        view = self.grid.view
        if view is not None:
            self.filter.folders = view.columns.directories
        self.facts_changed.emit(facts)

    def _filter(self, wanted: PictureFilter) -> None:
        if self._reader is not None:
            self._reader.show(wanted)
        self.filter_changed.emit(wanted)

    def _counted(self, count: int, over: bool) -> None:
        self.filter.say_count(count, self._whole, over)
        self._show_selection(len(self.grid.selection))

    # -- what is picked ---------------------------------------------------------------------------------------

    def selection(self) -> Picked | None:
        """The selected pictures; None while there is no index."""
        view = self.grid.view
        return None if view is None else Picked(view, self.grid.selection.ranges)

    def shown(self) -> Picked | None:
        """All pictures that pass the filter."""
        view = self.grid.view
        return None if view is None else Picked(view, ((0, view.count),) if view.count else ())

    def chosen(self) -> Any:
        """What is picked, as the caption assistant takes it: the selected pictures, or all that are shown."""
        import numpy as np

        from core.caption_job import Chosen

        picked = self.selection()
        if self._reader is None or picked is None:
            return Chosen()
        picked = picked if picked.count else self.shown()
        parts = [np.array(part, dtype=np.int64) for part in picked.ids()] if picked else []
        ids = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        return Chosen(folders=self._roots, index=str(self._reader.path), ids=ids)

    def _show_selection(self, count: int) -> None:
        words = f"{count:,} selected" if count else "Nothing selected. Ctrl+A selects all that are shown."
        self.picked.setText(words)
        self.edit.setEnabled(self.grid.count > 0)
        self.assistant.setEnabled(self.grid.count > 0)

    def hold(self, hold: bool | None) -> None:
        """Hold the selected pictures out, train on them, or leave them to chance."""
        picked = self.selection()
        if picked is not None and picked.count:
            name = {True: "hold", False: "train", None: "chance"}[hold]
            self.ask(name, index_questions.signatures(picked))

    def _answered(self, name: str, answer: Any) -> None:
        holds: dict[str, bool | None] = {"hold": True, "train": False, "chance": None}
        if name in holds:
            self.hold_wanted.emit(answer, holds[name])

    def _menu(self, place: QPoint) -> None:
        menu = QMenu(self)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.addAction("Edit captions…", self.edit_captions)
        menu.addAction("Write captions…", self.assistant_wanted.emit)
        menu.addSeparator()
        menu.addAction("Hold out", lambda: self.hold(True))
        menu.addAction("Always train on", lambda: self.hold(False))
        menu.addAction("Leave to chance", lambda: self.hold(None))
        menu.addSeparator()
        tile = self.grid.tile(self.grid.selection.current)
        if tile is not None:
            path = tile.picture.path
            menu.addAction("Only this folder", lambda: self.filter.set(folder=str(Path(path).parent)))
            menu.addAction("Copy the path", lambda: QGuiApplication.clipboard().setText(path))
        menu.popup(place)

    # -- captions ---------------------------------------------------------------------------------------------

    def edit_captions(self, kind: str = "", tag: str = "") -> None:
        """Open the dialog for many captions; `kind` and `tag` are put into its fields."""
        selected, shown = self.selection(), self.shown()
        if self._reader is None or selected is None or shown is None:
            return
        if self.bulk is None:
            self.bulk = BulkCaptions(self.window())
            self.bulk.changed.connect(self._edited)
            self.bulk.failed.connect(lambda text: self.note.emit(text, "error"))
        separator = self._settings.data.separator
        self.bulk.offer(self._reader.path, self._roots, shown, selected, separator)
        if kind:
            self.bulk.prefill(kind, tag)
        self.bulk.show()
        self.bulk.raise_()

    def write(self, picture: Picture, part: Part, text: str) -> None:
        """Write one caption file, so that it can be undone; UserError where it cannot be written."""
        if self._reader is None:
            return
        try:
            change = text_change(picture.id, picture.path, part, text)
        except OSError as error:
            raise UserError(f"{picture.path}: its caption cannot be read ({error.strerror or error}).") from None
        journal = caption_edits.journal_of(self._reader.path, self._roots)
        outcome = journal.apply(f"Edit the caption of {Path(picture.path).name}", [change])
        if outcome.left:
            raise UserError(outcome.kept[0])
        self.ask(f"written {picture.id}", index_questions.written(picture.id, picture.path))
        self.refresh_turns()

    def _edited(self, words: str) -> None:
        """Many captions are others now."""
        if words:
            self.note.emit(words, "info")
        self.refresh_turns()
        self.follow(self._settings, scanned=True)
        self.captions_changed.emit()
        if self.bulk is not None and self.bulk.isVisible():
            self.edit_captions()

    # -- undo -------------------------------------------------------------------------------------------------

    def refresh_turns(self) -> None:
        """Ask the journal what can be undone."""
        if self._reader is not None:
            journal = caption_edits.journal_of(self._reader.path, self._roots)
            self._journal.start(lambda: (journal.undoable(), journal.redoable()))

    def _show_turns(self, entries: Any) -> None:
        for made, entry, verb in zip((self.undo, self.redo), entries, ("Undo", "Redo"), strict=True):
            files = f" ({entry.files:,} file{'s' if entry.files != 1 else ''})" if entry and entry.files > 0 else ""
            cut_off = " It was cut off before its end." if entry and entry.state == "unfinished" else ""
            tip = f"{verb}: {entry.words}{files}.{cut_off}" if entry else f"No edit of captions to {verb.lower()}"
            made.setToolTip(tip)
            made.setAccessibleName(tip)
            made.setEnabled(entry is not None)

    def _turn(self, back: bool) -> None:
        if self._reader is not None:
            journal = caption_edits.journal_of(self._reader.path, self._roots)
            self._turns.start(self._reader.path, caption_edits.turn(journal, back))

    def _tell(self, done: int, total: int) -> None:
        self.busy.setRange(0, max(1, total))
        self.busy.setValue(done)

    def _turned(self, outcome: Any) -> None:
        if outcome is not None:
            words = f"{outcome.files:,} caption file{'s' if outcome.files != 1 else ''} changed back."
            left = f" {outcome.left:,} left as they are: {outcome.kept[0]}" if outcome.left else ""
            self._edited(words + left)

    def _turn_failed(self, text: str) -> None:
        if text:
            self.note.emit(text, "error")
        self._edited("")

    def close_all(self) -> None:
        """End the threads: the window is closing."""
        self._turns.close()
        if self.bulk is not None:
            self.bulk.end()
            self.bulk.close()
        self.grid.close_reader()
        self._reader = None
