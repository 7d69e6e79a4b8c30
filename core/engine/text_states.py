"""Text encoder outputs: kept for captions that come again while the encoder is frozen, fresh when it is trained."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Any

import torch

from core.engine.models import Models, autocast

Conditioning = dict[str, torch.Tensor]


class TextStates:
    """Conditioning of captions by a frozen text encoder, which is brought into memory only when a new caption comes.

    `limit_bytes` is the memory for kept states; the least recently used ones give way.
    """

    def __init__(self, models: Models, precision: str, clip_skip: int = 1, limit_bytes: int = 512 << 20) -> None:
        self._models = models
        self._precision = precision
        self._clip_skip = clip_skip
        self._limit = limit_bytes
        self._kept: OrderedDict[str, Conditioning] = OrderedDict()
        self._bytes = 0

    def prepare(self, captions: Collection[str]) -> None:
        """Encode all captions that will come and let go of the text encoder; too many are left for later."""
        if not captions:
            return
        texts = sorted(set(captions))
        self.get(texts[:1])
        if _size(self._kept[texts[0]]) * len(texts) > self._limit:
            return
        for start in range(0, len(texts), 32):
            self.get(texts[start : start + 32])
        self._models.drop(*self._models.text_parts)

    def get(self, captions: list[str]) -> Conditioning:
        """Conditioning of a batch of captions, on the models' device."""
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
        return {name: torch.stack([state[name] for state in found]).to(device) for name in found[0]}

    def _keep(self, caption: str, state: Conditioning) -> None:
        self._kept[caption] = state
        self._bytes += _size(state)
        while self._bytes > self._limit and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= _size(old)

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> list[Conditioning]:
        """States of new captions; on a CPU one by one, so that a state does not depend on who was beside it."""
        self._models.load(*self._models.text_parts, "tokenizer")
        together = len(captions) if self._models.device.type != "cpu" else 1
        found = []
        for start in range(0, len(captions), together):
            batch = captions[start : start + together]
            found += split(encode(self._models, batch, self._precision, self._clip_skip))
        return found


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
