"""Tests of core/caption_job.py: settings and folder of a captioning job, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core import caption_job, presets, registry
from core.caption_job import Chosen
from core.errors import UserError
from core.runs import open_run
from tests.fixtures import tiny_captioners as tiny
from tests.fixtures.caption_jobs import caption_settings
from tests.fixtures.processes import environment


def test_every_captioner_says_what_it_is() -> None:
    for name, module in registry.components("captioners").items():
        assert module.LABEL and module.HELP and module.WRITES in ("tags", "natural"), name
        assert callable(module.recognises) and callable(module.load), name
        key = f"{name}.{'threshold' if name == 'wd14' else 'max_tokens'}"
        assert key in presets.entries(caption_job.caption_model())


def test_a_job_is_made_and_read_again(tmp_path: Path) -> None:
    model = tiny.tagger(tmp_path / "tagger")
    wanted = caption_settings(caption__model=str(model), wd14__threshold=0.5, caption__leave_out=["a", "b*"])
    job = caption_job.create(wanted, Chosen([str(tmp_path)]), tmp_path / "job")
    read = caption_job.load(job.path / caption_job.SETTINGS_FILE)
    assert read.pictures.folders == [str(tmp_path)] and read.caption.leave_out == ["a", "b*"]
    assert registry.chosen("captioners", read)[1].threshold == 0.5
    assert open_run(job.path).facts()["kind"] == "caption" and job.state()[0] == "new"
    with pytest.raises(UserError, match="holds a run or another job already"):
        caption_job.create(wanted, Chosen([str(tmp_path)]), job.path)


def test_jobs_of_the_users_folder_are_found_without_previews(tmp_path: Path) -> None:
    model = str(tiny.tagger(tmp_path / "tagger"))
    first = caption_job.create(caption_settings(caption__model=model), Chosen([str(tmp_path)]))
    caption_job.create(caption_settings(caption__model=model, pictures__preview=3), Chosen([str(tmp_path)]))
    third = caption_job.create(caption_settings(caption__model=model), Chosen([str(tmp_path)]))
    assert [job.path.name for job in caption_job.last_jobs()] == ["0003", "0001"]
    assert [third.path, first.path] == [job.path for job in caption_job.last_jobs()]


def test_chosen_pictures_are_kept_beside_the_settings(tmp_path: Path) -> None:
    wanted = caption_settings(caption__model=str(tiny.tagger(tmp_path / "tagger")))
    by_id = Chosen(index=str(tmp_path / "i.sqlite"), ids=np.arange(5_000_000, dtype=np.int64))
    job = caption_job.create(wanted, by_id, tmp_path / "a")
    found = caption_job.chosen_of(job, caption_job.load(job.path / caption_job.SETTINGS_FILE))
    assert isinstance(found.ids, np.memmap) and found.ids[-1] == 4_999_999 and found.index == by_id.index
    names = ["/a/ä\n1.png", "/b/2.png"]
    job = caption_job.create(wanted, Chosen(paths=names), tmp_path / "b")
    assert caption_job.chosen_of(job, wanted).paths == names
    with pytest.raises(UserError, match="only where the index"):
        caption_job.create(wanted, Chosen(ids=[1]), tmp_path / "c")
    with pytest.raises(UserError, match="No pictures are chosen"):
        caption_job.create(wanted, Chosen(), tmp_path / "c")
    with pytest.raises(UserError, match="No pictures are chosen"):
        caption_job.create(wanted, Chosen(["/x"], "i", ids=[]), tmp_path / "c")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (Chosen(["/a/cats"]), "All pictures in cats"),
        (Chosen(["/a/cats", "/a/dogs"]), "All pictures in cats and dogs"),
        (Chosen(["/a/cats", "/a/dogs", "/a/x", "/a/y"]), "All pictures in cats, dogs and 2 more"),
        (Chosen(["/a"], "i", ids=range(1204)), "1,204 chosen pictures"),
        (Chosen(paths=["/a.png"]), "1 chosen picture"),
    ],
)
def test_what_is_chosen_in_words(chosen: Chosen, words: str) -> None:
    assert chosen.words() == words


def test_models_that_cannot_be(tmp_path: Path) -> None:
    def why(path: str, kind: str = "wd14") -> str:
        with pytest.raises(UserError) as caught:
            caption_job.require_model(caption_settings(caption__model=path, caption__captioner=kind))
        return str(caught.value)

    folder = tiny.tagger(tmp_path / "tagger")
    assert "no captioning model is chosen" in why(" ")
    assert "does not exist" in why(str(tmp_path / "gone"))
    assert "set caption.captioner to 'wd14'" in why(str(folder), "florence2")
    assert "is no captioning model" in why(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip"}))
    assert "set caption.captioner to 'image_to_text'" in why(str(tmp_path))
    assert caption_job.require_model(caption_settings(caption__model=str(folder / "model.onnx"))) == folder


def test_where_the_words_go() -> None:
    assert caption_job.target(caption_settings()) == "tags"
    assert caption_job.target(caption_settings(caption__captioner="florence2")) == "natural"
    assert caption_job.target(caption_settings(caption__captioner="florence2", caption__write="tags")) == "tags"


def test_no_torch_is_needed_to_make_a_job(tmp_path: Path) -> None:
    """The window makes jobs and must stay light."""
    model = tiny.tagger(tmp_path / "tagger")
    code = (
        "import sys; from core import caption_job as c; m = c.caption_model()()\n"
        f"m.caption.model = {str(model)!r}\n"
        f"c.default_values(m.caption.model); c.create(m, c.Chosen([{str(tmp_path)!r}]))\n"
        "print([name for name in ('torch', 'transformers', 'onnxruntime') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[]", found.stderr
