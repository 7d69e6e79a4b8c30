"""What was read from a file of kohya's: every flag as it stood there, whatever the kind of file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

#: Where a flag stood: of the training script, of "accelerate launch" before it, or in a dataset's configuration.
Part = Literal["script", "accelerate", "dataset"]


@dataclass(frozen=True, slots=True)
class Given:
    """One flag.

    Attributes:
        flag: As it stands in the file ("--xformers", "[general] batch_size").
        name: What sd-scripts (or accelerate) calls it ("train_batch_size").
        value: True for a switch without a value; text from a command line; any value from TOML and JSON.
        remark: What the reader has to say of it, for the list.
        shown: The value as it stands in the file, where `value` is told in sd-scripts' way; "" for the same.
    """

    flag: str
    name: str
    value: Any
    part: Part = "script"
    remark: str = ""
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of pictures out of a dataset's configuration.

    Attributes:
        repeats: How often each picture is seen in an epoch.
        words: The caption of pictures that have none ("class tokens").
    """

    path: str
    repeats: int = 1
    words: str = ""


@dataclass(slots=True)
class Source:
    """A whole file.

    Attributes:
        script: File name of the training script ("sdxl_train.py"), "" where none is told.
        given: Every flag in its order; the last of a name counts.
        implied: Values that follow from others and stand nowhere, by name.
        folders: Of a dataset's configuration; empty where none was read.
        regular: Those of it that are for regularisation.
        notes: Sentences about the file as a whole.
        gui: Whether it comes from kohya_ss' window, where 0 and "" stand for "not set".
    """

    path: Path
    script: str = ""
    given: list[Given] = field(default_factory=list)
    implied: dict[str, Any] = field(default_factory=dict)
    folders: list[Folder] = field(default_factory=list)
    regular: list[Folder] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gui: bool = False

    def near(self, text: str) -> Path:
        """A path in the file, as seen from the file's folder."""
        path = Path(text.strip().strip("\"'").replace("\\", "/")).expanduser()
        return path if path.is_absolute() else self.path.parent / path


def as_lists(table: Mapping[str, Any]) -> list[str]:
    """{"a": 1} as ["a=1"], the form in which arguments of an optimizer or a network stand."""
    return [f"{key}={value}" for key, value in table.items()]
