"""Tests of `main.py dataset`: what it prints, its status codes, and that it does what its parts do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core import cli
from core.data import source
from tests.core.data.samples import corners, save
from tests.core.data.test_archives import make_tar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, tags in enumerate(["cat, sofa", "dog", ""]):
        save(tmp_path / "in" / f"{number}.png", corners(48 + number, 32))
        if tags:
            (tmp_path / "in" / f"{number}.txt").write_text(tags, encoding="utf-8")
    return tmp_path / "in"


def run(*arguments: object) -> int:
    return cli.run(["dataset", *map(str, arguments)], {})


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The one JSON document on stdout."""
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_export_by_tag(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", folder, "-o", tmp_path / "out", "--tag", "CAT", "--json") == 0
    facts = document(capsys)
    assert (facts["pictures"], facts["captions"], facts["others"], facts["path"]) == (1, 1, 0, str(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"0.png", "0.txt"}
    assert run("export", folder, "-o", tmp_path / "set.tar", "--without", "cat") == 0
    assert "2 pictures with 1 caption files" in capsys.readouterr().out
    assert source.read_bytes(str(tmp_path / "set.tar/1.txt")) == b"dog\n"


def test_mistakes_are_one_line_and_status_2(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/0.png").write_bytes(b"mine")
    (tmp_path / "a.tar").write_bytes(b"nothing")
    for arguments, words in [
        (("export", folder, "-o", tmp_path / "out"), "1 files were not written"),
        (("export", folder, "-o", tmp_path / "other", "--tag", "horse"), "No picture is like that"),
        (("export", tmp_path / "none", "-o", tmp_path / "other"), "does not exist"),
        (("export", folder), "-o/--output"),
        (("metadata", folder, "-o", tmp_path / "out/0.png"), "exists already"),
        (("metadata", folder, "-o", tmp_path / "m.json", "--metadata", tmp_path / "none.json"), "cannot be read"),
        (("metadata", folder, "-o", tmp_path / "m.json", "--set", "data.resolutoin=5"), "Did you mean"),
        (("verify-kohya", tmp_path / "none"), "is not a folder"),
        (("index-tar", folder), "is no .tar file"),
        (("index-tar", tmp_path / "a.tar"), "not a tar archive"),
        ((), "WHAT"),
    ]:
        assert run(*arguments) == 2, arguments
        errors = capsys.readouterr().err
        assert words in errors
        assert errors.count("\n") == 1
    assert (tmp_path / "out/0.png").read_bytes() == b"mine"
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "m.json").exists()
    assert run("export", folder, "-o", tmp_path / "out", "--overwrite") == 0


def test_metadata_out_and_in(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "meta_lat.json"
    change = ("--set", "data.resolution=1024")
    assert run("metadata", folder, "-o", target, "--keys", "stem", *change, "--json") == 0
    assert document(capsys)["entries"] == 3
    entries = json.loads(target.read_text("utf-8"))
    assert entries["0"]["tags"] == "cat, sofa"
    width, height = entries["0"]["train_resolution"]
    assert 600_000 < width * height <= 1024 * 1024
    assert width > height
    (folder / "0.txt").unlink()
    assert run("export", folder, "-o", tmp_path / "out", "--metadata", target, "--tag", "sofa", "--json") == 0
    facts = document(capsys)
    assert facts["metadata"] == {
        "entries": 3, "applied": 1, "own": 1, "unknown": 0, "ambiguous": 0, "examples": []
    }  # fmt: skip
    assert (tmp_path / "out/0.txt").read_text("utf-8") == "cat, sofa\n"


def test_verify_kohya(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"latents": np.zeros((4, 8, 8), np.float32), "original_size": np.array((48, 32)), "crop_ltrb": np.zeros(4)}
    np.savez(folder / "0_0048x0032_sd.npz", **values)
    (folder / "1_0049x0032_sd.npz").write_bytes(b"PK")
    assert run("verify-kohya", folder, "--json") == 0
    facts = document(capsys)
    assert facts["sound"] == 1
    assert [Path(entry["path"]).name for entry in facts["damaged"]] == ["1_0049x0032_sd.npz"]  # type: ignore[attr-defined]
    assert run("verify-kohya", folder, "--remove") == 0
    assert "1 are damaged and were deleted" in capsys.readouterr().out
    assert not (folder / "1_0049x0032_sd.npz").exists()


def test_index_tar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_tar(tmp_path / "a.tar", {"x.jpg": b"1"})
    assert run("index-tar", tmp_path / "a.tar", "--json") == 0
    assert document(capsys) == {"indexes": [str(tmp_path / "a.json")]}
    assert list(json.loads((tmp_path / "a.json").read_text("utf-8"))["files"]) == ["x.jpg"]
