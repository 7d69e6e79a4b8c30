"""Numbers as people write them (1e-6, 4k, 2h, 24GiB) and as people read them."""

from __future__ import annotations

import re

_FACTORS = {
    "": 1.0,
    "k": 1e3,
    "m": 1e6,
    "g": 1e9,
    "%": 0.01,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "b": 1.0,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
    "kib": 2.0**10,
    "mib": 2.0**20,
    "gib": 2.0**30,
    "tib": 2.0**40,
}
#: Whole groups of three digits may be set apart; "0,5" is none, so that a decimal comma is never read as thousands.
_GROUPED = r"[1-9]\d{0,2}(?:[_,\u202f\u00a0 ]\d{3})+"
_NUMBER = re.compile(rf"^\s*([-+]?(?:{_GROUPED}|\d*)(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*([a-zA-Z%]*)\s*$")


def parse_number(text: str) -> float:
    """Read a number with an optional suffix: "1e-6", "12,000", "4k", "2h" (seconds), "24GiB" (bytes), "10 %".

    Raises ValueError with a sentence for people.
    """
    match = _NUMBER.match(text)
    suffix = match.group(2).lower() if match else ""
    if match is None or not match.group(1) or suffix not in _FACTORS:
        raise ValueError(f"'{text.strip()}' is not a number; write it like 1500, 1e-6, 4k, 2h or 24GiB")
    digits = re.sub(r"[_,\u202f\u00a0 ]", "", match.group(1))
    try:
        return float(digits) * _FACTORS[suffix]
    except ValueError:
        raise ValueError(f"'{text.strip()}' is not a number") from None


def show_number(value: float) -> str:
    """Short, and exact to 12 digits: 1e-06 as 1e-6, 0.0004 as 4e-4, 1200 as 1,200, 0.5 as 0.5."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return type_number(value)


def type_number(value: float) -> str:
    """The same as it is typed, without separators: 1200, so that commas can stand between numbers.

    Numbers below a thousandth are written as people write rates: 2.5e-4.
    """
    text = f"{value:.11e}" if 0 < abs(value) < 1e-3 else f"{value:.12g}"
    mantissa, e, exponent = text.partition("e")
    return f"{float(mantissa):.12g}e{int(exponent)}" if e else text


def show_rounded(value: float, digits: int) -> str:
    """A number rounded to so many significant digits: 10, not 1e+01; small ones as 3.1623e-4."""
    return show_number(float(f"{value:.{digits}g}"))


def show_share(share: float, digits: int = 0, sign: bool = False) -> str:
    """A share from 0 to 1 in percent: "14 %", with `digits` behind the point; `sign` writes + before gains."""
    return f"{100 * share:{'+' if sign else ''}.{digits}f} %"


def show_seconds(seconds: float) -> str:
    """A duration in the two largest units: "3 d 4 h", "2 h 05 min", "1 min 20 s", "4 s"."""
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    if minutes:
        return f"{minutes} min {left:02d} s"
    return f"{left} s"


def show_foretold(seconds: float) -> str:
    """A duration that is still to come, without seconds that nobody can know: "48 min", but "1 min 20 s"."""
    minutes = round(seconds / 60)
    if minutes < 10:
        return show_seconds(seconds)
    return f"{minutes} min" if minutes < 60 else show_seconds(60 * minutes)


def show_bytes(count: float) -> str:
    """Bytes with a binary unit: "512 MiB", "21.3 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")
