"""The loss, its weighting, the noise and the timesteps."""

from __future__ import annotations

from core.kohya.job import Job

_KINDS = {"huber": "huber", "smooth_l1": "smooth_l1"}


def settle(job: Job) -> None:
    """Answer them."""
    _kind(job)
    _weighting(job)
    _noise(job)
    _timesteps(job)


def _kind(job: Job) -> None:
    """sd-scripts' Huber losses are the smooth forms of these, and let delta follow the timestep by default."""
    kind = job.text("loss_type", "l2").lower()
    if kind == "l2" and not job.draft.has("loss.kind"):
        job.answer("loss_type", "unneeded", note="the squared error is Burnish's loss")
    elif kind == "l2":
        job.take("loss_type", "loss.kind", "mse", note="the squared error")
        job.default("loss.kind", "mse", "sd-scripts' default of --loss_type")
    elif kind in _KINDS:
        job.take("loss_type", "loss.kind", _KINDS[kind], "equivalent", "sd-scripts has its smooth form")
    job.answer("loss_type", "unknown", note="the absolute error is not in Burnish; smooth_l1 is near it")
    if kind not in ("huber", "smooth_l1"):
        for name in ("huber_c", "huber_schedule", "huber_scale"):
            job.answer(name, "unneeded", note="for the Huber losses only")
        return
    size = "huber.delta" if kind == "huber" else "smooth_l1.beta"
    if not job.take("huber_c", size, verdict="equivalent"):
        job.default(size, 0.1, "sd-scripts' default of --huber_c")
    if kind == "huber":
        if not job.take("huber_schedule", "huber.schedule"):
            job.default("huber.schedule", "snr", "sd-scripts' default of --huber_schedule")
    elif job.text("huber_schedule") == "constant":
        job.answer("huber_schedule", "unneeded", note="what Burnish does")
    if job.number("huber_scale") == 1:
        job.answer("huber_scale", "unneeded", note="off")
    for name in ("huber_schedule", "huber_scale"):
        job.lacking(name, f"Burnish's {kind} has no such option")


def _weighting(job: Job) -> None:
    gamma = job.number("min_snr_gamma")
    debiased = job.on("debiased_estimation_loss")
    if gamma:
        if trouble := job.draft.put("loss.weighting", "min_snr"):
            job.answer("min_snr_gamma", "unknown", note=trouble)
        job.take("min_snr_gamma", "min_snr.gamma", note="with loss.weighting = min_snr")
        if debiased:
            note = "Burnish has one weighting at a time; min-SNR was taken"
            job.answer("debiased_estimation_loss", "unknown", note=note)
    job.answer("min_snr_gamma", "unneeded", note="off")
    if debiased:
        job.take("debiased_estimation_loss", "loss.weighting", "debiased")
    like_noise = "scale_v_pred_loss_like_noise_pred"
    if job.on(like_noise) and "loss.weighting" in job.draft.values:
        job.answer(like_noise, "unknown", note="Burnish has one weighting at a time, and another was taken")
    elif job.on(like_noise):
        job.take(like_noise, "loss.weighting", "snr", "equivalent", "for v-prediction it is the same weighting")
    job.default("loss.weighting", "none", "no weighting was asked for")
    if job.number("v_pred_like_loss"):
        job.lacking("v_pred_like_loss", "this addition to the loss is not in Burnish")
    job.answer("v_pred_like_loss", "unneeded", note="off")


def _noise(job: Job) -> None:
    job.take("noise_offset", "loss.noise_offset")
    levels = job.number("multires_noise_iterations")
    if levels:
        job.take("multires_noise_iterations", "loss.pyramid_levels")
        if not job.take("multires_noise_discount", "loss.pyramid_noise"):
            job.default("loss.pyramid_noise", 0.3, "sd-scripts' default of --multires_noise_discount")
    job.answer("multires_noise_iterations", "unneeded", note="off")
    job.answer("multires_noise_discount", "unneeded", note="without effect, as multires_noise_iterations is not set")
    job.take("ip_noise_gamma", "loss.input_perturbation")
    for name, what in (
        ("noise_offset_random_strength", "a noise offset of random strength"),
        ("ip_noise_gamma_random_strength", "an input perturbation of random strength"),
    ):
        if job.on(name):
            job.lacking(name, f"{what} is not in Burnish; it is constant")
    if job.number("adaptive_noise_scale"):
        job.lacking("adaptive_noise_scale", "a noise offset that follows the picture is not in Burnish")
    job.answer("adaptive_noise_scale", "unneeded", note="off")


def _timesteps(job: Job) -> None:
    job.take("min_timestep", "loss.min_timestep")
    end = job.number("max_timestep")
    if end is not None:
        note = "sd-scripts counts to the end, Burnish names the last one"
        job.take("max_timestep", "loss.max_timestep", end - 1, "equivalent", note)
