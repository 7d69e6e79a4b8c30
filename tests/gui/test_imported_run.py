"""A run that came from TensorBoard's files is in the list of runs and opens like any old run, but cannot go on."""

from __future__ import annotations

from pathlib import Path

from core.tools.tensorboard_import import import_folder
from gui.run_state import RunState
from gui.widgets.run_list import read_runs
from tests.fixtures.tfevents import write_run


def test_it_is_listed_and_shown(qtbot, tmp_path: Path) -> None:
    write_run(
        tmp_path / "logs", {"loss/train": [(step, step / 4) for step in range(60)], "test/val": [(0, 0.5), (50, 0.25)]}
    )
    (run,), _ = import_folder(tmp_path / "logs")
    (row,) = read_runs()
    assert (row.name, row.kind, row.state, row.step, row.can_go_on) == ("logs", "imported", "finished", 59, False)
    state = RunState(run.path)
    try:
        with qtbot.waitSignal(state.loaded, timeout=5000):
            state.start()
        assert state.state == "finished" and not state.alive and state.settings is None
        assert state.data.curve("loss").values.tolist() == [step / 4 for step in range(60)]
        assert state.data.curve("stable/validation").steps.tolist() == [0, 50]
    finally:
        state.close()
