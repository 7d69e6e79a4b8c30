"""Tests of core/power/limits.py: limits read, set, and every way in which a card or a driver refuses."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import UserError
from core.power import limits
from core.power.limits import Limiter, card_of, cards
from core.telemetry import Nvml
from tests.fixtures.fake_cards import FakeCards


def test_cards_say_their_limits() -> None:
    fake = FakeCards(2, limit=280_000)
    fake.persistent = 0
    first, second = cards(fake.nvml())
    assert (first.index, second.index, second.uuid) == (0, 1, "GPU-1-fake")
    assert (second.limit_watts, second.default_watts, second.least_watts, second.most_watts) == (280, 350, 100, 400)
    assert second.has_limit and not second.persistent and second.watts == 275


def test_a_limit_is_set_and_read_back() -> None:
    fake = FakeCards(2)
    nvml = fake.nvml()
    assert Limiter(nvml).set(card_of(nvml, 1), 250.0) == 250.0
    assert fake.history == [(1, 250.0)] and fake.limits == [350_000, 250_000]


@pytest.mark.parametrize("watts", [99.0, 401.0, float("nan")])
def test_what_the_card_cannot_have_is_never_tried(watts: float) -> None:
    fake = FakeCards()
    nvml = fake.nvml()
    with pytest.raises(UserError, match="limited to 100 up to 400 W"):
        Limiter(nvml).set(card_of(nvml, 0), watts)
    assert fake.history == []


@pytest.mark.parametrize(
    ("system", "refuse", "says"),
    [
        ("posix", 4, "only root may set its power limit. In a terminal: sudo nvidia-smi -i 0 -pl 250 "),
        ("nt", 4, "only an administrator may set its power limit.*'Run as administrator': nvidia-smi -i 0 -pl 250"),
        ("posix", 3, "has no power limit that a program could set"),
        ("posix", 2, "does not take a limit of 250 W"),
        ("posix", 15, r"could not be set to 250 W \(Unknown Error\)"),
    ],
)
def test_why_a_driver_refuses(system: str, refuse: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCards(refuse=refuse)
    nvml = fake.nvml()
    card = card_of(nvml, 0)
    monkeypatch.setattr(limits, "os", SimpleNamespace(name=system))
    with pytest.raises(UserError, match=says):
        Limiter(nvml).set(card, 250.0)
    assert fake.limits == [350_000]


def test_a_firmware_that_ignores_a_limit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCards()
    monkeypatch.setattr(fake, "nvmlDeviceSetPowerManagementLimit", lambda handle, milliwatts: None)
    nvml = fake.nvml()
    with pytest.raises(UserError, match="has 350 W: its maker's firmware decides it"):
        Limiter(nvml).set(card_of(nvml, 0), 250.0)


def test_cards_without_a_limit_and_machines_without_cards() -> None:
    fake = FakeCards()
    fake.nvmlDeviceGetPowerManagementLimitConstraints = lambda handle: 1 / 0  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"GPU 0 .* has no power limit"):
        card_of(fake.nvml(), 0)
    with pytest.raises(UserError, match="There is no GPU 2 here; there are 0, 1"):
        card_of(FakeCards(2).nvml(), 2)
    with pytest.raises(UserError, match=r"no power limit to set: no NVIDIA GPU can be read here \(.*nvmlInit"):
        card_of(Nvml(SimpleNamespace()), 0)


@pytest.mark.skipif(os.name == "nt", reason="there is no sudo on Windows")
@pytest.mark.parametrize("status", [0, 1])
def test_sudo_is_asked_where_it_is_wished_for(status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sudo"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho not today\nexit {status}\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    fake = FakeCards(limit=250_000)
    nvml = fake.nvml()
    if status:
        with pytest.raises(UserError, match="'sudo nvidia-smi -i 0 -pl 250': not today"):
            Limiter(nvml, sudo=True).set(card_of(nvml, 0), 250.0)
    else:
        assert Limiter(nvml, sudo=True).set(card_of(nvml, 0), 250.0) == 250.0
    assert (tmp_path / "asked").read_text(encoding="utf-8") == "nvidia-smi -i 0 -pl 250\n" and fake.history == []
