"""Event folders become runs that can be read and not gone on with; names of other trainers become ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core import cli, grid, runs
from core.errors import UserError
from core.grid import GridSettings
from core.run_data import read_run
from core.tools.tensorboard_import import import_folder, renamed
from tests.fixtures.run_folders import new_run, started, step, write_events
from tests.fixtures.tfevents import event, field, write_run

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            ["loss/train", "loss/debiased", "test/test", "test/val"],
            ["loss", "loss/debiased", "stable/train", "stable/validation"],
        ),
        (
            [
                "loss/average",
                "loss/current",
                "loss/validation/step_average",
                "lr/textencoder",
                "lr/unet",
                "max_norm/keys_scaled",
            ],
            ["loss/average", "loss", "stable/validation", "rate/text_encoder", "rate/unet", "max_norm/keys_scaled"],
        ),
        (
            [
                "loss/train_step",
                "loss/validation_step/cats",
                "lr/text_encoder_1",
                "lr/text_encoder_2",
                "smooth_loss/train_step",
            ],
            ["loss", "stable/validation", "rate/text_encoder", "rate/text_encoder_2", "smooth_loss/train_step"],
        ),
        (
            ["loss/validation_step/cats", "loss/validation_step/dogs", "loss/validation_step/total_average"],
            ["loss/validation_step/cats", "loss/validation_step/dogs", "stable/validation"],
        ),
        (
            ["loss/validation_step/cats", "loss/validation_step/dogs"],
            ["loss/validation_step/cats", "loss/validation_step/dogs"],
        ),
        (["lr", "train_loss"], ["rate/unet", "loss"]),
        (["loss/average"], ["loss"]),
        (["loss", "train_loss", "rate/unet"], ["loss", "train_loss", "rate/unet"]),
    ],
)
def test_names(theirs: list[str], ours: list[str]) -> None:
    assert list(renamed(theirs).values()) == ours


def notes(folder: Path, count: int = 12) -> Path:
    """A run as the notes log it: the held-out loss falls and rises."""
    curves = {
        "loss/train": [(number, 0.1) for number in range(100 * count)],
        "test/val": [(100 * number, 0.05 + 1e-4 * abs(number - 5)) for number in range(count)],
        "custom": [(1, 2.0)],
    }
    return write_run(folder, curves)


def test_a_tree_of_folders_is_imported_and_shown(tmp_path: Path, capsys: Capture) -> None:
    notes(tmp_path / "logs" / "sweep" / "1.0e-07")
    notes(tmp_path / "logs" / "other")
    assert cli.run(["runs", "import", str(tmp_path / "logs"), "--json"], {}) == 0
    found = json.loads(capsys.readouterr().out)["runs"]
    assert [row["name"] for row in found] == ["other", "sweep/1.0e-07"]
    for row in found:
        assert (row["state"], row["step"], row["checkpoints"]) == ("finished", 1199, [])
        assert row["series"]["loss"]["points"] == 1200 and row["series"]["custom"]["points"] == 1
        assert row["series"]["stable/validation"]["min"] == {"step": 500, "value": pytest.approx(0.05)}
        assert row["verdict"]["state"] == "turned" and "step 500" in row["verdict"]["text"][0]
    assert cli.run(["runs", "show", "sweep/1.0e-07", "--json"], {}) == 0
    assert json.loads(capsys.readouterr().out) == found[1]
    assert cli.run(["runs", "import", str(tmp_path / "logs")], {}) == 0
    assert "sweep/1.0e-07, 4 curves to step 1,199" in capsys.readouterr().out


def test_importing_again_updates(tmp_path: Path) -> None:
    notes(tmp_path / "logs" / "deep" / "run", count=6)
    (before,), _ = import_folder(tmp_path / "logs")
    facts = before.facts()
    notes(tmp_path / "logs" / "deep" / "run", count=12)
    (after,), _ = import_folder(tmp_path / "logs" / "deep" / "run")
    assert (before.path.name.split("-")[1:3], after.name) == (["deep", "run"], "run")  # by another name now
    assert after.path == before.path and len(runs.list_runs()) == 1
    assert after.state() == ("finished", 1199)
    assert (after.facts()["created"], after.facts()["id"]) == (facts["created"], facts["id"])
    assert after.facts()["source"] == str(tmp_path / "logs" / "deep" / "run")
    assert after.facts()["tags"] == {"loss": "loss/train", "stable/validation": "test/val"}


def test_curves_are_those_of_the_file_and_time_runs(tmp_path: Path) -> None:
    count = 20_000  # more points than a line holds
    write_run(
        tmp_path / "run",
        {"loss/train": [(number, number / 4) for number in range(count)], "bad": [(3, float("nan")), (4, 1.0)]},
    )
    (run,), _ = import_folder(tmp_path / "run")
    data = read_run(run.events_path)
    assert np.array_equal(data.curve("loss").steps, np.arange(count))
    assert np.array_equal(data.curve("loss").values, np.arange(count) / 4)
    assert np.isnan(data.curve("bad").values[0]) and data.curve("bad").values[1] == 1.0
    assert data.x_of(np.array([3600.0]), "hours") == pytest.approx([1.0])
    assert max(map(len, run.events_path.read_bytes().splitlines())) < 1 << 19


def test_an_imported_run_is_not_gone_on_with(tmp_path: Path, capsys: Capture) -> None:
    notes(tmp_path / "logs")
    (run,), _ = import_folder(tmp_path / "logs")
    before = sorted(run.path.iterdir())
    assert cli.run(["train", "--resume", str(run.path)], {}) == 2
    assert "is not a training run, so it cannot go on" in capsys.readouterr().err
    settings = GridSettings()
    settings.grid.run = str(run.path)
    with pytest.raises(UserError, match=r"logs was imported from .*no settings and no models.*no grid"):
        grid.plan(settings, 0)
    assert sorted(run.path.iterdir()) == before


def test_folders_without_scalars_are_left_out(tmp_path: Path, capsys: Capture) -> None:
    notes(tmp_path / "logs" / "run")
    (tmp_path / "logs" / "hparams").mkdir()
    empty = tmp_path / "logs" / "hparams" / "events.out.tfevents.1.x"
    empty.write_bytes(event(0, field(1, 2, b"text")))
    assert cli.run(["runs", "import", str(tmp_path / "logs"), "--json"], {}) == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)["runs"]) == 1 and "hparams holds no scalars" in told.err
    for folder, says in (
        (empty.parent, "no scalars"),
        (tmp_path / "none", "not a folder"),
        (tmp_path, "no event files"),
    ):
        if folder == tmp_path:
            folder = tmp_path / "bare"
            folder.mkdir()
        assert cli.run(["runs", "import", str(folder)], {}) == 2
        assert says in capsys.readouterr().err


def test_an_exported_run_comes_back(tmp_path: Path, capsys: Capture) -> None:
    run = new_run(tmp_path / "run", output__name="mine")
    write_events(run, [started(), *(step(number, number / 8) for number in range(1, 20))])
    assert cli.run(["runs", "export", str(run.path), "--tensorboard", str(tmp_path / "out"), "--json"], {}) == 0
    assert Path(json.loads(capsys.readouterr().out)["tensorboard"]).parent == tmp_path / "out"
    (back,), _ = import_folder(tmp_path / "out")
    ours, theirs = read_run(run.events_path), read_run(back.events_path)
    assert set(ours.curves) == set(theirs.curves)
    assert np.array_equal(ours.curve("loss").values, theirs.curve("loss").values)
    assert cli.run(["runs", "export", str(run.path)], {}) == 2
    assert "--tensorboard" in capsys.readouterr().err
