"""Processes known by number and birth: a number alone is given again, to a process that has nothing to do with us."""

from __future__ import annotations

from typing import Any

import psutil

#: Seconds by which two readings of the same birth may differ.
_SAME_BIRTH = 1.0


def own_facts() -> dict[str, Any]:
    """This process's "pid" and "created" (seconds since 1970), as they are written into files."""
    own = psutil.Process()
    return {"pid": own.pid, "created": own.create_time()}


def lives(pid: int, created: float) -> bool:
    """Whether the process of that number and birth is still at work; one that only waits to be reaped is not."""
    try:
        process = psutil.Process(pid)
        same: bool = abs(process.create_time() - created) < _SAME_BIRTH
        return same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def own_name() -> str:
    """This process's number and birth in one word, for a file's name or a variable of the environment."""
    facts = own_facts()
    return f"{facts['pid']}-{facts['created']:.2f}"


def named_lives(name: str) -> bool:
    """lives() for a word of own_name(); false for any other word."""
    number, _, birth = name.partition("-")
    try:
        return number.isdigit() and lives(int(number), float(birth))
    except ValueError:
        return False
