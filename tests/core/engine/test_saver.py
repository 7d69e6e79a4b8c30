"""Which checkpoints are saved and kept, and in what layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from core import events as ev
from core.engine.model_files import open_model
from core.engine.saver import dropped, loss_at
from core.run_data import RunData
from core.runs import SavedModel
from core.settings import Settings
from core.settings.output import OutputSettings
from tests.core.engine.helpers import train

Make = Callable[..., Settings]
SAVED = [SavedModel(step, Path(f"model-step{step}")) for step in (100, 200, 300, 400, 500)]
LOSSES = {50: 0.9, 200: 0.2, 300: 0.4, 400: 0.5, 500: 0.6}


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({}, [100, 200, 300, 400, 500]),
        ({"keep_last": 2, "keep_best": 0}, [400, 500]),
        ({"keep_last": 1, "keep_best": 2}, [200, 300, 500]),
        ({"keep_last": 1, "keep_best": 0, "keep_every": 200}, [200, 400, 500]),
        ({"keep_last": 9, "keep_best": 0}, [100, 200, 300, 400, 500]),
    ],
)
def test_what_is_kept(rules: dict[str, int], kept: list[int]) -> None:
    gone = dropped(SAVED, OutputSettings(**rules), LOSSES)
    assert [model.step for model in SAVED if model not in gone] == kept


def test_without_validation_none_is_the_best() -> None:
    assert [model.step for model in dropped(SAVED, OutputSettings(keep_last=1, keep_best=3), {})] == [
        100,
        200,
        300,
        400,
    ]


def test_the_loss_of_a_checkpoint_is_the_last_one_before_it() -> None:
    assert loss_at(250, LOSSES) == 0.2
    assert loss_at(49, LOSSES) == float("inf")


def test_old_checkpoints_go_and_the_run_says_so(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(
        output__save_every_steps=1, output__keep_last=1, output__keep_best=1, validation__every_steps=1
    )
    run, told = train(settings, tmp_path / "run")
    measured = {e.step: e.loss for e in told if isinstance(e, ev.Evaluated) and e.split == "validation" and e.step}
    best = min(measured, key=lambda step: measured[step])
    wanted = sorted({best, 6})
    assert [saved.step for saved in run.checkpoints()] == wanted
    data = RunData()
    data.feed(told)
    assert sorted(event.step for event in data.checkpoints) == wanted


def test_the_best_is_known_after_a_resume(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(output__save_every_steps=2, output__keep_last=2, validation__every_steps=2)
    whole, _ = train(settings, tmp_path / "whole")
    cut, _ = train(settings, tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 5)
    train(settings, cut.path)
    assert [saved.step for saved in cut.checkpoints()] == [saved.step for saved in whole.checkpoints()]


def test_a_diffusers_folder_is_a_checkpoint(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(output__layout="diffusers folder", output__save_every_steps=3, output__keep_last=1)
    run, told = train(settings, tmp_path / "run")
    (saved,) = run.checkpoints()
    assert saved.step == 6 and saved.path.is_dir()
    assert open_model(saved.path).configs["unet"]["block_out_channels"] == [16, 32]
    event = [event for event in told if isinstance(event, ev.Checkpoint)][-1]
    assert event.bytes == sum(file.stat().st_size for file in saved.path.rglob("*") if file.is_file())


def test_text_encoders_stop_at_their_step(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(training__text_encoder_learning_rate=1e-3, training__text_encoder_stop_step=2)
    _, told = train(settings, tmp_path / "run")
    rates = [event.rates for event in told if isinstance(event, ev.Step)]
    assert [rate["text_encoder"] for rate in rates] == [1e-3, 1e-3, 0, 0, 0, 0]
    assert {rate["unet"] for rate in rates} == {1e-3}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", b"[" * 200_000),
        ("state.json", b"[]"),
        ("state.json", b'{"format": "x"}'),
        ("weights.safetensors", b""),
        ("optimizer.safetensors", b"\xff" * 64),
        ("weights.safetensors", (2).to_bytes(8, "little") + b"[]"),
    ],
)
def test_a_damaged_state_is_passed_over(name: str, content: bytes, make_settings: Make, tmp_path: Path) -> None:
    """It is told, and the run goes on from the one before it."""
    settings = make_settings(output__save_every_steps=2, output__keep_states=3, training__max_steps=4)
    run, _ = train(settings, tmp_path / "run", lambda event: isinstance(event, ev.StateSaved) and event.step == 4)
    (run.states()[-1].path / name).write_bytes(content)
    _, told = train(settings, run.path)
    texts = [event.text for event in told if isinstance(event, ev.Message)]
    assert len(texts) == 1 and "step00000004 cannot be read" in texts[0]
    assert [event.step for event in told if isinstance(event, ev.Started)] == [2]


def test_changed_settings_take_effect_and_are_told(make_settings: Make, tmp_path: Path) -> None:
    """Weight decay stands in the state too, and the learning rate is the schedule's."""
    from core import presets, runs

    common = {"training__optimizer": "sgd", "training__learning_rate": 1e-3, "output__save_every_steps": 3}
    settings = make_settings(**common, sgd__weight_decay=0.0, sgd__momentum=0.5)
    run, _ = train(settings, tmp_path / "run", lambda event: isinstance(event, ev.Step) and event.step == 4)
    weights = {}
    for name, decay in (("plain", 0.0), ("decayed", 0.9)):
        shutil.copytree(run.path, tmp_path / name)
        again = runs.open_run(tmp_path / name)
        changes = {"sgd.weight_decay": decay, "training.learning_rate": 2e-3}
        changed = presets.build({**presets.flat(again.settings()), **changes}, "test")
        presets.freeze(again.settings_path, runs.freeze_paths(changed))
        _, told = train(settings, again.path)
        texts = [event.text for event in told if isinstance(event, ev.Message) and "Changed since" in event.text]
        assert any("training.learning_rate: 0.001 -> 0.002, from the next step on" in text for text in texts)
        assert any("sgd.weight_decay" in text for text in texts) == (decay > 0)
        assert {event.rates["unet"] for event in told if isinstance(event, ev.Step)} == {2e-3}
        weights[name] = load_file(again.states()[-1].path / "weights.safetensors")
    names = [name for name, tensor in weights["plain"].items() if tensor.ndim > 1]
    shrunk = [weights["decayed"][name].norm() / weights["plain"][name].norm() for name in names]
    assert max(shrunk) < 0.9999, "the new weight decay of 3 steps of 0.002 * 0.9"
    assert not [event for event in train(settings, run.path)[1] if isinstance(event, ev.Message)]


def test_another_optimizer_begins_without_memory(make_settings: Make, tmp_path: Path) -> None:
    from core import presets, runs

    settings = make_settings(output__save_every_steps=3)
    run, _ = train(settings, tmp_path / "run", lambda event: isinstance(event, ev.Step) and event.step == 4)
    changed = presets.build({**presets.flat(run.settings()), "training.optimizer": "sgd"}, "test")
    presets.freeze(run.settings_path, runs.freeze_paths(changed))
    _, told = train(settings, run.path)
    assert "The optimizer was adamw before" in next(event.text for event in told if isinstance(event, ev.Message))
    assert [event.step for event in told if isinstance(event, ev.Step)] == [4, 5, 6]
