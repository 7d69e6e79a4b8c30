"""Tests of core/data/learning.py: each picture's tokens as its folder's rule reads it, in processes that end."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from core.data import learning
from core.data.index import Index
from core.errors import Stopped, UserError
from core.settings import default_settings
from core.settings.folder_rules import FolderRules
from tests.fixtures.processes import reader_processes


def pictures(root: Path, captions: dict[str, tuple[str, str]]) -> None:
    for number, (name, (tags, natural)) in enumerate(captions.items()):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64 + number)).save(path)
        for suffix, text in ((".txt", tags), (".caption", natural)):
            if text:
                path.with_suffix(suffix).write_text(text)


def tokens(index: Index) -> dict[str, int]:
    columns = index.columns()
    found = index.by_ids(columns.ids)
    return {Path(one.path).stem: count for one, count in zip(found, columns.tokens.tolist(), strict=True)}


@pytest.mark.parametrize(
    "page, tokens_of_a",
    [
        ({"captions": "either"}, 4),
        ({"captions": "either", "both_share": 0.1}, 8),
        ({"captions": "tags then natural"}, 8),
    ],
)
def test_both_kinds_count_together_where_they_are_read_together(
    index: Index, tmp_path: Path, page: dict[str, object], tokens_of_a: int
) -> None:
    pictures(tmp_path, {"a": ("one, two", "a blue cat sleeps"), "b/b": ("one, two", "a blue cat"), "c": ("", "")})
    settings = default_settings()
    settings.data = settings.data.model_copy(update=page)
    settings.data.folder_rules = [FolderRules(path=str(tmp_path / "b"), captions="natural then tags")]
    index.scan([tmp_path])
    learning.count_tokens(index, settings)
    assert tokens(index) == {"a": tokens_of_a, "b": 3 + 1 + 3, "c": 0}


def test_the_longest_line_counts_and_the_processes_end(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "_CAPTIONS", 3)
    pictures(tmp_path, {f"{number:02}": (f"{'cat ' * number}\na", "") for number in range(1, 20)})
    index.scan([tmp_path])
    told: list[tuple[int, int]] = []
    learning.count_tokens(index, default_settings(), lambda *at: told.append(at))
    assert tokens(index) == {f"{number:02}": number for number in range(1, 20)}
    assert told == [(done, 19) for done in (3, 6, 9, 12, 15, 18, 19)] and not reader_processes()


def test_what_was_counted_stays_when_it_is_stopped(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "_CAPTIONS", 2)
    pictures(tmp_path, {str(number): ("a cat", "") for number in range(8)})
    index.scan([tmp_path])

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise Stopped

    with pytest.raises(Stopped):
        learning.count_tokens(index, default_settings(), stop)
    assert sorted(tokens(index).values()) == [-1] * 4 + [2] * 4 and not reader_processes()


def test_a_damaged_tokenizer_is_told(index: Index, tmp_path: Path) -> None:
    pictures(tmp_path / "pictures", {"a": ("a cat", "")})
    (tmp_path / "model" / "tokenizer").mkdir(parents=True)
    (tmp_path / "model" / "tokenizer" / "vocab.json").write_text("{")
    settings = default_settings()
    settings.model.base = str(tmp_path / "model")
    index.scan([tmp_path / "pictures"])
    with pytest.raises(UserError, match="cannot be read"):
        learning.count_tokens(index, settings)
    assert not reader_processes()
