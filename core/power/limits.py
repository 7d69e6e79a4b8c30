"""Power limits of the GPUs through NVML: what they are, and setting one, with a sentence for every way it can fail."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import Any

from core.errors import UserError
from core.telemetry import Nvml

#: NVML's numbers of errors.
_INVALID, _UNSUPPORTED, _FORBIDDEN = 2, 3, 4
#: A driver may round a limit by so much.
_ROUNDED_WATTS = 1.0


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU and its power limit in watts; -1 where the card does not say.

    Attributes:
        index: Its number, as nvidia-smi has it.
        default_watts: The limit that it left the factory with; it can be set from `least_watts` to `most_watts`.
        persistent: Whether the driver stays loaded without programs (always so on Windows). Where it does not, a limit
            is forgotten as soon as no program uses the card.
    """

    index: int
    name: str
    uuid: str
    limit_watts: float
    default_watts: float
    least_watts: float
    most_watts: float
    watts: float = -1.0
    load_percent: float = -1.0
    persistent: bool = True

    @property
    def has_limit(self) -> bool:
        """Whether the card has a power limit that could be set at all."""
        return min(self.limit_watts, self.default_watts, self.least_watts, self.most_watts) > 0


def cards(nvml: Nvml) -> list[Card]:
    """All GPUs, read now."""
    found = []
    for gpu in nvml.gpus():
        persistent = nvml.ask("nvmlDeviceGetPersistenceMode", nvml.handle(gpu.index)) if os.name != "nt" else 1
        found.append(
            Card(
                index=gpu.index,
                name=gpu.name,
                uuid=nvml.uuid(gpu.index),
                limit_watts=gpu.limit_watts,
                default_watts=gpu.default_limit_watts,
                least_watts=gpu.least_limit_watts,
                most_watts=gpu.most_limit_watts,
                watts=gpu.watts,
                load_percent=gpu.utilisation,
                persistent=persistent != 0,
            )
        )
    return found


def card_of(nvml: Nvml, number: int) -> Card:
    """The GPU of a number; UserError where there is none or it has no power limit."""
    known = cards(nvml)
    if not known:
        raise UserError(f"There is no power limit to set: {nvml.why_not or 'there is no NVIDIA GPU'}.")
    for card in known:
        if card.index == number:
            if not card.has_limit:
                raise UserError(f"GPU {number} ({card.name}) has no power limit that a program could set.")
            return card
    raise UserError(f"There is no GPU {number} here; there are {', '.join(str(card.index) for card in known)}.")


def require_in_range(card: Card, watts: float) -> None:
    """UserError for a limit that the card cannot have."""
    if not card.least_watts <= watts <= card.most_watts:
        raise UserError(
            f"GPU {card.index} ({card.name}) can be limited to {card.least_watts:.0f} up to {card.most_watts:.0f} W, "
            f"not to {watts:g} W."
        )


def by_hand(card: Card, watts: float) -> str:
    """The line that sets a limit without Burnish."""
    line = f"nvidia-smi -i {card.index} -pl {watts:.0f}"
    return line if os.name == "nt" else f"sudo {line}"


def soon_forgotten(card: Card) -> str:
    """What to say of a limit that was set on a card that is not `persistent`."""
    return (
        "The driver is not kept loaded, so the limit is forgotten as soon as no program uses the card. This keeps it: "
        f"sudo nvidia-smi -i {card.index} -pm 1"
    )


class Limiter:
    """Sets power limits; the only place that changes anything of a card."""

    def __init__(self, nvml: Nvml, sudo: bool = False) -> None:
        """`sudo`: let nvidia-smi do it as root, which asks for the password on a terminal (Linux)."""
        self._nvml = nvml
        self._sudo = sudo

    def set(self, card: Card, watts: float) -> float:
        """Limit a card to so many watts; what the driver says that holds now. UserError where it is not done."""
        require_in_range(card, watts)
        if self._sudo and os.name != "nt":
            self._ask_root(card, watts)
        else:
            try:
                handle = self._nvml.handle(card.index)
                self._nvml.module.nvmlDeviceSetPowerManagementLimit(handle, round(watts * 1000))
            except Exception as error:  # NVML's errors have no common class that a test's stand-in could share
                raise UserError(_why_not(card, watts, error)) from None
        milliwatts = self._nvml.ask("nvmlDeviceGetPowerManagementLimit", self._nvml.handle(card.index))
        holds = watts if milliwatts is None else milliwatts / 1000
        if abs(holds - watts) > _ROUNDED_WATTS:
            raise UserError(
                f"GPU {card.index} ({card.name}) took the limit of {watts:g} W without a word, but has {holds:g} W: "
                "its maker's firmware decides it (as in most laptops)."
            )
        return holds

    def _ask_root(self, card: Card, watts: float) -> None:
        command = ["sudo", "nvidia-smi", "-i", str(card.index), "-pl", f"{watts:.0f}"]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except OSError as error:
            raise UserError(f"sudo cannot be started ({error.strerror}): {by_hand(card, watts)} sets it too.") from None
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"The power limit of GPU {card.index} was not set by '{' '.join(command)}': {last}")


def _why_not(card: Card, watts: float, error: Any) -> str:
    """A sentence for an error of NVML."""
    number = getattr(error, "value", None)
    name = f"GPU {card.index} ({card.name})"
    if number == _FORBIDDEN and os.name == "nt":
        return (
            f"{name}: only an administrator may set its power limit. In a terminal that was opened by 'Run as "
            f"administrator': {by_hand(card, watts)}"
        )
    if number == _FORBIDDEN:
        return (
            f"{name}: only root may set its power limit. In a terminal: {by_hand(card, watts)} (on the command line "
            "--sudo does this and asks for your password)."
        )
    if number == _UNSUPPORTED:
        return f"{name} has no power limit that a program could set."
    if number == _INVALID:
        return f"{name} does not take a limit of {watts:g} W."
    return f"{name}: its power limit could not be set to {watts:g} W ({error})."
