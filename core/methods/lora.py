"""LoRA (Hu et al. 2021, "Low-rank adaptation of large language models") by PEFT, saved under kohya's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from core.schema import Section, opt

if TYPE_CHECKING:
    import torch

    from core.engine.models import Models
    from core.settings import Settings

LABEL = "LoRA"
HELP = "Learns a small addition to the model: little memory, small files that can be mixed and switched off."
ORDER = 10

#: Linear layers of each target, by the end of their names.
_UNET_TARGETS = {
    "attention": ["to_q", "to_k", "to_v", "to_out.0"],
    "attention + feed-forward": ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"],
}
_TEXT_TARGETS = {
    "attention": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "attention + feed-forward": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
}


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
    targets: Literal["attention", "attention + feed-forward"] = opt(
        "attention + feed-forward",
        label="Layers",
        help="Which layers get an addition. Attention alone is what most trainers do and stays behind full "
        "fine-tuning; with the feed-forward layers the gap closes, for nearly twice the weights.",
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


def attach(models: Models, settings: Settings) -> dict[str, list[torch.nn.Parameter]]:
    """Put trainable additions into the frozen model; {"unet": [...], "text_encoder": [...]} of those with a rate.

    The additions begin at zero effect (B = 0). Call under a fixed torch seed: A is drawn at random.
    """
    from peft import LoraConfig

    options = settings.table("lora", Options)
    plan = (
        ("unet", settings.training.learning_rate, _UNET_TARGETS[options.targets]),
        ("text_encoder", settings.training.text_encoder_learning_rate, _TEXT_TARGETS[options.targets]),
    )
    groups: dict[str, list[torch.nn.Parameter]] = {}
    for part, rate, targets in plan:
        if rate <= 0:
            continue
        config = LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,  # type: ignore[arg-type]
            lora_dropout=options.dropout,
            target_modules=targets,
        )
        module = getattr(models, part)
        module.add_adapter(config)
        groups[part] = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return groups


def checkpoint(
    models: Models, settings: Settings, trained: list[str]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(tensors, metadata) of a LoRA file under kohya's names."""
    from core.engine.lora_files import kohya_tensors

    options = settings.table("lora", Options)
    tensors = {}
    for part in trained:
        prefix = models.family.LORA_PREFIXES[part]
        tensors.update(kohya_tensors(getattr(models, part), prefix, options.alpha, part == "text_encoder"))
    return tensors, {}


def describe(settings: Settings) -> dict[str, Any]:
    """The ss_ metadata that A1111, Forge and ComfyUI read from a LoRA."""
    options = settings.table("lora", Options)
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": options.rank,
        "ss_network_alpha": options.alpha,
        "ss_network_args": "{}",
    }
