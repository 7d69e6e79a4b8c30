"""Tokens of captions, counted and cut without torch: what CLIP's tokenizer makes of a text, fast for millions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.paths import RESOURCES

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

#: Tokens between the beginning and the end that one pass of a text encoder reads.
CHUNK = 75

#: A limit that no caption reaches.
NO_LIMIT = 1 << 30

#: Words whose counts are remembered; some 100 bytes each.
_MOST_WORDS = 400_000

#: Texts looked at together: their new words are counted in one call.
_TEXTS = 4_096

#: CLIP's own pieces: its special tokens, English endings, words, single digits, runs of other signs.
_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

#: What CLIP's special tokens are where a folder does not say.
_END = "<|endoftext|>"
_DEFAULTS = {"bos_token": "<|startoftext|>", "eos_token": _END, "unk_token": _END, "pad_token": _END}


class Measures(Protocol):
    """Whoever counts tokens: a CaptionTokenizer, or one in another process (core/data/token_jobs.py)."""

    def measure(self, texts: Sequence[str], limit: int) -> list[tuple[int, int]]:
        """(tokens, letters that are read where the model reads `limit` tokens) of each text."""


def tokenizer_folder(model: str | Path = "") -> Path:
    """The folder with vocab.json and merges.txt of a model: a diffusers folder's own, else the one that ships."""
    own = Path(model) / "tokenizer"
    return own if str(model) and (own / "vocab.json").is_file() else RESOURCES / "models" / "sd15" / "tokenizer"


def count(texts: Sequence[str], folder: Path | None = None) -> NDArray[np.int32]:
    """Tokens of each text without beginning and end, by the tokenizer in a folder (the one that ships without)."""
    return open_tokenizer(folder or tokenizer_folder()).count(texts)


def cut(text: str, limit: int, folder: Path | None = None) -> tuple[str, str]:
    """(what a model reads of a text, what is cut off) where it reads `limit` tokens; together they are the text."""
    return open_tokenizer(folder or tokenizer_folder()).cut(text, limit)


@lru_cache(maxsize=4)
def open_tokenizer(folder: Path) -> CaptionTokenizer:
    """The tokenizer in a folder; UserError when it cannot be read."""
    return CaptionTokenizer(folder)


class CaptionTokenizer:
    """Counts and cuts as transformers' CLIPTokenizer, with the same library below it, but without transformers.

    No piece that CLIP's tokenizer cuts a text into holds a blank, so a text's count is the sum over its words; counts
    of words are remembered.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer, added = _build(folder)
        self._by_words = not any(" " in token for token in added)
        self._counts: dict[str, int] = {"": 0}

    def count(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Tokens of each text without beginning and end, (texts,)."""
        found = np.empty(len(texts), np.int32)
        for start in range(0, len(texts), _TEXTS):
            part = texts[start : start + _TEXTS]
            found[start : start + len(part)] = self._by_word(part) if self._by_words else self._encoded(part)
        return found

    def measure(self, texts: Sequence[str], limit: int) -> list[tuple[int, int]]:
        """(tokens, letters that are read where the model reads `limit` tokens) of each text."""
        counts = self.count(texts).tolist()
        return [
            (tokens, len(text) if tokens <= limit else len(self.cut(text, limit)[0]))
            for text, tokens in zip(texts, counts, strict=True)
        ]

    def _by_word(self, texts: Iterable[str]) -> list[int]:
        split = [text.split(" ") for text in texts]
        new = {word for words in split for word in words}.difference(self._counts)
        if len(self._counts) + len(new) > _MOST_WORDS:
            self._counts = {"": 0}
            new = {word for words in split for word in words} - {""}
        listed = list(new)
        self._counts.update(zip(listed, self._encoded(listed), strict=True))
        counts = self._counts.__getitem__
        return [sum(map(counts, words)) for words in split]

    def _encoded(self, texts: Sequence[str]) -> list[int]:
        safe = [text.encode("utf-8", "replace").decode() for text in texts]
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(safe, add_special_tokens=False)]

    def cut(self, text: str, limit: int) -> tuple[str, str]:
        """(what is read, what is cut off) where the first `limit` tokens are read; together they are the text."""
        safe = text.encode("utf-8", "replace").decode()
        encoding = self._tokenizer.encode(safe, add_special_tokens=False)
        if len(encoding) <= limit:
            return text, ""
        place = encoding.offsets[limit][0] if limit > 0 else 0
        return text[:place], text[place:]


def _build(folder: Path) -> tuple[Tokenizer, list[str]]:
    """(the tokenizer, the texts of its special and added tokens)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    try:
        vocabulary, merges = _vocabulary(folder)
        special, plain = _special_tokens(folder), _added_tokens(folder)
        unknown = str(special[2].content)
        model = models.BPE(
            vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", unk_token=unknown, fuse_unk=False
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The tokenizer in {folder} cannot be read ({error}).") from None
    tokenizer = Tokenizer(model)
    blanks = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), blanks, normalizers.Lowercase()])
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    known = {token.content for token in plain}
    added = [*plain, *(token for token in special if token.content not in known)]
    tokenizer.add_tokens(added)
    return tokenizer, [str(token.content) for token in added]


def _vocabulary(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(vocabulary, merges), from tokenizer.json where there is one, as transformers does."""
    whole = folder / "tokenizer.json"
    if whole.is_file():
        model = _json(whole)["model"]
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return model["vocab"], [(left, right) for left, right in pairs]
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    return _json(folder / "vocab.json"), [(left, right) for left, right in merges]


def _special_tokens(folder: Path) -> list[AddedToken]:
    """Beginning, end, unknown and padding; where two have the same text the later one's ways of matching count."""
    said: dict[str, Any] = {}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            table = _json(folder / name)
            said.update({key: table[key] for key in _DEFAULTS if table.get(key)})
    return [_token(said.get(key, default), True) for key, default in _DEFAULTS.items()]


def _added_tokens(folder: Path) -> list[AddedToken]:
    """Tokens that the files add to the vocabulary, by number: three versions keep them in three files."""
    config, whole, table = (folder / name for name in ("tokenizer_config.json", "tokenizer.json", "added_tokens.json"))
    numbered: dict[int, Any] = {}
    if table.is_file():
        numbered |= {number: text for text, number in _json(table).items()}
    if whole.is_file():
        numbered |= {int(token["id"]): token for token in _json(whole).get("added_tokens", ()) if not token["special"]}
    if config.is_file():
        numbered |= {int(number): token for number, token in _json(config).get("added_tokens_decoder", {}).items()}
    return [_token(numbered[number], False) for number in sorted(numbered)]


def _token(said: Any, special: bool) -> AddedToken:
    """A token as the files write it: its text alone, or a table of its ways of matching."""
    from tokenizers import AddedToken

    if isinstance(said, str):
        return AddedToken(said, special=True, normalized=False) if special else AddedToken(said)
    ways = {way: bool(said.get(way, False)) for way in ("lstrip", "rstrip", "single_word", "normalized")}
    return AddedToken(said["content"], special=special or bool(said.get("special", False)), **ways)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
