"""A whole model from its single file into memory and back into a file: byte-equal, how long, how much memory.

Full-size models with random fp16 weights, with what real files hold besides (position ids, logit scale). The time is
what the load and the save take beyond a plain copy of the file on the same disk, measured beside it; the peak is that
of a process of its own (resident set, mapped pages and all) above what it has with its libraries loaded. Needs 21 GB of
disk.
"""

from __future__ import annotations

import filecmp
import json
import os
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.launch import worker_environment
from tests.benchmarks.common import Figure, apart

FAMILIES = ("sd15", "sdxl")


def run() -> dict[str, Figure]:
    """Differing tensors, seconds beyond the disk's own time, and peak memory as a share of the file."""
    figures = {}
    for family in FAMILIES:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BURNISH_BENCH_FOLDER")) as folder:
            row = _child("trip", family, folder)
            source, copy = Path(folder) / "model.safetensors", Path(folder) / "again.safetensors"
            differing = 0 if _data_is_equal(source, copy) else 1
            size = source.stat().st_size
        beyond, share = row["seconds"] - row["disk_seconds"], (row["peak_bytes"] - row["floor_bytes"]) / size
        figures[f"{family}_differs"] = Figure(differing, "files", "0", differing == 0)
        figures[f"{family}_seconds"] = Figure(beyond, "s", "<= 30", beyond <= 30)
        figures[f"{family}_peak"] = Figure(share, "x the file", "< 1.2", share < 1.2)
        figures[f"{family}_libraries"] = Figure(row["floor_bytes"] / 1e9, "GB", "-", True)
        figures[f"{family}_disk"] = Figure(row["disk_seconds"], "s", "-", True)
        figures[f"{family}_size"] = Figure(size / 1e9, "GB", "-", True)
    return figures


def _child(job: str, family: str, folder: str) -> dict[str, Any]:
    """Write the random model in one process, take it through memory in another."""
    found: dict[str, Any] = {}
    for part in ("write", job):
        found = apart(["-m", "tests.benchmarks.roundtrip", part, family, folder], worker_environment())
    return found


def _data_is_equal(first: Path, second: Path) -> bool:
    """Same tensors, same places, same bytes; the metadata may differ."""
    headers = []
    for path in (first, second):
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            headers.append((header, 8 + length))
    if headers[0][0] != headers[1][0]:
        return False
    if headers[0][1] == headers[1][1] and filecmp.cmp(first, second, shallow=False):
        return True
    with first.open("rb") as one, second.open("rb") as two:
        one.seek(headers[0][1])
        two.seek(headers[1][1])
        while block := one.read(1 << 24):
            if block != two.read(1 << 24):
                return False
        return not two.read(1)


def _write(family: str, folder: Path) -> dict[str, Any]:
    """A single file of a family with random fp16 weights, tensor by tensor."""
    import torch

    from core import registry
    from core.anatomy.source import shipped_configs
    from core.engine.models import _make
    from core.engine.tensor_writer import Entry, write_entries

    module = registry.component("families", family)
    configs = shipped_configs(module)
    entries = {name: Entry.of(tensor) for name, tensor in module.fixed_tensors().items()}
    for part in module.PREFIXES:
        for key, tensor in _make(part, configs[part]).state_dict().items():
            place = module.place(part, key, configs[part])
            shape = place.file_shape(tuple(tensor.shape))
            entries[place.name] = Entry(_random(torch, shape), shape, torch.float16)
    write_entries(folder / "model.safetensors", {n: e.cast(torch.float16) for n, e in entries.items()}, {})
    return {}


def _random(torch: Any, shape: tuple[int, ...]) -> Callable[[], Any]:
    return lambda: torch.randint(-20_000, 20_000, shape, dtype=torch.int16).view(torch.float16)


def _trip(folder: Path) -> dict[str, Any]:
    """Load every part, write the model again; beside it the disk's own time for reading and writing so much."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    from core.engine.model_files import open_model
    from core.engine.models import Models
    from core.engine.tensor_writer import write_entries
    from core.engine.whole_model import single_file
    from core.settings import default_settings

    if not all((UNet2DConditionModel, AutoencoderKL, CLIPTextModel)):
        raise RuntimeError("these libraries load lazily; their names must be used for their memory to count as theirs")
    source, copy = folder / "model.safetensors", folder / "again.safetensors"
    floor = _peak()
    disk = _copy_seconds(source, folder / "copy.bin")
    began = time.monotonic()
    models = Models(open_model(source), torch.device("cpu"))
    models.load(*models.family.PREFIXES, as_stored=True)
    for part in models.family.PREFIXES:
        getattr(models, part).requires_grad_(True)
    entries, metadata = single_file(models, default_settings())
    write_entries(copy, entries, metadata, hashed=True)
    seconds = time.monotonic() - began
    return {"seconds": seconds, "disk_seconds": disk, "peak_bytes": _peak(), "floor_bytes": floor}


def _peak() -> int:
    """Most bytes that this process had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _copy_seconds(source: Path, target: Path) -> float:
    """Seconds of a plain copy that is on the disk at its end."""
    began = time.monotonic()
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(1 << 24):
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())
    seconds = time.monotonic() - began
    target.unlink()
    return seconds


if __name__ == "__main__":
    job, family_name, where = sys.argv[1:]
    print(json.dumps(_write(family_name, Path(where)) if job == "write" else _trip(Path(where))))
