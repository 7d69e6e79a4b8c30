"""Look at folders of pictures and report what training will do with them."""

from __future__ import annotations

import argparse
import json
import sys

from core import paths, presets
from core.data.index import Index, index_path
from core.data.report import make_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DIR... and the rules of the buckets."""
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--buckets", choices=["kohya"], default="kohya", help="how pictures are put into buckets")
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--min", type=int, default=256, help="shortest side of a bucket")
    parser.add_argument("--max", type=int, default=1024, help="longest side of a bucket")
    parser.add_argument("--step", type=int, default=64, help="sides are multiples of this")
    parser.add_argument("--no-upscale", action="store_true", help="keep small pictures at their size")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Scan and print the report."""
    values = {
        "data.folders": options.folders,
        "data.resolution": options.resolution,
        "data.min_side": options.min,
        "data.max_side": options.max,
        "data.bucket_step": options.step,
        "data.upscale": not options.no_upscale,
    }
    settings = presets.build(values, "index")
    folders = [paths.resolve(folder) for folder in options.folders]
    with Index(index_path([str(folder) for folder in folders], paths.cache_folder())) as index:
        index.scan(folders)
        report = make_report(list(index.pictures()), index.broken(), settings).to_json()
    if options.json:
        print(json.dumps(report))
        return 0
    print(f"{report['images']:,} pictures, {report['captioned']:,} with a caption, {len(report['broken']):,} broken")
    for bucket in report["buckets"]:
        print(f"  {bucket['width']:>5} x {bucket['height']:<5} {bucket['count']:>8,}")
    print(f"mean aspect error {report['mean_ar_error']:.4f}, steps per epoch {report['steps_per_epoch']:,}")
    for broken in report["broken"]:
        print(f"{broken['path']}: {broken['reason']}", file=sys.stderr)
    return 0
