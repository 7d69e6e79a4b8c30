"""Tests of gui/widgets/caption_assistant.py with real workers and a tiny tagger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from core import caption_job
from core.caption_job import Chosen
from core.events import Captioned, CaptionTotals, Ended, Event, Progress, Writer
from core.runs import Kind, Run
from gui.context import Context
from gui.settings_model import SettingsModel
from gui.widgets.caption_assistant import CaptionAssistant
from gui.widgets.caption_results import CaptionResults
from gui.worker_process import Workers
from tests.fixtures import tiny_captioners as tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.tagger(tmp_path / "tagger")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        Image.new("RGB", (24, 24), colour).save(folder / f"{number}.png")
    (folder / "0.txt").write_text("words of mine")
    return folder


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(SettingsModel(), QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))


Make = Callable[..., CaptionAssistant]


@pytest.fixture
def make(qtbot: QtBot, context: Context, pictures: Path) -> Iterator[Make]:
    made: list[CaptionAssistant] = []

    def one(chosen: Chosen | None = None, workers: Workers | None = None) -> CaptionAssistant:
        wanted = Chosen([str(pictures)]) if chosen is None else chosen
        assistant = CaptionAssistant(context, lambda: wanted, workers=workers)
        qtbot.addWidget(assistant)
        assistant.show()
        made.append(assistant)
        return assistant

    yield one
    for assistant in made:
        assistant.close()


def choose(qtbot: QtBot, assistant: CaptionAssistant, model: Path) -> None:
    assistant.settings.set("caption.model", str(model))
    qtbot.waitUntil(lambda: assistant.start.isEnabled(), timeout=5000)


def test_it_says_what_is_missing(qtbot: QtBot, make: Make, model: Path, tmp_path: Path) -> None:
    assistant = make()
    assert assistant.whose.text() == "All pictures in pictures"
    assert assistant.problem.text() == "Choose the folder of a captioning model first."
    assert not assistant.start.isEnabled() and not assistant.preview.isEnabled()
    assistant.settings.set("caption.model", str(tmp_path / "gone"))
    assert "does not exist" in assistant.problem.text() and not assistant.start.isEnabled()
    choose(qtbot, assistant, model)
    assert assistant.problem.isHidden() and assistant.preview.isEnabled()
    nothing = make(Chosen())
    assert "Dataset page" in nothing.problem.text() and nothing.whose.text() == "No pictures are chosen"


def test_the_kind_of_model_is_recognised_and_its_options_are_shown(
    qtbot: QtBot, make: Make, model: Path, tmp_path: Path
) -> None:
    assistant = make()
    assistant.settings.set("caption.captioner", "florence2")
    assert not _shows(assistant, "wd14.threshold") and _shows(assistant, "florence2.task")
    choose(qtbot, assistant, model)
    assert assistant.settings.value("caption.captioner") == "wd14"
    assert _shows(assistant, "wd14.threshold") and not _shows(assistant, "florence2.task")
    (tmp_path / "blip").mkdir()
    (tmp_path / "blip" / "config.json").write_text('{"model_type": "blip"}')
    assistant.settings.set("caption.model", str(tmp_path / "blip"))
    qtbot.waitUntil(lambda: assistant.settings.value("caption.captioner") == "image_to_text", timeout=5000)
    assert assistant.form.find_row("pictures.folders") is None


def _shows(assistant: CaptionAssistant, key: str) -> bool:
    row = assistant.form.find_row(key)
    return row is not None and row.isVisible()


def test_replacing_is_warned_of(qtbot: QtBot, make: Make, model: Path) -> None:
    assistant = make()
    choose(qtbot, assistant, model)
    assert assistant.warning.isHidden()
    assistant.settings.set("caption.existing", "replace")
    assert not assistant.warning.isHidden()


def test_a_preview_then_the_captions(qtbot: QtBot, make: Make, model: Path, pictures: Path) -> None:
    assistant = make()
    choose(qtbot, assistant, model)
    told: list[bool] = []
    assistant.captions_written.connect(lambda: told.append(True))
    assistant.preview.click()
    assert assistant.busy and not assistant.start.isEnabled() and assistant.stop.isVisible()
    qtbot.waitUntil(lambda: assistant._running.isHidden(), timeout=60_000)
    rows = [(row.name.text(), row.action.text(), row.before.text(), row.words.text()) for row in assistant.results.rows]
    assert rows == [
        ("0.png", "Stays as it is", "words of mine", "some hero (game), red theme, ^_^"),
        ("1.png", "Will be written", "nothing", "green theme"),
        ("2.png", "Will be written", "nothing", "blue theme"),
    ]
    assert not (pictures / "1.txt").exists() and "Nothing was written" in assistant.results.facts.text() and not told
    qtbot.waitUntil(lambda: assistant.start.isEnabled(), timeout=10_000)
    assistant.start.click()
    qtbot.waitUntil(lambda: bool(told), timeout=60_000)
    assert assistant.results.facts.text() == "2 captioned, 1 left as they were."
    assert (pictures / "1.txt").read_text() == "green theme\n" and (pictures / "0.txt").read_text() == "words of mine"


def test_what_goes_wrong_is_told_in_the_window(qtbot: QtBot, make: Make, model: Path) -> None:
    (model / "model.onnx").write_bytes(b"half a file")
    assistant = make()
    choose(qtbot, assistant, model)
    assistant.preview.click()
    qtbot.waitUntil(lambda: assistant._running.isHidden(), timeout=60_000)
    assert "cannot be opened as an ONNX model" in assistant.results.facts.text()
    qtbot.waitUntil(lambda: assistant.preview.isEnabled(), timeout=10_000)


class Scripted(Workers):
    """Starts no worker; the test writes its words."""

    def start(self, run: Run, kind: Kind) -> Path:
        """Note what would be started."""
        self.begun = [*getattr(self, "begun", []), (run.path, kind)]
        return run.path


def speak(run: Run, *events: Event) -> None:
    writer = Writer(run.events_path)
    for event in events:
        writer.write(event)
    writer.close()


def test_progress_and_a_job_that_can_go_on(qtbot: QtBot, make: Make, model: Path) -> None:
    workers = Scripted()
    assistant = make(workers=workers)
    choose(qtbot, assistant, model)
    assistant.start.click()
    (job,) = [Run(path) for path, kind in workers.begun if kind == "caption"]
    assert caption_job.load(job.path / "caption.toml").pictures.preview == 0
    speak(job, Progress(phase="caption", done=3, total=1200, text="4.0 pictures/s, 5 min 00 s left"))
    qtbot.waitUntil(lambda: assistant.progress.text().startswith("3 of 1,200"), timeout=5000)
    assert assistant.progress.text() == "3 of 1,200, 4.0 pictures/s, 5 min 00 s left"
    assert (assistant.bar.value(), assistant.bar.maximum()) == (3, 1200)
    speak(job, CaptionTotals(written=3, kept=0, broken=0), Ended(state="stopped"))
    qtbot.waitUntil(lambda: assistant._running.isHidden(), timeout=5000)
    assert assistant.results.facts.text() == "3 captioned. Stopped. What is done stays done; Go on takes up the rest."
    qtbot.waitUntil(lambda: assistant.go_on.isVisible(), timeout=5000)
    assistant.go_on.click()
    assert [path for path, _ in workers.begun] == [job.path, job.path] and assistant._running.isVisible()


def test_settings_are_kept_for_the_next_time(qtbot: QtBot, make: Make, model: Path) -> None:
    first = make()
    choose(qtbot, first, model)
    first.settings.set("wd14.threshold", 0.5)
    first.settings.set("caption.leave_out", ["a", "b"])
    first.close()
    again = make()
    values = {key: again.settings.value(key) for key in ("caption.model", "wd14.threshold", "caption.leave_out")}
    assert values == {"caption.model": str(model), "wd14.threshold": 0.5, "caption.leave_out": ["a", "b"]}
    assert again.start.isEnabled() and not again.settings.undo_stack.canUndo()


def test_a_long_job_shows_its_latest_pictures_only(qtbot: QtBot) -> None:
    results = CaptionResults()
    qtbot.addWidget(results)
    results.clear("Captioning")
    for number in range(60):
        results.add([Captioned(path=f"/{number}.png", kind="tags", action="new", words=f"{number}")], preview=False)
    assert [row.words.text() for row in results.rows] == [str(number) for number in range(59, 19, -1)]
    assert results.rows[0].action.text() == "Written"
    results.clear("Preview")
    results.add([Captioned(path="/a", kind="tags", action="broken", words="the file is empty")], preview=True)
    (broken,) = results.rows
    assert (broken.words.text(), broken.action.text()) == ("The file is empty.", "Cannot be captioned")
