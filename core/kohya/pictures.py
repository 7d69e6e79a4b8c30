"""Pictures, captions, sizes and buckets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from core.kohya import draft as drafts
from core.kohya.folders import captionless, folders, settle_rules
from core.kohya.job import Job

#: Options of captions that mean the same here.
_CAPTIONS = (
    ("caption_dropout_rate", "data.caption_dropout"),
    ("caption_dropout_every_n_epochs", "data.dropout_every_epochs"),
    ("caption_tag_dropout_rate", "data.tag_dropout"),
    ("keep_tokens_separator", "data.keep_separator"),
    ("secondary_separator", "data.group_separator"),
)

#: The share by which colours vary: about what sd-scripts' color_aug does to a gamma.
_COLOURS = 0.05

#: The options of sd-scripts' buckets, ours, and its defaults.
_BUCKETS = (
    ("min_bucket_reso", "data.min_side", 256),
    ("max_bucket_reso", "data.max_side", 1024),
    ("bucket_reso_steps", "data.bucket_step", 64),
)
_BUCKET_NAMES = (*(name for name, _, _ in _BUCKETS), "bucket_no_upscale")


def settle(job: Job) -> None:
    """Answer them."""
    _folders(job)
    settle_rules(job)
    _resolution(job)
    _buckets(job)
    _captions(job)
    _changes(job)
    _lacking(job)


def _folders(job: Job) -> None:
    paths = [folder.path for folder in job.source.folders] or (
        [job.text("train_data_dir")] if job.text("train_data_dir") else []
    )
    if paths:
        job.take("train_data_dir", "data.folders", list(dict.fromkeys(map(job.path, paths))))
    if job.has("in_json"):
        field = job.draft.by_alias("in_json")
        if not field or not job.take("in_json", field, [job.path(job.text("in_json"))]):
            note = "Burnish finds pictures, sizes and captions itself; captions must lie beside the pictures"
            job.answer("in_json", "equivalent", "data.folders", note)
    if job.source.folders:
        job.answer("dataset_config", "equivalent", "data.folders", "its values are listed by themselves")
    job.answer("dataset_config", "unknown", note="the file was not found")


def _resolution(job: Job) -> None:
    name = "resolution"
    value = job.value(name)
    sides = [str(side) for side in value] if isinstance(value, list | tuple) else re.split(r"[,x ]+", job.text(name))
    try:
        numbers = [drafts.number(side) for side in sides if side]
    except ValueError:
        numbers = []
    if not numbers:
        job.answer(name, "unknown", note=f"{job.text(name)} is no size")
        side, usual = (1024, "SDXL's") if job.sdxl else (512, "SD 1.5's")
        job.default("data.resolution", side, f"no --resolution is given; {usual} own size")
    elif len(set(numbers)) == 1:
        job.take(name, "data.resolution", numbers[0])
    else:
        side = round(math.sqrt(max(0.0, numbers[0] * numbers[1])))
        job.take(name, "data.resolution", side, "equivalent", "as many pixels; buckets take care of the shape")


def _buckets(job: Job) -> None:
    """Without --enable_bucket sd-scripts crops to the square, unless a metadata file has buckets already."""
    asked = job.on("enable_bucket") or job.has("in_json")
    told = [name for name in _BUCKET_NAMES if job.on(name)]
    job.default("data.buckets", "kohya", "sd-scripts' own; least-crop cuts off less and leaves no short batches")
    job.answer("enable_bucket", "unneeded", note="off" if not job.on("enable_bucket") else "Burnish always has buckets")
    if not asked and not told:
        side = job.draft.values.get("data.resolution", 512)
        if side % 64 == 0:
            note = (
                f"without --enable_bucket sd-scripts crops every picture to {side} x {side}; for buckets, leave it out"
            )
            job.default("data.min_side", side, note)
            job.default("data.max_side", side, note)
        return
    note = "" if asked else "sd-scripts heeds it with --enable_bucket only, which is missing; taken all the same"
    for name, field, value in _BUCKETS:
        job.take(name, field, note=note)
        job.default(field, value, f"sd-scripts' default of --{name}")
    if job.on("bucket_no_upscale"):
        job.take("bucket_no_upscale", "data.upscale", False, "equivalent", note or "the opposite of it")
    job.default("data.upscale", True, "sd-scripts' way without --bucket_no_upscale")


def _captions(job: Job) -> None:
    _extension(job)
    job.take("shuffle_caption", "data.shuffle_tags", job.on("shuffle_caption"))
    if not job.take("keep_tokens", "data.keep_tags"):
        job.default("data.keep_tags", 0, "sd-scripts' default of --keep_tokens")
    for name, field in _CAPTIONS:
        job.take(name, field)
    for name, field in (("caption_prefix", "data.prefix"), ("caption_suffix", "data.suffix")):
        job.take(name, field, None, "equivalent", "it is never shuffled or counted among the kept tags")
    if job.on("enable_wildcard"):
        job.answer("enable_wildcard", "equivalent", "data.captions", "{a|b} and several lines are always drawn from")
    if job.text("caption_separator") == ",":
        job.answer("caption_separator", "unneeded", note="the comma is Burnish's too")
    job.take("caption_separator", "data.separator")
    _class_words(job)


def _extension(job: Job) -> None:
    """.txt holds tags and .caption a sentence in Burnish; sd-scripts reads the one or the other."""
    name, field = "caption_extension", "data.captions"
    kinds = {".txt": "tags", "txt": "tags", ".caption": "natural", "caption": "natural"}
    kind = kinds.get(job.text(name).lower())
    if kind:
        note = (
            f"Burnish takes .{'txt' if kind == 'tags' else 'caption'} for {'tags' if kind == 'tags' else 'sentences'}"
        )
        job.take(name, field, kind, "equivalent", f"{note}; the other file where it is missing")
    job.answer(name, "unknown", note="Burnish reads .txt and .caption files only; rename them")
    if not job.has(name) and not job.has("in_json"):
        job.default(field, "natural", "sd-scripts' default of --caption_extension is .caption")


def _class_words(job: Job) -> None:
    """The words of a folder are the caption of pictures that have none, and of no others."""
    found = folders(job)
    words = {folder.words.replace("_", " ") if not job.source.folders else folder.words for folder in found}
    bare = bool(found) and all(captionless(job.source.near(folder.path)) for folder in found)
    if bare and len(words) == 1 and "" not in words and "data.trigger" not in job.draft.values:
        text = words.pop()
        note = "the words of the folder, as its pictures have no captions"
        if not job.take("class_tokens", "data.trigger", text, "equivalent", note):
            job.default("data.trigger", text, note)
    elif bare and words != {""}:
        job.notes.append(
            "The folders' words are captions in sd-scripts; write them into .txt files beside the pictures."
        )
    job.answer(
        "class_tokens", "unknown", note="sd-scripts uses it for pictures without a caption; write it beside these"
    )


def _changes(job: Job) -> None:
    job.take("flip_aug", "data.flip", job.on("flip_aug"))
    if job.on("random_crop"):
        job.take("random_crop", "data.crop_focus", "random")
    if job.on("color_aug"):
        note = "brightness, contrast and saturation by up to 5 %; sd-scripts shifts the hue or the gamma of some"
        job.take("color_aug", "data.colour_jitter", _COLOURS, "equivalent", note)


#: Flags about data without a like in Burnish, with the values that switch them off.
_MISSING: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("token_warmup_min", ("1",), "the number of tags does not grow in Burnish"),
    ("token_warmup_step", ("0",), "the number of tags does not grow in Burnish"),
    ("face_crop_aug_range", ("",), "faces are not looked for; data.crop_focus = 'top' keeps the top of portraits"),
    (
        "conditioning_data_dir",
        ("",),
        "put masks into a folder 'masks' beside the pictures and set the folder's mask",
    ),
    ("dataset_class", ("",), "code of one's own for the data is not loaded"),
    ("resize_interpolation", ("area", "lanczos"), "the filter for resizing cannot be chosen"),
    ("network_multiplier", ("1",), "a strength for each dataset is not in Burnish"),
    ("custom_attributes", (), "attributes for each folder are not in Burnish"),
)


def _lacking(job: Job) -> None:
    for name, off, note in _MISSING:
        value = job.text(name)
        plain = value[:-2] if value.endswith(".0") else value
        if plain in off:
            job.answer(name, "unneeded", note="off" if plain in ("", "0") else "what Burnish does")
        job.lacking(name, note)
