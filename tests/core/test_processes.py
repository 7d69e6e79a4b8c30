"""Tests of core/processes.py: a process is known by its number and its birth."""

from __future__ import annotations

from core.processes import lives, named_lives, own_facts, own_name


def test_who_lives() -> None:
    own = own_name()
    assert named_lives(own) and not named_lives("999999999-5") and not named_lives("1x-2")
    assert not named_lives(own.partition("-")[0] + "-5"), "the number of a dead process, given again"
    facts = own_facts()
    assert lives(**facts) and not lives(facts["pid"], facts["created"] + 1.5)
