"""What LoRA, LoHa and LoKr have in common: their layers, PEFT's adapters in the model, the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from core.anatomy.additions import Form
from core.anatomy.layers import Layer
from core.anatomy.trained import Trained, additions
from core.errors import UserError
from core.methods import _parts

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models
    from core.engine.tensor_writer import Entry
    from core.settings import Settings

_ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
_FEED_FORWARD = ["ff.net.0.proj", "ff.net.2"]
_PROJECTIONS = ["proj_in", "proj_out"]
_RESNETS = ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv"]
_TEXT_ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]
_TEXT_ALL = [*_TEXT_ATTENTION, "fc1", "fc2"]

Targets = Literal[
    "attention",
    "attention + feed-forward",
    "transformer blocks",
    "attention + feed-forward + resnets",
    "transformer blocks + resnets",
]

TARGETS_HELP = (
    "Which layers get an addition. Attention alone is what most trainers do and stays behind full "
    "fine-tuning; with the feed-forward layers the gap closes, for nearly twice the weights. Transformer blocks are "
    "these with the projections into and out of them: the very layers of sd-scripts' networks. The resnets' "
    "convolutions add texture and colour, for about twice as much again."
)

#: Layers of each target by the end of their names: in the UNet, in a text encoder.
_TARGETS: dict[str, tuple[list[str], list[str]]] = {
    "attention": (_ATTENTION, _TEXT_ATTENTION),
    "attention + feed-forward": (_ATTENTION + _FEED_FORWARD, _TEXT_ALL),
    "transformer blocks": (_ATTENTION + _FEED_FORWARD + _PROJECTIONS, _TEXT_ALL),
    "attention + feed-forward + resnets": (_ATTENTION + _FEED_FORWARD + _RESNETS, _TEXT_ALL),
    "transformer blocks + resnets": (
        _ATTENTION + _FEED_FORWARD + _PROJECTIONS + _RESNETS,
        _TEXT_ALL,
    ),
}


def trains(part: str, layers: Sequence[Layer], settings: Settings, targets: str, rank: int, form: Form) -> Trained:
    """The additions beside the target layers of a part; UserError when the part has none of them left."""
    in_unet, in_text = _TARGETS[targets]
    left = _parts.moving(part, layers, settings)
    found = additions(left, in_unet if part == "unet" else in_text, rank, form)
    if not found.ranks:
        raise UserError(
            f"training.block_rates: the blocks that are not multiplied by 0 have no layers of the kind '{targets}'."
        )
    return found


def attach(
    models: Models, settings: Settings, plan: Callable[[str, Sequence[Layer], Settings], Trained], config: Any
) -> dict[str, list[torch.nn.Parameter]]:
    """Put PEFT's adapters beside the layers that `plan` (a method's trains()) names, in every part that has a rate.

    Args:
        config: (names of layers) -> a config of PEFT.
    """
    groups: dict[str, list[torch.nn.Parameter]] = {}
    for part in _parts.trained(models, settings):
        names = plan(part, _parts.own_layers(models, part), settings).ranks
        module = getattr(models, part)
        module.add_adapter(config(list(names)))
        groups[part] = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return groups


def checkpoint(
    models: Models, settings: Settings, trained: list[str], alpha: float
) -> tuple[dict[str, Entry], dict[str, str]]:
    """(tensors, metadata) of a file with the additions alone, under the names that other programs load.

    `alpha`: what the file carries; its readers multiply by alpha / rank.
    """
    from core.anatomy.source import CONFIG_KEY
    from core.engine.lora_files import file_tensors
    from core.engine.tensor_writer import Entry
    from core.engine.whole_model import effective_scheduler

    tensors: dict[str, Entry] = {}
    for part in trained:
        for name, tensor in file_tensors(getattr(models, part), models.source, part, alpha).items():
            tensors[name] = Entry.of(tensor, fixed=name.endswith(".alpha"))
    return tensors, {CONFIG_KEY: json.dumps({"scheduler": effective_scheduler(models, settings)})}


def describe_lycoris(algorithm: str, rank: int, alpha: float, **arguments: str) -> dict[str, Any]:
    """The ss_ metadata of a file that LyCORIS could have made."""
    return {
        "ss_network_module": "lycoris.kohya",
        "ss_network_dim": rank,
        "ss_network_alpha": alpha,
        "ss_network_args": json.dumps({"algo": algorithm, **arguments}),
    }
