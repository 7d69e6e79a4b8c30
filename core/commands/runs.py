"""List and show runs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from core import runs as runs_module
from core.run_data import read_run
from core.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list | show RUN."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="list|show")
    listing = commands.add_parser("list", help="all runs, the newest first")
    show = commands.add_parser("show", help="one run in numbers")
    show.add_argument("run", help="its folder, name or id")
    for command in (listing, show):
        command.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Print what was asked for."""
    if options.action == "list":
        return _list(options.json)
    found = show(runs_module.find(options.run))
    if options.json:
        print(json.dumps(found))
        return 0
    energy = found["energy"]
    print(f"{found['name']}: {found['state']} at step {found['step']:,}, {len(found['checkpoints'])} checkpoints")
    print(f"energy {energy['kwh']:.4f} kWh, {energy['cost']:.2f} {energy['currency']}")
    for tag, series in found["series"].items():
        first, last, low = (series[k]["value"] for k in ("first", "last", "min"))
        print(f"{tag:<28} {series['points']:>9,} points   {first:.5g} -> {last:.5g}   min {low:.5g}")
    return 0


def _list(as_json: bool) -> int:
    rows = []
    for found in runs_module.list_runs():
        facts = found.facts()
        state, step = found.state()
        rows.append({"id": facts["id"], "name": facts["name"], "path": str(found.path), "state": state, "step": step})
    if as_json:
        print(json.dumps({"runs": rows}))
    elif not rows:
        print("There are no runs yet. 'python3 main.py demo' makes one.")
    else:
        for row in rows:
            print(f"{row['id']}  {row['state']:<12} step {row['step']:>9,}  {row['name']}  {row['path']}")
    return 0


def show(run: Run) -> dict[str, Any]:
    """A run in numbers, as `runs show --json` prints it."""
    facts = run.facts()
    state, step = run.state()
    data = read_run(run.events_path)
    last = data.telemetry
    return {
        "id": facts["id"],
        "name": facts["name"],
        "path": str(run.path),
        "state": state,
        "step": step,
        "checkpoints": [{"step": saved.step, "path": str(saved.path)} for saved in run.checkpoints()],
        "energy": {
            "kwh": last.kwh if last else 0.0,
            "cost": last.cost if last else 0.0,
            "currency": last.currency if last else "",
            "source": last.energy_source if last else "none",
        },
        "series": data.summary(),
    }
