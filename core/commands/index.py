"""Look at folders of pictures and report what training will do with them."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from core import presets
from core.data import learning
from core.data.report import Report, make_report
from core.data.scanning import open_index, scan
from core.quantities import show_share
from core.settings import default_settings

#: How many of a kind are named on the screen; --json has more.
_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DIR..., the rules of the buckets, and what is to be found out beyond sizes and captions."""
    data = default_settings().data
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument(
        "--buckets",
        choices=["kohya", "least-crop"],
        default=data.buckets,
        help="how pictures are put into buckets (default: %(default)s)",
    )
    parser.add_argument("--resolution", type=int, default=data.resolution)
    parser.add_argument("--min", type=int, default=data.min_side, help="shortest side of a bucket")
    parser.add_argument("--max", type=int, default=data.max_side, help="longest side of a bucket")
    parser.add_argument("--step", type=int, default=data.bucket_step, help="sides are multiples of this")
    parser.add_argument("--no-upscale", action="store_true", help="keep small pictures at their size")
    parser.add_argument("--batch-size", type=int, default=1, help="pictures in a batch, for the steps of an epoch")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other setting, as in train"
    )
    parser.add_argument("--count-tokens", action="store_true", help="count tokens first, to find captions that are cut")
    parser.add_argument("--near-duplicates", action="store_true", help="read all pictures first, to find those alike")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Scan and print the report."""
    values = {
        "data.folders": options.folders,
        "data.buckets": options.buckets,
        "data.resolution": options.resolution,
        "data.min_side": options.min,
        "data.max_side": options.max,
        "data.bucket_step": options.step,
        "data.upscale": not options.no_upscale,
        "training.batch_size": options.batch_size,
        **presets.parse_changes(options.set),
    }
    settings = presets.build(values, "index")
    with open_index(settings) as index:
        note = scan(settings, index).note
        if note:
            print(note, file=sys.stderr)
        if options.near_duplicates:
            learning.look_closely(index, settings)
        if options.count_tokens:
            learning.count_tokens(index, settings)
        report = make_report(index, settings)
    if options.json:
        print(json.dumps(report.to_json()))
        return 0
    print("\n".join(_lines(report)))
    for broken in report.broken:
        print(f"{broken['path']}: {broken['reason']}", file=sys.stderr)
    return 0


def _lines(report: Report) -> list[str]:
    """The report for people."""
    found = [f"{report.images:,} pictures, {report.captioned:,} with a caption, {len(report.broken):,} broken"]
    found += [f"  {one['width']:>5} x {one['height']:<5} {one['count']:>9,}" for one in report.buckets]
    found += [
        f"{report.plan} buckets: {show_share(report.cropped_share, 2)} cropped on the mean, mean aspect error "
        f"{report.mean_ar_error:.4f}, {report.upscaled:,} enlarged",
        *_named(report.most_cropped, lambda one: f"{show_share(one['share'])} cropped"),
        f"{report.train:,} trained on, {report.validation:,} held out; an epoch: {report.uses_per_epoch:,} uses, "
        f"{report.batches_per_epoch:,} batches ({report.short_batches:,} short), {report.steps_per_epoch:,} steps",
        f"captions: {report.without_caption:,} pictures without, {report.caption_problem_count:,} odd, "
        f"{report.truncated:,} longer than {report.token_limit} tokens ({report.tokens})",
        *_named(report.longest, lambda one: f"{one['tokens']} tokens"),
        f"duplicates: {report.duplicates:,} exact, {report.near_duplicates:,} near "
        + (f"({report.unseen:,} pictures not looked at yet: --near-duplicates)" if report.unseen else ""),
    ]
    for one in report.folders:
        where = one["path"] or "all other folders"
        found.append(f"  {where}: {one['pictures']:,} pictures, {one['train']:,} trained on, {one['uses']:,} uses")
    dropped = [f"{one['count']:,} {one['what']}" for one in report.dropped]
    return [*found, f"dropped: {'; '.join(dropped) or 'nothing'}"]


def _named(entries: list[dict[str, Any]], words: Any) -> list[str]:
    return [f"  {one['path']}: {words(one)}" for one in entries[:_SHOWN]]
