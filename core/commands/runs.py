"""List and show runs, import those of other trainers from TensorBoard's files, export ours."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core import runs as runs_module
from core.advisor import Verdict, judge_run
from core.energy import Amount, amount_words, spent, taken_words
from core.quantities import show_share
from core.run_data import read_run
from core.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list | show RUN | import DIR | export RUN --tensorboard DIR."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="list|show|import|export")
    listing = commands.add_parser("list", help="all runs, the newest first")
    show = commands.add_parser("show", help="one run in numbers, and what they mean")
    show.add_argument("run", help="its folder, name or id")
    bring = commands.add_parser("import", help="runs of other trainers, from their TensorBoard files")
    bring.add_argument("folder", type=Path, help="a folder that holds event files, at any depth; each becomes a run")
    export = commands.add_parser("export", help="a run as a TensorBoard file")
    export.add_argument("run", help="its folder, name or id")
    export.add_argument("--tensorboard", type=Path, metavar="DIR", required=True, help="where the event file goes")
    for command in (listing, show, bring, export):
        command.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Do what was asked for."""
    if options.action == "list":
        return _list(options.json)
    if options.action == "import":
        return _import(options.folder, options.json)
    if options.action == "export":
        return _export(options.run, options.tensorboard, options.json)
    found = show(runs_module.find(options.run))
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{found['name']}: {found['state']} at step {found['step']:,}, {len(found['checkpoints'])} checkpoints")
    energy = found["energy"]
    used = taken_words(energy["kwh"], energy["cost"], energy["co2_grams"], energy["currency"])
    print(f"energy {'not measured' if energy['source'] == 'none' else used}")
    for name, words in (("per_1000_images", "for 1,000 images"), ("projected", "at its end")):
        if energy[name] is not None and (name != "projected" or energy[name]["kwh"] > energy["kwh"]):
            print(f"    {words}: {amount_words(Amount(**energy[name]), energy['currency'])}")
    measuring = found["measuring"]
    if measuring["share"] is not None:
        share = show_share(measuring["share"], 1)
        print(f"the stable loss took {measuring['seconds']:.1f} s, {share} of the time worked")
    for tag, series in found["series"].items():
        first, last, low = (series[k]["value"] for k in ("first", "last", "min"))
        print(f"{tag:<28} {series['points']:>9,} points   {first:.5g} -> {last:.5g}   min {low:.5g}")
    print("\n" + "\n".join(found["verdict"]["text"]))
    return 0


def _import(folder: Path, as_json: bool) -> int:
    from core.tools.tensorboard_import import import_folder

    made, empty = import_folder(folder)
    for path in empty:
        print(f"{path} holds no scalars and is left out.", file=sys.stderr)
    found = [show(run) for run in made]
    if as_json:
        print(json.dumps({"runs": found}))
        return 0
    for row in found:
        print(f"{row['id']}  {row['name']}, {len(row['series'])} curves to step {row['step']:,}")
        print(f"    {row['verdict']['text'][0]}")
    return 0


def _export(name: str, folder: Path, as_json: bool) -> int:
    from core.tools.tfevents_writer import export

    path = export(runs_module.find(name), folder.expanduser().absolute())
    print(json.dumps({"tensorboard": str(path)}) if as_json else f"Written: {path}")
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
    saved_models = run.checkpoints()
    return {
        "id": facts["id"],
        "name": facts["name"],
        "path": str(run.path),
        "state": state,
        "step": step,
        "checkpoints": [{"step": saved.step, "path": str(saved.path)} for saved in saved_models],
        "energy": _finite(asdict(spent(data))),
        "measuring": _finite({"seconds": data.measuring_seconds, "share": data.measuring_share}),
        "series": data.summary(),
        "verdict": _plain(judge_run(data, [saved.step for saved in saved_models])),
    }


def _plain(verdict: Verdict) -> dict[str, Any]:
    """The verdict's numbers and its text, as JSON can hold them."""
    return {**_finite(asdict(verdict)), "text": verdict.sentences()}


def _finite(value: Any) -> Any:
    """The same with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
