"""LoKr (Yeh et al. 2023, LyCORIS) by PEFT: additions that are Kronecker products, saved under LyCORIS' names."""

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

LABEL = "LoKr"
HELP = (
    "An addition that is one small pattern repeated and weighted: the smallest files, of full rank. Slower than LoRA; "
    "without activation checkpointing it needs the memory of every changed layer once more."
)
ORDER = 14
#: Whether a checkpoint is a whole model.
WHOLE = False


class Options(Section):
    """Options of LoKr."""

    rank: int = opt(
        16,
        label="Rank",
        help="Width of the product that stands for the larger matrix. Where it would not be smaller than the matrix "
        "itself, the matrix is learnt whole; a very high rank makes all of them whole.",
        ge=1,
        le=100_000,
        usual=(2, 10_000),
    )
    alpha: float = opt(
        1.0,
        label="Alpha",
        help="The addition is multiplied by alpha / rank; layers whose matrices are learnt whole are multiplied by 1.",
        gt=0,
        le=100_000,
        usual=(1, 10_000),
    )
    factor: int = opt(
        -1,
        label="Factor",
        help="Size of the smaller matrix: 4 to 16 learns more and makes larger files, and -1 makes both matrices as "
        "alike as can be, the smallest form. Layers that the number does not divide take the next smaller one that "
        "does.",
        ge=-1,
        le=4096,
        usual=(-1, 64),
        aliases=("decompose_factor", "lokr_factor"),
    )
    decompose_both: bool = opt(
        False,
        label="Both matrices as products",
        help="Makes the smaller matrix a product of two as well, where that is smaller: for tiny files.",
        level="advanced",
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

    The additions begin at zero effect, as LyCORIS begins them. Call under a fixed torch seed.
    """
    from peft import LoKrConfig

    options = settings.table("lokr", Options)

    def config(names: list[str]) -> LoKrConfig:
        return LoKrConfig(
            r=options.rank,
            alpha=options.alpha,  # type: ignore[arg-type]
            decompose_both=options.decompose_both,
            decompose_factor=_factor(options),
            rank_dropout=options.dropout,
            rank_dropout_scale=True,
            init_weights="lycoris",
            target_modules=names,
        )

    groups = _additions.attach(models, settings, trains, config)
    for part in groups:
        _scale_whole_ones(getattr(models, part))
    return groups


def _factor(options: Options) -> int:
    """PEFT's factor: 0 is none, too."""
    return options.factor or -1


def _scale_whole_ones(module: torch.nn.Module) -> None:
    """Additions that are no product anywhere have no rank to be divided by: LyCORIS and its readers do not scale them.

    PEFT would multiply them by alpha / rank like the others.
    """
    layer: Any
    for layer in module.modules():
        if "default" in getattr(layer, "lokr_w1", ()) and "default" in layer.lokr_w2:
            layer.scaling["default"] = 1.0


def trains(part: str, layers: Sequence[Layer], settings: Settings) -> Trained:
    """What attach() puts into a part that has a rate, without torch."""
    options = settings.table("lokr", Options)
    form = Form("lokr", factor=_factor(options), both=options.decompose_both)
    return _additions.trains(part, layers, settings, options.targets, options.rank, form)


def checkpoint(models: Models, settings: Settings, trained: list[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """(tensors, metadata) of a file under LyCORIS' names."""
    return _additions.checkpoint(models, settings, trained, settings.table("lokr", Options).alpha)


def describe(settings: Settings) -> dict[str, Any]:
    """The ss_ metadata that A1111, Forge and ComfyUI read from an addition."""
    options = settings.table("lokr", Options)
    more = {"factor": str(options.factor), "decompose_both": str(options.decompose_both)}
    return _additions.describe_lycoris("lokr", options.rank, options.alpha, **more)
