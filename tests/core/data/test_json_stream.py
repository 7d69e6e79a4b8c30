"""Tests of core/data/json_stream.py: the same as json.loads() whatever the pieces it is read in, errors by the byte."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core.data.json_stream as module
from core.data.json_stream import JsonError, entries

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Pieces(io.BytesIO):
    """A file that gives a few bytes at a time, whatever is asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def read(self, _: int | None = -1) -> bytes:
        return super().read(self._size)


@given(
    values=st.dictionaries(st.text(), _VALUES, max_size=6),
    size=st.integers(1, 40),
    indent=st.sampled_from([None, 2]),
    escaped=st.booleans(),
    mark=st.booleans(),
)
def test_any_object_in_any_pieces(
    values: dict[str, Any], size: int, indent: int | None, escaped: bool, mark: bool
) -> None:
    try:
        data = json.dumps(values, indent=indent, ensure_ascii=escaped).encode()
    except UnicodeEncodeError:  # half a character, which only an escape can write
        data = json.dumps(values, indent=indent).encode()
    data = b"\xef\xbb\xbf" * mark + b" \n" + data + b"\n"
    assert dict(entries(Pieces(data, size))) == values  # type: ignore[arg-type]
    around = b'{"before": [1, {"inside": 2}], "inside": ' + data.removeprefix(b"\xef\xbb\xbf") + b', "behind": 3}'
    beside: dict[str, Any] = {}
    assert dict(entries(Pieces(around, size), inside="inside", beside=beside)) == values  # type: ignore[arg-type]
    assert beside == {"before": [1, {"inside": 2}], "behind": 3}


@given(values=st.dictionaries(st.text(max_size=5), _VALUES, min_size=1, max_size=4), data=st.data())
def test_any_cut_is_an_error_at_a_byte_of_the_file(values: dict[str, Any], data: st.DataObject) -> None:
    whole = json.dumps(values).encode()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(JsonError) as raised:
        list(entries(Pieces(whole[:cut], data.draw(st.integers(1, 30)))))  # type: ignore[arg-type]
    assert 0 <= raised.value.byte <= cut


@given(values=st.dictionaries(st.text(max_size=5), _VALUES, min_size=1, max_size=4), data=st.data())
def test_a_changed_byte_is_read_as_json_reads_it_or_refused(values: dict[str, Any], data: st.DataObject) -> None:
    changed = bytearray(json.dumps(values, ensure_ascii=False).encode("utf-8", "replace"))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        wanted = json.loads(bytes(changed).decode())
    except ValueError:
        wanted = None
    try:
        found = list(entries(io.BytesIO(bytes(changed))))
    except JsonError:
        assert not isinstance(wanted, (dict, list))
        return
    assert isinstance(wanted, (dict, list))
    assert json.dumps(dict(found) if isinstance(wanted, dict) else [one for _, one in found]) == json.dumps(wanted)


@pytest.mark.parametrize(
    ("text", "byte", "what"),
    [
        ('{"\u00e4\u00f6": 1, "b": nope}', 17, "no JSON"),
        ('{"a": 1 "b": 2}', 8, "',' or '}' is missing"),
        ('{"a": 1,}', 8, "a key is missing"),
        ('{"a" 1}', 5, "':' is missing"),
        ("{1: 2}", 1, "a key is missing"),
        ('{"a": 1}]', 8, "follows"),
        ('{"a": "cut', 6, "ends too early"),
    ],
)
def test_errors_name_the_byte(text: str, byte: int, what: str) -> None:
    for size in (1, 3, 1000):
        with pytest.raises(JsonError, match=what) as raised:
            list(entries(Pieces(text.encode(), size)))  # type: ignore[arg-type]
        assert raised.value.byte == byte
        assert not raised.value.absent


def test_the_byte_of_text_that_is_no_utf8() -> None:
    data = '{"\u00e4": 1, '.encode() + b'"\xff": 2}'
    for size in (1, 4, 1000):
        with pytest.raises(JsonError, match="not UTF-8") as raised:
            list(entries(Pieces(data, size)))  # type: ignore[arg-type]
        assert raised.value.byte == data.index(b"\xff")


def test_lists_and_json_of_another_kind() -> None:
    assert list(entries(io.BytesIO(b"[1, {}, []]"))) == [("", 1), ("", {}), ("", [])]
    for text in (b"17", b'"words"', b"null"):
        with pytest.raises(JsonError) as raised:
            list(entries(io.BytesIO(text)))
        assert raised.value.absent
    with pytest.raises(JsonError, match="there is no 'inside'") as raised:
        list(entries(io.BytesIO(b'{"a": {"inside": {}}}'), inside="inside"))
    assert raised.value.absent


def test_what_cannot_be_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIMIT", 1000)
    monkeypatch.setattr(module, "_CHUNK", 100)
    assert len(dict(entries(io.BytesIO(b'{"a": "' + b"x" * 900 + b'"}')))["a"]) == 900
    with pytest.raises(JsonError, match="an entry is longer"):
        list(entries(io.BytesIO(b'{"a": "' + b"x" * 90_000 + b'"}')))
    for text in (b'{"a": ' + b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"):
        with pytest.raises(JsonError):
            list(entries(io.BytesIO(text)))


def test_memory_does_not_grow_with_the_file() -> None:
    class Endless(io.RawIOBase):
        """An object of 150 MB that is made as it is read."""

        def __init__(self) -> None:
            self.given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += 1
            if self.given == 1:
                return b'{"0": 0'
            return (
                b""
                if self.given > 152
                else (b', "key": {"caption": "' + b"x" * 476 + b'"}') * 2000 + b"}" * (self.given == 152)
            )

    tracemalloc.start()
    try:
        assert sum(1 for _ in entries(Endless())) == 1 + 151 * 2000  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
