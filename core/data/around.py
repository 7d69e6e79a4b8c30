"""Tokens of the words that stand around a caption: trigger words, the text before it and the text behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import with_rule
from core.data.tokens import NO_LIMIT, Measures, open_tokenizer, tokenizer_folder

if TYPE_CHECKING:
    from core.settings import Settings
    from core.settings.folder_rules import FolderRules

#: Opens the tokenizer in a folder.
Opener = Callable[[Path], Measures]


def tokens_around(
    rules: Sequence[FolderRules], settings: Settings, opener: Opener = open_tokenizer
) -> NDArray[np.int32]:
    """int32 (rules,): how many tokens a caption that is read by each rule has more than its files say.

    CLIP's tokenizer joins nothing across a blank, and blanks stand between these words and the caption: the sum of the
    counts is the count of the whole. It is exact but where signs meet without a blank (a caption that ends with a full
    stop before a text behind that begins with a comma): there it can be a token too high.

    Raises UserError for a damaged tokenizer, which is opened only where there are such words.
    """
    words = [_words(rule, settings) for rule in rules]
    texts = sorted({text for several in words for text in several})
    if not texts:
        return np.zeros(len(rules), dtype=np.int32)
    measured = opener(tokenizer_folder(settings.model.base)).measure(texts, NO_LIMIT)
    counts = {text: tokens for text, (tokens, _) in zip(texts, measured, strict=True)}
    return np.array([sum(counts[text] for text in several) for several in words], dtype=np.int32)


def _words(rule: FolderRules, settings: Settings) -> list[str]:
    """What core.data.captions puts around a caption; a comma follows the trigger words."""
    page = with_rule(settings.data, rule)
    trigger, prefix, suffix = page.trigger.strip(), page.prefix.strip(), page.suffix.strip()
    return [text for text in (f"{trigger}," if trigger else "", prefix, suffix) if text]


def in_all(tokens: NDArray[np.int32], around: NDArray[np.int32] | None) -> NDArray[np.int32]:
    """Tokens (N,) of captions with the words around them; -1 stays where they were not counted."""
    return tokens if around is None else np.where(tokens < 0, tokens, tokens + around)
