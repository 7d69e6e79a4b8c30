"""Shards: what is put is found again after any kill, damage is noticed and costs its entry alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from core.engine import shards
from core.engine.catalogue import Catalogue, places_in
from core.engine.shards import Key, ShardStore, tidy, verify, write_shard
from core.errors import UserError


def some(count: int, start: int = 0) -> dict[Key, torch.Tensor]:
    """Entries whose names share their first half by fours."""
    made = {}
    for number in range(start, start + count):
        key = (number // 4 * 0x9E3779B97F4A7C15 % 2**64, number)
        made[key] = torch.full((4, 2, 3), float(number), dtype=torch.float16)
    return made


def names(keys: object) -> np.ndarray:
    return np.array(list(keys), dtype=np.uint64)  # type: ignore[call-overload]


def fill(store: ShardStore, entries: dict[Key, torch.Tensor], batch: int = 3) -> None:
    for number, (key, tensor) in enumerate(entries.items(), 1):
        store.put(key, tensor)
        if number % batch == 0:
            store.flush()


@pytest.mark.parametrize("settled", [True, False])
def test_what_is_put_is_found_by_this_store_and_the_next(tmp_path: Path, settled: bool) -> None:
    store, entries = ShardStore(tmp_path), some(50)
    fill(store, entries)
    assert all(torch.equal(store.get(key), tensor) for key, tensor in entries.items())
    if settled:
        store.settle()
    store.close()
    for found in (store, ShardStore(tmp_path)):
        assert len(found) == 50
        assert found.has(names(entries)).all()
        assert not found.has(names(some(20, start=1000))).any()
        assert all(torch.equal(found.get(key), tensor) for key, tensor in entries.items())
        with pytest.raises(KeyError):
            found.get((0, 999))
    assert (tmp_path / "catalogue.json").exists() == settled


def test_types_and_shapes_are_kept(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    entries: dict[Key, torch.Tensor] = {
        (1, 1): torch.randn(77, 16).to(torch.bfloat16),
        (1, 2): torch.randn(9),
        (1, 3): torch.randn(1, 8, 8).half(),
        (1, 4): torch.arange(12, dtype=torch.uint8).reshape(3, 4),
    }
    fill(store, entries)
    store.settle()
    again = ShardStore(tmp_path)
    for key, tensor in entries.items():
        found = again.get(key)
        assert found.dtype == tensor.dtype and torch.equal(found, tensor)


def test_small_shards_are_joined_and_the_catalogue_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_JOINED_ENTRIES", 30)
    store, first = ShardStore(tmp_path), some(100)
    fill(store, first)
    store.settle()
    assert len(list(tmp_path.glob("*.safetensors"))) <= 5
    second = some(40, start=100)
    later = ShardStore(tmp_path)
    fill(later, second)
    later.settle()
    again = ShardStore(tmp_path)
    assert not Catalogue.open(tmp_path).unknown_shards()
    assert len(list(tmp_path.glob("catalogue-*.npy"))) == 2
    assert all(torch.equal(again.get(key), tensor) for key, tensor in {**first, **second}.items())


def test_a_shard_that_goes_or_changes_makes_the_catalogue_worthless(tmp_path: Path) -> None:
    one, two = some(6), some(6, start=50)
    write_shard(tmp_path, one)
    gone = write_shard(tmp_path, two)
    Catalogue.make(tmp_path)
    gone.unlink()
    store = ShardStore(tmp_path)
    assert store.has(names(one)).all() and not store.has(names(two)).any()


def test_a_reader_follows_when_another_process_joins_the_shards(tmp_path: Path) -> None:
    for number in range(4):
        write_shard(tmp_path, some(5, start=10 * number))
    reader = ShardStore(tmp_path)
    tidy(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert float(reader.get(next(iter(some(1, start=30))))[0, 0, 0]) == 30.0


def test_damage_is_noticed_at_reading_and_costs_one_entry(tmp_path: Path) -> None:
    store, entries = ShardStore(tmp_path), some(8)
    fill(store, entries)
    store.settle()
    shard = next(tmp_path.glob("*.safetensors"))
    places = places_in(shard)
    assert places is not None
    key = next(iter(entries))
    data = bytearray(shard.read_bytes())
    data[places[key].start] ^= 1
    shard.write_bytes(bytes(data))
    broken = ShardStore(tmp_path)
    with pytest.raises(UserError, match=r"damaged.*cache verify"):
        broken.get(key)
    again = ShardStore(tmp_path)
    assert key not in again and len(again) == 7
    assert verify(tmp_path).damaged == 0


def test_verify_drops_what_is_damaged_or_not_finite_and_puts_torn_shards_aside(tmp_path: Path) -> None:
    folder = tmp_path / "latents" / "vae"
    folder.mkdir(parents=True)
    entries = some(4)
    entries[7, 7] = torch.tensor([1.0, float("nan")])
    shard = write_shard(folder, entries)
    places = places_in(shard)
    assert places is not None
    data = bytearray(shard.read_bytes())
    data[places[next(iter(entries))].start + 1] ^= 0x7F
    shard.write_bytes(bytes(data))
    torn = write_shard(folder, some(3, start=30))
    torn.write_bytes(torn.read_bytes()[:-5])
    found = verify(tmp_path)
    assert (found.sound, found.damaged, found.unreadable) == (3, 2, [str(torn)])
    assert len(ShardStore(folder)) == 3
    assert verify(tmp_path) == shards.Verified(3, 0, [], verify(tmp_path).bytes)


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b'{"__metadata__":{"checksums":"{}"},"x":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}',
        json.dumps(
            {
                "__metadata__": {"checksums": json.dumps({"0" * 32: "0" * 16})},
                "0" * 32: {"dtype": "F16", "shape": [10], "data_offsets": [0, 2]},
            }
        ).encode(),
        json.dumps(
            {
                "__metadata__": {"checksums": json.dumps({"0" * 32: "0" * 16})},
                "0" * 32: {"dtype": "F16", "shape": [4], "data_offsets": [8, 16]},
            }
        ).encode(),
        json.dumps(
            {
                "__metadata__": {"checksums": json.dumps({"0" * 32: "0" * 16})},
                "0" * 32: {"dtype": "F16", "shape": [4], "data_offsets": [-8, 0]},
            }
        ).encode(),
        b"[" * 5000,
    ],
)
def test_hostile_shards_are_put_aside(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    assert len(ShardStore(tmp_path)) == 0
    assert path.with_suffix(".damaged").exists() and not path.exists()


_CHILD = """
import sys
from pathlib import Path
import torch
from core.engine.shards import ShardStore
store = ShardStore(Path(sys.argv[1]))
number = 0
while True:
    for _ in range(4):
        store.put((number, number), torch.full((4, 64, 64), float(number % 1000)))
        number += 1
    store.flush()
    print(number, flush=True)
"""


def test_a_kill_loses_one_batch_at_most(tmp_path: Path) -> None:
    for trial in range(3):
        folder = tmp_path / str(trial)
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(folder)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(5 + 40 * trial)]
        time.sleep(0.013 * trial)
        child.send_signal(signal.SIGKILL)
        told += [int(line) for line in child.stdout.read().split("\n")[:-1] if line]
        child.wait()
        tidy(folder)
        store = ShardStore(folder)
        # The last flush may not have been written yet; those before it are whole.
        wanted = [(number, number) for number in range(told[-1] - 4)]
        assert store.has(names(wanted)).all()
        assert all(float(store.get(key)[0, 0, 0]) == key[0] % 1000 for key in wanted)
        store.settle()
        assert not list(folder.glob("*.damaged"))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        ShardStore(tmp_path / "file" / "cache")
