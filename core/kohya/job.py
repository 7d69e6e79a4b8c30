"""One import under way: looks flags up, puts values into the draft, and keeps the verdict on every flag."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.kohya import draft as drafts
from core.kohya.command import TRAINABLE
from core.kohya.draft import Draft
from core.kohya.names import KNOWN
from core.kohya.source import Given, Source, as_lists

Verdict = Literal["taken", "equivalent", "unneeded", "unknown"]

#: Flags of sdxl_train.py and sdxl_train_network.py alone.
_SDXL_ONLY = ("learning_rate_te1", "learning_rate_te2", "block_lr", "fused_optimizer_groups")

_NOT_SET = "not set"

#: In a dataset's configuration each folder has its own, and all count.
_EACH_FOLDERS = ("train_data_dir", "dataset_repeats", "class_tokens")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a flag."""

    verdict: Verdict
    field: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list: a flag, its value as text, and what became of it."""

    flag: str
    value: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Default:
    """A value that was written although no flag says it: sd-scripts' default, or what its script implies."""

    field: str
    value: Any
    note: str


class Job:
    """The flags of a source, the draft, and the answers so far.

    Attributes:
        flags: The flag that counts, by name (the last one).
        sdxl, lora: What is trained.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.draft = Draft()
        self.notes = list(source.notes)
        self.defaults: list[Default] = []
        self.extra: list[Given] = _arguments(source)
        self._answers: dict[str, Answer] = {}
        self.flags: dict[str, Given] = {}
        for given in (*source.given, *self.extra):
            self.flags[_key(given)] = given
        self.sdxl = source.script.startswith("sdxl") or self.on("sdxl") or self._looks_like_sdxl()
        self.lora = self._is_lora()

    def _is_lora(self) -> bool:
        if self.source.script in ("train_network.py", "sdxl_train_network.py"):
            return True
        if self.source.script in TRAINABLE:
            return False
        return self.has("network_module") or self.has("network_dim")

    def _looks_like_sdxl(self) -> bool:
        """Told from flags and the model's name, where no script of sd-scripts says it."""
        if self.source.script in TRAINABLE:
            return False
        name = re.split(r"[\\/]", self.text("pretrained_model_name_or_path"))[-1]
        return any(map(self.has, _SDXL_ONLY)) or bool(re.search(r"(sd|[^a-z]|^)xl([^a-z]|$)", name.lower()))

    # Looking up

    def value(self, name: str) -> Any:
        """The value that counts, or one that is implied; None when there is none or it means "not set"."""
        given = self.flags.get(name)
        if given is not None and not self._unset(given):
            return given.value
        return self.source.implied.get(name)

    def _unset(self, given: Given) -> bool:
        if given.value is None or given.value == "" or given.value == []:
            return True
        return self.source.gui and (given.value is False or str(given.value) in ("0", "0.0"))

    def has(self, name: str) -> bool:
        """Whether the flag is there with a value that means something."""
        return self.value(name) is not None

    def said(self, name: str) -> bool:
        """Whether the flag itself is there, not only implied."""
        return name in self.flags and not self._unset(self.flags[name])

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.has(name) and drafts.on(self.value(name))

    def text(self, name: str, default: str = "") -> str:
        """The value as text."""
        value = self.value(name)
        return default if value is None or value is True else str(value).strip()

    def path(self, text: str) -> str:
        """A path as Burnish should have it: whole, where a relative one is found beside the file."""
        near = self.source.near(text)
        return str(near.resolve()) if text and not Path(text).is_absolute() and near.exists() else text

    def number(self, name: str, default: float | None = None) -> float | None:
        """The value as a number; the default when it is missing. What cannot be read is answered as unknown."""
        value = self.value(name)
        if value is None:
            return default
        try:
            return drafts.number(value)
        except ValueError:
            self.answer(name, "unknown", note=f"{value} is not a number")
            return default

    # Answering

    def answer(self, name: str, verdict: Verdict, field: str = "", note: str = "") -> None:
        """Say what became of a flag; the first answer counts. Nothing happens where the flag is not given."""
        if name in self.flags:
            self._answers.setdefault(name, Answer(verdict, field, note))

    def take(self, name: str, field: str, value: Any = None, verdict: Verdict = "taken", note: str = "") -> bool:
        """Put a flag's value (or `value`) into an option and answer.

        False when it is not given, has an answer already, or was not taken.
        """
        if not self.has(name) or name in self._answers:
            return False
        trouble = self.draft.put(field, self.value(name) if value is None else value)
        if trouble:
            self.answer(name, "unknown", note=trouble)
            return False
        self.answer(name, verdict, field, note)
        return True

    def default(self, field: str, value: Any, note: str) -> None:
        """Write a value that no flag says, unless the option has one already or is not in this version."""
        if field not in self.draft.values and not self.draft.put(field, value):
            self.defaults.append(Default(field, value, note))

    def lacking(self, name: str, note: str) -> None:
        """A flag that Burnish had no like of when this was written; taken all the same if an option bears its name."""
        if not self.has(name):
            return
        field = self.draft.by_alias(name)
        if not field or not self.draft.has(field, self.value(name)) or not self.take(name, field):
            self.answer(name, "unknown", note=note)

    def rows(self) -> list[Row]:
        """Every flag in its order, with its answer."""
        names = {given.name for given in self.source.given}
        expanded = [given for given in self.extra if given.name.split(".")[0] in names]
        return [self._row(given) for given in (*self.source.given, *expanded)]

    def _row(self, given: Given) -> Row:
        name = _key(given)
        if self.flags.get(name) is not given and given.name not in _EACH_FOLDERS:
            answer = Answer("unneeded", note="given again further on; the last one counts")
        elif self._unset(given):
            answer = Answer("unneeded", note=_NOT_SET)
        else:
            answer = self._answers.get(name) or self._unanswered(given)
        note = "; ".join(filter(None, (given.remark, answer.note)))
        return Row(given.flag, given.shown or _shown(given.value), Answer(answer.verdict, answer.field, note))

    def _unanswered(self, given: Given) -> Answer:
        """No chapter knows the flag: it is off, misspelt, or of another program."""
        if given.value is False:
            return Answer("unneeded", note="off")
        guess = difflib.get_close_matches(given.name, KNOWN, 1, 0.8)
        if guess and given.part == "script":
            return Answer("unknown", note=f"no flag of sd-scripts; is --{guess[0]} meant?")
        return Answer("unknown", note="no flag of sd-scripts that Burnish knows")


