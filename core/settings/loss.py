"""Settings page "Loss": what the model is asked to get right."""

from __future__ import annotations

from typing import ClassVar

from core.schema import Section, opt


class LossSettings(Section):
    """The training objective."""

    title: ClassVar[str] = "Loss"

    weighting: str = opt(
        "none",
        label="Weighting",
        help="How much each timestep counts. Unweighted is the original objective; min-SNR makes the timesteps count "
        "more evenly and often learns faster.",
        level="advanced",
        choices="weightings",
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
