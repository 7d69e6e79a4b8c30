"""The optimizer with its arguments, the schedule of the rate, warm-up and clipping."""

from __future__ import annotations

import math
import re
from typing import Any

from core.kohya import draft as drafts
from core.kohya.folders import uses
from core.kohya.job import Job, Verdict

#: sd-scripts' names in small letters, without the module: Burnish's optimizer, and what differs ("" for nothing).
_OPTIMIZERS = {
    "adamw": ("adamw", ""),
    "adam": ("adamw", "Adam with the weight decay decoupled"),
    "adamw8bit": ("adamw8bit", ""),
    "adam8bit": ("adamw8bit", "Adam with the weight decay decoupled"),
    "pagedadamw": ("adamw", "without paging the states to RAM"),
    "pagedadamw32bit": ("adamw", "without paging the states to RAM"),
    "pagedadamw8bit": ("adamw8bit", "without paging the states to RAM"),
    "lion": ("lion", ""),
    "lion8bit": ("lion8bit", ""),
    "pagedlion8bit": ("lion8bit", "without paging the states to RAM"),
    "adafactor": ("adafactor", ""),
    "sgd": ("sgd", ""),
    "sgdnesterov": ("sgd", "with plain momentum, not Nesterov's"),
    "sgdnesterov8bit": ("sgd", "with plain momentum and states in 32 bits"),
    "prodigy": ("prodigy", ""),
    "prodigyplusschedulefree": ("prodigy", "without the schedule-free average"),
    "adamwschedulefree": ("schedule_free", ""),
    "radamschedulefree": ("schedule_free", "AdamW's form of it, with a warm-up instead of RAdam's"),
    "sgdschedulefree": ("schedule_free", "AdamW's form of it"),
    "came": ("came", ""),
}

#: D-Adaptation's family: Prodigy is its successor, by the same authors.
_ADAPTIVE = ("prodigy", "Prodigy, the successor of D-Adaptation; the rate of 1 means the same")

#: Defaults of the libraries that sd-scripts calls, which are not all Burnish's.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "adamw": {"weight_decay": 0.01},
    "adamw8bit": {"weight_decay": 0.01},
    "lion": {"weight_decay": 0.0},
    "lion8bit": {"weight_decay": 0.0},
    "adafactor": {"weight_decay": 0.0, "scale_parameter": True},
    "prodigy": {"weight_decay": 0.0, "safeguard_warmup": False, "bias_correction": False},
    "schedule_free": {"weight_decay": 0.0},
    "came": {"weight_decay": 0.0},
    "sgd": {"weight_decay": 0.0, "momentum": 0.0},
}

#: Arguments whose option may bear one of several names.
_ARGUMENTS = {
    "eps": ("epsilon",),
    "min_8bit_size": ("min_size",),
    "use_bias_correction": ("bias_correction",),
    "slice_p": ("slice",),
}

#: Arguments with the values that are Burnish's own way, and how that way is called.
_SETTLED = {
    "relative_step": ("false", "Burnish always uses the given rate"),
    "warmup_init": ("false", "Burnish always uses the given rate"),
    "decouple": ("true", "the weight decay is always decoupled"),
    "percentile_clipping": ("100", "off"),
    "block_wise": ("true", "states are always quantised by block"),
    "amsgrad": ("false", "off"),
}

#: sd-scripts' schedules: Burnish's, and what differs.
_SCHEDULES = {
    "constant": ("constant", ""),
    "constant_with_warmup": ("constant", "the warm-up is an option of its own"),
    "linear": ("linear", ""),
    "cosine": ("cosine", ""),
    "cosine_with_restarts": ("restarts", ""),
    "polynomial": ("polynomial", ""),
    "adafactor": ("constant", "Adafactor with a rate that is given"),
    "cosine_with_min_lr": ("cosine", "it falls to 0, not to a smallest rate"),
    "cosineannealinglr": ("cosine", "over the whole run"),
}


def settle(job: Job) -> None:
    """Answer them."""
    chosen = _choose(job)
    _arguments(job, chosen)
    if chosen == "schedule_free":
        _without_schedule(job)
    else:
        _schedule(job)
        _warmup(job)
    _clipping(job)


