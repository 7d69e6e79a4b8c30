"""Tests of core/quantities.py: numbers as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.quantities import parse_number, show_bytes, show_foretold, show_number, show_rounded, show_seconds, show_share


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        (" 12,000 ", 12000),
        ("1 234 567.5", 1234567.5),
        ("1_000", 1000),
        ("4k", 4000),
        ("4K", 4000),
        ("1.5M", 1.5e6),
        ("2h", 7200),
        ("20 min", 1200),
        ("1d", 86400),
        ("24GiB", 24 * 2**30),
        ("24 gb", 24e9),
        ("10 %", 0.1),
        ("-3", -3),
        (".5", 0.5),
    ],
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert parse_number(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "x", "1x", "--1", "nan", "inf", "1e", "1,5", "0,001", "1,00", "12,0000", ","])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-6, "1e-6"),
        (1200, "1,200"),
        (0.5, "0.5"),
        (2.0, "2"),
        (1.5e-12, "1.5e-12"),
        (-3, "-3"),
        (1e20, "1e20"),
        (4e-4, "4e-4"),
        (0.00025, "2.5e-4"),
        (0.001, "0.001"),
    ],
)
def test_numbers_as_people_read_them(value: float, text: str) -> None:
    assert show_number(value) == text


@given(st.decimals(-(10**6), 10**6, places=6, allow_nan=False).map(float) | st.integers(-(10**14), 10**14))
def test_what_is_shown_can_be_read_again(value: float) -> None:
    assert parse_number(show_number(value)) == pytest.approx(value, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (80, "1 min 20 s"), (7500, "2 h 05 min"), (3 * 86400 + 4 * 3600, "3 d 4 h"), (59.6, "1 min 00 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(10, "10 B"), (2048, "2 KiB"), (512 * 2**20, "512 MiB"), (21.3 * 2**30, "21.3 GiB"), (5 * 2**40, "5120 GiB")],
)
def test_bytes(count: float, text: str) -> None:
    assert show_bytes(count) == text


def test_rounded_numbers_have_no_exponent_without_need() -> None:
    assert [show_rounded(value, 1) for value in (10.4, 0.0091, 184.0, 1.2e-6)] == ["10", "0.009", "200", "1e-6"]
    assert show_rounded(1234.5, 3) == "1,230"


def test_shares() -> None:
    assert [show_share(0.136), show_share(0.631, 1), show_share(0, 1)] == ["14 %", "63.1 %", "0.0 %"]
    assert [show_share(0.5, sign=True), show_share(-0.049, sign=True)] == ["+50 %", "-5 %"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(80, "1 min 20 s"), (569, "9 min 29 s"), (571, "10 min"), (2886, "48 min"), (3590, "1 h 00 min")],
)
def test_what_is_foretold_has_no_needless_seconds(seconds: float, text: str) -> None:
    assert show_foretold(seconds) == text
