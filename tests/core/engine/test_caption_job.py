"""Tests of core/engine/caption_job.py: which words are written, replaced and left alone, and what a job remembers."""

from __future__ import annotations

import json
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import caption_job, registry
from core import events as ev
from core.caption_job import Chosen
from core.captioners._words import Shot, Words
from core.data.headers import content_hash
from core.data.index import Index
from core.engine.caption_job import caption_events
from core.engine.caption_journal import KEPT, WRITTEN, DoneFile, OwnWords, Unfinished
from core.engine.caption_pictures import Reader, Target
from core.engine.control import Control
from core.errors import UserError
from core.runs import Run
from tests.fixtures import tiny_captioners as tiny
from tests.fixtures.caption_jobs import BLUE, GREEN, RED, SAID, new_job


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.tagger(tmp_path / "tagger")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate((RED, GREEN, BLUE)):
        Image.new("RGB", (24, 24), colour).save(folder / f"{number}.png")
    return folder


def do(job: Run, control: Control | None = None) -> list[Any]:
    return list(caption_events(job, control or Control()))


def caption(model: Path, folder: Path, **values: object) -> dict[str, int]:
    """Do a whole job; {"written": ..., "kept": ..., "broken": ...}."""
    events = do(new_job(model, Chosen([str(folder)]), **values))
    assert isinstance(events[-1], ev.Ended) and events[-1].state == "finished"
    return totals(events)


def totals(events: Sequence[Any]) -> dict[str, int]:
    (found,) = [event for event in events if isinstance(event, ev.CaptionTotals)]
    return {"written": found.written, "kept": found.kept, "broken": found.broken}


def texts(folder: Path, suffix: str = ".txt") -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"*{suffix}"))]


# -- whose words ---------------------------------------------------------------------------------------------------


def test_only_pictures_without_captions_are_captioned(model: Path, pictures: Path) -> None:
    (pictures / "1.txt").write_text("my own words")
    (pictures / "2.TXT").write_text("in capitals")
    (pictures / "0.txt").write_text(" \n")  # an empty file says nothing
    assert caption(model, pictures) == {"written": 1, "kept": 2, "broken": 0}
    assert texts(pictures) == [f"{SAID[RED]}\n", "my own words"]
    assert not (pictures / "2.txt").exists() and (pictures / "2.TXT").read_text() == "in capitals"


def test_its_own_words_are_renewed_and_no_others(model: Path, pictures: Path) -> None:
    caption(model, pictures)
    (pictures / "1.txt").write_text("green theme, and a word of mine")
    assert caption(model, pictures) == {"written": 0, "kept": 3, "broken": 0}
    found = caption(model, pictures, caption__existing="renew", caption__leave_out=["*theme"])
    assert found == {"written": 1, "kept": 2, "broken": 0}  # of blue nothing is left to say: its words stay
    assert texts(pictures) == ["some hero (game), ^_^\n", "green theme, and a word of mine", "blue theme\n"]


def test_its_words_are_known_after_the_picture_was_moved(model: Path, pictures: Path, tmp_path: Path) -> None:
    caption(model, pictures)
    moved = tmp_path / "elsewhere"
    pictures.rename(moved)
    (moved / "0.png").rename(moved / "renamed.png")
    (moved / "0.txt").rename(moved / "renamed.txt")
    found = caption(model, moved, caption__existing="renew", wd14__characters="none")
    assert found == {"written": 1, "kept": 2, "broken": 0}
    assert (moved / "renamed.txt").read_text() == "red theme, ^_^\n"


def test_the_same_words_by_hand_beside_another_picture_are_not_its_own(model: Path, pictures: Path) -> None:
    caption(model, pictures)
    (pictures / "2.txt").write_text(SAID[GREEN])
    caption(model, pictures, caption__existing="renew", wd14__threshold=0.0001)
    assert (pictures / "2.txt").read_text() == SAID[GREEN]


def test_all_words_are_replaced_when_asked_and_those_of_people_are_kept(model: Path, pictures: Path) -> None:
    caption(model, pictures)
    (pictures / "1.txt").write_text("ä word of mine\nand another line")
    job = new_job(model, Chosen([str(pictures)]), caption__existing="replace", wd14__characters="none")
    assert totals(do(job)) == {"written": 2, "kept": 1, "broken": 0}  # blue's words are the same again
    assert texts(pictures) == ["red theme, ^_^\n", "green theme\n", "blue theme\n"]
    (line,) = (job.path / "replaced.jsonl").read_text().splitlines()
    kept = {"path": str(pictures / "1.txt"), "text": "ä word of mine\nand another line"}
    assert json.loads(line) == kept


