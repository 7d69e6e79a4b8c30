"""Numbers against diffusers and the papers: noise, SNR, weightings, one step's loss and gradients, the ruler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from core.engine import attention
from core.engine.attention import set_attention
from core.engine.distributed import make_accelerator
from core.engine.loader import Batch
from core.engine.model_files import open_model
from core.engine.models import Models
from core.engine.noise import NoiseSchedule
from core.engine.stable_loss import Probe, StableLoss
from core.engine.trainer import Trainer
from core.settings import Settings

Make = Callable[..., Settings]


def _config(model: Path) -> dict[str, object]:
    return open_model(model).configs["scheduler"]


def _batch(count: int = 3) -> Batch:
    torch.manual_seed(3)
    return Batch(
        latents=torch.randn(count, 4, 8, 8),
        noise=torch.randn(count, 4, 8, 8),
        timesteps=torch.tensor([5, 400, 900][:count]),
        captions=["a cat", "a dog, sleeping", ""][:count],
        sizes=torch.zeros(count, 6),
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


def test_padding_counts_nothing(make_settings: Make, tiny_model: Path) -> None:
    trainer = _trainer(make_settings(), tiny_model)
    two, three = _batch(2), _batch(3)
    padded = Batch(
        latents=torch.cat([two.latents, three.latents[2:]]),
        noise=torch.cat([two.noise, three.noise[2:]]),
        timesteps=three.timesteps,
        captions=three.captions,
        sizes=three.sizes,
        weights=torch.tensor([1.0, 1.0, 0.0]),
        count=2,
        number=0,
        epoch=0,
    )
    with torch.no_grad():
        assert float(trainer.loss_sum(padded)) == pytest.approx(float(trainer.loss_sum(two)), rel=1e-5)


def _measure(batch: int, model: Path, probes: list[Probe]) -> list[float]:
    models = Models(open_model(model), torch.device("cpu"))
    models.load("unet")
    ruler = StableLoss(NoiseSchedule.from_config(_config(model)), seed=1, timestep_buckets=4, repeats=2, batch=batch)

    def texts(captions: list[str]) -> dict[str, torch.Tensor]:
        return {"encoder_hidden_states": torch.ones(len(captions), 77, 16)}

    def predict(
        noisy: torch.Tensor, timesteps: torch.Tensor, states: dict[str, torch.Tensor], sizes: torch.Tensor
    ) -> torch.Tensor:
        predicted: torch.Tensor = models.unet(noisy, timesteps, **states, return_dict=False)[0]
        return predicted

    return ruler.measure(probes, predict, texts, torch.device("cpu")).buckets


def test_stable_loss_repeats_to_the_bit_and_does_not_see_batch_or_order(tiny_model: Path) -> None:
    torch.manual_seed(0)
    probes = [Probe(torch.randn(4, 8, 8 if n % 2 else 6), "", f"picture {n}", (64,) * 6) for n in range(6)]
    first = _measure(8, tiny_model, probes)
    torch.manual_seed(99)
    torch.randn(1000)
    assert _measure(8, tiny_model, probes) == first
    assert _measure(1, tiny_model, probes) == pytest.approx(first, rel=1e-6)
    assert _measure(8, tiny_model, probes[::-1]) == pytest.approx(first, rel=1e-6)
    assert len(set(first)) == 4


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_stable_loss_asks_for_what_the_model_predicts(prediction: str, tiny_model: Path) -> None:
    """A model that is always right has none."""
    schedule = NoiseSchedule.from_config({**_config(tiny_model), "prediction_type": prediction})
    ruler = StableLoss(schedule, seed=1, timestep_buckets=4, repeats=2, batch=3)
    latent = torch.randn(4, 8, 8)

    def right(
        noisy: torch.Tensor, timesteps: torch.Tensor, states: dict[str, torch.Tensor], sizes: torch.Tensor
    ) -> torch.Tensor:
        alphas = schedule.alphas[timesteps].reshape(-1, 1, 1, 1)
        noise = (noisy - alphas.sqrt() * latent) / (1 - alphas).sqrt()
        return noise if prediction == "epsilon" else alphas.sqrt() * noise - (1 - alphas).sqrt() * latent

    found = ruler.measure([Probe(latent, "", "a", (64,) * 6)], right, lambda captions: {}, torch.device("cpu"))
    assert found.loss < 1e-6


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


@pytest.mark.parametrize(("weights", "expected"), [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_narrow_projections_stay_in_32_bits(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, weights: torch.dtype, expected: torch.dtype
) -> None:
    """Where their weights are, and where they are narrow; wide ones are computed in bf16."""

    def projected() -> set[torch.dtype]:
        set_attention(models, "sdpa", "bf16")
        found = set()
        for name, module in models.unet.named_modules():
            if name.endswith(("to_q", "to_k", "to_out.0")):
                module.register_forward_hook(lambda module, inputs, output: found.add(output.dtype))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            models.unet(torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randn(2, 77, 16))
        return found

    models = Models(open_model(tiny_model), torch.device("cpu"))
    models.load("unet")
    models.unet.to(weights)
    assert projected() == {expected}
    monkeypatch.setattr(attention, "_NARROW", 7)
    assert projected() == {torch.bfloat16}
