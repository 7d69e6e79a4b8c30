"""Tests of core/telemetry.py: traces of NVML's readings against exact integrals, failing cards, a run's own cards."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from core.events import Gpu
from core.telemetry import CardReading, Energy, Nvml, Sensors, used_gpus
from tests.fixtures import nvml_traces
from tests.fixtures.nvml_traces import TraceNvml


class FakeNvml:
    """pynvml for cards whose power is 100 W * (1 + card) + 10 W a second; `now` is the time of the reading."""

    def __init__(self, cards: int, counter: bool = True, lacking: tuple[str, ...] = ()) -> None:
        self.now = 0.0
        self.closed = False
        self._cards = cards
        self._counter = counter
        self.lacking = lacking

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "lacking"):
            raise RuntimeError("Not Supported")
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None:
        self.closed = True

    def nvmlDeviceGetCount(self) -> int:
        return self._cards

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "MIG-55":
            raise RuntimeError("Not Found")
        return uuid

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: str) -> int:
        return 2

    def nvmlDeviceGetIndex(self, handle: int) -> int:
        return handle

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{'abcd'[handle]}000-{handle}"

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return f"Card {handle}".encode()

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=2**30 * (handle + 1), total=2**34)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 60 + handle

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=90, memory=10)

    def nvmlDeviceGetPowerManagementLimit(self, handle: int) -> int:
        return 280_000 + handle

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: int) -> int:
        return 350_000

    def nvmlDeviceGetPowerManagementLimitConstraints(self, handle: int) -> list[int]:
        return [100_000, 400_000]

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return round(1000 * (100 * (1 + handle) + 10 * self.now))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if not self._counter:
            raise RuntimeError("Not Supported")
        return round(1000 * exact_joules(handle, self.now)) + 10**9


def exact_joules(card: int, seconds: float) -> float:
    """The integral of a card's power from 0 on."""
    return 100 * (1 + card) * seconds + 5 * seconds**2


def card(time: float, watts: float, joules: float | None = None, index: int = 0) -> CardReading:
    gpu = Gpu(index=index, name="", vram_bytes=-1, vram_total_bytes=-1, watts=watts)
    return CardReading(gpu, time, joules)


#: Uneven times of the readings, in seconds.
TIMES = (0.0, 0.5, 2.0, 3.25, 10.0, 11.0, 30.0)


@pytest.mark.parametrize("cards", [1, 4])
@pytest.mark.parametrize("counter", [True, False])
def test_energy_is_the_exact_integral(cards: int, counter: bool) -> None:
    fake = FakeNvml(cards, counter)
    sensors = Sensors(Energy(50.0, 3.6e6), Nvml(fake), clock=lambda: fake.now)
    for fake.now in TIMES:
        reading = sensors.read()
    wanted = sum(exact_joules(card, TIMES[-1]) for card in range(cards)) + 50.0 * TIMES[-1]
    # Power that rises evenly is integrated exactly by trapezoids, as the counter has it.
    assert sensors.energy.kwh == pytest.approx(1.0 + wanted / 3.6e6, rel=1e-9)
    assert sensors.energy.source == ("counter" if counter else "power")
    assert [gpu.index for gpu in reading.gpus] == list(range(cards))


def play(name: str, *only: int, longest_gap: float = 60.0, every: float = 0.0, first: int = 0) -> tuple[Energy, float]:
    """(the energy that a trace's readings come to, the exact one in joules) of all of its cards, or of some.

    `every` leaves out readings that come sooner after the last one that was taken, from number `first` on; the trace's
    ends are always read.
    """
    trace = TraceNvml(name)
    nvml = Nvml(trace)
    nvml.keep(only or nvml.indices)
    sensors = Sensors(Energy(longest_gap=longest_gap), nvml, trace.clock)
    falls = [0.0]
    last = -math.inf
    for row in range(len(trace.rows)):
        time = trace.rows[row][0][0]
        if row not in (0, len(trace.rows) - 1) and (row < first or time - last < every):
            continue
        trace.row = row
        last = time if row >= first else last
        sensors.read()
        falls.append(sensors.energy.joules)
    assert falls == sorted(falls)
    return sensors.energy, sum(trace.joules[index] for index in nvml.indices)


@pytest.mark.parametrize("name", ["one_gpu_counter", "one_gpu_power", "four_gpus_mixed"])
def test_traces_of_straight_pieces_are_exact(name: str) -> None:
    energy, exact = play(name)
    assert exact > 40_000 and energy.joules == pytest.approx(exact, rel=1e-9)
    assert energy.source == ("counter" if name == "one_gpu_counter" else "power")


