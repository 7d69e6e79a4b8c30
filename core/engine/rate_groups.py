"""The optimizer's groups: trained parameters that have a rate in common, by part and, in the UNet, by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from core.anatomy.layers import BLOCKS
from core.anatomy.unet import block_of
from core.engine.models import Models
from core.methods._parts import block_factors
from core.outlook import effective_rates
from core.settings import Settings


@dataclass
class RateGroup:
    """Parameters that move at one rate.

    Attributes:
        name: "unet", "text_encoder", or for blocks with a multiplier of their own "unet down 0, down 1".
        part: The part they belong to; an addition belongs to the block of the layer it is added to.
        rate: Full learning rate.
    """

    name: str
    part: str
    rate: float
    parameters: list[torch.nn.Parameter] = field(default_factory=list)

    def options(self) -> dict[str, Any]:
        """The group as an optimizer is given it."""
        return {"params": self.parameters, "lr": self.rate, "name": self.name}


def rate_groups(
    models: Models, settings: Settings, trained: Mapping[str, Sequence[torch.nn.Parameter]]
) -> list[RateGroup]:
    """The groups of trained parameters (by part), in the order of their first parameters."""
    rates = effective_rates(settings)
    factors = block_factors(settings)
    found: list[RateGroup] = []
    for part, parameters in trained.items():
        if part != "unet" or not factors:
            found.append(RateGroup(part, part, rates[part], list(parameters)))
        else:
            found += _by_factor(models.unet, parameters, factors, rates[part])
    return found


def _by_factor(
    unet: torch.nn.Module, parameters: Sequence[torch.nn.Parameter], factors: Mapping[str, float], rate: float
) -> list[RateGroup]:
    """One group for each multiplier; the blocks that are not named have 1."""
    block_by_id = {id(parameter): block_of(name) for name, parameter in unet.named_parameters()}
    members: dict[float, list[torch.nn.Parameter]] = {}
    blocks: dict[float, set[str]] = {}
    for parameter in parameters:
        block = block_by_id[id(parameter)]
        factor = factors.get(block, 1.0)
        members.setdefault(factor, []).append(parameter)
        blocks.setdefault(factor, set()).add(block)
    names = {factor: f"unet {', '.join(sorted(own, key=BLOCKS.index))}" for factor, own in blocks.items()}
    names[1.0] = "unet"
    return [RateGroup(names[factor], "unet", rate * factor, own) for factor, own in members.items()]
