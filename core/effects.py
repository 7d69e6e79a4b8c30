"""What changed settings do to a run that goes on: which cannot change, and from when on the others hold."""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import UserError

#: Options, and whole tables, that decide which weights there are.
_FIXED = ("model.base", "model.family", "training.method", "training.block_rates", "lora", "loha", "lokr", "part")
#: When some options, or whole tables, take effect, where that is not the next step.
_LATER = {
    "training.optimizer": "whose memory of past gradients begins anew",
    "training.batch_size": "with another order of the pictures from here on",
    "training.accumulation": "counted from here on",
    "training.seed": "with other draws and another order of the pictures from here on",
    "training.ema": "beginning with the present weights",
    "training.max_steps": "with the schedule stretched to it from the next step on",
    "training.max_epochs": "with the schedule stretched to it from the next step on",
    "hardware.processes": "with another share of each batch from here on",
    "output.name": "in the names of files from now on",
    "output.folder": "for new runs only; this one stays where it is",
    "data": "as if the pictures had changed: what is missing is cached, and the order may be another one",
    "validation.every_steps": "from the next step on",
    "validation.patience": "from the next step on",
    "validation.most_share": "from the next step on",
    "validation.raw_beside_ema": "from the next step on",
    "validation.keep_draws": "from the next step on",
    "validation": "with another ruler: stable losses before and after cannot be compared",
}


def is_fixed(key: str) -> bool:
    """Whether an option decides which weights there are."""
    return key in _FIXED or key.split(".")[0] in _FIXED


def effects(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """What each changed setting does to a run that goes on: a line for each. UserError for what cannot change."""
    lines = []
    for key in new:
        if old.get(key) == new[key]:
            continue
        change = f"{key}: {old.get(key)} -> {new[key]}"
        table = key.split(".")[0]
        if is_fixed(key):
            raise UserError(f"{change} cannot change within a run: its weights would not fit. Start a new run instead.")
        lines.append(f"{change}, {_LATER.get(key) or _LATER.get(table, 'from the next step on')}")
    return lines
