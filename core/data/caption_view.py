"""What a person is shown of a picture's captions: their tokens, where they are cut, and what a training will read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.data.captions import Captions, Explained, previews
from core.data.dataset import with_rule
from core.data.rules import of_directories
from core.data.tokens import open_tokenizer, tokenizer_folder

if TYPE_CHECKING:
    from core.data.index import Picture
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


def count(text: str, settings: Settings) -> Counted:
    """Count the lines of a caption file, each as if the model read it alone; UserError for a damaged tokenizer."""
    tokenizer = open_tokenizer(tokenizer_folder(settings.model.base))
    limit, most, place = int(settings.data.max_tokens), 0, 0
    unread = []
    for line in text.split("\n"):
        tokens = int(tokenizer.count([line])[0])
        most = max(most, tokens)
        if tokens > limit:
            read, rest = tokenizer.cut(line, limit)
            unread.append((place + len(read), place + len(read) + len(rest)))
        place += len(line) + 1
    return Counted(most, tuple(unread))


def page_of(picture: str, settings: Settings) -> DataSettings:
    """The settings page that holds for a picture: with what the rule of its folder changes."""
    rules, numbers = of_directories([os.path.dirname(picture)], settings)  # noqa: PTH120
    return with_rule(settings.data, rules[int(numbers[0])])


def draws(picture: Picture, captions: Captions, settings: Settings, times: int = 10) -> list[Explained]:
    """What the model reads of a picture in the first epochs of a training with these settings.

    Before the picture's content hash is known its signature stands in for it: chance then falls otherwise, by the same
    rules.
    """
    tokenizer = open_tokenizer(tokenizer_folder(settings.model.base))
    key = (settings.training.seed, picture.content_hash or picture.signature)
    return previews(captions, page_of(picture.path, settings), key, times, tokenizer)
