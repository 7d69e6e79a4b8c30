"""Makes the lock files anew from *.in with uv: python installers/lock/make.py (then run the tests)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Comes with torch itself, in the build that fits the machine.
OF_TORCH = re.compile(r"^(torch|triton|nvidia-(?!ml-py)[\w-]+|cuda-[\w-]+)==")


def resolve(inputs: list[Path], constraints: list[str]) -> list[str]:
    """Pinned requirements for every system and Python from 3.11 on."""
    limits = HERE / "constraints.tmp"
    limits.write_text("\n".join(constraints), encoding="utf-8")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--python-version", "3.11", "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "-c", str(limits), *map(str, inputs)]
    try:
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    finally:
        limits.unlink()
    return [line for line in result.stdout.splitlines() if line and not line.startswith("#")]


def main() -> None:
    """Write burnish.txt (what runs) and dev.txt (what tests need on top)."""
    torch = next(line for line in (HERE / "torch.txt").read_text().splitlines() if line.startswith("torch=="))
    run = [line for line in resolve([HERE / "burnish.in"], [torch]) if not OF_TORCH.match(line)]
    (HERE / "burnish.txt").write_text("\n".join(run) + "\n", encoding="utf-8", newline="\n")
    both = resolve([HERE / "burnish.in", HERE / "dev.in"], [torch, *run])
    extra = [line for line in both if line not in run and not OF_TORCH.match(line)]
    (HERE / "dev.txt").write_text("\n".join(extra) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
