"""What outlives a measurement: its results, and a note of the former limits while they are changed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from core import atomic, paths
from core.power.plan import Measured
from core.processes import lives, own_facts

_FORMAT = 1
#: Results kept, the latest.
_MOST = 50


@dataclass(frozen=True)
class Result:
    """Limits that were measured with one job on one card.

    Attributes:
        uuid: The card's.
        job: What was trained, for people; `key` is equal for jobs that may be compared.
        rest_watts: Power of the rest of the machine, as the settings had it.
    """

    uuid: str
    name: str
    job: str
    key: str
    rest_watts: float = 0.0
    default_watts: float = -1.0
    time: float = 0.0
    rows: list[Measured] = field(default_factory=list)


def results_path() -> Path:
    """Where results are kept."""
    return paths.home_folder() / "power.json"


def note_path() -> Path:
    """Where the former limits stand as long as a measurement has changed them."""
    return paths.home_folder() / "power-restore.json"


def stop_path() -> Path:
    """A file that asks a measurement to stop; a window has no ctrl-C, and Windows no signal that can be heard."""
    return paths.home_folder() / "power-stop"


def log_path() -> Path:
    """What a measurement prints that a window has started."""
    return paths.home_folder() / "power.log"


def results() -> list[Result]:
    """All results, the latest first; a file that cannot be read holds none."""
    found = []
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        document = json.loads(results_path().read_text(encoding="utf-8"))
        for row in document["results"] if document["format"] == _FORMAT else []:
            found.append(Result(**{**row, "rows": [Measured(**measured) for measured in row["rows"]]}))
    return sorted(found, key=lambda result: -result.time)


def latest(uuid: str) -> Result | None:
    """The latest result of a card."""
    return next((result for result in results() if result.uuid == uuid), None)


def keep(result: Result) -> Result:
    """Add a result; limits measured earlier with the same job on the same card stay in it. Raises OSError."""
    known = results()
    former = next((one for one in known if (one.uuid, one.key) == (result.uuid, result.key)), None)
    rows = {row.limit_watts: row for row in former.rows} if former else {}
    rows |= {row.limit_watts: row for row in result.rows}
    merged = replace(result, time=time.time(), rows=[rows[limit] for limit in sorted(rows)])
    others = [one for one in known if one is not former][: _MOST - 1]
    document = {"format": _FORMAT, "results": [asdict(one) for one in (merged, *others)]}
    atomic.write_text(results_path(), json.dumps(document, indent=1))
    return merged


# -- the note of the former limits ---------------------------------------------------------------------------------


def write_note(limits: Mapping[str, float]) -> None:
    """Note the limits (watts by UUID) that are to hold again when this process is done. Raises OSError."""
    facts = {"format": _FORMAT, **own_facts(), "limits": dict(limits)}
    atomic.write_text(note_path(), json.dumps(facts, indent=1))


def remove_note() -> None:
    """The former limits hold again."""
    with contextlib.suppress(OSError):
        note_path().unlink(missing_ok=True)


def measuring_pid() -> int | None:
    """The process that measures now, None for none."""
    facts = _note()
    pid = facts.get("pid")
    if not isinstance(pid, int) or pid == os.getpid():
        return None
    return pid if lives(pid, float(facts.get("created", 0.0))) else None


def left_over() -> dict[str, float]:
    """Limits (watts by UUID) that a measurement would have set back, had it not been killed; {} mostly."""
    facts = _note()
    if not facts or measuring_pid() is not None or facts.get("pid") == os.getpid():
        return {}
    return {str(uuid): float(watts) for uuid, watts in facts.get("limits", {}).items()}


def _note() -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        facts = json.loads(note_path().read_text(encoding="utf-8"))
        if isinstance(facts, dict) and facts.get("format") == _FORMAT and isinstance(facts.get("limits"), dict):
            return facts
    return {}
