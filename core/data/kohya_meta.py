"""kohya's metadata (meta_cap, meta_lat): JSON and JSONL of any size, read and written entry by entry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core import atomic
from core.data.caption_files import split_lines
from core.data.json_stream import JsonError, entries
from core.errors import UserError

Size = tuple[int, int]

#: Endings of files with one JSON object a line.
LINES = (".jsonl", ".ndjson")

#: Bytes that one line may have.
_LONGEST_LINE = 64 << 20

#: What the path of the picture, and the sentence, are called in a line: by kohya's scripts, by data sets on hubs.
_PATH_NAMES = ("image_path", "file_name", "image", "path")
_TEXT_NAMES = ("caption", "text")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a metadata file says of one picture.

    Attributes:
        key: Path of the picture, or its name without the extension (kohya's "stem").
        caption, tags: Texts; several lines are several captions. "" where there is none.
        image_size, train_resolution: (width, height) of the picture and of its bucket; None where not said.
    """

    key: str
    caption: str = ""
    tags: str = ""
    image_size: Size | None = None
    train_resolution: Size | None = None


def read(path: Path) -> Iterator[Entry]:
    """The entries of a metadata file in its order, in the memory that one of them takes.

    The file's name decides: one JSON object a line where it ends in .jsonl or .ndjson, else one JSON object (or list)
    as a whole.

    Raises:
        UserError: the file cannot be read, or is damaged (at which byte or line), or is no metadata.
    """
    try:
        with path.open("rb") as file:
            yield from _read_lines(path, file) if path.suffix.lower() in LINES else _read_object(path, file)
    except OSError as error:
        raise UserError(f"The metadata {path} cannot be read ({error.strerror or error}). Check the path.") from error


def _read_object(path: Path, file: BinaryIO) -> Iterator[Entry]:
    try:
        for number, (key, value) in enumerate(entries(file), start=1):
            try:
                yield _entry(key, value)
            except ValueError as error:
                where = f"entry {number:,} ('{key}')" if key else f"entry {number:,}"
                raise _no_metadata(path, where, error) from None
    except JsonError as error:
        raise UserError(
            f"The metadata {path} is damaged: {error}. Export it anew, or repair it with a text editor."
        ) from None


def _read_lines(path: Path, file: BinaryIO) -> Iterator[Entry]:
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise UserError(f"The metadata {path} is damaged: line {number:,} is longer than 64 MB.")
        if not line.strip():
            continue
        try:
            value = json.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise UserError(
                f"The metadata {path} is damaged: line {number:,} is no JSON ({reason}). Repair or remove that line."
            ) from None
        try:
            yield _entry("", value)
        except ValueError as error:
            raise _no_metadata(path, f"line {number:,}", error) from None


def _no_metadata(path: Path, where: str, error: ValueError) -> UserError:
    return UserError(
        f"{path} is no metadata of pictures, or is damaged: {where} {error}. Choose a meta_cap or meta_lat file, or a "
        ".jsonl with image_path, caption and tags."
    )


def _entry(key: str, value: Any) -> Entry:
    """An entry from its JSON; ValueError with the rest of a sentence that begins with the entry."""
    if not isinstance(value, dict):
        raise ValueError("is no object with a caption or tags")
    key = key or next((value[name] for name in _PATH_NAMES if isinstance(value.get(name), str)), "")
    if not key:
        raise ValueError(f"names no picture ({', '.join(_PATH_NAMES)})")
    caption = next((value[name] for name in _TEXT_NAMES if value.get(name) is not None), "")
    sizes = _size(value.get("image_size")), _size(value.get("train_resolution"))
    return Entry(key, _text(caption, "\n"), _text(value.get("tags"), ", "), *sizes)


def _text(value: Any, between: str) -> str:
    """A caption or tags as text; lists, which other tools write, are joined."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = between.join(value)
    if not isinstance(value, str):
        raise ValueError("has a caption or tags that are no text")
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()  # half characters, which JSON can write
    return "\n".join(split_lines(value))


def _size(value: Any) -> Size | None:
    if isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value):
        return value[0], value[1]
    return None


def write(path: Path, rows: Iterable[Entry], overwrite: bool = False) -> int:
    """Write a metadata file, all or nothing, entry by entry; gives how many entries it has.

    JSONL where the name ends so, else one JSON object with an entry a line.

    Raises:
        UserError: there is a file of that name already and it may not be overwritten.
        OSError: as writing raises it.
    """
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already. Choose another name, or say --overwrite.")
    lines = path.suffix.lower() in LINES
    count = 0
    with atomic.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("" if lines else "{")
        for row in rows:
            values = _values(row)
            if lines:
                file.write(json.dumps({"image_path": row.key, **values}, ensure_ascii=False) + "\n")
            else:
                key, value = json.dumps(row.key, ensure_ascii=False), json.dumps(values, ensure_ascii=False)
                file.write(f"{',' if count else ''}\n{key}: {value}")
            count += 1
        file.write("" if lines else "\n}\n")
    return count


def _values(row: Entry) -> dict[str, Any]:
    """An entry without its key and without what it does not say."""
    values = {
        "caption": row.caption,
        "tags": row.tags,
        "image_size": row.image_size,
        "train_resolution": row.train_resolution,
    }
    return {name: value for name, value in values.items() if value}
