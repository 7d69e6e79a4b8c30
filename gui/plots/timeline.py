"""The time axis that all plots of a run share: its unit, the range shown, whether it follows, and one crosshair."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QObject, Signal

from core.quantities import show_number, show_seconds
from core.run_data import Floats, RunData

#: Curve whose values are an axis' x, and the factor to its unit. "step" needs none.
_GROUND = {"images": ("images", 1.0), "epoch": ("epoch", 1.0), "hours": ("seconds", 1 / 3600), "kwh": ("kwh", 1.0)}

#: What an axis is called in the menu.
AXIS_LABELS = {"step": "Steps", "images": "Pictures seen", "epoch": "Epochs", "hours": "Hours", "kwh": "kWh"}

#: Part of the width that stays free at the right while following.
_MARGIN = 0.015


class Timeline(QObject):
    """Maps steps to the axis' unit and back, and tells the plots when to draw anew.

    Curves stay in steps; only what is drawn is mapped, so another axis costs nothing for a million points.

    Signals:
        changed: The range, the unit or the data under the unit changed.
        cursor_changed: The crosshair moved, came or left.
        clicked: A step was clicked in one of the plots.
    """

    changed = Signal()
    cursor_changed = Signal()
    clicked = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.axis = "step"
        self.low, self.high = 0.0, 10.0
        self.following = True
        self.cursor: float | None = None
        self.pinned: float | None = None
        self._data = RunData()

    def set_data(self, data: RunData) -> None:
        """Show this run from now on, from its beginning to its end."""
        self._data = data
        self.following = True
        self.cursor = self.pinned = None
        self.advance()

    def set_axis(self, axis: str) -> None:
        """Change the unit; the range goes back to the whole run."""
        if axis != self.axis:
            self.axis = axis
            self.reset()

    def available(self) -> list[str]:
        """Units that the run has readings for."""
        found = ["step"]
        for axis, (tag, _) in _GROUND.items():
            curve = self._data.curves.get(tag)
            if curve is not None and len(curve) and curve.values[-1] > 0:
                found.append(axis)
        return found

    def forward(self, steps: Floats) -> Floats:
        """Steps in the axis' unit."""
        return self._data.x_of(np.asarray(steps, dtype=np.float64), self.axis)

    def inverse(self, x: Floats) -> Floats:
        """Places on the axis as steps; those past the run's end become its end, except where the unit is steps."""
        x = np.asarray(x, dtype=np.float64)
        if self.axis == "step":
            return x
        tag, factor = _GROUND[self.axis]
        curve = self._data.curves.get(tag)
        if curve is None or not len(curve):
            return np.zeros_like(x)
        wanted = x / factor
        steps = np.interp(wanted, curve.values, curve.steps)
        before = wanted < curve.values[0]
        if before.any():
            steps[before] = curve.steps[0] * np.maximum(wanted[before], 0) / curve.values[0]
        return steps

    def edges(self, pixels: int) -> Floats:
        """Borders of the pixel columns of the range shown, in steps."""
        return self.inverse(np.linspace(self.low, self.high, max(1, pixels) + 1))

    def end(self) -> float:
        """The run's end in the axis' unit."""
        last = float(self._data.last_step)
        end = float(self.forward(np.array([last]))[0])
        return end if np.isfinite(end) else 0.0

    def advance(self) -> None:
        """The run has grown: follow it, unless the user looks elsewhere."""
        if self.following:
            least = 10.0 if self.axis == "step" else 1e-3
            end = max(self.end(), least)
            self.low, self.high = -0.004 * end, end * (1 + _MARGIN)
        self.changed.emit()

    def set_range(self, low: float, high: float) -> None:
        """The user panned or zoomed: show this, and follow no more."""
        if high > low and (low, high) != (self.low, self.high):
            self.low, self.high = low, high
            self.following = False
            self.changed.emit()

    def reset(self) -> None:
        """Show the whole run and follow it again."""
        self.following = True
        self.advance()

    def set_cursor(self, step: float | None) -> None:
        """Move the crosshair to a step; None takes it away."""
        if step is not None:
            step = min(max(step, 0.0), float(self._data.last_step))
        if step != self.cursor:
            self.cursor = step
            self.cursor_changed.emit()

    def pin(self, step: float | None) -> None:
        """Keep a line at a step that was clicked; None takes it away."""
        if step != self.pinned:
            self.pinned = step
            self.changed.emit()

    def words(self, step: float) -> str:
        """A step as it is written beside the crosshair, with the axis' own unit when that is another one."""
        text = f"step {round(step):,}"
        if self.axis == "step":
            return text
        x = float(self.forward(np.array([step]))[0])
        if self.axis == "hours":
            return f"{text} · {show_seconds(x * 3600)}"
        unit = {"images": "pictures", "epoch": "epochs", "kwh": "kWh"}[self.axis]
        return f"{text} · {show_number(round(x)) if self.axis == 'images' else f'{x:.3f}'} {unit}"


def nearest(steps: Floats, step: float) -> int | None:
    """Index of the point nearest to a step; None without points."""
    if not len(steps):
        return None
    place = int(np.searchsorted(steps, step))
    if place == len(steps) or (place > 0 and step - steps[place - 1] <= steps[place] - step):
        place -= 1
    return place
