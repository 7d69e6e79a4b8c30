"""How trainings that go side by side on a machine share the power of its rest: a file for each that is at work."""

from __future__ import annotations

import contextlib
from pathlib import Path

from core import paths
from core.processes import named_lives, own_name


def at_work_folder() -> Path:
    """Where the trainings of this user sign in."""
    return paths.cache_folder() / "at-work"


class RestShare:
    """Signs this process in and tells its share. Those that died without a word are not counted.

    Only runs that count the rest of the machine belong here; together they count it once, a sweep's runs, the queue's
    and those that the user starts beside them alike.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """A folder that cannot be written makes no trouble: this run then bears all."""
        self._folder = folder or at_work_folder()
        self._path = self._folder / own_name()
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path.touch()

    def value(self) -> float:
        """The share of the rest that this run bears now, above 0 and up to 1."""
        others = 0
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if path == self._path:
                    continue
                if named_lives(path.name):
                    others += 1
                else:
                    path.unlink(missing_ok=True)
        return 1 / (1 + others)

    def close(self) -> None:
        """Sign out."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
