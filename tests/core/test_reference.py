"""Tests of core/reference.py and core/commands/docs.py: every option is in the reference, which is never stale."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import presets
from core.caption_job import caption_model
from core.cli import run
from core.commands import docs
from core.grid import GridSettings
from core.reference import reference


def test_every_option_of_runs_and_grids_is_there() -> None:
    text = reference()
    known = {**presets.entries(), **presets.entries(GridSettings), **presets.entries(caption_model())}
    for key, entry in known.items():
        assert f"### `{key}`\n\n**{entry.option.label}.** {entry.option.help}\n" in text, key


def test_what_is_said_of_an_option() -> None:
    text = reference()
    part = text.split("### `lora.rank`")[1].split("###")[0]
    assert "default `16`; at least 1 and at most 1,024; usually 4 to 128" in part and "`network_dim`" in part
    assert 'Counts when `training.method = "lora"`.' in text
    assert 'counts when `data.captions` is `"either"`' in text
    assert "- `adamw8bit`: " in text


def test_the_fields_of_a_list_of_tables_are_said() -> None:
    part = reference().split("### `data.folder_rules`")[1].split("###")[0]
    assert "- `repeats`: Repeats. How often" in part and "*default `1`; at least 0 and at most 100,000.*" in part
    assert "one of `by chance`, `train`, `validation`, `regularisation`" in part


def test_the_shipped_reference_is_made_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docs" / "settings.md"
    monkeypatch.setattr(docs, "_PATH", path)
    assert run(["docs", "--check"], {}) == 1
    assert run(["docs"], {}) == 0
    assert path.read_text(encoding="utf-8") == reference() and run(["docs", "--check"], {}) == 0
    path.write_text(path.read_text(encoding="utf-8") + "x", encoding="utf-8")
    assert run(["docs", "--check"], {}) == 1
    assert path.read_text(encoding="utf-8").endswith("x")  # --check changes nothing


def test_the_reference_in_the_tree_is_not_stale() -> None:
    assert run(["docs", "--check"], {}) == 0
