"""Settings page "Data": which pictures and captions, at which sizes."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.schema import Section, opt
from core.settings.captions import CaptionSettings
from core.settings.folder_rules import FolderRules
from core.settings.interop import InteropSettings
from core.settings.latents import LatentSettings

_BUCKETS = "Buckets"


class PictureSettings(Section):
    """Which pictures there are and how they are cut to size."""

    folders: list[str] = opt(
        [],
        label="Picture folders",
        help="Folders of pictures, searched with all their subfolders. A picture's caption lies beside it in a .txt "
        "file (tags) or a .caption file (a sentence) of the same name.",
        editor="folder",
        aliases=("train_data_dir", "image_dir"),
    )
    folder_rules: list[FolderRules] = opt(
        [],
        label="Rules of folders",
        help="Folders whose pictures are to be shown more or less often than the others, weigh more or less, are held "
        "out or serve as regularisation, or have captions, mirroring or masks of their own. The nearest enclosing "
        "folder counts.",
        level="advanced",
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
    flip: bool = opt(
        False,
        label="Mirror pictures",
        help="Shows the picture mirrored in half of the uses. More variety from few pictures; wrong for text, "
        "faces with a known side, and anything that must not be mirrored.",
        level="advanced",
        aliases=("flip_aug",),
    )
    smallest: int = opt(
        0,
        label="Leave out pictures below",
        help="Pictures whose shorter side has fewer pixels than this are not used; the report counts them. Tiny ones "
        "teach the model to blur. 0 uses all.",
        unit="px",
        ge=0,
        le=4096,
        level="advanced",
        aliases=("min_size", "minimum_image_size"),
    )
    transparency: Literal["white", "black", "grey", "ignore"] = opt(
        "white",
        label="Behind transparency",
        help="What stands behind transparent pixels. ignore takes the colours that the file has there, often garbage. "
        "To train on the solid part alone, give the folder a mask instead.",
        level="advanced",
        aliases=("alpha_mask_color", "background_color"),
    )
    near_duplicates: int = opt(
        4,
        label="Near duplicates",
        help="Pictures whose perceptual hashes differ in at most so many of 64 bits count as the same: they are "
        "listed, and none is trained on while its twin is held out. 0 finds only equal hashes; above 6, pictures that "
        "are merely alike are taken for one.",
        unit="bits",
        ge=0,
        le=8,
        usual=(0, 6),
        level="advanced",
    )
    buckets: Literal["least-crop", "kohya"] = opt(
        "least-crop",
        label="Buckets",
        help="Pictures of one shape are trained together. least-crop has more shapes, cuts off less, and moves a few "
        "pictures to a neighbouring shape so that batches are full. kohya repeats what sd-scripts does, for "
        "comparisons and for its caches: each picture into the nearest shape, short batches as they come.",
        level="advanced",
        group=_BUCKETS,
    )
    short_batches: Literal["avoid", "keep"] = opt(
        "avoid",
        label="Short batches",
        help="When a shape's pictures do not fill whole batches: avoid moves pictures to neighbouring shapes until at "
        "most one batch an epoch is short, which cuts off a little more of them; where a picture would lose more than "
        "15 % by that, a batch stays short. keep cuts off the least; short batches then count their few pictures more "
        "and take more steps.",
        level="advanced",
        group=_BUCKETS,
        when=("data.buckets", "least-crop"),
    )
    crop_focus: Literal["centre", "top", "random"] = opt(
        "centre",
        label="Keep when cutting",
        help="What stays when a picture is taller or wider than its bucket: the centre, the top (heads stay on), or "
        "another part at each use. Random shows more, but cannot be cached: pictures are decoded and encoded anew at "
        "every use.",
        level="advanced",
        group=_BUCKETS,
        aliases=("random_crop", "face_crop_aug_range"),
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
        group=_BUCKETS,
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
        group=_BUCKETS,
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
        group=_BUCKETS,
        aliases=("max_bucket_reso",),
    )
    upscale: bool = opt(
        True,
        label="Enlarge small pictures",
        help="Pictures smaller than their bucket are enlarged. Without it they are trained in a bucket of their own "
        "size, which keeps them sharp and makes more buckets.",
        level="advanced",
        group=_BUCKETS,
        aliases=("bucket_no_upscale",),
    )
    pictures: int = opt(
        0,
        label="Pictures used",
        help="Trains on so many of the pictures only, chosen by their content: the 100 are among the 200, and the "
        "held-out ones stay the same, so that runs with more and more pictures can be compared. 0 uses all.",
        unit="pictures",
        ge=0,
        level="advanced",
        aliases=("max_train_samples", "subset", "limit_images"),
    )


class DataSettings(InteropSettings, LatentSettings, CaptionSettings, PictureSettings):
    """The pictures, how they are cut to size, and their captions; a base further right comes first in the form."""

    title: ClassVar[str] = "Data"
