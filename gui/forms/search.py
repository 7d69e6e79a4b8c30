"""Finds options by label, help, key, choices, and by what other trainers call them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.schema import Entry
    from gui.settings_model import SettingsModel


def plain(text: str) -> str:
    """Lower case with every other sign than letters, digits and dots as a space."""
    return re.sub(r"[^a-z0-9.]+", " ", text.lower()).strip()


class Search:
    """The words of every option of a model, made once."""

    def __init__(self, settings: SettingsModel) -> None:
        self._settings = settings
        self._words = {key: plain(_words(entry)) for key, entry in settings.entries.items()}

    def keys(self, text: str) -> list[str]:
        """Every option in whose words all words of `text` are found, hidden or not."""
        wanted = plain(text).split()
        return [key for key, words in self._words.items() if wanted and all(word in words for word in wanted)]

    def matches(self, text: str) -> dict[str, str]:
        """{key: why} of the options to show: every word of `text` is found in them.

        An option that is hidden now is stood in for by the option that hides it; `why` then says what to choose, and
        for a name of another trainer it says whose name it is. Otherwise `why` is "".
        """
        found: dict[str, str] = {}
        for key in self.keys(text):
            hidden_by = self._settings.hidden_by(key)
            if hidden_by:
                found[hidden_by] = found.get(hidden_by) or self._unlock(key, hidden_by)
            else:
                found[key] = found.get(key) or _alias(self._settings.entries[key], text)
        return found

    def _unlock(self, key: str, switch: str) -> str:
        """The sentence that says how a hidden option comes into view."""
        entry, other = self._settings.entries[key], self._settings.entries[switch]
        if entry.owner:
            folder, name = entry.owner.split(".", 1)
            value = choice_label(folder, name)
        else:
            value = " or ".join(_spoken(v) for v in entry.option.when[1]) if entry.option.when else ""
        return f"“{entry.option.label}” appears here when {other.option.label} is {value}."


def _spoken(value: object) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def choice_label(folder: str, name: str) -> str:
    """The menu text of a component; its name when the folder does not have it."""
    from core import registry

    try:
        return registry.label(folder, name)
    except (KeyError, ModuleNotFoundError):
        return name


def _words(entry: Entry) -> str:
    option = entry.option
    parts = [option.label, option.help, entry.key, option.group, *option.aliases, *entry.choices]
    if option.choices:
        parts += [choice_label(option.choices, name) for name in entry.choices]
    if entry.owner:
        parts.append(choice_label(*entry.owner.split(".", 1)))
    return " ".join(parts)


def _alias(entry: Entry, text: str) -> str:
    """Whose name matched, when it was not one of ours."""
    wanted = plain(text)
    if wanted in plain(f"{entry.option.label} {entry.key}"):
        return ""
    for alias in entry.option.aliases:
        if wanted in plain(alias):
            return f"Called {alias} in other trainers."
    return ""
