"""What a training state holds, taken out of a trainer and put back: whole tensors, whatever they are split over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from core import registry
from core.engine.trainer import Trainer
from core.engine.weights import restore_precision
from core.errors import UserError


def trained_weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Trained weights by "part.number" in full precision; the parameters themselves, not copies.

    Where they are split all processes must ask; rank 0 gets whole tensors in RAM, the others nothing.
    """
    if trainer.shares:
        weights = trainer.shares.gather(trainer.parameters)
    elif trainer.zero:
        weights = trainer.zero.whole_weights()
    else:
        weights = [parameter.data for parameter in trainer.parameters]
    return dict(zip(_names(trainer), weights, strict=not trainer.is_split))


def load_weights(trainer: Trainer, weights: Mapping[str, torch.Tensor]) -> None:
    """Put saved weights back; UserError when they are of other settings."""
    names = _names(trainer)
    found = [_own(trainer, number, weights[name]) for number, name in enumerate(names) if name in weights]
    if sorted(names) != sorted(weights) or any(
        p.shape != t.shape for p, t in zip(trainer.parameters, found, strict=True)
    ):
        raise UserError("The saved state belongs to other settings (method, rank or model); start a new run instead.")
    if trainer.zero:
        trainer.zero.take_weights(found)
        return
    for parameter, tensor in zip(trainer.parameters, found, strict=True):
        parameter.data.copy_(tensor)


def optimizer_state(trainer: Trainer) -> dict[str, Any]:
    """State of the optimizer, and of the fp16 loss scaler and the EMA when there are such.

    Where they are split all processes must ask; rank 0 gets whole tensors, so that the state fits any number of them.
    """
    scaler = trainer.accelerator.scaler
    ema = trainer.ema.state() if trainer.ema else {}
    if trainer.shares and ema:
        ema = {**ema, "average": trainer.shares.gather(ema["average"])}
    if trainer.shares:
        state = trainer.shares.whole_state(trainer.plain_optimizer)
    else:
        state = trainer.zero.whole_state() if trainer.zero else trainer.optimizer.state_dict()
    return {"optimizer": state, "scaler": scaler.state_dict() if scaler else {}, "ema": ema}


def load_optimizer_state(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Put a saved optimizer state back."""
    if trainer.zero:
        trainer.zero.take_state(state["optimizer"])
    else:
        _load_plain_state(trainer, state["optimizer"])
    if trainer.accelerator.scaler and state.get("scaler"):
        trainer.accelerator.scaler.load_state_dict(state["scaler"])
    if trainer.ema and state.get("ema"):
        average = [_own(trainer, number, tensor) for number, tensor in enumerate(state["ema"]["average"])]
        trainer.ema.load({**state["ema"], "average": average})
    elif trainer.ema:
        trainer.ema.restart()


def renew_options(trainer: Trainer, saved: Mapping[str, Any]) -> None:
    """Let options of the optimizer that changed since a state take effect, which its loaded groups would undo.

    `saved`: all settings of the state, by key. What an optimizer counts in its groups (Prodigy's d) stays: only those
    values are set that differ between an optimizer made by the old options and one made by the new.
    """
    component, options = registry.chosen("optimizers", trainer.settings)
    name = trainer.settings.training.optimizer
    old = {key.partition(".")[2]: value for key, value in saved.items() if key.partition(".")[0] == name}
    if options is None or not old or old == options.model_dump():
        return
    before, after = (_group(component, chosen) for chosen in (type(options)(**old), options))
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    for group in trainer.plain_optimizer.param_groups:
        group.update(changed)


def _group(component: Any, options: Any) -> dict[str, Any]:
    """What an optimizer with these options keeps in a group, the parameters left out."""
    made = component.build([{"params": [torch.nn.Parameter(torch.zeros(2, 2))], "lr": 1.0, "name": ""}], options)
    return {key: value for key, value in made.param_groups[0].items() if key != "params"}


def _load_plain_state(trainer: Trainer, whole: dict[str, Any]) -> None:
    """Give the optimizer its state, or this process's share of it, in the precision it was saved in."""
    mine = trainer.shares.local_state(trainer.plain_optimizer, whole) if trainer.shares else whole
    optimizer = trainer.optimizer
    optimizer.load_state_dict(mine)
    saved = mine["state"]
    for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        restore_precision(parameter, optimizer.state.get(parameter), saved.get(number, {}))


def _names(trainer: Trainer) -> list[str]:
    """What the trained weights are called in a training state, in their order."""
    return [f"{part}.{i:05d}" for part, group in trainer.groups.items() for i, _ in enumerate(group)]


def _own(trainer: Trainer, number: int, whole: torch.Tensor) -> torch.Tensor:
    """What this process holds of a saved tensor in the shape of trained weight `number`."""
    return trainer.shares.cut(number, whole) if trainer.shares else whole
