"""Make a series of runs that differ in chosen settings, as SWEEP.toml says, and compare their minima."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core import paths, presets
from core.energy import taken_words
from core.errors import UserError
from core.launch import worker_environment
from core.quantities import show_bytes, show_foretold
from core.sweep import cost, file, folder, plan, queue, results
from core.sweep.folder import SweepFolder
from core.terminal import Bar

#: What one may ask a queue for about one of its runs, and about itself.
_OF_RUNS = ("skip", "restore", "again")
_OF_QUEUE = {"pause": "pause", "stop": "stop", "continue": "continue"}
_ACTIONS = ("resume", "results", "queue", "list")
_POLL_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SWEEP.toml [--set ...] [--out DIR] [--dry-run] | --resume | --results | --queue FOLDER ... | --list."""
    parser.add_argument("file", nargs="?", help="the sweep's file, or the name of one that ships with Burnish")
    parser.add_argument("--set", action="append", default=[], metavar="group.field=value", help="change all runs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="make DIR the sweep's folder")
    parser.add_argument("--dry-run", action="store_true", help="show the runs and what they take; start nothing")
    parser.add_argument("--detach", action="store_true", help="start, and do not wait")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with a sweep: its folder, name or id")
    parser.add_argument("--results", metavar="FOLDER", help="each run's minimum, so far")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="with --results: write the table as CSV too")
    parser.add_argument("--queue", metavar="FOLDER", help="show the queue; with the following, change it first")
    for name in _OF_RUNS:
        parser.add_argument(f"--{name}", action="append", default=[], metavar="RUN")
    parser.add_argument("--move", nargs=2, metavar=("RUN", "PLACE"), help="put a run at a place of the queue, from 1")
    parser.add_argument("--pause", action="store_true", help="start no further run")
    parser.add_argument("--stop", action="store_true", help="save and end the present runs too; they can go on")
    parser.add_argument("--continue", action="store_true", help="take a pause back")
    parser.add_argument("--list", action="store_true", help="all sweeps, the newest first")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Do what was asked for."""
    chosen = [name for name in _ACTIONS if getattr(options, name)]
    if len(chosen) + bool(options.file) != 1:
        raise UserError("Give one of SWEEP.toml, --resume, --results, --queue (each with a FOLDER) and --list.")
    if options.list:
        return _list(options.json)
    if options.results:
        return _results(folder.find(options.results), options)
    if options.queue:
        return _queue(folder.find(options.queue), options)
    if options.resume:
        return _work(folder.find(options.resume), options)
    return _new(options)


def sweep_path(text: str) -> Path:
    """The file of a sweep given as a path or as the name of one that ships with Burnish."""
    path = paths.resolve(text)
    if path.is_file() or path.suffix == ".toml":
        return path
    if (path / "plan.json").is_file():
        raise UserError(f"{path} is a sweep's folder. Go on with it by --resume, or look at it by --results.")
    shipped = {one.stem: one for one in sorted((paths.RESOURCES / "sweeps").glob("*.toml"))}
    if text in shipped:
        return shipped[text]
    guess = presets.nearest(text, shipped)
    hint = f" Did you mean '{guess}'?" if guess else f" Those that ship: {', '.join(shipped)}."
    raise UserError(f"There is no sweep '{text}'.{hint}")


def _new(options: argparse.Namespace) -> int:
    """Plan, tell what it takes, make the folder and work it off."""
    sweep = file.read(sweep_path(options.file))
    sweep.fixed.update(presets.parse_changes(options.set))
    made = plan.plan(sweep)
    found = cost.sweep_cost(made, pictures=_pictures(made), keep=sweep.options.queue.keep)
    found = cost.side_by_side(found, queue.side_by_side_count(sweep, made))
    if options.dry_run:
        if options.json:
            print(json.dumps({"name": made.name, "runs": [asdict(r) for r in made.runs], "estimate": found.to_json()}))
        else:
            print("\n".join([*(f"{one.id}  {one.name}" for one in made.runs), *cost_lines(found, made.twins)]))
        return 0
    if not options.json:
        print("\n".join(cost_lines(found, made.twins)), file=sys.stderr)
    return _work(folder.create(sweep, made, options.out), options)


def _pictures(made: plan.SweepPlan) -> int | None:
    """How many pictures there are to train on; looked at only where they decide how long the runs are."""
    settings = made.settings(made.runs[0]) if made.runs else None
    if settings is None or settings.training.max_steps:
        return None
    from core.commands.estimate import look_at_pictures

    report = look_at_pictures(settings)
    return report.train if report else None


def cost_lines(found: cost.SweepCost, twins: int = 0) -> list[str]:
    """The estimate for people."""
    said = [f"{found.runs} runs" + (f", {found.steps:,} steps in all" if found.steps else "")]
    if twins:
        said.append(f"{twins} more would have repeated others and are left out")
    if found.wall_hours is None:
        said.append("Time and energy are unknown until a run of this kind was made here")
    else:
        side = f", {found.at_once} at a time" if found.at_once > 1 else ""
        rough = "about " if found.rough else ""
        part = f" (for {found.known} of the runs; the others are unknown)" if found.known < found.runs else ""
        said.append(f"Time     {rough}{show_foretold(3600 * found.wall_hours)}{side}, by '{found.speed_from}'{part}")
        if found.kwh is not None:
            taken = taken_words(found.kwh, found.cost, found.co2_grams, found.currency)
            said.append(f"Energy   {rough}{taken}")
    if found.disk_bytes is not None:
        said.append(f"Disk     up to {show_bytes(found.disk_bytes)}")
    return said


# -- working off ---------------------------------------------------------------------------------------------------


def _work(found: SweepFolder, options: argparse.Namespace) -> int:
    """Start the queue's process unless it is there, and follow it; prints {"sweep", "state", "runs"} with --json."""
    child = None
    if found.process.worker_pid() is None:
        child = start_queue(found)
    elif not options.detach:
        print("The sweep is under way already; following it.", file=sys.stderr)
    if not options.detach:
        _follow(found, child, quiet=options.json)
    failure = "" if options.detach else found.failure()
    if failure:
        print(failure, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(queue_document(found)))
    elif options.detach:
        print(f"Started. The sweep is in {found.path}")
    else:
        print("\n".join(_table(results.results(found))))
        print(f"{found.state().capitalize()}. The sweep is in {found.path}")
    return 0


