"""Text encoder outputs: kept for captions that come again while the encoder is frozen, fresh when it is trained."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash

from core import events as ev
from core.data import kohya_cache
from core.data.captions import first, variants
from core.data.dataset import Dataset
from core.data.draws import hash_of
from core.data.pictures import PictureError
from core.engine.models import DTYPES, Models, autocast, fingerprint
from core.engine.shards import Key, ShardStore
from core.errors import Stopped
from core.together import encoded_together

Conditioning = dict[str, torch.Tensor]


#: Texts that the encoder gets at once.
_TOGETHER = 32
#: Memory for kept states, and room on the disk for those that do not fit there.
_RAM_BYTES, _DISK_BYTES = 512 << 20, 64 << 30

_NAMES = ("encoder_hidden_states", "pooled")


class TextStates:
    """Conditioning of captions by a frozen text encoder, which is brought into memory only when a new caption comes.

    What was asked for lately is kept in RAM; more than fits there, if all captions can be named, on the disk. In both
    they have the arithmetic's precision, to which the UNet rounds them anyway: a run that goes on reads from the disk
    what it had in RAM, and must find the same bits.
    """

    def __init__(self, models: Models, precision: str, clip_skip: int = 1, cache: Path | None = None) -> None:
        """
        Args:
            cache: The cache folder, for states that do not fit into RAM; None keeps none on the disk.
        """
        self._models = models
        self._precision = precision
        self._clip_skip = clip_skip
        self._cache = cache
        self._disk: ShardStore | None = None
        self._kept: OrderedDict[str, Conditioning] = OrderedDict()
        self._bytes = 0

    @property
    def most(self) -> int:
        """So many captions can be kept ready, in RAM or on the disk."""
        return max(1, (_RAM_BYTES if self._cache is None else _DISK_BYTES) // self._state_bytes())

    @property
    def tokens(self) -> int:
        """Rows of a caption's states: its tokens, the beginning and the end."""
        return self._models.prompt_tokens + 2

    def _state_bytes(self) -> int:
        """Size of one caption's states, without the pooled one, which is small."""
        widths = [int(self._models.source.configs[part]["hidden_size"]) for part in self._models.text_parts]
        return self.tokens * sum(widths) * DTYPES[self._precision].itemsize

    def prepare(self, captions: Collection[str], stop: Callable[[], bool] = lambda: False) -> Iterator[ev.Event]:
        """Encode all captions that will come and let go of the text encoder. Raises Stopped when stop() says so."""
        texts = sorted(set(captions))
        if not texts:
            return
        if self._state_bytes() * len(texts) > _RAM_BYTES:
            if self._cache is None:
                return
            self._open_disk()
        missing = [text for text in texts if not self._is_ready(text)]
        for start in range(0, len(missing), _TOGETHER):
            if stop():
                raise Stopped
            part = missing[start : start + _TOGETHER]
            for text, state in zip(part, self._encode(part), strict=True):
                self._keep(text, state)
                self._write(text, state)
            if self._disk is not None:
                self._disk.flush()
            if len(missing) > _TOGETHER:
                yield ev.Progress(phase="texts", done=start + len(part), total=len(missing))
        if self._disk is not None:
            self._disk.settle()
        self._models.drop(*self._models.text_parts)

    # -- on the disk ------------------------------------------------------------------------------------------

    def _open_disk(self) -> None:
        """The store of this encoder, with all that decides its output in its name."""
        if self._disk is not None or self._cache is None:
            return
        self._models.load(*self._models.text_parts, "tokenizer")
        weights = "".join(fingerprint(encoder) for encoder in self._models.text_encoders.values())
        parts = (weights, self._precision, self._clip_skip, self._models.prompt_tokens)
        self._disk = ShardStore(self._cache / "texts" / f"{hash_of(*parts):016x}")

    def _is_ready(self, text: str) -> bool:
        return text in self._kept if self._disk is None else _key(text, 0) in self._disk

    def _write(self, text: str, state: Conditioning) -> None:
        if self._disk is not None:
            for name, tensor in state.items():
                self._disk.put(_key(text, _NAMES.index(name)), tensor)

    def _read(self, text: str) -> Conditioning | None:
        """The states on the disk."""
        if self._disk is None or _key(text, 0) not in self._disk:
            return None
        keys = [(name, _key(text, number)) for number, name in enumerate(_NAMES)]
        return {name: self._disk.get(key) for name, key in keys if key in self._disk}

    def adopt(self, text: str, state: Mapping[str, torch.Tensor]) -> None:
        """Take over the states of a caption that another program computed."""
        self._open_disk()
        kept = self._narrow({name: state[name] for name in _NAMES if name in state})
        self._keep(text, kept)
        self._write(text, kept)

    # -- asked for --------------------------------------------------------------------------------------------

    def get(self, captions: list[str]) -> Conditioning:
        """Conditioning of a batch of captions, float32 on the models' device."""
        for caption in dict.fromkeys(captions):
            if caption not in self._kept and (state := self._read(caption)) is not None:
                self._keep(caption, state)
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._kept]
        fresh = dict(zip(missing, self._encode(missing), strict=True)) if missing else {}
        found = []
        for caption in captions:
            if caption in self._kept:
                self._kept.move_to_end(caption)
                found.append(self._kept[caption])
            else:
                found.append(fresh[caption])
        for caption, state in fresh.items():
            self._keep(caption, state)
        device = self._models.device
        return {name: torch.stack([state[name] for state in found]).to(device).float() for name in found[0]}

    def _keep(self, caption: str, state: Conditioning) -> None:
        if caption in self._kept:
            self._bytes -= _size(self._kept.pop(caption))
        self._kept[caption] = state
        self._bytes += _size(state)
        while self._bytes > _RAM_BYTES and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= _size(old)

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> list[Conditioning]:
        """States of new captions."""
        self._models.load(*self._models.text_parts, "tokenizer")
        together = encoded_together(len(captions), self._models.device.type == "cpu")
        found = []
        for start in range(0, len(captions), together):
            batch = captions[start : start + together]
            found += split(self._narrow(encode(self._models, batch, self._precision, self._clip_skip)))
        return found

    def _narrow(self, states: Conditioning) -> Conditioning:
        """States in the precision in which they are kept."""
        return {name: tensor.to(DTYPES[self._precision]) for name, tensor in states.items()}


