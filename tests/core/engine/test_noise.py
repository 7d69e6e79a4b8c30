"""Tests of core/engine/noise.py: pinned draws, densities, pyramid noise, input perturbation, schedules of diffusers."""

from __future__ import annotations

import itertools
import math
import traceback
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from core import presets
from core.engine.noise import DrawPlan, NoiseSchedule, draw_training, seed_device
from core.engine.objective import draw_plan, scheduler_config
from core.errors import UserError

SD15 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
SHAPE = torch.Size((4, 8, 8))


def _plan(config: dict[str, Any] | None = None, **changes: Any) -> DrawPlan:
    settings = presets.build({key.replace("__", "."): value for key, value in changes.items()}, "test")
    return draw_plan(settings, config or SD15)


def test_draws_are_those_of_the_first_version() -> None:
    """Runs of 0.1.0 go on with the same noise: values that it drew."""
    plain = draw_training(SHAPE, (0, 0, "a"), _plan())
    assert (plain.timestep, plain.mirrored) == (129, False)
    assert plain.noise.flatten()[:3].tolist() == [0.028282465413212776, -1.1614679098129272, 0.5527389645576477]
    assert plain.noise.double().sum().item() == pytest.approx(-26.684408777859062, rel=1e-12)
    assert plain.added is plain.noise
    limits = {"loss__min_timestep": 100, "loss__max_timestep": 900}
    other = draw_training(SHAPE, (7, 3, "b"), _plan(loss__noise_offset=0.1, data__flip=True, **limits))
    assert (other.timestep, other.mirrored) == (511, False)
    assert other.noise.flatten()[:3].tolist() == [-0.5328636169433594, 1.7963440418243408, 0.6808783411979675]
    assert other.noise.double().sum().item() == pytest.approx(10.493421657010913, rel=1e-12)


@pytest.mark.parametrize("ztsnr", [False, True])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noise_target_and_snr_are_diffusers(prediction: str, ztsnr: bool) -> None:
    config = {**SD15, "prediction_type": prediction, "rescale_betas_zero_snr": ztsnr}
    scheduler = DDPMScheduler(**config)
    schedule = NoiseSchedule.from_config(config)
    latents, noise = torch.randn(5, 4, 8, 8), torch.randn(5, 4, 8, 8)
    timesteps = torch.tensor([0, 1, 500, 998, 999])
    torch.testing.assert_close(
        schedule.add_noise(latents, noise, timesteps), scheduler.add_noise(latents, noise, timesteps)
    )
    torch.testing.assert_close(schedule.snr(timesteps), compute_snr(scheduler, timesteps))
    target = noise if prediction == "epsilon" else scheduler.get_velocity(latents, noise, timesteps)
    torch.testing.assert_close(schedule.target(latents, noise, timesteps), target)
    assert (float(schedule.snr(timesteps)[-1]) == 0) == ztsnr
    if ztsnr:
        assert torch.equal(schedule.add_noise(latents, noise, timesteps)[-1], noise[-1])


def test_another_prediction_is_refused() -> None:
    with pytest.raises(UserError, match=r"predicts 'sample'.*model\.prediction"):
        NoiseSchedule.from_config({**SD15, "prediction_type": "sample"})


def _histogram(plan: DrawPlan, edges: list[int], count: int = 4000) -> list[float]:
    """Shares of `count` draws in [edges[i], edges[i + 1])."""
    drawn = torch.tensor([draw_training(torch.Size((1, 1, 1)), (0, n, "x"), plan).timestep for n in range(count)])
    assert plan.first <= int(drawn.min()) and int(drawn.max()) <= plan.last
    pairs = itertools.pairwise(edges)
    return [float(((drawn >= low) & (drawn < high)).double().mean()) for low, high in pairs]


def _normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_the_uniform_density_is_uniform() -> None:
    assert _histogram(_plan(), [0, 250, 500, 750, 1000]) == pytest.approx([0.25] * 4, abs=0.025)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.6)])
def test_the_logit_normal_density_is_the_papers(mean: float, std: float) -> None:
    plan = _plan(loss__density="logit_normal", logit_normal__mean=mean, logit_normal__std=std)
    edges = [0, 200, 400, 600, 800, 1000]
    below = [_normal((math.log(e / (1000 - e)) - mean) / std) if 0 < e < 1000 else float(e == 1000) for e in edges]
    expected = [high - low for low, high in itertools.pairwise(below)]
    assert _histogram(plan, edges) == pytest.approx(expected, abs=0.025)


def test_a_density_within_a_range_keeps_its_shape() -> None:
    plan = _plan(loss__density="logit_normal", loss__min_timestep=600, loss__max_timestep=799)
    below = [_normal(math.log(e / (1000 - e))) for e in (600, 700, 800)]
    share = (below[1] - below[0]) / (below[2] - below[0])
    assert _histogram(plan, [600, 700, 800]) == pytest.approx([share, 1 - share], abs=0.025)


