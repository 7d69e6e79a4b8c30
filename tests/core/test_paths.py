"""Tests of core/paths.py: how a path in a preset is read, and where things go."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import paths


def test_shipped_home_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert paths.resolve("burnish:starter/model") == paths.RESOURCES / "starter" / "model"
    assert paths.resolve("burnish:/starter") == paths.RESOURCES / "starter"
    assert paths.resolve("~/x") == Path("/home/someone/x")
    assert paths.resolve("~nobody-of-that-name/x") == tmp_path / "~nobody-of-that-name" / "x"
    assert paths.resolve("x") == tmp_path / "x" and paths.resolve("/x") == Path("/x")


def test_burnish_home_moves_everything(burnish_home: Path) -> None:
    for folder in (paths.runs_folder(), paths.presets_folder(), paths.cache_folder()):
        assert folder.parent == burnish_home


def test_without_it_documents_and_cache_are_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BURNISH_HOME")
    assert paths.home_folder().name == "Burnish" and paths.cache_folder().name == "burnish"
