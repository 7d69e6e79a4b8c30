"""Sensors of the machine: per-GPU VRAM, power, temperature and utilisation (NVML), CPU and RAM; energy integrated."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from core.events import Gpu


class Nvml:
    """NVIDIA's management library; `gpus()` is empty where there is no driver, and `why_not` says why."""

    def __init__(self, module: Any = None) -> None:
        """`module` stands in for pynvml in tests."""
        self.why_not = ""
        self._handles: list[Any] = []
        self._nvml = module
        try:
            if self._nvml is None:
                import pynvml

                self._nvml = pynvml
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
            self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
        except Exception as error:
            self.why_not = f"no NVIDIA GPU can be read here ({error})"

    def _ask(self, name: str, *arguments: Any) -> Any:
        """One NVML call; None where the card does not support it."""
        try:
            return getattr(self._nvml, name)(*arguments)
        except Exception:
            return None

    def gpus(self) -> list[Gpu]:
        """A reading of every GPU."""
        return [self._read(index, handle) for index, handle in enumerate(self._handles)]

    def _read(self, index: int, handle: Any) -> Gpu:
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        milliwatts = self._ask("nvmlDeviceGetPowerUsage", handle)
        celsius = self._ask("nvmlDeviceGetTemperature", handle, 0)
        rates = self._ask("nvmlDeviceGetUtilizationRates", handle)
        name = self._ask("nvmlDeviceGetName", handle) or f"GPU {index}"
        return Gpu(
            index=index,
            name=name.decode() if isinstance(name, bytes) else str(name),
            vram_bytes=int(memory.used) if memory else -1,
            vram_total_bytes=int(memory.total) if memory else -1,
            watts=-1.0 if milliwatts is None else milliwatts / 1000,
            celsius=-1.0 if celsius is None else float(celsius),
            utilisation=-1.0 if rates is None else float(rates.gpu),
        )

    def energy_joules(self) -> list[float | None]:
        """NVML's energy counter of every GPU (joules since the driver was loaded); None where a card has none."""
        found = (self._ask("nvmlDeviceGetTotalEnergyConsumption", handle) for handle in self._handles)
        return [None if millijoules is None else millijoules / 1000 for millijoules in found]

    def close(self) -> None:
        """Let go of the library."""
        with contextlib.suppress(Exception):
            if self._handles:
                self._nvml.nvmlShutdown()


@dataclass
class Energy:
    """Energy of a run in joules, GPU by GPU: by the card's counter where it has one, else power integrated.

    Attributes:
        rest_watts: Constant power of the rest of the machine, added for the time that passes.
        joules: Sum so far; set it to what earlier parts of the run used.
    """

    rest_watts: float = 0.0
    joules: float = 0.0
    source: str = "none"
    _last_time: float | None = None
    _last_watts: tuple[float, ...] = ()
    _last_counters: tuple[float | None, ...] = ()

    def add(self, now: float, watts: list[float], counters: list[float | None]) -> None:
        """Take in readings at the time `now` (seconds); watts below 0 are unknown.

        Between two readings power is taken to change linearly (trapezoid).
        """
        if self._last_time is not None:
            seconds = max(0.0, now - self._last_time)
            self.joules += self.rest_watts * seconds
            sources = {"constant"} if self.rest_watts else set()
            for index, watt in enumerate(watts):
                gained, source = self._gained(index, watt, counters, seconds)
                self.joules += gained
                sources.add(source)
            order = ("counter", "power", "constant")
            self.source = next((name for name in order if name in sources), "none")
        self._last_time = now
        self._last_watts = tuple(watts)
        self._last_counters = tuple(counters)

    def _gained(self, index: int, watt: float, counters: list[float | None], seconds: float) -> tuple[float, str]:
        """(joules, source) of one GPU since the last reading."""
        new = counters[index] if index < len(counters) else None
        old = self._last_counters[index] if index < len(self._last_counters) else None
        if new is not None and old is not None and new >= old:
            return new - old, "counter"
        before = self._last_watts[index] if index < len(self._last_watts) else -1.0
        if watt >= 0 and before >= 0:
            return (watt + before) / 2 * seconds, "power"
        return 0.0, "none"

    @property
    def kwh(self) -> float:
        """Energy so far in kWh."""
        return self.joules / 3.6e6


@dataclass(frozen=True, slots=True)
class MachineReading:
    """One reading of everything."""

    gpus: list[Gpu]
    cpu_percent: float
    ram_bytes: int
    ram_total_bytes: int
    process_bytes: int


class Sensors:
    """Reads the machine and keeps the run's energy. Not thread-safe: one owner reads."""

    def __init__(
        self,
        rest_watts: float = 0.0,
        kwh_before: float = 0.0,
        nvml: Nvml | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`kwh_before` is what earlier parts of the same run used."""
        self.nvml = nvml or Nvml()
        self.energy = Energy(rest_watts=rest_watts, joules=kwh_before * 3.6e6)
        self._clock = clock
        self._process = psutil.Process()
        psutil.cpu_percent()

    def read(self) -> MachineReading:
        """Read all sensors now and add the energy since the last reading."""
        gpus = self.nvml.gpus()
        self.energy.add(self._clock(), [gpu.watts for gpu in gpus], self.nvml.energy_joules())
        memory = psutil.virtual_memory()
        return MachineReading(
            gpus, psutil.cpu_percent(), memory.total - memory.available, memory.total, self._process.memory_info().rss
        )
