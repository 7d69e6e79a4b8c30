"""Token numbers by a CLIP tokenizer, in pieces of 75 where a prompt may be longer, and the states of the pieces joined.

Prompts longer than 75 tokens are read as sd-scripts reads them (its max_token_length): always padded to the full
length, cut into pieces of 75 that each get a beginning and an end of their own, and encoded piece by piece. Of the
states, the beginning of the first piece, the 75 of each and the end of the last go on: 77, 152 or 227 in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models


def tokenize(models: Models, prompts: list[str], pad: int | None = None) -> torch.Tensor:
    """Token numbers (batch, pieces, 77), int64: what is longer than models.prompt_tokens is cut.

    What is shorter is padded with `pad`; with the tokenizer's own token where that is None.
    """
    tokenizer = models.tokenizer
    whole = min(77, tokenizer.model_max_length)  # some folders name no length, which is then endless
    tokens = tokenizer(
        prompts,
        padding="max_length",
        max_length=models.prompt_tokens // 75 * (whole - 2) + 2,
        truncation=True,
        return_tensors="pt",
    )
    ids: torch.Tensor = tokens.input_ids
    end = int(tokenizer.eos_token_id)
    if pad is not None:
        ids = padded_with(ids, end, pad)
    return in_pieces(ids, whole, end, int(tokenizer.pad_token_id) if pad is None else pad)


def padded_with(tokens: torch.Tensor, end: int, pad: int) -> torch.Tensor:
    """The same tokens (batch, length) with everything behind the first end token replaced by `pad`."""
    ends = (tokens == end).long()
    behind = ends.cumsum(-1) - ends > 0
    return tokens.masked_fill(behind, pad)


def in_pieces(tokens: torch.Tensor, length: int, end: int, pad: int) -> torch.Tensor:
    """Tokens (batch, n * (length - 2) + 2) as (batch, n, length): each piece between a beginning and an end.

    Where padding is not the end token, a full piece ends with the end token, one without a word begins with it, and
    the others are closed by the padding, as sd-scripts has them.
    """
    import torch

    inner = tokens[:, 1:-1].unflatten(1, (-1, length - 2))
    count = inner.shape[1]
    begins = tokens[:, :1].unsqueeze(1).expand(-1, count, -1)
    ends = tokens[:, -1:].unsqueeze(1).expand(-1, count, -1)
    if pad != end and count > 1:
        last, first = inner[..., -1:], inner[..., :1]
        ends = torch.where((last != end) & (last != pad), end, ends)
        inner = torch.cat([torch.where(first == pad, end, first), inner[..., 1:]], dim=-1)
    return torch.cat([begins, inner, ends], dim=-1)


def joined(states: torch.Tensor, batch: int) -> torch.Tensor:
    """States of all pieces (batch * n, length, width) as (batch, n * (length - 2) + 2, width)."""
    import torch

    pieces = states.unflatten(0, (batch, -1))
    if pieces.shape[1] == 1:
        return states
    return torch.cat([pieces[:, 0, :1], pieces[:, :, 1:-1].flatten(1, 2), pieces[:, -1, -1:]], dim=1)
