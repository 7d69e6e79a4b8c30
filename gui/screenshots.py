"""Every page of the window with a real run in it, as PNG files: for the documentation and for judging our work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QEvent, QSettings
from PySide6.QtWidgets import QApplication, QWidget

from core.paths import RESOURCES, ROOT
from core.screen import why_no_window
from gui.app import make_application
from gui.main_window import MainWindow

LAPTOP, DESKTOP = (1366, 768), (1920, 1080)
FOLDERS = "data.folders"


def settle(until: Callable[[], bool] | None = None, seconds: float = 0.4, longest: float = 20.0) -> None:
    """Let the window work for some time, or until something holds (and a moment more)."""
    begin = time.monotonic()
    end = begin + (longest if until else seconds)
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)
        if until is not None and until():
            settle(None, seconds)
            return


class Studio:
    """A window of its own that is brought into one state after the other."""

    def __init__(self, out: Path, theme: str, run: Path | None) -> None:
        self.out = out
        self.theme = theme
        self.run = run
        self.made: list[Path] = []
        out.mkdir(parents=True, exist_ok=True)
        make_application(theme)
        self._folder = Path(tempfile.mkdtemp(prefix="burnish-screenshots-"))
        store = QSettings(str(self._folder / "window.ini"), QSettings.Format.IniFormat)
        self.window = MainWindow(store=store)
        self.window.resize(*LAPTOP)
        self.window.show()
        settle()

    def close(self) -> None:
        """Take the window down; a run that is at work goes on."""
        self.window.ask_about_running = lambda name: "keep"  # type: ignore[method-assign]
        self.window.close()
        self.window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        shutil.rmtree(self._folder, ignore_errors=True)

    def shoot(self, name: str) -> None:
        """Write the window as it is now, in the pixels of its screen."""
        path = self.out / f"{name}-{self.theme}.png"
        self.window.grab().save(str(path))
        self.made.append(path)

    def page(self, name: str) -> Any:
        """Show a page and give it."""
        self.window.show_page(name)
        settle()
        return self.window.page(name)

    # -- the pages --------------------------------------------------------------------------------------------

    def home(self) -> None:
        """Home with what there is, and as a new user sees it."""
        page = self.page("home")
        settle(lambda: not page._read_runs.busy, 0.3)
        self.shoot("home")
        with _nothing_at_home(self._folder):
            page.refresh()
            settle(lambda: not page._read_runs.busy, 0.3)
            self.shoot("home-empty")
        page.refresh()

    def dataset(self) -> None:
        """Dataset without pictures, with those of the run, with one selected, and with broken ones."""
        page = self.page("dataset")
        self.window.context.settings.set(FOLDERS, [])
        settle()
        self.shoot("dataset-empty")
        self._look(page, self._folders())
        page.tabs.setCurrentIndex(0)
        settle()
        self.shoot("dataset")
        page.grid.select(min(7, max(0, page.grid.count - 1)))
        settle(seconds=0.8)
        self.shoot("dataset-picture")
        broken = _broken_pictures(self._folder / "some pictures")
        self._look(page, [str(broken)])
        page.tabs.setCurrentIndex(2)
        settle()
        self.shoot("dataset-broken")
        page.tabs.setCurrentIndex(0)
        self._look(page, self._folders())

    def _folders(self) -> list[str]:
        from core import runs

        found = runs.open_run(self.run).settings().data.folders if self.run else []
        return found or ["burnish:starter/pictures"]

    def _look(self, page: Any, folders: list[str]) -> None:
        self.window.context.settings.set(FOLDERS, folders)
        page.start()
        settle(lambda: not page.scan.busy, 1.5)

    def training(self) -> None:
        """The form at rest, with advanced options, while searching, and with problems."""
        from core import presets

        context = self.window.context
        page = self.page("training")
        starter = presets.builtin().get("starter")
        if starter is not None:
            context.settings.load_preset(starter)
        page.form.ensure_built()
        settle()
        self.shoot("training")
        page.form.sections["Data"].set_expanded(True)
        page.form.focus_field("data.caption_dropout")
        settle()
        self.shoot("training-advanced")
        page.search.setText("min_snr_gamma")
        page.search.setFocus()
        settle()
        self.shoot("training-search")
        page.search.clear()
        mistakes = {"model.base": "", "training.learning_rate": 0.5, "training.batch_size": 0}
        context.settings.set_many(mistakes, "Make mistakes")
        page.form.focus_field("training.batch_size")
        settle()
        self.shoot("training-problems")
        context.settings.undo()
        page.form.sections["Data"].set_expanded(False)
        page.setFocus()
        page.form.verticalScrollBar().setValue(0)
        settle()

    def monitor(self) -> None:
        """Monitor without a run, and with one over each of its axes and in each view of its losses."""
        page = self.page("monitor")
        if self.run is None:
            self.shoot("monitor-empty")
            return
        self.window.context.show_run(self.run)
        settle(lambda: self.window.context.run is not None and self.window.context.run.is_loaded, 1.5)
        for axis in page.timeline.available():
            combo = page.loss.axis
            combo.setCurrentIndex(combo.findData(axis))
            settle(seconds=0.8)
            self.shoot("monitor" if axis == "step" else f"monitor-{axis}")
        page.loss.axis.setCurrentIndex(0)
        for view in ("buckets", "gap", "draws", "histogram"):
            page.loss.views.choose(view)
            settle(seconds=0.8)
            self.shoot(f"monitor-{view}")
        page.loss.views.choose("losses")

    def grids(self) -> None:
        """The grids of the run, or the page that offers to make one."""
        self.page("grids")
        settle(seconds=1.5)
        self.shoot("grids")

    def compare(self) -> None:
        """Compare with nothing chosen, and with the newest runs that can be compared."""
        page = self.page("compare")
        settle(lambda: not page._lists.busy, 0.3)
        page.choose([])
        settle()
        self.shoot("compare-empty")
        page.choose(list(page.picker._items)[:10])
        settle(lambda: not page.reader.busy, 0.8)
        self.shoot("compare")

    def help(self) -> None:
        """A guide and the reference."""
        page = self.page("help")
        page.list.setCurrentRow(2)
        settle()
        self.shoot("help")
        page.show_key("training.optimizer")
        settle()
        self.shoot("help-settings")

    def dialogs(self) -> None:
        """The windows beside the main one: a planned sweep, the sweep that was made last, the captioning assistant."""
        page = self.page("training")
        page.open_sweeps()
        sweeps = page._sweeps
        sweeps.planner.read_file(RESOURCES / "sweeps" / "starter-rates.toml")
        settle(seconds=2.0)
        self._shoot_dialog("sweep-plan", sweeps)
        if sweeps.chooser.count() > 1:
            sweeps.chooser.setCurrentIndex(1)
            sweeps.chooser.activated.emit(1)
            settle(seconds=1.5)
            self._shoot_dialog("sweep-queue", sweeps)
        sweeps.close()
        page = self.page("dataset")
        page._assist()
        settle(seconds=1.0)
        self._shoot_dialog("caption-assistant", page._assistant)
        page._assistant.close()

    def _shoot_dialog(self, name: str, dialog: QWidget) -> None:
        path = self.out / f"{name}-{self.theme}.png"
        dialog.grab().save(str(path))
        self.made.append(path)

    def sizes(self) -> None:
        """A small laptop with the rail collapsed, a large screen, and a sharp one."""
        window = self.window
        window.rail.set_collapsed(True)
        window.resize(1280, 720)
        self.page("training")
        self.shoot("small-laptop")
        window.rail.set_collapsed(False)
        window.resize(*DESKTOP)
        for name in ("dataset", "training", "monitor"):
            self.page(name)
            settle(seconds=0.8)
            self.shoot(f"{name}-1080p")
        window.resize(*LAPTOP)

    def sharp(self) -> None:
        """The pages as a screen with twice the pixels shows them; this process must have been started for it."""
        from core import paths, presets

        starter = paths.builtin_presets_folder() / "starter.toml"
        self.window.context.settings.load_preset(presets.read(starter))
        if self.run is not None:
            self.window.context.show_run(self.run)
        for name in ("home", "training", "monitor"):
            self.page(name)
            settle(seconds=1.5)
            self.shoot(f"{name}-sharp")


@contextmanager
def _nothing_at_home(folder: Path) -> Iterator[None]:
    """The user's folder is another, empty one for a moment."""
    before = os.environ.get("BURNISH_HOME")
    os.environ["BURNISH_HOME"] = str(folder / "home")
    try:
        yield
    finally:
        if before is None:
            del os.environ["BURNISH_HOME"]
        else:
            os.environ["BURNISH_HOME"] = before


