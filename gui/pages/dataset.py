"""Dataset: the folders, the pictures with their captions, and the report of what will happen to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QPushButton, QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from core.data.applied import Applied
from core.data.token_jobs import TokenCounter
from gui.context import Context
from gui.pages.base import Page
from gui.widgets import index_questions
from gui.widgets.basics import Empty, button, card, column, label, set_icon
from gui.widgets.caption_panel import CaptionPanel
from gui.widgets.dataset_report import ReportView
from gui.widgets.dataset_scan import DatasetScan, index_file
from gui.widgets.drops import dropped_paths
from gui.widgets.folders_panel import FoldersPanel
from gui.widgets.looking import Looking
from gui.widgets.pictures_pane import PicturesPane
from gui.widgets.problems_view import ProblemsView
from gui.widgets.tag_panel import TagPanel

if TYPE_CHECKING:
    from core.data.picture_filter import PictureFilter
    from gui.widgets.picture_views import Tile

FOLDERS, RULES = "data.folders", "data.folder_rules"
CHOSEN, NEVER = "validation.chosen", "validation.never"
_NO_FOLDER = (
    "Add a folder of pictures, or drop one here. Captions lie beside each picture, in a .txt or .caption file of the "
    "same name."
)
_NOT_LOOKED = (
    "Burnish reads sizes and captions once, then tells what will be cropped, enlarged or left out. Nothing is changed."
)
#: Pages of the settings on which the report hangs.
_PAGES = ("data", "validation", "training", "hardware")
_OVERVIEW, _PICTURE, _TAGS, _PROBLEMS = range(4)


class DatasetPage(Page):
    """Assembles grid and panels; the pictures are looked at in another thread."""

    name: ClassVar[str] = "dataset"
    title: ClassVar[str] = "Dataset"
    icon: ClassVar[str] = "dataset"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._counter = TokenCounter()
        applied = Applied(self._counter.open)
        self.scan = DatasetScan(applied, self)
        self.look = button("Look at the pictures", "search", "primary")
        self.pane = PicturesPane(applied)
        self.captions = CaptionPanel(self.pane.write, self._counter)
        self.tags = TagPanel()
        self.problems = ProblemsView()
        self.stack, self.tabs = QStackedWidget(), QTabWidget()
        self._scanned: list[str] = []
        self._assistant: Any = None
        self._walked_to: Tile | None = None
        self._later = QTimer(self, singleShot=True, interval=400)
        self._resting = QTimer(self, singleShot=True, interval=60)
        entries = context.settings.entries
        self.folders = FoldersPanel(entries[FOLDERS], entries.get(RULES))
        self.report = ReportView(card(label("Folders", "heading"), self.folders))
        self._lay_out()
        self._connect()
        self.setAcceptDrops(True)
        self._folders_changed()

    @property
    def grid(self) -> Any:
        """The grid of thumbnails."""
        return self.pane.grid

    # -- putting together -------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        add, archive = button("Add a folder…", "plus", "primary"), button("Archive…", "plus", "quiet")
        add.clicked.connect(self.folders.browse)
        archive.clicked.connect(self.folders.browse_archive)
        self._no_folder = Empty("dataset", "No pictures yet", _NO_FOLDER, add, archive)
        self._not_looked = Empty("search", "Not looked at yet", _NOT_LOOKED, self._look_button())
        self._working, self._slim = Looking(slim=False), Looking(slim=True)
        self._slim.hide()
        self._shown_page = QWidget()
        self._shown_page.setLayout(column(self._slim, self.pane, spacing=8))
        for widget in (self._no_folder, self._not_looked, self._working, self._shown_page):
            self.stack.addWidget(widget)
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        for panel, words in (
            (self.report, "Overview"),
            (self.captions, "Picture"),
            (self.tags, "Tags"),
            (self.problems, "Problems"),
        ):
            self.tabs.addTab(panel, words)
        self.tabs.setMinimumWidth(336)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.addWidget(self.stack)
        self.splitter.addWidget(self.tabs)
        self.splitter.setHandleWidth(16)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setSizes([800, 344])
        self.splitter.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 8, 16, 16)
        layout.addWidget(self.splitter)
        state = self.context.store.value("dataset/splitter")
        if state is not None:
            self.splitter.restoreState(state)

    def _look_button(self) -> QPushButton:
        made = button("Look at the pictures", "search", "primary")
        made.clicked.connect(self.start)
        return made

    def _connect(self) -> None:
        settings, pane = self.context.settings, self.pane
        self.folders.folders_edited.connect(lambda value: settings.set(FOLDERS, value))
        self.folders.rules_edited.connect(lambda value: settings.set(RULES, value))
        settings.value_changed.connect(self._value_changed)
        settings.preset_changed.connect(self._folders_changed)
        self.look.clicked.connect(self.start)
        for looking in (self._working, self._slim):
            looking.stopped.connect(self.scan.cancel)
            self.scan.progress.connect(looking.tell)
        self.scan.began.connect(self._began)
        self.scan.done.connect(self._done)
        self.scan.failed.connect(self._failed)
        self._later.timeout.connect(self._report_anew)
        self._resting.timeout.connect(self._rest)
        pane.note.connect(self.context.note)
        pane.opened.connect(self._opened)
        pane.selected.connect(self._select)
        pane.answered.connect(self._answered)
        pane.captions_changed.connect(self._captions_changed)
        pane.assistant_wanted.connect(self._assist)
        pane.hold_wanted.connect(self._hold)
        pane.filter_changed.connect(self._filter_changed)
        self._connect_panels()

    def _connect_panels(self) -> None:
        pane, captions = self.pane, self.captions
        captions.written.connect(self.grid.replace_tile)
        self.grid.refreshed.connect(self._refresh)
        captions.failed.connect(lambda text: self.context.note.emit(text, "error"))
        captions.hold_wanted.connect(pane.hold)
        captions.tile_wanted.connect(self._show_tile)
        self.report.filter_wanted.connect(pane.filter.show_filter)
        self.report.bucket_clicked.connect(self._toggle_bucket)
        self.report.work_wanted.connect(self._learn)
        self.problems.filter_wanted.connect(pane.filter.show_filter)
        self.tags.search_wanted.connect(lambda text: pane.ask("tags", index_questions.tags(text)))
        self.tags.tag_clicked.connect(pane.filter.toggle_tag)
        self.tags.beside_wanted.connect(self._ask_beside)
        self.tags.edit_wanted.connect(pane.edit_captions)

    def primary_actions(self) -> list[QWidget]:
        """ "Look at the pictures"."""
        return [self.look]

    # -- the folders ------------------------------------------------------------------------------------------

    def _value_changed(self, key: str) -> None:
        if key == FOLDERS:
            self._folders_changed()
            return
        if key == RULES:
            self._show_folders()
        if key.split(".")[0] in _PAGES and self._scanned:
            self._later.start()

    def _show_folders(self) -> None:
        settings = self.context.settings
        rules = settings.value(RULES) if RULES in settings.entries else []
        self.folders.show_folders(settings.value(FOLDERS), rules if isinstance(rules, list) else [])

    def _folders_changed(self) -> None:
        """Show the folders; what was seen of others is no longer true, what was seen of these before is shown."""
        folders = list(self.context.settings.value(FOLDERS))
        self._show_folders()
        self.look.setEnabled(bool(folders))
        if folders == self._scanned and folders:
            return
        self._scanned = []
        self._set_report(None)
        self.pane.show_index(None)
        self._say_look("Look at the pictures")
        self.stack.setCurrentWidget(self._not_looked if folders else self._no_folder)
        settings = self.context.settings.sound_settings()
        if folders and settings is not None and index_file(settings).exists():
            self._show_index(settings, folders)

    def _say_look(self, words: str) -> None:
        self.look.setText(words)
        set_icon(self.look, "search", "on_accent")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Folders and archives are welcome."""
        if self._droppable(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Add them."""
        event.acceptProposedAction()
        self.folders.add(self._droppable(event))

    def _droppable(self, event: QDropEvent) -> list[str]:
        from core.data.archives import is_archive
        from gui.widgets.drops import meaning

        paths = dropped_paths(event.mimeData())
        return [str(path) for path in paths if is_archive(path.name) or meaning(path) == "pictures"]

    # -- looking ----------------------------------------------------------------------------------------------

    def _show_index(self, settings: Any, folders: list[str]) -> None:
        """Show the index of the folders; it says by itself how much it holds."""
        self._scanned = folders
        self.pane.show_index(index_file(settings), settings, folders)
        self.captions.show_settings(settings)

    def _opened(self, count: int) -> None:
        """An index of an earlier day was opened, or the one of a scan that is over."""
        if not count:
            return
        if self.stack.currentWidget() is self._not_looked:
            self.stack.setCurrentWidget(self._shown_page)
            self._say_look("Look again")
            self._report_anew()
        self.pane.ask("tags", index_questions.tags(self.tags.search.text().strip()))

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
            self.pane.follow(settings)
            self.captions.show_settings(settings)
            self.scan.start(settings, rescan=False)

    def _learn(self, what: str) -> None:
        """Count tokens, or read the pictures for their likeness."""
        settings = self.context.settings.sound_settings()
        if settings is not None:
            self.scan.start(settings, rescan=False, learn=what)

    def _began(self, title: str) -> None:
        for looking in (self._working, self._slim):
            looking.begin(title)
        shown = self.stack.currentWidget() is self._shown_page
        self._slim.setVisible(shown)
        if not shown:
            self.stack.setCurrentWidget(self._working)
        self.look.setEnabled(False)

    def _done(self, report: Any, changed: bool) -> None:
        settings = self.context.settings.sound_settings()
        folders = list(self.context.settings.value(FOLDERS))
        self.look.setEnabled(True)
        self._slim.hide()
        self._say_look("Look again")
        if settings is not None and folders != self._scanned:
            self._show_index(settings, folders)
        elif changed and settings is not None:
            self.pane.follow(settings, scanned=True)
        self._set_report(report)
        self.stack.setCurrentWidget(self._shown_page)

    def _failed(self, text: str) -> None:
        self.look.setEnabled(True)
        self._slim.hide()
        if self.stack.currentWidget() is not self._shown_page:
            self._scanned = []
            self.stack.setCurrentWidget(self._not_looked)
        if text:
            self.context.note.emit(text, "error")

    def _set_report(self, report: Any) -> None:
        self.report.show_report(report)
        self.problems.show_report(report)
        count = self.problems.count
        self.tabs.setTabText(_PROBLEMS, f"Problems ({count:,})" if count else "Problems")
        if report is not self.context.report:
            self.context.report = report
            self.context.dataset_changed.emit(report)

    # -- what is clicked --------------------------------------------------------------------------------------

    def _select(self, tile: Tile) -> None:
        """Show it when the keyboard rests on it: who walks fast is not held up by what is only passed."""
        self.captions.save()
        self._walked_to = tile
        self._resting.start()

    def _rest(self) -> None:
        if self._walked_to is not None:
            self._show_tile(self._walked_to)
            self.tabs.setCurrentIndex(_PICTURE)

    def _show_tile(self, tile: Tile) -> None:
        self.captions.show_tile(tile)
        self._tell_hand()
        facts = self.pane.facts
        if tile.row >= 0:
            self.pane.ask("twins", index_questions.twins(tile.row))
            if facts is not None and facts.fits is not None and tile.row < len(facts.fits):
                self.captions.show_bucket(facts.fits.buckets[int(facts.fits.bucket[tile.row])])

    def _refresh(self, tile: Tile) -> None:
        """The selected picture was read anew."""
        if self.captions.tile is not None and self.captions.tile.picture.path == tile.picture.path:
            self._show_tile(tile)

    def _tell_hand(self) -> None:
        """Whether the picture stands in one of the lists that hands made."""
        view, tile, settings = self.grid.view, self.captions.tile, self.context.settings
        if view is None or tile is None or tile.row < 0:
            return
        from core.data.rules import hex_of

        lists = [*settings.value(CHOSEN), *settings.value(NEVER)]
        self.captions.show_hand(bool(lists) and hex_of(view.columns.signature[tile.row]) in lists)

    def _toggle_bucket(self, size: tuple[int, int]) -> None:
        bar = self.pane.filter
        bar.set(bucket=None if bar.filter.bucket == size else size)

    def _filter_changed(self, wanted: PictureFilter) -> None:
        self.report.show_filter(wanted)
        self.tags.choose(wanted.tags[-1] if wanted.tags else "")

    def _ask_beside(self, tag: str) -> None:
        if tag:
            self.pane.ask("beside", index_questions.beside(tag))
        else:
            self.pane.drop("beside")

    def _answered(self, name: str, answer: Any) -> None:
        shows = {"tags": self.tags.show_tags, "beside": self.tags.show_beside, "twins": self.captions.show_twins}
        if name in shows:
            shows[name](answer)

    def _captions_changed(self) -> None:
        """Many captions are others now: the panels and the report follow."""
        self.captions.read_again()
        self.pane.ask("tags", index_questions.tags(self.tags.search.text().strip()))
        settings = self.context.settings.sound_settings()
        if settings is not None and self._scanned:
            self.scan.start(settings, rescan=False)

    def _hold(self, signatures: list[str], hold: bool | None) -> None:
        from core.data.picture_facts import by_hand

        settings = self.context.settings
        chosen, never = by_hand(settings.value(CHOSEN), settings.value(NEVER), signatures, hold)
        words = {True: "Hold pictures out", False: "Train on pictures", None: "Leave pictures to chance"}[hold]
        settings.set_many({CHOSEN: chosen, NEVER: never}, words)

    def _assist(self) -> None:
        """Open the caption assistant for the selected pictures, or all that are shown."""
        from gui.widgets.caption_assistant import CaptionAssistant

        if self._assistant is None:
            self._assistant = CaptionAssistant(self.context, self.pane.chosen, self.window())
            self._assistant.captions_written.connect(self.start)
        self._assistant.show()
        self._assistant.raise_()

    # -- coming and going -------------------------------------------------------------------------------------

    def hidden(self) -> None:
        """Save captions, remember the splitter."""
        self.captions.save()
        self.context.store.setValue("dataset/splitter", self.splitter.saveState())

    def closed(self) -> None:
        """End the threads: the window is closing."""
        self._later.stop()
        self._resting.stop()
        self.captions.save()
        self._counter.close()
        self.scan.close()
        self.pane.close_all()
