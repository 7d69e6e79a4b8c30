"""The settings being edited: flat values over a preset, undo and redo, and what speaks against each value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

if TYPE_CHECKING:
    from pydantic import BaseModel

    from core.checks import Problem
    from core.presets import Preset
    from core.schema import Entry

State = tuple[dict[str, Any], dict[str, Any], "Preset | None"]
Check = Callable[[Any], Iterable["Problem"]]


class _Change(QUndoCommand):
    """New values of some options; successive edits of the same options become one step of undo."""

    def __init__(self, model: SettingsModel, new: dict[str, Any], text: str) -> None:
        super().__init__(text)
        self._model = model
        self.old = {key: model.value(key) for key in new}
        self.new = new
        self.edit = model._edit

    def id(self) -> int:
        """Commands of this class may be merged."""
        return 1

    def mergeWith(self, other: QUndoCommand) -> bool:
        """Take over a later edit of the same single option."""
        if not isinstance(other, _Change) or len(self.new) > 1 or set(other.new) != set(self.new):
            return False
        if other.edit != self.edit:
            return False
        self.new = other.new
        if self.new == self.old:
            self.setObsolete(True)
        return True

    def redo(self) -> None:
        """Put the new values in."""
        self._model._put(self.new)

    def undo(self) -> None:
        """Put the old values back."""
        self._model._put(self.old)


class _Load(QUndoCommand):
    """Another preset as the ground, and what was edited before it."""

    def __init__(self, model: SettingsModel, new: State, text: str) -> None:
        super().__init__(text)
        self._model = model
        self._old = model._state()
        self._new = new

    def redo(self) -> None:
        """Take the new ground."""
        self._model._install(self._new)

    def undo(self) -> None:
        """Take the old ground, with all that was edited on it."""
        self._model._install(self._old)


class SettingsModel(QObject):
    """Values of every option of a settings model, as they are typed: they may be impossible until settings() is asked.

    Knows options only through core.schema.walk, so it serves any model of pages. Nothing of core is imported before the
    first value is asked for, which keeps the start of the window short.

    Signals:
        value_changed: Key of an option whose value changed, by whatever way.
        visibility_changed: Some options may have appeared or gone.
        problems_changed: problems() may say something else now; sent a moment after the last change.
        preset_changed: Another preset was loaded or saved; every mark of difference may have changed.
    """

    value_changed = Signal(str)
    visibility_changed = Signal()
    problems_changed = Signal()
    preset_changed = Signal()

    def __init__(
        self, model: type[BaseModel] | None = None, check: Check | None = None, parent: QObject | None = None
    ) -> None:
        """`model`: a model of pages, None for the settings of a run; `check`: findings about valid settings."""
        super().__init__(parent)
        self._given_model = model
        self._given_check = check
        self._changes: dict[str, Any] = {}
        self._base: dict[str, Any] = {}
        self._wrong: dict[str, str] = {}
        self._problems: list[Problem] | None = None
        self._edit = 0
        self.preset: Preset | None = None
        self.undo_stack = QUndoStack(self)
        self.undo_stack.setUndoLimit(500)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(60)
        self._later.timeout.connect(self.problems_changed)

    # -- what there is ----------------------------------------------------------------------------------------

    @cached_property
    def model(self) -> type[BaseModel]:
        """The class of the settings."""
        if self._given_model is not None:
            return self._given_model
        from core.settings import settings_model

        return settings_model()

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every option by its key, in the order of declaration."""
        from core.schema import walk

        return {entry.key: entry for entry in walk(self.model)}

    def preset_value(self, key: str) -> Any:
        """What the preset says of an option."""
        return self._base[key] if key in self._base else self.entries[key].default

    def value(self, key: str) -> Any:
        """The present value of an option; as typed, so possibly impossible."""
        return self._changes[key] if key in self._changes else self.preset_value(key)

    def values(self) -> dict[str, Any]:
        """All present values by key."""
        return {key: self.value(key) for key in self.entries}

    def differs(self, key: str) -> bool:
        """Whether an option has another value than in the preset."""
        return key in self._changes and bool(self._changes[key] != self.preset_value(key))

    def changed_keys(self) -> list[str]:
        """Options that differ from the preset."""
        return [key for key in self.entries if self.differs(key)]

    # -- editing ----------------------------------------------------------------------------------------------

    def set(self, key: str, value: Any) -> None:
        """Change one option; undoable."""
        self.set_many({key: value}, f"Change {self.entries[key].option.label}")

    def set_many(self, changes: Mapping[str, Any], text: str) -> None:
        """Change several options as one step of undo; `text` names the step."""
        real = {key: value for key, value in changes.items() if self._is_new(key, value)}
        if real:
            self.undo_stack.push(_Change(self, real, text))

    def _is_new(self, key: str, value: Any) -> bool:
        """Whether a value is another one than the present; True and 1 are different ones in a form."""
        old = self.value(key)
        return bool(old != value) or isinstance(old, bool) != isinstance(value, bool)

    def reset(self, key: str) -> None:
        """Back to the preset's value; undoable."""
        self.set_many({key: self.preset_value(key)}, f"Reset {self.entries[key].option.label}")

    def reset_all(self) -> None:
        """Everything back to the preset; one step of undo."""
        self.set_many({key: self.preset_value(key) for key in self.changed_keys()}, "Reset to the preset")

    def undo(self) -> None:
        """Take the last change back."""
        self.undo_stack.undo()

    def redo(self) -> None:
        """Make the change that was taken back again."""
        self.undo_stack.redo()

    def end_edit(self) -> None:
        """A field was left: its next edit is a new step of undo."""
        self._edit += 1

    def _put(self, values: Mapping[str, Any]) -> None:
        """Store values and tell everyone."""
        for key, value in values.items():
            self._changes[key] = value
            self._judge(key)
        self._problems = None
        for key in values:
            self.value_changed.emit(key)
        if any(key in self._switches for key in values):
            self.visibility_changed.emit()
        self._later.start()

    # -- presets ----------------------------------------------------------------------------------------------

    @property
    def preset_name(self) -> str:
        """Name of the loaded preset, "" for the defaults."""
        return self.preset.name if self.preset else ""

    def load_preset(self, preset: Preset) -> None:
        """Take a preset as the new ground; undo brings back what was edited before.

        Raises UserError when the preset lies on a preset that is missing.
        """
        from core.presets import full_values

        self.load_values(full_values(preset), preset)

    def load_values(self, values: Mapping[str, Any], preset: Preset | None = None) -> None:
        """Take complete or sparse values as the new ground, for instance those of an old run; undoable."""
        base = {key: value for key, value in values.items() if key in self.entries}
        name = preset.name if preset else "values"
        self.undo_stack.push(_Load(self, (base, {}, preset), f"Load {name}"))

    def _state(self) -> State:
        return dict(self._base), dict(self._changes), self.preset

    def _install(self, state: State) -> None:
        """Put ground, changes and preset in and tell everyone."""
        before = self.values()
        self._base, self._changes, self.preset = dict(state[0]), dict(state[1]), state[2]
        self._problems = None
        self._judge_all()
        for key, value in self.values().items():
            if value != before[key]:
                self.value_changed.emit(key)
        self.visibility_changed.emit()
        self.preset_changed.emit()
        self._later.start()

    def save_preset(self, path: Path, name: str, description: str = "") -> None:
        """Write the present settings as a preset of the user's and take it as the ground; UserError when impossible."""
        from core import presets

        settings = self.settings()
        try:
            presets.save(path, settings, name, description, self._builtin_base())
        except OSError as error:
            from core.errors import UserError

            raise UserError(f"{path} cannot be written ({error.strerror or error}). Choose another folder.") from None
        self.load_preset(presets.read(path))

    def _builtin_base(self) -> str:
        """Name of the built-in preset that the present one is or lies on, "" when there is none."""
        from core.paths import builtin_presets_folder

        if self.preset is None:
            return ""
        path = self.preset.path
        is_builtin = path is not None and path.parent == builtin_presets_folder()
        return path.stem if path is not None and is_builtin else self.preset.base

    # -- meaning ----------------------------------------------------------------------------------------------

    @cached_property
    def _switches(self) -> frozenset[str]:
        """Options on whose value the visibility of others hangs."""
        from core.registry import CHOOSERS

        found = {entry.option.when[0] for entry in self.entries.values() if entry.option.when}
        owners = {entry.owner.split(".")[0] for entry in self.entries.values() if entry.owner}
        return frozenset(found | {CHOOSERS[folder] for folder in owners if folder in CHOOSERS})

    def chooser(self, key: str) -> str:
        """Key of the option that chooses the component to which an option belongs, "" for an option of a page."""
        from core.registry import CHOOSERS

        owner = self.entries[key].owner
        return CHOOSERS.get(owner.split(".")[0], "") if owner else ""

    def hidden_by(self, key: str) -> str:
        """Key of the option whose value hides this one, "" when it is visible."""
        entry = self.entries[key]
        chooser = self.chooser(key)
        if chooser and self.value(chooser) != entry.owner.split(".", 1)[1]:
            return chooser
        when = entry.option.when
        return when[0] if when is not None and self.value(when[0]) not in when[1] else ""

    def visible(self, key: str) -> bool:
        """Whether an option matters with the present values."""
        return not self.hidden_by(key)

    def _judge(self, key: str) -> None:
        """Keep the sentence that says why this value by itself is impossible."""
        from core import presets
        from core.errors import UserError

        self._wrong.pop(key, None)
        try:
            presets.build({key: self.value(key)}, "", self.model)
        except UserError as error:
            entry = self.entries[key]
            inner = str(error).partition(f"{key}, ")[2] if entry.table else ""
            text = presets.explain(entry, entry.option.label, self.value(key))
            self._wrong[key] = inner or text.split(" is not possible: ", 1)[-1]

    def _judge_all(self) -> None:
        """Judge every value; value by value only when they are not all possible."""
        from core.errors import UserError

        self._wrong.clear()
        try:
            self.settings()
        except UserError:
            for key in self.entries:
                self._judge(key)

    def settings(self) -> Any:
        """The validated settings; UserError names the first impossible value."""
        from core import presets

        return presets.build(self.values(), "The settings", self.model)

    def _sound_values(self) -> dict[str, Any]:
        """All values, the preset's where the present one is impossible."""
        return {key: self.preset_value(key) if key in self._wrong else value for key, value in self.values().items()}

    def sound_settings(self) -> Any | None:
        """Settings in which impossible values are replaced by the preset's; None when even those are impossible."""
        from core import presets
        from core.errors import UserError

        try:
            return presets.build(self._sound_values(), "", self.model)
        except UserError:
            return None

    def problems(self) -> list[Problem]:
        """All findings, errors first: impossible values, contradictions, unusual values."""
        if self._problems is None:
            self._problems = self._find_problems()
        return self._problems

    def _find_problems(self) -> list[Problem]:
        from core.checks import Problem

        found = [Problem(key, text, "error") for key, text in self._wrong.items() if self.visible(key)]
        settings = self.sound_settings()
        if settings is not None:
            found += [problem for problem in self._check(settings) if problem.key not in self._wrong]
        return sorted(found, key=lambda problem: problem.severity != "error")

    def _check(self, settings: Any) -> Iterable[Problem]:
        if self._given_check is not None:
            return self._given_check(settings)
        if self._given_model is None:
            from core.checks import problems

            return problems(settings)
        return self._unusual()

    def _unusual(self) -> Iterable[Problem]:
        """Warnings of any model: values outside the usual range."""
        from core.checks import Problem
        from core.schema import unusual

        for key, entry in self.entries.items():
            text = "" if key in self._wrong or not self.visible(key) else unusual(entry, self.value(key))
            if text:
                yield Problem(key, f"{text}.", "warning")

    def problem_of(self, key: str) -> Problem | None:
        """The weightiest finding about one option."""
        return next((problem for problem in self.problems() if problem.key == key), None)

    def errors(self) -> list[Problem]:
        """The findings that keep a run from starting."""
        return [problem for problem in self.problems() if problem.severity == "error"]
