"""Tests of core/data/captions.py: every kind of file that people have, and the draws of compose()."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from core.data.captions import Captions, compose, explain, first, previews, read_captions, variants
from core.data.tokens import CaptionTokenizer, tokenizer_folder
from core.settings.data import DataSettings


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(captions: Captions, data: DataSettings, uses: int = 200) -> list[str]:
    source = generator()
    return [compose(captions, data, source) for _ in range(uses)]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return tmp_path / "photo.v1.jpg"


@pytest.mark.parametrize(
    "content",
    [
        "Käfer, blau".encode(),
        b"\xef\xbb\xbf" + "Käfer, blau".encode(),
        "Käfer, blau".encode("utf-16"),
        b"\xfe\xff" + "Käfer, blau".encode("utf-16-be"),
        "\r\n  Käfer, blau  \r\n\r\n".encode(),
    ],
)
def test_known_encodings_are_read_without_a_problem(picture: Path, content: bytes) -> None:
    picture.with_name("photo.v1.txt").write_bytes(content)
    assert read_captions(picture) == Captions("Käfer, blau", "", "")


def test_other_bytes_are_read_as_windows_1252_and_told(picture: Path) -> None:
    picture.with_suffix(".txt").write_bytes("Käfer € blau".encode("cp1252"))
    captions = read_captions(picture)
    assert captions.tags == "Käfer € blau"
    assert captions.problem == "photo.v1.txt is not UTF-8; read as Windows-1252, save it as UTF-8."


@pytest.mark.parametrize("content", [b"a\0b", b"\xff\xfe\0\0a\0\0\0", bytes(100), b"x" * 1_000_001])
def test_what_is_no_text_gives_an_empty_caption_and_a_problem(picture: Path, content: bytes) -> None:
    picture.with_suffix(".txt").write_bytes(content)
    captions = read_captions(picture)
    assert captions.tags == ""
    assert captions.problem.startswith("photo.v1.txt ")


def test_damaged_utf_16_is_told(picture: Path) -> None:
    picture.with_suffix(".txt").write_bytes("blau".encode("utf-16") + b"x")
    captions = read_captions(picture)
    assert captions.tags.startswith("blau")
    assert "UTF-16" in captions.problem


def test_unreadable_files_do_not_raise_and_both_problems_are_told(picture: Path) -> None:
    picture.with_suffix(".txt").mkdir()
    picture.with_suffix(".caption").write_bytes(b"\xe9")
    captions = read_captions(picture)
    assert (captions.tags, captions.natural) == ("", "é")
    assert "photo.v1.txt cannot be read" in captions.problem
    assert "photo.v1.caption is not UTF-8" in captions.problem


def test_both_files_and_several_lines(picture: Path) -> None:
    picture.with_suffix(".txt").write_text("a, b\n\nc, d\n", encoding="utf-8")
    picture.with_suffix(".caption").write_text("A sentence.", encoding="utf-8")
    assert read_captions(picture) == Captions("a, b\nc, d", "A sentence.")


def test_a_suffix_in_capitals_counts(picture: Path) -> None:
    picture.with_suffix(".TXT").write_text("a", encoding="utf-8")
    assert read_captions(picture).tags == "a"


def test_no_file_is_no_problem(picture: Path) -> None:
    assert read_captions(picture) == Captions("", "", "")


BOTH = Captions("a, b", "A sentence.")


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("tags", {"a, b"}),
        ("natural", {"A sentence."}),
        ("either", {"a, b", "A sentence."}),
        ("tags then natural", {"a, b, A sentence."}),
    ],
)
def test_the_kinds_of_caption(kind: str, texts: set[str]) -> None:
    assert set(drawn(BOTH, DataSettings(captions=kind))) == texts


def test_either_draws_both_about_equally_often() -> None:
    assert 60 < drawn(BOTH, DataSettings(captions="either")).count("a, b") < 140


@pytest.mark.parametrize("kind", ["tags", "natural", "either", "tags then natural"])
def test_a_missing_kind_is_replaced_by_the_other(kind: str) -> None:
    data = DataSettings(captions=kind)
    assert compose(Captions("a", ""), data, generator()) == "a"
    assert compose(Captions("", "S."), data, generator()) == "S."
    assert compose(Captions("", ""), data, generator()) == ""


def test_one_of_several_lines_is_drawn() -> None:
    captions = Captions("one\ntwo\nthree", "")
    assert set(drawn(captions, DataSettings())) == {"one", "two", "three"}


def test_wildcards_are_drawn_also_nested_and_plain_braces_stay() -> None:
    captions = Captions("{red|dark {blue|green}} car, :{}, {x}", "")
    assert set(drawn(captions, DataSettings())) == {
        f"{colour} car, :{{}}, {{x}}" for colour in ("red", "dark blue", "dark green")
    }


def test_the_trigger_stands_in_front_even_alone() -> None:
    data = DataSettings(trigger="sks", captions="tags")
    assert compose(BOTH, data, generator()) == "sks, a, b"
    assert compose(Captions("", ""), data, generator()) == "sks"


def test_shuffling_keeps_the_first_tags_and_all_others() -> None:
    data = DataSettings(captions="tags then natural", shuffle_tags=True, keep_tags=2, trigger="sks")
    texts = drawn(Captions("a,b , c, d, e", "One, two."), data)
    assert {tuple(text.split(", ")[:3]) for text in texts} == {("sks", "a", "b")}
    assert {tuple(text.split(", ")[6:]) for text in texts} == {("One", "two.")}
    assert len({tuple(text.split(", ")[3:6]) for text in texts}) == 6
    assert all(sorted(text.split(", ")[3:6]) == ["c", "d", "e"] for text in texts)


def test_a_sentence_is_never_shuffled() -> None:
    data = DataSettings(captions="natural", shuffle_tags=True, keep_tags=0)
    assert set(drawn(Captions("", "One, two, three."), data)) == {"One, two, three."}


def test_dropout_leaves_the_caption_empty_in_its_share_of_the_uses() -> None:
    texts = drawn(BOTH, DataSettings(caption_dropout=0.3, trigger="sks"), 1000)
    assert 240 < texts.count("") < 360
    assert set(drawn(BOTH, DataSettings(caption_dropout=1.0))) == {""}


def test_the_same_generator_gives_the_same_texts() -> None:
    data = DataSettings(shuffle_tags=True, keep_tags=0, caption_dropout=0.2)
    captions = Captions("a, b, c, {d|e}\nf, g, h", "S.")
    assert drawn(captions, data) == drawn(captions, data)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("tags", "sks, b, a, x"),
        ("either", "sks, b, a, x"),
        ("natural", "sks, A sentence."),
        ("tags then natural", "sks, b, a, x, A sentence."),
    ],
)
def test_first_is_the_first_of_everything(kind: str, text: str) -> None:
    data = DataSettings(captions=kind, trigger="sks", shuffle_tags=True, keep_tags=0, caption_dropout=1.0)
    assert first(Captions("b, a, {x|y}\nz", "A sentence.\nOther."), data) == text


def test_first_falls_back_too() -> None:
    assert first(Captions("", "S."), DataSettings(captions="tags")) == "S."
    assert first(Captions("", ""), DataSettings()) == ""


LONG = Captions("a, b_c, ||| d;;e, {f|g}\nred hair, ^_^", "A {big|small} cat.\nOther.")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"captions": "tags"},
        {"captions": "natural"},
        {"captions": "tags then natural"},
        {"captions": "natural then tags"},
        {"both_share": 0.4},
        {"both_share": 1.0},
        {"tags_share": 0.3},
        {"tags_share": 1.0},
        {"tags_share": 0.0, "prefix": "a photo of", "suffix": ", sharp"},
        {"keep_separator": "|||", "group_separator": ";;"},
        {"tag_rules": ["b c -> q, a", "red*"], "underscores_to_spaces": True},
        {"txt_holds": "sentences", "separator": " "},
        {"separator": " ", "captions": "tags"},
        {"dropout_every_epochs": 2},
        {"dropout_every_epochs": 1},
        {"caption_dropout": 1.0},
    ],
)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_variants_are_all_that_compose_can_give(changes: dict[str, Any], dropout: float) -> None:
    data = DataSettings(**{"caption_dropout": dropout, "trigger": "sks", **changes})
    for given in (LONG, Captions("a, b\nc", "One.\nTwo."), Captions("a", ""), Captions("", "One."), Captions("", "")):
        drawn = {compose(given, data, np.random.default_rng(seed), seed % 4) for seed in range(1500)}
        assert variants(given, data) == drawn
        named = variants(given, data.model_copy(update=NEVER_EMPTY))
        assert named is not None and first(given, data) in named


#: Evaluation does not drop captions.
NEVER_EMPTY = {"caption_dropout": 0.0, "dropout_every_epochs": 0}


def test_variants_that_cannot_be_named() -> None:
    assert variants(Captions("a, b", ""), DataSettings(shuffle_tags=True)) is None
    assert variants(Captions("a, b", ""), DataSettings(tag_dropout=0.1)) is None
    assert variants(Captions("a, b", "S."), DataSettings(tag_dropout=0.1, captions="natural")) == {"S."}
    assert variants(Captions("{a|b|c|d} {a|b|c|d} {a|b|c|d} {a|b|c|d} {a|b}", ""), DataSettings()) is None
    assert variants(Captions("\n".join(map(str, range(300))), ""), DataSettings()) is None


def test_settings_of_before_draw_what_they_drew() -> None:
    """What these options gave before others were added; a run that goes on must read the same captions."""
    data = DataSettings(shuffle_tags=True, keep_tags=1, caption_dropout=0.2, trigger="sks", captions="either")
    captions = Captions("a, b, c, {d|e}\nf, g, h, i", "A sentence.\nOther.")
    assert [compose(captions, data, generator(seed)) for seed in range(8)] == BEFORE


BEFORE = [
    "sks, A sentence.",
    "sks, Other.",
    "sks, a, b, d, c",
    "",
    "sks, Other.",
    "sks, f, i, h, g",
    "sks, A sentence.",
    "sks, Other.",
]


def test_shares_of_tags_and_of_both() -> None:
    texts = drawn(BOTH, DataSettings(tags_share=0.8), 1000)
    assert 750 < texts.count("a, b") < 850
    texts = drawn(BOTH, DataSettings(tags_share=0.8, both_share=0.5), 1000)
    one, other = texts.count("a, b, A sentence."), texts.count("A sentence., a, b")
    assert 190 < one < 310 and 190 < other < 310 and 340 < texts.count("a, b") < 460


def test_the_sentence_may_come_first_and_the_tags_behind_it_are_shuffled() -> None:
    data = DataSettings(captions="natural then tags", shuffle_tags=True, keep_tags=1)
    assert set(drawn(Captions("a, b, c", "S."), data)) == {"S., a, b, c", "S., a, c, b"}
    assert compose(Captions("a, b", ""), data, generator()) == "a, b"


@pytest.mark.parametrize(
    ("line", "is_sentence"),
    [
        ("1girl, solo, long hair, looking at viewer", False),
        ("blue hair", False),
        ("masterpiece", False),
        ("a cat on a mat", True),
        ("A woman stands by the sea, smiling at someone.", True),
        ("Two cats.", False),
        ("Two cats sleep!", True),
    ],
)
def test_what_a_txt_holds(line: str, is_sentence: bool) -> None:
    auto, sentences = DataSettings(txt_holds="auto"), DataSettings(txt_holds="sentences")
    shuffled = {"captions": "natural then tags", "shuffle_tags": True}
    kinds = explain(Captions(line, ""), auto, generator()).kinds
    assert kinds == (("natural",) if is_sentence else ("tags",))
    assert explain(Captions(line, ""), sentences.model_copy(update=shuffled), generator()).text == line
    assert explain(Captions(line, ""), DataSettings(), generator()).kinds == ("tags",)


def test_lines_of_both_kinds_in_one_file_are_told_apart() -> None:
    data = DataSettings(txt_holds="auto", captions="tags then natural")
    captions = Captions("a, b\nA cat sits on the mat.", "From the other file.")
    assert set(drawn(captions, data)) == {"a, b, A cat sits on the mat.", "a, b, From the other file."}


def test_tags_are_dropped_one_by_one_but_not_those_kept() -> None:
    data = DataSettings(captions="tags", tag_dropout=0.25, keep_tags=2, trigger="sks")
    texts = [text.split(", ") for text in drawn(Captions("a, b, c, d, e, f", ""), data, 2000)]
    assert all(text[:3] == ["sks", "a", "b"] for text in texts)
    assert all(text[1:] == sorted(text[1:]) for text in texts)
    for tag in "cdef":
        assert 1400 < sum(tag in text for text in texts) < 1600
    assert set(drawn(Captions("a, b, c, d", ""), DataSettings(tag_dropout=1.0, keep_tags=0))) == {""}


def test_marks_say_what_is_kept_at_both_ends() -> None:
    data = DataSettings(captions="tags", shuffle_tags=True, keep_separator="|||", keep_tags=3, tag_dropout=0.5)
    texts = [text.split(", ") for text in drawn(Captions("a, b ||| c, d, e ||| y, z", ""), data)]
    assert all(text[:2] == ["a", "b"] and text[-2:] == ["y", "z"] for text in texts)
    assert {tuple(sorted(text[2:-2])) for text in texts} == {(), *map(tuple, ("c", "d", "e", "cd", "ce", "de", "cde"))}
    assert compose(Captions("a ||| b", ""), DataSettings(keep_separator="|||"), generator()) == "a, b"
    assert set(drawn(Captions("a, b", ""), data)) == {"a, b"}


def test_groups_stay_together_and_are_read_with_commas() -> None:
    data = DataSettings(captions="tags", shuffle_tags=True, group_separator=";;", keep_tags=0, tag_rules=["e -> E"])
    assert set(drawn(Captions("c, d;;e", ""), data)) == {"c, d, E", "d, E, c"}


def test_tags_apart_by_blanks() -> None:
    data = DataSettings(captions="tags", separator=" ", underscores_to_spaces=True)
    assert compose(Captions("1girl long_hair  ^_^ o_o", ""), data, generator()) == "1girl, long hair, ^_^, o_o"
    assert compose(Captions("a;b ; c", ""), DataSettings(separator=" ; "), generator()) == "a, b, c"


def test_rules_touch_tags_only() -> None:
    data = DataSettings(captions="tags then natural", tag_rules=["a -> x", "b"])
    assert compose(Captions("a, b, A, c", "a, b"), data, generator()) == "x, c, a, b"


def test_words_before_and_behind() -> None:
    data = DataSettings(captions="tags", trigger="sks", prefix="a photo of", suffix=", by night")
    assert compose(BOTH, data, generator()) == "sks, a photo of a, b, by night"
    assert compose(Captions("", ""), data, generator()) == "sks, a photo of, by night"
    assert compose(BOTH, DataSettings(captions="tags", suffix="at noon"), generator()) == "a, b at noon"


def test_epochs_without_captions() -> None:
    data = DataSettings(dropout_every_epochs=3, captions="tags")
    assert [compose(BOTH, data, generator(), epoch) for epoch in range(6)] == ["a, b", "a, b", "", "a, b", "a, b", ""]


# What is shown of it


def test_a_preview_says_what_was_done() -> None:
    data = DataSettings(
        captions="tags", shuffle_tags=True, tag_dropout=0.5, keep_tags=1, tag_rules=["rating:*", "old -> new"]
    )
    captions = Captions("first, rating:safe, old, b, c, d, e", "")
    tokenizer = CaptionTokenizer(tokenizer_folder())
    for seed in range(20):
        story = explain(captions, data, generator(seed), tokenizer)
        assert story.text == compose(captions, data, generator(seed))
        assert story.replaced == [("rating:safe", ""), ("old", "new")] and story.kept == ["first"]
        tags = story.text.split(", ")
        assert sorted([*tags, *story.dropped]) == sorted(["first", "new", "b", "c", "d", "e"])
        assert story.tokens == 2 * len(tags) - 1 and (story.read, story.unread) == (story.text, "")
        assert story.shuffled or [tag for tag in ("first", "new", "b", "c", "d", "e") if tag in tags] == tags
    assert explain(captions, DataSettings(caption_dropout=1.0), generator()).emptied


def test_a_preview_shows_where_the_text_is_cut() -> None:
    captions = Captions("", " ".join(f"{word}" for word in ["cat"] * 90))
    tokenizer = CaptionTokenizer(tokenizer_folder())
    short = explain(captions, DataSettings(), generator(), tokenizer)
    assert (short.tokens, len(short.read.split()), len(short.unread.split())) == (90, 75, 15)
    assert short.read + short.unread == short.text
    long = explain(captions, DataSettings(max_tokens=150), generator(), tokenizer)
    assert (long.tokens, long.unread) == (90, "")


def test_previews_are_what_the_training_will_read() -> None:
    data = DataSettings(shuffle_tags=True, keep_tags=0, caption_dropout=0.2, dropout_every_epochs=4)
    captions = Captions("a, b, c, d\ne, f", "S.")
    shown = [story.text for story in previews(captions, data, (7, "abc"), 12)]
    # The seed of a use as it is written down in the architecture: what every run since the first has drawn with.
    seeds = [xxhash.xxh3_64_intdigest(f"caption/7/{epoch}/abc".encode()) for epoch in range(12)]
    wanted = [compose(captions, data, np.random.Generator(np.random.Philox(s)), e) for e, s in enumerate(seeds)]
    assert shown == wanted and len(set(shown)) > 3 and shown[3] == shown[7] == ""
