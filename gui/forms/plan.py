"""Which sections a form has and which options stand in each, from the schema alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gui.settings_model import SettingsModel


@dataclass(slots=True)
class SectionPlan:
    """One section: its title and the keys of its options in order, those of component tables included."""

    title: str
    keys: list[str] = field(default_factory=list)


def page_titles(settings: SettingsModel) -> dict[str, str]:
    """What each page calls itself (the class attribute `title`), else its name."""
    found = {}
    for name, info in settings.model.model_fields.items():
        found[name] = str(getattr(info.annotation, "title", name.replace("_", " ").capitalize()))
    return found


def sections(settings: SettingsModel) -> list[SectionPlan]:
    """Sections in order of declaration; a component's options stand right after the option that chooses it."""
    titles = page_titles(settings)
    owned: dict[str, list[str]] = {}
    found: dict[str, SectionPlan] = {}
    for key in settings.entries:
        chooser = settings.chooser(key)
        if chooser in settings.entries:
            owned.setdefault(chooser, []).append(key)
    for key, entry in settings.entries.items():
        if settings.chooser(key) in owned:
            continue
        title = entry.option.group or titles[entry.page]
        plan = found.setdefault(title, SectionPlan(title))
        plan.keys += [key, *owned.get(key, [])]
    return list(found.values())
