"""Event files are read whole, torn, damaged, in pieces and after a resume; scalars of every kind, and nothing else."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.tools.crc32c import masked, masked_of_numbers
from core.tools.tfevents import event_files, event_folders, read_folder
from core.tools.tfevents_writer import scalar
from tests.fixtures.tfevents import REAL, event, field, tensor_value, varint, write_run


def test_the_checksum_is_that_of_the_standard() -> None:
    unmasked = (masked(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert (unmasked >> 17 | unmasked << 15) & 0xFFFFFFFF == 0xE3069283  # the check value of CRC-32C
    numbers = np.array([0, 1, 30, 2**40 + 7, 2**64 - 1], np.uint64)
    assert masked_of_numbers(numbers).tolist() == [masked(struct.pack("<Q", int(number))) for number in numbers]


def test_real_bytes_are_read_and_written_alike(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1733717702.machine.6924.0").write_bytes(REAL)
    (found,) = read_folder(tmp_path).values()
    assert found.steps.tolist() == [0, 2]
    assert found.values == pytest.approx([0.0382650, 0.1569884], abs=1e-6)
    assert found.times[1] == struct.unpack("<d", bytes.fromhex("cf26ceb29bd5d941"))[0]
    assert REAL.endswith(scalar(float(found.times[1]), "loss/train", 2, float(found.values[1])))


def test_a_file_may_end_anywhere(tmp_path: Path) -> None:
    path = write_run(tmp_path, {"loss": [(step, step / 8) for step in range(5)]})
    whole = path.read_bytes()
    last = len(scalar(1.7e9, "loss", 4, 0.5))
    for cut in range(last + 20):
        path.write_bytes(whole[: len(whole) - cut])
        steps = read_folder(tmp_path)["loss"].steps.tolist()
        assert steps == list(range(5 if cut == 0 else 4 if cut <= last else 3)), cut
    path.write_bytes(b"")
    assert read_folder(tmp_path) == {}


def test_a_damaged_length_ends_the_file_there(tmp_path: Path) -> None:
    path = write_run(tmp_path, {"loss": [(step, 1.0) for step in range(200)]})
    whole = bytearray(path.read_bytes())
    place = whole.index(scalar(1_700_000_000.0 + 100, "loss", 100, 1.0))
    over_the_next = 2 * whole[place] + 16
    for length in (over_the_next, whole[place] - 8, 2**40, 2**64 - 1):
        broken = whole.copy()
        broken[place : place + 8] = struct.pack("<Q", length)
        path.write_bytes(broken)
        assert read_folder(tmp_path)["loss"].steps.tolist() == list(range(100))


def test_scalars_as_tensors_of_each_kind_and_nothing_else(tmp_path: Path) -> None:
    values = (
        tensor_value("content", 1, field(4, 2, struct.pack("<f", 0.5))),
        tensor_value("packed", 1, field(5, 2, struct.pack("<f", 0.25))),
        tensor_value("alone", 1, field(5, 5, struct.pack("<f", 0.125))),
        tensor_value("double", 2, field(4, 2, struct.pack("<d", 1e-9))),
        tensor_value("double packed", 2, field(6, 2, struct.pack("<d", 2e-9))),
        tensor_value("integer", 3, field(7, 2, varint(300))),
        tensor_value("integer alone", 9, field(10, 0, varint(-4))),
        tensor_value("long content", 9, field(4, 2, struct.pack("<q", -7))),
        tensor_value("vector", 1, field(4, 2, struct.pack("<f", 9)), shape=field(2, 2, field(1, 0, varint(1)))),
        tensor_value("text", 7, field(8, 2, b"words")),
        field(1, 2, b"histogram") + field(5, 2, struct.pack("<Bd", 9, 1.0)),
        field(1, 2, b"simple") + field(2, 5, struct.pack("<f", 4.0)),
        field(2, 5, struct.pack("<f", 2.0)) + field(1, 2, b"value first"),
    )
    (tmp_path / "events.out.tfevents.1.x").write_bytes(event(7, *values) + event(9, values[0]))
    found = {tag: points.values.tolist() for tag, points in read_folder(tmp_path).items()}
    assert found == {
        "content": [0.5, 0.5],
        "packed": [0.25],
        "alone": [0.125],
        "double": [1e-9],
        "double packed": [2e-9],
        "integer": [300.0],
        "integer alone": [-4.0],
        "long content": [-7.0],
        "simple": [4.0],
        "value first": [2.0],
    }
    assert read_folder(tmp_path)["content"].steps.tolist() == [7, 9]


def test_several_files_are_one_run_in_the_order_of_their_times(tmp_path: Path) -> None:
    write_run(tmp_path, {"loss": [(10, 1.0), (11, 1.5)]}, when=1_000_000_000)
    write_run(tmp_path, {"loss": [(0, 3.0), (9, 2.0)]}, when=999_999_999)
    assert [path.name.split(".")[3] for path in event_files(tmp_path)] == ["999999999", "1000000000"]
    assert read_folder(tmp_path)["loss"].values.tolist() == [3.0, 2.0, 1.0, 1.5]


def test_a_resume_voids_what_came_after_its_step(tmp_path: Path) -> None:
    write_run(tmp_path, {"loss": [(step, 1.0) for step in range(10)], "val": [(0, 5.0), (5, 4.0)]}, when=1_000)
    write_run(tmp_path, {"loss": [(6, 2.0), (7, 2.0)]}, when=2_000)
    found = read_folder(tmp_path)
    assert found["loss"].steps.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert found["loss"].values.tolist() == [1.0] * 6 + [2.0] * 2
    assert found["val"].values.tolist() == [5.0, 4.0]


def test_many_records_over_several_walks(tmp_path: Path) -> None:
    count = 70_000  # more than are walked at once
    rows = b"".join(scalar(1.7e9, tag, step, step / 2) for step in range(count // 2) for tag in ("a", "ab"))
    (tmp_path / "events.out.tfevents.1.x").write_bytes(rows)
    for points in read_folder(tmp_path).values():
        assert np.array_equal(points.steps, np.arange(count // 2)) and np.array_equal(points.values, points.steps / 2)


def test_folders_are_found_at_any_depth(tmp_path: Path) -> None:
    for name in ("a", "a/b c/1.0e-07", "d"):
        write_run(tmp_path / name, {"loss": [(0, 1.0)]})
    (tmp_path / "none").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in event_folders(tmp_path)] == ["a", "a/b c/1.0e-07", "d"]
    with pytest.raises(UserError, match="is not a folder"):
        event_folders(tmp_path / "missing")
