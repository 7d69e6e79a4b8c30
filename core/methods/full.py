"""Full fine-tuning: every weight of the UNet, and of the text encoders that have a rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.anatomy.trained import Trained, everything
from core.methods import _parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from core.anatomy.layers import Layer
    from core.engine.models import Models
    from core.engine.tensor_writer import Entry
    from core.settings import Settings

LABEL = "Full fine-tuning"
HELP = "Changes the whole UNet. Learns most; the checkpoints are whole models."
ORDER = 20
#: Whether a checkpoint is a whole model.
WHOLE = True


def attach(models: Models, settings: Settings) -> dict[str, list[torch.nn.Parameter]]:
    """Make the weights trainable; {"unet": [...], "text_encoder": [...]} of the parts that have a rate above 0."""
    return _parts.attach_own(models, settings, trains)


def trains(part: str, layers: Sequence[Layer], settings: Settings) -> Trained:
    """What attach() trains in a part that has a rate, without torch: all of it, but for blocks that are frozen."""
    return everything(_parts.moving(part, layers, settings))


def checkpoint(models: Models, settings: Settings, trained: list[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """(tensors, metadata) of a whole model in the original single-file layout."""
    from core.engine.whole_model import single_file

    return single_file(models, settings)


def describe(settings: Settings) -> dict[str, Any]:
    """What the metadata of a checkpoint says of this method."""
    return {}
