"""Tests of core/rest_share.py: trainings side by side share the power of the machine's rest."""

from __future__ import annotations

from pathlib import Path

from core.rest_share import RestShare, at_work_folder
from tests.fixtures.processes import child

_OTHER = """
import sys
from core.rest_share import RestShare
share = RestShare()
print(share.value(), flush=True)
sys.stdin.readline()
print(share.value(), flush=True)
share.close()
"""


def test_side_by_side_each_bears_its_part() -> None:
    own = RestShare()
    assert own.value() == 1.0
    others = [child(_OTHER), child(_OTHER)]
    said = [other.stdout.readline().strip() for other in others if other.stdout]
    assert set(said) <= {str(1 / 2), str(1 / 3)} and own.value() == 1 / 3
    others[0].kill()  # without a word
    others[0].communicate()
    assert own.value() == 1 / 2
    out, _ = others[1].communicate("\n")
    assert out.strip() == "0.5" and own.value() == 1.0
    own.close()
    assert list(at_work_folder().iterdir()) == []


def test_a_folder_that_cannot_be_made_leaves_all_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    share = RestShare(tmp_path / "file" / "folder")
    assert share.value() == 1.0
    share.close()