def test_words_are_added_once_and_stay_the_persons(model: Path, pictures: Path) -> None:
    (pictures / "0.txt").write_text("a hero, red_theme")
    added = "a hero, red_theme, some hero (game), ^_^\n"
    assert caption(model, pictures, caption__existing="add")["written"] == 3
    assert (pictures / "0.txt").read_text() == added
    assert caption(model, pictures, caption__existing="add") == {"written": 0, "kept": 3, "broken": 0}
    caption(model, pictures, caption__existing="renew", wd14__characters="none")
    assert (pictures / "0.txt").read_text() == added


def test_tags_as_a_sentence(model: Path, pictures: Path) -> None:
    (pictures / "0.txt").write_text("tags of mine")
    assert caption(model, pictures, caption__write="natural")["written"] == 3
    assert (pictures / "0.caption").read_text() == f"{SAID[RED]}\n" and texts(pictures) == ["tags of mine"]


@pytest.mark.parametrize("existing", ["keep", "renew", "add", "replace"])
def test_a_file_that_is_no_caption_is_never_written_over(model: Path, pictures: Path, existing: str) -> None:
    (pictures / "0.txt").write_bytes(b"\x00\x01\x02")
    (pictures / "1.txt").write_bytes(b"x" * 1_100_000)
    (pictures / "2.txt").mkdir()
    assert caption(model, pictures, caption__existing=existing) == {"written": 0, "kept": 0, "broken": 3}
    assert (pictures / "0.txt").read_bytes() == b"\x00\x01\x02" and (pictures / "1.txt").stat().st_size == 1_100_000


def test_a_caption_written_meanwhile_is_left_alone(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.captioners import wd14

    def slow(self: wd14.Tagger, shots: Sequence[Shot]) -> list[Words]:
        (pictures / "1.txt").write_text("typed while the model was at work")
        return [["new"]] * len(shots)

    monkeypatch.setattr(wd14.Tagger, "caption", slow)
    assert caption(model, pictures) == {"written": 2, "kept": 1, "broken": 0}
    assert texts(pictures) == ["new\n", "typed while the model was at work", "new\n"]


# -- pictures ------------------------------------------------------------------------------------------------------


def test_broken_pictures_cost_themselves_alone(model: Path, pictures: Path) -> None:
    (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:50])
    (pictures / "empty.jpg").write_bytes(b"")
    events = do(new_job(model, Chosen([str(pictures)]), caption__batch=2))
    assert totals(events) == {"written": 3, "kept": 0, "broken": 2}
    told = [event.text for event in events if isinstance(event, ev.Message) and event.level == "warning"]
    assert len(told) == 2 and any("empty.jpg: the file is empty" in text for text in told)
    assert len(texts(pictures)) == 3


