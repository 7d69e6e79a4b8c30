"""Starts the window: shows it at once, and does everything slower after the first paint."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QCoreApplication, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

from core.paths import RESOURCES
from gui import theme

#: Seconds after which a working thread gives Python's lock to the one that asks: Python's 5 ms, three threads deep and
#: several times a frame, would be seen.
_TURN = 0.001
#: Modules that the pages need; nothing among them makes a QObject while it is imported.
_SOON_WANTED = (
    "core.checks",
    "core.outlook",
    "core.runs",
    "gui.pages.training",
    "gui.pages.dataset",
    "gui.pages.help",
)


def make_application(theme_name: str = "system") -> QApplication:
    """The QApplication with Burnish's name, icon and theme; the one that exists if there is one."""
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
        app = QApplication(sys.argv[:1])
    sys.setswitchinterval(_TURN)
    QCoreApplication.setOrganizationName("Burnish")
    QCoreApplication.setApplicationName("Burnish")
    QGuiApplication.setApplicationDisplayName("Burnish")
    QGuiApplication.setDesktopFileName("burnish")
    app.setWindowIcon(QIcon(str(RESOURCES / "icons" / "app.png")))
    theme.apply(app, theme_name)
    if theme_name == "system":
        app.styleHints().colorSchemeChanged.connect(lambda _: theme.apply(app))
    return app


def run(argv: Sequence[str] = (), demo: bool = False, changes: Sequence[str] = ()) -> int:
    """Show the window until it is closed; returns the exit status: 2, with a sentence, where none can be shown.

    `argv` may name a run folder, a preset, a model or a folder of pictures to open. `demo` starts the demo at
    once, with `changes` to its settings ("training.max_steps=60").
    """
    from core.screen import why_no_window

    if problem := why_no_window():
        print(problem, file=sys.stderr)
        return 2
    _log_to_file()
    app = make_application()
    from gui.main_window import MainWindow

    window = MainWindow()
    window.show()
    paths = [Path(text).expanduser().absolute() for text in argv if not text.startswith("-")]

    def after_first_paint() -> None:
        threading.Thread(target=_warm_up, name="warm up", daemon=True).start()
        window.attempt(window.find_live_run)
        for path in paths:
            window.attempt(window.open_path, path)
        if demo:
            window.attempt(window.start_demo, changes)

    QTimer.singleShot(0, after_first_paint)
    return app.exec()


def _warm_up() -> None:
    """Import what the pages need while nobody waits for it, so that their first showing is quick."""
    from core.settings import settings_model

    settings_model()
    for name in _SOON_WANTED:
        importlib.import_module(name)


def _log_to_file() -> None:
    """Tracebacks go to a file among the user's caches, never to the user."""
    from core.paths import cache_folder

    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(
            filename=folder / "window.log",
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
    except OSError:
        logging.basicConfig(level=logging.INFO)
    sys.excepthook = lambda kind, error, trace: logging.getLogger("burnish").critical(
        "An error that nothing caught", exc_info=(kind, error, trace)
    )
