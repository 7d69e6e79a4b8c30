"""Training from 12.4 million pictures: the first batch of an epoch, a resume far on, and what the processes weigh.

The index is generated (tests/fixtures/huge_index.py) and the latents are one small shard that the catalogue names
millions of times: what is measured is finding, not the disk. Each of the four ranks is a process that makes batches in
eight threads at once; its memory is what it does not share with the others. Needs 6 GB of disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from core import presets
from core.launch import worker_environment
from core.paths import ROOT
from core.settings import Settings
from tests.benchmarks.common import Figure

RANKS, WORKERS = 4, 8
_RESUMED_AT = 700_000


def run() -> dict[str, Figure]:
    """Seconds to the first batch and to batch 700,000, and private memory of four ranks with eight workers each."""
    from tests.fixtures.huge_index import PICTURES, fill

    with tempfile.TemporaryDirectory(dir=os.environ.get("BURNISH_BENCH_FOLDER")) as name:
        folder = Path(name)
        settings = _settings(folder)
        began = time.perf_counter()
        fill(_index_file(settings), PICTURES)
        filled = time.perf_counter() - began
        made = _child(folder, "plan")
        _child(folder, "catalogue")
        first = _child(folder, "first")
        ranks = [_start(folder, "rank", str(rank)) for rank in range(RANKS)]
        told = [_answer(child) for child in ranks]
    private = sum(rank["private_mb"] for rank in told)
    floor = sum(rank["floor_mb"] for rank in told)
    worker = max((rank["private_mb"] - rank["floor_mb"]) / WORKERS for rank in told)
    return {
        "index_filled": Figure(round(filled), "s", "-", True),
        "columns_and_plan_made_once": Figure(round(made["seconds"], 1), "s", "-", True),
        "first_batch": Figure(round(first["first"], 2), "s", "<= 15", first["first"] <= 15),
        "batch_700000_after_it": Figure(round(first["later"] * 1000, 1), "ms", "-", True),
        "private_per_worker": Figure(round(worker), "MB", "<= 250", worker <= 250),
        "private_of_all_ranks": Figure(round(private), "MB", "<= 6000", private <= 6000),
        "of_that_libraries": Figure(round(floor), "MB", "-", True),
    }


def _settings(folder: Path) -> Settings:
    return presets.build(
        {
            "data.folders": ["/pictures/first", "/pictures/second"],
            "data.resolution": 512,
            "training.batch_size": 4,
            "training.max_steps": 1,
            "hardware.processes": RANKS,
            "hardware.cache_folder": str(folder / "cache"),
        },
        "bench",
    )


def _index_file(settings: Settings) -> Path:
    from core.data.index import index_path

    return index_path(settings.data.folders, Path(settings.hardware.cache_folder))


def _start(folder: Path, *job: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.huge", str(folder), *job]
    return subprocess.Popen(command, cwd=ROOT, env=worker_environment(), stdout=subprocess.PIPE, text=True)


def _answer(child: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = child.communicate(timeout=1800)
    if child.returncode:
        raise RuntimeError(f"a part of the benchmark ended with {child.returncode}")
    found: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return found


def _child(folder: Path, job: str) -> dict[str, float]:
    return _answer(_start(folder, job))


# -- in the children ------------------------------------------------------------------------------------------------


def _private() -> float:
    """MB that this process shares with nobody."""
    return float(psutil.Process().memory_full_info().uss) / 1e6


def _plan(folder: Path) -> dict[str, float]:
    from core.data.planning import open_dataset
    from core.data.scanning import open_index

    settings = _settings(folder)
    began = time.perf_counter()
    open_dataset(settings, open_index(settings), folder / "plans")
    return {"seconds": time.perf_counter() - began}


def _catalogue(folder: Path) -> dict[str, float]:
    """A catalogue that names every latent of the plan; all lie in one shard, one for each bucket's shape."""
    import torch

    from core.data.planning import open_dataset
    from core.data.scanning import open_index
    from core.engine import catalogue as catalogues
    from core.engine.latent_store import latent_keys
    from core.engine.shards import write_shard

    settings = _settings(folder)
    plan = open_dataset(settings, open_index(settings), folder / "plans").plan
    store = folder / "latents"
    store.mkdir()
    shapes = {number: torch.randn(4, high // 8, wide // 8).half() for number, (wide, high) in enumerate(plan.buckets)}
    shard = write_shard(store, {(0, number): tensor for number, tensor in shapes.items()})
    places = catalogues.places_in(shard)
    assert places is not None
    rows = np.zeros(len(plan.buckets), dtype=catalogues._ROW)
    for number in range(len(plan.buckets)):
        rows[number] = catalogues._rows_of({(0, number): places[0, number]}, 0)[0]
    keys = latent_keys(plan.content, plan.bucket_sides(), plan.resized, plan.corner)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    stamps = [catalogues._stamp(store, shard.name)]
    catalogues._write(store, stamps, np.ascontiguousarray(keys[order].T), rows[plan.bucket[order]])
    return {"entries": float(len(order))}


def _loader(folder: Path, rank: int):  # type: ignore[no-untyped-def]
    from core.data.planning import open_dataset
    from core.data.scanning import open_index
    from core.engine.caching import lacking
    from core.engine.loader import LatentSpace, Loader
    from core.engine.noise import DrawPlan
    from core.engine.shards import ShardStore

    settings = _settings(folder)
    dataset = open_dataset(settings, open_index(settings), folder / "plans")
    store = ShardStore(folder / "latents")
    if rank == 0:
        assert not len(lacking(dataset, store))
    return Loader(dataset, store, settings, LatentSpace(0.18215, 4, 8), DrawPlan(), (rank, RANKS))


def _first(folder: Path) -> dict[str, float]:
    import torch  # noqa: F401  its import is the worker's start, not the epoch's

    began = time.perf_counter()
    loader = _loader(folder, 0)
    loader.batch(0)
    first = time.perf_counter() - began
    began = time.perf_counter()
    loader.batch(_RESUMED_AT)
    return {"first": first, "later": time.perf_counter() - began}


def _rank(folder: Path, rank: int) -> dict[str, float]:
    """A rank at work: batches from all over the epoch, in as many threads as it has workers."""
    from concurrent.futures import ThreadPoolExecutor

    import core.engine.session  # noqa: F401  what a training process has loaded anyway

    floor = _private()
    loader = _loader(folder, rank)
    numbers = np.random.default_rng(rank).integers(0, loader.order.batches_per_epoch, 400).tolist()
    with ThreadPoolExecutor(WORKERS) as pool:
        for batch in pool.map(loader.batch, numbers):
            assert len(batch.captions) == 4
        return {"private_mb": _private(), "floor_mb": floor}


if __name__ == "__main__":
    _folder, _job = Path(sys.argv[1]), sys.argv[2]
    _jobs = {"plan": _plan, "catalogue": _catalogue, "first": _first}
    print(json.dumps(_rank(_folder, int(sys.argv[3])) if _job == "rank" else _jobs[_job](_folder)))
