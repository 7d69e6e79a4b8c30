"""The cache's part of settings page "Data": what is kept of a picture, and what is drawn anew at each use."""

from __future__ import annotations

from typing import ClassVar

from core.schema import Section, opt

_GROUP = "Cache"


class LatentSettings(Section):
    """How pictures become latents."""

    title: ClassVar[str] = "Latents"

    sample_latents: bool = opt(
        False,
        label="Sample latents",
        help="The VAE gives a range for each number of a latent. Off: its middle is trained on, always the same. On: a "
        "new one is drawn at each use, as when pictures are not cached; the cache then needs twice the room.",
        level="advanced",
        group=_GROUP,
    )
    colour_jitter: float = opt(
        0.0,
        label="Vary colours",
        help="Brightness, contrast and saturation are changed by up to this share at each use, so that the model does "
        "not learn one lighting by heart; wrong for a style that lives by its colours. Such pictures cannot be cached: "
        "they are decoded and encoded anew at every use.",
        ge=0,
        le=1,
        usual=(0, 0.2),
        level="advanced",
        group=_GROUP,
        aliases=("color_aug", "colour_augmentation"),
    )
