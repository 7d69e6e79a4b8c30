"""What a person is shown of a picture's captions: their tokens, where they are cut, and what a training will read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.data.captions import Captions, Explained, previews
from core.data.dataset import with_rule
from core.data.rules import of_directories

if TYPE_CHECKING:
    from core.data.index import Picture
    from core.data.tokens import Measures
    from core.settings import Settings
    from core.settings.data import DataSettings


@dataclass(frozen=True, slots=True)
class Counted:
    """A caption text that was counted.

    Attributes:
        tokens: Of its longest line, without the beginning and the end.
        unread: (start, stop) in the text of what is cut off, for each line that is too long.
    """

    tokens: int
    unread: tuple[tuple[int, int], ...] = ()


def count(text: str, limit: int, tokenizer: Measures) -> Counted:
    """Count the lines of a caption file, each as if the model read it alone, `limit` tokens of it.

    UserError for a damaged tokenizer.
    """
    lines, place, unread = text.split("\n"), 0, []
    measured = tokenizer.measure(lines, limit)
    for line, (tokens, letters) in zip(lines, measured, strict=True):
        if tokens > limit:
            unread.append((place + letters, place + len(line)))
        place += len(line) + 1
    return Counted(max(tokens for tokens, _ in measured), tuple(unread))


def page_of(picture: str, settings: Settings) -> DataSettings:
    """The settings page that holds for a picture: with what the rule of its folder changes."""
    rules, numbers = of_directories([os.path.dirname(picture)], settings)  # noqa: PTH120
    return with_rule(settings.data, rules[int(numbers[0])])


def draws(
    picture: Picture, captions: Captions, settings: Settings, tokenizer: Measures, times: int = 10
) -> list[Explained]:
    """What the model reads of a picture in the first epochs of a training with these settings.

    Before the picture's content hash is known its signature stands in for it: chance then falls otherwise, by the same
    rules.
    """
    key = (settings.training.seed, picture.content_hash or picture.signature)
    return previews(captions, page_of(picture.path, settings), key, times, tokenizer)
