"""Settings page "Model": what is fine-tuned."""

from __future__ import annotations

from typing import ClassVar

from core.schema import Section, opt


class ModelSettings(Section):
    """The model that the run starts from."""

    title: ClassVar[str] = "Model"

    base: str = opt(
        "",
        label="Base model",
        help="The model to start from: a single .safetensors file or a folder in the diffusers layout. "
        "Only Stable Diffusion 1.5 models can be trained in this version.",
        editor="path",
        aliases=("pretrained_model_name_or_path", "base_model_name"),
    )
    family: str = opt(
        "auto",
        label="Model family",
        help="Normally recognised from the names of the tensors inside the file. "
        "Set it only when the recognition is wrong.",
        level="advanced",
        choices="families",
        aliases=("v2", "sdxl", "model_type"),
    )
    vae: str = opt(
        "",
        label="Another VAE",
        help="A VAE to use instead of the one inside the base model: a .safetensors file or a diffusers folder. "
        "The pictures are encoded and the samples decoded with it.",
        level="advanced",
        editor="path",
    )
