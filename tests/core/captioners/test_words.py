"""Tests of core/captioners/_words.py: from what a model says to the text of a caption file."""

from __future__ import annotations

import pytest

from core.captioners._words import FACES, added, as_sentence, as_tags, spaced, whole_sentences


def test_underscores_become_spaces_but_not_in_drawn_faces() -> None:
    assert [spaced(tag) for tag in ("long_hair", "^_^", "||_||", "hatsune_miku_(vocaloid)")] == [
        "long hair",
        "^_^",
        "||_||",
        "hatsune miku (vocaloid)",
    ]
    assert len(FACES) == 19 and all("_" in face or face in ("._.",) for face in FACES)


def test_tags_come_once_without_those_to_leave_out() -> None:
    said = ["long hair", "Long_Hair", "mosaic censoring", "censored", "1girl", "smile"]
    assert as_tags(said, ["*censor*", "SMILE"]) == "long hair, 1girl"
    assert as_tags(said, ["long_hair"], most=2) == "mosaic censoring, censored"
    assert as_tags([], ["x"]) == ""


def test_a_sentence_of_tags_is_split_into_them() -> None:
    assert as_tags("a cat, grass,\nBlue sky, a cat.") == "a cat, grass, Blue sky"
    assert as_tags("cat\ndog") == "cat, dog"


def test_a_sentence_is_one_line() -> None:
    assert as_sentence(" A cat.\n\n It  sits. ") == "A cat. It sits."
    assert as_sentence(["a cat", "grass"]) == "a cat, grass"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("A cat sits. It looks at", "A cat sits."),
        ('He says "no!" And then', 'He says "no!"'),
        ("no end at all", "no end at all"),
        ("A lens of 3.5 mm is used. So", "A lens of 3.5 mm is used."),
    ],
)
def test_what_was_cut_off_ends_with_a_whole_sentence(text: str, kept: str) -> None:
    assert whole_sentences(text) == kept


def test_words_are_added_beside_those_that_are_there() -> None:
    assert added("", "cat, dog", "tags") == "cat, dog"
    assert added("My Cat, dog", "cat, Dog, my_cat, sky", "tags") == "My Cat, dog, cat, sky"
    assert added("one\ntwo", "two, three", "tags") == "one, two, three\ntwo, three"
    assert added("A dog.", "A cat.", "natural") == "A dog.\nA cat."
    assert added("A dog.\nA cat.", "A cat.", "natural") == "A dog.\nA cat."
