"""Sensors of the machine: per-GPU VRAM, power, temperature and utilisation (NVML), CPU and RAM; energy integrated."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from core.events import Gpu

Clock = Callable[[], float]

#: Seconds between two readings after which nobody knows what was drawn in between: the machine slept, or the process
#: was stopped. Readings that are merely late are far from it.
LONGEST_GAP = 60.0


@dataclass(frozen=True, slots=True)
class CardReading:
    """One card at one time.

    Attributes:
        time: When its power was read, in seconds of the reader's clock; cards are asked one after the other.
        joules: Its energy counter, which counts from when the driver was loaded; None where it has none or is silent.
    """

    gpu: Gpu
    time: float
    joules: float | None


class Nvml:
    """NVIDIA's management library; `gpus()` is empty where there is no driver, and `why_not` says why."""

    def __init__(self, module: Any = None) -> None:
        """`module` stands in for pynvml in tests."""
        self.why_not = ""
        self.module = module
        self._handles: dict[int, Any] = {}
        self._fixed: dict[int, dict[str, Any]] = {}
        try:
            if self.module is None:
                import pynvml

                self.module = pynvml
            self.module.nvmlInit()
            count = self.module.nvmlDeviceGetCount()
            self._handles = {i: self.module.nvmlDeviceGetHandleByIndex(i) for i in range(count)}
        except Exception as error:
            self.why_not = f"no NVIDIA GPU can be read here ({error})"

    @property
    def indices(self) -> list[int]:
        """Numbers of the cards that are read, as nvidia-smi counts them."""
        return list(self._handles)

    def keep(self, indices: Iterable[int]) -> None:
        """Read only these cards from now on."""
        wanted = set(indices)
        self._handles = {index: handle for index, handle in self._handles.items() if index in wanted}

    def handle(self, index: int) -> Any:
        """NVML's handle of a card that is read."""
        return self._handles[index]

    def ask(self, name: str, *arguments: Any) -> Any:
        """One NVML call; None where the card does not support it, or does not answer now."""
        try:
            return getattr(self.module, name)(*arguments)
        except Exception:
            return None

    def uuid(self, index: int) -> str:
        """A card's name that no other card has ("GPU-..."); "" where the driver does not tell."""
        found = self.ask("nvmlDeviceGetUUID", self._handles[index])
        return found.decode() if isinstance(found, bytes) else str(found or "")

    def find(self, name: str) -> int | None:
        """The number of a card by its UUID, its beginning, or the UUID of a part of it (MIG); None for none."""
        wanted = name.removeprefix("MIG-").split("/")[0].removeprefix("GPU-").lower()
        for index in self._handles:
            if wanted and self.uuid(index).removeprefix("GPU-").lower().startswith(wanted):
                return index
        part = self.ask("nvmlDeviceGetHandleByUUID", name)
        whole = self.ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", part) if part is not None else None
        number = self.ask("nvmlDeviceGetIndex", whole) if whole is not None else None
        return int(number) if number in self._handles else None

    def gpus(self) -> list[Gpu]:
        """A reading of every card."""
        return [reading.gpu for reading in self.readings()]

    def readings(self, clock: Clock = time.monotonic) -> list[CardReading]:
        """A reading of every card, with its energy counter and the time."""
        return [self._read(index, handle, clock) for index, handle in self._handles.items()]

    def _read(self, index: int, handle: Any, clock: Clock) -> CardReading:
        milliwatts = self.ask("nvmlDeviceGetPowerUsage", handle)
        millijoules = self.ask("nvmlDeviceGetTotalEnergyConsumption", handle)
        now = clock()
        memory = self.ask("nvmlDeviceGetMemoryInfo", handle)
        celsius = self.ask("nvmlDeviceGetTemperature", handle, 0)
        rates = self.ask("nvmlDeviceGetUtilizationRates", handle)
        gpu = Gpu(
            index=index,
            vram_bytes=int(memory.used) if memory else -1,
            vram_total_bytes=int(memory.total) if memory else -1,
            watts=_watts(milliwatts),
            celsius=-1.0 if celsius is None else float(celsius),
            utilisation=-1.0 if rates is None else float(rates.gpu),
            limit_watts=_watts(self.ask("nvmlDeviceGetPowerManagementLimit", handle)),
            **self._what_stays(index, handle),
        )
        return CardReading(gpu, now, None if millijoules is None else millijoules / 1000)

    def _what_stays(self, index: int, handle: Any) -> dict[str, Any]:
        """Name and bounds of a card, asked for once: a card that falls off the bus keeps its name."""
        if index not in self._fixed:
            name = self.ask("nvmlDeviceGetName", handle) or f"GPU {index}"
            bounds = self.ask("nvmlDeviceGetPowerManagementLimitConstraints", handle) or (None, None)
            self._fixed[index] = {
                "name": name.decode() if isinstance(name, bytes) else str(name),
                "default_limit_watts": _watts(self.ask("nvmlDeviceGetPowerManagementDefaultLimit", handle)),
                "least_limit_watts": _watts(bounds[0]),
                "most_limit_watts": _watts(bounds[1]),
            }
        return self._fixed[index]

    def close(self) -> None:
        """Let go of the library."""
        with contextlib.suppress(Exception):
            if not self.why_not:
                self.module.nvmlShutdown()


def _watts(milliwatts: Any) -> float:
    """Watts, -1 where the card does not say."""
    return -1.0 if milliwatts is None else milliwatts / 1000


