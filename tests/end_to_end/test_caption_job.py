"""Captioning by real workers: the command line, a kill in the middle, a stop from outside."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from core.caption_job import Chosen
from core.launch import worker_command, worker_environment
from core.run_data import read_run
from core.runs import Run
from tests.fixtures import tiny_captioners as tiny
from tests.fixtures.caption_jobs import SAID, new_job
from tests.fixtures.processes import program, wait_until


def many(folder: Path, count: int) -> dict[str, str]:
    """{picture's stem: the words that the tagger will find}; each has words of a person already."""
    folder.mkdir()
    words = {}
    for number in range(count):
        colour = list(SAID)[number % 3]
        path = folder / f"{number:04d}.png"
        Image.new("RGB", (16, 16), colour).save(path)
        path.with_suffix(".txt").write_text(f"my words {number}")
        words[path.stem] = SAID[colour]
    return words


def start(job: Run) -> subprocess.Popen[bytes]:
    with job.console_path.open("ab") as console:
        command = worker_command("caption", job.path)
        return subprocess.Popen(command, env=worker_environment(), stdout=console, stderr=console)


def test_a_job_killed_again_and_again_captions_every_picture_once(tmp_path: Path) -> None:
    """Words are replaced, so that doing a picture twice would show in its file's time, and in its own words."""
    count, batch, kills = 400, 4, 3
    folder = tmp_path / "pictures"
    words = many(folder, count)
    job = new_job(
        tiny.tagger(tmp_path / "tagger"), Chosen([str(folder)]), caption__existing="replace", caption__batch=batch
    )
    chance = random.Random(7)
    times: dict[str, int] = {}
    again: Counter[str] = Counter()

    def captioned() -> list[Path]:
        return [path for path in folder.glob("*.txt") if not path.read_text().startswith("my words")]

    for turn in range(kills):
        worker = start(job)
        goal = len(captioned()) + chance.randrange(20, 90)
        wait_until(lambda goal=goal: len(captioned()) >= goal, 90, "captions")
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        assert job.state()[0] == "interrupted", turn
        for path in captioned():
            now = path.stat().st_mtime_ns
            again[path.stem] += path.stem in times and times[path.stem] != now
            times[path.stem] = now
            assert path.read_text() == f"{words[path.stem]}\n"  # whole or not at all
    worker = start(job)
    assert worker.wait(timeout=120) == 0 and job.state()[0] == "finished"
    assert {path.stem: path.read_text() for path in folder.glob("*.txt")} == {k: f"{v}\n" for k, v in words.items()}
    for stem, before in times.items():
        again[stem] += (folder / f"{stem}.txt").stat().st_mtime_ns != before
    assert sum(again.values()) <= kills * batch
    assert not list(folder.glob(".*"))  # nothing half-written is left
    totals = read_run(job.events_path).caption_totals
    assert totals is not None and totals.written + totals.kept == count and totals.broken == 0
    kept = [json.loads(line)["text"] for line in (job.path / "replaced.jsonl").read_text().splitlines()]
    assert {f"my words {number}" for number in range(count)} == set(kept)


def test_a_stop_from_outside_keeps_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    many(folder, 400)
    job = new_job(
        tiny.tagger(tmp_path / "tagger"), Chosen([str(folder)]), caption__existing="replace", caption__batch=1
    )
    worker = start(job)
    wait_until(lambda: not (folder / "0003.txt").read_text().startswith("my words"), 60, "the first captions")
    job.send("stop")
    assert worker.wait(timeout=60) == 0 and job.state()[0] == "stopped"
    done = read_run(job.events_path).caption_totals
    assert done is not None and 4 <= done.written < 400
    found = program("caption", "--resume", str(job.path), "--json")
    facts = json.loads(found.stdout)
    assert found.returncode == 0 and (facts["state"], facts["written"]) == ("finished", 400), found.stderr


def test_the_command_line_previews_and_writes(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    many(folder, 3)
    (folder / "0001.txt").unlink()
    model = tiny.tagger(tmp_path / "tagger")
    shown = program("caption", str(model), str(folder), "--preview", "2")
    assert shown.returncode == 0 and shown.stdout.splitlines() == [
        "0000.png (kept): some hero (game), red theme, ^_^",
        "0001.png (new): green theme",
        "Nothing was written.",
    ]
    assert not (folder / "0001.txt").exists()
    done = program("caption", str(model), str(folder), "--set", "caption.leave_out=gr*", "--json")
    assert json.loads(done.stdout)["kept"] == 3  # of green nothing is left to say
    done = program("caption", str(model), str(folder))
    assert done.stdout.strip() == "1 captioned, 2 left as they were, 0 could not be."
    assert (folder / "0001.txt").read_text() == "green theme\n" and (folder / "0000.txt").read_text() == "my words 0"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{tmp}/gone", "{tmp}"], "does not exist"),
        (["{tmp}", "{tmp}"], "is no captioning model"),
        (["{tmp}/tagger"], "No pictures are chosen"),
        (["{tmp}/tagger", "{tmp}/nowhere"], "nowhere does not exist"),
        (["{tmp}/tagger", "{tmp}", "--set", "wd14.treshold=1"], "Did you mean 'wd14.threshold'"),
        (["--resume", "{tmp}"], "is not a run folder"),
        (["{tmp}/tagger", "--resume", "{tmp}"], "nothing but the job's folder"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    tiny.tagger(tmp_path / "tagger")
    found = program("caption", *(one.format(tmp=tmp_path) for one in arguments), "--json")
    assert found.returncode == 2 and says in found.stderr and "Traceback" not in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1
