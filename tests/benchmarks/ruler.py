"""The stable loss on the starter model: how much steadier than the training loss it is, and what it costs.

Spread: how far each point lies off the line between its two neighbours (`core.curve_shape.noise`: robust, by the
median, in the size of a standard deviation), of the logarithm of the loss, so that it is relative. The line takes a
trend away. A bend of the curve counts as spread, to the disadvantage of the stable loss, whose neighbours are INTERVAL
steps apart; those of the training loss are single steps. Both are taken over the same span of one run, behind the
warm-up.

Share: seconds measured over seconds worked with the demo's own settings, the preparation left out and nothing drawn or
saved on the way, for both would make it look smaller. The run is half as long as the demo's, so the dear first
measurement weighs twice as much. Then the same for a run that is asked to measure at every step: its share must stay
below `validation.most_share`.
"""

from __future__ import annotations

import os
import tempfile

import numpy as np

from core import demo, runs
from core import events as ev
from core.curve_shape import noise
from core.run_data import Curve, Floats, RunData
from core.runs import Run
from core.settings import Settings
from core.terminal import run_worker
from core.timestep_fit import smooth_fit
from core.timestep_losses import debiased, path_of, read
from tests.benchmarks.common import Figure

INTERVAL, WATCHED_STEPS, USUAL_STEPS, CAPPED_STEPS, WARM = 5, 100, 200, 240, 20
GOAL, MOST = 20.0, 5.0


def run() -> dict[str, Figure]:
    """Ratios of spreads, and shares of the time in percent."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["BURNISH_HOME"] = home
        figures = _spreads(_train(f"training.max_steps={WATCHED_STEPS}", *_every(INTERVAL, cap=False)))
        usual = _share(_train(f"training.max_steps={USUAL_STEPS}"))
        capped = _train(f"training.max_steps={CAPPED_STEPS}", *_every(1))
        share, count = _share(capped), len(capped[1].curve("stable/validation"))
        return {
            **figures,
            "share_at_the_defaults": Figure(usual, "%", f"< {MOST:g}", usual < MOST),
            "share_of_every_step_capped": Figure(share, "%", f"<= {MOST:g}", share <= MOST),
            "measured_of_every_step": Figure(count, f"of {CAPPED_STEPS + 1}", "-", True),
        }


def _every(steps: int, cap: bool = True) -> list[str]:
    return [f"validation.every_steps={steps}", *([] if cap else ["validation.most_share=0"])]


def _train(*changes: str) -> tuple[Run, RunData]:
    """The demo's training with changes; nothing is drawn, and only its end is saved."""
    settings: Settings = demo.settings([*changes, "sample.every_steps=0", "output.save_every_steps=0"])
    made = runs.create(settings)
    code, data = run_worker("train", made, quiet=True)
    if code:
        raise RuntimeError(made.console_path.read_text()[-2000:])
    return made, data


def _share(trained: tuple[Run, RunData]) -> float:
    """Percent of the time behind the preparation that was measured; the last event ends it."""
    made, data = trained
    began, ended = 0.0, 0.0
    follower = ev.Follower(made.events_path)
    while events := follower.read():
        for event in events:
            began = event.time if isinstance(event, ev.Started) else began
            ended = event.time
    return 100 * data.measuring_seconds / (ended - began)


def _relative(curve: tuple[Floats, Floats]) -> float:
    """Relative spread behind the warm-up."""
    steps, values = curve
    late = steps >= WARM
    return noise(steps[late], np.log(values[late]))


def _spreads(trained: tuple[Run, RunData]) -> dict[str, Figure]:
    """How many times steadier than the training loss the stable losses and the debiased one are."""
    made, data = trained
    training = _relative(_points(data.curve("loss")))
    records = read(path_of(made.path))
    fit = smooth_fit(records["timestep"].astype(np.float64), records["loss"].astype(np.float64))
    figures = {}
    for split in ("train", "validation"):
        times = training / _relative(_points(data.curve(f"stable/{split}")))
        figures[f"steadier_{split}"] = Figure(times, "x", f">= {GOAL:g}", times >= GOAL)
    return {
        **figures,
        "spread_training": Figure(100 * training, "%", "-", True),
        "debiased_steadier": Figure(training / _relative(debiased(records, fit)), "x", "-", True),
    }


def _points(curve: Curve) -> tuple[Floats, Floats]:
    return curve.steps, curve.values
