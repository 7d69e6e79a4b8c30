"""Dataset: the folders, the pictures with their captions, and the report of what will happen to them."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QSplitter,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from gui.context import Context
from gui.forms import editors
from gui.pages.base import Page
from gui.widgets.basics import Empty, button, card, column, label, row, set_icon
from gui.widgets.caption_panel import CaptionPanel
from gui.widgets.dataset_report import ProblemsView, ReportView
from gui.widgets.dataset_scan import DatasetScan, index_file
from gui.widgets.index_reader import IndexReader
from gui.widgets.thumbnail_grid import ThumbnailGrid

FOLDERS = "data.folders"
_NO_FOLDER = "Add a folder of pictures. Captions lie beside each picture, in a .txt or .caption file of the same name."
_NOT_LOOKED = (
    "Burnish reads sizes and captions once, then tells what will be cropped, enlarged or left out. Nothing is changed."
)
#: Pages of the settings on which the report hangs.
_PAGES = ("data", "validation", "training", "hardware")


class DatasetPage(Page):
    """Assembles grid and panels; the pictures are looked at in another thread."""

    name: ClassVar[str] = "dataset"
    title: ClassVar[str] = "Dataset"
    icon: ClassVar[str] = "dataset"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.scan = DatasetScan(self)
        self.look = button("Look at the pictures", "search", "primary")
        self.filter = QLineEdit()
        self.grid = ThumbnailGrid()
        self.captions = CaptionPanel()
        self.problems = ProblemsView()
        self.progress = QProgressBar()
        self.stack = QStackedWidget()
        self._words = label("", "dim")
        self._count = label("", "dim")
        self._scanned: list[str] = []
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(400)
        self._make_folders()
        self._lay_out()
        self._connect()
        self._folders_changed()

    def _make_folders(self) -> None:
        entry = self.context.settings.entries[FOLDERS]
        self.folders = editors.make(entry)
        self.report = ReportView(card(label("Folders", "heading"), self.folders))

    def _lay_out(self) -> None:
        self.filter.setPlaceholderText("Filter by file name, tag or caption")
        self.filter.setClearButtonEnabled(True)
        self.filter.setFixedWidth(320)
        shown = QWidget()
        shown.setLayout(column(row(self.filter, 8, self._count, None), self.grid, spacing=16))
        self._no_folder = Empty("dataset", "No pictures yet", _NO_FOLDER, self._add_button())
        again = button("Look at the pictures", "search", "primary")
        again.clicked.connect(self.start)
        self._not_looked = Empty("search", "Not looked at yet", _NOT_LOOKED, again)
        self._working_page, self._shown_page = self._working(), shown
        for widget in (self._no_folder, self._not_looked, self._working_page, self._shown_page):
            self.stack.addWidget(widget)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.addTab(self.report, "Overview")
        self.tabs.addTab(_padded(self.captions), "Picture")
        self.tabs.addTab(self.problems, "Problems")
        self.tabs.setMinimumWidth(304)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.addWidget(self.stack)
        self.splitter.addWidget(self.tabs)
        self.splitter.setHandleWidth(16)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setSizes([800, 320])
        for number in range(2):
            self.splitter.setCollapsible(number, False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 8, 16, 16)
        layout.addWidget(self.splitter)
        state = self.context.store.value("dataset/splitter")
        if state is not None:
            self.splitter.restoreState(state)

    def _add_button(self) -> QWidget:
        add = button("Add a folder…", "plus", "primary")
        add.clicked.connect(lambda: self.folders.browse())  # type: ignore[attr-defined]
        return add

    def _working(self) -> QWidget:
        stop = button("Stop", "stop")
        stop.clicked.connect(self.scan.cancel)
        head = label("Looking at the pictures", "heading")
        made = card(head, self._words, self.progress, row(None, stop), margins=24)
        made.setFixedWidth(440)
        ground = QWidget()
        ground.setLayout(column(None, row(None, made, None), None))
        return ground

    def _connect(self) -> None:
        settings = self.context.settings
        self.folders.edited.connect(lambda value: settings.set(FOLDERS, value))
        settings.value_changed.connect(self._value_changed)
        settings.preset_changed.connect(self._folders_changed)
        self.look.clicked.connect(self.start)
        self.scan.began.connect(self._began)
        self.scan.progress.connect(self._tell_progress)
        self.scan.done.connect(self._done)
        self.scan.failed.connect(self._failed)
        self.filter.textChanged.connect(self.grid.set_filter)
        self.grid.counted.connect(lambda count: self._count.setText(f"{count:,} pictures"))
        self.grid.selected.connect(self._select)
        self.captions.written.connect(self.grid.replace_tile)
        self.captions.failed.connect(lambda text: self.context.note.emit(text, "error"))
        self.report.tag_clicked.connect(self.filter.setText)
        self._later.timeout.connect(self._report_anew)

    def primary_actions(self) -> list[QWidget]:
        """ "Look at the pictures"."""
        return [self.look]

    # -- the folders ------------------------------------------------------------------------------------------

    def _value_changed(self, key: str) -> None:
        if key == FOLDERS:
            self._folders_changed()
        elif self.context.report is not None and key.split(".")[0] in _PAGES:
            self._later.start()

    def _folders_changed(self) -> None:
        """Show the folders; what was seen of others is no longer true."""
        folders = list(self.context.settings.value(FOLDERS))
        self.folders.show_value(folders)
        self.look.setEnabled(bool(folders))
        if folders == self._scanned and folders:
            return
        self._scanned = []
        self._set_report(None)
        self.grid.show_index(None)
        self.stack.setCurrentWidget(self._not_looked if folders else self._no_folder)

    # -- looking ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look at the pictures of the folders, in another thread."""
        self.captions.save()
        settings = self.context.settings.sound_settings()
        if settings is None:
            self.context.note.emit("The settings are impossible as they are; Training says why.", "error")
        else:
            self.scan.start(settings)

    def _report_anew(self) -> None:
        """The settings changed: the same pictures fare differently."""
        settings = self.context.settings.sound_settings()
        if settings is not None and self._scanned:
            self.scan.start(settings, rescan=False)

    def _began(self) -> None:
        self.progress.setRange(0, 0)
        self._words.setText("Listing the files")
        self.stack.setCurrentWidget(self._working_page)
        self.look.setEnabled(False)

    def _tell_progress(self, done: int, total: int) -> None:
        self.progress.setRange(0, max(total, 1))
        self.progress.setValue(done)
        self._words.setText(f"{done:,} of {total:,}")

    def _done(self, report: Any) -> None:
        settings = self.context.settings.sound_settings()
        folders = list(self.context.settings.value(FOLDERS))
        self.look.setEnabled(True)
        self.look.setText("Look again")
        set_icon(self.look, "search", "on_accent")
        if settings is not None and (folders != self._scanned or self.stack.currentWidget() is not self._shown_page):
            self._scanned = folders
            self.grid.show_index(IndexReader(index_file(settings), settings.data))
        self._set_report(report)
        self.stack.setCurrentWidget(self._shown_page)

    def _failed(self, text: str) -> None:
        self.look.setEnabled(True)
        self._scanned = []
        self.stack.setCurrentWidget(self._not_looked)
        if text:
            self.context.note.emit(text, "error")

    def _set_report(self, report: Any) -> None:
        self.report.show_report(report)
        self.problems.show_report(report)
        count = self.problems.count
        self.tabs.setTabText(2, f"Problems ({count:,})" if count else "Problems")
        if report is not self.context.report:
            self.context.report = report
            self.context.dataset_changed.emit(report)

    def _select(self, tile: Any) -> None:
        self.captions.show_tile(tile)
        self.tabs.setCurrentIndex(1)

    # -- coming and going -------------------------------------------------------------------------------------

    def hidden(self) -> None:
        """Save captions, remember the splitter."""
        self.captions.save()
        self.context.store.setValue("dataset/splitter", self.splitter.saveState())

    def closed(self) -> None:
        """End the threads: the window is closing."""
        self.scan.close()
        self.grid.close_reader()


def _padded(widget: QWidget) -> QWidget:
    ground = QWidget()
    layout = QHBoxLayout(ground)
    layout.setContentsMargins(0, 0, 8, 0)
    layout.addWidget(widget)
    return ground
