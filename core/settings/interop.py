"""The part of settings page "Data" for what other trainers left: captions in metadata files, and their caches."""

from __future__ import annotations

from typing import ClassVar, Literal

from core.schema import Section, opt

_GROUP = "Other trainers"


class InteropSettings(Section):
    """What is taken over from kohya's sd-scripts and programs that write its formats."""

    title: ClassVar[str] = "From other trainers"

    metadata: list[str] = opt(
        [],
        label="Metadata files",
        help="JSON or JSONL files with captions and tags (kohya's meta_cap.json, meta_lat.json, or lines with "
        "image_path). They serve the pictures that have no .txt or .caption file of their own. Pictures are found by "
        "their path, else by their name; a later file adds to an earlier one.",
        editor="path",
        level="advanced",
        group=_GROUP,
        aliases=("in_json", "metadata_file", "meta_cap", "meta_lat"),
    )
    adopt_kohya_caches: Literal["no", "latents", "latents and text"] = opt(
        "no",
        label="Take over kohya's caches",
        help="Uses the .npz files that kohya's sd-scripts kept beside the pictures instead of encoding again; each is "
        "checked, and what is damaged or of another size is encoded. They do not say which VAE made them: yours must "
        "be the same. Nor do those of texts (SDXL) say which captions they are of: take them only where these have not "
        "changed since.",
        level="advanced",
        group=_GROUP,
        aliases=("npz",),
    )
