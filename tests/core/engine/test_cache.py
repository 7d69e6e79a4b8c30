"""Latents: broken pictures cost themselves alone, a stop keeps what is done, damage is found, nothing is stale."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import events as ev
from core.data.buckets import Fit
from core.engine.control import Control
from core.engine.latent_store import MASK, latent_key, latent_keys
from core.engine.session import Session
from core.errors import UserError
from core.runs import create
from core.settings import Settings
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train

Make = Callable[..., Settings]
FIT = Fit((64, 64), (64, 64), (0, 0, 64, 64), 0.0)


def test_names_change_with_all_that_changes_a_latent() -> None:
    one = "0123456789abcdef" * 2
    keys = {
        latent_key(one, FIT),
        latent_key(one[::-1], FIT),
        latent_key(one[:-1] + "0", FIT),
        latent_key("f" + one[1:], FIT),
        latent_key(one, FIT, mirrored=True),
        latent_key(one, FIT, kind=MASK),
        latent_key(one, FIT, rule=1),
        latent_key(one, Fit((64, 48), (64, 64), (0, 8, 64, 56), 0.0)),
        latent_key(one, Fit((64, 48), (64, 64), (0, 0, 64, 48), 0.0)),
        latent_key(one, Fit((48, 64), (64, 64), (0, 0, 48, 64), 0.0)),
        latent_key(one, Fit((64, 64), (80, 64), (8, 0, 72, 64), 0.0)),
    }
    assert len(keys) == 11


def test_names_of_many_are_those_of_each() -> None:
    generator = np.random.default_rng(0)
    content = generator.integers(0, 2**64, (20, 2), dtype=np.uint64)
    bucket, resized, corner = (generator.integers(1, 200_000, (20, 2)) for _ in range(3))
    together = latent_keys(content, bucket, resized, corner, mirrored=True, rule=np.arange(20))
    for row in range(20):
        box = (*corner[row], *(corner[row] + bucket[row]))
        fit = Fit(tuple(bucket[row]), tuple(resized[row]), box, 0.0)  # type: ignore[arg-type]
        text = content[row].tobytes().hex()
        assert latent_key(text, fit, mirrored=True, rule=row) == tuple(together[row].tolist())


def test_a_torn_shard_is_put_aside_and_encoded_again(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(training__max_steps=2)
    _, told = train(settings, tmp_path / "one")
    shard = next((tmp_path / "cache" / "latents").rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    _, again = train(settings, tmp_path / "two")
    assert losses(again) == losses(told)
    assert shard.with_suffix(".damaged").exists()
    cached = [e for e in again if isinstance(e, ev.Progress) and e.phase == "cache"]
    assert cached[-1].total == 12


def test_the_second_run_encodes_nothing(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(training__max_steps=1)
    totals = []
    for name in ("one", "two"):
        _, told = train(settings, tmp_path / name)
        totals.append([e.total for e in told if isinstance(e, ev.Progress) and e.phase == "cache"][-1])
    assert totals == [12, 0]


def test_broken_pictures_are_listed_and_skipped(make_settings: Make, tmp_path: Path, pictures: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(pictures, own)
    (own / "empty.png").write_bytes(b"")
    (own / "words.jpg").write_text("no picture at all")
    whole = (own / "00.png").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 40] = b"\0" * 40
    (own / "damaged.png").write_bytes(bytes(damaged))
    settings = make_settings(data__folders=[str(own)], training__max_steps=2)
    for name in ("run", "again"):
        run, told = train(settings, tmp_path / name)
        warnings = " ".join(e.text for e in told if isinstance(e, ev.Message))
        assert all(broken in warnings for broken in ("empty.png", "words.jpg", "damaged.png")), name
        started = next(e for e in told if isinstance(e, ev.Started))
        assert started.pictures + started.validation_pictures == 12
        assert run.state()[0] == "finished"


def test_a_stop_while_caching_keeps_what_is_encoded(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(training__max_steps=1, hardware__encode_batch=2)
    run = create(settings, tmp_path / "run")
    control = Control()
    told = []
    for event in Session(run, run.settings(), control).events():
        told.append(event)
        if isinstance(event, ev.Progress) and event.phase == "cache" and event.done == 0:
            control.stop()
    assert isinstance(told[-1], ev.Ended) and told[-1].state == "stopped"
    _, rest = train(settings, tmp_path / "run")
    assert isinstance(rest[-1], ev.Ended) and rest[-1].state == "finished"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_latent_does_not_depend_on_who_was_encoded_beside_it(
    make_settings: Make, tmp_path: Path, precision: str
) -> None:
    # What a damaged or half-filled cache lacks is made with other neighbours; a run is promised to go on to the bit.
    found = []
    for together in (1, 2, 8):
        settings = make_settings(
            training__max_steps=2,
            training__precision=precision,
            hardware__encode_batch=together,
            hardware__cache_folder=str(tmp_path / f"cache {together}"),
        )
        run, told = train(settings, tmp_path / f"run {together}")
        found.append((losses(told), last_checkpoint(run)))
    for other in found[1:]:
        assert other[0] == found[0][0]
        assert_equal(other[1], found[0][1])


def test_transparent_and_grey_pictures_are_trained(make_settings: Make, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for number, mode in enumerate(("RGBA", "L", "I;16", "P", "CMYK", "1")):
        image = Image.effect_noise((64, 64), 80)
        image = Image.new("I;16", (64, 64), 30000) if mode == "I;16" else image.convert(mode)
        image.save(own / f"{number}.{'tif' if mode in ('CMYK', 'I;16') else 'png'}")
    _, told = train(make_settings(data__folders=[str(own)], training__max_steps=1), tmp_path / "run")
    started = next(e for e in told if isinstance(e, ev.Started))
    assert started.pictures + started.validation_pictures == 6


def test_a_cache_folder_that_cannot_be_made_is_said(make_settings: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        train(make_settings(hardware__cache_folder=str(tmp_path / "file" / "cache")), tmp_path / "run")


def test_a_resume_of_millions_does_not_look_through_the_folders_again(
    make_settings: Make, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.engine.prepare._LOOKED_AT_AGAIN", 5)
    own = tmp_path / "own"
    shutil.copytree(pictures, own)
    settings = make_settings(data__folders=[str(own)], training__max_steps=3, output__save_every_steps=1)
    train(settings, tmp_path / "run", until=lambda event: isinstance(event, ev.StateSaved))
    (own / "empty.png").write_bytes(b"")
    _, resumed = train(settings, tmp_path / "run")
    said = [event.text for event in resumed if isinstance(event, ev.Message)]
    assert any("not looked through again" in text for text in said) and not any("empty.png" in text for text in said)
    _, fresh = train(settings, tmp_path / "other")
    assert any("empty.png" in event.text for event in fresh if isinstance(event, ev.Message))