def _choose(job: Job) -> str:
    """The optimizer that was put into the draft."""
    flag, kohya = "optimizer_type", job.text("optimizer_type")
    if not kohya:
        switches = {"use_8bit_adam": "adamw8bit", "use_lion_optimizer": "lion"}
        flag = next((name for name in switches if job.on(name)), "")
        kohya = switches.get(flag, "AdamW")
    for name in ("use_8bit_adam", "use_lion_optimizer"):
        if name != flag:
            job.answer(name, "unneeded", note="--optimizer_type decides" if job.on(name) else "off")
    short = kohya.rsplit(".", 1)[-1].lower()
    name, note = _ADAPTIVE if short.startswith("dadapt") else _OPTIMIZERS.get(short, ("", ""))
    if not name:
        job.answer(flag, "unknown", note=f"{kohya} is not in Burnish; AdamW is used until you choose")
        name = "adamw"
    if not flag:
        job.default("training.optimizer", "adamw", "sd-scripts' default of --optimizer_type")
        return name
    trouble = job.draft.put("training.optimizer", name)
    if trouble:
        job.answer(flag, "unknown", note=f"{trouble}; AdamW is used until you choose")
        job.notes.append(
            f"The optimizer {kohya} is missing here, and AdamW wants other rates: look at the learning rates."
        )
        job.draft.put("training.optimizer", "adamw")
        return ""
    job.answer(flag, "equivalent" if note else "taken", "training.optimizer", note)
    if "nesterov" in short and not job.has("optimizer_args.momentum"):
        job.default("sgd.momentum", 0.9, "sd-scripts' default for Nesterov's momentum")
    return name


def _arguments(job: Job, chosen: str) -> None:
    """--optimizer_args into the optimizer's own table, where it declares the option."""
    pieces: list[Verdict] = []
    for name in [name for name in job.flags if name.startswith("optimizer_args.")]:
        verdict, field, note = _argument(job, chosen, name.partition(".")[2], str(job.flags[name].value))
        job.answer(name, verdict, field, note)
        pieces.append(verdict)
    worst: Verdict = next((verdict for verdict in ("unknown", "equivalent", "taken") if verdict in pieces), "unneeded")
    job.answer("optimizer_args", worst, note="each of its arguments is listed by itself")
    adafactor = chosen == "adafactor"
    relative = job.text("optimizer_args.relative_step", "true").lower() == "true"
    if adafactor and relative:
        job.notes.append(
            "sd-scripts lets Adafactor choose its own rate (relative_step, its default); "
            "Burnish uses training.learning_rate."
        )
    for field, value in _DEFAULTS.get(chosen, {}).items():
        note = "the default of the optimizer that sd-scripts calls"
        if job.draft.has(f"{chosen}.{field}"):
            job.default(f"{chosen}.{field}", value, note)


def _argument(job: Job, chosen: str, name: str, text: str) -> tuple[Verdict, str, str]:
    settled = _SETTLED.get(name)
    if settled and text.lower().removesuffix(".0") == settled[0]:
        return "unneeded", "", settled[1]
    if not chosen:
        return "unknown", "", "its optimizer is not in this version"
    if name == "betas":
        return _betas(job, chosen, text)
    if name == "warmup_steps" and chosen == "schedule_free":
        trouble = job.draft.put("training.warmup_steps", text)
        return ("unknown", "", trouble) if trouble else ("taken", "training.warmup_steps", "")
    names = _ARGUMENTS.get(name, (name,))
    field = job.draft.first([f"{chosen}.{one}" for one in names]) or job.draft.by_alias(name, chosen)
    if field:
        trouble = job.draft.put(field, text)
        return ("unknown", "", trouble) if trouble else ("taken", field, "")
    if settled:
        return "unknown", "", settled[1]
    if text.lower() in ("false", "none", "0"):
        return "unneeded", "", "off"
    return "unknown", "", f"Burnish's {chosen} has no such option"


def _betas(job: Job, chosen: str, text: str) -> tuple[Verdict, str, str]:
    """ "(0.9, 0.99)" into beta1, beta2, ..."""
    pieces = re.findall(r"[\d.]+(?:[eE][-+]?\d+)?", text)
    for number, piece in enumerate(pieces, 1):
        field = f"{chosen}.beta{number}"
        trouble = job.draft.put(field, piece)
        if trouble:
            return "unknown", "", trouble
    if not pieces:
        return "unknown", "", f"{text} are no numbers"
    return "taken", f"{chosen}.beta1", ", ".join(f"beta{number} = {piece}" for number, piece in enumerate(pieces, 1))


