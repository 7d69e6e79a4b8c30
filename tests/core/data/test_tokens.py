"""Tests of core/data/tokens.py against transformers' CLIPTokenizer, on odd texts and odd folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data import tokens
from core.data.tokens import CaptionTokenizer, tokenizer_folder
from core.errors import UserError

SHIPPED = tokenizer_folder()

#: Texts of words, signs, endings, blanks and special tokens, run into each other.
PIECES = (
    st.sampled_from(
        ["a", "cat", "Dog", "1girl", ", ", " ", "'s", "'LL", "don't", "!", "!!", "(", "\n", "\t", "\r", "\x1c"]
    )
    | st.sampled_from(["\x85", "\xa0", "\u3000", "\u2028", "\u200d", "\ufeff", "\u0301", "\u0345", "é", "e\u0301", "ß"])
    | st.sampled_from(["İ", "ı", "Σ", "ﬁ", "Ａ", "①", "٣", "中文字", "😀", "👩\u200d👩\u200d👧"])
    | st.sampled_from(
        ["<|endoftext|>", "<|ENDOFTEXT|>", "<|startoftext|>", "<|STARTOFTEXT|>", "<sks>", "<SKS>", "big cat"]
    )
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)


def reference(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)


@pytest.fixture(scope="module")
def theirs() -> Any:
    return reference(SHIPPED)


@settings(max_examples=120, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_counts_are_those_of_transformers(theirs: Any, texts: list[str]) -> None:
    whole = [text.encode("utf-8", "ignore").decode() for text in texts]
    wanted = [len(ids) for ids in theirs(whole, add_special_tokens=False).input_ids]
    found = CaptionTokenizer(SHIPPED).count(whole) if len(whole) % 2 else tokens.count(whole)
    assert found.dtype == np.int32 and found.tolist() == wanted


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, limit=st.integers(1, 12))
def test_a_text_is_cut_where_the_model_stops_reading(theirs: Any, text: str, limit: int) -> None:
    whole = text.encode("utf-8", "ignore").decode()
    read, unread = tokens.cut(whole, limit)
    assert read + unread == whole
    encoded = theirs(whole, add_special_tokens=False, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    assert bool(unread) == (len(spans) > limit)
    for number, (_, end) in enumerate(spans):
        if number < limit and len(spans) > limit and end <= spans[limit][0]:
            assert end <= len(read)
    if unread:
        assert len(read) == spans[limit][0]


def test_the_cut_of_plain_words() -> None:
    assert tokens.cut("one two, three four", 3) == ("one two, ", "three four")
    assert tokens.cut("one two", 2) == ("one two", "")
    assert tokens.count(["one two, three", "", "a"]).tolist() == [4, 0, 1]


def _table(content: str, normalized: bool, special: bool = True, **ways: bool) -> dict[str, Any]:
    rest = {"lstrip": False, "rstrip": False, "single_word": False, **ways}
    return {"content": content, "normalized": normalized, "special": special, **rest}


def _change(name: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}), encoding="utf-8")

    return change


def _remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _saved_again(folder: Path) -> None:
    reference(folder).save_pretrained(str(folder))


def _added(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"<sks>": 49408}), encoding="utf-8")


DECODER = {
    "49406": _table("<|startoftext|>", True),
    "49407": _table("<|endoftext|>", False),
    "49408": _table("<sks>", True, False),
    "49409": _table("big cat", True, False, single_word=True),
}
FOLDERS: dict[str, list[Callable[[Path], None]]] = {
    "padded with signs": [
        _change("tokenizer_config.json", pad_token="!"),
        _change("special_tokens_map.json", pad_token="!"),
    ],
    "without a config": [_remove("tokenizer_config.json")],
    "bare": [_remove("tokenizer_config.json", "special_tokens_map.json")],
    "saved again": [_saved_again],
    "with a word added": [_added],
    "with a word added, saved again": [_added, _saved_again, _remove("added_tokens.json")],
    "with words of two kinds added": [_change("tokenizer_config.json", added_tokens_decoder=DECODER)],
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_models_own_tokenizer_counts(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "model" / "tokenizer"
    shutil.copytree(SHIPPED, folder)
    for change in FOLDERS[kind]:
        change(folder)
    assert tokenizer_folder(tmp_path / "model") == folder
    theirs, ours = reference(folder), CaptionTokenizer(folder)

    @settings(max_examples=60, deadline=None)
    @given(texts=st.lists(TEXTS, max_size=5))
    def agree(texts: list[str]) -> None:
        whole = [text.encode("utf-8", "ignore").decode() for text in texts]
        wanted = [len(theirs(text, add_special_tokens=False).input_ids) for text in whole]
        assert ours.count(whole).tolist() == wanted

    agree()


def test_a_single_file_and_a_folder_without_a_tokenizer_have_the_one_that_ships(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert tokenizer_folder(tmp_path / "model.safetensors") == tokenizer_folder(tmp_path) == SHIPPED


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": "b"}'])
def test_a_broken_tokenizer_is_told(content: str, tmp_path: Path) -> None:
    folder = shutil.copytree(SHIPPED, tmp_path / "tokenizer")
    (folder / "vocab.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"The tokenizer in .* cannot be read"):
        CaptionTokenizer(folder)


def test_counts_do_not_depend_on_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word{number} cat, {number} dogs" for number in range(300)]
    wanted = tokens.count(texts).tolist()
    monkeypatch.setattr(tokens, "_MOST_WORDS", 50)
    monkeypatch.setattr(tokens, "_TEXTS", 7)
    small = CaptionTokenizer(SHIPPED)
    assert small.count(texts).tolist() == wanted and small.count(texts[::-1]).tolist() == wanted[::-1]
    assert len(small._counts) < 80


def test_lone_surrogates_do_not_end_the_count() -> None:
    assert tokens.count(["a \ud800 cat"])[0] == 3
    assert tokens.cut("a \ud800 cat", 2) == ("a \ud800 ", "cat")


def test_neither_torch_nor_transformers_is_needed() -> None:
    code = (
        "import sys; from core.data.captions import explain, previews; from core.data import tokens;"
        "assert tokens.count(['a cat'])[0] == 2; print(*{'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
