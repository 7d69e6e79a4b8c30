"""Tests of core/data/captions.py: every kind of file that people have, and the draws of compose()."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.data.captions import Captions, compose, first, read_captions, variants
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


@pytest.mark.parametrize("captions", ["tags", "natural", "either", "tags then natural"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_variants_are_all_that_compose_can_give(captions: str, dropout: float) -> None:
    data = DataSettings(captions=captions, caption_dropout=dropout, trigger="sks")  # type: ignore[arg-type]
    for given in (Captions("a, b\nc", "One.\nTwo."), Captions("a", ""), Captions("", "One."), Captions("", "")):
        drawn = {compose(given, data, np.random.default_rng(seed)) for seed in range(200)}
        assert variants(given, data) == drawn


def test_variants_that_cannot_be_named() -> None:
    assert variants(Captions("a, b", ""), DataSettings(shuffle_tags=True)) is None
    assert variants(Captions("a {b|c}", ""), DataSettings()) is None
