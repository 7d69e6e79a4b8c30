"""Find words for pictures with a tagger or captioning model: caption MODEL FOLDER... (or --resume DIR)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from core import caption_job, presets, runs
from core.errors import UserError
from core.run_data import RunData
from core.runs import Run
from core.terminal import run_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL FOLDER... [--preview N] [--config FILE] [--set key=value]... [--out DIR] | --resume DIR."""
    parser.add_argument("model", nargs="?", help="folder of a tagger or of a captioning model")
    parser.add_argument("folders", nargs="*", help="folders of pictures")
    parser.add_argument("--preview", type=int, metavar="N", help="show the words of N pictures, write nothing")
    parser.add_argument("--config", type=Path, metavar="FILE", help="captioning settings as TOML")
    parser.add_argument("--set", action="append", default=[], metavar="group.field=value", help="change a setting")
    parser.add_argument("--out", type=Path, metavar="DIR", help="make DIR the job's folder")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with a job that was stopped or killed")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Caption; prints {"job", "state", "written", "kept", "broken", "pictures"} with --json."""
    job = _resumed(options) if options.resume else _new(options)
    code, data = run_worker("caption", job, quiet=options.json)
    print(json.dumps(_facts(job, data)) if options.json else _words(job, data))
    return code


def _resumed(options: argparse.Namespace) -> Run:
    if options.model or options.set or options.config or options.preview is not None:
        raise UserError("--resume goes on with a job as it was begun; give it nothing but the job's folder.")
    job = runs.open_run(options.resume)
    if job.facts()["kind"] != "caption":
        raise UserError(f"{job.path} is no captioning job.")
    return job


def _new(options: argparse.Namespace) -> Run:
    model = caption_job.caption_model()
    values: dict[str, Any] = {}
    if options.config:
        values = dict(presets.read(options.config, model).values)
    if options.model:
        values.update({"caption.model": options.model, **caption_job.default_values(options.model)})
    if options.folders:
        values["pictures.folders"] = options.folders
    if options.preview is not None:
        values["pictures.preview"] = options.preview
    values.update(presets.parse_changes(options.set, model))
    settings = presets.build(values, str(options.config or "caption"), model)
    chosen = caption_job.Chosen(settings.pictures.folders, settings.pictures.index)
    return caption_job.create(settings, chosen, options.out)


def _facts(job: Run, data: RunData) -> dict[str, Any]:
    totals = data.caption_totals
    counts = {name: getattr(totals, name) if totals else 0 for name in ("written", "kept", "broken")}
    shown = [
        {"path": one.path, "kind": one.kind, "action": one.action, "words": one.words, "before": one.before}
        for one in data.captioned
    ]
    state = data.ended.state if data.ended else "failed"
    return {"job": str(job.path), "state": state, **counts, "pictures": shown}


def _words(job: Run, data: RunData) -> str:
    totals = data.caption_totals
    if totals is None:
        return f"The job is in {job.path}."
    if totals.preview:
        lines = [f"{Path(one.path).name} ({one.action}): {one.words}" for one in data.captioned]
        return "\n".join([*lines, "Nothing was written."])
    text = f"{totals.written:,} captioned, {totals.kept:,} left as they were, {totals.broken:,} could not be."
    ended = data.ended is None or data.ended.state == "finished"
    return text if ended else f"{text} Go on with: python3 main.py caption --resume {job.path}"
