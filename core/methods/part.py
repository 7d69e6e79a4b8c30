"""Fine-tuning of a part: the weights of chosen blocks and kinds of layers; the rest of the UNet stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.anatomy.layers import Block, Kind, Layer, tensors_of
from core.anatomy.trained import Trained, chosen, everything
from core.errors import UserError
from core.methods import _parts
from core.schema import Section, opt

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models
    from core.engine.tensor_writer import Entry
    from core.settings import Settings

LABEL = "Part of the model"
HELP = "Full fine-tuning of chosen blocks or layers: less memory for gradients and states, and the rest cannot drift."
ORDER = 30
#: Whether a checkpoint is a whole model.
WHOLE = True


class Options(Section):
    """Which weights of the UNet are trained. What is chosen by each option must hold for all of them."""

    blocks: list[Block] = opt(
        [],
        label="Blocks",
        help="Places in the UNet that are trained; none chosen means all. The data pass down, mid and up; SDXL has "
        "three of each, SD 1.5 four. In SDXL, mid and up 0 hold 63 % of the weights, all without down 2 hold 71 %.",
        aliases=("train_blocks",),
    )
    kinds: list[Kind] = opt(
        [],
        label="Layers",
        help="Kinds of layers that are trained; none chosen means all. Cross-attention is where the words come in, "
        "feed-forward holds most of what is known, resnets the small forms.",
        aliases=("trainable_modules",),
    )
    pattern: str = opt(
        "",
        label="Names that match",
        help="A regular expression that the names of the trained tensors must match somewhere, as diffusers names "
        r"them: 'attn2\.to_[kv]' for what reads the text. Empty: all.",
        level="advanced",
        aliases=("train_patterns",),
    )
    without: str = opt(
        "",
        label="Names left out",
        help="A regular expression; tensors whose names match it are not trained, whatever else says so.",
        level="advanced",
    )


def trains(part: str, layers: Sequence[Layer], settings: Settings) -> Trained:
    """The chosen tensors of the UNet; text encoders that have a rate are trained whole.

    UserError when nothing is left to train, or for a pattern that is no regular expression.
    """
    if part != "unet":
        return everything(layers)
    options = settings.table("part", Options)
    left = _parts.moving(part, layers, settings)
    tensors = chosen(tensors_of(left), options.blocks, options.kinds, options.pattern, options.without)
    if not tensors:
        raise UserError("part.blocks: no weight of this model is in all that is chosen; choose more blocks or layers.")
    return Trained(frozenset(tensor.name for tensor in tensors))


def attach(models: Models, settings: Settings) -> dict[str, list[torch.nn.Parameter]]:
    """Make the chosen weights trainable; {"unet": [...], "text_encoder": [...]} of the parts that have a rate.

    UserError when nothing is left to train.
    """
    return _parts.attach_own(models, settings, trains)


def checkpoint(models: Models, settings: Settings, trained: list[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """(tensors, metadata) of a whole model in the original single-file layout."""
    from core.engine.whole_model import single_file

    return single_file(models, settings)


def describe(settings: Settings) -> dict[str, Any]:
    """What the metadata of a checkpoint says of this method."""
    options = settings.table("part", Options)
    named = {"blocks": ", ".join(options.blocks), "kinds": ", ".join(options.kinds)}
    named |= {"pattern": options.pattern, "without": options.without}
    return {f"burnish.trained_{name}": text for name, text in named.items() if text}
