"""The page on file formats names every event, every field, every file of a run folder and every command."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from core import events as ev
from core.migrations import FORMAT
from core.paths import RESOURCES
from core.runs import RUN_FORMAT, CommandName
from tests.fixtures.run_folders import new_run

PAGE = (RESOURCES / "docs" / "file-formats.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [*get_args(ev.AnyEvent), ev.Gpu])
def test_every_event_and_field_is_described(kind: type) -> None:
    tag = kind.__struct_config__.tag or "telemetry"
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{tag}` |")]
    for field in msgspec.structs.fields(kind):
        assert field.name == "time" or f"`{field.name}`" in row, (tag, field.name)


def test_no_event_is_described_that_there_is_not() -> None:
    part = PAGE.split("## events.jsonl")[1].split("## commands.jsonl")[0]
    described = {line.split("`")[1] for line in part.splitlines() if line.startswith("| `")}
    assert described == {kind.__struct_config__.tag for kind in get_args(ev.AnyEvent)}


def test_every_file_of_a_run_folder_is_described(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with run.locked():
        run.send("stop")
        found = {path.name + ("/" if path.is_dir() else "") for path in run.path.iterdir()}
    found |= {run.events_path.name, run.console_path.name, f"{run.states_path.name}/"}
    for name in found:
        assert f"| `{name}` |" in PAGE, name
    for key in run.facts():
        assert f"`{key}`" in PAGE, key


def test_commands_and_formats_are_those_of_the_code() -> None:
    for command in get_args(CommandName):
        assert f"`{command}`" in PAGE.split("## commands.jsonl")[1].split("## ")[0]
    assert f"`format` ({RUN_FORMAT})" in PAGE and f"`format` ({FORMAT})" in PAGE.split("## Presets")[1]