def start_queue(found: SweepFolder) -> subprocess.Popen[bytes]:
    """Start the process that works a sweep off; it outlives this one."""
    return queue.launch_process("sweep", found.process, worker_environment())


def _follow(found: SweepFolder, child: subprocess.Popen[bytes] | None, quiet: bool) -> None:
    """Show the queue until its process ends; ctrl-C stops it, a second one leaves it to itself."""
    bar, told, asked = Bar(quiet), set[str](), False
    while True:
        try:
            alive = child.poll() is None if child is not None else found.process.worker_pid() is not None
            statuses = found.statuses()
            for status in statuses:
                if status.done and status.run.id not in told:
                    told.add(status.run.id)
                    bar.say(f"{status.run.name}: {status.state}{'. ' + status.text if status.text else ''}")
            running = [f"{one.run.name} (step {one.step:,})" for one in statuses if one.state == "running"]
            words = f"{sum(one.done for one in statuses)}/{len(statuses)} runs"
            bar.show(", ".join([words, *running]), sum(one.done for one in statuses) / max(1, len(statuses)))
            if not alive:
                bar.clear()
                return
            time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            if asked:
                bar.clear()
                return
            asked = True
            bar.say("Stopping: the present runs are saved and can go on. (ctrl-C again leaves them to it.)")
            found.process.send("stop")


# -- looking at it ---------------------------------------------------------------------------------------------------


def queue_document(found: SweepFolder) -> dict[str, Any]:
    """A sweep's queue as JSON."""
    rows = [
        {
            "id": status.run.id,
            "name": status.run.name,
            "path": str(status.path),
            "state": status.state,
            "step": status.step,
            "text": status.text,
        }
        for status in found.statuses()
    ]
    return {"sweep": str(found.path), "name": found.name, "state": found.state(), "runs": rows}


def _queue(found: SweepFolder, options: argparse.Namespace) -> int:
    """Change the queue and show it."""
    for what in _OF_RUNS:
        for run_id in getattr(options, what):
            found.note(what, run_id)
    if options.move:
        run_id, place = options.move
        if not place.isdigit() or int(place) < 1:
            raise UserError(f"--move {run_id} {place}: the place is a whole number from 1.")
        found.note("move", run_id, place=int(place) - 1)
    for name, command in _OF_QUEUE.items():
        if getattr(options, name):
            found.process.send(command)  # type: ignore[arg-type]
    if options.json:
        print(json.dumps(queue_document(found)))
        return 0
    for place, status in enumerate(found.statuses(), 1):
        text = f"  {status.text}" if status.text else ""
        print(f"{place:>3}  {status.run.id}  {status.state}, step {status.step:,}{text}")
    return 0


def _results(found: SweepFolder, options: argparse.Namespace) -> int:
    rows = results.results(found)
    if options.csv:
        results.save_csv(options.csv.expanduser().absolute(), rows)
    if options.json:
        print(json.dumps(results.to_json(found)))
        return 0
    print("\n".join(_table(rows)))
    return 0


def _table(rows: list[results.Result]) -> list[str]:
    """The minima for people, and which is lowest."""
    head = ("run", "minimum", "±", "step", "images", "rate", "kWh", "cost", "")
    table = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    said = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    first = results.best(rows)
    if first:
        others = f"; not to be told from it: {', '.join(row.name for row in first[1:])}" if first[1:] else ""
        said.append(f"Lowest: {first[0].name}{others}")
    return said


def _cells(row: results.Result) -> tuple[str, ...]:
    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    what = row.verdict or row.state
    if row.state in ("ended early", "failed", "skipped", "running", "waiting") and row.verdict:
        what = f"{row.verdict}, {row.state}"
    return (
        row.name,
        shown(row.loss, ".5f"),
        shown(row.loss_error, ".5f"),
        shown(row.step, ",.0f"),
        shown(row.images, ",.0f"),
        "-" if row.rate is None else plan.show_value(row.rate),
        shown(row.kwh, ".3f"),
        shown(row.cost, ".2f"),
        what,
    )


def _list(as_json: bool) -> int:
    found = folder.list_sweeps()
    if as_json:
        print(json.dumps({"sweeps": [queue_document(one) for one in found]}))
    elif not found:
        print("There are no sweeps yet. 'python3 main.py sweep SWEEP.toml' makes one.")
    for one in [] if as_json else found:
        counts = Counter(status.state for status in one.statuses())
        print(f"{one.name}: {one.state()}; {', '.join(f'{count} {state}' for state, count in counts.items())}")
        print(f"    {one.path}")
    return 0
