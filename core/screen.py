"""Whether a window can be shown here, and if not, why: Qt itself would end the program without a word of help."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

_TERMINAL = "In the terminal, 'python3 main.py --help' lists what can be done without a window."
#: The Debian and Ubuntu packages of the libraries that Qt's wheel does not bring along.
_PACKAGES = {"libxcb-cursor.so.0": "libxcb-cursor0", "libxkbcommon-x11.so.0": "libxkbcommon-x11-0"}


def has_screen() -> bool:
    """Whether a window could be seen here."""
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return False
    return not why_no_window()


def why_no_window() -> str:
    """The sentence that says why no window can be opened and what to do; "" where nothing speaks against one."""
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM") or os.environ.get("WAYLAND_DISPLAY"):
        return ""
    if not os.environ.get("DISPLAY"):
        return f"There is no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set). {_TERMINAL}"
    return _missing_library() or _silent_server()


def _missing_library() -> str:
    """Load what Qt is about to load; the loader names the first library that the system lacks."""
    found = importlib.util.find_spec("PySide6")
    for folder in (found.submodule_search_locations or []) if found else []:
        plugin = Path(folder) / "Qt" / "plugins" / "platforms" / "libqxcb.so"
        try:
            if plugin.exists():
                ctypes.CDLL(str(plugin))
        except OSError as error:
            library = str(error).split(":")[0]
            package = _PACKAGES.get(library, library.split(".so")[0])
            return (
                f"The window needs the library {library}, which this system lacks. Install it (on Debian and Ubuntu: "
                f"sudo apt install {package}) and start again. {_TERMINAL}"
            )
    return ""


def _silent_server() -> str:
    """Whether the X server of DISPLAY answers; "" also where that cannot be asked."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
        xcb.xcb_connect.restype = ctypes.c_void_p
        connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
        failed = bool(xcb.xcb_connection_has_error(connection))
        xcb.xcb_disconnect(connection)
    except (OSError, AttributeError):
        return ""
    if failed:
        return f"The screen {os.environ['DISPLAY']} (DISPLAY) does not answer. {_TERMINAL}"
    return ""