@pytest.mark.parametrize("index", range(4))
def test_each_card_of_four_alone(index: int) -> None:
    energy, exact = play(
        "four_gpus_mixed", index
    )  # 0: the counter begins anew, 1: it fails for a while, 3: it has none
    assert energy.joules == pytest.approx(exact, rel=1e-9)
    assert energy.source == ("power" if index == 3 else "counter")


@pytest.mark.parametrize("name", ["one_gpu_training", "four_gpus_training"])
def test_smooth_courses_read_every_two_seconds_err_by_less_than_a_hundredth(name: str) -> None:
    energy, exact = play(name)
    assert energy.joules == pytest.approx(exact, rel=0.01) and energy.source == "power"
    assert exact == pytest.approx(len(TraceNvml(name).rows[0]) * 190_000, rel=0.1)


RECORDED = ["recorded/one_3090", "recorded/one_4090", "recorded/one_a5000", "recorded/four_cards"]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_readings_come_to_their_exact_integral(name: str) -> None:
    energy, exact = play(name)
    trace = TraceNvml(name)
    assert (len(trace.rows) > 750, len(trace.rows[0])) == (True, 4 if "four" in name else 1)
    assert energy.joules == pytest.approx(exact, rel=1e-9) and energy.source == "power"


@pytest.mark.parametrize("index", range(4))
def test_each_recorded_card_of_four_alone(index: int) -> None:
    energy, exact = play("recorded/four_cards", index)
    assert exact > 150_000 and energy.joules == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("first", range(7))
def test_a_machine_that_begins_to_train_read_every_two_seconds(first: int) -> None:
    energy, exact = play("recorded/four_cards", every=2.0, first=first)
    assert energy.joules == pytest.approx(exact, rel=0.002)


@pytest.mark.parametrize("name", RECORDED[:3])
def test_recorded_readings_against_an_external_meter(name: str) -> None:
    # The cards' own sensors say 5 to 6 % less than a meter on slot and cables: what guides/13-energy.md tells.
    meter = json.loads((nvml_traces.FOLDER / f"{name}.json").read_text(encoding="utf-8"))["meter_joules"]
    assert 0.94 < play(name)[0].joules / meter < 0.955


def test_the_traces_are_what_their_script_makes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = nvml_traces.FOLDER
    monkeypatch.setattr(nvml_traces, "FOLDER", tmp_path)
    nvml_traces.write_traces()
    names = sorted(path.name for path in kept.glob("*.json"))
    assert len(names) == 5 and names == sorted(path.name for path in tmp_path.glob("*.json"))
    for name in names:
        old, new = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (kept, tmp_path))
        assert old["rows"] == new["rows"] and "not recorded" in old["note"]
        assert old["exact_joules"] == pytest.approx(new["exact_joules"], rel=1e-12)


def test_a_reading_of_a_card() -> None:
    fake = FakeNvml(2)
    nvml = Nvml(fake)
    gpu = nvml.gpus()[1]
    assert (gpu.name, gpu.vram_bytes, gpu.vram_total_bytes) == ("Card 1", 2**31, 2**34)
    assert (gpu.watts, gpu.celsius, gpu.utilisation) == (200.0, 61.0, 90.0)
    assert (gpu.limit_watts, gpu.default_limit_watts) == (280.001, 350.0)
    assert (gpu.least_limit_watts, gpu.most_limit_watts) == (100.0, 400.0)
    nvml.close()
    assert fake.closed and nvml.why_not == ""


def test_what_a_card_does_not_say_is_minus_one() -> None:
    lacking = ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature", "nvmlDeviceGetUtilizationRates")
    lacking += ("nvmlDeviceGetPowerManagementLimit", "nvmlDeviceGetPowerManagementLimitConstraints")
    gpu = Nvml(FakeNvml(1, False, lacking)).gpus()[0]
    assert (gpu.watts, gpu.celsius, gpu.utilisation) == (-1, -1, -1) and gpu.vram_bytes == 2**30
    assert (gpu.limit_watts, gpu.least_limit_watts, gpu.most_limit_watts) == (-1, -1, -1)


def test_a_card_that_falls_off_the_bus_keeps_its_name_and_its_energy() -> None:
    fake = FakeNvml(1)
    sensors = Sensors(nvml=Nvml(fake), clock=lambda: fake.now)
    for fake.now in (0.0, 10.0):
        sensors.read()
    fake.lacking = tuple(name for name in dir(FakeNvml) if name.startswith("nvmlDeviceGet"))
    for fake.now in (20.0, 30.0):
        reading = sensors.read()
    assert (reading.gpus[0].name, reading.gpus[0].watts) == ("Card 0", -1.0)
    assert (sensors.energy.joules, sensors.energy.source) == (exact_joules(0, 10), "counter")


