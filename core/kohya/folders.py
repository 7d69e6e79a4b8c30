"""Folders of pictures and of regularisation, and how often sd-scripts shows what lies in them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from core.data.rules import kohya_repeats
from core.kohya.job import Job
from core.kohya.source import Folder

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".jxl", ".avif"}

#: The largest weight that a rule of a folder can have.
_MOST_WEIGHT = 100


def folders(job: Job) -> list[Folder]:
    """The folders of pictures with their repeats: of the dataset's configuration, or "N_words" below train_data_dir.

    Empty where sd-scripts would not look at names (a metadata file is given) or the folder is not on this machine.
    """
    if job.source.folders:
        return job.source.folders
    return [] if job.has("in_json") else _named(job, job.text("train_data_dir"))


def regular(job: Job) -> list[Folder]:
    """The same of the pictures for regularisation; the whole of reg_data_dir where no folder in it has repeats."""
    if job.source.regular:
        return job.source.regular
    root = job.text("reg_data_dir")
    if not root or job.has("in_json"):
        return []
    return _named(job, root) or [Folder(root)]


def _named(job: Job, root: str) -> list[Folder]:
    """The folders "N_words" in a folder."""
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(job.source.near(root).iterdir() if root else ()):
            said = kohya_repeats(path.name)
            if said is not None and path.is_dir():
                found.append(Folder(str(path), *said))
    return found


def repeats(job: Job) -> int:
    """How often every picture is seen in one of sd-scripts' epochs, at least 1.

    Burnish's epoch sees each picture once, so its count of epochs is multiplied by this. Where folders have different
    repeats, or some are for regularisation, they have rules instead (settle_rules), and the epochs are the same.
    """
    if job.has("in_json"):
        given = job.number("dataset_repeats")
        return max(1, round(given)) if given else 1
    found = folders(job)
    if not found:
        if job.has("train_data_dir") and job.has("max_train_epochs"):
            job.notes.append(
                "sd-scripts reads repeats from the names of folders (10_words: each picture ten times an epoch). "
                "The folder is not here or has none; if yours has them, multiply training.max_epochs."
            )
        return 1
    return 1 if _unlike(job, found) else max(1, found[0].repeats)


def _unlike(job: Job, found: list[Folder]) -> bool:
    return len({folder.repeats for folder in found}) > 1 or bool(regular(job))


def settle_rules(job: Job) -> None:
    """Write the rules of folders, and answer the flags about regularisation and masks."""
    found, other = folders(job), regular(job)
    rules: list[dict[str, Any]] = []
    if found and _unlike(job, found):
        rules = [{"path": job.path(folder.path), "repeats": folder.repeats} for folder in found if folder.repeats != 1]
    if job.on("alpha_mask"):
        rules = _masked(job, rules)
    if other:
        _settle_regular(job, rules, other)
    elif job.on("alpha_mask"):
        job.draft.put("data.folder_rules", rules)
    elif rules:
        listed = ", ".join(f"{Path(folder.path).name}: {folder.repeats}" for folder in found)
        job.default("data.folder_rules", rules, f"the folders have different repeats ({listed})")
    _answer_the_rest(job)


def _masked(job: Job, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules with the transparency of pictures as the mask of the loss, for all folders of pictures."""
    repeated = {rule["path"]: rule for rule in rules}
    inside = [job.path(folder.path) for folder in folders(job)] if rules else []
    every = list(dict.fromkeys([*job.draft.values.get("data.folders", []), *inside]))
    job.answer("alpha_mask", "equivalent", "data.folder_rules", "the mask of each folder")
    return [{**repeated.get(path, {"path": path}), "mask": "alpha"} for path in every]


def _settle_regular(job: Job, rules: list[dict[str, Any]], found: list[Folder]) -> None:
    """Folders of regularisation are picture folders with a rule."""
    weight = job.number("prior_loss_weight", 1.0)
    right = weight is not None and 0 <= weight <= _MOST_WEIGHT
    shares = _shares(job, found)
    for folder, sample in zip(found, shares, strict=True):
        more = {"repeats": folder.repeats, "sample": sample, "weight": weight if right else 1}
        usual = {"repeats": 1, "sample": 0, "weight": 1}
        said = {name: value for name, value in more.items() if value != usual[name]}
        rules.append({"path": job.path(folder.path), "role": "regularisation", **said})
    note = "with the role regularisation; sd-scripts shows as many of these an epoch as of all others"
    note += ", and so does the rule's number of pictures" if all(shares) else "; set their pictures per epoch yourself"
    trouble = job.draft.put("data.folder_rules", rules)
    if not trouble:
        roots = [folder.path for folder in job.source.regular] or [job.text("reg_data_dir")]
        known = job.draft.values.get("data.folders", [])
        trouble = job.draft.put("data.folders", list(dict.fromkeys([*known, *map(job.path, roots)])))
    if trouble:
        job.answer("reg_data_dir", "unknown", note=trouble)
    job.answer("reg_data_dir", "equivalent", "data.folder_rules", note)
    if right:
        job.answer("prior_loss_weight", "equivalent", "data.folder_rules", "the weight of those folders")
    job.answer("prior_loss_weight", "unknown", note=f"a weight is 0 to {_MOST_WEIGHT}; the folders have 1")
    job.answer("is_reg", "taken" if job.on("is_reg") else "unneeded", "data.folder_rules" if job.on("is_reg") else "")


def _shares(job: Job, found: list[Folder]) -> list[int]:
    """Uses of each folder of regularisation in one of sd-scripts' epochs; zeros where pictures cannot be counted.

    It fills up or cuts off what the repeats give, until there are as many as of all other pictures together.
    """
    wanted = _counted(job, folders(job))
    given = [folder.repeats * _pictures(job.source.near(folder.path)) for folder in found]
    if not wanted or not all(given):
        return [0] * len(found)
    return [max(1, round(wanted * count / sum(given))) for count in given]


def _answer_the_rest(job: Job) -> None:
    """The flags about regularisation where there is none, or sd-scripts does not look at them."""
    note = "sd-scripts does not look at it beside --in_json" if job.has("in_json") else "off"
    for name in ("reg_data_dir", "is_reg"):
        job.answer(name, "unneeded", note=note)
    job.answer("alpha_mask", "unneeded", note="off")
    masks = job.on("masked_loss") and not job.on("alpha_mask")
    job.answer(
        "masked_loss",
        "unknown" if masks else "unneeded",
        note="set the mask in the folder's rules" if masks else "what a folder's mask means",
    )
    job.answer("prior_loss_weight", "unneeded", note="for pictures of regularisation only")


def uses(job: Job) -> int:
    """How many pictures one of sd-scripts' epochs shows, repeats counted; 0 where the folders are not here.

    Pictures for regularisation are as many again.
    """
    return _counted(job, folders(job)) * (2 if regular(job) else 1)


def _counted(job: Job, found: list[Folder]) -> int:
    counted = [(folder.repeats, _pictures(job.source.near(folder.path))) for folder in found]
    return sum(repeat * count for repeat, count in counted) if all(count for _, count in counted) else 0


def _pictures(folder: Path) -> int:
    """How many pictures lie in a folder."""
    with contextlib.suppress(OSError):
        return sum(path.suffix.lower() in _SUFFIXES for path in folder.iterdir())
    return 0


def captionless(folder: Path) -> bool:
    """Whether a folder has pictures and not a single caption."""
    with contextlib.suppress(OSError):
        suffixes = {path.suffix.lower() for path in folder.iterdir()}
        return bool(suffixes & _SUFFIXES) and not suffixes & {".txt", ".caption"}
    return False
