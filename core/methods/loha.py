"""LoHa (Hyeon-Woo et al. 2022, "FedPara") by PEFT: two low-rank products, multiplied number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.anatomy.additions import Form
from core.methods import _additions
from core.schema import Section, opt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from core.anatomy.layers import Layer
    from core.anatomy.trained import Trained
    from core.engine.models import Models
    from core.engine.tensor_writer import Entry
    from core.settings import Settings

LABEL = "LoHa"
HELP = (
    "An addition like LoRA, made of two that are multiplied: as wide as the square of its rank, for twice the weights. "
    "Slower than LoRA; without activation checkpointing it needs the memory of every changed layer once more."
)
ORDER = 12
#: Whether a checkpoint is a whole model.
WHOLE = False


class Options(Section):
    """Options of LoHa."""

    rank: int = opt(
        8,
        label="Rank",
        help="Width of each of the two products; together they reach the square of it, so 4 to 16 does what 16 to 64 "
        "and more does in LoRA.",
        ge=1,
        le=256,
        usual=(2, 32),
    )
    alpha: float = opt(
        1.0,
        label="Alpha",
        help="The addition is multiplied by alpha / rank. With alpha 1 the learning rate means the same at every rank.",
        gt=0,
        le=1024,
        usual=(1, 32),
    )
    targets: _additions.Targets = opt("attention + feed-forward", label="Layers", help=_additions.TARGETS_HELP)
    dropout: float = opt(
        0.0,
        label="Dropout",
        help="Share of each layer's outputs whose addition is switched off at random while training.",
        ge=0,
        lt=1,
        usual=(0, 0.2),
        level="advanced",
    )


def attach(models: Models, settings: Settings) -> dict[str, list[torch.nn.Parameter]]:
    """Put trainable additions into the frozen parts that have a rate; {"unet": [...], "text_encoder": [...]}.

    The additions begin at zero effect. Call under a fixed torch seed: three of the four matrices are drawn at random.
    """
    from peft import LoHaConfig

    options = settings.table("loha", Options)

    def config(names: list[str]) -> LoHaConfig:
        return LoHaConfig(
            r=options.rank,
            alpha=options.alpha,  # type: ignore[arg-type]
            rank_dropout=options.dropout,
            target_modules=names,
        )

    return _additions.attach(models, settings, trains, config)


def trains(part: str, layers: Sequence[Layer], settings: Settings) -> Trained:
    """What attach() puts into a part that has a rate, without torch."""
    options = settings.table("loha", Options)
    return _additions.trains(part, layers, settings, options.targets, options.rank, Form("loha"))


def checkpoint(models: Models, settings: Settings, trained: list[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """(tensors, metadata) of a file under LyCORIS' names."""
    return _additions.checkpoint(models, settings, trained, settings.table("loha", Options).alpha)


def describe(settings: Settings) -> dict[str, Any]:
    """The ss_ metadata that A1111, Forge and ComfyUI read from an addition."""
    options = settings.table("loha", Options)
    return _additions.describe_lycoris("loha", options.rank, options.alpha)
