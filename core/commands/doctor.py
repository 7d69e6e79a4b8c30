"""What this machine has and lacks for training."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass

from core import paths
from core.quantities import show_bytes


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `remedy` says what to do when it is not ok. `needed`: whether training is impossible without it."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Print the findings; status 0 when everything needed is there."""
    checks = [_python(), *_libraries(), _gpu(), _memory(), _disk(), _home()]
    ok = all(check.ok for check in checks if check.needed)
    if options.json:
        print(json.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}))
    else:
        for check in checks:
            mark = "ok  " if check.ok else ("LACK" if check.needed else "none")
            print(f"{mark}  {check.name:<14} {check.found}" + (f"\n      {check.remedy}" if not check.ok else ""))
    return 0 if ok else 2


def _python() -> Check:
    return Check("Python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}")


def _libraries() -> list[Check]:
    """Each library that training uses, imported for real."""
    import importlib

    checks = []
    for name, needed in (
        ("torch", True),
        ("diffusers", True),
        ("transformers", True),
        ("accelerate", True),
        ("peft", True),
        ("bitsandbytes", False),
        ("xformers", False),
        ("deepspeed", False),
    ):
        try:
            module = importlib.import_module(name)
            checks.append(Check(name, True, str(getattr(module, "__version__", "?")), needed=needed))
        except Exception as error:
            remedy = "Remove the folder .venv and start again." if needed else f"Only needed when {name} is chosen."
            checks.append(Check(name, False, f"{type(error).__name__}: {error}"[:200], remedy, needed))
    return checks


def _gpu() -> Check:
    from core.telemetry import Nvml

    nvml = Nvml()
    gpus = nvml.gpus()
    nvml.close()
    if not gpus:
        remedy = "Training real models needs an NVIDIA GPU and its driver; the starter model trains on the processor."
        return Check("GPU", False, nvml.why_not or "no NVIDIA GPU", remedy, needed=False)
    import torch

    names = ", ".join(f"{gpu.name} {show_bytes(gpu.vram_total_bytes)}" for gpu in gpus)
    remedy = "torch is a CPU build; remove .venv and start again to get the CUDA build."
    return Check("GPU", torch.cuda.is_available(), names, remedy)


def _memory() -> Check:
    import psutil

    total = psutil.virtual_memory().total
    return Check("RAM", total > 6e9, show_bytes(total), "8 GB is the least for a real model.", needed=False)


def _disk() -> Check:
    folder = paths.home_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return Check("Disk", free > 10e9, f"{show_bytes(free)} free at {folder}", "Runs need some GB each.", needed=False)


def _home() -> Check:
    folder = paths.home_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return Check("Folder", writable, str(folder), f"{folder} cannot be written; set BURNISH_HOME to another folder.")
