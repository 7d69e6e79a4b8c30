"""How the UNet computes attention: SDPA as diffusers has it, xformers where asked for, and a form for processors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional

from core.engine.models import Models
from core.errors import UserError

#: Up to so many channels, bringing a projection's numbers into bf16 takes longer on a CPU than bf16 saves.
_NARROW = 256


class ProcessorAttention:
    """diffusers' plain attention (AttnProcessor2_0) with the products of queries and keys in 32 bits.

    torch's bf16 attention is several times slower backwards on a CPU than the 32-bit one, while wide projections around
    it gain from bf16. Inputs and outputs are those of diffusers: hidden states (batch, tokens, channels).
    """

    def __init__(self, whole: bool = False) -> None:
        """`whole`: the projections are in 32 bits too, as their weights must be."""
        self._whole = whole

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attention of hidden states over themselves, or over the text states."""
        if not self._whole:
            return self._attend(attn, hidden_states, encoder_hidden_states, attention_mask)
        context = None if encoder_hidden_states is None else encoder_hidden_states.float()
        with torch.autocast("cpu", enabled=False):
            return self._attend(attn, hidden_states.float(), context, attention_mask)

    @staticmethod
    def _attend(
        attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None, mask: torch.Tensor | None
    ) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        batch, tokens, _ = hidden_states.shape

        def heads(projected: torch.Tensor) -> torch.Tensor:
            """(batch, tokens, channels) to (batch, heads, tokens, channels of a head), 32 bits."""
            split: torch.Tensor = projected.float().unflatten(-1, (int(attn.heads), -1))
            return split.transpose(1, 2)

        asked = attn.to_q(hidden_states)
        precision, query = asked.dtype, heads(asked)
        del asked
        key, value = heads(attn.to_k(context)), heads(attn.to_v(context))
        with torch.autocast("cpu", enabled=False):
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        # Back in the projections' precision: PEFT's LoHa and LoKr answer in that of what they are given.
        mixed = mixed.transpose(1, 2).reshape(batch, tokens, -1).to(precision)
        projected: torch.Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return projected


def set_attention(models: Models, kind: str, precision: str) -> None:
    """Choose the UNet's attention; UserError where xformers cannot work."""
    if kind == "xformers":
        _set_xformers(models)
    elif models.device.type == "cpu" and precision == "bf16":
        models.unet.set_attn_processor(
            {name: ProcessorAttention(_is_narrow(models.unet, name)) for name in models.unet.attn_processors}
        )


def _is_narrow(unet: torch.nn.Module, name: str) -> bool:
    """Whether bf16 only costs an attention time: a narrow one with weights in 32 bits. `name` is its processor's."""
    attention = unet.get_submodule(name.removesuffix(".processor"))
    weights = list(attention.parameters())
    return all(p.dtype == torch.float32 for p in weights) and max(p.shape[0] for p in weights) <= _NARROW


def _set_xformers(models: Models) -> None:
    try:
        import xformers  # noqa: F401
    except ImportError:
        raise UserError(
            "hardware.attention = 'xformers', but xformers is not installed. Choose sdpa, which is as fast on present "
            "cards, or install xformers for this version of torch."
        ) from None
    if models.device.type != "cuda":
        raise UserError("hardware.attention = 'xformers' needs an NVIDIA GPU; choose sdpa.")
    models.unet.enable_xformers_memory_efficient_attention()
