"""Keeps which timestep each trained picture got and what it lost there, in blocks, beside the steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from core import events as ev
from core.errors import means_full
from core.timestep_losses import RECORD, Recorder, Records, stride

#: Records are written when so many wait, or the oldest has waited so long.
_BLOCK, _SECONDS = 4096, 2.0
_log = logging.getLogger("burnish")


class Uses(NamedTuple):
    """The pictures of a micro-batch as a step used them.

    Attributes:
        losses: (b,) float32, on the device: each picture's loss with its timestep's weighting; the weight of its folder
            is not in it, for that says nothing of the timestep.
        timesteps: (b,), in the computer's memory.
        counted: (b,) bool, there too; false for padding.
    """

    losses: torch.Tensor
    timesteps: torch.Tensor
    counted: torch.Tensor


def as_records(step: int, uses: list[Uses], losses: list[float]) -> Records:
    """Records of a step's pictures; `losses` are those of all uses in order, read from the device."""
    timesteps = np.concatenate([use.timesteps.numpy() for use in uses])
    counted = np.concatenate([use.counted.numpy() for use in uses])
    records = np.empty(int(counted.sum()), RECORD)
    records["step"] = step
    records["timestep"] = timesteps[counted]
    records["loss"] = np.asarray(losses, np.float32)[counted]
    return records


class KeptDraws:
    """Writes a run's records; what cannot be written is lost with one warning, for no run ends for want of them.

    With several processes rank 0 keeps those of its own pictures: a fair part of all, and nothing has to be exchanged.
    """

    def __init__(self, path: Path | None, total_steps: int, images_per_step: int) -> None:
        """`path` is None where none are kept; `images_per_step` counts those of this process."""
        self._path = path
        self._every = stride(total_steps, images_per_step)
        self._recorder: Recorder | None = None
        self._waiting: list[Records] = []
        self._count = 0
        self._since = 0.0
        self._warned = False

    def begin(self, step: int) -> Iterator[ev.Event]:
        """Go on after a step: records of later ones, which a resume makes again, are taken back."""
        self._waiting, self._count = [], 0
        if self._path is None:
            return
        try:
            self._recorder = Recorder(self._path, step)
        except OSError as error:
            self._recorder = None
            yield from self._warn(error, step)

    def wants(self, step: int) -> bool:
        """Whether the draws of a step are kept."""
        return self._recorder is not None and step % self._every == 0

    def take(self, records: Records, step: int) -> Iterator[ev.Event]:
        """Keep the records of a step; they are on the disk within seconds."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(records)
        self._count += len(records)
        if self._count >= _BLOCK or time.monotonic() - self._since >= _SECONDS:
            yield from self.flush(step)

    def flush(self, step: int) -> Iterator[ev.Event]:
        """Write what waits."""
        block, self._waiting, self._count = self._waiting, [], 0
        if not block or self._recorder is None:
            return
        try:
            self._recorder.append(np.concatenate(block))
        except OSError as error:
            yield from self._warn(error, step)

    def _warn(self, error: OSError, step: int) -> Iterator[ev.Event]:
        """Say once that records are missing, and why."""
        _log.warning("draws of the training were not kept: %s", error)
        if not self._warned:
            self._warned = True
            why = "the disk is full" if means_full(error) else f"{self._path} cannot be written"
            text = (
                f"Some timesteps and losses of the training are not kept, for {why}: the plots over the timestep will "
                "lack them. Free some space; the training itself is not harmed."
            )
            yield ev.Message(level="warning", text=text, step=step)
