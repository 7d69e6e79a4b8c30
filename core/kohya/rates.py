"""Learning rates: one flag for all in sd-scripts, with exceptions that depend on the script; one for each part here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.kohya.draft import number
from core.kohya.job import Job

#: sd-scripts' default of --learning_rate.
_DEFAULT = 2e-6

_UNET = "training.learning_rate"
_TEXT = "training.text_encoder_learning_rate"
_TEXT_2 = "training.text_encoder_2_learning_rate"


@dataclass(frozen=True, slots=True)
class Rates:
    """The rate of each part; 0 leaves it as it is. `second` is SDXL's second text encoder."""

    unet: float
    text: float
    second: float


def settle(job: Job) -> None:
    """Answer them."""
    rates = _of_lora(job) if job.lora else _of_model(job)
    _put(job, rates)
    _base_rate(job, rates)
    _say_parts(job, rates)
    _stop(job)
    _blocks(job, rates)


def _of_lora(job: Job) -> Rates:
    """networks.lora: unet_lr and text_encoder_lr stand in for learning_rate; both parts are trained unless told."""
    base = _base(job)
    unet, texts = job.number("unet_lr", base), _several(job, "text_encoder_lr", base)
    if job.on("network_train_unet_only"):
        texts = [0.0]
    if job.on("network_train_text_encoder_only"):
        unet = 0.0
    return Rates(unet or 0.0, texts[0], texts[1] if len(texts) > 1 else texts[0])


def _of_model(job: Job) -> Rates:
    """Full fine-tuning: the text encoders move with --train_text_encoder, and always with train_db.py."""
    base = _base(job)
    if job.source.script == "train_db.py":
        text = (
            0.0 if (job.number("stop_text_encoder_training") or 0) < 0 else job.number("learning_rate_te", base) or 0.0
        )
        return Rates(base, text, text)
    if not job.on("train_text_encoder"):
        return Rates(base, 0.0, 0.0)
    if not job.sdxl:
        text = job.number("learning_rate_te", base) or 0.0
        return Rates(base, text, text)
    return Rates(base, job.number("learning_rate_te1", base) or 0.0, job.number("learning_rate_te2", base) or 0.0)


def _base(job: Job) -> float:
    found = job.number("learning_rate", _DEFAULT)
    return _DEFAULT if found is None else found


def _several(job: Job, name: str, default: float) -> list[float]:
    """One or two rates; those that cannot be read are left out."""
    value = job.value(name)
    values = value if isinstance(value, list | tuple) else [value]
    found = []
    for text in [piece for item in values if item is not None for piece in str(item).replace(",", " ").split()]:
        try:
            found.append(number(text))
        except ValueError:
            job.answer(name, "unknown", note=f"{text} is not a number")
    return found or [default]


def _put(job: Job, rates: Rates) -> None:
    """All rates are written, since Burnish's own defaults are others."""
    trouble = {key: job.draft.put(key, value) for key, value in ((_UNET, rates.unet), (_TEXT, rates.text))}
    if job.sdxl:
        trouble[_TEXT_2] = job.draft.put(_TEXT_2, rates.second)
    for name, key in _FIELDS.items():
        if trouble.get(key):
            job.answer(name, "unknown", note=trouble[key])
            job.notes.append(f"{key}: {trouble[key]}") if job.has(name) else None


#: The part that each flag speaks of.
_FIELDS = {
    "unet_lr": _UNET,
    "text_encoder_lr": _TEXT,
    "learning_rate_te": _TEXT,
    "learning_rate_te1": _TEXT,
    "learning_rate_te2": _TEXT_2,
}


def _base_rate(job: Job, rates: Rates) -> None:
    if not job.has("learning_rate"):
        if rates.unet == _DEFAULT and not job.has("unet_lr"):
            _tell(job, _UNET, _DEFAULT, "sd-scripts' default of --learning_rate")
        return
    if trouble := job.draft.put(_UNET, rates.unet):
        job.answer("learning_rate", "unknown", note=trouble)
    elif job.lora and job.has("unet_lr"):
        others = job.has("text_encoder_lr") or not rates.text
        note = "unet_lr and text_encoder_lr stand in for it" if others else "it is the rate of the text encoder only"
        job.answer("learning_rate", "unneeded" if others else "equivalent", "" if others else _TEXT, note)
    elif not rates.unet and _base(job):
        job.answer("learning_rate", "equivalent", _TEXT, "the rate of the text encoder; the UNet is not trained")
    else:
        note = "the text encoder has it too" if rates.text and rates.text == rates.unet else ""
        job.answer("learning_rate", "taken", _UNET, note)


