"""Tests of installers/bootstrap.py and main.py: the setup with a stand-in for pip, and what old Pythons can read."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installers import bootstrap
from tests.fixtures.processes import ROOT

Capture = pytest.CaptureFixture[str]

#: Stands in for the environment's Python: notes its arguments, does what plan.json says, prints what pip would.
_PYTHON = """#!{python}
import json, sys
from pathlib import Path
here = Path({folder!r})
with (here / "calls.jsonl").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
plan = json.loads((here / "plan.json").read_text())
for words, output, status in plan:
    if all(word in " ".join(sys.argv[1:]) for word in words):
        print(output)
        sys.exit(status)
"""


class Machine:
    """A project folder with locks, and a stand-in for its environment's Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.locks = folder / "lock"
        self.locks.mkdir()
        for name, text in {"burnish": "a==1\nb==2\n", "dev": "c==3\n", "torch": "# uv==9.9\ntorch==2.0\n"}.items():
            (self.locks / f"{name}.txt").write_text(text)
        self.plan([])

    def plan(self, steps: list[tuple[list[str], str, int]]) -> None:
        """[(words of the command, output, status)]: the first that fits is done; others succeed silently."""
        (self.folder / "plan.json").write_text(json.dumps(steps))

    def make_python(self, part: str = "", number: str = "") -> None:
        """What `python -m venv` would do."""
        path = bootstrap.environment_python()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_PYTHON.format(python=sys.executable, folder=str(self.folder)))
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """The commands so far, each as one text; they are forgotten by this."""
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [" ".join(json.loads(line)) for line in lines]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The bootstrap works in a temporary folder, for a machine without a GPU."""
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / ".venv" / "burnish-setup.json")
    monkeypatch.setattr(bootstrap, "LOCKS", tmp_path / "lock")
    monkeypatch.setattr(bootstrap, "hand_over", lambda arguments: f"handed over {arguments}")
    monkeypatch.setattr(bootstrap, "need_space", lambda gigabytes: None)
    monkeypatch.setenv("BURNISH_TORCH", "cpu")
    made = Machine(tmp_path)
    monkeypatch.setattr(bootstrap, "make_environment", made.make_python)
    return made


def report(version: str, requires: list[str]) -> str:
    """What `pip install --dry-run --report -` prints."""
    return json.dumps({"install": [{"metadata": {"version": version, "requires_dist": requires}}]})


CPU_WHEEL = (["--dry-run"], report("2.0+cpu", ["filelock"]), 0)
CUDA_WHEEL = (["--dry-run"], report("2.0", ["filelock", "nvidia-cublas-cu12==12.8; platform_system == 'Linux'"]), 0)


def test_parts_that_commands_need() -> None:
    for arguments in ([], ["demo"], ["train", "test"]):
        assert bootstrap.wanted_parts(arguments) == ["environment", "torch", "burnish"]
    for arguments in (["test", "-k", "x"], ["check"], ["bench"]):
        assert bootstrap.wanted_parts(arguments) == ["environment", "torch", "burnish", "dev"]


def test_a_bare_machine_is_set_up_once(machine: Machine, capsys: Capture) -> None:
    machine.plan([CPU_WHEEL])
    assert bootstrap.ensure(["runs"]) == "handed over ['runs']"
    told = capsys.readouterr()
    assert told.out == "" and "[1/3] isolated environment: done" in told.err and "Setup is complete." in told.err
    calls = machine.calls()
    assert [call for call in calls if "--dry-run" not in call and call.startswith("-m pip install torch==2.0")]
    assert any(f"-m pip install --no-deps -r {machine.locks / 'burnish.txt'}" in call for call in calls)
    assert not any("dev.txt" in call for call in calls)
    assert bootstrap.ensure(["runs"]) == "handed over ['runs']"
    assert machine.calls() == [] and capsys.readouterr().err == ""


def test_the_test_tools_come_when_they_are_needed(machine: Machine) -> None:
    machine.plan([CPU_WHEEL])
    bootstrap.ensure([])
    machine.calls()
    bootstrap.ensure(["test"])
    (call,) = machine.calls()
    assert "dev.txt" in call


def test_an_interrupted_setup_goes_on_where_it_was(machine: Machine, capsys: Capture) -> None:
    failure = "ERROR: Could not install: Temporary failure in name resolution"
    machine.plan([CPU_WHEEL, (["burnish.txt"], failure, 1)])
    assert bootstrap.ensure([]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("Setup stopped: a download failed (ERROR: Could not install")
    assert set(bootstrap.read_stamp()) == {"environment", "torch"}
    machine.calls()
    machine.plan([])
    assert bootstrap.ensure([]) == "handed over []"
    (call,) = machine.calls()  # neither the environment nor torch again
    assert "burnish.txt" in call


def test_ctrl_c_keeps_what_is_done(machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(part: str, number: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "install_torch", interrupted)
    assert bootstrap.ensure([]) == 130
    assert "what is done is kept" in capsys.readouterr().err and set(bootstrap.read_stamp()) == {"environment"}


def test_a_changed_lock_is_installed_again(machine: Machine) -> None:
    machine.plan([CPU_WHEEL])
    bootstrap.ensure([])
    machine.calls()
    (machine.locks / "burnish.txt").write_text("a==1\nb==3\n")
    bootstrap.ensure([])
    (call,) = machine.calls()
    assert "burnish.txt" in call
    bootstrap.ensure([])
    assert machine.calls() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_a_damaged_stamp_counts_as_none(machine: Machine, text: str) -> None:
    machine.make_python()
    bootstrap.STAMP.write_text(text)
    assert bootstrap.read_stamp() == {}


def test_an_environment_without_its_python_is_made_again(machine: Machine) -> None:
    machine.plan([CPU_WHEEL])
    bootstrap.ensure([])
    bootstrap.environment_python().unlink()
    assert bootstrap.read_stamp() == {}
    assert bootstrap.ensure([]) == "handed over []" and bootstrap.environment_python().exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (machine.folder / ".venv").touch()  # a file where the folder should be
    assert bootstrap.ensure([]) == 2
    assert "\nSetup stopped: " in capsys.readouterr().err


def test_no_room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda path: usage(9e9, 8e9, 1.0e9))
    bootstrap.need_space(0.5)
    with pytest.raises(bootstrap.SetupError, match=r"has 1.0 GB free, and the setup needs about 3 GB"):
        bootstrap.need_space(3)


@pytest.mark.parametrize(
    ("gpu", "index", "right"),
    [("cpu", CPU_WHEEL, True), ("cpu", CUDA_WHEEL, False), ("cuda", CUDA_WHEEL, True), ("cuda", CPU_WHEEL, False)],
)
def test_torch_comes_from_the_usual_index_only_if_its_build_fits(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, gpu: str, index: Any, right: bool, capsys: Capture
) -> None:
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    monkeypatch.setenv("BURNISH_TORCH", gpu)
    monkeypatch.setattr(bootstrap.subprocess, "call", _call_quietly(bootstrap.subprocess.call))
    machine.make_python()
    machine.plan([index])
    bootstrap.install_torch("torch", "[2/3]")
    calls = [call for call in machine.calls() if "--dry-run" not in call]
    if right:
        (call,) = calls
        assert call.startswith("-m pip install torch==2.0")
    else:
        uv, torch = calls
        assert uv.startswith("-m pip install uv==9.9")
        assert torch.startswith("-m uv pip install") and torch.endswith("torch==2.0")
        assert f"--torch-backend {'auto' if gpu == 'cuda' else 'cpu'}" in torch
    assert ("CUDA build" in capsys.readouterr().err) == (gpu == "cuda")


def _call_quietly(call: Callable[..., int]) -> Callable[..., int]:
    """subprocess.call for a test whose stderr is captured and has no file number."""
    return lambda command, **_: call(command, stdout=subprocess.DEVNULL)


def test_when_the_other_index_does_not_answer_the_usual_one_serves(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    monkeypatch.setattr(bootstrap.subprocess, "call", _call_quietly(bootstrap.subprocess.call))
    machine.make_python()
    machine.plan([CUDA_WHEEL, (["-m uv"], "no", 1)])
    bootstrap.install_torch("torch", "[2/3]")
    assert machine.calls()[-1].startswith("-m pip install torch==2.0")
    assert "does not answer" in capsys.readouterr().err


def test_an_index_that_says_nothing_is_taken_for_the_public_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    machine.make_python()
    machine.plan([(["--dry-run"], "no JSON", 1)])
    assert bootstrap.uses_package_index("torch==2.0", True) and not bootstrap.uses_package_index("torch==2.0", False)


def test_the_driver_is_found_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_TORCH", "cuda")
    assert bootstrap.has_nvidia_driver()
    monkeypatch.setenv("BURNISH_TORCH", "cpu")
    assert not bootstrap.has_nvidia_driver()
    monkeypatch.delenv("BURNISH_TORCH")
    monkeypatch.setattr(bootstrap.os.path, "exists", lambda path: False)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    assert not bootstrap.has_nvidia_driver()
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/bin/{name}")
    assert bootstrap.has_nvidia_driver()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["ERROR: No space left on device"], "the disk is full. Free some space"),
        (
            ["WARNING: Retrying: NewConnectionError", "ERROR: No matching distribution found for a==1"],
            "a download failed (ERROR: No matching distribution found for a==1). Check the connection",
        ),
        (["ReadTimeoutError: Read timed out.", "bye"], "a download failed (bye)"),
        (["something", "", "odd"], "pip failed (odd). Start the same command again, or remove "),
        ([], "pip failed (no output)."),
    ],
)
def test_what_is_said_of_a_pip_that_failed(lines: list[str], says: str) -> None:
    assert bootstrap.explain_pip(lines).startswith(says)


def test_progress_counts_the_packages(machine: Machine, capsys: Capture) -> None:
    output = "Collecting a==1\n  Downloading https://host/path/a-1-py3.whl (3 MB)\nInstalling collected packages: a, b"
    machine.make_python()
    machine.plan([(["install"], output, 0)])
    bootstrap.install_lock("burnish", "[3/3]")
    assert capsys.readouterr().err.splitlines() == [
        "[3/3] libraries 1/2: downloading a-1-py3.whl (3 MB)",
        "[3/3] libraries: unpacking",
    ]


def test_an_old_python_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2, "final", 0))
    assert bootstrap.ensure([]) == 2
    told = capsys.readouterr().err
    assert told == "Burnish needs Python 3.11 or newer; this is 3.9. Start it with a newer one.\n"


FIRST_FILES = [ROOT / "main.py", ROOT / "installers" / "bootstrap.py", ROOT / "installers" / "__init__.py"]


@pytest.mark.parametrize("path", FIRST_FILES, ids=lambda path: path.name)
def test_the_first_files_need_nothing_but_an_old_python(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in top if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in modules} <= set(sys.stdlib_module_names) | {"installers"}
    # ast.parse lets some later syntax through, so it is named.
    later = (ast.NamedExpr, ast.Match, ast.JoinedStr, ast.TryStar, ast.AnnAssign)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, later)]


def test_the_bootstrap_imports_nothing_anywhere_else() -> None:
    tree = ast.parse(FIRST_FILES[1].read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports and all(node in tree.body for node in imports)


def test_a_complete_environment_starts_without_reading_more_than_the_stamp(tmp_path: Path) -> None:
    code = "import sys, main; print(sorted(m for m in ('core', 'gui', 'pydantic', 'torch') if m in sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == "[]", found.stderr


def test_locks_hold_the_pins_that_matter() -> None:
    locks = ROOT / "installers" / "lock"
    pins = (locks / "burnish.txt").read_text().lower()
    assert "pyside6-essentials==6.11.3" in pins  # see tests of the window: 6.12.0 loses references on Python 3.11
    assert "\ntorch==" not in pins and "\nnvidia-cu" not in pins
    for name in ("burnish", "dev"):
        lines = (locks / f"{name}.txt").read_text().splitlines()
        assert lines and all("==" in line.split(";")[0] for line in lines if line and not line.startswith("#"))
    assert bootstrap.torch_requirement().startswith("torch==") and bootstrap.uv_requirement().startswith("uv==")
