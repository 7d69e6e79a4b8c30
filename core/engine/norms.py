"""A way around a fault of torch: group norms on a processor whose input wants no gradient, with channels last."""

from __future__ import annotations

from typing import Any

import torch


def guard_norms(module: torch.nn.Module) -> None:
    """Give group norms that learn an input that wants a gradient, which is thrown away.

    torch 2.13 ends with a segmentation fault in the backward pass of a group norm on a CPU when its input has channels
    last and wants no gradient, as before the first layer that is trained. Call it where channels come last.
    """
    for part in module.modules():
        if isinstance(part, torch.nn.GroupNorm) and any(p.requires_grad for p in part.parameters()):
            part.register_forward_pre_hook(_wanting)


def _wanting(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The input as one that wants a gradient; as it is where it wants one, or where nothing is learnt."""
    if inputs[0].requires_grad or not torch.is_grad_enabled():
        return None
    return (inputs[0].detach().requires_grad_(), *inputs[1:])
