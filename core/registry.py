"""A file in a component folder is a choice in the menus: finds components, so that no list is kept by hand.

A component folder is a package under core ("methods", "optimizers", "schedules", "weightings", "losses", "densities",
"axes", "families", "samplers", "captioners"). Each of its modules is one component; its name is the file's name. A
module says LABEL and HELP, may say ORDER (a number, for the menu) and may hold a class Options(Section): its own table
in the settings.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from core.errors import UserError

#: Component folders whose Options classes become tables of the settings, and the option that chooses among them.
SETTINGS_FOLDERS = {
    "methods": "training.method",
    "optimizers": "training.optimizer",
    "schedules": "training.schedule",
    "losses": "loss.kind",
    "weightings": "loss.weighting",
    "densities": "loss.density",
}
#: The same for jobs that have settings of their own and none of a run's.
JOB_FOLDERS = {"captioners": "caption.captioner"}
#: The option that chooses a component, for every folder whose components have tables.
CHOOSERS = {**SETTINGS_FOLDERS, **JOB_FOLDERS}


@cache
def components(folder: str) -> dict[str, ModuleType]:
    """All components of a folder by name, in the order of their menu."""
    package = importlib.import_module(f"core.{folder}")
    found = [
        importlib.import_module(f"core.{folder}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    ]
    found.sort(key=lambda module: (getattr(module, "ORDER", 100), module.__name__))
    return {module.__name__.rsplit(".", 1)[1]: module for module in found}


def names(folder: str) -> list[str]:
    """Names of a folder's components in the order of their menu."""
    return list(components(folder))


def component(folder: str, name: str) -> Any:
    """One component's module; a UserError names the choices when there is none of that name."""
    try:
        return components(folder)[name]
    except KeyError:
        raise UserError(f"{folder}: there is no '{name}'; choose one of {', '.join(names(folder))}.") from None


def chosen(folder: str, settings: Any) -> tuple[Any, Any]:
    """(module, options) of the component that the settings choose in a folder; None for one without Options.

    `settings` is a core.settings.Settings, or what a job has instead. Tables bear their component's name, and two
    folders may have a component of one name as long as only one of them has Options; so the table is taken only for
    the one that has.
    """
    page, field = CHOOSERS[folder].split(".")
    name = str(getattr(getattr(settings, page), field))
    module = component(folder, name)
    return module, getattr(settings, name) if hasattr(module, "Options") else None


def label(folder: str, name: str) -> str:
    """The menu text of a component."""
    return str(getattr(components(folder)[name], "LABEL", name))