def _tell(job: Job, key: str, value: Any, note: str) -> None:
    job.draft.values.pop(key, None)
    job.default(key, value, note)


def _say_parts(job: Job, rates: Rates) -> None:
    text_trained = bool(rates.text or rates.second)
    job.answer("unet_lr", "taken" if rates.unet else "unneeded", _UNET, "" if rates.unet else "the UNet is not trained")
    for name in ("text_encoder_lr", "learning_rate_te", "learning_rate_te1", "learning_rate_te2"):
        if not job.has(name):
            continue
        if not _heard(job, name):
            job.answer(name, "unneeded", note="without effect in this training")
        elif name == "text_encoder_lr" and job.sdxl and _TEXT_2 in job.draft.values:
            job.answer(name, "taken", _TEXT, f"{_TEXT_2} = {rates.second:g}")
        else:
            job.answer(name, "taken", _FIELDS[name])
    if job.on("train_text_encoder"):
        if job.source.script == "train_db.py" or job.lora:
            job.answer("train_text_encoder", "unneeded", note="the text encoder is trained without it too")
        job.answer("train_text_encoder", "equivalent", _TEXT, "a rate above 0 trains it")
    note = "the text encoder's rate is 0" if not text_trained else "off"
    job.answer("network_train_unet_only", "equivalent" if not text_trained else "unneeded", _TEXT, note)
    note = "the UNet's rate is 0" if not rates.unet else "off"
    job.answer("network_train_text_encoder_only", "equivalent" if not rates.unet else "unneeded", _UNET, note)
    if not job.lora and not text_trained:
        _tell(job, _TEXT, 0.0, "only the UNet is trained")


def _heard(job: Job, name: str) -> bool:
    """Whether sd-scripts looks at a rate of the text encoder at all."""
    if name == "text_encoder_lr":
        return job.lora and not job.on("network_train_unet_only")
    if job.lora:
        return False
    if name == "learning_rate_te":
        return not job.sdxl and (job.on("train_text_encoder") or job.source.script == "train_db.py")
    return job.sdxl and job.on("train_text_encoder")


#: The blocks of SDXL's UNet and how many of the 23 values of --block_lr each has, in their order.
_BLOCKS = {"time embedding": 1, "in": 1, "down 0": 3, "down 1": 3, "down 2": 2, "mid": 3, "up 0": 3, "up 1": 3}
_BLOCKS |= {"up 2": 3, "out": 1}


def _blocks(job: Job, rates: Rates) -> None:
    """--block_lr: rates of the UNet's 23 blocks in the original layout; here multipliers of 10, so means of theirs."""
    name = "block_lr"
    if not job.has(name):
        return
    if not job.sdxl or job.lora:
        job.answer(name, "unneeded", note="only sdxl_train.py looks at it")
        return
    values = _several(job, name, 0.0)
    wanted = sum(_BLOCKS.values())
    if len(values) != wanted or any(value < 0 for value in values):
        job.answer(name, "unknown", note=f"{len(values)} values; sdxl_train.py takes {wanted} that are not below 0")
        return
    base = rates.unet or max(values)
    if not base:
        job.answer(name, "equivalent", _UNET, "all are 0, so the UNet is not trained")
        return
    means, uneven, rest = {}, False, list(values)
    for block, count in _BLOCKS.items():
        own, rest = rest[:count], rest[count:]
        means[block] = sum(own) / count / base
        uneven |= len(set(own)) > 1
    texts = [f"{block} = {mean:.6g}" for block, mean in means.items() if f"{mean:.6g}" != "1"]
    if not rates.unet:
        _tell(job, _UNET, base, "the highest rate of --block_lr")
    means_note = "; each has the mean of its values" if uneven else ""
    job.take(name, "training.block_rates", texts, "equivalent", f"multipliers of {_UNET} by block{means_note}")


def _stop(job: Job) -> None:
    name = "stop_text_encoder_training"
    if not job.has(name):
        return
    if str(job.value(name)).endswith("%"):
        job.answer(
            name, "unknown", note="a share of the steps; set training.text_encoder_stop_step when these are known"
        )
        return
    step = job.number(name)
    if step is not None and step < 0:
        job.answer(name, "equivalent", _TEXT, "the text encoder's rate is 0")
    job.take(name, "training.text_encoder_stop_step")
