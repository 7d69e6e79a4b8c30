"""Tests of core/screen.py: a sentence instead of Qt's abort."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import pytest

from core import screen

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a screen")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)


def test_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no screen here" in screen.why_no_window() and not screen.has_screen()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert screen.why_no_window() == "" and screen.has_screen()


def test_qt_s_own_variable_is_the_user_s_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert screen.why_no_window() == ""
    assert not screen.has_screen()  # nothing to see


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, *_: Any) -> Any:
        raise OSError("libxcb-cursor.so.0: cannot open shared object file: No such file or directory")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert "apt install libxcb-cursor0)" in screen.why_no_window()


def test_a_screen_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.setattr(screen, "_missing_library", lambda: "")
    try:
        ctypes.CDLL("libxcb.so.1")
    except OSError:
        assert screen.why_no_window() == ""  # nobody to ask
    else:
        assert "The screen :987 (DISPLAY) does not answer" in screen.why_no_window()


def test_the_window_ends_with_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    from gui.app import run

    assert run() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "main.py --help" in error
