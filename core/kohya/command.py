"""Finds the training command in a pasted text and reads its flags, those of "accelerate launch" included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.kohya.names import KNOWN, LAUNCH_SWITCHES, LISTS, SPELLINGS, SWITCHES
from core.kohya.source import Given, Part, Source
from core.kohya.words import Command, read_script, split_words

#: Training scripts whose work Burnish does.
TRAINABLE = ("sdxl_train.py", "sdxl_train_network.py", "fine_tune.py", "train_network.py", "train_db.py")

#: Scripts of sd-scripts that train what Burnish does not, with a word for it.
_OTHERS = {
    "train_textual_inversion.py": "textual inversion (an embedding)",
    "sdxl_train_textual_inversion.py": "textual inversion (an embedding)",
    "train_textual_inversion_XTI.py": "textual inversion (an embedding)",
    "train_controlnet.py": "a ControlNet",
    "train_control_net.py": "a ControlNet",
    "sdxl_train_control_net.py": "a ControlNet",
    "sdxl_train_control_net_lllite.py": "a ControlNet",
    "sdxl_train_control_net_lllite_old.py": "a ControlNet",
    "flux_train.py": "Flux",
    "flux_train_network.py": "Flux",
    "flux_train_control_net.py": "Flux",
    "sd3_train.py": "Stable Diffusion 3",
    "sd3_train_network.py": "Stable Diffusion 3",
    "lumina_train.py": "Lumina",
    "lumina_train_network.py": "Lumina",
    "hunyuan_image_train_network.py": "HunyuanImage",
    "anima_train.py": "Anima",
    "anima_train_network.py": "Anima",
}

_SCRIPT = re.compile(r"([\w.-]+\.py)$")
_MODULE = re.compile(r"^-m$|^--module$")
_LAUNCHER = re.compile(r"(^|[\\/>!])accelerate(\.exe)?$|^accelerate\.commands\.launch$", re.IGNORECASE)
_FLAG = re.compile(r"^-{1,2}[A-Za-z]")
_VARIABLE = re.compile(r"^[A-Za-z_]\w*=")
#: Any of these says that a command trains, whatever its script is called.
_TELLING = ("pretrained_model_name_or_path", "train_data_dir", "dataset_config")


@dataclass(frozen=True, slots=True)
class _Training:
    """A command that starts a training script."""

    command: Command
    script: str
    place: int


def read_command(path: Path, text: str) -> Source:
    """The flags of the first training command in a text.

    Raises a UserError when there is none, or only one of a kind that Burnish does not train.
    """
    script = read_script(text)
    found = list(_trainings(script.commands))
    fit = [one for one in found if one.script in TRAINABLE or (one.script not in _OTHERS and _tells(one))]
    if not fit:
        raise UserError(_nothing_to_train(path, found))
    chosen = fit[0]
    if chosen.command.problem:
        raise UserError(f"{path}, line {chosen.command.line}: {chosen.command.problem}.")
    source = Source(path, chosen.script)
    _say_which(source, chosen, len(fit))
    _read_launch(source, chosen)
    source.given += parse_flags(chosen.command.words[chosen.place + 1 :])
    unset = sorted(name for name in script.unset if any(name in str(given.value) for given in source.given))
    if unset:
        source.notes.append(f"These variables have no value in the file and stand as they are: {', '.join(unset)}.")
    return source


def not_trainable(path: Path, what: str) -> UserError:
    """The error for a training of another kind."""
    return UserError(
        f"{path} trains {what}, which Burnish does not do. It trains Stable Diffusion 1.5 and SDXL: the whole model, "
        "parts of it, or a LoRA."
    )


def _nothing_to_train(path: Path, found: Sequence[_Training]) -> str:
    for one in found:
        if one.script in _OTHERS:
            return str(not_trainable(path, f"{_OTHERS[one.script]} ({one.script})"))
    return (
        f"{path} holds no training command of sd-scripts. Give a file with a line such as "
        f"'accelerate launch {TRAINABLE[0]} --pretrained_model_name_or_path=...'."
    )


def _trainings(commands: Sequence[Command]) -> Iterator[_Training]:
    """Commands that start a Python file with flags; and such as are flags only, pasted without their beginning."""
    for command in commands:
        for place, word in enumerate(command.words):
            match = _SCRIPT.search(word.replace("\\", "/"))
            if match and not _VARIABLE.match(word) and not word.startswith("-") and _has_flags(command, place):
                yield _Training(command, match[1], place)
                break
            if _MODULE.match(word) and (name := "".join(command.words[place + 1 : place + 2])) in _modules():
                yield _Training(command, f"{name}.py", place + 1)
                break
        else:
            if command.words[0].startswith("--") and "pretrained_model" in " ".join(command.words):
                yield _Training(command, "", -1)


def _modules() -> set[str]:
    return {name.removesuffix(".py") for name in (*TRAINABLE, *_OTHERS)}


def _has_flags(command: Command, place: int) -> bool:
    return any(_FLAG.match(word) for word in command.words[place + 1 :])


def _tells(one: _Training) -> bool:
    """Whether an unknown script's flags are those of a training."""
    names = {given.name for given in parse_flags(one.command.words[one.place + 1 :])}
    return any(name in names for name in _TELLING)


