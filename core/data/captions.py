"""Captions: composes the text that the model reads at one use of a picture, and says what chance did to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

import numpy as np

from core.data.caption_files import NATURAL_SUFFIX, TAGS_SUFFIX, UNREADABLE, Captions, split_lines, split_tags
from core.data.caption_reading import read_captions, read_settled
from core.data.draws import caption_generator
from core.data.tag_rules import TagRules, key_of, read_rules, with_spaces
from core.data.tokens import Measures
from core.settings.captions import CaptionSettings

__all__ = [
    "NATURAL_SUFFIX", "TAGS_SUFFIX", "UNREADABLE", "Captions", "Explained", "compose", "explain",
    "first", "previews", "read_captions", "read_settled", "split_tags", "variants",
]  # fmt: skip

#: The innermost {a|b|c}; braces without a bar are left alone, as they are part of some tags.
_WILDCARD = re.compile(r"\{([^{}]*\|[^{}]*)\}")

#: A picture with more possible texts than this has too many to keep their text states.
_MOST_VARIANTS = 256

#: A line with so many words between commas, or with so many words and a full stop, is taken for a sentence.
_SENTENCE_WORDS, _ENDED_WORDS = 4, 3

#: Draws one of the texts.
_Pick = Callable[[Sequence[str]], str]


@dataclass(slots=True)
class Explained:
    """The text of one use of a picture, and how it came about.

    Attributes:
        text: What the model is given; "" where the whole caption was dropped.
        kinds: The kinds of caption in it, in their order ("tags", "natural").
        emptied: Whether the whole caption was dropped.
        shuffled: Whether tags have a new order.
        kept, dropped: Tags that stay in front (or at the end), and those that were left out by chance.
        replaced: (tag as written, what it became); "" for one that a rule removed, or that stood there twice.
        tokens: Tokens of the text without its beginning and end; -1 where no tokenizer was given.
        read, unread: The text as the model sees it, and what is cut off behind it.
    """

    text: str = ""
    kinds: tuple[str, ...] = ()
    emptied: bool = False
    shuffled: bool = False
    kept: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    replaced: list[tuple[str, str]] = field(default_factory=list)
    tokens: int = -1
    read: str = ""
    unread: str = ""


def compose(captions: Captions, data: CaptionSettings, generator: np.random.Generator, epoch: int = 0) -> str:
    """The text that the model reads at one use of a picture; all chance comes from `generator`.

    Draws, each only where it can matter, in this order: dropout of the whole caption, both kinds together and their
    order, the kind of caption, the line and the wildcards of each kind, the order of tags, the dropout of each tag.

    Args:
        epoch: Counted from 0; each data.dropout_every_epochs-th has no captions.
    """
    return _drawn(captions, data, generator, epoch).text


def explain(
    captions: Captions,
    data: CaptionSettings,
    generator: np.random.Generator,
    tokenizer: Measures | None = None,
    epoch: int = 0,
) -> Explained:
    """What compose() gives with the same arguments, and what was done on the way, for people to look at."""
    drawn = _drawn(captions, data, generator, epoch)
    drawn.read = drawn.text
    if tokenizer is not None:
        _measure([drawn], data, tokenizer)
    return drawn


def _measure(drawn: Sequence[Explained], data: CaptionSettings, tokenizer: Measures) -> None:
    """Tell tokens and what is cut off; all at once, as the tokenizer may be in another process."""
    measured = tokenizer.measure([one.text for one in drawn], int(data.max_tokens))
    for one, (tokens, letters) in zip(drawn, measured, strict=True):
        one.tokens, one.read, one.unread = tokens, one.text[:letters], one.text[letters:]


def previews(
    captions: Captions,
    data: CaptionSettings,
    key: tuple[int, str],
    uses: int,
    tokenizer: Measures | None = None,
) -> list[Explained]:
    """What a training will read of a picture at its first uses, one an epoch unless its folder has repeats.

    Args:
        key: (the training's seed, content of the picture), from which the training draws too (core/data/draws.py).
        uses: How many.
    """
    seed, content = key
    drawn = [explain(captions, data, caption_generator(seed, use, content), epoch=use) for use in range(uses)]
    if tokenizer is not None:
        _measure(drawn, data, tokenizer)
    return drawn


def first(captions: Captions, data: CaptionSettings) -> str:
    """The text of a picture that evaluation uses: the first of every choice, no dropout, no shuffling."""
    lines = _lines(captions, data)
    kinds = next(_choices(tuple(lines), data))
    return _finished([_one(lines[kind], lambda texts: texts[0]) for kind in kinds], kinds, data)


def variants(captions: Captions, data: CaptionSettings) -> set[str] | None:
    """Every text that compose() can give; None where chance has too many (shuffled tags, long lists) to name them."""
    lines = _lines(captions, data)
    texts: set[str] = {""} if data.caption_dropout > 0 or data.dropout_every_epochs else set()
    if data.caption_dropout >= 1 or data.dropout_every_epochs == 1:
        return texts
    for kinds in _choices(tuple(lines), data):
        if "tags" in kinds and (data.shuffle_tags or data.tag_dropout > 0):
            return None
        every = [list(islice(_written_out(lines[kind]), _MOST_VARIANTS + 1)) for kind in kinds]
        if any(len(several) > _MOST_VARIANTS for several in every):
            return None
        for parts in product(*every):
            texts.add(_finished(list(parts), kinds, data))
            if len(texts) > _MOST_VARIANTS:
                return None
    return texts


def _lines(captions: Captions, data: CaptionSettings) -> dict[str, list[str]]:
    """The lines of each kind of caption that is there, tags first; what a .txt holds is as data.txt_holds says."""
    tags, natural = split_lines(captions.tags), split_lines(captions.natural)
    if data.txt_holds != "tags":
        sentences = [line for line in tags if data.txt_holds == "sentences" or _is_sentence(line)]
        tags = [line for line in tags if line not in sentences]
        natural += sentences
    return {kind: lines for kind, lines in (("tags", tags), ("natural", natural)) if lines}


def _is_sentence(line: str) -> bool:
    """Whether a line looks like a sentence: it ends like one, or has many words between its commas."""
    words = len(line.split())
    ended = line.endswith((".", "!", "?")) and words >= _ENDED_WORDS
    return ended or words >= _SENTENCE_WORDS * (line.count(",") + 1)


def _choices(present: tuple[str, ...], data: CaptionSettings) -> Iterator[tuple[str, ...]]:
    """The kinds of caption that may be read together, the most usual first; others where the wanted are missing."""
    if data.captions == "either" and len(present) > 1:
        if data.both_share < 1:
            yield from (("tags",),) if data.tags_share > 0 else ()
            yield from (("natural",),) if data.tags_share < 1 else ()
        if data.both_share > 0:
            yield from (present, present[::-1])
    elif data.captions in present:
        yield (str(data.captions),)
    else:
        yield present[::-1] if data.captions == "natural then tags" else present


def _chosen(present: tuple[str, ...], data: CaptionSettings, generator: np.random.Generator) -> tuple[str, ...]:
    """The kinds that are read at one use."""
    if data.captions != "either" or len(present) < 2:
        return next(_choices(present, data))
    if data.both_share > 0 and generator.random() < data.both_share:
        return present[:: 1 - 2 * int(generator.integers(2))]
    if data.tags_share == 0.5:
        return (present[int(generator.integers(2))],)
    return (present[0 if generator.random() < data.tags_share else 1],)


def _drawn(captions: Captions, data: CaptionSettings, generator: np.random.Generator, epoch: int) -> Explained:
    """One use of a picture: text, kinds and what happened to the tags."""
    if data.dropout_every_epochs and (epoch + 1) % data.dropout_every_epochs == 0:
        return Explained(emptied=True)
    if data.caption_dropout > 0 and generator.random() < data.caption_dropout:
        return Explained(emptied=True)

    def pick(texts: Sequence[str]) -> str:
        return texts[0] if len(texts) == 1 else texts[int(generator.integers(len(texts)))]

    lines = _lines(captions, data)
    story = Explained(kinds=_chosen(tuple(lines), data, generator))
    parts = [_one(lines[kind], pick) for kind in story.kinds]
    story.text = _finished(parts, story.kinds, data, story, generator)
    return story


def _one(lines: Sequence[str], pick: _Pick) -> str:
    """One line with its wildcards drawn, the inner ones first."""
    text = pick(lines)
    while (found := _WILDCARD.search(text)) is not None:
        text = text[: found.start()] + pick(found[1].split("|")).strip() + text[found.end() :]
    return text


def _written_out(lines: Sequence[str]) -> Iterator[str]:
    """Every text that _one() can give of some lines; one that can come in two ways comes twice."""
    for line in lines:
        found = _WILDCARD.search(line)
        if found is None:
            yield line
        else:
            before, behind = line[: found.start()], line[found.end() :]
            yield from _written_out([before + choice.strip() + behind for choice in found[1].split("|")])


def _finished(
    parts: list[str],
    kinds: Sequence[str],
    data: CaptionSettings,
    story: Explained | None = None,
    generator: np.random.Generator | None = None,
) -> str:
    """The whole text of drawn lines: rules and, with a generator, chance applied to the tags, words put around it."""
    if "tags" in kinds:
        place = list(kinds).index("tags")
        parts[place] = _with_tags_changed(parts[place], data, story or Explained(), generator)
    text = ", ".join(filter(None, parts))
    if data.prefix.strip():
        text = _glued(data.prefix.strip(), text)
    if data.suffix.strip():
        text = _glued(text, data.suffix.strip())
    return ", ".join(filter(None, (data.trigger.strip(), text)))


def _glued(left: str, right: str) -> str:
    """Two texts with a blank between, unless the second begins with a sign that follows a word directly."""
    return left + ("" if not left or not right or right[0] in ",.;:!?" else " ") + right


def _with_tags_changed(
    line: str, data: CaptionSettings, story: Explained, generator: np.random.Generator | None
) -> str:
    """A line of tags by the rules, and shuffled and thinned by a generator; as it is written where nothing is asked."""
    chance = generator is not None and (data.shuffle_tags or data.tag_dropout > 0)
    marked = bool(data.keep_separator) and data.keep_separator in line
    if not chance and not marked and not _rewrites(data, line):
        return line
    seen: set[str] = set()
    fields = line.split(data.keep_separator, 2) if marked else [line]
    kept, *others = (_ruled(field, data, story, seen) for field in fields)
    if not marked:
        kept, others = kept[: data.keep_tags], [kept[data.keep_tags :]]
    moving, behind = others[0], others[1] if len(others) > 1 else []
    if chance and generator is not None:
        story.kept = kept + behind
        moving = _thinned(_shuffled(moving, data, story, generator), data, story, generator)
    return ", ".join(kept + moving + behind)


def _between(data: CaptionSettings) -> str:
    """What parts the tags of a line: a sign without the blanks around it, or a blank."""
    return data.separator.strip() or (" " if data.separator else ",")


def _rewrites(data: CaptionSettings, line: str) -> bool:
    """Whether the tags of a line are to be read one by one, whatever chance does to them."""
    grouped = bool(data.group_separator) and data.group_separator in line
    return bool(data.tag_rules) or data.underscores_to_spaces or grouped or _between(data) != ","


def _shuffled(tags: list[str], data: CaptionSettings, story: Explained, generator: np.random.Generator) -> list[str]:
    if not data.shuffle_tags:
        return tags
    new = [tags[place] for place in generator.permutation(len(tags))]
    story.shuffled = new != tags
    return new


def _thinned(tags: list[str], data: CaptionSettings, story: Explained, generator: np.random.Generator) -> list[str]:
    if data.tag_dropout <= 0:
        return tags
    stays = generator.random(len(tags)) >= data.tag_dropout
    story.dropped = [tag for tag, stay in zip(tags, stays, strict=True) if not stay]
    return [tag for tag, stay in zip(tags, stays, strict=True) if stay]


def _ruled(piece: str, data: CaptionSettings, story: Explained, seen: set[str]) -> list[str]:
    """The tags of a piece of a line after the rules; those of a group are one, with commas between."""
    groups = [group.strip() for group in piece.split(_between(data))]
    if not data.group_separator and not data.tag_rules and not data.underscores_to_spaces:
        return [group for group in groups if group]
    rules = read_rules(tuple(data.tag_rules)) if data.tag_rules else None
    found = []
    for group in groups:
        members = group.split(data.group_separator) if data.group_separator else [group]
        tags = [new for old in members if old.strip() for new in _renamed(old.strip(), rules, data, (story, seen))]
        if tags:
            found.append(", ".join(tags))
    return found


def _renamed(
    tag: str, rules: TagRules | None, data: CaptionSettings, told: tuple[Explained, set[str]]
) -> Sequence[str]:
    """What becomes of one tag; with rules, none stands there twice. `told`: story, tags so far."""
    story, seen = told
    found: Sequence[str] = rules.apply(tag) if rules else (tag,)
    if data.underscores_to_spaces:
        found = [with_spaces(one) for one in found]
    if rules:
        found = [one for one in found if key_of(one) not in seen]
        seen.update(map(key_of, found))
    if len(found) != 1 or found[0] != tag:
        story.replaced.append((tag, ", ".join(found)))
    return found
