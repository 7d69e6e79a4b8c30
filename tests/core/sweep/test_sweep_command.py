"""The command: dry run, a whole sweep, results, the queue's changes, and its mistakes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from core import cli, presets
from core.runs import Run
from core.sweep import queue as queues
from core.sweep.folder import SweepFolder, list_sweeps
from tests.core.sweep.conftest import MakeSweep


@pytest.fixture
def sweep_file(tmp_path: Path, ground: dict[str, Any]) -> Path:
    presets.save(tmp_path / "ground.toml", presets.build(ground, "t"), "ground")
    path = tmp_path / "mine.toml"
    path.write_text('name = "Mine"\nbase = "ground.toml"\n[vary]\ntraining.learning_rate = [1e-5, 1e-4]\n')
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert cli.run(["sweep", *arguments, "--json"], {}) == 0
    return json.loads(capsys.readouterr().out)


def test_a_dry_run_starts_nothing(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = said(capsys, str(sweep_file), "--dry-run", "--set", "training.max_steps=50")
    assert [run["varied"] for run in document["runs"]] == [{"training.learning_rate": r} for r in (1e-5, 1e-4)]
    assert document["estimate"]["steps"] == 100 and document["estimate"]["hours"] is None
    assert list_sweeps() == []
    assert cli.run(["sweep", str(sweep_file), "--dry-run"], {}) == 0
    text = capsys.readouterr().out
    assert "002-learning-rate-1e-4  Learning rate 1e-4" in text and "unknown until a run of this kind" in text
    assert cli.run(["sweep", "starter-rates", "--dry-run"], {}) == 0


def test_a_whole_sweep(
    sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue's process is real; it runs the pretending worker because its command line is replaced."""
    from core.commands import sweep as command

    code = (
        "import sys; from pathlib import Path; from core.sweep import queue; from tests.fixtures.sweep_worker import "
    )
    code += "launch; sys.exit(queue.work(Path(sys.argv[1]), launch))"

    def start(found: SweepFolder) -> Any:
        monkeypatch.setattr(queues, "worker_command", lambda kind, path: [sys.executable, "-c", code, str(path)])
        return queues.launch_process("sweep", found.process, dict(os.environ))

    monkeypatch.setattr(command, "start_queue", start)
    out = tmp_path / "out"
    document = said(capsys, str(sweep_file), "--out", str(out))
    assert document["state"] == "finished" and [run["state"] for run in document["runs"]] == ["finished"] * 2
    assert [Run(Path(run["path"])).settings().training.learning_rate for run in document["runs"]] == [1e-5, 1e-4]
    table = said(capsys, "--results", str(out), "--csv", str(tmp_path / "t.csv"))
    assert [run["verdict"] for run in table["runs"]] == ["still falling"] * 2 and len(table["best"]) >= 1
    assert (tmp_path / "t.csv").read_text().startswith("id,training.learning_rate,name,")
    assert said(capsys, "--resume", str(out))["state"] == "finished", "nothing is left to do"
    assert cli.run(["sweep", str(sweep_file), "--out", str(out)], {}) == 2
    assert "holds a run or a sweep already" in capsys.readouterr().err
    assert [one["name"] for one in said(capsys, "--list")["sweeps"]] == ["Mine"]
    assert cli.run(["sweep", "--results", "Mine"], {}) == 0
    assert "Lowest: Learning rate" in capsys.readouterr().out


def test_the_queue_can_be_changed(make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]) -> None:
    found = make_sweep([1e-5, 2e-5, 3e-5])
    first, second, third = (run.id for run in found.plan.runs)
    changed = said(capsys, "--queue", str(found.path), "--move", third, "1", "--skip", first)
    assert [(run["id"], run["state"]) for run in changed["runs"]] == [
        (third, "waiting"),
        (first, "skipped"),
        (second, "waiting"),
    ]
    assert said(capsys, "--queue", str(found.path), "--restore", first)["runs"][1]["state"] == "waiting"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give one of"),
        (["a.toml", "--list"], "Give one of"),
        (["none.toml"], "cannot be read"),
        (["starter-rate"], "Did you mean 'starter-rates'"),
        (["--results", "none"], "There is no sweep 'none'"),
        (["--resume", "SWEEP/runs"], "There is no sweep"),
        (["SWEEP"], "is a sweep's folder"),
        (["--queue", "SWEEP", "--skip", "001-learning"], "Did you mean '001-learning-rate-1e-5'"),
        (["--queue", "SWEEP", "--move", "001-learning-rate-1e-5", "x"], "a whole number from 1"),
    ],
)
def test_mistakes(arguments: list[str], words: str, make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]) -> None:
    found = make_sweep([1e-5])
    assert cli.run(["sweep", *(part.replace("SWEEP", str(found.path)) for part in arguments)], {}) == 2
    printed = capsys.readouterr()
    assert words in printed.err and not printed.out and len(printed.err.strip().splitlines()) == 1


def test_a_training_run_is_no_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.fixtures.run_folders import new_run

    run = new_run(tmp_path / "run")
    assert cli.run(["sweep", "--results", str(run.path)], {}) == 2
    assert "is not the folder of a sweep" in capsys.readouterr().err
