"""The loader: batches are a function of their number, from the cache or from the files, with masks and folder rules."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.engine.control import Control
from core.engine.distributed import make_accelerator
from core.engine.latent_store import is_live
from core.engine.loader import Batch, LatentSpace, Loader, jittered
from core.engine.models import open_models
from core.engine.noise import DrawPlan
from core.engine.prepare import Prepared, prepare
from core.settings import Settings

Make = Callable[..., Settings]


def prepared(settings: Settings) -> tuple[Prepared, LatentSpace, Callable[[np.ndarray], torch.Tensor]]:
    from core.engine.cache import encode

    models = open_models(settings, torch.device("cpu"))
    work = prepare(settings, models, Control(), make_accelerator(torch.device("cpu"), "fp32"), "fp32")
    while True:
        try:
            next(work)
        except StopIteration as end:
            space = LatentSpace(models.scaling_factor, models.latent_channels, models.vae_factor)
            return end.value, space, lambda pixels: encode(models, pixels, "fp32")


def loader_of(settings: Settings, draws: DrawPlan | None = None, share: tuple[int, int] = (0, 1)) -> Loader:
    data, space, encode = prepared(settings)
    draws = draws or DrawPlan()
    return Loader(data.dataset, data.store, settings, space, draws, share, encode if is_live(settings) else None)


def same(one: Batch, other: Batch) -> bool:
    tensors = ("latents", "noise", "timesteps", "sizes", "weights")
    return one.captions == other.captions and all(torch.equal(getattr(one, t), getattr(other, t)) for t in tensors)


@pytest.mark.parametrize("changes", [{}, {"data__crop_focus": "random"}, {"data__sample_latents": True}])
def test_a_batch_depends_on_its_number_alone(make_settings: Make, changes: dict[str, object]) -> None:
    settings = make_settings(data__flip=True, data__shuffle_tags=True, **changes)
    one, other = loader_of(settings), loader_of(settings)
    numbers = [7, 0, 3, 7]
    found = [one.batch(number) for number in numbers]
    stream = other.stream(0)
    streamed = [next(stream) for _ in range(8)]
    stream.close()
    assert all(same(batch, streamed[number]) for batch, number in zip(found, numbers, strict=True))
    assert not same(found[0], found[1])


def test_sampled_latents_are_drawn_anew_around_the_mean(make_settings: Make) -> None:
    sampled = loader_of(make_settings(data__sample_latents=True))
    plain = loader_of(make_settings())
    epoch = plain.order.batches_per_epoch
    first, later = (sampled.batch(number) for number in (0, epoch * 5))
    assert torch.equal(plain.batch(0).noise, first.noise)
    spread = (first.latents - plain.batch(0).latents).std()
    assert 0 < float(spread) < 1 and not torch.equal(first.latents, later.latents)


def test_random_crops_differ_from_use_to_use_and_are_told(make_settings: Make, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 150, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    settings = make_settings(
        data__folders=[str(folder)], data__crop_focus="random", data__buckets="kohya", training__batch_size=1
    )
    loader = loader_of(settings)
    corners = {tuple(loader.batch(number).sizes[0, 2:4].tolist()) for number in range(12)}
    assert len(corners) > 4
    batch = loader.batch(3)
    row = int(loader.order.batch(3).rows[0])
    item = loader.dataset.items(np.array([row]))[0]
    image = Image.open(item.path).convert("RGB").resize(item.fit.resized, Image.Resampling.LANCZOS)
    top, left = (int(side) for side in batch.sizes[0, 2:4])
    width, height = item.fit.bucket
    cut = np.asarray(image.crop((left, top, left + width, top + height)))
    assert loader._encode is not None
    expected = loader._encode(cut[None]) * loader._space.scale
    assert torch.allclose(batch.latents, expected, atol=0.05)


def test_colours_vary_by_the_share_and_the_seed() -> None:
    pixels = np.full((8, 8, 3), 128, dtype=np.uint8)
    pixels[:4] = (200, 60, 20)
    seen = [jittered(pixels, 0.2, seed) for seed in range(20)]
    assert np.array_equal(seen[0], jittered(pixels, 0.2, 0))
    assert len({one.tobytes() for one in seen}) == 20
    assert all(90 <= one[6, 0, 0] <= 170 for one in seen)
    assert np.array_equal(jittered(pixels, 0.0, 5), pixels)


@pytest.mark.parametrize("live", [False, True])
def test_masks_follow_crop_and_mirror(make_settings: Make, tmp_path: Path, live: bool) -> None:
    folder = tmp_path / "masked"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 4), dtype=np.uint8)
        pixels[:, :, 3] = 0
        pixels[:, :16, 3] = 255  # only the left quarter is solid
        Image.fromarray(pixels).save(folder / f"{number}.png")
    settings = make_settings(
        data__folders=[str(folder)],
        data__flip=True,
        data__crop_focus="random" if live else "centre",
        training__batch_size=1,
    )
    settings.data.folder_rules = [{"path": str(folder), "mask": "alpha"}]  # type: ignore[list-item]
    loader = loader_of(settings)
    sides = set()
    for number in range(12):
        mask = loader.batch(number).mask
        assert mask is not None and mask.shape[1] == 1
        columns = mask[0, 0].mean(dim=0)
        width = len(columns)
        left, right = float(columns[: width // 4].mean()), float(columns[-(width // 4) :].mean())
        assert sorted([left, right]) == pytest.approx([0, 1], abs=0.01)
        sides.add(left > right)
    assert sides == {True, False}


def test_rules_of_folders_decide_repeats_weights_and_triggers(make_settings: Make, tmp_path: Path) -> None:
    for name, count in (("own", 3), ("many", 8)):
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = np.random.default_rng(number + 10 * count).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
            (tmp_path / name / f"{number}.txt").write_text("a tag")
    settings = make_settings(data__folders=[str(tmp_path / "own"), str(tmp_path / "many")], validation__share=0)
    settings.data.folder_rules = [  # type: ignore[assignment]
        {"path": str(tmp_path / "own"), "repeats": 4, "trigger": "zwx", "weight": 2.0},
        {"path": str(tmp_path / "many"), "sample": 5, "role": "regularisation", "weight": 0.5},
    ]
    loader = loader_of(settings)
    uses: list[tuple[str, float]] = []
    for number in range(loader.order.batches_per_epoch):
        batch = loader.batch(number)
        uses += zip(batch.captions, batch.weights.tolist(), strict=True)
    assert uses.count(("zwx, a tag", 2.0)) == 12
    assert uses.count(("a tag", 0.5)) == 5
    assert len(uses) == 17


def test_two_processes_share_a_batch_and_pad_it(make_settings: Make) -> None:
    settings = make_settings(training__batch_size=1, hardware__processes=2)
    whole = make_settings(training__batch_size=2)
    one, two, both = loader_of(settings), loader_of(settings, share=(1, 2)), loader_of(whole)
    one = Loader(both.dataset, both._store, settings, both._space, DrawPlan(), (0, 2))
    two = Loader(both.dataset, both._store, settings, both._space, DrawPlan(), (1, 2))
    for number in range(both.order.batches_per_epoch):
        first, second, full = one.batch(number), two.batch(number), both.batch(number)
        assert first.count == second.count == full.count
        real = [*first.captions, *second.captions][: full.count]
        assert sorted(real) == sorted(full.captions)
        assert float(first.weights.sum() + second.weights.sum()) == full.count


def test_an_edited_caption_is_read_at_the_next_use(make_settings: Make, tmp_path: Path, pictures: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(pictures, own)
    loader = loader_of(make_settings(data__folders=[str(own)]))
    row = int(loader.order.batch(0).rows[0])
    text = Path(loader.dataset.paths(np.array([row]))[0]).with_suffix(".txt")
    before = loader.batch(0).captions
    text.write_text("something else")
    assert loader.batch(0).captions == before  # not settled: somebody may be writing
    long_ago = time.time() - 60
    os.utime(text, (long_ago, long_ago))
    assert loader.batch(0).captions == ["something else", *before[1:]]
