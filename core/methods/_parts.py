"""Which parts of a model are trained, and at what rate: the same rule for every method."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from core.anatomy.layers import BLOCKS, Layer
from core.errors import UserError

if TYPE_CHECKING:
    import torch

    from core.anatomy.trained import Trained
    from core.engine.models import Models
    from core.settings import Settings

#: A block that moves so many times as far as the others is a slip of the pen.
_MOST = 1000.0


def rates(settings: Settings) -> dict[str, float]:
    """Learning rate of every part that some family has, as the settings give it; 0 leaves a part as it is."""
    training = settings.training
    return {
        "unet": training.learning_rate,
        "text_encoder": training.text_encoder_learning_rate,
        "text_encoder_2": training.text_encoder_2_learning_rate,
    }


def trained(models: Models, settings: Settings) -> list[str]:
    """The parts of this model that have a rate above 0; UserError when there is none."""
    own = {"unet", *models.text_parts}
    found = [part for part, rate in rates(settings).items() if rate > 0 and part in own]
    if not found:
        raise UserError(
            f"Nothing would be trained: {models.family.LABEL} has the parts {', '.join(sorted(own))}, and none of them "
            "has a learning rate above 0."
        )
    return found


def block_factors(settings: Settings) -> dict[str, float]:
    """What the UNet's rate is multiplied by in each block that training.block_rates names ("down 0 = 0.5").

    UserError for a text that is none of these, and for a block that is named twice.
    """
    found: dict[str, float] = {}
    for text in settings.training.block_rates:
        name, mark, number = text.partition("=")
        block = " ".join(name.lower().split())
        try:
            factor = float(number)
        except ValueError:
            factor = -1.0
        if not mark or block not in BLOCKS or not (math.isfinite(factor) and 0 <= factor <= _MOST):
            raise UserError(
                f"training.block_rates: '{text}' is not understood; write a block and a number from 0 to {_MOST:g}, "
                f"for instance 'down 0 = 0.5', where the blocks are {', '.join(BLOCKS)}."
            )
        if block in found:
            raise UserError(f"training.block_rates: {block} is named twice; leave one of them.")
        found[block] = factor
    return found


def moving(part: str, layers: Sequence[Layer], settings: Settings) -> list[Layer]:
    """The layers of a part that may move at all: for the UNet without the blocks whose rate is multiplied by 0.

    UserError for a block that this model has not, and when nothing is left.
    """
    factors = block_factors(settings) if part == "unet" else {}
    own = list(dict.fromkeys(layer.block for layer in layers))
    missing = [block for block in factors if block not in own]
    if missing:
        known = ", ".join(block for block in BLOCKS if block in own)
        raise UserError(f"training.block_rates: this model has no block '{missing[0]}'; it has {known}.")
    left = [layer for layer in layers if factors.get(layer.block, 1.0)]
    if not left:
        raise UserError("training.block_rates: every block is multiplied by 0; leave one, or set the rate itself to 0.")
    return left


def attach_own(
    models: Models, settings: Settings, trains: Callable[[str, Sequence[Layer], Settings], Trained]
) -> dict[str, list[torch.nn.Parameter]]:
    """Make the model's own weights trainable that a method's trains() names; the parameters by part."""
    groups: dict[str, list[torch.nn.Parameter]] = {}
    for part in trained(models, settings):
        names = trains(part, own_layers(models, part), settings).names
        groups[part] = [tensor for name, tensor in getattr(models, part).named_parameters() if name in names]
        for parameter in groups[part]:
            parameter.requires_grad_(True)
    return groups


def own_layers(models: Models, part: str) -> list[Layer]:
    """The layers of a part of a model in memory."""
    from core.anatomy.source import layers_of

    return layers_of(part, models.source.configs[part])