@pytest.mark.parametrize("ztsnr", [False, True])
@pytest.mark.parametrize(("center", "width"), [(0.0, 1.0), (2.0, 0.5)])
def test_the_density_by_snr_is_a_laplace_density_of_log_snr(center: float, width: float, ztsnr: bool) -> None:
    config = {**SD15, "rescale_betas_zero_snr": ztsnr}
    plan = _plan(config, loss__density="snr", snr__center=center, snr__width=width)
    place = NoiseSchedule.from_config(config).snr(torch.arange(1000)).log()
    # Shares below log SNR borders, of the Laplace distribution cut off where the schedule begins and ends.
    borders = [int((place > border).sum()) for border in (center + width, center, center - width)]

    def laplace(x: float) -> float:
        side = 0.5 * math.exp(-abs(x - center) / width)
        return side if x < center else 1 - side

    ends = [float(place[0]), center + width, center, center - width, float(place[-2])]
    whole = laplace(ends[0]) - laplace(ends[-1])
    pairs = itertools.pairwise(ends)
    expected = [(laplace(high) - laplace(low)) / whole for high, low in pairs]
    assert _histogram(plan, [0, *borders, 1000]) == pytest.approx(expected, abs=0.03)


def test_a_density_that_leaves_nothing_is_a_sentence() -> None:
    changes = {"loss__density": "logit_normal", "logit_normal__mean": -5.0, "logit_normal__std": 0.01}
    with pytest.raises(UserError, match=r"loss\.density: .* no timestep"):
        _plan(**changes, loss__min_timestep=990)
    with pytest.raises(UserError, match=r"timesteps 0 to 99"):
        _plan({**SD15, "num_train_timesteps": 100}, loss__min_timestep=990)


def test_the_last_place_is_a_timestep_that_can_be_drawn() -> None:
    """A place just below 1 finds the last timestep whose probability is above 0, never one behind it."""
    plan = _plan(loss__density="logit_normal", logit_normal__mean=-5.0, logit_normal__std=0.05)
    assert plan.cumulative is not None
    last = int(torch.searchsorted(plan.cumulative, torch.tensor([1 - 1e-16], dtype=torch.float64), right=True))
    assert 0 < last < 20 and float(plan.cumulative.diff()[last - 1]) > 0


def test_pyramid_noise_is_coarse_unit_noise_and_repeats() -> None:
    shape = torch.Size((4, 64, 64))
    plain, pyramid = _plan(), _plan(loss__pyramid_noise=0.8)
    draws = [draw_training(shape, (0, n, "x"), pyramid) for n in range(8)]
    again = draw_training(shape, (0, 3, "x"), pyramid)
    assert torch.equal(again.noise, draws[3].noise)
    assert draws[3].timestep == draw_training(shape, (0, 3, "x"), plain).timestep
    assert [float(draw.noise.std()) for draw in draws] == pytest.approx([1.0] * 8, rel=1e-5)

    def coarse(plan: DrawPlan) -> float:
        """Spread of the means of 8 x 8 fields: 1/8 for plain noise."""
        noise = torch.stack([draw_training(shape, (0, n, "x"), plan).noise for n in range(8)])
        return float(torch.nn.functional.avg_pool2d(noise, 8).std())

    assert coarse(plain) == pytest.approx(0.125, rel=0.1)
    assert coarse(pyramid) > 3 * coarse(plain)
    assert coarse(plain) < coarse(_plan(loss__pyramid_noise=0.8, loss__pyramid_levels=1)) < coarse(pyramid)


def test_input_perturbation_changes_the_input_and_not_what_is_asked_for() -> None:
    shape = torch.Size((4, 64, 64))
    plain = draw_training(shape, (0, 0, "x"), _plan())
    perturbed = draw_training(shape, (0, 0, "x"), _plan(loss__input_perturbation=0.1))
    assert torch.equal(perturbed.noise, plain.noise)
    difference = perturbed.added - perturbed.noise
    assert float(difference.std()) == pytest.approx(0.1, rel=0.05)
    assert abs(float((difference * plain.noise).mean())) < 0.005
    again = draw_training(shape, (0, 0, "x"), _plan(loss__input_perturbation=0.1))
    assert torch.equal(again.added, perturbed.added)


def test_overrides_reach_the_scheduler_config_and_only_they() -> None:
    def effective(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return scheduler_config(presets.build({f"model.{k}": v for k, v in changes.items()}, "test"), config)

    assert effective(SD15) == SD15
    marked = {**SD15, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    assert effective(marked) == {**marked, "timestep_spacing": "trailing"}
    made = effective(SD15, prediction="v-prediction", zero_terminal_snr="on")
    assert made == {**marked, "timestep_spacing": "trailing"}
    plain = effective(marked, prediction="epsilon", zero_terminal_snr="off")
    assert plain == {**SD15, "prediction_type": "epsilon", "rescale_betas_zero_snr": False}
    assert effective(made) == made


def test_seeding_a_step_is_torchs_own_without_its_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.manual_seed() formats the stack for each kind of device that is not in use."""
    torch.manual_seed(5)
    wanted = torch.rand(3)
    monkeypatch.setattr(traceback, "format_stack", lambda: pytest.fail("a stack was written down"))
    seed_device(5, torch.device("cpu"))
    assert torch.equal(torch.rand(3), wanted)
