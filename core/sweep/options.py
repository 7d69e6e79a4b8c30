"""The options of a sweep beside what varies: how values combine, seeds, limits, early ends, the queue."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.schema import Section, opt


class SweepSection(Section):
    """How the runs are made."""

    title: ClassVar[str] = "Runs"

    combine: Literal["product", "paired"] = opt(
        "product",
        label="Combine",
        help="product makes a run for every combination of the values. paired takes the first values of all settings, "
        "then the second ones and so on: as many runs as the longest list has values; a single value holds for all.",
    )
    seeds: int = opt(
        1,
        label="Seeds",
        help="Makes every run so many times, with training.seed one higher each time: how far their minima lie apart "
        "is what chance alone does, and differences smaller than that mean nothing.",
        unit="runs each",
        ge=1,
        le=100,
        usual=(1, 5),
    )
    steps: int = opt(
        0,
        label="Steps, at most",
        help="No run goes on for longer than this, whatever the preset or a rule says. 0 leaves their lengths alone.",
        unit="steps",
        ge=0,
        editor="log",
    )
    measurements: int = opt(
        0,
        label="Measurements of each run",
        help="Measures the stable loss so many times in every run, however many steps it has: a minimum is found well "
        "from about 20 points. 0 leaves the preset's interval.",
        ge=0,
        le=10_000,
        usual=(0, 200),
    )


class EndSection(Section):
    """Which runs end before their time."""

    title: ClassVar[str] = "Early ends"

    diverged: bool = opt(
        True,
        label="End runs that diverge",
        help="A run whose stable loss runs away is ended at once and counts as diverged, so that it costs little.",
    )
    past_minimum: int = opt(
        0,
        label="End after the minimum",
        help="A run whose held-out loss has clearly turned is ended so many measurements after its lowest one: what "
        "comes later says nothing about the minimum. 0 lets all run to their end.",
        unit="measurements",
        ge=0,
        le=10_000,
        usual=(0, 50),
    )


class QueueSection(Section):
    """How the runs are worked off."""

    title: ClassVar[str] = "Queue"

    gpus: list[str] = opt(
        [],
        label="GPUs",
        help="Numbers of the GPUs to use, as nvidia-smi counts them. Runs go side by side, one on each GPU (or on as "
        "many as hardware.processes says). Empty: all.",
        editor="lines",
        level="advanced",
    )
    at_once: int = opt(
        0,
        label="Runs at once",
        help="So many runs at most side by side. 0: one on each GPU; on the processor, whose cores they share, one.",
        unit="runs",
        ge=0,
        le=64,
        level="advanced",
    )
    keep: Literal["models", "all", "curves"] = opt(
        "models",
        label="Keep of a run that is done",
        help="models keeps its checkpoints and removes the training state, three times as large. all keeps both, so "
        "that runs can be made longer later. curves removes the checkpoints too: enough to choose a rate.",
    )


class SweepOptions(BaseModel):
    """All pages of a sweep's own options."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    sweep: SweepSection = Field(default_factory=SweepSection)
    end: EndSection = Field(default_factory=EndSection)
    queue: QueueSection = Field(default_factory=QueueSection)
