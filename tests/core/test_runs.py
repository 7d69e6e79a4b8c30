"""Tests of core/runs.py: run folders, with real workers that hold them, die, or come second."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from core import events as ev
from core import presets, runs
from core.errors import UserError
from core.runs import Command, CommandReader, Run
from tests.fixtures.processes import child, wait_until
from tests.fixtures.run_folders import fake_checkpoint, new_run, started, step, telemetry, write_events

#: A worker that holds the run, says that it began, and waits to be killed or let go.
_HOLDER = """
import sys
from pathlib import Path
from core import events as ev
from core.runs import Run
run = Run(Path(sys.argv[1]))
with run.locked():
    writer = ev.Writer(run.events_path)
    writer.write(ev.Paused(step=7) if sys.argv[2] == "pause" else ev.Continued(step=7))
    print("holding", flush=True)
    sys.stdin.readline()
"""


def test_a_new_run_has_its_folder_and_frozen_settings(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", training__seed=5, output__name="Mein Lauf")
    assert {path.name for path in run.path.iterdir()} == {
        *("checkpoints", "samples", "grids", "run.json", "settings.toml"),
    }
    assert run.settings().training.seed == 5
    facts = run.facts()
    assert (facts["name"], facts["kind"], facts["format"]) == ("Mein Lauf", "train", runs.RUN_FORMAT)
    assert run.state() == ("new", 0) and run.energy_kwh() == 0.0
    assert run.checkpoint_path(12).name == "Mein-Lauf-step00000012.safetensors"
    assert presets.read(run.settings_path).values == presets.flat(run.settings())


def test_a_run_without_a_folder_lies_among_the_users_runs(burnish_home: Path) -> None:
    run = new_run(data__folders=["/some/pictures"])
    assert run.path.parent == burnish_home / "runs" and run.name == "pictures lora"


def test_relative_paths_are_frozen_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = new_run(
        Path("run"), data__folders=["pictures", "burnish:starter"], model__base="m.safetensors"
    ).settings()
    assert settings.data.folders == [str(tmp_path / "pictures"), "burnish:starter"]
    assert settings.model.base == str(tmp_path / "m.safetensors") and settings.model.vae == ""


def test_a_folder_that_is_a_run_is_not_taken_again(tmp_path: Path) -> None:
    first = new_run(tmp_path / "run")
    with pytest.raises(UserError, match="holds a run already"):
        new_run(tmp_path / "run")
    assert first.facts() == Run(tmp_path / "run").facts()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the run folder cannot be made"):
        new_run(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "is not a run folder"),
        ("garbage", "cannot be read"),
        ("[]", "is damaged"),
        ('{"format": "x"}', "is damaged"),
        ('{"format": 99, "version": "9.0"}', r"newer version of Burnish \(9.0\)"),
    ],
)
def test_folders_that_are_no_runs(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=says):
        runs.open_run(tmp_path)


def test_a_run_that_says_little_of_itself_is_still_listed(burnish_home: Path) -> None:
    (burnish_home / "runs" / "bare").mkdir(parents=True)
    (burnish_home / "runs" / "bare" / "run.json").write_text('{"format": 1}')
    assert [run.facts()["name"] for run in runs.list_runs()] == ["bare"]


def test_list_is_the_newest_first_and_passes_over_garbage(burnish_home: Path, tmp_path: Path) -> None:
    names = ["one", "two", "three"]
    made = [
        new_run(output__name="one"),
        new_run(tmp_path / "elsewhere", output__name="two"),
        new_run(output__name="three"),
    ]
    (burnish_home / "runs" / "garbage").mkdir()
    (burnish_home / "runs" / "file").touch()
    assert [run.name for run in runs.list_runs()] == names[::-1]
    made[1].path.joinpath("run.json").unlink()
    assert [run.name for run in runs.list_runs()] == ["three", "one"]
    (burnish_home / "other-runs.json").write_text("5")
    assert len(runs.list_runs()) == 2


def test_find_by_folder_id_or_name(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", output__name="A name")
    for name in (str(run.path), run.facts()["id"], "A name", "run"):
        assert runs.find(name).path == run.path
    with pytest.raises(UserError, match="There is no run 'other'"):
        runs.find("other")


def test_a_jobs_folder_of_a_cache_is_not_remembered(tmp_path: Path) -> None:
    runs.create(presets.build({}, "test"), tmp_path / "job", kind="cache")
    assert runs.list_runs() == []


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([started()], ("interrupted", 0)),
        ([started(), step(3)], ("interrupted", 3)),
        ([started(), step(3), ev.Ended(state="finished", step=3)], ("finished", 3)),
        ([started(), step(3), ev.Ended(state="failed", text="x")], ("failed", 3)),
        ([started(), step(9), ev.Ended(state="stopped", step=9), started(5)], ("interrupted", 5)),
        ([started(), step(3), ev.Paused(step=3), telemetry(3, 0.1)], ("interrupted", 3)),
    ],
)
def test_states_from_the_events(tmp_path: Path, events: list[ev.Event], state: tuple[str, int]) -> None:
    run = new_run(tmp_path / "run")
    write_events(run, events)
    assert run.state() == state


def test_what_matters_is_found_behind_hours_of_readings(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    readings = [telemetry(7, 0.25)] * 2000
    write_events(run, [started(), telemetry(0, 0.1), step(7), ev.Ended(state="stopped", step=7), *readings])
    assert run.state() == ("stopped", 7)
    write_events(run, [step(8)] * 2000)
    assert run.events_path.stat().st_size > 3 * 65536
    assert run.energy_kwh() == 0.25


def test_a_living_worker_and_one_that_was_killed(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    worker = child(_HOLDER, str(run.path), "run")
    assert worker.stdout is not None and worker.stdout.readline() == "holding\n"
    assert run.worker_pid() == worker.pid and run.state() == ("running", 7)
    worker.kill()  # SIGKILL: nothing is tidied up
    worker.communicate(timeout=20)
    assert (run.path / "worker.json").exists()
    assert run.worker_pid() is None and run.state() == ("interrupted", 7)
    with run.locked():  # the dead one holds nothing
        assert run.worker_pid() is not None
    assert not (run.path / "worker.json").exists()


def test_a_paused_worker(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    worker = child(_HOLDER, str(run.path), "pause")
    assert worker.stdout is not None and worker.stdout.readline() == "holding\n"
    assert run.state() == ("paused", 7)
    worker.communicate("\n", timeout=20)
    assert run.state() == ("interrupted", 7)


def test_a_second_worker_is_sent_away(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    worker = child(_HOLDER, str(run.path), "run")
    assert worker.stdout is not None and worker.stdout.readline() == "holding\n"
    with pytest.raises(UserError, match="another worker is at this run already"), run.locked():
        pass
    assert run.worker_pid() == worker.pid  # the first one is not disturbed
    worker.communicate("\n", timeout=20)


def test_a_recycled_process_number_is_not_taken_for_the_worker(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    import os

    (run.path / "worker.json").write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
    assert run.worker_pid() is None


def test_taking_a_run_clears_what_a_killed_worker_left(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    half = run.checkpoints_path / ".x.safetensors.12345678.part"
    half.touch()
    (run.states_path / ".step00000001.12345678.part").mkdir(parents=True)
    with run.locked():
        assert not half.exists() and list(run.states_path.iterdir()) == []


def test_checkpoints_by_step_without_half_written_ones(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", output__name="a step9 b")
    paths = [fake_checkpoint(run, number) for number in (100, 20)]
    (run.checkpoints_path / ".x-step00000003.safetensors.1.part").touch()
    (run.checkpoints_path / "other.safetensors").touch()
    assert [(saved.step, saved.path) for saved in run.checkpoints()] == [(20, paths[1]), (100, paths[0])]


def test_only_the_newest_states_are_kept(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    for name in ("step00000010", "step00000002", "step00000030", "stepx"):
        (run.states_path / name).mkdir(parents=True)
    run.prune_states(2)
    assert [saved.step for saved in run.states()] == [10, 30]
    assert (run.states_path / "stepx").is_dir()


def test_commands_since_the_worker_began(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    assert CommandReader(run.commands_path, 0).poll() == []
    old = msgspec.json.encode(Command("stop", time.time() - 60)) + b"\n"
    run.commands_path.write_bytes(old)
    reader = CommandReader(run.commands_path, time.time() - 1)
    run.send("pause")
    assert reader.poll() == ["pause"] and reader.poll() == []
    line = msgspec.json.encode(Command("save", time.time())) + b"\n"
    with run.commands_path.open("ab", buffering=0) as file:
        file.write(line[:5])
        assert reader.poll() == []
        file.write(line[5:] + b"garbage\n")
    run.send("sample")
    assert reader.poll() == ["save", "sample"]


def test_a_command_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        Run(tmp_path / "gone").send("stop")


def test_slugs() -> None:
    assert (
        runs.slug("Mein Lauf: ä/ö") == "Mein-Lauf" and runs.slug("../..") == "run" and len(runs.slug("x" * 200)) == 80
    )


def test_a_child_sees_the_commands_of_another_process(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    code = "import sys; from core.runs import Run; from pathlib import Path; Run(Path(sys.argv[1])).send('stop')"
    reader = CommandReader(run.commands_path, time.time() - 1)
    sender = child(code, str(run.path))
    found: list[str] = []
    wait_until(lambda: found.extend(reader.poll()) or found, what="the command")
    sender.communicate(timeout=20)
    assert found == ["stop"]