def test_without_a_driver_there_are_no_gpus_and_a_reason() -> None:
    nvml = Nvml(FakeNvml(1, lacking=("nvmlInit",)))
    assert nvml.gpus() == [] and "Not Supported" in nvml.why_not
    sensors = Sensors(nvml=nvml)
    reading = sensors.read()
    sensors.read()
    assert reading.gpus == [] and reading.ram_bytes > 0 and reading.process_bytes > 0
    assert (sensors.energy.kwh, sensors.energy.source) == (0.0, "none")


def test_a_counter_that_starts_anew_falls_back_to_power() -> None:
    energy = Energy()
    energy.add(0, [card(0, 100.0, 5000.0)])
    energy.add(10, [card(10, 100.0, 10.0)])  # the driver was loaded again
    assert (energy.joules, energy.source) == (1000.0, "power")
    energy.add(20, [card(20, 100.0, 1510.0)])
    assert (energy.joules, energy.source) == (2500.0, "counter")


def test_a_counter_that_was_silent_sets_right_what_power_estimated() -> None:
    energy = Energy()
    for time, joules in ((0, 0.0), (10, None), (20, None), (30, 2500.0)):
        energy.add(time, [card(time, 100.0, joules)])
    assert energy.joules == 2500.0
    energy.add(40, [card(40, 100.0, None)])
    assert energy.joules == 3500.0
    energy.add(50, [card(50, 100.0, 3000.0)])  # power said too much; what is shown never falls
    assert energy.joules == 3500.0
    energy.add(60, [card(60, 100.0, 4000.0)])
    assert energy.joules == 4000.0


def test_a_reading_that_fails_is_bridged() -> None:
    energy = Energy()
    for time, watts in ((0, 100.0), (2, -1.0), (4, 200.0)):
        energy.add(time, [card(time, watts)])
    assert energy.joules == 600.0


def test_power_is_taken_at_the_time_of_each_card() -> None:
    energy = Energy()
    energy.add(1, [card(0, 100.0), card(1, 100.0, index=1)])
    energy.add(13, [card(10, 100.0), card(13, 100.0, index=1)])  # the second card answered late
    assert energy.joules == 1000.0 + 1200.0


def test_hours_asleep_are_not_counted_but_by_a_counter() -> None:
    hours = 8 * 3600.0
    energy = Energy(rest_watts=50)
    for time in (0.0, 10.0, hours, hours + 10):
        energy.add(time, [card(time, 300.0)])
    assert energy.joules == 20 * 350
    counted = Energy(rest_watts=50)
    for time, joules in ((0.0, 0.0), (10.0, 3000.0), (hours, 9000.0), (hours + 10, 12000.0)):
        counted.add(time, [card(time, 300.0, joules)])
    assert counted.joules == 12000 + 20 * 50
    patient = Energy(longest_gap=600)  # for sensors that are read every minute
    for time in (0.0, 120.0):
        patient.add(time, [card(time, 300.0)])
    assert patient.joules == 36000.0


def test_unknown_power_adds_nothing_but_the_constant() -> None:
    energy = Energy(rest_watts=10)
    energy.add(0, [card(0, -1.0)])
    energy.add(60, [card(60, -1.0)])
    assert (energy.joules, energy.source) == (600.0, "constant")
    energy.add(90, [], rest_share=0.5)
    assert math.isclose(energy.kwh, 750 / 3.6e6)


def test_a_clock_that_goes_back_adds_nothing() -> None:
    energy = Energy(rest_watts=10)
    energy.add(100, [card(100, 50.0)])
    energy.add(90, [card(90, 50.0)])
    assert energy.joules == 0.0


@pytest.mark.parametrize(
    ("visible", "processes", "uuids", "wanted"),
    [
        (None, 1, (), [0]),
        (None, 3, (), [0, 1, 2]),
        ("2", 1, (), [2]),
        ("3, 1", 2, (), [3, 1]),
        ("3,1", 1, (), [3]),
        ("", 1, (), []),
        ("-1", 1, (), []),
        ("1,9,2", 4, (), [1]),
        ("GPU-c000-2", 1, (), [2]),
        ("GPU-d,GPU-a", 2, (), [3, 0]),
        ("MIG-GPU-b000-1/3/0", 1, (), [1]),
        ("MIG-55", 1, (), [2]),
        ("GPU-e", 1, (), []),
        ("0", 1, ("d000-3",), [3]),
        ("2", 1, ("unknown",), [2]),
    ],
)
def test_a_run_s_cards(visible: str | None, processes: int, uuids: tuple[str, ...], wanted: list[int]) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    nvml = Nvml(FakeNvml(4))
    found = used_gpus(nvml, processes, environment, uuids)
    assert found == wanted
    nvml.keep(found)
    assert [gpu.index for gpu in nvml.gpus()] == sorted(wanted)
