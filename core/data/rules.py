"""Which rules hold for which pictures: those of folders, and the part that each picture plays in a training."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core import paths
from core.errors import UserError
from core.settings import Settings
from core.settings.folder_rules import FolderRules
from core.settings.validation import ValidationSettings

#: What becomes of a picture, as roles() gives it.
#: VALIDATION: in a folder that is held out; CHOSEN: held out by hand; LEFT_OUT: has no part in the training.
BY_CHANCE, TRAIN, VALIDATION, REGULARISATION, LEFT_OUT, CHOSEN = range(6)

_ROLES = {"by chance": BY_CHANCE, "train": TRAIN, "validation": VALIDATION, "regularisation": REGULARISATION}

#: "10_words": sd-scripts' way to say that a folder's pictures are shown ten times an epoch.
_KOHYA = re.compile(r"(\d{1,5})_(.*)")

#: So many things in a folder are looked at for such folders: they stand among few others, and a folder of millions of
#: pictures is not to be walked through for them.
_MOST_ENTRIES = 100_000

_SIGNATURE = re.compile(r"[0-9a-f]{32}")


def of_directories(directories: Sequence[str], settings: Settings) -> tuple[list[FolderRules], NDArray[np.int32]]:
    """(rules, which of them holds for each directory): the one of the nearest enclosing folder.

    Args:
        directories: Whole paths of folders and archives.

    Returns:
        The rules, the defaults as number 0 and then those of the settings; and int32 (directories,), numbers in them.

    Raises:
        UserError: a rule without a folder, or two rules of one folder.
    """
    rules = [FolderRules(), *settings.data.folder_rules]
    by_path: dict[str, int] = {}
    for number, rule in enumerate(rules[1:], start=1):
        if not rule.path:
            raise UserError(f"data.folder_rules: entry {number} names no folder; give it a path.")
        path = str(paths.resolve(rule.path))
        if path in by_path:
            raise UserError(f"data.folder_rules: {rule.path} comes twice; keep one of the two entries.")
        by_path[path] = number
    if not by_path:
        return rules, np.zeros(len(directories), dtype=np.int32)
    known: dict[str, int] = dict(by_path)
    numbers = (_nearest(os.path.normpath(directory), known) for directory in directories)
    return rules, np.fromiter(numbers, dtype=np.int32, count=len(directories))


def _nearest(directory: str, known: dict[str, int]) -> int:
    """The rule of the nearest folder in `known`, which remembers the answer for all folders on the way."""
    passed = []
    while directory not in known:
        passed.append(directory)
        parent = os.path.dirname(directory)  # noqa: PTH120 - a Path is ten times as slow
        if parent == directory:
            break
        directory = parent
    number = known.get(directory, 0)
    known.update(dict.fromkeys(passed, number))
    return number


def propose(folders: Sequence[str]) -> list[FolderRules]:
    """Rules for the folders "N_words" at and right below these, as sd-scripts reads them: N repeats.

    Folders of one repeat need no rule. Nothing is changed; the caller shows the proposal.
    """
    found = {}
    for folder in folders:
        root = paths.resolve(folder)
        for path in (str(root), *_inner(str(root))) if root.is_dir() else ():
            said = kohya_repeats(os.path.basename(path))  # noqa: PTH119
            if said is not None and said[1] and said[0] != 1:
                found[path] = FolderRules(path=path, repeats=float(said[0]))
    return list(found.values())


def kohya_repeats(name: str) -> tuple[int, str] | None:
    """(repeats, words) of a folder that sd-scripts would read so, as "10_sks dog"; None for any other name."""
    match = _KOHYA.fullmatch(name)
    return None if match is None else (int(match[1]), match[2])


def _inner(root: str) -> list[str]:
    """The folders right in a folder, by name; none where it cannot be read."""
    try:
        with os.scandir(root) as entries:
            return sorted(one.path for one in itertools.islice(entries, _MOST_ENTRIES) if one.is_dir())
    except OSError:
        return []


def roles(
    rule: NDArray[np.integer],
    rules: Sequence[FolderRules],
    signature: NDArray[np.uint64],
    validation: ValidationSettings,
) -> NDArray[np.int8]:
    """int8 (N,): BY_CHANCE, TRAIN, VALIDATION, CHOSEN, REGULARISATION or LEFT_OUT; what was chosen by hand wins.

    Regularisation pictures are never held out, and what is left out has no part, even when chosen by hand.

    Args:
        rule: (N,) numbers in `rules`.
        signature: uint64 (N, 2), as Columns has it.

    Raises:
        UserError: a signature in validation.chosen or validation.never is none.
    """
    of_rule = [LEFT_OUT if _unused(one) else _ROLES[one.role] for one in rules]
    found = np.array(of_rule, dtype=np.int8)[np.asarray(rule)]
    for texts, key, role in (
        (validation.chosen, "validation.chosen", CHOSEN),
        (validation.never, "validation.never", TRAIN),
    ):
        rows = rows_of(signature, texts, key)
        free = (found[rows] != REGULARISATION) & (found[rows] != LEFT_OUT)
        found[rows[free]] = role
    return found


def _unused(rule: FolderRules) -> bool:
    """Whether a folder is switched off; repeats do not matter for what is only measured."""
    return rule.role != "validation" and rule.repeats == 0 and rule.sample == 0


def rows_of(signature: NDArray[np.uint64], texts: Sequence[str], key: str) -> NDArray[np.int64]:
    """Rows whose signature is one of `texts` (32 hexadecimal digits); UserError, naming `key`, for another text."""
    wanted = {text.strip().lower() for text in texts if text.strip()}
    for text in wanted:
        if not _SIGNATURE.fullmatch(text):
            raise UserError(f"{key}: {text!r} is no signature of a picture; it has 32 hexadecimal digits. Remove it.")
    if not wanted or not len(signature):
        return np.empty(0, dtype=np.int64)
    pairs = np.frombuffer(b"".join(bytes.fromhex(text) for text in sorted(wanted)), dtype=np.uint64).reshape(-1, 2)
    near = np.flatnonzero(np.isin(signature[:, 0], pairs[:, 0]))
    return near[[hex_of(signature[row]) in wanted for row in near.tolist()]].astype(np.int64)


def hex_of(signature: NDArray[np.uint64]) -> str:
    """The text of one signature (two numbers) as validation.chosen holds it: Picture.signature."""
    return np.ascontiguousarray(signature).tobytes().hex()