def test_a_picture_on_which_the_model_fails_costs_itself_alone(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.captioners import wd14

    real = wd14.Tagger.caption

    def odd(self: wd14.Tagger, shots: Sequence[Shot]) -> list[Words]:
        if any(shot.path.endswith("1.png") for shot in shots):
            raise ValueError("aspect ratio must be smaller than 200")
        return real(self, shots)

    monkeypatch.setattr(wd14.Tagger, "caption", odd)
    assert caption(model, pictures) == {"written": 2, "kept": 0, "broken": 1}
    assert not (pictures / "1.txt").exists()


def test_a_model_that_fails_on_all_is_told(model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.captioners import wd14

    def broken(self: wd14.Tagger, shots: Sequence[Shot]) -> list[Words]:
        raise ValueError("wrong model")

    monkeypatch.setattr(wd14.Tagger, "caption", broken)
    with pytest.raises(UserError, match=r"could not caption a single picture .*wrong model"):
        caption(model, pictures)


def test_a_batch_too_large_for_the_memory_is_halved_for_good(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.captioners import wd14

    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (8, 8), RED).save(folder / f"{number:02d}.png")
    sizes: list[int] = []

    def small(self: wd14.Tagger, shots: Sequence[Shot]) -> list[Words]:
        sizes.append(len(shots))
        if len(shots) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        return [["red"]] * len(shots)

    monkeypatch.setattr(wd14.Tagger, "caption", small)
    assert caption(model, folder, caption__batch=8)["written"] == 12
    assert sizes == [8, 4, 2, 2, 4, 2, 2, 2, 2]


def test_pictures_are_decoded_ahead_but_not_without_bound(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.captioners import wd14

    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        Image.new("RGB", (8, 8), RED).save(folder / f"{number:02d}.png")
    lock, counts = threading.Lock(), {"made": 0, "used": 0, "most": 0}
    prepare = wd14.Tagger.prepare

    def counted(self: wd14.Tagger, image: Image.Image) -> Any:
        with lock:
            counts["made"] += 1
            counts["most"] = max(counts["most"], counts["made"] - counts["used"])
        assert threading.current_thread() is not threading.main_thread()
        return prepare(self, image)

    def used(self: wd14.Tagger, shots: Sequence[Shot]) -> list[Words]:
        with lock:
            counts["used"] += len(shots)
        return [["red"]] * len(shots)

    monkeypatch.setattr(wd14.Tagger, "prepare", counted)
    monkeypatch.setattr(wd14.Tagger, "caption", used)
    assert caption(model, folder, caption__batch=2, caption__threads=3)["written"] == 40
    assert 2 <= counts["most"] <= 2 * 2 + 3 + 2


def test_what_stays_is_not_even_decoded(model: Path, pictures: Path) -> None:
    for number in range(3):
        (pictures / f"{number}.txt").write_text("mine")
        (pictures / f"{number}.png").write_bytes(b"no picture any more")
    assert caption(model, pictures) == {"written": 0, "kept": 3, "broken": 0}
    assert caption(model, pictures, caption__existing="add") == {"written": 0, "kept": 0, "broken": 3}


def test_pictures_in_archives_are_told(model: Path, pictures: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(pictures / "0.png", "0.png")
    events = do(new_job(model, Chosen(paths=[f"{tmp_path}/a.tar/0.png", str(pictures / "1.png")])))
    assert totals(events) == {"written": 1, "kept": 0, "broken": 1}
    assert any("archive" in event.text for event in events if isinstance(event, ev.Message))


def test_a_preview_writes_nothing_and_says_what_would_be(model: Path, pictures: Path) -> None:
    (pictures / "0.txt").write_text("mine")
    (pictures / "1.png").write_bytes(b"")
    before = sorted(pictures.iterdir())
    job = new_job(model, Chosen([str(pictures)]), pictures__preview=3)
    events = do(job)
    shown = [(Path(e.path).name, e.action, e.words, e.before) for e in events if isinstance(e, ev.Captioned)]
    assert sorted(shown) == [
        ("0.png", "kept", SAID[RED], "mine"),
        ("1.png", "broken", "the file is empty", ""),
        ("2.png", "new", SAID[BLUE], ""),
    ]
    assert sorted(pictures.iterdir()) == before and (pictures / "0.txt").read_text() == "mine"
    assert (job.path / "done.bin").stat().st_size == 0 and not (job.path / "replaced.jsonl").exists()
    assert OwnWords().has(content_hash(pictures / "2.png"), "tags", SAID[BLUE]) is False


def test_a_preview_looks_at_a_few_only(model: Path, pictures: Path) -> None:
    events = do(new_job(model, Chosen([str(pictures)]), pictures__preview=2, caption__existing="replace"))
    assert [event.action for event in events if isinstance(event, ev.Captioned)] == ["new", "new"]
    last = [event for event in events if isinstance(event, ev.Progress)][-1]
    assert (last.done, last.total) == (2, 2)


# -- the index -----------------------------------------------------------------------------------------------------


def test_the_index_learns_the_new_captions(model: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "0.caption").write_text("A sentence of mine.")
    path = tmp_path / "index.sqlite"
    with Index(path) as index:
        index.scan([pictures])
        ids = {Path(one.path).name: one.id for one in index.pictures()}
    job = new_job(model, Chosen([str(pictures)], str(path), ids=[ids["2.png"], ids["0.png"], 999]))
    assert totals(do(job)) == {"written": 2, "kept": 0, "broken": 0}
    assert not (pictures / "1.txt").exists()
    with Index(path) as index:
        found = {Path(one.path).name: (one.tags, one.natural, one.content_hash) for one in index.pictures()}
        assert found["0.png"] == (SAID[RED], "A sentence of mine.", content_hash(pictures / "0.png"))
        assert found["1.png"][:2] == ("", "") and found["2.png"][0] == SAID[BLUE]
        assert index.tag_counts()["blue theme"] == 1
        again = index.scan([pictures])
        assert (again.added, again.changed, again.removed) == (0, 0, 0)


def test_what_the_index_knows_to_have_captions_is_passed_over(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "1.txt").write_text("mine")
    path = tmp_path / "index.sqlite"
    with Index(path) as index:
        index.scan([pictures])
        ids = {Path(one.path).name: one.id for one in index.pictures()}
    seen: list[str] = []
    chosen = Chosen([str(pictures)], str(path), ids=[ids["2.png"], 77_777, ids["1.png"]])
    real = Reader._read

    def read(self: Reader, target: Target) -> Any:
        seen.append(Path(target.path).name)
        return real(self, target)

    monkeypatch.setattr(Reader, "_read", read)
    job = new_job(model, chosen)
    assert totals(do(job)) == {"written": 1, "kept": 1, "broken": 0} and seen == ["2.png"]
    assert totals(do(job)) == {"written": 1, "kept": 1, "broken": 0} and seen == ["2.png"]
    everything = Chosen([str(pictures)], str(path))
    assert totals(do(new_job(model, everything, caption__write="natural"))) == {"written": 3, "kept": 0, "broken": 0}
    assert totals(do(new_job(model, everything, caption__existing="replace")))["kept"] == 1  # the same words again


def test_all_pictures_of_an_index_in_the_order_of_their_paths(model: Path, pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    with Index(path) as index:
        index.scan([pictures])
    job = new_job(model, Chosen([str(pictures)], str(path)), pictures__preview=3)
    shown = [Path(event.path).name for event in do(job) if isinstance(event, ev.Captioned)]
    assert shown == ["0.png", "1.png", "2.png"]
    path.unlink()
    with pytest.raises(UserError, match=r"index .* does not exist"):
        do(job)


# -- stopping and going on -----------------------------------------------------------------------------------------


def test_a_stopped_job_goes_on_where_it_was(model: Path, pictures: Path) -> None:
    class Stopper(Control):
        def should_stop(self) -> bool:
            return (pictures / "0.txt").exists()

    job = new_job(model, Chosen([str(pictures)]), caption__batch=1, caption__existing="replace")
    events = do(job, Stopper())
    assert events[-1].state == "stopped" and totals(events)["written"] == 1
    (pictures / "0.txt").write_text("changed since by hand")
    assert totals(do(job)) == {"written": 3, "kept": 0, "broken": 0}
    assert texts(pictures) == ["changed since by hand", f"{SAID[GREEN]}\n", f"{SAID[BLUE]}\n"]


def test_a_torn_journal_loses_its_torn_row_only(tmp_path: Path) -> None:
    path = tmp_path / "done.bin"
    first = DoneFile(path)
    first.add([("/a", WRITTEN), ("/b", KEPT), ("/c", WRITTEN)])
    first.close()
    path.write_bytes(path.read_bytes()[:-4])
    again = DoneFile(path)
    assert [name in again for name in ("/a", "/b", "/c", "/d")] == [True, True, False, False]
    assert again.counts[:2] == [1, 1]
    again.add([("/c", KEPT)])
    again.close()
    third = DoneFile(path)
    assert "/c" in third and third.counts[:2] == [1, 2]
    third.close()


def test_what_a_killed_worker_left_half_written_goes(tmp_path: Path) -> None:
    note, folder = tmp_path / "writing.txt", tmp_path / "pictures"
    folder.mkdir()
    for name in (".a.txt.0123abcd.part", ".b.txt.0123abcd.part", "a.txt", ".a.txt"):
        (folder / name).write_text("half")
    Unfinished(note).note([folder / "a.txt", tmp_path / "gone" / "c.txt"])
    Unfinished(note)
    assert sorted(path.name for path in folder.iterdir()) == [".a.txt", ".b.txt.0123abcd.part", "a.txt"]
    assert not note.exists()


def test_a_job_of_millions_is_remembered_in_nine_bytes_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "done.bin"
    rows = np.zeros(2_000_000, [("key", "<u8"), ("what", "u1")])
    rows["key"] = np.random.default_rng(0).integers(0, 2**63, len(rows))
    rows.tofile(path)
    done = DoneFile(path)
    done.add([("/x", WRITTEN)])
    done.close()
    assert path.stat().st_size == 9 * 2_000_001 and "/x" in DoneFile(path)


def test_a_finished_job_has_nothing_left_to_do(model: Path, pictures: Path) -> None:
    job = new_job(model, Chosen([str(pictures)]), caption__existing="replace")
    do(job)
    (pictures / "0.txt").unlink()
    assert totals(do(job)) == {"written": 3, "kept": 0, "broken": 0}
    assert not (pictures / "0.txt").exists()


def test_own_words_survive_two_jobs_at_once(tmp_path: Path) -> None:
    one, two = OwnWords(tmp_path / "own.sqlite"), OwnWords(tmp_path / "own.sqlite")
    one.add([("00" * 16, "tags", "a, b")])
    two.add([("00" * 16, "tags", "a, b"), ("11" * 16, "natural", "A.")])
    assert one.has("11" * 16, "natural", "A.\n") and two.has("00" * 16, "tags", "a, b")
    assert not one.has("00" * 16, "natural", "a, b") and not one.has("00" * 16, "tags", "a")
    one.close()
    two.close()


def test_a_folder_that_is_missing_is_told(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        caption(model, tmp_path / "gone")


def test_transformers_write_sentences(tmp_path: Path, pictures: Path) -> None:
    folder = tiny.florence2(tmp_path / "florence")
    chosen = Chosen([str(pictures)])
    job = new_job(folder, chosen, caption__captioner="florence2", florence2__max_tokens=6, caption__batch=2)
    assert registry.chosen("captioners", caption_job.load(job.path / "caption.toml"))[1].max_tokens == 6
    assert totals(do(job))["written"] == 3
    found = texts(pictures, ".caption")
    assert len(found) == 3 and all(3 <= len(text.split()) <= 6 for text in found) and texts(pictures) == []
