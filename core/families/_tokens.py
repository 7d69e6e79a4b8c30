"""Token numbers by a CLIP tokenizer, cut and padded to its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models


def tokenize(models: Models, prompts: list[str]) -> torch.Tensor:
    """Token numbers (batch, 77), int64; what is longer is cut, what is shorter is padded with the tokenizer's token."""
    tokens = models.tokenizer(
        prompts,
        padding="max_length",
        max_length=models.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: torch.Tensor = tokens.input_ids
    return ids


def padded_with(tokens: torch.Tensor, end: int, pad: int) -> torch.Tensor:
    """The same tokens (batch, 77) with everything behind the first end token replaced by `pad`."""
    ends = (tokens == end).long()
    behind = ends.cumsum(-1) - ends > 0
    return tokens.masked_fill(behind, pad)
