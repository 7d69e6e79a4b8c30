"""How long a run is, how many pictures a step sees, and what is saved and drawn on the way."""

from __future__ import annotations

import contextlib
import re

from core.kohya import draft as drafts
from core.kohya.files import read_text
from core.kohya.folders import repeats
from core.kohya.job import Job

#: sd-scripts' names of samplers.
_SAMPLERS = {
    "ddim": "ddim",
    "euler": "euler",
    "k_euler": "euler",
    "euler_a": "euler_a",
    "k_euler_a": "euler_a",
    "dpmsolver++": "dpmpp_2m",
    "dpmsolver": "dpmpp_2m",
    "dpmsingle": "dpmpp_2m",
}

#: Marks in a prompt's line: what Burnish calls them for all prompts.
_MARKS = {"w": "width", "h": "height", "d": "seed", "s": "steps", "l": "cfg", "n": "negative", "ss": "sampler"}

_FORMATS = {"safetensors": "single file", "ckpt": "single file", "diffusers": "diffusers"}


def settle(job: Job) -> None:
    """Answer them."""
    if not job.take("train_batch_size", "training.batch_size"):
        job.default("training.batch_size", 1, "sd-scripts' default of --train_batch_size")
    if not job.take("gradient_accumulation_steps", "training.accumulation"):
        job.default("training.accumulation", 1, "sd-scripts' default of --gradient_accumulation_steps")
    times = repeats(job)
    _limits(job, times)
    job.take("seed", "training.seed")
    _saving(job, times)
    _kept(job)
    _format(job)
    _samples(job, times)
    _validation(job)


def _limits(job: Job, times: int) -> None:
    """Epochs overrule steps in sd-scripts, and 1,600 steps are its default; the GUI's "epoch" counts without both."""
    steps, epochs = job.number("max_train_steps"), job.number("max_train_epochs")
    if epochs:
        flag = "max_train_epochs" if job.said("max_train_epochs") else "epoch"
        note = f"{epochs:g} epochs with {times} repeats are {epochs * times:g} in Burnish" if times > 1 else ""
        job.take(flag, "training.max_epochs", epochs * times, "equivalent" if times > 1 else "taken", note)
        job.draft.put("training.max_steps", 0)
        job.answer("max_train_steps", "unneeded", note="the number of epochs decides")
        if times > 1:
            job.answer("dataset_repeats", "equivalent", "training.max_epochs", f"{times} are in the number of epochs")
        if "data.folder_rules" in job.draft.values:
            job.answer("dataset_repeats", "equivalent", "data.folder_rules", "each folder has its own")
        job.answer("dataset_repeats", "unneeded", note="1 is what Burnish does")
    else:
        if steps and job.take("max_train_steps", "training.max_steps"):
            job.draft.put("training.max_epochs", 0)
        job.default("training.max_steps", 1600, "sd-scripts' default of --max_train_steps")
        job.answer("epoch", "unneeded", note="the number of steps decides")
        if "data.folder_rules" in job.draft.values:
            job.answer("dataset_repeats", "equivalent", "data.folder_rules", "each folder has its own")
        job.answer("dataset_repeats", "unneeded", note="the number of steps decides")
    if job.has("max_train_steps") and not steps:
        job.answer("max_train_steps", "unneeded", note="off")


