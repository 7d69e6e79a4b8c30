"""Settings page "Validation": the ruler beside the training."""

from __future__ import annotations

from typing import ClassVar

from core.schema import Section, opt


class ValidationSettings(Section):
    """Stable loss: fixed pictures, noise and timesteps, measured again and again."""

    title: ClassVar[str] = "Validation"

    every_steps: int = opt(
        100,
        label="Measure every",
        help="The stable loss is measured at step 0, then every so many steps, and at the end. It compares the model "
        "with itself on the same pictures, noise and timesteps, so its curve can be read. 0 switches it off.",
        unit="steps",
        ge=0,
        editor="log",
    )
    share: float = opt(
        0.1,
        label="Held-out share",
        help="This share of the pictures is never trained on. When their loss turns upwards, the model has begun to "
        "learn the training pictures by heart. Where a folder has the role validation, that folder is held out "
        "instead.",
        ge=0,
        le=0.5,
        usual=(0.02, 0.2),
    )
    max_pictures: int = opt(
        16,
        label="Pictures measured, at most",
        help="So many held-out pictures, and as many training pictures, are measured each time. The held-out share "
        "is capped to this.",
        unit="pictures",
        ge=1,
        le=10_000,
        usual=(4, 64),
        level="advanced",
    )
    chosen: list[str] = opt(
        [],
        label="Held out by hand",
        help="Signatures of pictures that are never trained on, one a line; the Dataset page puts them here. They "
        "count towards the held-out share.",
        editor="lines",
        level="advanced",
    )
    never: list[str] = opt(
        [],
        label="Never held out",
        help="Signatures of pictures that are trained on whatever chance says, one a line; the Dataset page puts them "
        "here.",
        editor="lines",
        level="advanced",
    )
    timestep_buckets: int = opt(
        4,
        label="Timestep buckets",
        help="The timesteps are cut into so many equal parts and each is measured by itself: the left ones are detail, "
        "the right ones composition.",
        ge=1,
        le=20,
        level="advanced",
    )
    repeats: int = opt(
        1,
        label="Repeats",
        help="So many different noises per picture and timestep bucket. More is steadier and slower.",
        ge=1,
        le=64,
        usual=(1, 4),
        level="advanced",
    )
    most_share: float = opt(
        0.05,
        label="Share of the time, at most",
        help="Measuring the stable loss takes no more of the run's time than this: where it would, it is measured at "
        "every second, fourth ... of its steps only. Step 0 and the last step are measured in any case. 0: no limit.",
        ge=0,
        le=1,
        usual=(0.01, 0.3),
        level="advanced",
    )
    raw_beside_ema: bool = opt(
        False,
        label="Trained weights beside the average",
        help="Where the run shows an average of the weights (EMA, schedule-free), the stable loss of the trained ones "
        "is measured as well: it shows what the average brings. Measuring takes twice as long.",
        level="advanced",
    )
    keep_draws: bool = opt(
        True,
        label="Keep timesteps and losses",
        help="The run folder keeps the timestep and the loss of each trained picture, for the plots over the timestep "
        "and the training loss freed of the timestep's chance. 12 bytes a picture, 48 MB at most.",
        level="advanced",
    )
    seed: int = opt(
        0,
        label="Seed of the ruler",
        help="Decides the held-out pictures' noise and timesteps. Runs can be compared when it is the same.",
        ge=0,
        le=2**53,
        level="advanced",
    )
    patience: int = opt(
        0,
        label="Stop by itself after",
        help="Ends the run, and saves, when so many measurements in a row have not brought the loss of the held-out "
        "pictures below its lowest. Saves the hours in which the model only learns your pictures by heart. Points "
        "jump a little: take ten or more. 0: never.",
        unit="measurements",
        ge=0,
        le=10_000,
        level="advanced",
        aliases=("early_stopping", "early_stopping_patience"),
    )
