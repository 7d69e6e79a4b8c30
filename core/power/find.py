"""Measures a training under several power limits, one after the other; the former limit is set back however it ends."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from core.errors import Stopped, UserError, disk_sentence
from core.power import kept
from core.power.job import Job
from core.power.kept import Result
from core.power.limits import Card, Limiter, cards
from core.power.plan import Measured
from core.telemetry import Clock, Energy, Nvml

#: Seconds between two readings of the card's power; NVML means it over a tenth of a second to a second itself.
_POLL_SECONDS = 0.1
#: Steps before the first limit: the first ones compile, tune and fill caches.
_WARM_STEPS = 5
#: A measurement takes longer than it was to, up to so many times as long, until it has so many steps.
_LEAST_STEPS, _PATIENCE = 5, 4
#: A card above this load has other work.
_BUSY_PERCENT = 20.0
#: A step that takes longer than this is no step but a hang.
_HANG_SECONDS = 600.0
#: Limits that differ by less are the same.
_SAME_WATTS = 0.5

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """What is to be measured: limits in watts on a card, each for some seconds after as many as let it settle."""

    card: Card
    limits: Sequence[float]
    seconds: float = 30.0
    settle: float = 5.0


class Search:
    """Measures the limits of a trial with a job. Sets a limit only where it is not the present one."""

    def __init__(self, nvml: Nvml, limiter: Limiter, say: Say = print, clock: Clock = time.monotonic) -> None:
        """`say` gets a line for each thing that a person wants to know."""
        self._nvml = nvml
        self._limiter = limiter
        self._say = say
        self._clock = clock

    def run(self, trial: Trial, job: Callable[[], Job], result: Result) -> Result:
        """Measure all limits and keep them, one by one; `result` says on what card and job, and has no rows.

        The former limit holds again afterwards, whatever happens: it is noted before anything is changed, so that even
        after a kill the next start of `power` can set it back. UserError when the card is busy, a limit may not be set
        or the job fails; Stopped when the stop file appears.
        """
        kept.stop_path().unlink(missing_ok=True)
        self._nvml.keep([trial.card.index])
        self._require_idle(trial.card)
        self._require_allowed(trial)
        found = result
        with self._limit_kept(trial), job() as training:
            self._warm_up(training)
            for limit in trial.limits:
                self._set(trial.card, limit)
                row = self._measure(trial, training, limit)
                self._say(
                    f"{limit:.0f} W: {row.images_per_second:.2f} images/s at {row.watts:.0f} W, "
                    f"{row.images_per_kwh(result.rest_watts):,.0f} images per kWh"
                )
                found = kept.keep(Result(**{**vars(result), "rows": [row]}))
        return found

    def _require_idle(self, card: Card) -> None:
        if card.load_percent > _BUSY_PERCENT:
            raise UserError(
                f"GPU {card.index} ({card.name}) is at work ({card.load_percent:.0f} % load), and a measurement beside "
                "another job tells nothing. Wait until it is done, or stop it."
            )

    def _require_allowed(self, trial: Trial) -> None:
        """Before minutes of loading: may limits be set? Setting the present one changes nothing."""
        card = trial.card
        if all(abs(limit - card.limit_watts) < _SAME_WATTS for limit in trial.limits):
            return
        try:
            self._limiter.set(card, card.limit_watts)
        except UserError as error:
            raise UserError(
                f"{error} Without that, '--limits now' measures the present limit alone; set another one by hand and "
                "measure again: what belongs together is put into one table."
            ) from None

    @contextlib.contextmanager
    def _limit_kept(self, trial: Trial) -> Iterator[None]:
        """Note the former limit, and set it back at the end; a signal to end is an end like any other."""
        card = trial.card
        if kept.measuring_pid() is not None:
            raise UserError("Another measurement of power limits is at work; wait for it.")
        name = card.uuid or str(card.index)
        former = {name: card.limit_watts} | kept.left_over()  # what a killed one noted is older than what holds now
        try:
            kept.write_note(former)
        except OSError as error:
            raise UserError(disk_sentence(error) or f"{kept.note_path()} cannot be written ({error}).") from None
        try:
            with _ends_by_signals():
                yield
        finally:
            with _undisturbed():
                self._restore(card, former[name])

    def _restore(self, card: Card, watts: float) -> None:
        """Set the former limit back; where that fails the note stays, and a line says so."""
        try:
            self._set(card, watts)
        except UserError as error:
            self._say(f"The former limit of {watts:.0f} W could not be set back. {error}")
            return
        kept.remove_note()

    def _set(self, card: Card, watts: float) -> None:
        now = next((one.limit_watts for one in cards(self._nvml) if one.index == card.index), -1.0)
        if abs(now - watts) >= _SAME_WATTS:
            self._limiter.set(card, watts)

    def _warm_up(self, training: Job) -> None:
        """Wait for the first steps, through loading, encoding and compiling; that may take as long as it takes."""
        told = ""
        while self._poll(training) < _WARM_STEPS:
            if training.phase and training.phase != told:
                told = training.phase
                self._say(f"The training gets ready: {told}")
        if training.device == "cpu":
            self._say("Warning: it works on the processor, which feels no limit; 'python3 main.py doctor' tells why.")

    def _poll(self, training: Job) -> int:
        """Wait a moment, then look at the job; its step. Stopped where the user asks for it."""
        time.sleep(_POLL_SECONDS)
        if kept.stop_path().exists():
            kept.stop_path().unlink(missing_ok=True)
            raise Stopped
        return training.poll().step

    def _measure(self, trial: Trial, training: Job, limit: float) -> Measured:
        """Speed between two steps, and mean power over the same time."""
        self._wait_for_step(training, self._clock() + trial.settle)
        first, energy, begun = training.latest, Energy(), self._clock()
        self._add(energy, trial.card)
        while True:
            self._poll(training)
            self._add(energy, trial.card)
            last, now = training.latest, self._clock()
            enough = last.step - first.step >= (_LEAST_STEPS if now - begun < _PATIENCE * trial.seconds else 1)
            if enough and now - begun >= trial.seconds:
                break
            if now - begun > trial.seconds + _HANG_SECONDS:
                raise UserError(f"The training did no step for {_HANG_SECONDS:.0f} s at {limit:.0f} W.")
        took = max(1e-9, last.time - first.time)
        if energy.source == "none":
            raise UserError(f"GPU {trial.card.index} does not say what power it draws, so nothing can be compared.")
        images = last.images - first.images
        return Measured(limit, images / took, energy.joules / (now - begun), images, took)

    def _wait_for_step(self, training: Job, earliest: float) -> None:
        """Wait for the first step that ends after a time, so that the measurement begins with a whole one."""
        deadline = earliest + _HANG_SECONDS
        before = training.latest.step
        while self._clock() < earliest or training.latest.step <= before:
            if self._clock() < earliest:
                before = training.latest.step
            elif self._clock() > deadline:
                raise UserError(f"The training did no step for {_HANG_SECONDS:.0f} s.")
            self._poll(training)

    def _add(self, energy: Energy, card: Card) -> None:
        readings = [one for one in self._nvml.readings(self._clock) if one.gpu.index == card.index]
        energy.add(self._clock(), readings)


def set_back(nvml: Nvml, limiter: Limiter) -> list[str]:
    """Set back what a killed measurement left changed; a line for each card. UserError where it may not be set."""
    said = []
    left = kept.left_over()
    for card in cards(nvml):
        watts = left.get(card.uuid or str(card.index))
        if watts is None:
            continue
        if abs(card.limit_watts - watts) >= _SAME_WATTS:
            limiter.set(card, watts)
            said.append(f"GPU {card.index}: a measurement was killed; its former limit of {watts:.0f} W holds again.")
    if left:
        kept.remove_note()
    return said


@contextlib.contextmanager
def _ends_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the work as ctrl-C does, so that it is tidied up."""

    def handler(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _handled(handler, "SIGTERM", "SIGHUP"):
        yield


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second ctrl-C must not keep the former limit from being set back."""
    with _handled(signal.SIG_IGN, "SIGTERM", "SIGHUP", "SIGINT"):
        yield


@contextlib.contextmanager
def _handled(handler: object, *names: str) -> Iterator[None]:
    """Handle signals in some way for a while; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, handler) for number in numbers}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former if former is not None else signal.SIG_DFL)
