"""Settings page "Samples": pictures drawn during the training."""

from __future__ import annotations

from typing import ClassVar

from core.schema import Section, opt


class SampleSettings(Section):
    """Which pictures are drawn while the run goes on, and how."""

    title: ClassVar[str] = "Samples"

    prompts: list[str] = opt(
        [],
        label="Prompts",
        help="One prompt a line. The same prompts and seeds are drawn again and again: you see the model change.",
        editor="lines",
        aliases=("sample_prompts", "validation_prompt"),
    )
    negative: str = opt(
        "",
        label="Negative prompt",
        help="What the pictures should be steered away from.",
        level="advanced",
    )
    every_steps: int = opt(
        0,
        label="Draw every",
        help="Samples are drawn every so many steps, before the first one and at the end. 0: only when asked for.",
        unit="steps",
        ge=0,
        editor="log",
        aliases=("sample_every_n_steps",),
    )
    every_epochs: int = opt(
        0,
        label="Draw every",
        help="The same, counted in epochs. 0 switches it off.",
        unit="epochs",
        ge=0,
        aliases=("sample_every_n_epochs",),
    )
    steps: int = opt(
        28,
        label="Sampling steps",
        help="Denoising steps a picture. More is slower and, past 30 or so, hardly better.",
        unit="steps",
        ge=1,
        le=1000,
        usual=(10, 60),
    )
    cfg: float = opt(
        7.0,
        label="CFG scale",
        help="How strongly the prompt pulls. Low is loose and soft, high is literal and harsh.",
        ge=1,
        le=50,
        usual=(2, 12),
    )
    sampler: str = opt(
        "ddim",
        label="Sampler",
        help="The rule that takes the noise away. All give similar pictures; DDIM repeats exactly.",
        choices="samplers",
        level="advanced",
    )
    width: int = opt(
        0,
        label="Width",
        help="Width of the samples; 0 takes the training resolution.",
        unit="px",
        ge=0,
        le=4096,
        level="advanced",
    )
    height: int = opt(
        0,
        label="Height",
        help="Height of the samples; 0 takes the training resolution.",
        unit="px",
        ge=0,
        le=4096,
        level="advanced",
    )
    seed: int = opt(
        42,
        label="Seed",
        help="Seed of the first prompt; each further prompt takes the next one.",
        ge=0,
        le=2**32 - 1,
        level="advanced",
    )