def _saving(job: Job, times: int) -> None:
    """sd-scripts saves at the end only, unless told."""
    job.take("save_every_n_steps", "output.save_every_steps")
    job.default("output.save_every_steps", 0, "sd-scripts saves by steps only with --save_every_n_steps")
    every = job.number("save_every_n_epochs")
    epochs, ratio = job.number("max_train_epochs"), job.number("save_n_epoch_ratio")
    if every:
        _take_epochs(job, "save_every_n_epochs", "output.save_every_epochs", every, times)
    elif ratio and epochs:
        value = max(1, int(epochs // ratio)) * times
        job.take("save_n_epoch_ratio", "output.save_every_epochs", value, "equivalent", "as many files")
    job.default("output.save_every_epochs", 0, "sd-scripts saves by epochs only with --save_every_n_epochs")
    job.answer("save_n_epoch_ratio", "unknown", note="set output.save_every_epochs yourself")


def _take_epochs(job: Job, name: str, field: str, epochs: float, times: int) -> None:
    """So many epochs of sd-scripts, in which each picture is seen `times` times, as epochs of ours."""
    if times > 1:
        job.take(name, field, epochs * times, "equivalent", f"with {times} repeats")
    else:
        job.take(name, field, epochs)


def _kept(job: Job) -> None:
    """--save_last_n_epochs counts files, --save_last_n_steps counts steps back."""
    every = job.number("save_every_n_steps")
    for count, steps, field in (
        ("save_last_n_epochs", "save_last_n_steps", "output.keep_last"),
        ("save_last_n_epochs_state", "save_last_n_steps_state", "output.keep_states"),
    ):
        job.take(count, field, None, "taken" if field == "output.keep_last" else "equivalent")
        back = job.number(steps)
        if back and every:
            value = int(back // every) + 1
            job.take(steps, field, value, "equivalent", f"{back:g} steps back are {value} of them")
        job.answer(steps, "unneeded", note="without --save_every_n_steps it has no effect")
    for name in ("save_state", "save_state_on_train_end"):
        if job.on(name):
            job.answer(name, "unneeded", note="the newest state is always kept, so that a run can go on")
    job.answer(
        "resume",
        "unknown",
        note="states of sd-scripts cannot be read; Burnish's own runs go on by 'train --resume RUN'",
    )
    note = "Burnish's own runs go on at the right place by 'train --resume RUN'"
    for name in ("initial_epoch", "initial_step", "skip_until_initial_step"):
        job.answer(name, "unneeded", note=note)


def _format(job: Job) -> None:
    job.take("output_dir", "output.folder", note="each run gets a folder of its own in it")
    job.take("output_name", "output.name")
    precision = {"float": "fp32", "fp32": "fp32", "no": "fp32"}.get(
        job.text("save_precision"), job.text("save_precision")
    )
    job.take("save_precision", "output.precision", precision or None)
    if job.on("full_bf16"):
        job.default("output.precision", "bf16", "sd-scripts saves what it trained in, --full_bf16")
    job.default("output.precision", "fp32", "sd-scripts' way without --save_precision")
    kind = job.text("save_model_as")
    layout = _FORMATS.get(kind.removesuffix("_safetensors"))
    if kind and layout and job.draft.has("output.layout", layout):
        note = "as .safetensors, which cannot carry code" if kind == "ckpt" else ""
        job.take("save_model_as", "output.layout", layout, "equivalent" if note else "taken", note)
    elif layout == "single file":
        job.answer("save_model_as", "equivalent", note="checkpoints are single .safetensors files")
    job.answer("save_model_as", "unknown", note="checkpoints are single .safetensors files in this version")


def _samples(job: Job, times: int) -> None:
    """By epochs where both are given, as sd-scripts does; `times` as in _saving()."""
    epochs = job.number("sample_every_n_epochs")
    if epochs:
        _take_epochs(job, "sample_every_n_epochs", "sample.every_epochs", epochs, times)
        job.answer("sample_every_n_steps", "unneeded", note="sd-scripts draws by epochs where both are given")
    elif job.number("sample_every_n_steps"):
        job.take("sample_every_n_steps", "sample.every_steps")
    job.answer("sample_every_n_steps", "unneeded", note="off")
    job.answer("sample_every_n_epochs", "unneeded", note="off")
    job.default("sample.every_epochs", 0, "no --sample_every_n_epochs")
    job.default("sample.every_steps", 0, "no --sample_every_n_steps")
    if job.on("sample_at_first"):
        job.answer("sample_at_first", "unneeded", note="samples before the first step are always drawn")
    sampler = _SAMPLERS.get(job.text("sample_sampler"))
    if sampler:
        same = sampler == job.text("sample_sampler")
        job.take("sample_sampler", "sample.sampler", sampler, "taken" if same else "equivalent")
    job.answer("sample_sampler", "unknown", note="no such sampler here; the default one draws")
    _prompts(job)


def _prompts(job: Job) -> None:
    """A file with a prompt a line, or the lines themselves, as the GUI keeps them."""
    name = "sample_prompts"
    text = job.text(name)
    if not text:
        return
    if job.source.gui and not text.lower().endswith((".txt", ".json", ".toml")):
        lines = text.splitlines()
    else:
        path = job.source.near(text)
        if not path.is_file():
            job.answer(name, "unknown", note="the file is not here; write its prompts into sample.prompts")
            return
        if path.suffix.lower() != ".txt":
            job.answer(name, "unknown", note="only .txt files of prompts are read; write them into sample.prompts")
            return
        lines = read_text(path).splitlines()
    prompts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    plain = [re.split(r"\s--", prompt, maxsplit=1)[0].strip() for prompt in prompts]
    if not plain:
        job.answer(name, "unneeded", note="there is no prompt in it")
    elif job.take(
        name, "sample.prompts", plain, "equivalent", "Burnish draws all prompts alike: the first one's marks count"
    ):
        _marks(job, prompts[0])


def _marks(job: Job, prompt: str) -> None:
    """ "--w 768 --s 30" behind the first prompt."""
    for piece in re.split(r"\s--", prompt)[1:]:
        mark, _, value = piece.strip().partition(" ")
        field = _MARKS.get(mark.lower())
        if field:
            with contextlib.suppress(ValueError):
                text = _SAMPLERS.get(value, value) if field == "sampler" else value
                job.draft.put(f"sample.{field}", text if field in ("negative", "sampler") else drafts.number(value))


def _validation(job: Job) -> None:
    """sd-scripts measures nothing unless told; Burnish's ruler stays on."""
    if job.number("validation_split"):
        job.take("validation_split", "validation.share")
    job.answer("validation_split", "unneeded", note="Burnish holds out its own share")
    if job.number("validate_every_n_steps"):
        job.take("validate_every_n_steps", "validation.every_steps")
    job.take("validation_seed", "validation.seed", None, "equivalent")
    job.answer(
        "validate_every_n_epochs", "equivalent", "validation.every_steps", "measured by steps, as that page says"
    )
    job.answer(
        "max_validation_steps", "equivalent", "validation.max_pictures", "a number of pictures, as that page says"
    )
    job.notes.append(
        "Validation stays as Burnish has it: some pictures are held out and the stable loss is measured. "
        "validation.every_steps = 0 and validation.share = 0 switch it off."
    )
