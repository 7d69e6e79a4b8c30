"""Full fine-tuning: every weight of the UNet, and of the text encoder when it has a rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models
    from core.settings import Settings

LABEL = "Full fine-tuning"
HELP = "Changes the whole UNet. Learns most; the checkpoints are whole models."
ORDER = 20


def attach(models: Models, settings: Settings) -> dict[str, list[torch.nn.Parameter]]:
    """Make the weights trainable; {"unet": [...], "text_encoder": [...]} of those that have a rate above 0."""
    groups: dict[str, list[torch.nn.Parameter]] = {}
    rates = {"unet": settings.training.learning_rate, "text_encoder": settings.training.text_encoder_learning_rate}
    for part, rate in rates.items():
        if rate > 0:
            module = getattr(models, part)
            module.requires_grad_(True)
            groups[part] = list(module.parameters())
    return groups


def checkpoint(
    models: Models, settings: Settings, trained: list[str]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(tensors, metadata) of a whole model in the original single-file layout."""
    from core.engine.checkpoint import whole_model

    return whole_model(models, trained)


def describe(settings: Settings) -> dict[str, Any]:
    """What the metadata of a checkpoint says of this method."""
    return {}
