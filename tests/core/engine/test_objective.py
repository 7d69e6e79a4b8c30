"""Tests of core/engine/objective.py: one step's loss and gradient against diffusers and the papers' formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionXLPipeline
from diffusers.training_utils import compute_snr
from torch.nn import functional

from core import presets, registry
from core.engine.distributed import make_accelerator
from core.engine.loader import Batch
from core.engine.model_files import open_model
from core.engine.models import Models
from core.engine.noise import Moment, NoiseSchedule
from core.engine.objective import Objective
from core.engine.trainer import Trainer
from core.losses import huber
from core.settings import Settings
from tests.fixtures.tiny_model import make_tiny_xl_model

Make = Callable[..., Settings]

SD15: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
#: (model.prediction, model.zero_terminal_snr)
TARGETS = [("auto", "auto"), ("v-prediction", "auto"), ("v-prediction", "on"), ("epsilon", "on")]


def expected_weights(name: str, snr: torch.Tensor, v: bool) -> torch.Tensor:
    """The weightings as the papers and diffusers' training scripts write them, for each kind of prediction."""
    one = torch.ones_like(snr)
    least = torch.stack([snr, 5.0 * one], dim=1).min(dim=1)[0]
    of_noise = {
        "none": one,
        "min_snr": torch.where(snr > 0, least / snr, 1.0),
        "debiased": 1 / snr.clamp(min=1e-6).sqrt(),
        "snr": one,
        "p2": 1 / (1 + snr),
    }
    of_v = {
        "none": one,
        "min_snr": least / (snr + 1),
        "debiased": snr.sqrt() / (snr + 1),
        "snr": snr / (snr + 1),
        "p2": snr / (1 + snr) ** 2,
    }
    return (of_v if v else of_noise)[name]


def expected_errors(kind: str, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """torch's own losses."""
    if kind == "huber":
        return functional.huber_loss(predicted, target, reduction="none", delta=0.1)
    if kind == "smooth_l1":
        return functional.smooth_l1_loss(predicted, target, reduction="none", beta=0.1)
    return functional.mse_loss(predicted, target, reduction="none")


def _scheduler(prediction: str, ztsnr: str) -> DDPMScheduler:
    kind = "v_prediction" if prediction == "v-prediction" else "epsilon"
    return DDPMScheduler(**SD15, prediction_type=kind, rescale_betas_zero_snr=ztsnr == "on")


def _batch(perturbed: bool = False) -> Batch:
    source = torch.Generator().manual_seed(3)
    latents, noise, more = (torch.randn(4, 4, 8, 8, generator=source) for _ in range(3))
    return Batch(
        latents=latents,
        noise=noise,
        timesteps=torch.tensor([5, 400, 900, 999]),
        captions=["a cat", "a dog, sleeping", "", "tags, more"],
        sizes=torch.zeros(4, 6),
        weights=torch.ones(4),
        count=4,
        number=0,
        epoch=0,
        added=noise + 0.1 * more if perturbed else None,
    )


def _models(path: Path) -> Models:
    models = Models(open_model(path), torch.device("cpu"))
    models.load("unet", "text_encoder", "tokenizer")
    return models


def _ours(settings: Settings, path: Path, batch: Batch) -> tuple[float, torch.Tensor]:
    """Mean loss of a batch and its gradient, all in one row, as the trainer computes them."""
    trainer = Trainer(_models(path), settings, make_accelerator(torch.device("cpu"), "fp32"), "fp32")
    loss = trainer.loss_sum(batch) / batch.count
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in trainer.models.unet.parameters()]
    return float(loss.detach()), torch.cat([g.flatten() for g in gradients if g is not None])


def _plain(path: Path, batch: Batch, scheduler: DDPMScheduler, weighting: str, kind: str) -> tuple[float, torch.Tensor]:
    """The same by diffusers' parts alone."""
    models = _models(path)
    models.unet.requires_grad_(True)
    tokens = models.tokenizer(
        batch.captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    states = models.text_encoder(tokens)[0]
    v = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps) if v else batch.noise
    added = batch.noise if batch.added is None else batch.added
    noisy = scheduler.add_noise(batch.latents, added, batch.timesteps)
    predicted = models.unet(noisy, batch.timesteps, states).sample
    weights = expected_weights(weighting, compute_snr(scheduler, batch.timesteps), v)
    loss = (expected_errors(kind, predicted, target).mean(dim=(1, 2, 3)) * weights).mean()
    loss.backward()
    return float(loss.detach()), torch.cat([p.grad.flatten() for p in models.unet.parameters()])


