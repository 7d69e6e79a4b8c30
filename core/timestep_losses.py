"""The training's draws, kept: which timestep each picture got and what it lost there; freed of the timestep's chance.

A run folder's `timestep_losses.bin` holds fixed records, little endian, so that it can be mapped, followed while it
grows and cut at a step. From it come the loss over the timestep, its fit, the debiased training loss and the histogram
of sampled timesteps.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.timestep_fit import Floats, TimestepFit, debias

#: One use of a picture: the step (1 is the first), the timestep, and its loss as it counts in the training.
RECORD = np.dtype([("step", "<u4"), ("timestep", "<u4"), ("loss", "<f4")])
Records = NDArray[np.void]

#: Records that a run keeps at most (48 MB); longer runs keep every n-th step.
MOST_RECORDS = 4_000_000

_NAME = "timestep_losses.bin"


def path_of(run: Path) -> Path:
    """Where a run folder keeps them."""
    return run / _NAME


def stride(total_steps: int, images_per_step: int) -> int:
    """Every how many steps the draws are kept, so that a run of so many steps stays below MOST_RECORDS."""
    return max(1, -(-total_steps * images_per_step // MOST_RECORDS))


class Recorder:
    """Appends records; a resume takes back those of steps that are made again."""

    def __init__(self, path: Path, last_step: int) -> None:
        """Go on after `last_step`. OSError where the file cannot be written."""
        self._path = path
        if path.exists():
            kept = read(path)
            kept = kept[kept["step"] <= last_step]
            os.truncate(path, kept.nbytes)

    def append(self, records: Records) -> None:
        """Write records at the end. OSError when the disk is full, and then nothing of them is left."""
        before = self._path.stat().st_size if self._path.exists() else 0
        try:
            with self._path.open("ab") as file:
                file.write(records.tobytes())
        except OSError:
            if self._path.exists():
                os.truncate(self._path, before)
            raise


def read(path: Path, start: int = 0) -> Records:
    """All whole records from number `start` on, in the order of the steps; empty where there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(start * RECORD.itemsize)
            data = file.read()
    except FileNotFoundError:
        data = b""
    return np.frombuffer(data, RECORD, len(data) // RECORD.itemsize)


class LossFollower:
    """Reads what a growing file has got since the last call.

    Attributes:
        records: All that was read so far.
        cuts: How often the file had become shorter (the run went back to a saved state): all was read anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: Records = np.empty(0, RECORD)
        self.cuts = 0

    def read(self) -> bool:
        """Take in what is new; whether anything changed."""
        try:
            count = self.path.stat().st_size // RECORD.itemsize
        except FileNotFoundError:
            count = 0
        known = len(self.records)
        if count < known or (known and count > known and self._went_back()):
            self.cuts += 1
            self.records = read(self.path)
            return True
        if count == known:
            return False
        self.records = np.concatenate([self.records, read(self.path, known)])
        return True

    def _went_back(self) -> bool:
        """Whether the last record known is no longer where it was: the file was cut and has grown again."""
        last = read(self.path, len(self.records) - 1)[:1]
        return not len(last) or last[0] != self.records[-1]


def debiased(records: Records, fit: TimestepFit) -> tuple[Floats, Floats]:
    """(steps, debiased training loss), one point a step: the mean over its pictures, freed of the timestep's chance."""
    if not len(records):
        return np.empty(0), np.empty(0)
    steps, first = np.unique(records["step"], return_index=True)
    values = debias(records["loss"].astype(np.float64), records["timestep"].astype(np.float64), fit)
    counts = np.diff(np.append(first, len(records)))
    return steps.astype(np.float64), np.add.reduceat(values, first) / counts