def _key(given: Given) -> str:
    """Names of accelerate's options are kept apart: --mixed_precision is one of both."""
    return f"accelerate.{given.name}" if given.part == "accelerate" else given.name


def _arguments(source: Source) -> list[Given]:
    """The arguments in --network_args, --optimizer_args and --lr_scheduler_args as flags of their own."""
    found: dict[str, list[Given]] = {}
    for given in source.given:
        if given.name in ("network_args", "optimizer_args", "lr_scheduler_args"):
            found[given.name] = []
            for key, value in _pairs(given.value):
                found[given.name].append(Given(f"{given.flag} {key}", f"{given.name}.{key}", value))
    return [given for pieces in found.values() for given in pieces]


def _pairs(value: Any) -> list[tuple[str, str]]:
    """(key, value) of "a=1" texts; several may stand in one text, apart by blanks."""
    if isinstance(value, dict):
        value = as_lists(value)
    texts = value if isinstance(value, list | tuple) else [value]
    pairs = []
    for text in texts:
        pieces = re.split(r"[\s,]+(?=[A-Za-z_]\w*=)", str(text).strip().strip("\"'"))
        pairs += [piece.partition("=") for piece in pieces if "=" in piece]
    return [(key.strip().strip("\"'"), value.strip().strip("\"'")) for key, _, value in pairs]


def _shown(value: Any) -> str:
    """A value as text for the list."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return "" if value is None else str(value)
