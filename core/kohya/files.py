"""Reads any file of kohya's by its content: a command line, a configuration in TOML, or a file of the GUI in JSON."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.kohya.command import canonical, read_command
from core.kohya.gui import read_gui
from core.kohya.source import Folder, Given, Source, as_lists

#: Larger ones are no settings.
_MAX_BYTES = 5_000_000

#: Names in a dataset's configuration that are others on the command line.
_DATASET_NAMES = {
    "batch_size": "train_batch_size",
    "num_repeats": "dataset_repeats",
    "image_dir": "train_data_dir",
    "metadata_file": "in_json",
}


#: What each folder has of its own.
_OWN = ("image_dir", "num_repeats", "class_tokens", "is_reg", "metadata_file")


def read(path: Path) -> Source:
    """Every flag of a file, with what the files that it names add (--config_file, --dataset_config).

    Raises a UserError for a file that cannot be read or holds no training.
    """
    text = read_text(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        source = read_gui(path, _json(path, text))
    elif suffix == ".toml":
        source = Source(path)
        source.given = list(_from_tables(_toml(path, text)))
        if not source.given:
            raise UserError(_only_data(path) if "datasets" in _toml(path, text) else f"{path} holds no settings.")
    else:
        source = read_command(path, text)
    _include_config(source)
    _include_dataset(source)
    return source


def read_text(path: Path) -> str:
    """A text file as UTF-8, UTF-16 with a mark, or else the old Windows encoding; UserError when it is none."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from None
    if len(data) > _MAX_BYTES:
        raise UserError(f"{path} is larger than 5 MB, so it is no file of settings. Give the command or its settings.")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise UserError(f"{path} is not a text file. Give a command line, a .toml or a .json of kohya's.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _json(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a file of the kohya_ss GUI: it should hold one table of settings.")
    return found


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from None


def _only_data(path: Path) -> str:
    return (
        f"{path} describes pictures only and holds no training command. Give the command (or the --config_file) that "
        "names it as --dataset_config."
    )


def _from_tables(tables: Mapping[str, Any], outer: str = "") -> Iterator[Given]:
    """The values of a configuration; sections are flattened as sd-scripts flattens them, "datasets" left out."""
    for key, value in tables.items():
        if isinstance(value, Mapping) and key.endswith("_args") and not outer.startswith(key):
            plain = {name: inner for name, inner in value.items() if not isinstance(inner, Mapping)}
            if key in ("optimizer_args", "network_args", "lr_scheduler_args") and plain:
                yield Given(key, key, as_lists(plain))
                continue
        if isinstance(value, Mapping):
            if not (not outer and key == "general" and "datasets" in tables):
                yield from _from_tables(value, key)
        elif not (isinstance(value, list) and value and isinstance(value[0], Mapping)):
            name, remark = canonical(key, "script")
            yield Given(key, name, value, remark=remark)


def _include_config(source: Source) -> None:
    """--config_file: its values stand under those of the command line, as sd-scripts has it."""
    named = [given for given in source.given if given.name == "config_file" and given.part == "script"]
    if not named:
        return
    path = source.near(str(named[-1].value))
    path = path if path.suffix == ".toml" else path.with_name(f"{path.name}.toml")
    if not path.is_file():
        source.notes.append(f"--config_file {path} is not there, so its settings are missing. Put it there and repeat.")
        return
    launch = [given for given in source.given if given.part == "accelerate"]
    own = [given for given in source.given if given.part != "accelerate"]
    source.given = [*launch, *_from_tables(_toml(path, read_text(path))), *own]
    source.notes.append(f"The settings of {path} were read too; what the command line says comes before them.")


def _include_dataset(source: Source) -> None:
    """--dataset_config: its values come before all others, as sd-scripts has it."""
    named = [given for given in source.given if given.name == "dataset_config" and given.value]
    if not named:
        return
    path = source.near(str(named[-1].value))
    if not path.is_file():
        text = f"--dataset_config {path} is not there, so the pictures and their rules are missing. Put it there and "
        source.notes.append(text + "repeat, or set data.folders yourself.")
        return
    found = _json(path, read_text(path)) if path.suffix.lower() == ".json" else _toml(path, read_text(path))
    ignored = ("train_data_dir", "reg_data_dir", "in_json")
    kept = (given for given in source.given if given.name not in ignored)
    dropped = [given for given in source.given if given.name in ignored]
    source.given = [*kept, *_from_dataset(found, source)]
    for given in dropped:
        remark = "sd-scripts does not look at it beside --dataset_config"
        source.given.insert(0, Given(given.flag, f"ignored.{given.name}", given.value, given.part, remark))


def _from_dataset(found: Mapping[str, Any], source: Source) -> Iterator[Given]:
    """The values of a dataset's configuration, the general ones first, and its folders into source.folders."""
    general = found.get("general", {})
    general = general if isinstance(general, Mapping) else {}
    yield from _level(general, "[general]")
    datasets = _tables(found.get("datasets"))
    everywhere = [{**dataset, **subset} for dataset in datasets for subset in _tables(dataset.get("subsets"))]
    for dataset in datasets:
        yield from _level(dataset, "[[datasets]]")
        for subset in _tables(dataset.get("subsets")):
            values = {**general, **dataset, **subset}
            regular = bool(values.get("is_reg"))
            for given in _level(subset, "[[datasets.subsets]]", everywhere):
                if regular and given.name == "train_data_dir":
                    yield Given(given.flag, "reg_data_dir", given.value, "dataset")
                else:
                    yield given
            if "image_dir" in subset:
                repeats = values.get("num_repeats", 1)
                whole = repeats if isinstance(repeats, int) and not isinstance(repeats, bool) else 1
                of_kind = source.regular if regular else source.folders
                of_kind.append(Folder(str(subset["image_dir"]), whole, str(values.get("class_tokens", ""))))


def _level(table: Any, place: str, others: Sequence[Mapping[str, Any]] = ()) -> Iterator[Given]:
    """The values of one table; `others` are all folders', which may have another value or none."""
    if not isinstance(table, Mapping):
        return
    for key, value in table.items():
        name = str(key)
        if name != "subsets":
            same = name in _OWN or all(other.get(name) == value for other in others)
            remark = "" if same else "not of every folder; Burnish has one value for all"
            yield Given(f"{place} {name}", _DATASET_NAMES.get(name, name), value, "dataset", remark)


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [table for table in value if isinstance(table, Mapping)] if isinstance(value, list) else []