def _schedule(job: Job) -> None:
    custom = job.text("lr_scheduler_type")
    flag = "lr_scheduler_type" if custom else "lr_scheduler"
    kohya = (custom.rsplit(".", 1)[-1] or job.text("lr_scheduler", "constant").split(":")[0]).lower()
    if custom:
        job.answer("lr_scheduler", "unneeded", note="--lr_scheduler_type decides")
    name, note = _SCHEDULES.get(kohya, ("", ""))
    if not name:
        job.answer(flag, "unknown", note=f"no schedule {kohya} in Burnish; the rate stays constant")
    elif trouble := job.draft.put("training.schedule", name):
        job.answer(flag, "unknown", note=f"{trouble}; the rate stays constant")
    else:
        job.answer(flag, "equivalent" if note else "taken", "training.schedule", note)
    job.default("training.schedule", "constant", "sd-scripts' default of --lr_scheduler")
    _shape(job, "lr_scheduler_num_cycles", "restarts.cycles")
    _shape(job, "lr_scheduler_power", "polynomial.power")
    job.answer("lr_scheduler_args", "unknown", note="arguments of a schedule of one's own")
    for name in job.flags:
        if name.startswith("lr_scheduler_args."):
            job.answer(name, "unknown", note="an argument of a schedule of one's own")
    for name in ("lr_decay_steps", "lr_scheduler_timescale", "lr_scheduler_min_lr_ratio"):
        if not job.number(name):
            job.answer(name, "unneeded", note="off")
        job.answer(name, "unknown", note="no schedule in Burnish has it")


def _without_schedule(job: Job) -> None:
    """sd-scripts gives a schedule-free optimizer no schedule, and its warm-up as an argument of its own."""
    for name in (
        "lr_scheduler",
        "lr_scheduler_type",
        "lr_scheduler_num_cycles",
        "lr_scheduler_power",
        "lr_warmup_steps",
    ):
        job.answer(name, "unneeded", note="a schedule-free optimizer has no schedule")
    job.default("training.schedule", "constant", "a schedule-free optimizer has no schedule")
    job.default("training.warmup_steps", 0, "no warmup_steps among --optimizer_args")


def _shape(job: Job, name: str, field: str) -> None:
    """A number that one schedule alone has; sd-scripts' default of both is 1."""
    schedule = field.split(".")[0]
    if job.draft.values.get("training.schedule") != schedule:
        job.answer(name, "unneeded", note=f"for the schedule {schedule} only")
        return
    job.take(name, field)
    job.default(field, 1, f"sd-scripts' default of --{name}")


def _warmup(job: Job) -> None:
    """Steps, or (below 1, or with %) a share of all steps."""
    name, field = "lr_warmup_steps", "training.warmup_steps"
    text = job.text(name)
    try:
        value = drafts.number(text.removesuffix("%")) / (100 if text.endswith("%") else 1) if text else 0.0
    except ValueError:
        job.answer(name, "unknown", note=f"{text} is not a number")
        return
    if value >= 1 or not value:
        job.take(name, field, value)
        job.default(field, 0, "sd-scripts' default of --lr_warmup_steps")
        return
    steps = job.draft.values.get("training.max_steps") or _steps_of_epochs(job)
    if steps:
        job.take(name, field, int(value * steps), "equivalent", f"{value:.3g} of {steps:,} steps")
    job.answer(name, "unknown", note=f"{value:.3g} of the steps, which depend on the pictures; set {field} yourself")


def _steps_of_epochs(job: Job) -> int:
    """The steps of a run that is measured in epochs, where its pictures can be counted; otherwise 0."""
    values = job.draft.values
    batch: int = values.get("training.batch_size", 1) * values.get("training.accumulation", 1)
    return math.ceil(uses(job) * (job.number("max_train_epochs") or 0) / batch)


def _clipping(job: Job) -> None:
    """Burnish's fused backward pass excludes clipping, of which sd-scripts' clips each tensor by itself."""
    fused = "fused_backward_pass"
    if job.on(fused):
        job.take(fused, f"training.{fused}", True)
    groups = job.number("fused_optimizer_groups") if job.text("fused_optimizer_groups").lower() != "true" else 1
    if groups or job.on("fused_optimizer_groups"):
        job.take("fused_optimizer_groups", f"training.{fused}", True, "equivalent", "each weight is stepped by itself")
    job.answer("fused_optimizer_groups", "unneeded", note="off")
    if job.draft.values.get(f"training.{fused}"):
        job.draft.put("training.clip_norm", 0.0)
        note = "set to 0: the fused backward pass never has the whole gradient to clip"
        job.answer("max_grad_norm", "equivalent", "training.clip_norm", note)
        if not job.has("max_grad_norm"):
            job.draft.values.pop("training.clip_norm", None)
            job.default("training.clip_norm", 0.0, note)
    elif not job.take("max_grad_norm", "training.clip_norm"):
        job.default("training.clip_norm", 1.0, "sd-scripts' default of --max_grad_norm")
