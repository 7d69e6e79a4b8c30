"""Tests of core/estimate/report.py and cost.py: disk, hours, energy, money, and the document for scripts."""

from __future__ import annotations

from typing import Any

import pytest

from core import presets, runs
from core.anatomy.source import open_anatomy
from core.anatomy.trained import trained_parts
from core.estimate.cost import cache_bytes, checkpoint_bytes, cost, earlier_speed, kept_checkpoints
from core.estimate.report import estimate, fits_card
from core.outlook import outlook
from core.settings import Settings
from tests.fixtures.run_folders import new_run, step, telemetry, write_events

GIB = 1 << 30


def made(**values: Any) -> Settings:
    plain = {"model__family": "sd15", "training__method": "full", "training__max_steps": 1000}
    return presets.build({key.replace("__", "."): value for key, value in {**plain, **values}.items()}, "test")


def test_unknown_stays_unknown() -> None:
    found = estimate(made(), with_changes=False).to_json()
    assert (found["hours"], found["kwh"], found["cost"], found["speed_from"]) == (None, None, None, "")
    assert found["steps"] == 1000


def test_the_document_has_the_contract_s_keys() -> None:
    found = estimate(made(hardware__processes=2)).to_json()
    assert [gpu["gpu"] for gpu in found["vram"]] == [0, 1]
    for gpu in found["vram"]:
        assert gpu["total_bytes"] == sum(gpu["components"].values())
    assert set(found["fits"]) == {"8", "12", "16", "24", "32", "48"}
    assert found["trainable_share"] == 1.0 and found["trained"] == 859_520_964
    assert {"settings", "saves_bytes", "price"} <= set(found["changes"][0])
    assert found["ram_bytes"] > 0 and found["disk_bytes"] > 0


def earlier_run(**values: Any) -> None:
    run = new_run(**{"model__family": "sd15", "training__method": "full", **values})
    write_events(run, [step(1), step(2), telemetry(3600, 0.2)])


def test_time_and_energy_come_from_a_run_of_the_same_kind() -> None:
    earlier_run()
    found = estimate(made(training__batch_size=1, hardware__price_per_kwh=0.5), with_changes=False)
    # 1000 pictures at 4 a second; 0.2 kWh in an hour are 200 W.
    assert found.hours == pytest.approx(1000 / 4 / 3600)
    assert found.kwh == pytest.approx(0.2 * found.hours)
    assert found.cost == pytest.approx(0.5 * found.kwh)
    assert found.speed_from and found.co2_grams is None
    dirty = estimate(made(training__batch_size=1, hardware__co2_per_kwh=400), with_changes=False)
    assert dirty.to_json()["co2_grams"] == pytest.approx(400 * 0.2 * (found.hours or 0))


@pytest.mark.parametrize(
    "change",
    [
        {"training__method": "lora"},
        {"data__resolution": 768},
        {"training__batch_size": 4},
        {"training__activation_checkpointing": True},
        {"model__base": "other"},
    ],
)
def test_a_run_of_another_kind_tells_nothing(change: dict[str, Any]) -> None:
    earlier_run(**change)
    assert earlier_speed(made(), runs.list_runs()) is None


def test_a_run_without_steps_or_sensors() -> None:
    new_run(model__family="sd15", training__method="full")
    assert earlier_speed(made(), runs.list_runs()) is None
    write_events(new_run(model__family="sd15", training__method="full"), [step(1)])
    speed = earlier_speed(made(), runs.list_runs())
    assert speed is not None and speed.images_per_second == 4.0 and speed.watts is None
    assert cost(made(), 4 * 3600, speed).hours == 1.0 and cost(made(), 4 * 3600, speed).kwh is None


def test_sizes_of_checkpoints() -> None:
    anatomy = open_anatomy("", "sd15")
    whole = 859_520_964 + 83_653_863 + 123_060_480
    for precision, size in (("fp16", 2), ("fp32", 4)):
        settings = made(output__precision=precision)
        assert checkpoint_bytes(settings, anatomy, trained_parts(settings, anatomy)) == size * whole
    lora = made(training__method="lora")
    trained = trained_parts(lora, anatomy)
    assert checkpoint_bytes(lora, anatomy, trained) == 2 * estimate(lora, with_changes=False).trained


def test_the_cache_of_latents() -> None:
    anatomy = open_anatomy("", "sd15")
    one = cache_bytes(made(), anatomy, 1)
    assert 0 <= one - 2 * 4 * 64 * 64 < 512, "fp16, and its line in the header"
    assert cache_bytes(made(data__flip=True), anatomy, 100) == 200 * one
    assert cache_bytes(made(), anatomy, None) == 0


def test_disk_grows_with_checkpoints() -> None:
    few = estimate(made(output__save_every_steps=500), with_changes=False)
    many = estimate(made(output__save_every_steps=100), with_changes=False)
    whole = 2 * (859_520_964 + 83_653_863 + 123_060_480)
    assert many.disk_bytes - few.disk_bytes == 8 * whole
    assert outlook(made(output__save_every_steps=100), None, None).checkpoints == 10


def test_removed_checkpoints_take_no_disk() -> None:
    def kept(**values: Any) -> int:
        settings = made(output__save_every_steps=100, **values)
        return kept_checkpoints(settings, outlook(settings, None, None))

    assert kept() == 10
    assert kept(output__keep_last=2, output__keep_best=0) == 2
    assert kept(output__keep_last=2, output__keep_best=1, output__keep_every=500) == 5
    assert kept(output__keep_last=50) == 10


def test_epochs_need_the_pictures() -> None:
    settings = made(training__max_steps=0, training__max_epochs=2)
    assert estimate(settings, with_changes=False).steps is None
    assert estimate(settings, 30, 30, with_changes=False).steps == 60


def test_a_card_fits_or_not() -> None:
    found = estimate(made(training__method="lora"), with_changes=False)
    assert fits_card(found, 24 * GIB) and not fits_card(found, 2 * GIB)


def test_states_in_ram_are_counted_there() -> None:
    plain = estimate(made(), with_changes=False)
    away = estimate(made(hardware__offload_states=True), with_changes=False)
    assert away.ram_bytes - plain.ram_bytes == 8 * 859_520_964
    assert plain.memory.total - away.memory.total > 6 * 859_520_964
