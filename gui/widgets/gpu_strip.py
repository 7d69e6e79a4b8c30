"""One strip per GPU: memory, power, temperature and load over the run; the processor where there is no GPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from core.events import Gpu, Telemetry, short_name
from core.run_data import RunData
from gui.plots.spark import Spark, SparkLine
from gui.plots.timeline import Timeline
from gui.widgets.basics import label, tool

if TYPE_CHECKING:
    from gui.widgets.power_dialog import PowerDialog

NO_GPU = "No NVIDIA GPU works on this run, or none can be read, so there is no VRAM, power or temperature to show."


@dataclass(frozen=True, slots=True)
class _Gauge:
    """One course of a strip and the tag it is drawn from."""

    spark: Spark
    tag: str
    color: int


def _gib(total: float) -> str:
    return f" / {total / 2**30:.0f} GiB" if total > 0 else " GiB"


class Strip(QFrame):
    """The courses of one device side by side, its name in front."""

    def __init__(self, name: str, gauges: list[_Gauge]) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.gauges = gauges
        self.name = label(name, "value", wrap=True)
        self.name.setFixedWidth(116)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 0, 12, 4)
        layout.setSpacing(24)
        layout.addWidget(self.name)
        for gauge in gauges:
            layout.addWidget(gauge.spark, 1)
        self.limit_watts = -1.0
        self.power = tool("power", "Power limit: see it, measure what others would do, set one")
        self.power.hide()
        layout.addWidget(self.power)

    def refresh(self, data: RunData) -> None:
        """Draw what is known now."""
        for gauge in self.gauges:
            curve = data.curve(gauge.tag)
            gauge.spark.set_lines([SparkLine(curve.steps, curve.values, color=gauge.color)], "not reported")


def _memory_spark(timeline: Timeline, title: str, total: int) -> Spark:
    """Bytes in use against all that there are; `total` is below 1 where nobody says."""
    most = float(total) if total > 0 else None
    return Spark(timeline, title, lambda value: f"{value / 2**30:.1f}{_gib(total)}", (0.0, most), framed=False)


def gpu_strip(timeline: Timeline, gpu: Gpu) -> Strip:
    """The strip of one GPU."""
    total = gpu.vram_total_bytes
    tag = f"gpu{gpu.index}/"
    memory = _memory_spark(timeline, "VRAM", total)
    power = Spark(timeline, "Power", lambda value: _power_words(value, strip.limit_watts), framed=False)
    heat = Spark(timeline, "Temperature", lambda value: f"{value:.0f} °C", (20.0, 100.0), framed=False)
    load = Spark(timeline, "Load", lambda value: f"{value:.0f} %", (0.0, 100.0), framed=False)
    gauges = [
        _Gauge(memory, f"{tag}vram_bytes", 3),
        _Gauge(power, f"{tag}watts", 5),
        _Gauge(heat, f"{tag}celsius", 1),
        _Gauge(load, f"{tag}utilisation", 2),
    ]
    strip = Strip(f"GPU {gpu.index}\n{short_name(gpu.name)}", gauges)
    strip.power.show()
    return strip


def _power_words(watts: float, limit: float) -> str:
    """Power, against the limit where the card has one."""
    return f"{watts:.0f} of {limit:.0f} W" if limit > 0 else f"{watts:.0f} W"


def processor_strip(timeline: Timeline, reading: Telemetry) -> Strip:
    """The strip of the processor and the memory."""
    total = reading.ram_total_bytes
    load = Spark(timeline, "Processor", lambda value: f"{value:.0f} %", (0.0, 100.0), framed=False)
    memory = _memory_spark(timeline, "Memory", total)
    return Strip("Processor", [_Gauge(load, "cpu_percent", 2), _Gauge(memory, "ram_bytes", 3)])


class GpuStrips(QWidget):
    """All devices of a run; made when the first reading says which there are.

    Attributes:
        training: The folder of the run that is shown, None where it is no training.
    """

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline
        self._devices: tuple[tuple[int, str], ...] | None = None
        self.strips: list[Strip] = []
        self.dialog: PowerDialog | None = None
        self.sentence = label("", "dim", wrap=True)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(8)
        self._layout.addWidget(self.sentence)
        self.set_run(None)

    def set_run(self, training: Path | None) -> None:
        """Another run is shown, or its data anew: wait for its first reading. Its folder, where it is a training."""
        self.training = training
        self._devices = None
        self._remove()
        self.sentence.setText("The sensors are read once the run is at work.")
        self.sentence.show()

    def _remove(self) -> None:
        for strip in self.strips:
            self._layout.removeWidget(strip)
            strip.hide()  # it would be drawn until it is deleted
            strip.deleteLater()
        self.strips = []

    def refresh(self, data: RunData) -> None:
        """Draw what is known now."""
        reading = data.telemetry
        if reading is None:
            return
        devices = tuple((gpu.index, gpu.name) for gpu in reading.gpus)
        if devices != self._devices:
            self._devices = devices
            self._rebuild(reading)
        for strip, gpu in zip(self.strips, reading.gpus, strict=False):
            strip.limit_watts = gpu.limit_watts
        for strip in self.strips:
            strip.refresh(data)

    def show_power(self, gpu: Gpu, *_: object) -> None:
        """Open the window of a card's power limit, beside the main one; it measures with the run that is shown."""
        from gui.widgets.power_dialog import PowerDialog

        if self.dialog is not None:
            self.dialog.close()
            self.dialog.deleteLater()
        self.dialog = PowerDialog(gpu.index, gpu.name, self.training, self)
        self.dialog.show()

    def _rebuild(self, reading: Telemetry) -> None:
        self._remove()
        self.strips = [gpu_strip(self._timeline, gpu) for gpu in reading.gpus]
        for strip, gpu in zip(self.strips, reading.gpus, strict=True):
            strip.power.clicked.connect(partial(self.show_power, gpu))
        self.sentence.setVisible(not self.strips)
        if not self.strips:
            self.sentence.setText(NO_GPU)
            self.strips = [processor_strip(self._timeline, reading)]
        for strip in self.strips:
            self._layout.addWidget(strip)
