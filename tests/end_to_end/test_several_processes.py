"""Several processes on the CPU (gloo): the loss of one with the larger batch, split in each way; stop, resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from safetensors.torch import load_file

from core import presets, runs
from core.run_data import read_run
from core.runs import Run
from core.timestep_losses import path_of, read
from tests.core.engine.helpers import assert_equal, last_checkpoint
from tests.fixtures.processes import program, wait_until

MakeRun = Callable[..., Run]
DEADLINE = 180.0


with_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
ZERO = {"hardware__processes": 2, "hardware__parallel": "deepspeed"}


@pytest.mark.parametrize(
    "split",
    [
        {"hardware__parallel": "ddp"},
        {"hardware__parallel": "fsdp"},
        pytest.param({"hardware__parallel": "deepspeed", "hardware__zero_stage": 1}, marks=with_deepspeed),
        pytest.param({"hardware__parallel": "deepspeed", "hardware__offload_states": True}, marks=with_deepspeed),
    ],
)
def test_two_processes_give_the_loss_of_one_with_the_double_batch(
    make_run: MakeRun, start: Any, split: dict[str, Any]
) -> None:
    common = {"training__max_steps": 4, "training__clip_norm": 0.05, "training__accumulation": 2}
    one = make_run("one", training__batch_size=4, **common)
    two = make_run("two", training__batch_size=2, hardware__processes=2, **split, **common)
    assert start(one).wait(DEADLINE) == 0
    assert start(two).wait(DEADLINE) == 0, two.console_path.read_text()[-3000:]
    single, double = (read_run(run.events_path) for run in (one, two))
    assert double.started is not None and double.started.images_per_step == 8
    for curve in ("loss", "grad_norm", "stable/validation"):
        assert double.curve(curve).values.tolist() == pytest.approx(single.curve(curve).values.tolist(), rel=1e-5)
    for tag in ("stable/train", "stable/validation", "stable/validation/3"):
        assert double.curve(tag).values[0] == pytest.approx(single.curve(tag).values[0], rel=1e-6), "the same weights"
    every, own = ({(r["step"], r["timestep"]) for r in read(path_of(run.path))} for run in (one, two))
    assert own < every and len(own) == len(every) / 2, "of two processes rank 0 keeps its own pictures"
    first, second = last_checkpoint(one), last_checkpoint(two)
    assert first.keys() == second.keys()
    assert all((first[name] - second[name]).abs().max() < 1e-5 for name in first)


@pytest.mark.parametrize(
    "split",
    [
        {"hardware__processes": 2, "hardware__parallel": "fsdp", "training__ema": True},
        pytest.param({**ZERO, "training__precision": "bf16"}, marks=with_deepspeed),
    ],
)
def test_ctrl_c_saves_a_split_run_that_goes_on_to_the_same_weights(
    make_run: MakeRun, start: Any, split: dict[str, Any]
) -> None:
    split = {**split, "output__save_every_steps": 0, "validation__every_steps": 0}
    whole, cut = make_run("whole", **split), make_run("cut", **split)
    assert start(whole).wait(DEADLINE) == 0, whole.console_path.read_text()[-3000:]
    child = start(cut)
    wait_until(lambda: cut.state()[1] >= 2, DEADLINE)
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(DEADLINE) == 0, cut.console_path.read_text()[-3000:]
    assert cut.state()[0] == "stopped" and cut.state()[1] < 8
    assert start(cut).wait(DEADLINE) == 0, cut.console_path.read_text()[-3000:]
    assert_equal(last_checkpoint(whole), last_checkpoint(cut))
    for name in ("weights", "optimizer"):
        assert_equal(*(load_file(run.states()[-1].path / f"{name}.safetensors") for run in (whole, cut)))


@with_deepspeed
def test_one_process_goes_on_with_what_deepspeed_saved(make_run: MakeRun, start: Any) -> None:
    """The state is whole: weights and states that were split fit a run that knows nothing of DeepSpeed."""
    run = make_run("two", training__max_steps=2, training__text_encoder_learning_rate=1e-4, **ZERO)
    assert start(run).wait(DEADLINE) == 0, run.console_path.read_text()[-3000:]
    saved = {name: load_file(run.states()[-1].path / f"{name}.safetensors") for name in ("weights", "optimizer")}
    alone = {"hardware.processes": 1, "hardware.parallel": "ddp", "training.batch_size": 4, "training.max_steps": 4}
    changed = presets.build({**presets.flat(run.settings()), **alone}, "test")
    presets.freeze(run.settings_path, runs.freeze_paths(changed))
    assert start(run).wait(DEADLINE) == 0, run.console_path.read_text()[-3000:]
    one = make_run("one", training__batch_size=4, training__max_steps=4, training__text_encoder_learning_rate=1e-4)
    assert start(one).wait(DEADLINE) == 0
    curves = [read_run(found.events_path).curve("loss").values.tolist() for found in (run, one)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)
    last = load_file(run.states()[-1].path / "optimizer.safetensors")
    assert saved["optimizer"].keys() == last.keys() and saved["weights"]
    assert all(saved["optimizer"][name].shape == last[name].shape for name in last)


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="DeepSpeed is installed")
def test_without_deepspeed_it_is_one_sentence_and_nothing_was_done(make_run: MakeRun, start: Any) -> None:
    run = make_run(**ZERO)
    assert start(run).wait(DEADLINE) in (1, 2)  # torchrun's own status hides that of the processes
    data = read_run(run.events_path)
    assert data.ended is not None and "DeepSpeed is not installed" in data.ended.text and "fsdp" in data.ended.text
    assert data.progress is None, "it is said before the pictures are encoded"


@pytest.mark.skipif(os.name == "nt", reason="another shell")
def test_the_printed_line_starts_two_processes(make_run: MakeRun) -> None:
    run = make_run(hardware__processes=2, training__max_steps=1, validation__every_steps=0)
    printed = program("train", "--resume", str(run.path), "--print-launch", "--json")
    lines = json.loads(printed.stdout)["launch"]
    assert run.state()[0] == "new"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    subprocess.run(["sh", "-c", " && ".join(lines)], cwd="/", env=environment, check=True, timeout=DEADLINE)
    started = read_run(run.events_path).started
    assert run.state() == ("finished", 1) and started is not None and started.images_per_step == 4