def _assert_same(ours: tuple[float, torch.Tensor], plain: tuple[float, torch.Tensor], gradient: float = 1e-6) -> None:
    assert ours[0] == pytest.approx(plain[0], rel=1e-6)
    assert ours[1].shape == plain[1].shape
    assert float((ours[1] - plain[1]).norm() / plain[1].norm()) < gradient


@pytest.mark.parametrize("kind", registry.names("losses"))
@pytest.mark.parametrize("weighting", registry.names("weightings"))
@pytest.mark.parametrize(("prediction", "ztsnr"), TARGETS)
def test_one_step_is_the_plain_computation(
    prediction: str, ztsnr: str, weighting: str, kind: str, make_settings: Make, tiny_model: Path
) -> None:
    """Loss and gradient of a straightforward diffusers computation, to 1e-6."""
    settings = make_settings(
        model__prediction=prediction, model__zero_terminal_snr=ztsnr, loss__weighting=weighting, loss__kind=kind
    )
    batch = _batch()
    plain = _plain(tiny_model, batch, _scheduler(prediction, ztsnr), weighting, kind)
    _assert_same(_ours(settings, tiny_model, batch), plain)


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the SDXL architecture."""
    return make_tiny_xl_model(tmp_path_factory.mktemp("xl") / "model")


@pytest.mark.parametrize("weighting", registry.names("weightings"))
@pytest.mark.parametrize(("prediction", "ztsnr"), TARGETS)
def test_one_step_of_sdxl_is_the_plain_computation(
    prediction: str, ztsnr: str, weighting: str, make_settings: Make, xl: Path
) -> None:
    """As above, with conditioning by diffusers' own pipeline."""
    changes = {"model__prediction": prediction, "model__zero_terminal_snr": ztsnr, "loss__weighting": weighting}
    sizes = torch.tensor(
        [[96.0, 64, 0, 0, 64, 64], [64, 64, 0, 0, 64, 64], [80, 80, 8, 4, 64, 64], [64, 96, 0, 9, 64, 64]]
    )
    batch = replace(_batch(), sizes=sizes)
    models = Models(open_model(xl), torch.device("cpu"))
    models.load("unet", "text_encoder", "text_encoder_2", "tokenizer")
    trainer = Trainer(
        models, make_settings(model__base=str(xl), **changes), make_accelerator(torch.device("cpu"), "fp32"), "fp32"
    )
    loss = trainer.loss_sum(batch) / batch.count
    loss.backward()  # type: ignore[no-untyped-call]
    ours = float(loss.detach()), torch.cat([p.grad.flatten() for p in models.unet.parameters() if p.grad is not None])

    pipe = StableDiffusionXLPipeline.from_pretrained(xl)
    pipe.unet.requires_grad_(True)
    scheduler = _scheduler(prediction, ztsnr)
    v = prediction == "v-prediction"
    with torch.no_grad():
        states, _, pooled, _ = pipe.encode_prompt(batch.captions, do_classifier_free_guidance=False)
    noisy = scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
    added = {"text_embeds": pooled, "time_ids": sizes}
    predicted = pipe.unet(noisy, batch.timesteps, states, added_cond_kwargs=added).sample
    target = scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps) if v else batch.noise
    weights = expected_weights(weighting, compute_snr(scheduler, batch.timesteps), v)
    plain = (functional.mse_loss(predicted, target, reduction="none").mean(dim=(1, 2, 3)) * weights).mean()
    plain.backward()
    gradients = [p.grad.flatten() for p in pipe.unet.parameters() if p.grad is not None]
    # Its states are summed in another order, which the gradient shows in its seventh digit.
    _assert_same(ours, (float(plain.detach()), torch.cat(gradients)), gradient=4e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v-prediction"])
def test_a_perturbed_input_is_asked_for_the_plain_noise(prediction: str, make_settings: Make, tiny_model: Path) -> None:
    batch = _batch(perturbed=True)
    settings = make_settings(model__prediction=prediction)
    plain = _plain(tiny_model, batch, _scheduler(prediction, "off"), "none", "mse")
    _assert_same(_ours(settings, tiny_model, batch), plain)
    assert _ours(settings, tiny_model, _batch())[0] != pytest.approx(plain[0], rel=1e-4)


@pytest.mark.parametrize("v", [False, True])
@pytest.mark.parametrize("weighting", registry.names("weightings"))
def test_weightings_are_the_papers_formulas_at_every_timestep(weighting: str, v: bool) -> None:
    changes = {"loss.weighting": weighting, "model.prediction": "v-prediction" if v else "epsilon"}
    objective = Objective.from_settings(presets.build(changes, "test"), SD15, "cpu")
    timesteps = torch.arange(1000)
    snr = compute_snr(DDPMScheduler(**SD15), timesteps)
    found = objective.weights(objective.schedule.snr(timesteps))
    expected = expected_weights(weighting, snr, v)
    torch.testing.assert_close(torch.ones(1000) if found is None else found, expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize(
    ("changes", "of_noise"),
    [
        ({"loss.weighting": "min_snr", "min_snr.gamma": 1.5}, lambda s: min(s, 1.5) / s),
        ({"loss.weighting": "p2", "p2.gamma": 0.5, "p2.k": 2.0}, lambda s: 1 / (2.0 + s) ** 0.5),
    ],
)
def test_options_of_weightings_count(changes: dict[str, Any], of_noise: Callable[[float], float]) -> None:
    objective = Objective.from_settings(presets.build(changes, "test"), SD15, "cpu")
    snr = torch.tensor([0.01, 1.0, 4.0, 400.0])
    found = objective.weights(snr)
    assert found is not None
    assert found.tolist() == pytest.approx([of_noise(float(s)) for s in snr], rel=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v-prediction"])
@pytest.mark.parametrize("weighting", registry.names("weightings"))
@pytest.mark.parametrize("schedule", ["constant", "exponential", "snr"])
def test_a_ratio_of_zero_gives_a_finite_loss_and_gradient(weighting: str, prediction: str, schedule: str) -> None:
    changes = {
        "model.prediction": prediction,
        "model.zero_terminal_snr": "on",
        "loss.weighting": weighting,
        "loss.kind": "huber",
        "huber.schedule": schedule,
    }
    objective = Objective.from_settings(presets.build(changes, "test"), SD15, "cpu")
    timesteps = torch.tensor([0, 998, 999])
    assert float(objective.schedule.snr(timesteps)[-1]) == 0
    predicted = torch.randn(3, 4, 8, 8, requires_grad=True)
    losses = objective.losses(predicted, torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), timesteps)
    assert losses.shape == (3,)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert predicted.grad is not None
    assert bool(losses.isfinite().all()) and bool(predicted.grad.isfinite().all())


def test_the_schedules_of_hubers_delta_go_from_one_to_delta() -> None:
    schedule = NoiseSchedule.from_config(SD15)
    moment = schedule.moment(torch.arange(1000))
    predicted, target = torch.full((1000, 1, 1, 1), 3.0), torch.zeros(1000, 1, 1, 1)

    def deltas(name: str) -> list[float]:
        """Far outside delta the loss is delta * (3 - delta / 2); solved for delta."""
        options = huber.Options.model_validate({"delta": 0.1, "schedule": name})
        losses = huber.errors(predicted, target, moment, options).flatten().double()
        return (3 - (9 - 2 * losses).sqrt()).tolist()

    assert deltas("constant") == pytest.approx([0.1] * 1000, rel=1e-4)
    exponential = deltas("exponential")
    assert exponential == pytest.approx([0.1 ** (t / 1000) for t in range(1000)], rel=1e-4)
    alphas = DDPMScheduler(**SD15).alphas_cumprod.double()
    sigma = ((1 - alphas) / alphas).sqrt()
    assert deltas("snr") == pytest.approx((0.9 / (1 + sigma) ** 2 + 0.1).tolist(), rel=1e-4)


def test_huber_with_a_delta_for_each_picture_is_torchs() -> None:
    predicted, target = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    moment = Moment(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.5]))
    options = huber.Options.model_validate({"delta": 0.25, "schedule": "exponential"})
    found = huber.errors(predicted, target, moment, options)
    for number, delta in enumerate((1.0, 0.5)):
        expected = functional.huber_loss(predicted[number], target[number], reduction="none", delta=delta)
        torch.testing.assert_close(found[number], expected)


def test_the_models_own_marks_count_unless_they_are_overridden(make_settings: Make) -> None:
    marked = {**SD15, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    own = Objective.from_settings(make_settings(), marked, "cpu").schedule
    assert (own.prediction, float(own.alphas[-1])) == ("v_prediction", 0.0)
    changes = {"model__prediction": "epsilon", "model__zero_terminal_snr": "off"}
    other = Objective.from_settings(make_settings(**changes), marked, "cpu").schedule
    assert (other.prediction, float(other.alphas[-1])) == ("epsilon", pytest.approx(0.00466, rel=1e-2))
