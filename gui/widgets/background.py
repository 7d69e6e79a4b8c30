"""Work off the window's thread: a function runs in the pool, its result comes back by the event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal

log = logging.getLogger(__name__)


class _Messenger(QObject):
    """Carries a result from the pool's thread to the thread in which it was made."""

    done = Signal(object, object)


class _Task(QRunnable):
    def __init__(self, function: Callable[[], Any], messenger: _Messenger) -> None:
        super().__init__()
        self._function = function
        self._messenger = messenger

    def run(self) -> None:
        """Work, and tell; the window may be gone by then."""
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self._function()
        except BaseException as error:
            failure = error
        try:
            self._messenger.done.emit(result, failure)
        except RuntimeError:
            log.debug("nobody waits for the result any more")


class Background(QObject):
    """Runs one function at a time for its owner; a newer call makes the result of an older one unwanted.

    Signals:
        done: The result of the newest call.
        failed: What the newest call raised.
    """

    done = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._newest: _Messenger | None = None

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._newest is not None

    def start(self, function: Callable[[], Any]) -> None:
        """Call `function` in another thread; it must not touch widgets."""
        messenger = _Messenger(self)
        self._newest = messenger
        messenger.done.connect(lambda result, failure: self._arrived(messenger, result, failure))
        QThreadPool.globalInstance().start(_Task(function, messenger))

    def forget(self) -> None:
        """Nobody wants the result of the call under way."""
        self._newest = None

    def _arrived(self, messenger: _Messenger, result: Any, failure: Any) -> None:
        messenger.deleteLater()
        if messenger is not self._newest:
            return
        self._newest = None
        if failure is None:
            self.done.emit(result)
        else:
            self.failed.emit(failure)
