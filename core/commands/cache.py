"""Encode the pictures of a preset (cache PRESET.toml), or check a cache and drop what is damaged (cache verify DIR)."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from core import presets, runs
from core.commands.train import preset_path
from core.errors import UserError
from core.paths import cache_folder, resolve
from core.terminal import run_worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """PRESET.toml | verify DIR."""
    parser.add_argument("what", help="a preset, or the word 'verify'")
    parser.add_argument("folder", nargs="?", help="with verify: the cache folder (default: this user's)")
    parser.add_argument("--set", action="append", default=[], metavar="group.field=value", help="change a setting")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Fill or verify a cache."""
    if options.what == "verify":
        return _verify(resolve(options.folder) if options.folder else cache_folder(), options.json)
    if options.folder:
        raise UserError(f"'{options.folder}' is one argument too many; write: cache PRESET.toml, or cache verify DIR.")
    settings = presets.load(preset_path(options.what), options.set)
    with tempfile.TemporaryDirectory(prefix="burnish-cache-") as folder:
        job = runs.create(settings, Path(folder) / "job", kind="cache")
        code, data = run_worker("cache", job, quiet=options.json)
    if options.json:
        print(json.dumps({"state": data.ended.state if data.ended else "failed"}))
    return code


def _verify(folder: Path, as_json: bool) -> int:
    from core.engine.shards import verify

    found = verify(folder)
    if as_json:
        print(json.dumps({"sound": found.sound, "damaged": found.damaged, "unreadable": found.unreadable}))
    else:
        print(f"{found.sound:,} entries are sound, {found.damaged:,} were damaged and dropped.")
        for path in found.unreadable:
            print(f"{path} could not be read at all and was put aside.")
    return 0
