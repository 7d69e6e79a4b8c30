"""Tests of core/data/around.py: captions are counted with the words that are put around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as rounds
from hypothesis import strategies as st
from PIL import Image

from core.data import learning
from core.data.around import in_all, tokens_around
from core.data.captions import Captions, first
from core.data.columns import Columns
from core.data.index import Index
from core.data.picture_facts import learn
from core.data.picture_filter import PictureFilter, matching
from core.data.report import make_report
from core.data.tokens import CaptionTokenizer, tokenizer_folder
from core.settings import default_settings
from core.settings.folder_rules import FolderRules

TOKENIZER = CaptionTokenizer(tokenizer_folder())
WORDS = st.lists(st.sampled_from(["sks", "Style", "1girl", "don't", "(a)", "ohwx 2", "中文"]), max_size=3).map(" ".join)
CAPTIONS = st.lists(st.sampled_from(["cat", "long hair", "a_b", "x:3", "it's", "50mm"]), min_size=1, max_size=4)


@rounds(max_examples=150, deadline=None)
@given(trigger=WORDS, prefix=WORDS, suffix=st.one_of(WORDS, WORDS.map(", {}".format)), tags=CAPTIONS)
def test_the_sum_is_what_the_model_reads(trigger: str, prefix: str, suffix: str, tags: list[str]) -> None:
    settings = default_settings()
    settings.data.trigger, settings.data.prefix, settings.data.suffix = trigger, prefix, suffix
    caption = ", ".join(tags)
    (around,) = tokens_around([FolderRules()], settings)
    whole, alone = TOKENIZER.count([first(Captions(caption, ""), settings.data), caption])
    assert alone + around == whole


def test_each_rule_has_its_own() -> None:
    settings = default_settings()
    settings.data.trigger = "one two three"
    rules = [FolderRules(), FolderRules(path="/a", trigger="one"), FolderRules(path="/b", captions="tags")]
    assert tokens_around(rules, settings).tolist() == [4, 2, 4]


def test_no_tokenizer_is_opened_for_nothing(tmp_path: Path) -> None:
    settings = default_settings()

    def fail(folder: Path) -> CaptionTokenizer:
        raise AssertionError

    assert tokens_around([FolderRules(), FolderRules(path="/a")], settings, fail).tolist() == [0, 0]
    settings.data.suffix = "by night"
    with pytest.raises(AssertionError):
        tokens_around([FolderRules()], settings, fail)


@pytest.fixture
def columns(tmp_path: Path) -> Iterator[tuple[Index, Columns]]:
    """Folder a: captions of 74 and 3 tokens, one without; folder b: one of 74; counted."""
    for name, caption in (("a/0", "cat " * 74), ("a/1", "a b c"), ("a/2", ""), ("b/0", "cat " * 74)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64 + len(list(tmp_path.rglob("*.png"))))).save(path)
        if caption:
            path.with_suffix(".txt").write_text(caption)
    with Index(Path(":memory:")) as index:
        index.scan([tmp_path])
        learning.count_tokens(index, default_settings())
        yield index, index.columns()


def test_a_caption_that_fits_only_without_its_trigger_is_told(columns: tuple[Index, Columns], tmp_path: Path) -> None:
    index, numbers = columns
    settings = default_settings()
    assert make_report(index, settings).truncated == 0
    settings.data.folder_rules = [FolderRules(path=str(tmp_path / "b"), trigger="sks dog")]
    report = make_report(index, settings)
    assert (report.truncated, report.tokens) == (1, "counted with the words around them")
    assert [(Path(one["path"]).parent.name, one["tokens"]) for one in report.longest] == [("b", 74 + 3)]
    facts = learn(numbers, settings)
    assert matching(numbers, facts, PictureFilter(problem="truncated")).sum() == 1
    settings.data.trigger = "cat"
    assert make_report(index, settings).truncated == 2
    settings.data.max_tokens = "150"
    assert make_report(index, settings).truncated == 0


def test_what_is_not_counted_stays_unknown(columns: tuple[Index, Columns]) -> None:
    index, numbers = columns
    assert sorted(in_all(numbers.tokens, numbers.tokens * 0 + 5).tolist()) == [5, 8, 79, 79]
    index.set_captions(int(numbers.ids[0]), "new words", "")
    settings = default_settings()
    settings.data.trigger = "cat " * 80
    report = make_report(index, settings)
    assert report.uncounted == 1 and report.truncated == 3
