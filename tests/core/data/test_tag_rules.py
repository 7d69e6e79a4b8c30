"""Tests of core/data/tag_rules.py: what rules make of tags, and what cannot be a rule."""

from __future__ import annotations

import pytest

from core.data.tag_rules import read_rules, with_spaces
from core.errors import UserError


@pytest.mark.parametrize(
    ("rules", "tag", "becomes"),
    [
        (["old -> new"], "old", ("new",)),
        (["old -> new"], "older", ("older",)),
        (["Old_Tag -> new"], "old tag", ("new",)),
        (["old tag"], "OLD_tag", ()),
        (["a, b, c -> d, e"], "b", ("d", "e")),
        (["a -> b", "b -> c"], "a", ("b",)),
        (["a -> b", "a -> c"], "a", ("b",)),
        (["rating:*"], "Rating:safe", ()),
        (["*_hair -> * locks"], "long dark hair", ("long dark locks",)),
        (["* hair -> *"], "Long_hair", ("Long",)),
        (["*_and_* -> *, *"], "cat and dog", ("cat", "dog")),
        (["* and * -> *"], "cat and dog", ("cat",)),
        (["*"], "anything", ()),
        (["long hair -> x", "*hair"], "long_hair", ("x",)),
        (["*hair", "long hair -> x"], "long_hair", ()),
        ([r"\*_\* -> eyes"], "*_*", ("eyes",)),
        ([r"\** -> starred"], "*abc", ("starred",)),
        (["a.c -> x"], "abc", ("abc",)),
        (["(a) -> x*"[:-1]], "(a)", ("x",)),
        (["", "  "], "a", ("a",)),
    ],
)
def test_what_becomes_of_a_tag(rules: list[str], tag: str, becomes: tuple[str, ...]) -> None:
    assert read_rules(tuple(rules)).apply(tag) == becomes
    assert read_rules(tuple(rules)).apply(tag) == becomes  # the remembered answer


@pytest.mark.parametrize(
    ("rule", "words"), [("-> new", "names no tag"), ("old ->", "has nothing behind"), ("a* -> **", "more \\* on its")]
)
def test_what_is_no_rule(rule: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_rules(("a -> b", rule))


@pytest.mark.parametrize(
    "face", ["^_^", ">_<", "o_o", "0_0", "(o)_(o)", "||_||", "=_=", "3_3", "@_@", "<|>_<|>", "._."]
)
def test_faces_keep_their_underscore(face: str) -> None:
    assert with_spaces(face) == face


def test_words_lose_theirs() -> None:
    assert [with_spaces(tag) for tag in ("long_hair", "a_cat", "plain", "_x_")] == ["long hair", "a cat", "plain", "x"]
