"""Rules for tags: "old -> new", "old" and "one, two -> new", with * for any letters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from core.data.caption_files import split_tags
from core.errors import UserError

_ARROW = "->"

#: A face made of signs: an underscore with at most one letter or digit on either side, as ^_^ or o_o.
_FACE = re.compile(r"[^\w]*[^\W_]?[^\w]*_[^\w]*[^\W_]?[^\w]*")

#: A star that is not escaped by a backslash.
_STAR = re.compile(r"(?<!\\)\*")

#: Tags whose outcome is remembered.
_MOST_KNOWN = 50_000


def key_of(tag: str) -> str:
    """What makes two spellings the same tag: letters without their case, underscores as blanks."""
    return " ".join(tag.replace("_", " ").casefold().split())


def with_spaces(tag: str) -> str:
    """The tag with blanks for underscores; a face such as ^_^ stays as it is."""
    return tag if "_" not in tag or _FACE.fullmatch(tag) else tag.replace("_", " ").strip()


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A rule with a star on the left: its place in the list, what it matches, and what it writes between stars."""

    place: int
    old: re.Pattern[str]
    new: tuple[str, ...]

    def write(self, found: Sequence[str]) -> tuple[str, ...]:
        """The new tags, with what the stars stood for."""
        text = self.new[0] + "".join(star + piece for star, piece in zip(found, self.new[1:], strict=False))
        return tuple(split_tags(text))


@dataclass(frozen=True)
class TagRules:
    """Rules made ready for use; the first that matches a tag decides, and what it writes is not looked at again."""

    exact: dict[str, tuple[int, tuple[str, ...]]]
    patterns: tuple[_Pattern, ...]
    _known: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    def apply(self, tag: str) -> tuple[str, ...]:
        """The tags that a tag becomes: itself where no rule matches, () where it is removed."""
        if tag not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[tag] = self._applied(tag)
        return self._known[tag]

    def _applied(self, tag: str) -> tuple[str, ...]:
        exact = self.exact.get(key_of(tag))
        for pattern in self.patterns:
            if exact is not None and pattern.place > exact[0]:
                break
            found = pattern.old.fullmatch(tag)
            if found is not None:
                return pattern.write(found.groups())
        return exact[1] if exact is not None else (tag,)


@lru_cache(maxsize=64)
def read_rules(lines: tuple[str, ...]) -> TagRules:
    """Rules from the lines of data.tag_rules; UserError for one that cannot be understood."""
    exact: dict[str, tuple[int, tuple[str, ...]]] = {}
    patterns: list[_Pattern] = []
    for line in filter(str.strip, lines):
        left, arrow, right = line.partition(_ARROW)
        olds, new = split_tags(left), right.strip()
        if not olds:
            raise UserError(f"data.tag_rules: '{line}' names no tag; write 'old -> new', or 'old' to remove a tag.")
        if arrow and not new:
            raise UserError(f"data.tag_rules: '{line}' has nothing behind '->'; write the tag alone to remove it.")
        for old in olds:
            pieces, written = _STAR.split(old), _STAR.split(new)
            if len(written) > len(pieces):
                raise UserError(f"data.tag_rules: '{line}' has more * on its right than on its left.")
            place = len(exact) + len(patterns)
            if len(pieces) > 1:
                patterns.append(_Pattern(place, _compiled(pieces), tuple(map(_plain, written))))
            else:
                exact.setdefault(key_of(_plain(old)), (place, tuple(split_tags(_plain(new)))))
    return TagRules(exact, tuple(patterns))


def _plain(text: str) -> str:
    """Without the backslashes in front of stars."""
    return text.replace(r"\*", "*")


def _compiled(pieces: Sequence[str]) -> re.Pattern[str]:
    """A pattern with any letters between the pieces; a blank or an underscore on the left stands for either."""
    parts = [re.sub(r"(?:\\ |_)+", "[ _]+", re.escape(_plain(piece))) for piece in pieces]
    return re.compile("(.*)".join(parts), re.IGNORECASE)
