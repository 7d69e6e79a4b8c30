"""Settings page "Loss": what the model is asked to get right."""

from __future__ import annotations

from typing import ClassVar

from core.schema import Section, opt


class LossSettings(Section):
    """The training objective."""

    title: ClassVar[str] = "Loss"

    kind: str = opt(
        "mse",
        label="Loss",
        help="How an error counts. The squared error is the original objective; Huber and smooth L1 let single large "
        "errors, from odd or damaged pictures, pull less.",
        level="advanced",
        choices="losses",
        aliases=("loss_type",),
    )
    weighting: str = opt(
        "none",
        label="Weighting",
        help="How much each timestep counts. Unweighted is the original objective; min-SNR makes the timesteps count "
        "more evenly and often learns faster.",
        level="advanced",
        choices="weightings",
        aliases=("debiased_estimation_loss", "scale_v_pred_loss_like_noise_pred", "loss_weight_fn"),
    )
    noise_offset: float = opt(
        0.0,
        label="Noise offset",
        help="Adds so much of one constant per picture and channel to the noise, so that the model learns to make "
        "very dark and very bright pictures. 0.05 to 0.1 is common; 0 is the original objective.",
        ge=0,
        le=1,
        usual=(0, 0.15),
        level="advanced",
    )
    pyramid_noise: float = opt(
        0.0,
        label="Pyramid noise",
        help="Adds ever coarser noise, each level this share of the one before: as the noise offset, but for patches "
        "of every size. 0.3 is common; 0 is the original objective. Use one of the two.",
        ge=0,
        lt=1,
        usual=(0, 0.5),
        level="advanced",
        aliases=("multires_noise_discount",),
    )
    pyramid_levels: int = opt(
        6,
        label="Levels of pyramid noise",
        help="Most levels of coarser noise; it ends anyway where a level is a single point.",
        ge=1,
        le=16,
        usual=(3, 10),
        level="advanced",
        aliases=("multires_noise_iterations",),
    )
    input_perturbation: float = opt(
        0.0,
        label="Input perturbation",
        help="Adds so much more noise to the model's input than it is asked for, so that it learns to mend its own "
        "errors when it draws. The paper uses 0.1; 0 is the original objective.",
        ge=0,
        le=1,
        usual=(0, 0.2),
        level="advanced",
        aliases=("ip_noise_gamma",),
    )
    density: str = opt(
        "uniform",
        label="Density of timesteps",
        help="How often each timestep between the first and the last is drawn. Uniform is the original objective; the "
        "others draw those more from which a model learns more.",
        level="advanced",
        choices="densities",
        aliases=("timestep_sampling", "timestep_distribution"),
    )
    min_timestep: int = opt(
        0,
        label="First timestep",
        help="Timesteps below this (little noise, fine detail) are not trained.",
        ge=0,
        le=999,
        level="advanced",
    )
    max_timestep: int = opt(
        999,
        label="Last timestep",
        help="Timesteps above this (much noise, composition) are not trained.",
        ge=0,
        le=999,
        level="advanced",
    )
