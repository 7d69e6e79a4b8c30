"""Flags about the model: which one, of which family, how it predicts, and which layer of the text encoder is read."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from core.kohya.job import Job

#: "owner/name", as models on a hub are called.
_HUB = re.compile(r"^[\w.-]+/[\w.-]+$")


def settle(job: Job) -> None:
    """Answer them."""
    _base(job)
    _family(job)
    job.take("vae", "model.vae", job.path(job.text("vae")))
    if job.on("v_parameterization"):
        job.take("v_parameterization", "model.prediction", "v-prediction")
    if job.on("zero_terminal_snr"):
        job.take("zero_terminal_snr", "model.zero_terminal_snr", "on")
    _text(job)


def _base(job: Job) -> None:
    name = "pretrained_model_name_or_path"
    text = job.text(name)
    note = ""
    if _HUB.match(text) and not PurePosixPath(text).suffix and not job.source.near(text).exists():
        note = "looks like a name on a hub; Burnish reads models from this machine: download it and give its path"
    job.take(name, "model.base", job.path(text), note=note)


def _family(job: Job) -> None:
    if job.on("v2"):
        job.take("v2", "model.family", "sd2")
        if not job.on("v_parameterization"):
            job.default("model.prediction", "epsilon", "--v2 without --v_parameterization is the 512-pixel base")
    elif job.sdxl:
        job.take("sdxl", "model.family", "sdxl")
        if job.source.script.startswith("sdxl"):
            job.default("model.family", "sdxl", f"{job.source.script} trains SDXL")
        elif not job.has("sdxl"):
            job.notes.append("No script says which model is trained; by its flags or its name it is taken for SDXL.")
    else:
        job.answer("v2", "unneeded", note="off")
    for name in ("sdxl", "v2"):
        job.answer(name, "unneeded", note="the family is recognised from the file")


def _text(job: Job) -> None:
    if job.sdxl:
        job.answer("clip_skip", "unneeded", note="SDXL always takes the last layer but one")
    elif not job.draft.has("model.clip_skip") and job.number("clip_skip") == 1:
        job.answer("clip_skip", "unneeded", note="1 is what Burnish does")
    else:
        job.take("clip_skip", "model.clip_skip")
    length = job.number("max_token_length")
    if length is not None:
        job.take("max_token_length", "data.max_tokens", f"{length:g}")
