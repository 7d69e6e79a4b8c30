"""Turn settings of kohya's sd-scripts (a command line, a .toml, a kohya_ss .json) into a preset."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from pathlib import Path

from core.kohya.convert import Import, convert, write
from core.kohya.job import Row

#: Verdicts in the order of the list, the most important first.
_HEADINGS = {
    "unknown": "Unknown: not in the preset, look at these",
    "equivalent": "Equivalent: Burnish does it in another way",
    "taken": "Taken: the same in Burnish",
    "unneeded": "Not needed here",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE -o PRESET.toml."""
    parser.add_argument("file", type=Path, help="a command line (.sh, .bat, .txt), a .toml or a kohya_ss .json")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PRESET.toml", help="the preset to write")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Convert and write; prints {"preset", "flags", "defaults", "notes", "problems"} with --json."""
    found = convert(options.file)
    write(found, options.file, options.output)
    if options.json:
        print(json.dumps(_document(found, options.output)))
        return 0
    _show(found)
    print(f"\nThe preset is {options.output}. 'python3 main.py train {options.output}' trains it.")
    return 0


def _document(found: Import, target: Path) -> dict[str, object]:
    flags = []
    for row in found.rows:
        flag = {"flag": row.flag, "value": row.value, "verdict": row.answer.verdict, "field": row.answer.field}
        flags.append({**flag, "note": row.answer.note} if row.answer.note else flag)
    defaults = [{"field": one.field, "value": one.value, "note": one.note} for one in found.defaults]
    return {
        "preset": str(target),
        "flags": flags,
        "defaults": defaults,
        "notes": found.notes,
        "problems": found.problems,
    }


def _show(found: Import) -> None:
    """The list for people, by verdict."""
    width = max(60, min(shutil.get_terminal_size().columns, 140))
    for verdict, heading in _HEADINGS.items():
        rows = [row for row in found.rows if row.answer.verdict == verdict]
        if rows:
            print(f"{heading} ({len(rows)})")
            for row in rows:
                _line(_flag(row), _became(row), width)
            print()
    if found.defaults:
        print(f"Written though no flag says it ({len(found.defaults)})")
        for one in found.defaults:
            _line(f"{one.field} = {_short(str(one.value))}", one.note, width)
        print()
    for title, lines in (("Notes", found.notes), ("Before it can be trained", found.problems)):
        if lines:
            print(title)
            for text in lines:
                print(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  "))


def _flag(row: Row) -> str:
    return row.flag if row.value in ("true", "") else f"{row.flag} {_short(row.value)}"


def _became(row: Row) -> str:
    return ": ".join(filter(None, (row.answer.field, row.answer.note)))


def _short(text: str) -> str:
    """A value in at most 40 letters; of paths, the end says more."""
    return text if len(text) <= 40 else f"…{text[-39:]}"


def _line(left: str, right: str, width: int) -> None:
    column = 44
    first = f"  {left}".ljust(column)
    if len(left) + 2 >= column and right:
        print(f"  {left}")
        first = " " * column
    print(
        textwrap.fill(right, width, initial_indent=first, subsequent_indent=" " * column) if right else first.rstrip()
    )
