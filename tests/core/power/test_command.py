"""Tests of `main.py power`: showing, setting and finding limits; one measurement runs a real training here."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from core import cli, demo, presets
from core.commands import power
from core.errors import UserError
from core.power import kept
from core.power.job import key_of
from core.power.kept import Result
from core.power.plan import Measured
from tests.fixtures.fake_cards import FakeCards

Capture = pytest.CaptureFixture[str]


def command(fake: FakeCards, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    power.add_arguments(parser)
    return power.run(parser.parse_args(list(arguments)), fake.nvml())


def result(**values: Any) -> Result:
    rows = [Measured(200, 2.0, 180), Measured(350, 2.2, 320)]
    known = {"uuid": "GPU-0-fake", "name": "Card", "job": "foxes", "key": "k", "rest_watts": 20.0}
    return kept.keep(Result(**{**known, "rows": rows, **values}))


def test_limits_are_listed_with_what_was_measured(capsys: Capture) -> None:
    result()
    assert command(FakeCards(2, limit=280_000)) == 0
    said = capsys.readouterr().out
    assert "GPU 0  NVIDIA GeForce RTX 3090: 280 W of 350 W by default, 100 to 400 W possible\n" in said
    assert "'foxes', with 20 W for the rest of the machine" in said and "GPU 1  " in said
    assert "200 W        2.00      180 W            36,000" in said
    assert "Most images for a kWh: 200 W, +55 % images per kWh at 91 % of the speed of 350 W." in said
    assert command(FakeCards(2, limit=280_000), "--list", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["gpus"]
    assert (first["limit_watts"], second["measured"]) == (280, None)
    assert first["measured"]["choice"] == {"best": 200, "best_for_card": 200, "nearly_free": 350}
    assert first["measured"]["rows"][0]["images_per_kwh"] == pytest.approx(36_000)
    assert first["measured"]["rows"][0]["images_per_kwh_card"] == pytest.approx(40_000)


def test_a_limit_is_set_and_the_default_given_back(capsys: Capture) -> None:
    fake = FakeCards(2)
    assert command(fake, "--gpu", "1", "--limit", "250", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"gpu": 1, "former_watts": 350, "limit_watts": 250}
    assert fake.limits == [350_000, 250_000]
    fake.persistent = 0
    assert command(fake, "--gpu", "1", "--reset") == 0
    said = capsys.readouterr()
    assert "350 W (before: 250 W)" in said.out and "sudo nvidia-smi -i 1 -pm 1" in said.err
    assert fake.history == [(1, 250.0), (1, 350.0)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--limit", "50"), "limited to 100 up to 400 W, not to 50 W"),
        (("--limit", "much"), "--limit: .*much"),
        (("--limit", "250", "--gpu", "7"), "There is no GPU 7 here"),
        (("--limit", "250", "--reset"), "--limit and --reset do not go together"),
        (("--find", "--seconds", "0"), "--seconds"),
        (("--find", "--limits", "10"), "limited to 100"),
        (("--find", "--preset", "a", "--run", "b"), "either --preset or --run"),
        (("--find", "-s", "hardware.device=cpu"), "does not feel the power limit"),
        (("--find", "--preset", "nothing"), "There is no preset 'nothing'"),
    ],
)
def test_mistakes_change_nothing(arguments: tuple[str, ...], says: str) -> None:
    fake = FakeCards()
    with pytest.raises(UserError, match=says):
        command(fake, *arguments)
    assert fake.history == []


def test_nothing_is_set_while_a_measurement_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "measuring_pid", lambda: 5)
    with pytest.raises(UserError, match="wait until it is done"):
        command(FakeCards(), "--limit", "250")


def test_what_a_killed_measurement_left_is_set_back_at_the_next_start(capsys: Capture) -> None:
    note = {"format": 1, "pid": 999_999_999, "created": 0.0, "limits": {"GPU-0-fake": 300.0}}
    kept.note_path().write_text(json.dumps(note), encoding="utf-8")
    forbidden = FakeCards(limit=150_000, refuse=4)
    assert command(forbidden) == 0
    assert "left a limit behind. GPU 0" in capsys.readouterr().err and kept.left_over() == {"GPU-0-fake": 300.0}
    fake = FakeCards(limit=150_000)
    assert command(fake) == 0
    assert "its former limit of 300 W holds again" in capsys.readouterr().err
    assert fake.limits == [300_000] and kept.left_over() == {}


def test_without_a_gpu(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.commands.power.Nvml", lambda: FakeCards(0).nvml())
    assert cli.run(["power", "--json"], {}) == 0
    assert json.loads(capsys.readouterr().out) == {"gpus": [], "why_not": ""}
    assert cli.run(["power", "--find"], {}) == 2
    assert "There is no power limit to set: there is no NVIDIA GPU." in capsys.readouterr().err


def test_an_estimate_tells_what_was_measured_with_such_a_training(capsys: Capture) -> None:
    result(key=key_of(presets.load(demo.PRESET, [])))
    result(name="Other", key="another training")
    assert cli.run(["estimate", "starter", "--json"], {}) == 0
    (row,) = json.loads(capsys.readouterr().out)["power_limits"]
    assert (row["gpu"], row["best"], row["nearly_free"]) == ("Card", 200, 350) and "+55 %" in row["text"]


def test_a_real_training_under_two_limits(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.power.find._LEAST_STEPS", 2)
    monkeypatch.setattr("core.power.find._WARM_STEPS", 1)
    fake = FakeCards(limit=280_000)
    small = ("training.batch_size=1", "data.resolution=64", "data.pictures=8", "hardware.rest_watts=50")
    changes = [part for change in small for part in ("-s", change)]
    assert command(fake, "--find", "--limits", "150,250", "--seconds", "1", *changes, "--json") == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert "Warning: it works on the processor" in said.err, "as this machine's torch does"
    assert [limit for _, limit in fake.history] == [280, 150, 250, 280]
    assert [row["watts"] for row in found["rows"]] == pytest.approx([145, 245], abs=1)
    for row in found["rows"]:
        speed = row["images_per_second"]
        assert speed > 0 and row["images_per_kwh"] == pytest.approx(speed * 3.6e6 / (row["watts"] + 50))
    assert found["job"] == "starter" and found["choice"]["best"] in (150, 250)
    assert not (tmp_path / "runs").exists() and kept.latest("GPU-0-fake") is not None
