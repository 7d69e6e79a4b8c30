"""Tests of core/engine/distributed.py: the backend, who goes first, and gradients exchanged once a step."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from core import events as ev
from core import runs
from core.engine import distributed
from core.engine.caching import _wait_for_others
from core.engine.control import Control
from core.engine.distributed import Board, main_first, pick_backend
from core.engine.session import Session
from core.errors import Stopped
from core.settings import Settings


@pytest.mark.parametrize(
    ("device", "platform", "backend"),
    [
        ("cuda", "linux", "nccl"),
        ("cuda", "win32", "gloo"),
        ("cpu", "linux", "gloo"),
        ("cpu", "win32", "gloo"),
    ],
)
def test_the_backend_is_that_of_device_and_system(device: str, platform: str, backend: str) -> None:
    assert pick_backend(torch.device(device), platform) == backend


class _Rank:
    """Stands in for an Accelerator; notes when it waits."""

    num_processes = 1

    def __init__(self, main: bool) -> None:
        self.is_main_process = main
        self.told: list[str] = []

    def wait_for_everyone(self) -> None:
        """A barrier."""
        self.told.append("waited")


@pytest.mark.parametrize(("main", "order"), [(True, ["work", "waited"]), (False, ["waited", "work"])])
def test_rank_zero_goes_first(main: bool, order: list[str]) -> None:
    rank: Any = _Rank(main)
    with main_first(rank):
        rank.told.append("work")
    assert rank.told == order


def test_the_others_are_let_in_when_rank_zero_stops() -> None:
    rank: Any = _Rank(True)
    with pytest.raises(Stopped), main_first(rank):
        raise Stopped
    assert rank.told == ["waited"]


def test_a_board_counts_by_name() -> None:
    board = Board(_Rank(True), "x")  # type: ignore[arg-type]
    board.add("done", 2)
    assert board.add("done", 3) == 5 and board.add("total") == 0


@pytest.fixture
def two_boards(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Board, Board]:
    """Rank 0 of two, its board, and the other one's."""
    store = torch.distributed.HashStore()
    monkeypatch.setattr(distributed, "_get_default_store", lambda: store)
    rank: Any = _Rank(True)
    rank.num_processes = 2
    return rank, Board(rank, "cache"), Board(rank, "cache")


class _Control:
    """Asked for a stop; the other process is ready at the second time."""

    def __init__(self, other: Board, stop: bool) -> None:
        self.asked = 0
        self._other = other
        self._stop = stop

    def should_stop(self) -> bool:
        """Whether to stop."""
        self.asked += 1
        self._other.add("ready", int(self.asked == 2))
        return self._stop


def test_rank_zero_tells_of_the_others_until_they_are_ready(two_boards: tuple[Any, Board, Board]) -> None:
    rank, own, other = two_boards
    own.add("total", 2)
    own.add("done", 2)
    other.add("total", 3)
    other.add("done", 1)
    control: Any = _Control(other, stop=False)
    told = [(event.done, event.total) for event in _wait_for_others(own, rank, control)]  # type: ignore[attr-defined]
    assert set(told) == {(3, 5)} and control.asked == 2


def test_a_stop_while_waiting_reaches_the_others(two_boards: tuple[Any, Board, Board]) -> None:
    rank, own, other = two_boards
    control: Any = _Control(other, stop=True)
    with pytest.raises(Stopped):
        list(_wait_for_others(own, rank, control))
    assert other.add("stop") == 1


@pytest.fixture
def one_of_a_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as the only one of a group, so that models are wrapped as for several."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**group, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(PartialState, "use_distributed", True)  # which accelerate says of two or more only
    yield
    torch.distributed.destroy_process_group()
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


def test_inner_micro_batches_exchange_nothing(
    make_settings: Callable[..., Settings], tmp_path: Path, one_of_a_group: None
) -> None:
    run = runs.create(make_settings(training__accumulation=3, training__max_steps=2), tmp_path / "run")
    session = Session(run, run.settings(), Control())
    exchanged: list[int] = []

    def hook(state: object, bucket: Any) -> torch.futures.Future[torch.Tensor]:
        if bucket.is_last():
            exchanged.append(session.step)
        future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    hook.__annotations__.clear()  # torch compares them as classes, and here they are texts
    for event in session.events():
        if isinstance(event, ev.Started):
            session.trainer.denoiser.register_comm_hook(None, hook)
    assert exchanged == [1, 2]
