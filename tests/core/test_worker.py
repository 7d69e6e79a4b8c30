"""Tests of core/worker.py at its border: what a real worker says when it cannot begin."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from core import events as ev
from core.launch import worker_command, worker_environment
from core.runs import Kind, Run
from tests.fixtures.run_folders import new_run


def work(kind: Kind, run: Run) -> tuple[int, str, str]:
    """(status, stderr, console.log) of a worker on a run folder."""
    command = worker_command(kind, run.path)
    found = subprocess.run(command, env=worker_environment(), capture_output=True, text=True, timeout=90, check=False)
    console = run.console_path.read_text() if run.console_path.is_file() else ""
    return found.returncode, found.stderr, console


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (None, "settings.toml cannot be read"),
        ("[model]\nbasis = 1", "there is no setting 'model.basis'"),
        ("[", "not valid TOML"),
    ],
)
def test_settings_that_cannot_be_read(tmp_path: Path, settings: str | None, says: str) -> None:
    run = new_run(tmp_path / "run")
    run.settings_path.unlink()
    if settings is not None:
        run.settings_path.write_text(settings)
    status, errors, console = work("train", run)
    assert status == 2 and errors == ""
    assert says in console and "Traceback" not in console and not (run.path / "worker.json").exists()


def test_a_run_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    (run.path / "run.json").write_text(json.dumps({**run.facts(), "format": 99}))
    before = sorted(run.path.iterdir())
    status, errors, _ = work("train", run)
    assert status == 2 and "newer version of Burnish" in errors and len(errors.splitlines()) == 1
    assert sorted(run.path.iterdir()) == before


def test_a_console_log_that_cannot_be_written(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    run.console_path.mkdir()
    status, errors, _ = work("train", run)
    assert status == 2 and "console.log cannot be written" in errors and len(errors.splitlines()) == 1


def test_a_model_that_is_none_is_the_last_event(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"no model at all")
    run = new_run(tmp_path / "run", model__base=str(model), data__folders=[str(tmp_path)], training__max_steps=1)
    status, errors, console = work("train", run)
    (ended,) = [event for event in ev.Follower(run.events_path).read() if isinstance(event, ev.Ended)]
    assert status == 2 and errors == "" and ended.state == "failed"
    assert str(model) in ended.text and "\n" not in ended.text and "Burnish failed" not in ended.text
    assert run.state()[0] == "failed" and "Traceback" not in console