def _broken_pictures(folder: Path) -> Path:
    """Some of the shipped pictures, and files that are none or only the beginning of one."""
    folder.mkdir(parents=True)
    source = sorted((RESOURCES / "starter" / "pictures").glob("*.png"))
    for number, path in enumerate(source[:24]):
        shutil.copy(path, folder / path.name)
        if number % 4:
            shutil.copy(path.with_suffix(".txt"), folder)
    if source:
        whole = source[0].read_bytes()
        (folder / "copied only in part.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "renamed.png").write_text("These are notes, not a picture.", encoding="utf-8")
    (folder / "page.webp").write_text("<html><body>404</body></html>", encoding="utf-8")
    return folder


def latest_run() -> Path | None:
    """The newest training run that has something to show."""
    from core import runs

    for run in runs.list_runs():
        if run.facts().get("kind") == "train" and run.state()[1] > 0:
            return run.path
    return None


def take(out: Path, theme: str, run: Path | None) -> list[Path]:
    """Write the pictures of all pages in one theme ("light" or "dark"); returns their paths.

    `run` is the folder of the run to show; None takes the newest one there is.
    """
    if why_no_window():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    run = run or latest_run()
    parts = ("home", "dataset", "training", "monitor", "grids", "compare", "help", "dialogs", "sizes")
    return [*_shoot(out, theme, run, parts), *_sharp(out, theme, run)]


def _shoot(out: Path, theme: str, run: Path | None, parts: Sequence[str]) -> list[Path]:
    studio = Studio(out, theme, run)
    try:
        for part in parts:
            getattr(studio, part)()
    finally:
        studio.close()
    return studio.made


def _sharp(out: Path, theme: str, run: Path | None) -> list[Path]:
    """The same in a process whose screen has two pixels for one; Qt cannot change that while it runs."""
    command = [sys.executable, "-m", "gui.screenshots", str(out.absolute()), theme, str(run or "")]
    environment = {**os.environ, "QT_SCALE_FACTOR": "2", "PYTHONPATH": str(ROOT)}
    before = time.time()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
    return sorted(path for path in out.glob(f"*-sharp-{theme}.png") if path.stat().st_mtime >= before - 1)


if __name__ == "__main__":
    _shoot(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if sys.argv[3] else None, ["sharp"])
