"""LoRA (Hu et al. 2021, "Low-rank adaptation of large language models") by PEFT, saved under kohya's names."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from core import paths
from core.anatomy import lora_file
from core.anatomy.additions import Form
from core.methods import _additions, _parts
from core.schema import Section, opt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from core.anatomy.layers import Layer
    from core.anatomy.trained import Trained
    from core.engine.models import Models
    from core.engine.tensor_writer import Entry
    from core.settings import Settings

LABEL = "LoRA"
HELP = "Learns a small addition to the model: little memory, small files that can be mixed and switched off."
ORDER = 10
#: Whether a checkpoint is a whole model.
WHOLE = False


class Options(Section):
    """Options of LoRA."""

    rank: int = opt(
        16,
        label="Rank",
        help="Width of the addition. More learns more and makes a larger file; 8 to 32 fits most subjects and styles.",
        ge=1,
        le=1024,
        usual=(4, 128),
        aliases=("network_dim", "lora_rank"),
    )
    alpha: float = opt(
        1.0,
        label="Alpha",
        help="The addition is multiplied by alpha / rank. With alpha 1 the learning rate means the same at every rank.",
        gt=0,
        le=1024,
        usual=(1, 128),
        aliases=("network_alpha", "lora_alpha"),
    )
    targets: _additions.Targets = opt(
        "attention + feed-forward",
        label="Layers",
        help=_additions.TARGETS_HELP,
    )
    dropout: float = opt(
        0.0,
        label="Dropout",
        help="Share of the addition that is switched off at random while training.",
        ge=0,
        lt=1,
        usual=(0, 0.2),
        level="advanced",
        aliases=("network_dropout",),
    )
    rank_stabilised: bool = opt(
        False,
        label="Rank-stabilised scaling",
        help="Divides by the square root of the rank instead of the rank (rsLoRA), so that high ranks learn as fast as "
        "low ones. The file carries a raised alpha, so other programs draw the same pictures.",
        level="advanced",
        aliases=("rslora", "use_rslora"),
    )
    dora: bool = opt(
        False,
        label="DoRA",
        help="Learns direction and size of each weight apart (weight-decomposed LoRA): nearer to full fine-tuning at "
        "low ranks, but slower and with more memory.",
        level="advanced",
        aliases=("use_dora", "dora_wd", "weight_decompose"),
    )
    start_from: str = opt(
        "",
        label="Go on from",
        help="A LoRA's .safetensors file that the training begins with, from Burnish or another trainer, for the same "
        "base model. Its rank may be lower than this one's. Empty: the addition begins at nothing.",
        level="advanced",
        editor="path",
        aliases=("network_weights",),
    )


def attach(models: Models, settings: Settings) -> dict[str, list[torch.nn.Parameter]]:
    """Put trainable additions into the frozen parts that have a rate; {"unet": [...], "text_encoder": [...]}.

    The additions begin at zero effect (B = 0). Call under a fixed torch seed: A is drawn at random.
    """
    from peft import LoraConfig

    options = settings.table("lora", Options)

    def config(names: list[str]) -> LoraConfig:
        return LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,  # type: ignore[arg-type]
            lora_dropout=options.dropout,
            target_modules=names,
            use_rslora=options.rank_stabilised,
            use_dora=options.dora,
        )

    return _additions.attach(models, settings, trains, config)


def begin(models: Models, settings: Settings, trained: list[str]) -> None:
    """Give what attach() made the values of the file that the training goes on from, if there is one.

    UserError when it does not fit.
    """
    path = settings.table("lora", Options).start_from
    if path:
        from core.engine.lora_files import begin_from

        begin_from(models, trained, paths.resolve(path))


def objection(settings: Settings) -> tuple[str, str]:
    """(option, sentence) of what speaks against beginning a run, by the file's header; ("", "") where nothing does."""
    options, rates = settings.table("lora", Options), _parts.rates(settings)
    if not options.start_from:
        return "", ""
    text = any(rate for part, rate in rates.items() if part != "unet")
    said = lora_file.objection(paths.resolve(options.start_from), options.rank, options.dora, text)
    return ("lora.start_from", said) if said else ("", "")


def trains(part: str, layers: Sequence[Layer], settings: Settings) -> Trained:
    """What attach() puts into a part that has a rate, without torch."""
    options = settings.table("lora", Options)
    return _additions.trains(part, layers, settings, options.targets, options.rank, Form(magnitudes=options.dora))


def checkpoint(models: Models, settings: Settings, trained: list[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """(tensors, metadata) of a LoRA file under kohya's names."""
    return _additions.checkpoint(models, settings, trained, file_alpha(settings.table("lora", Options)))


def file_alpha(options: Options) -> float:
    """The alpha that a file carries: other programs scale by alpha / rank, whatever scaling was trained with."""
    return options.alpha * math.sqrt(options.rank) if options.rank_stabilised else options.alpha


def describe(settings: Settings) -> dict[str, Any]:
    """The ss_ metadata that A1111, Forge and ComfyUI read from a LoRA."""
    options = settings.table("lora", Options)
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": options.rank,
        "ss_network_alpha": file_alpha(options),
        "ss_network_args": json.dumps({"use_dora": True} if options.dora else {}),
    }
