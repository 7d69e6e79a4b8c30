"""Taggers in the layout of the WD14 family: model.onnx beside selected_tags.csv, run by onnxruntime."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.captioners._words import Shot, Words, spaced
from core.errors import UserError
from core.schema import Section, opt

LABEL = "Tagger (WD14)"
HELP = "Finds booru tags, each with a score. A folder with model.onnx and selected_tags.csv. Fast, even on a processor."
ORDER = 10
WRITES = "tags"

#: Kinds of tags in selected_tags.csv, by their numbers on the boorus.
_GENERAL, _CHARACTER, _RATING = 0, 4, 9
#: The side that models have which leave theirs open.
_USUAL_SIDE = 448
#: Pictures with a longer side are made smaller before they are laid on a square, whose area would burst the memory.
_LONGEST = 8192
#: Where it may run, the fastest first; what is not installed is passed over.
_PROVIDERS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider")


class Options(Section):
    """Options of taggers."""

    threshold: float = opt(
        0.35,
        label="Threshold",
        help="A tag is written when the tagger is at least so sure. Lower finds more and errs more; the preview shows "
        "how much.",
        ge=0,
        le=1,
        usual=(0.2, 0.6),
        aliases=("general_threshold", "thresh"),
    )
    character_threshold: float = opt(
        0.85,
        label="Character threshold",
        help="The same for names of characters, which taggers often guess wrongly.",
        ge=0,
        le=1,
        usual=(0.5, 0.95),
        aliases=("character_threshold",),
    )
    characters: Literal["first", "by score", "none"] = opt(
        "first",
        label="Character names",
        help="'first' puts them before all other tags, where training by 'keep first tags' wants them; 'none' leaves "
        "them out.",
        aliases=("character_tags_first",),
    )
    rating: bool = opt(
        False,
        label="Add the rating",
        help="Ends the tags with general, sensitive, questionable or explicit, whichever is likeliest, so that it can "
        "be asked for.",
        aliases=("use_rating_tags",),
    )
    underscores: bool = opt(
        False,
        label="Keep underscores",
        help="Writes long_hair for long hair. Most models were trained on tags with spaces. Drawn faces such as ^_^ "
        "keep theirs.",
        level="advanced",
        aliases=("remove_underscore", "replace_underscore"),
    )


def recognises(folder: Path) -> bool:
    """Whether a folder holds such a tagger."""
    return (folder / "selected_tags.csv").is_file() and _model_file(folder) is not None


def load(folder: Path, options: Options, device: str) -> Tagger:
    """Open the tagger; UserError for a model that onnxruntime cannot use, or tags that do not fit it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"Taggers need onnxruntime, which cannot be loaded ({error}). Install it into Burnish's .venv."
        ) from None
    path = _model_file(folder)
    if path is None:
        raise UserError(f"{folder} holds no .onnx file. Choose the folder with model.onnx and selected_tags.csv.")
    names = _read_names(folder / "selected_tags.csv")
    here = onnxruntime.get_available_providers()
    wanted = [] if device == "cpu" else [provider for provider in _PROVIDERS if provider in here]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=[*wanted, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each way to fail
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} cannot be opened as an ONNX model ({first}). It may be copied in part.") from None
    return Tagger(session, names, options, str(path))


def _model_file(folder: Path) -> Path | None:
    """model.onnx, or the only .onnx file of the folder."""
    if (folder / "model.onnx").is_file():
        return folder / "model.onnx"
    found = sorted(folder.glob("*.onnx"))
    return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class _Names:
    """The tags in the order of the model's output; `kinds` are int64 (tags,)."""

    names: list[str]
    kinds: NDArray[np.int64]


def _read_names(path: Path) -> _Names:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        kinds = np.array([int(row["category"]) for row in rows], np.int64)
        return _Names([row["name"] for row in rows], kinds)
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path} cannot be read as a list of tags with the columns name and category ({why})."
        ) from None