def _size(state: Conditioning) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def encode(models: Models, captions: list[str], precision: str, clip_skip: int = 1) -> Conditioning:
    """Conditioning of captions by the present text encoders, with gradients where they are trained."""
    tokens = models.family.tokenize(models, captions).to(models.device)
    with autocast(models.device, precision):
        states: Any = models.family.encode_tokens(models.text_encoders, tokens, clip_skip)
    return {name: tensor.float() for name, tensor in states.items()}


def split(batch: Conditioning) -> list[Conditioning]:
    """One conditioning for each row of a batch, in RAM; copies, so that a kept row does not hold its whole batch."""
    count = len(next(iter(batch.values())))
    return [{name: tensor[i].to("cpu", copy=True) for name, tensor in batch.items()} for i in range(count)]


def _key(text: str, number: int) -> Key:
    """The name of one of a caption's states in the store."""
    digest = xxhash.xxh3_128_intdigest(f"{number}/{text}".encode())
    return digest >> 64, digest & (2**64 - 1)


def texts_to_come(dataset: Dataset, prompts: Collection[str], most: int) -> set[str] | None:
    """Every caption that a run will read, with `prompts`; None where they cannot be named, or are more than `most`."""
    plan = dataset.plan
    wanted = set(prompts)
    measured = np.concatenate([plan.validation, plan.probe])
    wanted |= {first(item.captions, item.data) for item in dataset.items(measured)}
    for start in range(0, plan.trained, 2048):
        rows = np.arange(start, min(start + 2048, plan.trained))
        for row, captions in zip(rows.tolist(), dataset.captions(rows), strict=True):
            texts = variants(captions, dataset.page(row))
            if texts is None:
                return None
            wanted |= texts
        if len(wanted) > most:
            return None
    return wanted


def adopt_states(dataset: Dataset, states: TextStates) -> int:
    """Take over the text caches that sd-scripts kept beside the pictures; how many. Only for SDXL, which has them.

    They do not tell which caption they were made of: the user asks for this, knowing that the captions are the same.
    """
    plan, adopted = dataset.plan, 0
    for start in range(0, plan.trained, 2048):
        rows = np.arange(start, min(start + 2048, plan.trained))
        for row, path, captions in zip(rows.tolist(), dataset.paths(rows), dataset.captions(rows), strict=True):
            texts = (variants(captions, dataset.page(row)) or set()) - {""}
            found = kohya_cache.find_text(path) if len(texts) == 1 else None
            if found is None:
                continue
            try:
                state = kohya_cache.as_conditioning(kohya_cache.read_text(found))
            except PictureError:
                continue
            if state["encoder_hidden_states"].shape[0] != states.tokens:
                continue  # made with another data.max_tokens
            states.adopt(texts.pop(), {name: torch.from_numpy(array) for name, array in state.items()})
            adopted += 1
    return adopted
