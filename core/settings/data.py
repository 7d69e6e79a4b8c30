"""Settings page "Data": which pictures and captions, at which sizes."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.schema import Section, opt


class DataSettings(Section):
    """The pictures, their captions and how they are cut to size."""

    title: ClassVar[str] = "Data"

    folders: list[str] = opt(
        [],
        label="Picture folders",
        help="Folders of pictures, searched with all their subfolders. A picture's caption lies beside it in a .txt "
        "file (tags) or a .caption file (a sentence) of the same name.",
        editor="folder",
        aliases=("train_data_dir", "image_dir"),
    )
    resolution: int = opt(
        512,
        label="Resolution",
        help="Pictures are trained at about resolution x resolution pixels in all, each near its own shape. SD 1.5 "
        "was made at 512; more detail costs memory and time with the square of it.",
        unit="px",
        ge=64,
        le=4096,
        usual=(512, 1024),
        aliases=("max_resolution", "target_size"),
    )
    captions: Literal["tags", "natural", "either", "tags then natural"] = opt(
        "either",
        label="Captions",
        help="Which caption the model reads: the tags (.txt), the sentence (.caption), one of both drawn by chance at "
        "each use, or the tags followed by the sentence. Mixing both keeps more of what the model already knew. "
        "When a picture lacks the wanted kind, the other one is used.",
    )
    trigger: str = opt(
        "",
        label="Trigger words",
        help="Put in front of every caption. A rare word here gives you one word to call the new style or subject by.",
        aliases=("instance_prompt",),
    )
    shuffle_tags: bool = opt(
        False,
        label="Shuffle tags",
        help="Draws a new order of the tags at each use, so that the model does not learn their order by heart. "
        "Text states can then be kept only for orders that come again.",
        level="advanced",
        aliases=("shuffle_caption",),
    )
    keep_tags: int = opt(
        1,
        label="Tags kept in front",
        help="So many tags at the start stay where they are while the others are shuffled.",
        ge=0,
        level="advanced",
        when=("data.shuffle_tags", True),
        aliases=("keep_tokens",),
    )
    caption_dropout: float = opt(
        0.0,
        label="Caption dropout",
        help="Share of the uses in which the caption is left empty. The model then keeps its unconditional half, which "
        "the CFG scale needs. 0.05 to 0.1 helps in long runs.",
        ge=0,
        le=1,
        usual=(0, 0.2),
        level="advanced",
        aliases=("caption_dropout_rate",),
    )
    flip: bool = opt(
        False,
        label="Mirror pictures",
        help="Shows the picture mirrored in half of the uses. More variety from few pictures; wrong for text, "
        "faces with a known side, and anything that must not be mirrored.",
        level="advanced",
        aliases=("flip_aug",),
    )
    bucket_step: int = opt(
        64,
        label="Bucket step",
        help="Widths and heights of the buckets are multiples of this. Smaller steps crop less but make more buckets, "
        "and a bucket with few pictures gives incomplete batches.",
        unit="px",
        ge=8,
        le=512,
        usual=(32, 64),
        level="advanced",
        aliases=("bucket_reso_steps",),
    )
    min_side: int = opt(
        256,
        label="Shortest side of a bucket",
        help="No bucket is narrower or lower than this.",
        unit="px",
        ge=8,
        le=4096,
        level="advanced",
        aliases=("min_bucket_reso",),
    )
    max_side: int = opt(
        1024,
        label="Longest side of a bucket",
        help="No bucket is wider or higher than this.",
        unit="px",
        ge=8,
        le=8192,
        level="advanced",
        aliases=("max_bucket_reso",),
    )
    upscale: bool = opt(
        True,
        label="Enlarge small pictures",
        help="Pictures smaller than their bucket are enlarged. Without it they are trained in a bucket of their own "
        "size, which keeps them sharp and makes more buckets.",
        level="advanced",
        aliases=("bucket_no_upscale",),
    )
