"""Tests of core/events.py: every event in and out, damaged lines, and a file that grows while it is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import events as ev
from tests.fixtures.processes import child, wait_until
from tests.fixtures.run_folders import step

#: Bytes of a real events file, cut by a real child into odd pieces with a flush after each.
_WRITER = """
import sys
data = open(sys.argv[1], "rb").read()
sizes = [1, 7, 3, 64, 2, 511, 13]
with open(sys.argv[2], "ab", buffering=0) as out:
    place = turn = 0
    while place < len(data):
        size = sizes[turn % len(sizes)]
        out.write(data[place : place + size])
        place, turn = place + size, turn + 1
        if turn % 10 == 0:
            print(place, flush=True)
            sys.stdin.readline()
print("done", flush=True)
"""


def _value(kind: Any) -> Any:
    """A value of a field's type that is not its default."""
    if kind is bool:
        return True
    if kind is int:
        return 3
    if kind is float:
        return 1.25
    if kind is str:
        return 'ä "x"\n\\'
    if kind == list[float]:
        return [0.5, 0.25]
    if kind == list[str]:
        return ["a", ""]
    if kind == dict[str, float]:
        return {"unet": 1e-4}
    if kind == list[ev.Gpu]:
        return [ev.Gpu(index=1, name="card", vram_bytes=2**34, vram_total_bytes=2**35, watts=99.5)]
    raise AssertionError(f"give a sample of {kind}")


def sample(kind: type) -> Any:
    """An event of a class with every field filled."""
    return kind(**{field.name: _value(field.type) for field in msgspec.structs.fields(kind)})


@pytest.mark.parametrize("kind", get_args(ev.AnyEvent))
def test_every_event_comes_back_as_it_was(kind: type) -> None:
    event = sample(kind)
    line = ev.encode(event)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert ev.decode(line) == event
    assert msgspec.json.decode(line)["type"] == kind.__struct_config__.tag


def test_all_event_classes_are_in_the_union() -> None:
    assert set(ev.Event.__subclasses__()) == set(get_args(ev.AnyEvent))


def test_tags_are_stable() -> None:
    assert [kind.__struct_config__.tag for kind in get_args(ev.AnyEvent)] == [
        *("started", "progress", "step", "evaluated", "telemetry", "checkpoint", "checkpoint_removed", "state_saved"),
        *("sample", "message", "paused", "continued", "ended", "cell", "grid_made", "points"),
        *("captioned", "caption_totals"),
    ]


@pytest.mark.parametrize(
    "line", [b"", b"{", b'{"type":"step"}', b'{"type":"of tomorrow","x":1}', b"[]", b"\xff\xfe", b"null", b'{"type":5}']
)
def test_lines_that_say_nothing_are_passed_over(line: bytes) -> None:
    assert ev.decode(line) is None
    whole = ev.encode(ev.Paused(step=1))
    assert [type(event) for event in ev.decode_block(whole + line + b"\n" + whole)] == [ev.Paused, ev.Paused]


def test_fields_of_tomorrow_are_ignored() -> None:
    assert ev.decode(b'{"type":"paused","step":4,"mood":"good"}') == ev.Paused(step=4)


def test_a_diverged_run_reads_back_as_nan() -> None:
    block = ev.encode(step(1)) + ev.encode(step(2, float("nan"))) + ev.encode(step(3, float("inf")))
    block += ev.encode(ev.Evaluated(step=3, split="train", loss=math.nan, buckets=[0.5, math.nan], duration=1.0))
    one, two, three, measured = ev.decode_block(block)
    assert isinstance(one, ev.Step) and one.loss == 0.5
    assert isinstance(two, ev.Step) and math.isnan(two.loss) and two.images == 8
    assert isinstance(three, ev.Step) and math.isnan(three.loss)
    assert isinstance(measured, ev.Evaluated) and math.isnan(measured.loss)
    assert measured.buckets[0] == 0.5 and math.isnan(measured.buckets[1])


def test_a_writer_ends_the_line_that_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    whole = ev.encode(ev.Paused(step=1))
    path.write_bytes(whole + whole[:9])
    writer = ev.Writer(path)
    assert path.read_bytes() == whole + whole[:9]  # nothing is written before there is something to say
    writer.write(ev.Continued(step=2))
    writer.write(ev.Continued(step=3))
    writer.close()
    assert [getattr(event, "step", None) for event in ev.Follower(path).read()] == [1, 2, 3]


def test_events_get_the_time_of_their_writing(tmp_path: Path) -> None:
    writer = ev.Writer(tmp_path / "e")
    writer.write(ev.Paused(step=1))
    writer.write(ev.Paused(step=1, time=5.0))
    writer.close()
    first, second = ev.Follower(tmp_path / "e").read()
    assert first.time > 1.6e9 and second.time == 5.0


def test_following_a_real_child_that_writes_in_odd_pieces(tmp_path: Path) -> None:
    events = [event for number in range(60) for event in (step(number), ev.Message(text=f"ä {number}\n"))]
    source, target = tmp_path / "source", tmp_path / "events.jsonl"
    source.write_bytes(b"".join(ev.encode(event) for event in events))
    follower = ev.Follower(target)
    assert follower.read() == [] and follower.behind() == 0  # there is no file yet
    process = child(_WRITER, str(source), str(target))
    assert process.stdout is not None and process.stdin is not None
    found: list[ev.AnyEvent] = []
    in_pieces = 0
    while (line := process.stdout.readline().strip()) != "done":
        assert line
        found += follower.read()
        in_pieces += 0 < len(found) < len(events)
        process.stdin.write("\n")
        process.stdin.flush()
    process.communicate(timeout=20)
    wait_until(lambda: found.extend(follower.read()) or not follower.behind())
    assert found == events and in_pieces > 3


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 300))
def test_any_cut_gives_the_same_events(sizes: list[int], block: int) -> None:
    import tempfile

    events = [step(number) for number in range(12)]
    data = b"".join(ev.encode(event) for event in events)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        follower = ev.Follower(path, block_bytes=block)
        found: list[ev.AnyEvent] = []
        for size in [*sizes, len(data)]:
            with path.open("ab") as file:
                file.write(data[:size])
            data = data[size:]
            found += follower.read()
        while follower.behind():
            found += follower.read()
    assert found == events
