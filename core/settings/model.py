"""Settings page "Model": what is fine-tuned."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.schema import Section, opt


class ModelSettings(Section):
    """The model that the run starts from."""

    title: ClassVar[str] = "Model"

    base: str = opt(
        "",
        label="Base model",
        help="The model to start from: a single .safetensors file or a folder in the diffusers layout. "
        "Stable Diffusion 1.5, 2.x and SDXL models can be trained; old .ckpt files are read safely.",
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
    prediction: Literal["auto", "epsilon", "v-prediction"] = opt(
        "auto",
        label="Prediction",
        help="What the model predicts: the noise (epsilon, nearly all models) or v, a mix of noise and picture. auto "
        "reads it from the model, and takes v for single files of Stable Diffusion 2, which do not say it: set epsilon "
        "for those that were made from the 512-pixel base. Set it, too, to teach a model the other one.",
        level="advanced",
        aliases=("v_parameterization", "v_pred", "prediction_type"),
    )
    zero_terminal_snr: Literal["auto", "on", "off"] = opt(
        "auto",
        label="Zero terminal SNR",
        help="Lets the last timestep be noise alone, so that the model learns truly dark and bright pictures. Wants "
        "v-prediction. auto reads it from the model.",
        level="advanced",
        aliases=("zero_terminal_snr", "ztsnr", "rescale_betas_zero_snr"),
    )
    clip_skip: int = opt(
        1,
        label="CLIP skip",
        help="Which of the text encoder's last layers is read: 1 is the last, 2 the one before it, as many anime "
        "models of SD 1.5 want. SDXL always reads the one before the last or an earlier one.",
        ge=1,
        le=12,
        usual=(1, 2),
        level="advanced",
    )
    vae: str = opt(
        "",
        label="Another VAE",
        help="A VAE to use instead of the one inside the base model: a .safetensors file or a diffusers folder. "
        "The pictures are encoded and the samples decoded with it.",
        level="advanced",
        editor="path",
    )
