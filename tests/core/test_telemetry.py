"""Tests of core/telemetry.py: recorded readings of fake cards against exact integrals."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from core.telemetry import Energy, Nvml, Sensors


class FakeNvml:
    """pynvml for cards whose power is 100 W * (1 + card) + 10 W a second; `now` is the time of the reading."""

    def __init__(self, cards: int, counter: bool = True, lacking: tuple[str, ...] = ()) -> None:
        self.now = 0.0
        self.closed = False
        self._cards = cards
        self._counter = counter
        self._lacking = lacking

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "_lacking"):
            raise RuntimeError("Not Supported")
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None:
        self.closed = True

    def nvmlDeviceGetCount(self) -> int:
        return self._cards

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return f"Card {handle}".encode()

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=2**30 * (handle + 1), total=2**34)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 60 + handle

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=90, memory=10)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return round(1000 * (100 * (1 + handle) + 10 * self.now))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if not self._counter:
            raise RuntimeError("Not Supported")
        return round(1000 * exact_joules(handle, self.now)) + 10**9


def exact_joules(card: int, seconds: float) -> float:
    """The integral of a card's power from 0 on."""
    return 100 * (1 + card) * seconds + 5 * seconds**2


#: Uneven times of the readings, in seconds.
TIMES = (0.0, 0.5, 2.0, 3.25, 10.0, 11.0, 30.0)


@pytest.mark.parametrize("cards", [1, 4])
@pytest.mark.parametrize("counter", [True, False])
def test_energy_is_the_exact_integral(cards: int, counter: bool) -> None:
    fake = FakeNvml(cards, counter)
    sensors = Sensors(rest_watts=50.0, kwh_before=1.0, nvml=Nvml(fake), clock=lambda: fake.now)
    for fake.now in TIMES:
        reading = sensors.read()
    wanted = sum(exact_joules(card, TIMES[-1]) for card in range(cards)) + 50.0 * TIMES[-1]
    # Power that rises evenly is integrated exactly by trapezoids, as the counter has it.
    assert sensors.energy.kwh == pytest.approx(1.0 + wanted / 3.6e6, rel=1e-9)
    assert sensors.energy.source == ("counter" if counter else "power")
    assert [gpu.index for gpu in reading.gpus] == list(range(cards))


def test_a_reading_of_a_card() -> None:
    fake = FakeNvml(2)
    nvml = Nvml(fake)
    gpu = nvml.gpus()[1]
    assert (gpu.name, gpu.vram_bytes, gpu.vram_total_bytes) == ("Card 1", 2**31, 2**34)
    assert (gpu.watts, gpu.celsius, gpu.utilisation) == (200.0, 61.0, 90.0)
    nvml.close()
    assert fake.closed and nvml.why_not == ""


def test_what_a_card_does_not_say_is_minus_one() -> None:
    lacking = ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature", "nvmlDeviceGetUtilizationRates")
    gpu = Nvml(FakeNvml(1, False, lacking)).gpus()[0]
    assert (gpu.watts, gpu.celsius, gpu.utilisation) == (-1, -1, -1) and gpu.vram_bytes == 2**30


def test_without_a_driver_there_are_no_gpus_and_a_reason() -> None:
    nvml = Nvml(FakeNvml(1, lacking=("nvmlInit",)))
    assert nvml.gpus() == [] and nvml.energy_joules() == [] and "Not Supported" in nvml.why_not
    sensors = Sensors(nvml=nvml)
    reading = sensors.read()
    sensors.read()
    assert reading.gpus == [] and reading.ram_bytes > 0 and reading.process_bytes > 0
    assert (sensors.energy.kwh, sensors.energy.source) == (0.0, "none")


def test_a_counter_that_starts_anew_falls_back_to_power() -> None:
    energy = Energy()
    energy.add(0, [100.0], [5000.0])
    energy.add(10, [100.0], [10.0])  # the driver was loaded again
    assert (energy.joules, energy.source) == (1000.0, "power")
    energy.add(20, [100.0], [1510.0])
    assert (energy.joules, energy.source) == (2500.0, "counter")


def test_unknown_power_adds_nothing_but_the_constant() -> None:
    energy = Energy(rest_watts=10)
    energy.add(0, [-1.0], [None])
    energy.add(60, [-1.0], [None])
    assert (energy.joules, energy.source) == (600.0, "constant")
    assert math.isclose(energy.kwh, 600 / 3.6e6)


def test_a_clock_that_goes_back_adds_nothing() -> None:
    energy = Energy(rest_watts=10)
    energy.add(100, [50.0], [None])
    energy.add(90, [50.0], [None])
    assert energy.joules == 0.0