def used_gpus(nvml: Nvml, processes: int, environment: Mapping[str, str], uuids: Sequence[str] = ()) -> list[int]:
    """Numbers (nvidia-smi's) of the cards that a run of so many processes works on, one card each.

    Args:
        environment: Where CUDA_VISIBLE_DEVICES chooses cards, by number or UUID. As CUDA does, a name that is not
            there ends the list. Its numbers are taken as nvidia-smi's, which CUDA itself only does where
            CUDA_DEVICE_ORDER is PCI_BUS_ID or all cards are alike.
        uuids: The cards that CUDA has given, where it was asked: they are right in any order.
    """
    if uuids:
        named = [nvml.find(uuid) for uuid in uuids]
        if None not in named:
            return [index for index in named if index is not None]
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return nvml.indices[:processes]
    found: list[int] = []
    for name in (part.strip() for part in visible.split(",")):
        index = int(name) if name.isascii() and name.isdigit() else nvml.find(name)
        if index is None or index not in nvml.indices:
            break
        found.append(index)
    return found[:processes]


@dataclass
class _Meter:
    """The energy of one card from its readings.

    Attributes:
        estimate: Joules by power since the counter was last read; the counter's next word takes their place.
        source: How it is measured now: "counter", "power", or "none" as long as the card has said nothing.
    """

    source: str = "none"
    estimate: float = 0.0
    _counter: float | None = None
    _power: tuple[float, float] | None = None

    def advance(self, reading: CardReading, longest_gap: float) -> float:
        """Joules to add for a reading; a counter that was silent for a while may take back what was estimated."""
        gained = self._by_power(reading.time, reading.gpu.watts, longest_gap)
        self.estimate += gained
        if reading.joules is None:
            self.source = "power" if reading.gpu.watts >= 0 else self.source
            return gained
        if self._counter is None:
            self.source = "counter"
        elif reading.joules >= self._counter:
            gained += reading.joules - self._counter - self.estimate
            self.source = "counter"
        else:  # it began anew, with a driver that was loaded again: what power says stands
            self.source = "power"
        self._counter = reading.joules
        self.estimate = 0.0
        return gained

    def _by_power(self, now: float, watts: float, longest_gap: float) -> float:
        """The trapezoid since power was last known, over readings that failed; none over a gap."""
        if watts < 0:
            return 0.0
        before, self._power = self._power, (now, watts)
        if before is None or not 0 <= now - before[0] <= longest_gap:
            return 0.0
        return (watts + before[1]) / 2 * (now - before[0])


@dataclass
class Energy:
    """Energy of a run in joules: card by card by its counter where it has one, else its power integrated.

    What is uncertain, and what is done about it:
    - A reading that fails: power is taken to run straight to the next one; a counter loses nothing by it.
    - A counter that begins anew (a driver loaded again): power stands for the time between the two readings.
    - A gap longer than `longest_gap` (a machine that slept, a process that was stopped): nobody knows the power, and
      the run did not work, so neither power nor the rest of the machine is counted. A counter's word still is: it is
      what the card drew. (Where the clock itself stands still in sleep, as on Linux, there is no gap to see.)
    - A card that is gone adds nothing more.

    Attributes:
        rest_watts: Constant power of the rest of the machine, added for the time that passes.
        joules: Sum so far; set it to what earlier parts of the run used. Never falls.
        source: "counter"; "power" as soon as one card is measured by it; "constant"; "none".
    """

    rest_watts: float = 0.0
    joules: float = 0.0
    source: str = "none"
    longest_gap: float = LONGEST_GAP
    _exact: float | None = None
    _last_time: float | None = None
    _meters: dict[int, _Meter] = field(default_factory=dict)

    def add(self, now: float, cards: Iterable[CardReading], rest_share: float = 1.0) -> None:
        """Take in the readings of a round that ended at `now` (seconds); watts below 0 are unknown.

        `rest_share` is the part of the rest of the machine that this run bears (0 to 1).
        """
        exact = self.joules if self._exact is None else self._exact
        if self._last_time is not None and 0 <= now - self._last_time <= self.longest_gap:
            exact += self.rest_watts * rest_share * (now - self._last_time)
        self._last_time = now
        for card in cards:
            meter = self._meters.setdefault(card.gpu.index, _Meter())
            exact += meter.advance(card, self.longest_gap)
        self._exact = exact
        self.joules = max(self.joules, exact)
        sources = {meter.source for meter in self._meters.values()} | ({"constant"} if self.rest_watts else set())
        self.source = next((name for name in ("power", "counter", "constant") if name in sources), "none")

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

    def __init__(self, energy: Energy | None = None, nvml: Nvml | None = None, clock: Clock = time.monotonic) -> None:
        """`energy` holds what earlier parts of the same run used; `nvml` reads the cards that the run works on."""
        self.nvml = nvml or Nvml()
        self.energy = energy or Energy()
        self._clock = clock
        self._process = psutil.Process()
        psutil.cpu_percent()

    def read(self, rest_share: float = 1.0) -> MachineReading:
        """Read all sensors now and add the energy since the last reading."""
        cards = self.nvml.readings(self._clock)
        self.energy.add(self._clock(), cards, rest_share)
        memory = psutil.virtual_memory()
        return MachineReading(
            [card.gpu for card in cards],
            psutil.cpu_percent(),
            memory.total - memory.available,
            memory.total,
            self._process.memory_info().rss,
        )
