"""Number formats, attention, memory, and the GPUs that "accelerate launch" is told of."""

from __future__ import annotations

import importlib.util

from core.kohya.job import Job

_PRECISIONS = {"no": "fp32", "fp16": "fp16", "bf16": "bf16", "float": "fp32", "fp32": "fp32"}
_ATTENTION = "hardware.attention"


def settle(job: Job) -> None:
    """Answer them."""
    _precision(job)
    _weights(job)
    job.take("gradient_checkpointing", "training.activation_checkpointing")
    _attention(job)
    _compile(job)
    _encoding(job)
    _devices(job)
    _strategy(job)


def _precision(job: Job) -> None:
    """--mixed_precision; that of accelerate is overruled by sd-scripts' own, even where this is only the default."""
    own, launch = "mixed_precision", "accelerate.mixed_precision"
    if job.has(own):
        kind = _PRECISIONS.get(job.text(own).lower())
        if kind:
            note = "" if kind == job.text(own) else "no mixing is fp32 throughout"
            job.take(own, "training.precision", kind, note=note)
        job.answer(own, "unknown", note="a number format that Burnish has not")
        job.answer(launch, "unneeded", note="the script's own --mixed_precision decides")
    elif job.has(launch) and _PRECISIONS.get(job.text(launch)):
        note = "sd-scripts itself would compute in fp32, as its own --mixed_precision is missing"
        job.take(launch, "training.precision", _PRECISIONS[job.text(launch)], "equivalent", note)
    job.default("training.precision", "fp32", "sd-scripts' default of --mixed_precision")


def _weights(job: Job) -> None:
    if job.on("full_bf16"):
        note = "with stochastic rounding, so that small steps are not lost"
        job.take("full_bf16", "training.weights_precision", "bf16", "equivalent", note)
    else:
        job.default("training.weights_precision", "fp32", "sd-scripts' way without --full_bf16")
    if job.on("full_fp16"):
        job.lacking(
            "full_fp16", "trained weights in fp16 are not in Burnish; training.weights_precision = bf16 is as small"
        )
    for name in ("fp8_base", "fp8_base_unet"):
        if job.on(name):
            job.lacking(name, "the frozen weights in 8 bits are not in Burnish")


def _attention(job: Job) -> None:
    if job.on("sdpa") and not job.on("xformers"):
        job.take("sdpa", _ATTENTION, "sdpa")
    if job.on("xformers"):
        if importlib.util.find_spec("xformers"):
            job.take("xformers", _ATTENTION, "xformers")
        else:
            note = "torch's own attention (sdpa) saves as much; xformers is not installed here"
            job.take("xformers", _ATTENTION, "sdpa", "equivalent", note)
    for name in ("sdpa", "mem_eff_attn", "diffusers_xformers"):
        if job.on(name):
            if _ATTENTION not in job.draft.values:
                job.draft.put(_ATTENTION, "sdpa")
            chosen = job.draft.values.get(_ATTENTION)
            job.answer(name, "equivalent", _ATTENTION, f"{chosen} is used throughout, and saves as much")


def _compile(job: Job) -> None:
    if job.on("torch_compile"):
        job.take("torch_compile", "hardware.compile", True)
    launch = "accelerate.dynamo_backend"
    if job.on(launch):
        job.take(launch, "hardware.compile", True, "equivalent", "torch's default backend")
    backend = job.text("dynamo_backend", "inductor")
    if not job.on("torch_compile") or backend == "inductor":
        job.answer("dynamo_backend", "unneeded", note="the default backend is used")
    job.lacking("dynamo_backend", "another backend of torch.compile cannot be chosen")


def _encoding(job: Job) -> None:
    size = job.number("vae_batch_size")
    if size:
        job.take("vae_batch_size", "hardware.encode_batch")
    job.answer("vae_batch_size", "unneeded", note="Burnish's own default is kept")
    if job.on("lowram"):
        job.answer("lowram", "unneeded", note="models are loaded straight to where they work")


def _devices(job: Job) -> None:
    count, ids = "accelerate.num_processes", "accelerate.gpu_ids"
    if not job.take(count, "hardware.processes") and not job.has(count):
        listed = [piece for piece in job.text(ids).split(",") if piece.strip().isdigit()]
        if len(listed) > 0:
            job.take(ids, "hardware.processes", len(listed), "equivalent", _WHICH.format(",".join(listed)))
        elif job.on("accelerate.multi_gpu"):
            job.notes.append("accelerate would take all GPUs of the machine; set hardware.processes to their number.")
    job.answer(ids, "equivalent", "hardware.processes", _WHICH.format(job.text(ids)))
    if job.on("accelerate.multi_gpu"):
        note = "more than one process is several GPUs"
        job.answer("accelerate.multi_gpu", "equivalent", "hardware.processes", note)
    if job.on("accelerate.cpu"):
        job.take("accelerate.cpu", "hardware.device", "cpu")
    machines = job.number("accelerate.num_machines")
    several = machines is not None and machines > 1
    for name in (
        "num_machines",
        "machine_rank",
        "main_process_ip",
        "main_process_port",
        "same_network",
        "rdzv_backend",
    ):
        note = "several machines: see the launch line on the Hardware page" if several else "one machine"
        job.answer(f"accelerate.{name}", "unknown" if several else "unneeded", note=note)


_WHICH = "to choose the cards themselves, set CUDA_VISIBLE_DEVICES={} before the start"


def _strategy(job: Job) -> None:
    """How several GPUs share the work."""
    for name, kind in (
        ("deepspeed", "deepspeed"),
        ("accelerate.use_deepspeed", "deepspeed"),
        ("accelerate.use_fsdp", "fsdp"),
    ):
        if job.on(name):
            job.take(name, "hardware.parallel", kind)
    for name in ("zero_stage", "accelerate.zero_stage"):
        if job.number(name) == 3:
            job.take(name, "hardware.parallel", "fsdp", "equivalent", "fsdp splits what ZeRO's stage 3 splits")
        elif job.number(name):
            job.take(name, "hardware.zero_stage")
        job.answer(name, "unneeded", note="stage 0 is ddp")
    for name in ("offload_optimizer_device", "accelerate.offload_optimizer_device"):
        if job.has(name) and job.text(name) != "none":
            job.take(name, "hardware.offload_states", True, "equivalent")
        job.answer(name, "unneeded", note="off")
