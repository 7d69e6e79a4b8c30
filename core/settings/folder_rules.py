"""What holds for the pictures of one folder: one row of data.folder_rules, in a preset a [[data.folder_rules]]."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.schema import Section, opt


class FolderRules(Section):
    """The rules of a folder and all folders in it; of several that enclose a picture, the nearest counts, whole."""

    title: ClassVar[str] = "Rules of a folder"

    path: str = opt(
        "",
        label="Folder",
        help="A picture folder, one inside it, or an archive. The rules hold for all folders in it that have none of "
        "their own.",
        editor="folder",
        aliases=("image_dir",),
    )
    role: Literal["by chance", "train", "validation", "regularisation"] = opt(
        "by chance",
        label="Role",
        help="By chance: trained on, but for the held-out share. Train: never held out. Validation: never trained on; "
        "where a folder has this role, none is held out by chance. Regularisation: pictures of what the model should "
        "not forget; trained on, never held out or measured.",
        aliases=("is_reg",),
    )
    repeats: float = opt(
        1.0,
        label="Repeats",
        help="How often an epoch shows each picture: 10 for a small folder beside a large one, 0.5 for each in every "
        "second epoch, 0 to leave the folder out.",
        ge=0,
        le=100_000,
        usual=(0.1, 50),
        aliases=("num_repeats", "dataset_repeats"),
    )
    sample: int = opt(
        0,
        label="Pictures per epoch",
        help="An epoch shows so many pictures of the folder, others each time, whatever the repeats. A large folder of "
        "regularisation pictures can so be kept as small as the subject's. 0: all, by the repeats.",
        unit="pictures",
        ge=0,
    )
    weight: float = opt(
        1.0,
        label="Weight of the loss",
        help="The loss of these pictures is multiplied by this. Below 1 for pictures that should only keep the model "
        "from drifting away.",
        ge=0,
        le=100,
        usual=(0.1, 2),
        aliases=("prior_loss_weight", "loss_weight"),
    )
    trigger: str = opt(
        "",
        label="Trigger words",
        help="Put in front of these pictures' captions instead of the Data page's. Empty: the page's.",
        aliases=("class_tokens", "instance_prompt"),
    )
    captions: Literal["page", "tags", "natural", "either", "tags then natural", "natural then tags"] = opt(
        "page",
        label="Captions",
        help="Which caption the model reads for these pictures, where the Data page's choice does not fit them.",
    )
    flip: Literal["page", "yes", "no"] = opt(
        "page",
        label="Mirror pictures",
        help="Whether these pictures are mirrored in half of their uses: no for text and for faces with a known side.",
        aliases=("flip_aug",),
    )
    mask: Literal["none", "alpha", "file"] = opt(
        "none",
        label="Mask",
        help="Trains only on what a mask shows: the picture's own transparency (alpha), or a greyscale picture beside "
        "it (file), as it is done for subjects before a busy ground.",
        aliases=("alpha_mask", "masked_loss"),
    )
