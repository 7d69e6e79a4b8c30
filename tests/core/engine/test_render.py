"""Grids: the right weights in the right cells, labels and parameters in the files, bad checkpoints said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from core import events as ev
from core import grid_job, presets
from core.anatomy.source import CONFIG_KEY
from core.engine.control import Control
from core.engine.model_files import open_model
from core.engine.models import Models
from core.engine.render import render_job
from core.engine.safe_files import read_header
from core.engine.sample import Drawing
from core.engine.text_states import TextStates
from core.errors import UserError
from core.grid import CellPlan, GridSettings
from core.infotext import read_parameters
from core.runs import Run
from core.settings import Settings
from tests.core.engine.helpers import train

Make = Callable[..., Settings]


def _job(run: Run, **changes: object) -> Run:
    values: dict[str, object] = {
        "grid.run": str(run.path),
        "grid.prompt": "noise",
        "grid.seed": 3,
        "grid.steps": 2,
        "grid.width": 64,
        "grid.height": 64,
        "grid.cfg": 2.0,
        "x.type": "checkpoint",
        "x.values": "base, all",
        "y.type": "seed",
        "y.values": "1, 2",
    }
    values.update({key.replace("__", "."): value for key, value in changes.items()})
    return grid_job.create(presets.build(values, "test", GridSettings), run)


def _draw(path: Path, seed: int, base: Path) -> np.ndarray:
    """The picture of a whole checkpoint drawn by itself."""
    models = Models(open_model(path), torch.device("cpu"))
    models.load("unet", "vae", "text_encoder", "tokenizer")
    drawing = Drawing(models, TextStates(models, "fp32").get, "fp32")
    cell = CellPlan("", "noise", "", seed, 2.0, 2, "ddim", 64, 64)
    return np.asarray(next(iter(drawing.draw([cell], 1)))[1]).astype(int)


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grids in 32 bits, so that pictures can be compared."""
    monkeypatch.setattr("core.engine.models.cpu_is_fast_at_bf16", lambda: False)


def test_each_cell_is_drawn_with_its_checkpoint(make_settings: Make, tmp_path: Path, tiny_model: Path) -> None:
    settings = make_settings(
        output__save_every_steps=3, training__learning_rate=1e-2, training__text_encoder_learning_rate=1e-2
    )
    run, _ = train(settings, tmp_path / "run")
    job = _job(run)
    told = list(render_job(job, Control()))
    cells = [event for event in told if isinstance(event, ev.Cell)]
    assert [(cell.x, cell.y) for cell in cells] == [(x, y) for x in range(3) for y in range(2)]
    sources = [tiny_model, *(saved.path for saved in run.checkpoints())]
    for cell in cells:
        picture = np.asarray(Image.open(job.path / cell.path)).astype(int)
        assert np.abs(picture - _draw(sources[cell.x], cell.seed, tiny_model)).max() <= 1
    assert [cell.labels[0] for cell in cells[::2]] == ["base", "step 3", "step 6"]
    made = next(event for event in told if isinstance(event, ev.GridMade))
    text = read_parameters(job.path / made.path)
    assert "Script: X/Y/Z plot" in text and "X Type: Checkpoint name" in text and 'Y Values: "1, 2"' in text
    assert "Seed: 1" in read_parameters(job.path / cells[0].path)
    with Image.open(job.path / made.path) as whole:
        assert whole.width > 3 * 64 and whole.height > 2 * 64
    assert isinstance(told[-1], ev.Ended) and told[-1].state == "finished"


