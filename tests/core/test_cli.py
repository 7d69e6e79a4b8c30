"""Tests of core/cli.py, core/commands and main.py: statuses, one line of error, one JSON document; for real."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import cli, presets
from core.commands import test as test_command
from core.commands import train
from core.effects import effects
from core.errors import Stopped, UserError, disk_sentence
from tests.fixtures.pictures import tiny_pictures
from tests.fixtures.processes import ROOT, environment, program
from tests.fixtures.run_folders import fake_checkpoint, new_run, started, step, telemetry, write_events

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runs", "show", "garbage"], "There is no run 'garbage'"),
        (["trian"], "There is no command and no file 'trian'. Did you mean 'train'?"),
        (["train", "starter", "--set", "training.sed=1"], "Did you mean 'training.seed'?"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_status_2(arguments: list[str], says: str) -> None:
    found = program(*arguments)
    assert found.returncode == 2 and found.stdout == ""
    assert says in found.stderr and len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["index", "/none"], "The picture folder /none does not exist"),
        (["index", "~nobody-of-that-name/x"], "nobody-of-that-name/x does not exist"),
        (["index"], "required: DIR. 'python3 main.py index --help' shows what is possible."),
        (["index", ".", "--resolution", "9"], "data.resolution = 9 is not possible"),
        (["train"], "Give either a preset or --resume RUN."),
        (["train", "starter", "--resume", "x"], "Give either a preset or --resume RUN."),
        (["train", "startr"], "There is no preset 'startr'. Did you mean 'starter'?"),
        (["train", "none.toml"], "No such file"),
        (["train", "sd15-lora"], "model.base: choose the model to start from."),
        (["train", "--resume", "none"], "There is no run 'none'"),
        (["train", "--resume", "none", "--run", "x"], "Leave --run out"),
        (["cache", "starter", "extra"], "is one argument too many"),
        (["cache", "verify", "/none"], "/none is not a folder"),
        (["grid", "none.toml"], "No such file"),
        (["runs"], "required: list|show|import|export. 'python3 main.py runs --help'"),
        (["runs", "show"], "'python3 main.py runs show --help'"),
        (["bench", "nothing"], "There is no benchmark 'nothing'. Choose one of "),
        (["bench"], "Choose one of "),
        (["docs", "--chekc"], "unrecognized arguments: --chekc"),
    ],
)
def test_mistakes_of_every_command(arguments: list[str], says: str, capsys: Capture) -> None:
    assert cli.run(arguments, {}) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert says in captured.err


def test_paths_that_are_of_the_wrong_kind(tmp_path: Path, capsys: Capture) -> None:
    for arguments, says in (
        (["train", str(tmp_path)], "Is a directory"),
        (["grid", str(tmp_path)], "Is a directory"),
        (["runs", "show", str(tmp_path)], "There is no run"),
        (["index", str(tmp_path)], "There is no picture in"),
        (["index", __file__], "is not a folder"),
    ):
        assert cli.run(arguments, {}) == 2
        assert says in capsys.readouterr().err, arguments


def test_train_into_a_folder_that_is_a_run_already(tmp_path: Path, capsys: Capture) -> None:
    new_run(tmp_path / "run")
    assert cli.run(["train", "starter", "--run", str(tmp_path / "run")], {}) == 2
    assert "holds a run already. Go on with it by --resume" in capsys.readouterr().err


def test_runs_of_newer_versions_and_grids_are_not_resumed(tmp_path: Path, capsys: Capture) -> None:
    run = new_run(tmp_path / "run")
    facts = run.facts()
    for change, says in (({"format": 99}, "newer version of Burnish"), ({"kind": "grid"}, "is not a training run")):
        (run.path / "run.json").write_text(json.dumps({**facts, **change}))
        assert cli.run(["train", "--resume", str(run.path)], {}) == 2
        assert says in capsys.readouterr().err


def test_a_change_at_a_resume_is_checked_before_it_is_frozen(tmp_path: Path, capsys: Capture) -> None:
    run = new_run(tmp_path / "run", model__base="burnish:starter/model", data__folders=["/none"], training__max_steps=5)
    before = run.settings_path.read_text()
    assert cli.run(["train", "--resume", str(run.path), "--set", "training.max_steps=9"], {}) == 2
    assert "data.folders: /none is not a folder" in capsys.readouterr().err
    assert run.settings_path.read_text() == before


def test_a_change_at_a_resume_says_what_it_does() -> None:
    def changed(**changes: object) -> list[str]:
        old = presets.flat(presets.load(train.preset_path("starter"), []))
        return effects(old, {**old, **{key.replace("__", "."): value for key, value in changes.items()}})

    assert changed(training__learning_rate=1e-5) == ["training.learning_rate: 0.0003 -> 1e-05, from the next step on"]
    assert changed(training__optimizer="sgd")[0].endswith("whose memory of past gradients begins anew")
    assert "cannot be compared" in changed(validation__seed=5)[0] and "order" in changed(data__flip=True)[0]
    assert changed(validation__every_steps=7)[0].endswith("from the next step on")
    assert changed() == []
    for key, value in (("training__method", "lora"), ("lora__rank", 4), ("model__base", "other")):
        with pytest.raises(UserError, match="cannot change within a run"):
            changed(**{key: value})


def test_a_run_that_is_at_work_is_not_resumed_again(tmp_path: Path, capsys: Capture) -> None:
    run = new_run(tmp_path / "run")
    before = run.settings_path.read_text()
    with run.locked():
        assert cli.run(["train", "--resume", str(run.path), "--set", "training.seed=5"], {}) == 2
    assert "another worker is at this run already" in capsys.readouterr().err
    assert run.settings_path.read_text() == before


def test_json_is_one_document_and_nothing_else(tmp_path: Path) -> None:
    pictures = tiny_pictures(tmp_path / "pictures", 6)
    (pictures / "broken.png").write_text("words")
    found = program("index", str(pictures), "--json", "--resolution", "64", "--min", "32", "--step", "32")
    assert found.returncode == 0 and found.stderr == ""
    report = json.loads(found.stdout)
    assert (report["images"], report["captioned"], len(report["broken"])) == (6, 6, 1)
    assert report["broken"][0]["path"].endswith("broken.png") and report["broken"][0]["reason"]
    assert sum(bucket["count"] for bucket in report["buckets"]) == 6 and report["steps_per_epoch"] > 0


def test_runs_in_json_and_in_words(tmp_path: Path, capsys: Capture) -> None:
    assert cli.run(["runs", "list", "--json"], {}) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": []}
    assert cli.run(["runs", "list"], {}) == 0
    assert "There are no runs yet" in capsys.readouterr().out
    run = new_run(tmp_path / "run", output__name="R")
    write_events(run, [started(), step(1, 0.5), step(2, float("nan")), step(3, 0.25), telemetry(3, 0.5)])
    path = fake_checkpoint(run, 3)
    assert cli.run(["runs", "list", "--json"], {}) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["name"], row["state"], row["step"], row["path"]) == ("R", "interrupted", 3, str(run.path))
    assert cli.run(["runs", "show", row["id"], "--json"], {}) == 0
    shown = json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert shown["checkpoints"] == [{"step": 3, "path": str(path)}]
    energy = shown["energy"]
    assert {name: energy.pop(name) for name in ("kwh", "cost", "currency", "source", "co2_grams")} == {
        **{"kwh": 0.5, "cost": 0.15, "currency": "EUR"},
        **{"source": "power", "co2_grams": 200.0},
    }
    assert energy == {
        "per_1000_images": pytest.approx({"kwh": 125 / 3, "cost": 12.5, "co2": 5e4 / 3}),
        "projected": None,
    }
    assert shown["series"]["loss"]["min"] == {"step": 3, "value": 0.25} and shown["series"]["loss"]["points"] == 3
    assert cli.run(["runs", "show", "R"], {}) == 0
    said = capsys.readouterr().out
    assert "R: interrupted at step 3, 1 checkpoints" in said and "for 1,000 images: 41.67 kWh, 12.50 EUR" in said


def test_help_and_the_list_of_commands(capsys: Capture) -> None:
    assert cli.run(["--help"], {}) == 0
    usage = capsys.readouterr().out
    files = {path.stem.replace("_", "-") for path in (ROOT / "core" / "commands").glob("*.py")} - {"--init--"}
    assert files == set(cli.COMMANDS) and all(f"main.py {name} " in usage for name in files)


@pytest.mark.parametrize("name", sorted(set(cli.COMMANDS) - {"test"}))
def test_every_command_explains_itself(name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run([name, "--help"], {})
    assert end.value.code == 0 and f"usage: python3 main.py {name}" in capsys.readouterr().out


def test_the_window_is_opened_with_what_is_named(tmp_path: Path) -> None:
    opened: list[list[str]] = []

    def window(arguments: list[str]) -> int:
        opened.append(arguments)
        return 7

    assert cli.run([], {"open": window}) == 7
    assert cli.run([str(tmp_path)], {"open": window}) == 7
    assert cli.run(["/none/such"], {"open": window}) == 2
    assert opened == [[], [str(tmp_path)]]


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (UserError("Do that."), 2, "Do that."),
        (KeyboardInterrupt(), 130, "Stopped."),
        (Stopped(), 130, "Stopped."),
        (OSError(28, "No space left on device", "/x/y"), 2, "The disk is full: /x/y was not written."),
        (PermissionError(13, "Permission denied", "/x/y"), 2, "/x/y cannot be read or written (Permission denied)."),
        (ValueError("odd"), 1, "Burnish failed (ValueError: odd). The whole story is in "),
    ],
)
def test_errors_become_one_line_and_a_status(
    error: BaseException, status: int, says: str, capsys: Capture, burnish_home: Path
) -> None:
    assert cli.guarded(raising(error)) == status
    captured = capsys.readouterr()
    assert captured.err.startswith(says) and captured.err.count("\n") == 1 and "Traceback" not in captured.err
    log = burnish_home / "burnish.log"
    assert log.exists() == (status == 1)
    if status == 1:
        assert "Traceback" in log.read_text() and str(log) in captured.err


def test_a_failure_is_told_even_where_the_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    assert cli.guarded(raising(ValueError("odd"))) == 1
    assert str(tmp_path / "tmp" / "burnish.log") in capsys.readouterr().err
    assert "ValueError: odd" in (tmp_path / "tmp" / "burnish.log").read_text()


def test_other_errors_of_the_system_are_bugs() -> None:
    assert disk_sentence(FileNotFoundError(2, "No such file", "/x")) == ""


def test_a_reader_that_goes_away_is_no_failure() -> None:
    command = [sys.executable, str(ROOT / "main.py"), "runs", "list"]
    child = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    errors = child.stderr.read()
    child.stderr.close()
    child.wait(60)
    assert errors == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give up being root")
def test_folders_that_may_not_be_written(tmp_path: Path) -> None:
    """As a user who may not write: `index` needs its cache, `runs list` needs nothing."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed")
    home = tmp_path / "home"
    pictures = tiny_pictures(tmp_path / "pictures", 2)
    home.mkdir(mode=0o755)
    made = itertools.takewhile(lambda folder: folder.name.startswith(("pytest-", "popen-")), tmp_path.parents)
    for folder in (tmp_path, *made, pictures):
        folder.chmod(folder.stat().st_mode | 0o055)
    command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c"]
    code = "import sys; from core.cli import run; sys.exit(run(sys.argv[1:], {}))"
    changed = {"BURNISH_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments: str) -> Any:
        return subprocess.run(
            [*command, code, *arguments],
            env=environment(changed),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    if run("--help").returncode:
        pytest.skip("another user may not read the program here")
    listed, indexed = run("runs", "list"), run("index", str(pictures))
    assert listed.returncode == 0
    assert indexed.returncode == 2 and len(indexed.stderr.splitlines()) == 1 and str(home) in indexed.stderr


def test_the_test_command_hands_all_to_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(test_command.subprocess, "call", lambda command, **_: called.append(command) or 5)
    assert cli.run(["test", "-k", "x", "--help"], {}) == 5
    assert called == [[sys.executable, "-m", "pytest", "-k", "x", "--help"]]