def _say_which(source: Source, chosen: _Training, count: int) -> None:
    if count > 1:
        source.notes.append(
            f"The file has {count} training commands; the one at line {chosen.command.line} "
            f"({chosen.script or 'flags only'}) was taken."
        )
    if not chosen.script:
        source.notes.append("No training script is named; what is trained was told from the flags.")
    elif chosen.script not in TRAINABLE:
        source.notes.append(f"{chosen.script} is no script of sd-scripts; what it trains was told from the flags.")
    before = [word for word in chosen.command.words[: max(0, chosen.place)] if _VARIABLE.match(word)]
    if before:
        source.notes.append(f"Variables in front of the command are not taken: {' '.join(before)}.")


def _read_launch(source: Source, chosen: _Training) -> None:
    """The options of "accelerate launch" between it and the script."""
    words = chosen.command.words[: max(0, chosen.place)]
    starts = [place for place, word in enumerate(words) if _LAUNCHER.search(word)]
    if starts:
        own = [word for word in words[starts[0] + 1 :] if word != "launch"]
        source.given += parse_flags(own, part="accelerate")


def parse_flags(words: Sequence[str], part: Part = "script") -> list[Given]:
    """The flags of an argument list, as argparse would read them, but forgiving.

    A path with blanks that lost its quotes is put together again, and shortened names are understood.
    """
    found: list[Given] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not _FLAG.match(word):
            continue
        flag, equals, text = word.partition("=")
        name, remark = canonical(flag, part)
        values = [text] if equals else []
        while place < len(words) and not _FLAG.match(words[place]) and _wants(name, values, part):
            values.append(words[place])
            place += 1
        found.append(Given(flag, name, _value(name, values), part, remark))
    return found


def _wants(name: str, values: list[str], part: Part) -> bool:
    """Whether one more word without dashes can belong to the flag."""
    if part == "accelerate":
        return name not in LAUNCH_SWITCHES and not values
    if name in LISTS:
        return True
    return name not in SWITCHES


def _value(name: str, values: list[str]) -> Any:
    if name in LISTS:
        return values
    return " ".join(values) if values else True


def canonical(flag: str, part: Part) -> tuple[str, str]:
    """(sd-scripts' name, remark) of a flag as it was typed: dashes off, old spellings, unique beginnings."""
    name = flag.lstrip("-").replace("-", "_")
    name = SPELLINGS.get(name, name)
    if part != "script" or name in KNOWN:
        return name, ""
    longer = [known for known in KNOWN if known.startswith(name)]
    return (longer[0], f"short for --{longer[0]}") if len(longer) == 1 else (name, "")


def parse_line(text: str) -> list[Given]:
    """The flags in one line of arguments (the field "additional parameters" of the GUI)."""
    return parse_flags(split_words(text))