class Tagger:
    """A tagger that is ready to run.

    Attributes:
        side: Pixels along each side of the square that it looks at.
    """

    def __init__(self, session: Any, names: _Names, options: Options, source: str) -> None:
        self._session = session
        self._names = names
        self._source = source
        self._options = options
        (given,) = session.get_inputs()[:1]
        self._input = given.name
        self._type = np.float16 if "float16" in given.type else np.float32
        shape = [size if isinstance(size, int) and size > 0 else 0 for size in given.shape]
        if len(shape) != 4:
            raise UserError(f"{source} takes {len(shape)} dimensions, so it is no tagger of pictures.")
        self._channels_first = shape[1] == 3 and shape[3] != 3
        self.side = (shape[2] if self._channels_first else shape[1]) or _USUAL_SIDE
        self._batch = shape[0]
        self._output = _fitting_output(session, len(names.names), source)
        provider = session.get_providers()[0].removesuffix("ExecutionProvider")
        self.notes = [f"The tagger runs on {'the processor' if provider == 'CPU' else provider}."]

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """uint8 (side, side, 3), blue first: the picture in the middle of a white square, made to size.

        The same steps as the taggers' own demonstration: first the square, then one bicubic resize.
        """
        if max(image.size) > _LONGEST:
            image = image.copy()
            image.thumbnail((_LONGEST // 2, _LONGEST // 2), Image.Resampling.BICUBIC)
        edge = max(image.size)
        square = Image.new("RGB", (edge, edge), "white")
        square.paste(image, ((edge - image.width) // 2, (edge - image.height) // 2))
        if edge != self.side:
            square = square.resize((self.side, self.side), Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(square)[:, :, ::-1])

    def caption(self, shots: Sequence[Shot]) -> list[Words]:
        """The tags of each picture, the surest first."""
        pixels = np.stack([shot.pixels for shot in shots]).astype(self._type)
        if self._channels_first:
            pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        scores = np.concatenate([self._run(part) for part in self._parts(pixels)])[: len(shots)]
        return [self._chosen(row) for row in scores]

    def _parts(self, pixels: NDArray[Any]) -> list[NDArray[Any]]:
        """Batches of the size that the model insists on, the last one filled up; one batch where it does not."""
        if not self._batch:
            return [pixels]
        missing = -len(pixels) % self._batch
        filled = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), pixels.dtype)])
        return np.split(filled, len(filled) // self._batch)

    def _run(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Scores (pictures, tags) from 0 to 1; models that end without a sigmoid get one."""
        (found,) = self._session.run([self._output], {self._input: pixels})
        scores: NDArray[np.float64] = np.asarray(found, np.float64).reshape(len(pixels), -1)
        if scores.shape[1] != len(self._names.names):
            raise UserError(_misfit(self._source, str(scores.shape[1]), len(self._names.names)))
        if scores.min() < 0 or scores.max() > 1:
            scores = 1 / (1 + np.exp(-scores))
        return scores

    def _chosen(self, scores: NDArray[np.float64]) -> list[str]:
        options, kinds = self._options, self._names.kinds
        order = np.argsort(-scores, kind="stable")
        people = (kinds == _CHARACTER) & (scores >= options.character_threshold) & (options.characters != "none")
        others = ~np.isin(kinds, (_CHARACTER, _RATING)) & (scores >= options.threshold)
        if options.characters == "by score":
            places = [place for place in order if people[place] or others[place]]
        else:
            places = [place for which in (people, others) for place in order if which[place]]
        if options.rating and (kinds == _RATING).any():
            places.append(next(place for place in order if kinds[place] == _RATING))
        found = [self._names.names[place] for place in places]
        return found if options.underscores else [spaced(name) for name in found]


def _fitting_output(session: Any, tags: int, source: str) -> str:
    """Name of the output with one number for each tag; UserError where there is none."""
    outputs = session.get_outputs()
    for output in outputs:
        if output.shape and output.shape[-1] == tags:
            return str(output.name)
    sizes = ", ".join(str(output.shape[-1]) if output.shape else "?" for output in outputs)
    if len(outputs) == 1 and outputs[0].shape and not isinstance(outputs[0].shape[-1], int):
        return str(outputs[0].name)
    raise UserError(_misfit(source, sizes, tags))


def _misfit(source: str, knows: str, tags: int) -> str:
    return f"{source} knows {knows} tags, but selected_tags.csv beside it has {tags}: they belong to two models."
