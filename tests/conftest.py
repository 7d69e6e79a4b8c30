"""Rules for every test: the user's files are never touched, nothing goes over the network, no thread stays behind."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


@pytest.fixture(autouse=True)
def burnish_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder for runs, presets and caches; child processes inherit it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BURNISH_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to other machines fail at once, with the address in the error."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOCAL):
            raise OSError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """A thread that would keep the process alive must be gone when its test is over."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 3
    while left := [t for t in set(threading.enumerate()) - before if t.is_alive() and not t.daemon]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads were left behind: {', '.join(thread.name for thread in left)}")
        gc.collect()
        time.sleep(0.02)
