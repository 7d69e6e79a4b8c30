"""Numbers against diffusers and the papers: noise, SNR, weightings, one step's loss and gradients, the ruler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from core import registry
from core.engine.attention import set_attention
from core.engine.distributed import make_accelerator
from core.engine.loader import Batch
from core.engine.model_files import open_model
from core.engine.models import Models
from core.engine.noise import NoiseSchedule, draw_training
from core.engine.stable_loss import Probe, StableLoss
from core.engine.trainer import Trainer
from core.settings import Settings
from core.weightings import min_snr

Make = Callable[..., Settings]


def _config(model: Path) -> dict[str, object]:
    return open_model(model).configs["scheduler"]


def test_noise_and_snr_are_diffusers(tiny_model: Path) -> None:
    config = _config(tiny_model)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    schedule = NoiseSchedule.from_config(config)
    latents, noise = torch.randn(5, 4, 8, 8), torch.randn(5, 4, 8, 8)
    timesteps = torch.tensor([0, 1, 500, 998, 999])
    torch.testing.assert_close(
        schedule.add_noise(latents, noise, timesteps), scheduler.add_noise(latents, noise, timesteps)
    )
    torch.testing.assert_close(schedule.snr(timesteps), compute_snr(scheduler, timesteps))


def test_min_snr_is_the_papers_formula(tiny_model: Path) -> None:
    snr = NoiseSchedule.from_config(_config(tiny_model)).snr(torch.tensor([10, 500, 990]))
    weights = min_snr.weights(snr, min_snr.Options(gamma=5.0))
    assert weights is not None
    expected = [min(float(s), 5.0) / float(s) for s in snr]
    assert weights.tolist() == pytest.approx(expected)


def _batch(count: int = 3) -> Batch:
    torch.manual_seed(3)
    return Batch(
        latents=torch.randn(count, 4, 8, 8),
        noise=torch.randn(count, 4, 8, 8),
        timesteps=torch.tensor([5, 400, 900][:count]),
        captions=["a cat", "a dog, sleeping", ""][:count],
        weights=torch.ones(count),
        count=count,
        number=0,
        epoch=0,
    )


def _trainer(settings: Settings, model: Path) -> Trainer:
    models = Models(open_model(model), torch.device("cpu"))
    models.load("unet", "text_encoder", "tokenizer")
    accelerator: Accelerator = make_accelerator(torch.device("cpu"), "fp32")
    return Trainer(models, settings, accelerator, "fp32")


@pytest.mark.parametrize("text_rate", [0.0, 1e-3])
@pytest.mark.parametrize("weighting", ["none", "min_snr"])
def test_one_step_is_the_plain_computation(
    text_rate: float, weighting: str, make_settings: Make, tiny_model: Path
) -> None:
    """Loss to 1e-6 and gradients of a straightforward diffusers computation."""
    settings = make_settings(
        training__text_encoder_learning_rate=text_rate, loss__weighting=weighting, training__optimizer="sgd",
        sgd__momentum=0.0, training__clip_norm=0.0, training__learning_rate=1.0,
    )  # fmt: skip
    batch = _batch()
    trainer = _trainer(settings, tiny_model)
    before = {name: tensor.clone() for name, tensor in trainer.models.unet.state_dict().items()}
    result = trainer.step([batch], 1.0)

    plain = Models(open_model(tiny_model), torch.device("cpu"))
    plain.load("unet", "text_encoder", "tokenizer")
    plain.unet.requires_grad_(True)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    tokens = plain.tokenizer(
        batch.captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    states = plain.text_encoder(tokens)[0]
    noisy = scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
    predicted = plain.unet(noisy, batch.timesteps, states).sample
    losses = ((predicted - batch.noise) ** 2).mean(dim=(1, 2, 3))
    if weighting == "min_snr":
        snr = compute_snr(scheduler, batch.timesteps)
        losses = losses * torch.minimum(snr, torch.full_like(snr, 5.0)) / snr
    loss = losses.mean()
    loss.backward()
    assert float(result.loss) == pytest.approx(float(loss), rel=1e-6)
    for name, parameter in plain.unet.named_parameters():
        moved = before[name] - trainer.models.unet.state_dict()[name]
        torch.testing.assert_close(moved, parameter.grad, rtol=1e-3, atol=1e-6)


def test_padding_counts_nothing(make_settings: Make, tiny_model: Path) -> None:
    trainer = _trainer(make_settings(), tiny_model)
    two, three = _batch(2), _batch(3)
    padded = Batch(
        latents=torch.cat([two.latents, three.latents[2:]]),
        noise=torch.cat([two.noise, three.noise[2:]]),
        timesteps=three.timesteps,
        captions=three.captions,
        weights=torch.tensor([1.0, 1.0, 0.0]),
        count=2,
        number=0,
        epoch=0,
    )
    with torch.no_grad():
        assert float(trainer.loss_sum(padded)) == pytest.approx(float(trainer.loss_sum(two)), rel=1e-5)


def test_draws_cover_the_wanted_timesteps_and_repeat() -> None:
    shape = torch.Size((4, 8, 8))
    draws = [draw_training(shape, (0, epoch, "hash"), (100, 103), 0.0, True) for epoch in range(200)]
    assert {draw.timestep for draw in draws} == {100, 101, 102, 103}
    assert 60 < sum(draw.mirrored for draw in draws) < 140
    again = draw_training(shape, (0, 5, "hash"), (100, 103), 0.0, True)
    assert torch.equal(again.noise, draws[5].noise)
    offset = draw_training(shape, (0, 5, "hash"), (100, 103), 0.5, True)
    difference = offset.noise - again.noise
    assert difference.std(dim=(1, 2)).max() < 1e-6
    assert difference.abs().max() > 0.01


def _measure(batch: int, model: Path, probes: list[Probe]) -> list[float]:
    models = Models(open_model(model), torch.device("cpu"))
    models.load("unet")
    ruler = StableLoss(NoiseSchedule.from_config(_config(model)), seed=1, timestep_buckets=4, repeats=2, batch=batch)

    def texts(captions: list[str]) -> dict[str, torch.Tensor]:
        return {"encoder_hidden_states": torch.ones(len(captions), 77, 16)}

    def predict(noisy: torch.Tensor, timesteps: torch.Tensor, states: dict[str, torch.Tensor]) -> torch.Tensor:
        predicted: torch.Tensor = models.unet(noisy, timesteps, **states, return_dict=False)[0]
        return predicted

    return ruler.measure(probes, predict, texts, torch.device("cpu")).buckets


def test_stable_loss_repeats_to_the_bit_and_does_not_see_batch_or_order(tiny_model: Path) -> None:
    torch.manual_seed(0)
    probes = [Probe(torch.randn(4, 8, 8 if n % 2 else 6), "", f"picture {n}") for n in range(6)]
    first = _measure(8, tiny_model, probes)
    torch.manual_seed(99)
    torch.randn(1000)
    assert _measure(8, tiny_model, probes) == first
    assert _measure(1, tiny_model, probes) == pytest.approx(first, rel=1e-6)
    assert _measure(8, tiny_model, probes[::-1]) == pytest.approx(first, rel=1e-6)
    assert len(set(first)) == 4


def test_every_schedule_begins_full_and_falls_as_its_name_says() -> None:
    ends = {}
    for name, module in registry.components("schedules").items():
        values = [module.factor(i / 10) for i in range(11)]
        assert values[0] == 1.0
        assert values == sorted(values, reverse=True)
        ends[name] = values[-1]
    assert ends == {"constant": 1.0, "cosine": pytest.approx(0.0), "linear": 0.0}


def test_warm_up_rises_to_the_full_rate(make_settings: Make, tiny_model: Path) -> None:
    settings = make_settings(training__warmup_steps=4, training__schedule="linear", training__max_steps=14)
    trainer = _trainer(settings, tiny_model)
    factors = [trainer.rate_factor(step, 14) for step in range(1, 15)]
    assert factors[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert factors[-1] == pytest.approx(0.1)


def test_attention_for_processors_is_diffusers_attention(tiny_model: Path) -> None:
    """In 32 bits equal to what diffusers computes; in bf16 as near to it as diffusers' own bf16."""
    models = Models(open_model(tiny_model), torch.device("cpu"))
    models.load("unet")
    torch.manual_seed(1)
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randn(2, 77, 16))
    with torch.no_grad():
        exact = models.unet(*inputs).sample
        with torch.autocast("cpu", torch.bfloat16):
            rough = models.unet(*inputs).sample.float()
        set_attention(models, "sdpa", "bf16")
        torch.testing.assert_close(models.unet(*inputs).sample, exact)
        with torch.autocast("cpu", torch.bfloat16):
            ours = models.unet(*inputs).sample.float()
    assert (ours - exact).abs().mean() < 1.2 * (rough - exact).abs().mean() < 0.05