def test_lora_checkpoints_are_merged_and_leave_no_trace(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(
        training__method="lora", output__save_every_steps=3, training__learning_rate=5e-2, lora__alpha=8
    )
    run, _ = train(settings, tmp_path / "run")
    job = _job(run, x__values="base, 6, base, 3", y__values="1")
    list(render_job(job, Control()))
    pictures = [np.asarray(Image.open(p)).astype(int) for p in sorted((job.path / "cells").glob("*.png"))]
    assert np.array_equal(pictures[0], pictures[2])
    assert np.abs(pictures[0] - pictures[1]).max() > 2
    assert np.abs(pictures[3] - pictures[1]).max() > 0


def test_a_checkpoint_is_drawn_with_the_prediction_that_it_says(
    make_settings: Make, tmp_path: Path, tiny_model: Path
) -> None:
    """The base predicts noise; the checkpoint says that it was taught v."""
    run, _ = train(make_settings(training__max_steps=1, training__learning_rate=1e-12), tmp_path / "run")
    path = run.checkpoints()[-1].path
    plain = _draw(path, 1, tiny_model)
    _, metadata = read_header(path)
    configs = json.loads(metadata[CONFIG_KEY])
    configs["scheduler"]["prediction_type"] = "v_prediction"
    save_file(load_file(path), path, {**metadata, CONFIG_KEY: json.dumps(configs)})
    job = _job(run, x__values="base, all", y__values="1")
    list(render_job(job, Control()))
    base, taught = (np.asarray(Image.open(p)).astype(int) for p in sorted((job.path / "cells").glob("*.png")))
    assert np.abs(base - plain).max() <= 1
    assert np.abs(taught - _draw(path, 1, tiny_model)).max() <= 1
    assert np.abs(taught - plain).max() > 2


def test_a_checkpoint_is_drawn_with_the_clip_skip_that_it_was_trained_with(make_settings: Make, tmp_path: Path) -> None:
    from core.engine.render import Renderer
    from core.grid_job import read_plan

    # The tiny encoder has one layer: what lies before it are the embeddings.
    run, _ = train(
        make_settings(
            model__clip_skip=2,
            training__max_steps=1,
            training__learning_rate=0.0,
            training__text_encoder_learning_rate=1e-9,
        ),
        tmp_path / "run",
    )
    _, plan = read_plan(_job(run))
    renderer = Renderer(plan, Control(), 1)
    cells = list(plan.cells())
    trained = next(cell for cell in cells if cell.checkpoint)
    assert renderer.facts(trained)["Clip skip"] == 2
    assert "Clip skip" not in renderer.facts(next(cell for cell in cells if not cell.checkpoint))
    base = renderer._texts.get(["noise"])["encoder_hidden_states"]
    assert renderer._swapper.show(trained.checkpoint) and renderer._swapper.clip_skip == 2
    pictures = list(renderer.render())
    assert len(pictures) == len(cells)
    again = TextStates(renderer._models, "fp32", 2).get(["noise"])["encoder_hidden_states"]
    assert not torch.equal(base, again)


def test_a_picture_does_not_depend_on_its_batch(make_settings: Make, tmp_path: Path, tiny_model: Path) -> None:
    models = Models(open_model(tiny_model), torch.device("cpu"))
    models.load("unet", "vae", "text_encoder", "tokenizer")
    drawing = Drawing(models, TextStates(models, "fp32").get, "fp32")
    for sampler in ("ddim", "euler_a", "dpmpp_2m_karras", "unipc", "euler"):
        cells = [CellPlan("", f"prompt {n}", "", n, 1.0 + n, 3, sampler, 64, 64) for n in range(4)]
        together = dict(drawing.draw(cells, 4))
        alone = dict(drawing.draw(cells, 1))
        for number in range(4):
            difference = np.asarray(together[number]).astype(int) - np.asarray(alone[number]).astype(int)
            assert np.abs(difference).max() <= 1, sampler


def test_a_stop_puts_together_what_there_is(make_settings: Make, tmp_path: Path) -> None:
    run, _ = train(make_settings(training__max_steps=1), tmp_path / "run")
    job = _job(run, grid__batch=1)
    control = Control()
    told = []
    for event in render_job(job, control):
        told.append(event)
        if isinstance(event, ev.Cell):
            control.stop()
    assert [type(event).__name__ for event in told[-2:]] == ["GridMade", "Ended"]
    assert isinstance(told[-1], ev.Ended) and told[-1].state == "stopped"
    assert len([event for event in told if isinstance(event, ev.Cell)]) == 1


def test_deleted_checkpoints_are_said_before_and_while_drawing(make_settings: Make, tmp_path: Path) -> None:
    run, _ = train(make_settings(output__save_every_steps=3), tmp_path / "run")
    job = _job(run, y__values="1")
    run.checkpoints()[0].path.unlink()
    told = list(render_job(job, Control()))
    assert any(isinstance(event, ev.Message) and "step00000003" in event.text for event in told)
    assert [event.x for event in told if isinstance(event, ev.Cell)] == [0, 2]
    assert isinstance(told[-1], ev.Ended) and told[-1].state == "finished"
    job = _job(run, x__values="6", y__values="1")
    run.checkpoints()[0].path.unlink()
    with pytest.raises(UserError, match="step00000006"):
        list(render_job(job, Control()))
    with pytest.raises(UserError, match="no checkpoint '3'"):
        _job(run, x__values="3")
