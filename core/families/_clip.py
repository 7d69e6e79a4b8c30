"""The text states that SD 1.x and 2.x are conditioned by: one CLIP encoder's, from one of its last layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def states(encoder: Any, tokens: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """States (batch, 77, width) of tokens (batch, 77) by transformers' CLIPTextModel.

    `clip_skip` counts from the end: 1 is the last layer, 2 the one before it; the final norm is applied.
    """
    if clip_skip <= 1:
        last: torch.Tensor = encoder(tokens)[0]
        return last
    layers = encoder(tokens, output_hidden_states=True).hidden_states
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    normed: torch.Tensor = norm(layers[-min(clip_skip, len(layers) - 1)])
    return normed


def unread(config: Mapping[str, Any], clip_skip: int) -> tuple[str, ...]:
    """Beginnings of the names of the layers behind the one that is read."""
    layers = int(config["num_hidden_layers"])
    return tuple(f"encoder.layers.{n}." for n in range(layers - min(clip_skip, layers) + 1, layers))
