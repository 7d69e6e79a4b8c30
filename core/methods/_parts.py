"""Which parts of a model are trained, and at what rate: the same rule for every method."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.engine.models import Models
    from core.settings import Settings


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
    from core.errors import UserError

    own = {"unet", *models.text_parts}
    found = [part for part, rate in rates(settings).items() if rate > 0 and part in own]
    if not found:
        raise UserError(
            f"Nothing would be trained: {models.family.LABEL} has the parts {', '.join(sorted(own))}, and none of them "
            "has a learning rate above 0."
        )
    return found
