"""Take data sets in and out: dataset export | metadata | verify-kohya | index-tar."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core import paths, presets
from core.data.archive_index import write_index
from core.data.archives import is_archive
from core.data.export_folder import ExportResult, export_folder
from core.data.export_metadata import export_metadata
from core.data.export_tar import export_tar
from core.data.index import Index, index_path
from core.data.kohya_verify import verify
from core.data.metadata_captions import MetadataResult, apply_metadata, told
from core.data.subset import Names, Selection, select
from core.errors import UserError
from core.terminal import Bar

#: Paths that are printed before "and so many more".
_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """export | metadata | verify-kohya | index-tar."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    export = commands.add_parser("export", help="copy pictures and captions into a folder or a .tar, all or by tag")
    _add_source(export)
    export.add_argument("-o", "--output", required=True, metavar="DIR|FILE.tar", help="where the copies go")
    export.add_argument("--tag", action="append", default=[], help="only pictures with this tag (again: and this one)")
    export.add_argument("--without", action="append", default=[], metavar="TAG", help="no pictures with this tag")
    export.add_argument("--text", default="", help="only pictures with this in their path or captions")
    export.add_argument("--flat", action="store_true", help="all files in one folder, as kohya's scripts want them")
    metadata = commands.add_parser("metadata", help="write captions, sizes and buckets as kohya's JSON or JSONL")
    _add_source(metadata)
    metadata.add_argument("-o", "--output", required=True, metavar="FILE", help="meta_lat.json, or a .jsonl")
    metadata.add_argument("--keys", choices=["path", "stem"], default="path", help="what names a picture")
    metadata.add_argument(
        "--set", action="append", default=[], metavar="data.field=value", help="resolution and buckets"
    )
    check = commands.add_parser("verify-kohya", help="find damaged .npz caches of kohya's scripts beside pictures")
    check.add_argument("folder", metavar="DIR")
    check.add_argument("--remove", action="store_true", help="delete the damaged ones")
    tar = commands.add_parser("index-tar", help="write the JSON index of tar files")
    tar.add_argument("archives", nargs="+", metavar="FILE.tar")
    for command in (export, metadata, tar):
        command.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    for command in (export, metadata, check, tar):
        command.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of pictures")
    parser.add_argument(
        "--metadata", action="append", default=[], metavar="FILE", help="captions for pictures without caption files"
    )


def run(options: argparse.Namespace) -> int:
    """Do one of the commands."""
    work: dict[str, Callable[[argparse.Namespace], int]] = {
        "export": _export,
        "metadata": _metadata,
        "verify-kohya": _verify,
        "index-tar": _index_tar,
    }
    return work[options.what](options)


@contextmanager
def _bar(options: argparse.Namespace) -> Iterator[Callable[[str, int, int], None]]:
    """Shows (what, done, of how many) on a terminal."""
    bar = Bar(quiet=options.json or not sys.stderr.isatty())
    try:
        yield lambda what, done, total: bar.show(f"{what} {done:,}", done / max(total, 1))
    finally:
        bar.clear()


@contextmanager
def _index(options: argparse.Namespace) -> Iterator[tuple[Index, list[Path], MetadataResult]]:
    """The scanned index of the folders, with the captions of metadata files where some are named."""
    folders = [paths.resolve(folder) for folder in options.folders]
    files = [paths.resolve(file) for file in options.metadata]
    with Index(index_path([str(folder) for folder in folders], paths.cache_folder())) as index:
        found = MetadataResult()
        with _bar(options) as show:
            index.scan(folders, lambda done, total: show("pictures looked at:", done, total))
            if files:
                found = apply_metadata(index, files, lambda done, total: show("entries read:", done, total))
        yield index, folders, found


def _export(options: argparse.Namespace) -> int:
    """Copy out; with --json {"pictures", "captions", "written", "others", "broken", "metadata", "path"}."""
    target = paths.resolve(options.output)
    with _index(options) as (index, folders, found):
        pictures = select(index, Selection(options.tag, options.without, options.text))
        first = next(pictures, None)
        if first is None:
            raise UserError("No picture is like that. Check --tag, --without and --text with 'index DIR'.")
        export = export_tar if is_archive(target.name) else export_folder
        pictures, count = itertools.chain([first], pictures), index.count()
        with _bar(options) as show:
            names, overwrite = Names(folders, options.flat), options.overwrite
            result = export(pictures, names, target, overwrite, lambda done: show("pictures:", done, count))
    if options.json:
        facts = {**asdict(result), "metadata": asdict(found), "path": str(target)}
        facts["broken"] = [{"path": path, "reason": reason} for path, reason in result.broken]
        print(json.dumps(facts))
    else:
        print(f"{result.pictures:,} pictures with {result.captions:,} caption files are in {target}.")
        _print_list([f"{path}: {reason}" for path, reason in result.broken])
        if sentence := told(found):
            print(sentence)
    _require_all(result)
    return 0


def _require_all(result: ExportResult) -> None:
    if result.others:
        raise UserError(
            f"{result.others:,} files were not written, since other files of their names are there, for instance "
            f"{result.examples[0]}. Choose another place, or say --overwrite."
        )


def _metadata(options: argparse.Namespace) -> int:
    """Write metadata; with --json {"entries", "metadata", "path"}."""
    values: dict[str, Any] = {"data.folders": options.folders, **presets.parse_changes(options.set)}
    settings = presets.build(values, "dataset metadata")
    target = paths.resolve(options.output)
    with _index(options) as (index, _, found):
        stems, overwrite = options.keys == "stem", options.overwrite
        with _bar(options) as show:
            entries = export_metadata(
                index, settings, target, stems, overwrite, lambda done, total: show("entries:", done, total)
            )
    if options.json:
        print(json.dumps({"entries": entries, "metadata": asdict(found), "path": str(target)}))
        return 0
    print(f"{entries:,} entries are in {target}.")
    if sentence := told(found):
        print(sentence)
    return 0


def _verify(options: argparse.Namespace) -> int:
    """Verify; with --json {"sound", "damaged": [{"path", "reason"}], "removed"}."""
    with _bar(options) as show:
        found = verify(paths.resolve(options.folder), options.remove, lambda done: show("files read:", done, 0))
    damaged = [{"path": path, "reason": reason} for path, reason in found.damaged]
    if options.json:
        print(json.dumps({"sound": found.sound, "damaged": damaged, "removed": options.remove}))
        return 0
    done = " and were deleted" if options.remove else ""
    print(f"{found.sound:,} cache files are sound, {len(damaged):,} are damaged{done if damaged else ''}.")
    _print_list([f"{path}: {reason}" for path, reason in found.damaged])
    return 0


def _index_tar(options: argparse.Namespace) -> int:
    """Write indexes; with --json {"indexes": [path]}."""
    written = []
    for name in options.archives:
        archive = paths.resolve(name)
        if not archive.is_file() or not is_archive(archive.name):
            raise UserError(f"{archive} is no .tar file.")
        written.append(str(write_index(archive, options.overwrite)))
    print(json.dumps({"indexes": written}) if options.json else "\n".join(written))
    return 0


def _print_list(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        print(line)
    if len(lines) > _SHOWN:
        print(f"... and {len(lines) - _SHOWN:,} more. --json names all of them.")
